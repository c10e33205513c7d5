//! What the core does, one thing at a time, to be counted by callgrind or timed: see `scripts/costs/README.md`.
//!
//! `tunstack-costs list` names the things, one a line. `tunstack-costs count NAME` does one of them some thousand times and says how
//! often; all that counts happens inside [`meter::counted`]. `tunstack-costs time NAME` does it more often, among more of its kind,
//! and says how many nanoseconds each took.

mod connections;
mod datagrams;
mod meter;
mod pair;
mod parts;
mod text;

use std::process::ExitCode;

use meter::{Meter, Scale};

/// A thing to be measured: its name, which says of what the figure is one, and what does it.
type Cost = (&'static str, fn(&mut Meter));

const COSTS: &[&[Cost]] = &[parts::COSTS, text::COSTS, connections::COSTS, datagrams::COSTS];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut costs = COSTS.iter().copied().flatten();
    let (scale, name) = match words[..] {
        ["list"] => {
            costs.for_each(|(name, _)| println!("{name}"));
            return ExitCode::SUCCESS;
        }
        ["count", name] => (Scale::Counted, name),
        ["time", name] => (Scale::Timed, name),
        _ => {
            eprintln!("usage: tunstack-costs list | count NAME | time NAME");
            return ExitCode::from(2);
        }
    };
    let Some((_, run)) = costs.find(|(known, _)| *known == name) else {
        eprintln!("tunstack-costs: nothing is called {name}");
        return ExitCode::from(2);
    };
    let mut meter = Meter::new(scale);
    run(&mut meter);
    println!("{} {:.2}", meter.times(), meter.nanoseconds_each());
    ExitCode::SUCCESS
}
