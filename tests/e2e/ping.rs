//! ICMP echo, by the kernel's own ping.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Daemon, in_namespace, run, sh};

/// Runs ping and checks that all `count` came back as they were sent. Once it has had an answer, ping waits for
/// the last one only as long as its interval: a short one would make a loaded machine look like a loss.
fn all_answered(arguments: &str, count: u32) {
    let ended = run(Command::new("ping").args(arguments.split_whitespace()), Duration::from_secs(40));
    let report = format!("ping {arguments} ({}):\n{}{}", ended.status, ended.stdout, ended.stderr);
    assert!(ended.status.success(), "{report}");
    assert!(
        report.contains(&format!("{count} packets transmitted, {count} received, 0% packet loss")),
        "{report}"
    );
    assert!(!report.contains("wrong data byte") && !report.contains("DUP!"), "{report}");
}

#[test]
fn ping_is_answered_three_of_three() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        all_answered("-c 3 -i 0.3 -W 5 10.9.0.2", 3);
    });
}

#[test]
fn ping_over_ipv6_is_answered_three_of_three() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        all_answered("-6 -c 3 -i 0.3 -W 5 fd09::2", 3);
    });
}

#[test]
fn a_flood_of_pings_is_answered_to_the_last() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        all_answered("-q -f -c 1000 -W 5 10.9.0.2", 1000);
        all_answered("-6 -q -f -c 1000 -W 5 fd09::2", 1000);
    });
}

#[test]
fn pings_of_every_size_up_to_the_mtu_are_answered() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        // 1500 bytes less 20 (IPv4) or 40 (IPv6) and 8 (ICMP); odd and even, since checksums care.
        for size in [0, 1, 2, 7, 8, 55, 56, 57, 511, 512, 1023, 1399, 1470, 1471, 1472] {
            all_answered(&format!("-q -c 1 -W 5 -M do -s {size} 10.9.0.2"), 1);
        }
        for size in [0, 1, 2, 7, 8, 55, 56, 57, 511, 512, 1023, 1399, 1450, 1451, 1452] {
            all_answered(&format!("-6 -q -c 1 -W 5 -M do -s {size} fd09::2"), 1);
        }
    });
}

#[test]
fn ping_finds_the_addresses_and_prefixes_it_was_given() {
    in_namespace(|| {
        let _daemon = Daemon::up(
            "--tun net5 --addr 172.20.0.9/16 --addr fd55::9/48 --host-addr 172.20.0.8/16 --host-addr fd55::8/48",
        );
        all_answered("-c 3 -i 0.3 -W 5 172.20.0.9", 3);
        all_answered("-6 -c 3 -i 0.3 -W 5 fd55::9", 3);
    });
}

#[test]
fn whoever_comes_through_the_device_from_another_network_is_answered_too() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        sh("ip addr add 192.0.2.1/32 dev lo");
        sh("ip addr add 2001:db8::1/128 dev lo nodad");
        for (from, to) in [("192.0.2.1", "10.9.0.2"), ("2001:db8::1", "fd09::2")] {
            // More than one, since the kernel takes its time over the route to a new address of its own.
            let ended = run(
                Command::new("ping").args(["-c", "3", "-i", "0.3", "-W", "2", "-I", from, to]),
                Duration::from_secs(10),
            );
            assert!(ended.status.success(), "from {from}: {}", ended.stdout);
        }
    });
}

#[test]
fn an_address_that_is_not_the_stacks_does_not_answer() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let ended =
            run(Command::new("ping").args(["-c", "1", "-W", "1", "10.9.0.77"]), Duration::from_secs(10));
        assert!(!ended.status.success(), "{}", ended.stdout);
    });
}
