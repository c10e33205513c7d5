//! Whole networks in virtual time.
//!
//! Owns the nodes, the cables between their ports, and the clock. Owns not what nodes do with packets (that is each
//! [`Node`]'s own; [`StackNode`](super::StackNode) is a stack of ours), nor what happens on the way ([`Link`]'s).
//!
//! Nothing here draws a number or reads a clock: nodes and links have their seeds, and time goes on only when the
//! driver says so. A run is therefore what it was made of, and happens again whenever it is made of the same.

use alloc::vec::Vec;
use core::time::Duration;

use super::link::{Link, LinkConfig, LinkCounters};
use crate::time::Instant;

/// What stands at the ends of cables: a host, a router, or whatever else takes packets and sends some.
pub trait Node {
    /// Takes a packet that has come in by a port.
    fn receive(&mut self, now: Instant, port: usize, packet: &[u8]);

    /// Runs what is due and puts what is to be sent into `out`, each with the port it leaves by. `true` if anything has
    /// happened.
    fn poll(&mut self, now: Instant, out: &mut Vec<(usize, Vec<u8>)>) -> bool;

    /// When [`poll`](Self::poll) has something to do although nothing comes in.
    fn deadline(&mut self, now: Instant) -> Option<Instant>;
}

impl<N: Node + ?Sized> Node for alloc::boxed::Box<N> {
    fn receive(&mut self, now: Instant, port: usize, packet: &[u8]) {
        (**self).receive(now, port, packet);
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<(usize, Vec<u8>)>) -> bool {
        (**self).poll(now, out)
    }

    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        (**self).deadline(now)
    }
}

/// Names a node of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// Names a cable of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CableId(pub usize);

/// Where a cable can be plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Whose.
    pub node: NodeId,
    /// Which, in the node's own numbering.
    pub port: usize,
}

/// Which way a packet goes on a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the end named first when the cable was plugged in.
    There,
    /// Towards it.
    Back,
}

impl Direction {
    /// Both.
    pub const BOTH: [Direction; 2] = [Direction::There, Direction::Back];

    fn index(self) -> usize {
        match self {
            Direction::There => 0,
            Direction::Back => 1,
        }
    }
}

/// What a cable did with a packet when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is on its way (perhaps twice, late or damaged).
    Carried,
    /// Lost by chance.
    Lost,
    /// There was no room in the queue.
    Overflowed,
    /// Larger than the path takes.
    TooLarge,
    /// The cable is interrupted, or none is plugged in.
    Interrupted,
}

impl Fate {
    /// What has happened between two looks at a link's counters, if one packet was sent meanwhile.
    fn between(before: LinkCounters, after: LinkCounters) -> Self {
        if after.lost > before.lost {
            Fate::Lost
        } else if after.overflowed > before.overflowed {
            Fate::Overflowed
        } else if after.too_large > before.too_large {
            Fate::TooLarge
        } else if after.interrupted > before.interrupted {
            Fate::Interrupted
        } else {
            Fate::Carried
        }
    }
}

/// A packet, seen where it leaves a node or where it comes to one.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// When, by the network's clock.
    pub at: Instant,
    /// The port it leaves by, or comes in by.
    pub port: Port,
    /// The packet.
    pub packet: &'a [u8],
}

/// Looks on: an oracle, a trace, a capture.
pub trait Watch {
    /// A node has sent a packet.
    fn sent(&mut self, sight: &Sight<'_>, fate: Fate);
    /// A node is about to be given a packet.
    fn arrived(&mut self, sight: &Sight<'_>);
}

/// Nobody looks on.
impl Watch for () {
    fn sent(&mut self, _sight: &Sight<'_>, _fate: Fate) {}
    fn arrived(&mut self, _sight: &Sight<'_>) {}
}

/// Nodes, cables and a clock.
///
/// ```
/// use core::time::Duration;
/// use tunstack::proto::{Config, Secrets, Stack};
/// use tunstack::sim::{LinkConfig, Network, Port, StackNode};
/// use tunstack::time::Instant;
///
/// let start = Instant::from_millis(1_000);
/// let host = |seed, address: &str| {
///     let mut stack = Stack::new(Config::default(), &Secrets::from_number(seed), start);
///     let device = stack.add_interface(1500);
///     stack.add_address(device, address.parse().unwrap()).unwrap();
///     StackNode::new(stack, seed)
/// };
/// let mut network = Network::new(start);
/// let [a, b] = [network.add(host(1, "10.9.0.1/24")), network.add(host(2, "10.9.0.2/24"))];
/// let path = LinkConfig { delay: Duration::from_millis(30), ..LinkConfig::default() };
/// network.join([Port { node: a, port: 0 }, Port { node: b, port: 0 }], [path.clone(), path], 3);
///
/// let to = "10.9.0.2:7".parse().unwrap();
/// network.node_mut(b).stack.tcp_listen(start, to, None, Default::default()).unwrap();
/// let client = network.node_mut(a).stack.tcp_connect(start, None, to, None, Default::default()).unwrap();
/// network.run_for(Duration::from_millis(60), &mut ());
/// assert_eq!(network.node_mut(a).stack.tcp_connect_result(client), Ok(()));
/// ```
#[derive(Debug)]
pub struct Network<N> {
    now: Instant,
    places: Vec<Place<N>>,
    cables: Vec<Cable>,
}

/// A node in its place.
#[derive(Debug)]
struct Place<N> {
    node: N,
    /// What is plugged into each port, and in which direction packets leave by it.
    ports: Vec<Option<(CableId, Direction)>>,
    /// How far the node's clock is ahead of the network's.
    ahead: Duration,
    /// Until then the node does nothing, and what arrives for it waits.
    sleeps_until: Instant,
}

#[derive(Debug)]
struct Cable {
    ends: [Port; 2],
    links: [Link; 2],
}

impl<N: Node> Network<N> {
    /// A network without nodes, at a time.
    pub fn new(now: Instant) -> Self {
        Network { now, places: Vec::new(), cables: Vec::new() }
    }

    /// Puts a node into the network.
    pub fn add(&mut self, node: N) -> NodeId {
        let place = Place { node, ports: Vec::new(), ahead: Duration::ZERO, sleeps_until: self.now };
        self.places.push(place);
        NodeId(self.places.len() - 1)
    }

    /// Joins two ports by a cable whose two directions have faults of their own; chances follow from `seed`. What was
    /// plugged in there before is left hanging.
    pub fn join(&mut self, ends: [Port; 2], links: [LinkConfig; 2], seed: u64) -> CableId {
        let [there, back] = links;
        let links = [Link::new(there, seed), Link::new(back, !seed)];
        let cable = CableId(self.cables.len());
        self.cables.push(Cable { ends, links });
        for (end, direction) in ends.into_iter().zip(Direction::BOTH) {
            let ports = &mut self.places[end.node.0].ports;
            if ports.len() <= end.port {
                ports.resize(end.port + 1, None);
            }
            ports[end.port] = Some((cable, direction));
        }
        cable
    }

    /// The network's time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A node's time.
    pub fn now_at(&self, node: NodeId) -> Instant {
        self.now + self.places[node.0].ahead
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<N> {
        (0..self.places.len()).map(NodeId)
    }

    /// All cables.
    pub fn cables(&self) -> impl Iterator<Item = CableId> + use<N> {
        (0..self.cables.len()).map(CableId)
    }

    /// A node.
    pub fn node(&self, node: NodeId) -> &N {
        &self.places[node.0].node
    }

    /// A node, to be used. What it has to send goes with the next [`turn`](Self::turn).
    pub fn node_mut(&mut self, node: NodeId) -> &mut N {
        &mut self.places[node.0].node
    }

    /// The two ends of a cable.
    pub fn ends(&self, cable: CableId) -> [Port; 2] {
        self.cables[cable.0].ends
    }

    /// One direction of a cable.
    pub fn link(&self, cable: CableId, direction: Direction) -> &Link {
        &self.cables[cable.0].links[direction.index()]
    }

    /// One direction of a cable, to be changed.
    pub fn link_mut(&mut self, cable: CableId, direction: Direction) -> &mut Link {
        &mut self.cables[cable.0].links[direction.index()]
    }

    /// Sets a node's clock forward: to the node, all that time passes at once.
    pub fn set_forward(&mut self, node: NodeId, by: Duration) {
        self.places[node.0].ahead += by;
    }

    /// Stops a node for so long, as a machine that is suspended, or a process that gets no turn.
    pub fn sleep(&mut self, node: NodeId, time: Duration) {
        self.places[node.0].sleeps_until = self.now + time;
    }

    /// Whether a node does nothing now.
    pub fn sleeps(&self, node: NodeId) -> bool {
        self.places[node.0].sleeps_until > self.now
    }

    /// When something happens next; a time that has passed if it is waiting already.
    pub fn deadline(&mut self) -> Option<Instant> {
        let now = self.now;
        let mut next: Option<Instant> = None;
        let mut consider = |at: Option<Instant>| next = next.into_iter().chain(at).min();
        for cable in &self.cables {
            for (link, end) in cable.links.iter().zip([cable.ends[1], cable.ends[0]]) {
                if self.places[end.node.0].sleeps_until <= now {
                    consider(link.deadline());
                }
            }
        }
        for place in &mut self.places {
            if place.sleeps_until > now {
                consider(Some(place.sleeps_until));
                continue;
            }
            let deadline = place.node.deadline(now + place.ahead);
            // Instants don't go below zero, and a clock that is ahead says later what is due now.
            consider(deadline.map(|at| Instant::ZERO + (at - Instant::ZERO).saturating_sub(place.ahead)));
        }
        next
    }

    /// Lets time pass. It never goes back.
    pub fn advance_to(&mut self, at: Instant) {
        self.now = self.now.max(at);
    }

    /// Hands over what has arrived by now, and lets every node do what it has to. `true` if anything has happened: it may
    /// have caused more that happens at the same instant.
    pub fn turn(&mut self, watch: &mut dyn Watch) -> bool {
        let delivered = self.deliver(watch);
        let mut out = Vec::new();
        let mut acted = false;
        for index in 0..self.places.len() {
            let place = &mut self.places[index];
            if place.sleeps_until > self.now {
                continue;
            }
            acted |= place.node.poll(self.now + place.ahead, &mut out);
            for (port, packet) in out.drain(..) {
                self.send(Port { node: NodeId(index), port }, packet, watch);
            }
        }
        delivered || acted
    }

    /// Runs for so long, with applications left out: whoever has some takes [`turn`](Self::turn)s by itself.
    ///
    /// # Panics
    /// If a node is never done at one instant.
    pub fn run_for(&mut self, time: Duration, watch: &mut dyn Watch) {
        let until = self.now + time;
        loop {
            let mut turns = 0;
            while self.turn(watch) {
                turns += 1;
                assert!(turns < TURNS_MAX, "a node is never done at {:?}", self.now);
            }
            match self.deadline().filter(|at| *at <= until) {
                Some(at) => self.advance_to(at),
                None => break,
            }
        }
        self.advance_to(until);
    }

    fn deliver(&mut self, watch: &mut dyn Watch) -> bool {
        let mut any = false;
        for cable in &mut self.cables {
            for (link, port) in cable.links.iter_mut().zip([cable.ends[1], cable.ends[0]]) {
                let place = &mut self.places[port.node.0];
                if place.sleeps_until > self.now {
                    continue;
                }
                while let Some(packet) = link.receive(self.now) {
                    watch.arrived(&Sight { at: self.now, port, packet: &packet });
                    place.node.receive(self.now + place.ahead, port.port, &packet);
                    any = true;
                }
            }
        }
        any
    }

    fn send(&mut self, port: Port, packet: Vec<u8>, watch: &mut dyn Watch) {
        let plugged = self.places[port.node.0].ports.get(port.port).copied().flatten();
        let Some((cable, direction)) = plugged else {
            watch.sent(&Sight { at: self.now, port, packet: &packet }, Fate::Interrupted);
            return;
        };
        let link = &mut self.cables[cable.0].links[direction.index()];
        let before = link.counters();
        link.send(self.now, packet.clone());
        let fate = Fate::between(before, link.counters());
        watch.sent(&Sight { at: self.now, port, packet: &packet }, fate);
    }
}

/// Turns that one instant may take: far more than any exchange without delay has.
const TURNS_MAX: u32 = 100_000;

#[cfg(test)]
mod tests;
