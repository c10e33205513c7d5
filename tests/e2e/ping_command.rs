//! `tunstack ping`, beside the kernel's own ping.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Daemon, Ended, Process, in_namespace, run, sh, tunstack};

const LIMIT: Duration = Duration::from_secs(40);

fn our_ping(arguments: &str) -> Ended {
    run(tunstack("ping").args(arguments.split_whitespace()), LIMIT)
}

fn kernels_ping(arguments: &str) -> Ended {
    run(Command::new("ping").args(arguments.split_whitespace()), LIMIT)
}

/// Addresses that both can ping: the kernel's own, on no device that either makes.
fn addresses_of_the_kernel() {
    sh("ip addr add 192.0.2.1/32 dev lo");
    sh("ip addr add 2001:db8::1/128 dev lo nodad");
}

/// The text with every time made the same: `time=0.042 ms`, `time 403ms`, `= 0.1/0.2/0.3/0.4 ms`.
fn without_times(text: &str) -> String {
    let is_time = |word: &str| {
        let digits = word.trim_start_matches("time=").trim_end_matches("ms");
        word.starts_with("time=")
            || word.ends_with("ms") && !digits.is_empty()
            || word.matches('/').count() == 3
    };
    let number = |word: &str| is_time(word) && word.contains(|c: char| c.is_ascii_digit());
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').map(|word| if number(word) { "T" } else { word }).collect();
        words.join(" ")
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn same_as_the_kernels(arguments: &str) {
    let (ours, theirs) = (our_ping(arguments), kernels_ping(arguments));
    assert_eq!(without_times(&ours.stdout), without_times(&theirs.stdout), "{arguments}\n{}", ours.stderr);
    assert_eq!(ours.status.code(), theirs.status.code(), "{arguments}");
}

#[test]
fn it_prints_what_the_kernels_ping_prints() {
    in_namespace(|| {
        addresses_of_the_kernel();
        for arguments in [
            "-c 3 -i 0.2 -W 5 192.0.2.1",
            "-c 2 -i 0.2 -W 5 2001:db8::1",
            "-q -c 5 -i 0.05 -W 5 192.0.2.1",
            "-c 1 -W 5 -s 1472 192.0.2.1",
            "-c 1 -W 5 -s 16 -M do 192.0.2.1",
            "-6 -c 1 -W 5 -s 1452 2001:db8::1",
        ] {
            same_as_the_kernels(arguments);
        }
    });
}

#[test]
fn the_largest_requests_go_there_and_back_in_both_families() {
    in_namespace(|| {
        addresses_of_the_kernel();
        same_as_the_kernels("-c 2 -i 0.2 -W 5 -s 65507 192.0.2.1");
        same_as_the_kernels("-c 2 -i 0.2 -W 5 -s 65507 2001:db8::1");
        let ended = our_ping("-c 1 -W 5 -s 65527 2001:db8::1");
        assert!(ended.stdout.contains("65535 bytes from 2001:db8::1: icmp_seq=1"), "{ended:?}");
        let ended = our_ping("-c 1 -s 65508 192.0.2.1");
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    });
}

#[test]
fn errors_on_the_way_are_told_with_who_said_so() {
    in_namespace(|| {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("the namespace is ours");
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").expect("the namespace is ours");
        // The limits of the kernel's ICMP errors are the host's; one destination is answered at its own pace.
        sh("ip route add unreachable 198.51.100.0/24");
        sh("ip route add prohibit 203.0.113.0/24");
        sh("ip -6 route add unreachable 2001:db8:1::/48");
        let _narrow = Daemon::up("--tun narrow --addr 10.8.0.2/24 --addr fd08::2/64 --mtu 1400");
        for (arguments, line) in [
            ("-t 1 10.8.0.2", "From 10.9.0.1 icmp_seq=1 Time to live exceeded"),
            ("-t 1 fd08::2", "From fd09::1 icmp_seq=1 Time exceeded: Hop limit"),
            ("198.51.100.7", "From 10.9.0.1 icmp_seq=1 Destination Host Unreachable"),
            ("203.0.113.7", "From 10.9.0.1 icmp_seq=1 Packet filtered"),
            ("2001:db8:1::7", "From fd09::1 icmp_seq=1 Destination unreachable: No route"),
            ("-M do -s 1400 10.8.0.2", "From 10.9.0.1 icmp_seq=1 Frag needed and DF set (mtu = 1400)"),
            ("-M do -s 1400 fd08::2", "From fd09::1 icmp_seq=1 Packet too big: mtu=1400"),
        ] {
            let ended = our_ping(&format!("-c 1 -W 5 {arguments}"));
            assert!(ended.stdout.contains(line), "{arguments}: {ended:?}");
            let counts = "1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms\n\n";
            assert!(ended.stdout.ends_with(counts), "{arguments}: {ended:?}");
            assert_eq!(ended.status.code(), Some(1), "{arguments}");
        }
    });
}

#[test]
fn what_was_learnt_of_the_path_refuses_the_next_request_here() {
    in_namespace(|| {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("the namespace is ours");
        let _narrow = Daemon::up("--tun narrow --addr 10.8.0.2/24 --mtu 1400");
        let ended = our_ping("-c 3 -i 0.2 -W 5 -M do -s 1400 10.8.0.2");
        assert!(ended.stdout.contains("icmp_seq=1 Frag needed and DF set (mtu = 1400)"), "{ended:?}");
        assert_eq!(
            ended.stderr.matches("ping: local error: message too long, mtu=1400\n").count(),
            2,
            "{ended:?}"
        );
        assert!(ended.stdout.contains("3 packets transmitted, 0 received, +3 errors"), "{ended:?}");
        let fragmented = our_ping("-c 3 -i 0.2 -W 5 -s 1400 10.8.0.2");
        assert!(fragmented.stdout.contains("3 packets transmitted, 2 received, +1 errors"), "{fragmented:?}");
    });
}

#[test]
fn routers_make_the_fragments_if_they_are_let() {
    in_namespace(|| {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("the namespace is ours");
        let _narrow = Daemon::up("--tun narrow --addr 10.8.0.2/24 --mtu 1400");
        let ended = our_ping("-c 2 -i 0.2 -W 5 -M dont -s 1400 10.8.0.2");
        assert!(ended.stdout.contains("2 packets transmitted, 2 received, 0% packet loss"), "{ended:?}");
    });
}

#[test]
fn it_ends_when_nobody_reads_on() {
    in_namespace(|| {
        let line = format!("{} ping -i 0.05 10.9.0.1 | head -n 2", env!("CARGO_BIN_EXE_tunstack"));
        let ended = run(Command::new("sh").args(["-c", &line]), LIMIT);
        assert!(ended.stdout.contains("icmp_seq=1"), "{ended:?}");
    });
}

#[test]
fn silence_is_a_failure_and_nobody_forwarding_is_pointed_out() {
    in_namespace(|| {
        let silent = our_ping("-c 2 -i 0.2 -W 0.5 10.9.0.77");
        assert_eq!(silent.status.code(), Some(1), "{silent:?}");
        assert!(
            silent.stdout.ends_with(", 100% packet loss, time 200ms\n\n")
                || silent.stdout.contains("100% packet loss")
        );
        assert_eq!(silent.stderr, "");
        let _daemon = Daemon::up("--tun other --addr 10.8.0.2/24");
        let far = our_ping("-c 1 -W 0.5 10.8.0.2");
        assert!(far.stderr.contains("`sudo sysctl -w net.ipv4.ip_forward=1`"), "{far:?}");
    });
}

#[test]
fn beside_a_daemon_it_takes_another_network() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let ended = our_ping("-c 1 -W 5 10.9.1.1");
        assert!(ended.stdout.contains("64 bytes from 10.9.1.1: icmp_seq=1"), "{ended:?}");
        let asked = our_ping("-c 1 --addr 10.9.0.7/24 10.9.0.1");
        assert_eq!(asked.status.code(), Some(2), "{asked:?}");
        assert!(
            asked.stderr.contains("for another network run `tunstack ping --addr 10.10.0.2/24"),
            "{asked:?}"
        );
    });
}

#[test]
fn an_interrupt_ends_it_with_the_statistics() {
    in_namespace(|| {
        let mut ping = Process::start(tunstack("ping").args(["-i", "0.1", "10.9.0.1"]));
        ping.wait_for_stdout("icmp_seq=3", LIMIT);
        ping.signal(Signal::INT);
        let status = ping.wait(LIMIT);
        assert_eq!(status.code(), Some(0));
        assert!(ping.stdout().contains("\n--- 10.9.0.1 ping statistics ---\n"), "{}", ping.stdout());
        assert!(ping.stdout().contains(", 0% packet loss, time "), "{}", ping.stdout());
    });
}

#[test]
fn a_broadcast_address_is_pinged_only_if_that_is_meant() {
    in_namespace(|| {
        let refused = our_ping("-c 1 10.9.0.255");
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(refused.stderr.contains("`tunstack ping -b 10.9.0.255`"), "{refused:?}");
        fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_broadcasts", "0").expect("the namespace is ours");
        let meant = our_ping("-b -c 1 -W 5 10.9.0.255");
        assert!(meant.stdout.contains("64 bytes from 10.9.0.1: icmp_seq=1"), "{meant:?}");
    });
}

#[test]
fn it_goes_out_by_the_device_that_leads_there() {
    in_namespace(|| {
        let devices = "--tun a --addr 10.1.0.1/24 --tun b --addr 10.2.0.1/24";
        for to in ["10.1.0.2", "10.2.0.2"] {
            let ended = our_ping(&format!("{devices} -c 1 -W 5 {to}"));
            assert!(ended.stdout.contains(&format!("64 bytes from {to}: icmp_seq=1")), "{ended:?}");
        }
        let nowhere = our_ping(&format!("{devices} -c 1 192.0.2.9"));
        assert_eq!(nowhere.status.code(), Some(2), "{nowhere:?}");
        assert!(nowhere.stderr.contains("no route of the stack leads there"), "{nowhere:?}");
        addresses_of_the_kernel();
        let routed = our_ping(&format!("{devices} --route 192.0.2.0/24,via=10.2.0.2 -c 1 -W 5 192.0.2.1"));
        assert!(routed.stdout.contains("64 bytes from 192.0.2.1: icmp_seq=1"), "{routed:?}");
    });
}
