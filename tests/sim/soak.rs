//! Random internets: a fixed few hundred in every run of the tests, and as many as there is time for in a soak.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::report::Report;
use crate::internet;
use crate::support::seeds::{for_each_seed, number, replayable};

#[test]
fn random_internets_lose_nothing_and_keep_every_rule() {
    let mut report = Report::default();
    let sum = Mutex::new(&mut report);
    for_each_seed("random_internets_lose_nothing_and_keep_every_rule", 200, |seed| {
        let one = internet::run(seed);
        sum.lock().expect("no run has failed").add(one);
    });
    println!("{report}");
}

#[test]
#[ignore = "runs for as long as SIM_MINUTES says: scripts/sim-soak"]
fn soak() {
    let time = Duration::from_secs(60 * number("SIM_MINUTES").unwrap_or(1));
    let first = number("SIM_FIRST_SEED").expect("SIM_FIRST_SEED is set");
    let threads = number("SIM_JOBS").unwrap_or(1);
    let (next, began) = (AtomicU64::new(first), Instant::now());
    let sum = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while began.elapsed() < time {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let test = "random_internets_lose_nothing_and_keep_every_rule";
                    let one = replayable(test, seed, || internet::run(seed));
                    sum.lock().expect("no run has failed").add(one);
                }
            });
        }
    });
    let report = sum.into_inner().expect("no run has failed");
    println!("seeds {first}..{}\n{report}", next.into_inner());
    let never = report.never_happened();
    assert!(never.is_empty(), "these never happened: {}", never.join(", "));
}
