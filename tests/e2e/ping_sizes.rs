//! Echoes of every size and with every option that ping has, between the kernel and the stack, both ways; a kernel
//! target is asked the same where Linux is the measure.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Daemon, Ended, Host, cable, in_namespace, run, sh, tunstack};

const LIMIT: Duration = Duration::from_secs(30);

/// From no data over the last that fits one packet of 1,500 bytes to the last that fits a datagram.
const SIZES: [u32; 7] = [1, 56, 1452, 1472, 1473, 8000, 65_507];

fn ping(arguments: &str) -> Ended {
    run(Command::new("ping").args(["-n"]).args(arguments.split_whitespace()), LIMIT)
}

/// A kernel at 10.8.0.2 and fd08::2, on a device like the daemon's; the test's own side is 10.8.0.1 and fd08::1.
fn kernel_target() -> Host {
    cable("to-kernel", "kernel");
    let target = Host::new();
    target.adopt("kernel", 1500, &["10.8.0.2/24", "fd08::2/64"]);
    sh("ip link set to-kernel mtu 1500 txqueuelen 1000 up");
    sh("ip addr add 10.8.0.1/24 dev to-kernel");
    sh("ip addr add fd08::1/64 dev to-kernel nodad");
    target
}

#[test]
fn pings_of_every_size_up_to_the_largest_are_answered_in_both_families() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        for size in SIZES {
            for target in ["10.9.0.2", "fd09::2"] {
                let ended = ping(&format!("-c 3 -i 0.2 -W 5 -s {size} {target}"));
                assert!(ended.stdout.contains("3 received, 0% packet loss"), "{size} {target}: {ended:?}");
                assert!(!ended.stdout.contains("wrong data") && !ended.stdout.contains("DUP!"), "{ended:?}");
            }
        }
        // The last that fits an IPv6 packet without a jumbo option: 65,535 bytes, the ICMP header included.
        let ended = ping("-c 2 -i 0.2 -W 5 -s 65527 fd09::2");
        assert!(ended.stdout.contains("2 received, 0% packet loss"), "{ended:?}");
    });
}

#[test]
fn the_stack_pings_the_kernel_in_every_size_and_both_families() {
    in_namespace(|| {
        for size in SIZES {
            for target in ["10.9.0.1", "fd09::1"] {
                let words = format!("-c 2 -i 0.2 -W 5 -s {size} {target}");
                let ended = run(tunstack("ping").args(words.split_whitespace()), LIMIT);
                assert!(ended.status.success(), "{words}: {ended:?}");
                assert!(ended.stdout.contains("2 received, 0% packet loss"), "{words}: {ended:?}");
                assert!(!ended.stdout.contains("wrong data"), "{words}: {ended:?}");
            }
        }
    });
}

#[test]
fn the_stacks_ping_says_what_the_kernels_ping_says() {
    in_namespace(|| {
        let shape = |ended: &Ended| {
            let text = ended.stdout.replace("10.9.0.1", "TARGET").replace("10.8.0.2", "TARGET");
            let without_numbers = |line: &str| {
                let line: String = line.chars().filter(|character| !character.is_ascii_digit()).collect();
                line.replace('.', "")
            };
            text.lines().map(without_numbers).collect::<Vec<_>>()
        };
        let _kernel = kernel_target();
        for words in ["-c 3 -i 0.2 -W 2", "-c 1 -s 16", "-c 1 -s 2000", "-q -c 2 -i 0.2"] {
            let theirs = ping(&format!("{words} 10.8.0.2"));
            let ours = run(tunstack("ping").args(words.split_whitespace()).arg("10.9.0.1"), LIMIT);
            assert_eq!(shape(&ours), shape(&theirs), "{words}");
            assert_eq!(ours.status.code(), theirs.status.code(), "{words}");
        }
    });
}

/// What ping prints of the options that came back: from the line that begins with `tag` on. Addresses of the target
/// are called alike, and times only told to be there.
fn options_of(ended: &Ended, tag: &str, target: &str, near: &str) -> Vec<String> {
    assert!(ended.stdout.contains("1 received"), "{ended:?}");
    let named = ended.stdout.replace(target, "TARGET").replace(near, "NEAR");
    let word = |word: &str| {
        // A first time is absolute, and the next are told as steps from it, here always next to nothing.
        let is_number = word.trim_start_matches('-').parse::<u32>().is_ok();
        if is_number { "TIME".to_owned() } else { word.to_owned() }
    };
    let lines: Vec<String> = named
        .lines()
        .skip_while(|line| !line.starts_with(tag))
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_whitespace().map(word).collect::<Vec<_>>().join(" "))
        .collect();
    assert!(!lines.is_empty(), "{ended:?}");
    lines
}

//= RFC1122 3.2.2.6 record route, 3.2.2.6 timestamp
#[test]
fn record_route_and_timestamps_come_back_as_a_linux_host_sends_them_back() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let _kernel = kernel_target();
        for (option, tag) in [("-R", "RR:"), ("-T tsonly", "TS:"), ("-T tsandaddr", "TS:")] {
            let theirs = ping(&format!("-c 1 -W 5 {option} 10.8.0.2"));
            let ours = ping(&format!("-c 1 -W 5 {option} 10.9.0.2"));
            assert_eq!(
                options_of(&ours, tag, "10.9.0.2", "10.9.0.1"),
                options_of(&theirs, tag, "10.8.0.2", "10.8.0.1"),
                "{option}: {ours:?}, and a kernel: {theirs:?}"
            );
        }
        let theirs = ping("-c 1 -W 5 -T tsprespec 10.8.0.2 10.8.0.1 10.8.0.2");
        let ours = ping("-c 1 -W 5 -T tsprespec 10.9.0.2 10.9.0.1 10.9.0.2");
        let compared = [
            options_of(&ours, "TS:", "10.9.0.2", "10.9.0.1"),
            options_of(&theirs, "TS:", "10.8.0.2", "10.8.0.1"),
        ];
        assert_eq!(compared[0], compared[1]);
    });
}

#[test]
fn the_time_in_a_timestamp_option_is_the_time_of_day() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let ended = ping("-c 1 -W 5 -T tsonly 10.9.0.2");
        let line = ended.stdout.lines().find(|line| line.starts_with("TS:")).unwrap_or_default();
        assert!(line.contains("absolute"), "the first time is in the standard form: {ended:?}");
        // The next lines tell by how many milliseconds each later time differs from the one before: both clocks are
        // this machine's, so there is no difference to speak of.
        let steps: Vec<i64> = ended
            .stdout
            .lines()
            .skip_while(|line| !line.starts_with("TS:"))
            .skip(1)
            .map_while(|line| line.trim().parse().ok())
            .collect();
        assert_eq!(steps.len(), 3, "{ended:?}");
        assert!(steps.iter().all(|step| step.abs() < 2000), "{ended:?}");
    });
}

#[test]
fn what_may_not_be_cut_and_is_too_large_is_refused_in_both_directions() {
    in_namespace(|| {
        let mut daemon = Daemon::up("");
        for (target, size) in [("10.9.0.2", 1473), ("fd09::2", 1453)] {
            let refused = ping(&format!("-c 1 -W 1 -M do -s {size} {target}"));
            assert!(!refused.status.success(), "{refused:?}");
            let told = format!("{}{}", refused.stdout, refused.stderr);
            assert!(told.contains("mtu") && told.contains("1500"), "{refused:?}");
            let fits = ping(&format!("-c 1 -W 5 -M do -s {} {target}", size - 1));
            assert!(fits.stdout.contains("1 received"), "{fits:?}");
        }
        daemon.stop_with(rustix::process::Signal::TERM);
        for (target, size) in [("10.9.0.1", "1473"), ("fd09::1", "1453")] {
            let refused =
                run(tunstack("ping").args(["-c", "1", "-W", "1", "-M", "do", "-s", size, target]), LIMIT);
            assert!(!refused.status.success(), "{refused:?}");
            let told = format!("{}{}", refused.stdout, refused.stderr);
            assert!(told.contains("mtu") && told.contains("1500"), "{refused:?}");
        }
    });
}

#[test]
fn pings_to_all_are_ignored_as_linux_ignores_them() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let _kernel = kernel_target();
        // A TUN device knows no broadcast of its own: without a route, the kernel has nowhere to send it.
        sh("ip route add 255.255.255.255 dev tun0");
        let theirs = ping("-c 1 -W 1 -b 10.8.0.255");
        assert!(theirs.stdout.contains("0 received"), "Linux has changed its mind: {theirs:?}");
        for target in ["10.9.0.255", "10.9.0.0", "255.255.255.255"] {
            let ours = ping(&format!("-c 1 -W 1 -b -I tun0 {target}"));
            assert!(ours.stdout.contains("1 packets transmitted, 0 received"), "{target}: {ours:?}");
        }
        // And it is still there.
        assert!(ping("-c 1 -W 5 10.9.0.2").stdout.contains("1 received"));
    });
}

#[test]
fn pings_with_strange_patterns_marks_and_lifetimes_come_back_as_they_were_sent() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        for arguments in ["-p ff -s 99", "-p 00 -s 1400", "-Q 0xb8", "-t 1", "-p a5c3 -s 9999", "-l 3 -i 0.2"]
        {
            for target in ["10.9.0.2", "fd09::2"] {
                let ended = ping(&format!("-c 3 -i 0.2 -W 5 {arguments} {target}"));
                assert!(ended.stdout.contains("3 received, 0% packet loss"), "{arguments}: {ended:?}");
                assert!(!ended.stdout.contains("wrong data"), "{arguments}: {ended:?}");
            }
        }
    });
}
