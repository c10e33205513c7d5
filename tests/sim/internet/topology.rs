//! Who is joined to whom, and which ways lead where.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tunstack::ipnet::IpNet;
use tunstack::proto::ip::route::{RouteSpec, RouteTarget};
use tunstack::proto::{Config, Secrets, Stack};
use tunstack::rng::Rng;
use tunstack::time::Instant;

/// A network on paper: hosts first, then routers.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) ipv6: bool,
    pub(super) hosts: usize,
    pub(super) nodes: usize,
    pub(super) wires: Vec<Wire>,
    /// By node and by the wire that leads to a host: the wire to take.
    ways: Vec<Vec<Option<usize>>>,
}

/// A cable on paper.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    pub(super) ends: [usize; 2],
    pub(super) mtu: usize,
}

impl Plan {
    /// A pair, a chain, a star, or a ring with two ways from one side to the other.
    pub(super) fn draw(rng: &mut Rng, narrow: bool) -> Plan {
        let (hosts, nodes, ends) = match rng.within(0..=4) {
            0 => (2, 2, vec![[0, 1]]),
            1 => chain(rng.within(1..=3) as usize),
            2 => {
                let hosts = rng.within(3..=4) as usize;
                (hosts, hosts + 1, (0..hosts).map(|host| [host, hosts]).collect())
            }
            3 => (2, 4, vec![[0, 2], [2, 3], [3, 2], [3, 1]]),
            _ => (2, 6, vec![[0, 2], [2, 3], [3, 4], [4, 5], [5, 2], [4, 1]]),
        };
        let ipv6 = rng.chance_ppm(500_000);
        let sizes: [usize; 4] = if ipv6 { [1500, 1280, 9000, 1400] } else { [1500, 576, 9000, 1400] };
        let mut size = || sizes[rng.within(0..=3) as usize];
        let common = size();
        let wires =
            ends.into_iter().map(|ends| Wire { ends, mtu: if narrow { size() } else { common } }).collect();
        let mut plan = Plan { ipv6, hosts, nodes, wires, ways: Vec::new() };
        plan.ways = (0..nodes).map(|node| plan.ways_from(node, rng)).collect();
        plan
    }

    /// Whether some host's packets come another way than they go.
    pub(super) fn is_asymmetric(&self) -> bool {
        let path = |from: usize, to: usize| {
            let mut wires = Vec::new();
            let mut node = from;
            while node != to {
                let Some(wire) = self.ways[node][self.access(to)] else { break };
                wires.push(wire);
                let [a, b] = self.wires[wire].ends;
                node = if a == node { b } else { a };
            }
            wires.sort_unstable();
            wires
        };
        (0..self.hosts).any(|from| (0..from).any(|to| path(from, to) != path(to, from)))
    }

    /// A node's address on a wire, with the wire's network.
    pub(super) fn address(&self, node: usize, wire: usize) -> IpNet {
        let end = 1 + self.wires[wire].ends.iter().position(|end| *end == node).unwrap_or(0) as u16;
        let ip: IpAddr = match self.ipv6 {
            true => Ipv6Addr::new(0xfd09, wire as u16, 0, 0, 0, 0, 0, end).into(),
            false => Ipv4Addr::new(10, 9, wire as u8, end as u8).into(),
        };
        IpNet::new(ip, if self.ipv6 { 64 } else { 24 }).expect("a prefix within the address")
    }

    /// The wire by which a host is reached.
    pub(super) fn access(&self, host: usize) -> usize {
        self.wires.iter().position(|wire| wire.ends.contains(&host)).expect("every host is reached")
    }

    /// A host's address.
    pub(super) fn ip(&self, host: usize) -> IpAddr {
        self.address(host, self.access(host)).addr()
    }

    /// The router of a host, if it has one.
    pub(super) fn gateway(&self, host: usize) -> Option<IpAddr> {
        let wire = self.access(host);
        let other = self.wires[wire].ends.into_iter().find(|end| *end != host)?;
        (other >= self.hosts).then(|| self.address(other, wire).addr())
    }

    /// The wires of a node, in the order of its ports.
    pub(super) fn ports(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.wires.len()).filter(move |wire| self.wires[*wire].ends.contains(&node))
    }

    /// A node's stack, with its interfaces, addresses and routes.
    pub(super) fn stack(&self, node: usize, config: Config, seed: u64, now: Instant) -> Stack {
        let forwarding = node >= self.hosts;
        let mut stack = Stack::new(Config { forwarding, ..config }, &Secrets::from_number(seed), now);
        let mut devices = vec![None; self.wires.len()];
        for wire in self.ports(node) {
            let device = stack.add_interface(self.wires[wire].mtu);
            stack.add_address(device, self.address(node, wire)).expect("an address of its own");
            devices[wire] = Some(device);
        }
        for host in (0..self.hosts).filter(|host| *host != node) {
            let Some(wire) = self.ways[node][self.access(host)] else { continue };
            let Some(next) = self.wires[wire].ends.into_iter().find(|end| *end != node) else { continue };
            if next == host {
                continue;
            }
            let via = self.address(next, wire).addr();
            let target = RouteTarget::Gateway { via, device: devices[wire] };
            let network = self.address(host, self.access(host)).trunc();
            // Hosts behind one router share no network, but the same way may have been said already.
            let _ = stack.add_route(RouteSpec::new(network, target));
        }
        stack
    }

    /// The shortest ways from a node to each host's wire, of equally short ones any.
    fn ways_from(&self, node: usize, rng: &mut Rng) -> Vec<Option<usize>> {
        let mut ways = vec![None; self.wires.len()];
        for host in 0..self.hosts {
            let distances = self.distances_to(host);
            let nearest = self.ports(node).filter(|wire| {
                let [a, b] = self.wires[*wire].ends;
                let next = if a == node { b } else { a };
                distances[next] < distances[node]
            });
            let nearest: Vec<usize> = nearest.collect();
            if !nearest.is_empty() {
                let choice = rng.within(0..=nearest.len() as u32 - 1) as usize;
                ways[self.access(host)] = Some(nearest[choice]);
            }
        }
        ways
    }

    fn distances_to(&self, host: usize) -> Vec<usize> {
        let mut distances = vec![usize::MAX; self.nodes];
        distances[host] = 0;
        let mut pending = VecDeque::from([host]);
        while let Some(node) = pending.pop_front() {
            for wire in self.ports(node) {
                for next in self.wires[wire].ends {
                    if distances[next] == usize::MAX {
                        distances[next] = distances[node] + 1;
                        pending.push_back(next);
                    }
                }
            }
        }
        distances
    }
}

/// Two hosts with so many routers between them.
fn chain(routers: usize) -> (usize, usize, Vec<[usize; 2]>) {
    let mut ends = vec![[0, 2]];
    ends.extend((0..routers - 1).map(|router| [2 + router, 3 + router]));
    ends.push([1 + routers, 1]);
    (2, 2 + routers, ends)
}
