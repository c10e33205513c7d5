//! The table against a list that is searched from end to end.

use super::*;
use proptest::prelude::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn by(destination: &str, device: u16) -> RouteSpec {
    RouteSpec::new(net(destination), RouteTarget::Interface(DeviceId(device)))
}

fn table(routes: &[RouteSpec]) -> RouteTable {
    let mut table = RouteTable::new(1000);
    for route in routes {
        table.insert(*route, RouteOrigin::Added).unwrap();
    }
    table
}

fn device(table: &RouteTable, destination: &str) -> Option<u16> {
    table.lookup(ip(destination)).and_then(Way::device).map(|device| device.0)
}

#[test]
fn the_longest_prefix_wins_whatever_the_order_of_insertion() {
    //= RFC1812 section 5.2.4.3: the longest match.
    let table =
        table(&[by("10.9.0.0/24", 1), by("0.0.0.0/0", 0), by("10.9.0.128/25", 2), by("10.9.0.200/32", 3)]);
    assert_eq!(device(&table, "10.9.0.5"), Some(1));
    assert_eq!(device(&table, "10.9.0.130"), Some(2));
    assert_eq!(device(&table, "10.9.0.200"), Some(3));
    assert_eq!(device(&table, "8.8.8.8"), Some(0));
}

#[test]
fn families_do_not_mix() {
    let table = table(&[by("::/0", 6)]);
    assert_eq!(device(&table, "10.0.0.1"), None);
    assert_eq!(device(&table, "2001:db8::1"), Some(6));
}

#[test]
fn of_several_routes_the_lowest_metric_wins_and_the_next_takes_its_place() {
    let with = |device, metric| RouteSpec { metric, ..by("10.0.0.0/8", device) };
    let mut table = table(&[with(5, 50), with(1, 10), with(9, 90)]);
    for expected in [Some(1), Some(5), Some(9), None] {
        assert_eq!(device(&table, "10.1.2.3"), expected);
        let best = table.iter().next();
        assert_eq!(
            best.map(|entry| entry.route.target),
            expected.map(|id| RouteTarget::Interface(DeviceId(id)))
        );
        if let Some(best) = best {
            assert_eq!(table.remove(&best.route), Ok(best));
        }
    }
    assert!(table.is_empty());
}

#[test]
fn the_same_destination_and_metric_is_refused_and_host_bits_do_not_count() {
    let mut table = table(&[by("10.9.0.7/24", 1)]);
    assert_eq!(table.insert(by("10.9.0.0/24", 2), RouteOrigin::Added), Err(Error::AlreadyExists));
    assert_eq!(table.iter().map(|entry| entry.route).collect::<Vec<_>>(), [by("10.9.0.0/24", 1)]);
    assert_eq!(table.remove(&by("10.9.0.9/24", 1)).map(|entry| entry.origin), Ok(RouteOrigin::Added));
}

#[test]
fn connected_routes_of_two_interfaces_share_a_network() {
    let mut table = table(&[]);
    for id in [1, 2] {
        table.insert(by("10.9.0.0/24", id), RouteOrigin::Connected).unwrap();
    }
    assert_eq!(table.insert(by("10.9.0.0/24", 2), RouteOrigin::Connected), Err(Error::AlreadyExists));
    assert_eq!(table.insert(by("10.9.0.0/24", 3), RouteOrigin::Added), Err(Error::AlreadyExists));
    assert_eq!(device(&table, "10.9.0.1"), Some(1));
    table.remove(&by("10.9.0.0/24", 1)).unwrap();
    assert_eq!(device(&table, "10.9.0.1"), Some(2));
}

#[test]
fn a_route_is_removed_by_what_is_said_of_it() {
    let gateway = |via: &str, device| RouteTarget::Gateway { via: ip(via), device };
    let route =
        RouteSpec { metric: 7, ..RouteSpec::new(net("10.0.0.0/8"), gateway("10.1.0.1", Some(DeviceId(1)))) };
    let mut table = table(&[RouteSpec { source: Some(ip("10.1.0.2")), ..route }]);
    for other in [
        RouteSpec { metric: 8, ..route },
        RouteSpec { target: gateway("10.1.0.9", None), ..route },
        RouteSpec { target: gateway("10.1.0.1", Some(DeviceId(2))), ..route },
        RouteSpec { target: RouteTarget::Blackhole, ..route },
        RouteSpec { source: Some(ip("10.1.0.3")), ..route },
        RouteSpec { destination: net("10.0.0.0/9"), ..route },
        RouteSpec { destination: net("a00::/8"), ..route },
    ] {
        assert_eq!(table.remove(&other), Err(Error::NotFound), "{other:?}");
    }
    table.remove(&RouteSpec { target: gateway("10.1.0.1", None), ..route }).unwrap();
}

#[test]
fn a_full_table_takes_no_more() {
    let mut table = RouteTable::new(2);
    table.insert(by("10.0.0.0/8", 1), RouteOrigin::Added).unwrap();
    table.insert(by("::/0", 1), RouteOrigin::Connected).unwrap();
    assert_eq!(table.insert(by("11.0.0.0/8", 1), RouteOrigin::Added), Err(Error::NoBufferSpace));
    table.remove(&by("::/0", 1)).unwrap();
    table.insert(by("11.0.0.0/8", 1), RouteOrigin::Added).unwrap();
}

#[test]
fn routes_are_told_in_the_order_of_their_destinations() {
    let texts = [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.0.0.0/9",
        "10.0.0.0/32",
        "10.128.0.0/9",
        "11.0.0.0/8",
        "::/0",
        "fd00::/8",
    ];
    let mut routes = texts.map(|text| by(text, 0));
    routes.reverse();
    let table = table(&routes);
    assert!(table.iter().map(|entry| entry.route.destination).eq(texts.map(net)));
}

#[test]
fn unwanted_routes_go_and_the_others_stay() {
    let with = |destination, source: &str| RouteSpec { source: Some(ip(source)), ..by(destination, 1) };
    let mut table = table(&[
        with("10.0.0.0/8", "10.0.0.1"),
        RouteSpec { metric: 1, ..with("10.0.0.0/8", "10.0.0.2") },
        with("11.0.0.0/8", "10.0.0.1"),
        by("12.0.0.0/8", 1),
    ]);
    table.remove_all(|way| way.source == Some(ip("10.0.0.1")));
    assert!(table.iter().map(|entry| entry.route.destination).eq([net("10.0.0.0/8"), net("12.0.0.0/8")]));
}

/// Addresses and networks that are close to one another, so that prefixes nest at every depth.
fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = (any::<u32>(), 0_u32..=32, any::<bool>()).prop_map(|(other, shared, few)| {
        let other = if few { other & 0x0101_0101 } else { other };
        IpAddr::V4(Ipv4Addr::from_bits(0x0a09_0000 ^ other.unbounded_shr(shared)))
    });
    let v6 = (any::<u128>(), 0_u32..=128, any::<bool>()).prop_map(|(other, shared, few)| {
        // Bits on either side of every border between tiers of the index.
        let other = if few { other & 0x0001_8181_8181_8100_0000_0000_0000_0001 } else { other };
        IpAddr::V6(Ipv6Addr::from_bits((0xfd09 << 112) ^ other.unbounded_shr(shared)))
    });
    prop_oneof![v4, v6]
}

/// Any length, or one next to a border between tiers.
fn length() -> impl Strategy<Value = u8> {
    let border = prop::sample::select(&[0_u8, 16, 17, 24, 25, 32, 33, 47, 48, 49, 64, 128][..]);
    prop_oneof![any::<u8>(), border]
}

fn network() -> impl Strategy<Value = IpNet> {
    (address(), length()).prop_map(|(address, len)| {
        let max = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, len % (max + 1)).unwrap()
    })
}

/// An address of one block of 32 bits, or of the one behind it.
fn crowded_address() -> impl Strategy<Value = IpAddr> {
    (0_u128..2, any::<u16>(), any::<bool>(), 0_u128..8).prop_map(|(block, at, few, below)| {
        let at = if few { at & 0xff } else { at };
        let bits = (0x2001_0db8_u128 + block) << 96 | u128::from(at) << 80 | below << 77 | below;
        IpAddr::V6(Ipv6Addr::from_bits(bits))
    })
}

/// A network of theirs, seldom one that holds both.
fn crowded_network() -> impl Strategy<Value = IpNet> {
    let len = prop_oneof![
        20 => 33_u8..=48,
        20 => 46_u8..=48,
        4 => 49_u8..=52,
        1 => 20_u8..=32,
        1 => Just(128_u8),
        1 => Just(0_u8),
    ];
    (crowded_address(), len).prop_map(|(address, len)| IpNet::new(address, len).unwrap())
}

#[derive(Clone, Debug)]
enum Change {
    Add {
        net: IpNet,
        metric: u32,
        device: u16,
        origin: RouteOrigin,
    },
    /// The route at this place of the list, counted round.
    Remove(usize),
    /// One that need not be there.
    RemoveOther {
        net: IpNet,
        metric: u32,
        device: u16,
    },
}

fn change(network: impl Strategy<Value = IpNet> + Clone) -> impl Strategy<Value = Change> {
    let origin = prop_oneof![Just(RouteOrigin::Connected), Just(RouteOrigin::Added)];
    prop_oneof![
        4 => (network.clone(), 0_u32..3, 0_u16..3, origin)
            .prop_map(|(net, metric, device, origin)| Change::Add { net, metric, device, origin }),
        2 => any::<usize>().prop_map(Change::Remove),
        1 => (network, 0_u32..3, 0_u16..3)
            .prop_map(|(net, metric, device)| Change::RemoveOther { net, metric, device }),
    ]
}

/// The naive model: a list, the oldest first, searched from end to end.
#[derive(Default)]
struct Naive(Vec<RouteEntry>);

impl Naive {
    fn insert(&mut self, route: RouteSpec, origin: RouteOrigin) -> Result<(), Error> {
        let route = RouteSpec { destination: route.destination.trunc(), ..route };
        let new = RouteEntry { route, origin };
        let is_taken = |there: &RouteEntry| {
            there.route.destination == route.destination
                && match origin {
                    RouteOrigin::Connected => *there == new,
                    RouteOrigin::Added => there.route.metric == route.metric,
                }
        };
        if self.0.iter().any(is_taken) {
            return Err(Error::AlreadyExists);
        }
        self.0.push(new);
        Ok(())
    }

    fn remove(&mut self, route: &RouteSpec) -> Result<RouteEntry, Error> {
        let is_it = |there: &RouteEntry| {
            (there.route.destination, there.route.metric, there.route.target)
                == (route.destination.trunc(), route.metric, route.target)
        };
        let index = self.0.iter().position(is_it).ok_or(Error::NotFound)?;
        Ok(self.0.remove(index))
    }

    fn lookup(&self, destination: IpAddr, wanted: impl Fn(&RouteSpec) -> bool) -> Option<RouteTarget> {
        let holds =
            |entry: &&RouteEntry| entry.route.destination.contains(&destination) && wanted(&entry.route);
        let rank = |entry: &&RouteEntry| (u8::MAX - entry.route.destination.prefix_len(), entry.route.metric);
        self.0.iter().filter(holds).min_by_key(rank).map(|entry| entry.route.target)
    }

    fn sorted(&self) -> Vec<RouteEntry> {
        let mut sorted = self.0.clone();
        sorted.sort_by_key(|entry| (entry.route.destination, entry.route.metric));
        sorted
    }
}

fn apply(table: &mut RouteTable, naive: &mut Naive, change: &Change) -> Result<(), TestCaseError> {
    let to = |net, metric, device| RouteSpec {
        metric,
        ..RouteSpec::new(net, RouteTarget::Interface(DeviceId(device)))
    };
    match *change {
        Change::Add { net, metric, device, origin } => {
            let route = to(net, metric, device);
            prop_assert_eq!(table.insert(route, origin), naive.insert(route, origin));
        }
        Change::Remove(_) if naive.0.is_empty() => {}
        Change::Remove(at) => {
            let route = naive.0[at % naive.0.len()].route;
            prop_assert_eq!(table.remove(&route), naive.remove(&route));
        }
        Change::RemoveOther { net, metric, device } => {
            let route = to(net, metric, device);
            prop_assert_eq!(table.remove(&route), naive.remove(&route));
        }
    }
    prop_assert_eq!(table.len(), naive.0.len());
    Ok(())
}

/// Of what a table is made that depends on what was there before.
fn shape(table: &RouteTable) -> (bool, Option<usize>) {
    (table.v4.index().is_some(), table.v6.index().map(Blocks::room))
}

fn it_agrees(changes: &[Change], destinations: Vec<IpAddr>) -> Result<(), TestCaseError> {
    let (mut table, mut naive) = (RouteTable::new(1000), Naive::default());
    for change in changes {
        apply(&mut table, &mut naive, change)?;
        // Around what has changed at once, else a later change might put it right.
        let (Change::Add { net, .. } | Change::RemoveOther { net, .. }) = change else { continue };
        for destination in [net.addr(), net.network(), net.broadcast()] {
            let found = table.lookup(destination).map(|way| way.target);
            prop_assert_eq!(found, naive.lookup(destination, |_| true), "{} after {:?}", destination, change);
        }
    }
    let networks = naive.0.iter().map(|entry| entry.route.destination);
    let edges = networks.flat_map(|network| [network.network(), network.broadcast()]).collect::<Vec<_>>();
    for destination in destinations.into_iter().chain(edges) {
        let found = table.lookup(destination).map(|way| way.target);
        prop_assert_eq!(found, naive.lookup(destination, |_| true), "{}", destination);
        let by_1 = RouteTarget::Interface(DeviceId(1));
        let found = table.lookup_where(destination, |way| way.target == by_1).map(|way| way.target);
        prop_assert_eq!(found, naive.lookup(destination, |route| route.target == by_1), "{}", destination);
    }
    prop_assert_eq!(table.iter().collect::<Vec<_>>(), naive.sorted());
    // The same routes make the same table, whatever was there in between.
    let mut fresh = RouteTable::new(1000);
    for entry in &naive.0 {
        fresh.insert(entry.route, entry.origin).unwrap();
    }
    if shape(&table) == shape(&fresh) {
        prop_assert_eq!(table.footprint(), fresh.footprint());
    }
    prop_assert_eq!(table.choices.len(), fresh.choices.len());
    for entry in naive.sorted() {
        table.remove(&entry.route).unwrap();
    }
    prop_assert_eq!(table.footprint(), Footprint::default());
    prop_assert_eq!(table.choices.len(), 0);
    Ok(())
}

proptest! {
    #[test]
    fn it_agrees_with_a_search_from_end_to_end_and_gives_back_all_memory(
        changes in prop::collection::vec(change(network().boxed()), 0..120),
        destinations in prop::collection::vec(address(), 1..40),
    ) {
        it_agrees(&changes, destinations)?;
    }

    #[test]
    fn it_agrees_too_where_one_block_of_ipv6_is_crowded(
        changes in prop::collection::vec(change(crowded_network().boxed()), 0..250),
        destinations in prop::collection::vec(crowded_address(), 1..40),
    ) {
        it_agrees(&changes, destinations)?;
    }
}
