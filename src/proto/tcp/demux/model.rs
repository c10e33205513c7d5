//! Both tables against lists that are searched from end to end.

use core::net::Ipv6Addr;

use proptest::prelude::*;
use slotmap::KeyData;

use super::*;

/// Few places, so that tuples meet again and listeners conflict. (2^16 apart: the same low bits.)
const ADDRESSES: [&str; 6] = ["0.0.0.0", "10.9.0.2", "10.10.0.2", "::", "fd09::2", "::ffff:10.9.0.2"];
const PORTS: [u16; 3] = [1, 7, 65_535];

fn address(which: usize) -> IpAddr {
    ADDRESSES[which].parse().unwrap()
}

fn place() -> impl Strategy<Value = SocketAddr> {
    (0..ADDRESSES.len(), prop::sample::select(&PORTS[..]))
        .prop_map(|(which, port)| SocketAddr::new(address(which), port))
}

fn places() -> impl Iterator<Item = SocketAddr> {
    (0..ADDRESSES.len()).flat_map(|which| PORTS.map(|port| SocketAddr::new(address(which), port)))
}

/// A tuple of one family, whose local address is one of ours.
fn tuple() -> impl Strategy<Value = FourTuple> {
    let is_specified = |local: &SocketAddr| !local.ip().is_unspecified();
    (place().prop_filter("a connection has an address", is_specified), 0_u16..3, 0_u16..2).prop_map(
        |(local, port, host)| {
            let remote = if local.is_ipv4() {
                IpAddr::from([10, 9, 0, 2 - host as u8])
            } else {
                IpAddr::from(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2 - host))
            };
            FourTuple::new(local, SocketAddr::new(remote, PORTS[usize::from(port)]))
        },
    )
}

fn key(number: u64) -> KeyData {
    KeyData::from_ffi((1 << 32) | (number + 1))
}

fn target() -> impl Strategy<Value = Target> {
    (0_u64..4, 0..3).prop_map(|(number, kind)| match kind {
        0 => Target::Socket(key(number).into()),
        1 => Target::HalfOpen(key(number).into()),
        _ => Target::TimeWait(key(number).into()),
    })
}

#[derive(Clone, Debug)]
enum Op {
    Point(FourTuple, Target),
    /// One that is there or not, with the target that it points at or another.
    Forget(FourTuple, Target),
    ForgetOne(prop::sample::Index),
    Listen(SocketAddr, bool),
    StopListening(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (tuple(), target()).prop_map(|(tuple, target)| Op::Point(tuple, target)),
        1 => (tuple(), target()).prop_map(|(tuple, target)| Op::Forget(tuple, target)),
        2 => any::<prop::sample::Index>().prop_map(Op::ForgetOne),
        4 => (place(), prop::bool::weighted(0.7)).prop_map(|(place, reuse)| Op::Listen(place, reuse)),
        2 => any::<prop::sample::Index>().prop_map(Op::StopListening),
    ]
}

#[derive(Clone, Copy, Debug)]
struct Listens {
    at: SocketAddr,
    id: ListenerId,
    reuse_port: bool,
}

/// The naive model.
#[derive(Default)]
struct Lists {
    connections: Vec<(FourTuple, Target)>,
    listeners: Vec<Listens>,
    made: u64,
}

impl Lists {
    fn point(&mut self, tuple: FourTuple, target: Target) {
        self.connections.retain(|(it, _)| *it != tuple);
        self.connections.push((tuple, target));
    }

    fn find(&self, tuple: &FourTuple) -> Option<Target> {
        self.connections.iter().find(|(it, _)| it == tuple).map(|(_, target)| *target)
    }

    fn connections_at(&self, local: SocketAddr) -> Vec<Target> {
        let here = self.connections.iter().filter(|(it, _)| overlap(local, it.local_addr()));
        here.map(|(_, target)| *target).collect()
    }

    /// Linux: two that overlap need SO_REUSEPORT, both of them.
    fn may_listen(&self, local: SocketAddr, reuse_port: bool) -> bool {
        let overlapping = |it: &&Listens| overlap(it.at, local) || overlap(local, it.at);
        self.listeners.iter().filter(overlapping).all(|it| it.reuse_port && reuse_port)
    }

    /// Those of whom one has to answer.
    fn answer_to(&self, tuple: &FourTuple) -> Vec<ListenerId> {
        let exactly = self.listeners.iter().filter(|it| it.at == tuple.local_addr());
        let generally = self.listeners.iter().filter(|it| overlap(it.at, tuple.local_addr()));
        let ids: Vec<ListenerId> = exactly.map(|it| it.id).collect();
        if ids.is_empty() { generally.map(|it| it.id).collect() } else { ids }
    }
}

/// Whether what is bound to `bound` hears what is sent to `at`.
fn overlap(bound: SocketAddr, at: SocketAddr) -> bool {
    let any = if at.is_ipv4() { address(0) } else { address(3) };
    bound.port() == at.port() && (bound.ip() == at.ip() || bound.ip() == any)
}

fn apply(demux: &mut Demux, lists: &mut Lists, op: Op) {
    match op {
        Op::Point(tuple, target) => {
            let at = demux.locate(tuple);
            demux.point(&at, target);
            lists.point(tuple, target);
        }
        Op::Forget(tuple, target) => {
            demux.forget_at(&demux.locate(tuple), target);
            lists.connections.retain(|it| *it != (tuple, target));
        }
        Op::ForgetOne(which) if !lists.connections.is_empty() => {
            let (tuple, target) = lists.connections.swap_remove(which.index(lists.connections.len()));
            demux.forget_at(&demux.locate(tuple), target);
        }
        Op::Listen(at, reuse_port) => {
            let may = lists.may_listen(at, reuse_port);
            assert_eq!(demux.may_listen(at.ip(), at.port(), reuse_port), may);
            if may {
                let id = ListenerId::from(key(lists.made));
                lists.made += 1;
                demux.add_listener(at, id, reuse_port);
                lists.listeners.push(Listens { at, id, reuse_port });
            }
        }
        Op::StopListening(which) if !lists.listeners.is_empty() => {
            let Listens { at, id, .. } = lists.listeners.swap_remove(which.index(lists.listeners.len()));
            demux.remove_listener(at, id);
            // Once more, and where it never was: nothing.
            demux.remove_listener(at, id);
            demux.remove_listener(SocketAddr::new(at.ip(), 9), id);
        }
        Op::ForgetOne(_) | Op::StopListening(_) => {}
    }
}

/// Compares all that can be asked, of every place there is and of some tuples.
fn compare(demux: &mut Demux, lists: &Lists, probes: &[FourTuple]) {
    for tuple in probes.iter().chain(lists.connections.iter().map(|(tuple, _)| tuple)) {
        assert_eq!(demux.find(tuple), lists.find(tuple), "{tuple:?}");
        let answer = demux.find_listener(tuple);
        let candidates = lists.answer_to(tuple);
        assert_eq!(answer.is_some(), !candidates.is_empty(), "{tuple:?}");
        assert!(answer.is_none_or(|id| candidates.contains(&id)), "{tuple:?}: {answer:?} of {candidates:?}");
        assert_eq!(demux.find_listener(tuple), answer, "a peer stays with its listener");
    }
    for port in [0, 1, 6, 7, 8, 65_534, 65_535] {
        let used = lists.connections.iter().any(|(tuple, _)| tuple.local_port == port);
        assert_eq!(demux.is_in_use(port), used);
    }
    for local in places() {
        let sorted = |mut targets: Vec<Target>| {
            targets.sort_by_key(|target| format!("{target:?}"));
            targets
        };
        let found = sorted(demux.connections_at(local).collect());
        assert_eq!(found, sorted(lists.connections_at(local)), "{local}");
        for reuse_port in [false, true] {
            let may = lists.may_listen(local, reuse_port);
            assert_eq!(demux.may_listen(local.ip(), local.port(), reuse_port), may, "{local}");
        }
        assert_eq!(demux.is_listened(local.ip(), local.port()), !lists.may_listen(local, false));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_tables_agree_with_lists_and_are_empty_in_the_end(
        ops in prop::collection::vec(op(), 1..60),
        probes in prop::collection::vec(tuple(), 10),
    ) {
        let (mut demux, mut lists) = (Demux::new([5; 16]), Lists::default());
        for op in ops {
            apply(&mut demux, &mut lists, op);
            compare(&mut demux, &lists, &probes);
        }
        for (tuple, target) in lists.connections {
            demux.forget_at(&demux.locate(tuple), target);
        }
        for Listens { at, id, .. } in lists.listeners {
            demux.remove_listener(at, id);
        }
        prop_assert!(demux.connections.is_empty() && demux.listeners.is_empty());
        prop_assert!(demux.on_port.iter().all(|count| *count == 0));
    }
}

#[test]
fn listeners_that_share_a_port_share_its_peers_and_lose_only_those_of_one_that_goes() {
    let mut demux = Demux::new([5; 16]);
    let local: SocketAddr = "10.9.0.2:7".parse().unwrap();
    let ids: [ListenerId; 4] = core::array::from_fn(|number| key(number as u64).into());
    for id in ids {
        demux.add_listener(local, id, true);
    }
    let answer = |demux: &mut Demux, port: u16| {
        let remote = SocketAddr::new([10, 9, 0, 1].into(), port);
        demux.find_listener(&FourTuple::new(local, remote)).unwrap()
    };
    let mut shares = [0; 4];
    for port in 1..=1000 {
        shares[ids.iter().position(|id| *id == answer(&mut demux, port)).unwrap()] += 1;
    }
    assert!(shares.iter().all(|share| (180..320).contains(share)), "{shares:?}");
    demux.remove_listener(local, ids[2]);
    assert!((1..=1000).all(|port| answer(&mut demux, port) != ids[2]));
}
