//! Floods of fragments and of SYNs: what they may cost, in memory, in time and in manners towards others.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream as KernelStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tunstack::net::TcpListener;

use crate::harness::{Daemon, in_namespace_for, net, python, run, run_with_input, sh, short_time_wait};

const LIMIT: Duration = Duration::from_secs(120);

/// Packets of each flood.
const PACKETS: u32 = 10_000;

/// What all floods may add to the daemon's memory, in KiB: three times the 4 MiB that fragments may take up in all, as an
/// allocator has its own view of it.
const GROWTH_MAX_KIB: u64 = 12 << 10;

const FLOODS: [&str; 7] = ["large4", "large6", "tiny4", "tiny6", "rose", "growing", "overlapping"];

fn resident_kib(daemon: &mut Daemon) -> u64 {
    let status =
        fs::read_to_string(format!("/proc/{}/status", daemon.process().id())).expect("the daemon runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has a size");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("in KiB")
}

/// The daemon still answers whom it should: whole pings, pings in parts, TCP and UDP.
fn is_well() {
    for size in ["56", "4000", "20000"] {
        for target in ["10.9.0.2", "fd09::2"] {
            let arguments = ["-n", "-c", "1", "-W", "5", "-s", size, target];
            let ended = run(Command::new("ping").args(arguments), LIMIT);
            assert!(ended.stdout.contains("1 received"), "{ended:?}");
        }
    }
    let ended = run_with_input(Command::new("nc").args(["-N", "10.9.0.2", "7"]), "hello\n", LIMIT);
    assert_eq!(ended.stdout, "hello\n", "{ended:?}");
}

#[test]
fn floods_of_fragments_cost_little_memory_and_time_and_hurt_nobody() {
    in_namespace_for(LIMIT, || {
        let mut daemon = Daemon::up("");
        is_well();
        let before = resident_kib(&mut daemon);
        for name in FLOODS {
            let (started, ticks) = (Instant::now(), daemon.cpu_ticks());
            flood(name, PACKETS);
            let ticks = daemon.cpu_ticks() - ticks;
            let grown = resident_kib(&mut daemon).saturating_sub(before);
            assert!(grown < GROWTH_MAX_KIB, "{name}: the daemon has grown by {grown} KiB");
            // A tenth of a millisecond a packet, in a build without optimisation.
            assert!(u64::from(PACKETS) / 100 > ticks, "{name}: {ticks} ticks, {:?}", started.elapsed());
            println!("{name}: {grown} KiB more, {ticks} ticks in {:?}", started.elapsed());
            is_well();
        }
    });
}

/// Sends a flood; it ends only if the daemon goes on answering pings meanwhile.
fn flood(name: &str, packets: u32) {
    let ended = run(python("floods.py").args(["tun0", name, &packets.to_string()]), LIMIT);
    assert_eq!(ended.stdout.trim(), format!("sent {packets}"), "{name}: {ended:?}");
}

/// Text that a client hears back.
const ECHOED: usize = 200_000;

#[test]
fn a_flood_of_syns_keeps_no_client_out_and_costs_none_of_what_it_offers() {
    in_namespace_for(LIMIT, || {
        let net = net(short_time_wait());
        let queue = 1024;
        let listener = TcpListener::bind(&net, "10.9.0.2:8888").expect("the port is free");
        flood("syns", 5 * queue);
        let counters = net.counters();
        assert_eq!(net.tcp_census().half_open, queue as usize, "the queue is full");
        assert!(counters.tcp_syn_cookies_sent >= u64::from(4 * queue), "{}", counters.tcp_syn_cookies_sent);
        let echo = thread::spawn(move || {
            for _ in 0..5 {
                let (mut stream, _) = listener.accept().expect("clients come");
                let mut text = vec![0; ECHOED];
                stream.read_exact(&mut text).expect("the connection stands");
                stream.write_all(&text).expect("the connection stands");
            }
            listener
        });
        for client in 1..=5 {
            let mut stream =
                KernelStream::connect_timeout(&"10.9.0.2:8888".parse().unwrap(), Duration::from_secs(5))
                    .expect("there is always room");
            stream.write_all(&[client; ECHOED]).expect("the connection stands");
            let known = sh("ss -Htni dst 10.9.0.2:8888");
            // 1448: of 1460, timestamps take 12.
            for offered in [" mss:1448 ", " wscale:"] {
                assert!(known.contains(offered), "{offered} is lost: {known}");
            }
            let mut text = vec![0; ECHOED];
            stream.read_exact(&mut text).expect("all comes back");
            assert!(text.iter().all(|byte| *byte == client));
            assert_eq!(net.counters().tcp_syn_cookies_received, u64::from(client));
        }
        drop(echo.join().expect("it has served five"));
        assert_eq!(net.counters().tcp_syn_cookies_failed, 0);
        assert_eq!(net.tcp_census().half_open, 0);
    });
}
