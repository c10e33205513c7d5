//! `tunstack up` with more than one device: what it says, what it answers, what it counts.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Daemon, in_namespace, run, run_with_input, up_fails};

const LIMIT: Duration = Duration::from_secs(20);
const TWO: &str = "--tun a --addr 10.1.0.1/24 --addr fd01::1/64 --tun b --addr 10.2.0.1/24 --serve echo:7";

#[test]
fn one_line_says_that_all_devices_are_ready() {
    in_namespace(|| {
        let daemon = Daemon::up(TWO);
        assert_eq!(daemon.ready_line(), "ready: a 10.1.0.1/24 fd01::1/64 b 10.2.0.1/24 echo:7");
        let router =
            Daemon::up("--tun c --addr 10.3.0.1/24 --tun d --addr 10.4.0.1/24 --forward --serve none");
        assert_eq!(router.ready_line(), "ready: c 10.3.0.1/24 d 10.4.0.1/24 forwarding");
    });
}

#[test]
fn each_device_answers_and_serves() {
    in_namespace(|| {
        let _daemon = Daemon::up(TWO);
        for address in ["10.1.0.1", "fd01::1", "10.2.0.1"] {
            let ping = run(Command::new("ping").args(["-c", "1", "-W", "5", address]), LIMIT);
            assert!(ping.status.success(), "{ping:?}");
            let echo =
                run_with_input(Command::new("nc").args(["-N", "-w", "5", address, "7"]), "hello\n", LIMIT);
            assert_eq!(echo.stdout, "hello\n", "{address}: {echo:?}");
        }
    });
}

#[test]
fn sigusr1_asks_for_the_counters() {
    in_namespace(|| {
        let mut daemon = Daemon::up(TWO);
        run(Command::new("ping").args(["-c", "1", "-W", "5", "10.2.0.1"]), LIMIT);
        let socket = UdpSocket::bind("10.2.0.2:0").expect("the kernel's side has it");
        socket.send_to(b"anybody there?", "10.2.0.1:4000").expect("the device takes it");
        // The refusal tells that the datagram has been counted.
        socket.connect("10.2.0.1:4000").expect("a UDP socket connects at once");
        socket.send(b"really nobody?").expect("the device takes it");
        socket.set_read_timeout(Some(LIMIT)).expect("the timeout is not zero");
        socket.recv(&mut [0]).expect_err("nobody is there");
        daemon.process().signal(Signal::USR1);
        let said = daemon.process().wait_for_stderr("dropped: udp-no-socket", LIMIT);
        let value = |name: &str| {
            let line = said.lines().find(|line| line.trim_start().starts_with(name));
            line.and_then(|line| line.split_whitespace().last()?.parse::<u64>().ok())
        };
        assert_eq!(value("icmp_echo_replies"), Some(1), "{said}");
        assert_eq!(value("dropped: udp-no-socket"), Some(2), "{said}");
        assert!(daemon.process().is_running());
        assert_eq!(daemon.stop_with(Signal::TERM).code(), Some(0));
    });
}

#[test]
fn contradictions_end_in_one_line_before_any_device_is_made() {
    in_namespace(|| {
        for (arguments, part) in [
            ("--tun a --addr 10.1.0.1/24 --tun b", "each needs an address"),
            ("--tun a --addr 10.1.0.1/24 --tun b --addr 10.1.0.2/24", "overlaps"),
            ("--tun a --addr 10.1.0.1/24 --route 10.0.0.0/8,via=10.7.0.1", "in no network of the stack"),
        ] {
            let ended = up_fails(arguments);
            assert_eq!(ended.status.code(), Some(2), "{ended:?}");
            assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
            assert!(ended.stderr.contains(part), "{ended:?}");
        }
        assert!(!crate::harness::sh("ip -o link show").contains(": a:"));
    });
}
