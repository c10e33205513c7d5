//! What becomes of single packets that a router has to judge: the daemon beside a kernel router, for the same packets
//! and on the same links.

use std::collections::BTreeMap;
use std::time::Duration;

use tunstack::net::{Builder, ReversePath};

use crate::harness::{Router, Sides, in_namespace, python, run};

const LIMIT: Duration = Duration::from_secs(30);

/// Routes of both routers that lead nowhere.
const NOWHERE: [(&str, &str); 6] = [
    ("198.51.100.0/24", "blackhole"),
    ("203.0.113.0/25", "unreachable"),
    ("203.0.113.128/25", "prohibit"),
    ("2001:db8:1::/48", "blackhole"),
    ("2001:db8:2::/48", "unreachable"),
    ("2001:db8:3::/48", "prohibit"),
];

/// Where we mean to differ from Linux: the probe, what becomes of it here, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("v4 source class E", "nothing", "RFC 1812 section 5.3.7: martian"),
    ("v4 destination class E", "nothing", "the same"),
    ("v4 source link-local", "nothing", "RFC 3927 section 7: never forwarded"),
    ("v4 destination link-local", "nothing", "the same"),
    (
        "v4 destination old directed broadcast",
        "nothing",
        "RFC 1812 section 5.3.5.1: all zeros is an old broadcast",
    ),
    (
        "v6 source link-local",
        "back: type 1 code 2 rest 00000000 from fd01::1 to fe80::99 ttl 64 tos 0 quoting 80 of 80 with ttl 64",
        "the same error, but from an address that the interface has",
    ),
    (
        "v6 destination link-local",
        "nothing",
        "RFC 4291 section 2.5.6: stays on its link; Linux sends it back with a redirect",
    ),
    ("v6 destination unspecified", "nothing", "RFC 4291 section 2.5.2: never a destination"),
    (
        "v6 back where it came from",
        "back: type 1 code 3 rest 00000000 from fd01::1 to fd01::14e ttl 64 tos 0 quoting 80 of 80 with ttl 64",
        "RFC 4443 section 3.1: MUST NOT go back onto a point-to-point link; Linux sends it back, and a redirect",
    ),
    (
        "v6 unreachable",
        "back: type 1 code 3 rest 00000000 from fd01::1 to fd01::143 ttl 64 tos 0 quoting 80 of 80 with ttl 64",
        "RFC 4443 section 3.1: there is a route, so it is not code 0",
    ),
];

/// A stack in this process with the same routes.
const LIBRARY: Router = Router::Library(with_routes);

fn with_routes(builder: Builder) -> Builder {
    NOWHERE
        .iter()
        .fold(builder, |builder, (destination, kind)| builder.route(format!("{destination},type={kind}")))
}

/// What became of each probe, by its name. The links are 1,500 bytes on the left and 1,280 on the right.
fn judged_by(router: &Router, probes: &str, kernels_settings: &str) -> BTreeMap<String, String> {
    let sides = Sides::new(router, 1500, 1280);
    if let Some(kernel) = &sides.kernel {
        // Nobody asks for redirects: hosts on a TUN have no other router to turn to.
        kernel.sh("sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.r-left.send_redirects=0");
        if !kernels_settings.is_empty() {
            kernel.sh(&format!("sysctl -qw {kernels_settings}"));
        }
        for (destination, kind) in NOWHERE {
            let family = if destination.contains(':') { "-6" } else { "-4" };
            kernel.sh(&format!("ip {family} route add {kind} {destination}"));
        }
        for (destination, via) in BEHIND {
            let family = if destination.contains(':') { "-6" } else { "-4" };
            kernel.sh(&format!("ip {family} route add {destination} via {via}"));
        }
    }
    let (left, right) = (sides.left.id().to_string(), sides.right.id().to_string());
    let ended = run(python("forwarding.py").args([left.as_str(), right.as_str(), probes]), LIMIT);
    assert!(ended.status.success(), "{ended:?}");
    if let Some(net) = &sides.net {
        let counters = net.counters();
        assert_eq!(
            counters.packets_in,
            counters.packets_delivered + counters.packets_forwarded + counters.dropped_total(),
            "every packet is counted once"
        );
    }
    let told = |line: &str| line.split_once(" -> ").map(|(name, what)| (name.to_owned(), what.to_owned()));
    ended.stdout.lines().map(|line| told(line).expect("a probe and what became of it")).collect()
}

#[test]
fn packets_on_their_way_are_judged_as_the_kernel_judges_them_but_where_we_say_so() {
    in_namespace(|| {
        let kernel = judged_by(&Router::Kernel, "all", "");
        let daemon = judged_by(&LIBRARY, "all", "");
        assert!(kernel.len() > 80, "only {} probes ran", kernel.len());
        let mut wrong = String::new();
        for (probe, theirs) in &kernel {
            let ours = daemon.get(probe).map_or("not told", String::as_str);
            let differs = DIFFERENCES.iter().find(|(name, ..)| name == probe);
            let expected = differs.map_or(theirs.as_str(), |(_, expected, _)| expected);
            if ours != expected {
                wrong += &format!("{probe}\n    ours:     {ours}\n    expected: {expected}\n");
            }
            if differs.is_some() && expected == theirs {
                wrong += &format!("{probe}\n    is no difference: the kernel does the same\n");
            }
        }
        assert!(wrong.is_empty(), "\n{wrong}");
    });
}

/// Routes to and from more networks on either side, for both kinds of router.
const BEHIND: [(&str, &str); 4] = [
    ("172.20.0.0/16", "10.2.0.9"),
    ("172.21.0.0/16", "10.1.0.9"),
    ("fd20::/64", "fd02::9"),
    ("fd21::/64", "fd01::9"),
];

fn with_more_routes(builder: Builder, check: ReversePath) -> Builder {
    let builder = with_routes(builder).reverse_path(check);
    BEHIND
        .iter()
        .fold(builder, |builder, (destination, via)| builder.route(format!("{destination},via={via}")))
}

/// Which probes went through, whatever became of the others.
fn through(judged: &BTreeMap<String, String>, family: &str) -> Vec<String> {
    let passed = judged.iter().filter(|(name, what)| name.starts_with(family) && what.starts_with("through"));
    passed.map(|(name, _)| name.clone()).collect()
}

#[test]
fn the_way_back_is_asked_for_as_linux_asks_for_it() {
    in_namespace(|| {
        let checks: [(u32, Router); 3] = [
            (0, Router::Library(|builder| with_more_routes(builder, ReversePath::Off))),
            (1, Router::Library(|builder| with_more_routes(builder, ReversePath::Strict))),
            (2, Router::Library(|builder| with_more_routes(builder, ReversePath::Loose))),
        ];
        for (rp_filter, router) in &checks {
            let settings =
                format!("net.ipv4.conf.all.rp_filter={rp_filter} net.ipv4.conf.r-left.rp_filter={rp_filter}");
            let kernel = judged_by(&Router::Kernel, "sources", &settings);
            let ours = judged_by(router, "sources", "");
            assert_eq!(through(&ours, "v4"), through(&kernel, "v4"), "{rp_filter}: {ours:#?} {kernel:#?}");
            // Linux has no such check for IPv6; ours is the same for both families.
            let six: Vec<String> = through(&ours, "v4")
                .iter()
                .filter(|name| !name.ends_with("of the left host"))
                .map(|name| name.replace("v4", "v6"))
                .collect();
            assert_eq!(through(&ours, "v6"), six, "{rp_filter}: {ours:#?}");
        }
    });
}
