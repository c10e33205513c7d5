//! Three daemons in a row between two kernel hosts: what traceroute and tracepath see of the way.
//!
//! ```text
//! left 10.1.0.2 -- 10.1.0.1 first 10.12.0.1 -- 10.12.0.2 second 10.23.0.2 -- 10.23.0.3 third 10.2.0.1 -- 10.2.0.2 right
//! ```
//! (and fd01::2 to fd02::2 in the same way); the link between second and third is the narrowest.

use std::time::Duration;

use crate::harness::{Daemon, Host, Process, in_namespace, make_tun, python, sh};

const LIMIT: Duration = Duration::from_secs(30);

/// The MTU of the link in the middle; 1,500 everywhere else.
const NARROW: u32 = 1400;

const HOPS4: [&str; 4] = ["10.1.0.1", "10.12.0.2", "10.23.0.3", "10.2.0.2"];
const HOPS6: [&str; 4] = ["fd01::1", "fd12::2", "fd23::3", "fd02::2"];

struct Chain {
    left: Host,
    right: Host,
    /// First, second and third, and what joins them.
    _between: ([Daemon; 3], Process),
}

impl Chain {
    fn new() -> Chain {
        for device in ["left", "first", "second", "right"] {
            make_tun(device, 1500);
        }
        make_tun("second-r", NARROW);
        make_tun("third", NARROW);
        let first = Daemon::up(
            "--tun left --addr 10.1.0.1/24 --addr fd01::1/64 --host-addr none \
             --tun first --addr 10.12.0.1/24 --addr fd12::1/64 --host-addr none --forward \
             --route 10.0.0.0/8,via=10.12.0.2,dev=first --route fd00::/8,via=fd12::2,dev=first",
        );
        let second = Daemon::up(
            "--tun second --addr 10.12.0.2/24 --addr fd12::2/64 --host-addr none \
             --tun second-r --addr 10.23.0.2/24 --addr fd23::2/64 --host-addr none --forward \
             --route 10.1.0.0/24,via=10.12.0.1 --route 10.2.0.0/24,via=10.23.0.3 \
             --route fd01::/64,via=fd12::1 --route fd02::/64,via=fd23::3",
        );
        let third = Daemon::up(
            "--tun third --addr 10.23.0.3/24 --addr fd23::3/64 --host-addr none \
             --tun right --addr 10.2.0.1/24 --addr fd02::1/64 --host-addr none --forward \
             --route 0.0.0.0/0,via=10.23.0.2 --route ::/0,via=fd23::2",
        );
        // Here the kernel is nothing but a wire.
        let devices = ["first", "second", "second-r", "third"];
        for device in devices {
            sh(&format!("sysctl -qw net.ipv6.conf.{device}.disable_ipv6=1"));
            sh(&format!("ip link set {device} up"));
        }
        let mut joint = Process::start(python("joint.py").args(devices));
        joint.wait_for_stdout("joined", LIMIT);
        let (left, right) = (Host::new(), Host::new());
        left.adopt("left", 1500, &["10.1.0.2/24", "fd01::2/64"]);
        right.adopt("right", 1500, &["10.2.0.2/24", "fd02::2/64"]);
        left.sh("ip route add default via 10.1.0.1");
        left.sh("ip -6 route add default via fd01::1");
        right.sh("ip route add default via 10.2.0.1");
        right.sh("ip -6 route add default via fd02::1");
        Chain { left, right, _between: ([first, second, third], joint) }
    }

    /// Runs a program on the left host; it has to succeed.
    fn ask(&self, line: &str) -> String {
        let ended = self.left.run(line, LIMIT);
        assert!(ended.status.success(), "{line}: {ended:?}");
        ended.stdout
    }
}

/// The addresses that a traceroute names, by hop. With -q 1 there is one line a hop: number, address, time. It is to
/// send one probe at a time (-N 1): of sixteen at once, most end at the target, and targets, Linux and the daemon
/// alike, answer six in a burst.
fn hops(report: &str) -> Vec<&str> {
    report.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap_or_default()).collect()
}

#[test]
fn traceroute_names_every_daemon_on_the_way_by_udp_icmp_and_tcp() {
    in_namespace(|| {
        let chain = Chain::new();
        for how in ["", "-I", "-T -p 81", "-U -p 33434"] {
            for (family, expected) in [("-4", HOPS4), ("-6", HOPS6)] {
                let target = expected[3];
                let report = chain.ask(&format!("traceroute {family} {how} -n -N 1 -q 1 -w 5 {target}"));
                assert_eq!(hops(&report), expected, "{how}\n{report}");
            }
        }
    });
}

#[test]
fn traceroute_ends_at_a_daemon_that_it_is_to_find() {
    in_namespace(|| {
        let chain = Chain::new();
        for how in ["", "-I", "-T -p 81", "-T -p 7"] {
            for (family, target, expected) in [
                ("-4", "10.23.0.3", &HOPS4[..3]),
                ("-6", "fd23::3", &HOPS6[..3]),
                // The far address of the last daemon: the hop is named by the address that was asked for.
                ("-4", "10.2.0.1", &["10.1.0.1", "10.12.0.2", "10.2.0.1"]),
                ("-6", "fd02::1", &["fd01::1", "fd12::2", "fd02::1"]),
            ] {
                let report = chain.ask(&format!("traceroute {family} {how} -n -N 1 -q 1 -w 5 {target}"));
                assert_eq!(hops(&report), expected, "{how}\n{report}");
            }
        }
    });
}

#[test]
fn tracepath_names_every_daemon_and_the_width_of_the_way() {
    in_namespace(|| {
        let chain = Chain::new();
        for (family, expected) in [("-4", HOPS4), ("-6", HOPS6)] {
            let report = chain.ask(&format!("tracepath {family} -n {}", expected[3]));
            for (hop, address) in (1..).zip(expected) {
                assert!(
                    report.lines().any(|line| line.trim_start().starts_with(&format!("{hop}:  {address} "))),
                    "hop {hop}, {address}:\n{report}"
                );
            }
            assert!(report.contains("pmtu 1500"), "{report}");
            assert!(report.contains("Resume: pmtu 1400 hops 4 back 4"), "{report}");
            // It is the second daemon that tells of the narrow link.
            let told = report.lines().find(|line| line.contains("pmtu 1400")).unwrap_or_default();
            assert!(told.contains(expected[1]), "{report}");
        }
    });
}

#[test]
fn traceroute_finds_the_width_of_the_way_by_itself() {
    in_namespace(|| {
        let chain = Chain::new();
        for (family, expected) in [("-4", HOPS4), ("-6", HOPS6)] {
            let report = chain.ask(&format!("traceroute {family} --mtu -n -w 5 {}", expected[3]));
            assert!(report.contains("F=1500") && report.contains(&format!("F={NARROW}")), "{report}");
            assert!(report.lines().last().is_some_and(|line| line.contains(expected[3])), "{report}");
        }
    });
}

#[test]
fn ping_goes_along_the_chain_in_both_directions_whole_and_in_parts() {
    in_namespace(|| {
        let chain = Chain::new();
        for (host, four, six) in [(&chain.left, HOPS4[3], HOPS6[3]), (&chain.right, "10.1.0.2", "fd01::2")] {
            for size in [56, 1372, 1373, 20_000, 65_507] {
                for target in [four, six] {
                    // The first may be lost in learning the path's MTU, and the answer to the second too.
                    let line = format!("ping -c 4 -i 0.2 -W 5 -s {size} {target}");
                    let ended = host.run(&line, LIMIT);
                    let answered = ["4 received", "3 received", "2 received"];
                    assert!(answered.iter().any(|text| ended.stdout.contains(text)), "{line}: {ended:?}");
                }
            }
        }
        let ended = chain.left.run("ping -c 1 -W 5 -M do -s 1450 10.2.0.2", LIMIT);
        let told = format!("{}{}", ended.stdout, ended.stderr);
        assert!(told.contains("mtu") && told.contains("1400"), "{ended:?}");
    });
}

#[test]
fn a_chain_of_daemons_answers_a_record_of_the_route_with_every_address_on_the_way() {
    in_namespace(|| {
        let chain = Chain::new();
        let report = chain.ask("ping -n -c 1 -W 5 -R 10.2.0.2");
        let recorded: Vec<&str> = report
            .lines()
            .skip_while(|line| !line.starts_with("RR:"))
            .map_while(|line| line.trim_start_matches("RR:").split_whitespace().next())
            .collect();
        // Each router notes the address that the packet leaves by (RFC 791), there and back; nine fit.
        assert_eq!(
            recorded,
            [
                "10.1.0.2",
                "10.12.0.1",
                "10.23.0.2",
                "10.2.0.1",
                "10.2.0.2",
                "10.2.0.2",
                "10.23.0.3",
                "10.12.0.2",
                "10.1.0.1"
            ],
            "{report}"
        );
    });
}
