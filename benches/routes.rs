//! The routing table among a million prefixes of the Internet's shape: how long a look-up takes, how long a
//! change, how many bytes a prefix, and whether all of them come back.
//!
//! `cargo bench --bench routes` prints the figures; with `-- --check` it fails if one of them is worse than it
//! may be, `-- --quick` makes do with fewer changes.
//!
//! What a look-up may take is meant for a machine that does nothing else. So beside each stands how long one read of
//! memory took meanwhile, in a chain, anywhere in an array as large as the table. A look-up that waits for the one
//! before cannot be faster than the memory it reads: that kind may take as long as one such read, if that is longer.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;
use std::time::Instant;

use peak_alloc::PeakAlloc;
use tunstack::ipnet::IpNet;
use tunstack::proto::DeviceId;
use tunstack::proto::ip::route::{RouteOrigin, RouteSpec, RouteTable, RouteTarget};
use tunstack::rng::Rng;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// What the Internet's table holds of each family, in thousands.
const PREFIXES_V4: usize = 800_000;
const PREFIXES_V6: usize = 200_000;

/// A look-up may take this long at the median.
const LOOKUP_NS_MAX: f64 = 100.0;
/// And a prefix this much room.
const BYTES_PER_PREFIX_MAX: usize = 128;

/// How many of a thousand prefixes have which length, after the reports of the default-free zone.
const LENGTHS_V4: &[(u8, u32)] = &[
    (24, 595),
    (23, 100),
    (22, 118),
    (21, 55),
    (20, 46),
    (19, 27),
    (18, 15),
    (17, 10),
    (16, 15),
    (15, 5),
    (14, 4),
    (13, 3),
    (12, 3),
    (11, 2),
    (10, 1),
    (8, 1),
];
const LENGTHS_V6: &[(u8, u32)] = &[
    (48, 470),
    (44, 90),
    (40, 90),
    (32, 120),
    (36, 45),
    (47, 35),
    (46, 35),
    (42, 30),
    (33, 25),
    (29, 25),
    (34, 15),
    (38, 10),
    (28, 5),
    (24, 3),
    (20, 2),
];

/// What changes may leave behind: room for more lists of ways than are in use at the end.
const KEPT_MAX: isize = 4096;

/// Blocks from which registries give: the first 16 bits, and how many of the bits after them vary.
const BLOCKS_V6: &[(u16, u16)] =
    &[(0x2001, 0), (0x2400, 0x0f), (0x2600, 0x0f), (0x2800, 0x07), (0x2a00, 0x1f), (0x2c00, 0x0f)];

fn main() -> ExitCode {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    // `cargo test --benches` wants to know that it runs, and no more.
    let (is_check, is_test) = (has("--check"), !has("--bench"));
    let changes = if is_test {
        20_000
    } else if has("--quick") {
        1_000_000
    } else {
        10_000_000
    };
    let scale = if is_test { 100 } else { 1 };
    let mut rng = Rng::from_number(3);
    let routes = distinct(&mut rng, PREFIXES_V4 / scale, PREFIXES_V6 / scale);
    let report = measure(&mut rng, &routes, changes);
    report.print();
    let failures = if is_check { report.failures() } else { Vec::new() };
    for failure in &failures {
        eprintln!("FAILED: {failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What was measured.
struct Report {
    prefixes: usize,
    bytes: usize,
    nodes: usize,
    insert_ns: f64,
    lookups: Vec<Lookup>,
    changes: usize,
    change_ns: f64,
    /// Bytes that were not given back: after as many removals as insertions, and after all was removed.
    kept: [isize; 2],
}

/// How long look-ups took.
struct Lookup {
    /// Of what, and how.
    what: &'static str,
    is_chained: bool,
    ns: f64,
    /// A read of memory at the same time.
    read_ns: f64,
}

impl Lookup {
    fn name(&self) -> String {
        format!("{}{}", self.what, if self.is_chained { " in a chain" } else { "" })
    }

    fn ns_max(&self) -> f64 {
        if self.is_chained { LOOKUP_NS_MAX.max(self.read_ns) } else { LOOKUP_NS_MAX }
    }
}

impl Report {
    fn print(&self) {
        println!("prefixes                  {:>12}", self.prefixes);
        println!("bytes a prefix            {:>12.1}", self.bytes as f64 / self.prefixes as f64);
        println!("nodes                     {:>12}", self.nodes);
        println!("insert                    {:>9.1} ns", self.insert_ns);
        for lookup in &self.lookups {
            let Lookup { ns, read_ns, .. } = lookup;
            println!("look-up, {:<16} {ns:>9.1} ns (a read of memory: {read_ns:.1} ns)", lookup.name());
        }
        println!("changes                   {:>12}", self.changes);
        println!("change                    {:>9.1} ns", self.change_ns);
        println!("bytes kept by changes     {:>12}", self.kept[0]);
        println!("bytes kept when empty     {:>12}", self.kept[1]);
    }

    fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for lookup in &self.lookups {
            let (ns, max) = (lookup.ns, lookup.ns_max());
            if ns >= max {
                let (what, read) = (lookup.name(), lookup.read_ns);
                failures
                    .push(format!("look-up, {what}: {ns:.1} ns, {max:.1} or more (one read: {read:.1} ns)"));
            }
        }
        if self.bytes > self.prefixes * BYTES_PER_PREFIX_MAX {
            failures.push(format!("{} bytes for {} prefixes", self.bytes, self.prefixes));
        }
        if self.kept[0] > KEPT_MAX || self.kept[1] != 0 {
            failures.push(format!("memory was not given back: {:?} bytes", self.kept));
        }
        failures
    }
}

fn measure(rng: &mut Rng, routes: &[RouteSpec], changes: usize) -> Report {
    let hosts_v4 = hosts(rng, routes, true);
    let hosts_v6 = hosts(rng, routes, false);
    let others = distinct(rng, 1000, 1000);
    let mut lookups = Vec::with_capacity(4);
    let mut table = RouteTable::new(usize::MAX);
    let before = used();
    let start = Instant::now();
    for route in routes {
        add(&mut table, route);
    }
    let insert_ns = ns_each(start, routes.len());
    let (full, footprint) = (used(), table.footprint());

    let memory = cycle(rng, (full - before) as usize / size_of::<u32>());
    let lookup = |what, hosts: &[IpAddr], is_chained| {
        let run = if is_chained { chained } else { independent };
        let (ns, read_ns) = medians(hosts, &memory, |batch| run(&table, batch));
        Lookup { what, is_chained, ns, read_ns }
    };
    lookups.extend([
        lookup("IPv4", &hosts_v4, false),
        lookup("IPv6", &hosts_v6, false),
        lookup("IPv4", &hosts_v4, true),
        lookup("IPv6", &hosts_v6, true),
    ]);
    drop(memory);

    let start = Instant::now();
    let made = change(rng, &mut table, routes, &others, changes);
    let change_ns = ns_each(start, made);
    let kept_by_changes = used() - full;
    for route in routes {
        remove(&mut table, route);
    }
    assert!(table.is_empty());
    Report {
        prefixes: routes.len(),
        bytes: (full - before) as usize,
        nodes: footprint.nodes,
        insert_ns,
        lookups,
        changes: made,
        change_ns,
        kept: [kept_by_changes, used() - before],
    }
}

/// Takes prefixes out and puts them in again, each time beside others that come and go, and ends as it began.
fn change(
    rng: &mut Rng,
    table: &mut RouteTable,
    routes: &[RouteSpec],
    others: &[RouteSpec],
    changes: usize,
) -> usize {
    let mut made = 0;
    while made < changes {
        let batch: Vec<&RouteSpec> = (0..256).map(|_| pick(rng, routes)).collect();
        let gone: Vec<_> = batch.into_iter().filter(|route| table.remove(route).is_ok()).collect();
        let other = RouteSpec { metric: 7, ..*pick(rng, others) };
        add(table, &other);
        for route in &gone {
            add(table, route);
        }
        remove(table, &other);
        made += 2 * gone.len() + 2;
    }
    made
}

fn add(table: &mut RouteTable, route: &RouteSpec) {
    table.insert(*route, RouteOrigin::Added).expect("each route is new");
}

fn remove(table: &mut RouteTable, route: &RouteSpec) {
    table.remove(route).expect("the route was inserted");
}

fn independent(table: &RouteTable, batch: &[IpAddr]) {
    for host in batch {
        black_box(table.lookup(*host));
    }
}

/// Each look-up begins when the one before has ended: where its address stands depends on the answer. (A branch that
/// depends on it would not do. The processor guesses where it goes, and does not wait.)
fn chained(table: &RouteTable, batch: &[IpAddr]) {
    let mut last = 0;
    for index in 0..batch.len() {
        // All have the metric 0, but only the answer tells.
        let host = batch[index + last];
        last = black_box(table.lookup(host)).map_or(0, |way| way.metric as usize);
    }
}

const BATCH: usize = 1000;

/// Nanoseconds a look-up, of the batch in the middle; and nanoseconds a read, of batches in between.
fn medians(hosts: &[IpAddr], memory: &[u32], mut run: impl FnMut(&[IpAddr])) -> (f64, f64) {
    let (mut times, mut reads) = (Vec::new(), Vec::new());
    let mut place = 0;
    for batch in hosts.chunks(BATCH) {
        let start = Instant::now();
        run(batch);
        times.push(ns_each(start, batch.len()));
        let start = Instant::now();
        for _ in 0..READS {
            place = memory[place] as usize;
        }
        black_box(place);
        reads.push(ns_each(start, READS));
    }
    (median(times), median(reads))
}

/// Few enough to leave the table in the caches that it was in.
const READS: usize = 100;

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Each number leads to another, through all of them and back to the first.
fn cycle(rng: &mut Rng, len: usize) -> Vec<u32> {
    let mut next: Vec<u32> = (0..len as u32).collect();
    for last in (1..len).rev() {
        next.swap(last, rng.next_u64() as usize % last);
    }
    next
}

fn ns_each(start: Instant, count: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / count as f64
}

fn used() -> isize {
    ALLOCATED.current_usage().try_into().expect("memory is smaller than that")
}

/// An address below each of the prefixes of a family, in no order.
fn hosts(rng: &mut Rng, routes: &[RouteSpec], is_v4: bool) -> Vec<IpAddr> {
    let of_family: Vec<_> =
        routes.iter().filter(|route| route.destination.addr().is_ipv4() == is_v4).collect();
    (0..of_family.len())
        .map(|_| match pick(rng, &of_family).destination {
            IpNet::V4(net) => {
                let host = rng.next_u64() as u32 & net.hostmask().to_bits();
                IpAddr::V4(Ipv4Addr::from_bits(net.network().to_bits() | host))
            }
            IpNet::V6(net) => {
                let host = wide(rng) & net.hostmask().to_bits();
                IpAddr::V6(Ipv6Addr::from_bits(net.network().to_bits() | host))
            }
        })
        .collect()
}

/// Routes to different prefixes, in no order.
fn distinct(rng: &mut Rng, v4: usize, v6: usize) -> Vec<RouteSpec> {
    let mut seen = std::collections::HashSet::new();
    let mut routes = Vec::with_capacity(v4 + v6);
    for (count, make) in [(v4, prefix_v4 as fn(&mut Rng) -> IpNet), (v6, prefix_v6)] {
        let end = routes.len() + count;
        while routes.len() < end {
            let net = make(rng);
            if seen.insert(net) {
                let device = DeviceId(rng.next_u64() as u16 % 8);
                routes.push(RouteSpec::new(net, RouteTarget::Interface(device)));
            }
        }
    }
    for last in (1..routes.len()).rev() {
        routes.swap(last, rng.next_u64() as usize % (last + 1));
    }
    routes
}

/// Prefixes crowd: a quarter of the /16 blocks hold most of them.
fn prefix_v4(rng: &mut Rng) -> IpNet {
    let mut bits = rng.next_u64() as u32;
    let first = 1 + bits % 223;
    bits = bits >> 8 | first << 24;
    if !rng.next_u64().is_multiple_of(4) {
        bits &= !0x0003_0000;
    }
    IpNet::new(IpAddr::V4(Ipv4Addr::from_bits(bits)), length(rng, LENGTHS_V4))
        .expect("a length of IPv4")
        .trunc()
}

/// Registries give out of few blocks, holders out of few networks of 32 bits.
fn prefix_v6(rng: &mut Rng) -> IpNet {
    let (block, vary) = *pick(rng, BLOCKS_V6);
    let first = u128::from(block | (rng.next_u64() as u16 & vary));
    let holder = u128::from(rng.next_u64() as u16 & 0x3ff8);
    let bits = first << 112 | holder << 96 | wide(rng) >> 32;
    let net = IpNet::new(IpAddr::V6(Ipv6Addr::from_bits(bits)), length(rng, LENGTHS_V6));
    net.expect("a length of IPv6").trunc()
}

fn length(rng: &mut Rng, lengths: &[(u8, u32)]) -> u8 {
    let sum: u32 = lengths.iter().map(|(_, share)| share).sum();
    let mut left = rng.next_u64() as u32 % sum;
    for (length, share) in lengths {
        if left < *share {
            return *length;
        }
        left -= share;
    }
    unreachable!("the shares make up the sum")
}

fn pick<'a, T>(rng: &mut Rng, list: &'a [T]) -> &'a T {
    &list[rng.next_u64() as usize % list.len()]
}

fn wide(rng: &mut Rng) -> u128 {
    u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())
}
