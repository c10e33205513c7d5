//! Random internets: who is joined to whom, what goes wrong, who talks to whom, and what befalls them. One seed is one run.

mod disturbances;
mod draw;
mod topology;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use tunstack::proto::{Config, Offloads};
use tunstack::rng::Rng;
use tunstack::sim::{CableId, Direction, LinkConfig, Loss, NodeId, Port, Ppm};
use tunstack::time::Instant;

use self::disturbances::Disturbances;
use self::draw::Switches;
use self::topology::Plan;
use crate::harness::forgetful::Forgetful;
use crate::harness::host::Host;
use crate::harness::ours::OurHost;
use crate::harness::report::Report;
use crate::harness::smol::SmolHost;
use crate::harness::world::{PORT, World};
use crate::scenario::plans;
use crate::support::seeds::pattern_bytes;

/// Everything that can go wrong, by the name under which it is reported.
pub(crate) const FAULTS: &[&str] = &[
    "random loss",
    "loss in bursts",
    "loss of every so manieth",
    "loss of one given packet",
    "queue overflow",
    "jitter",
    "rate",
    "ECN mark",
    "duplication",
    "corruption",
    "reordering",
    "MTU black hole",
    "interruption",
    "asymmetric path",
    "reboot",
    "clock step",
    "sleep",
    "change of path",
    "busy device",
    "memory pressure",
    "receiver that reneges",
    "super-segment received",
    "super-segment sent",
];

/// The port of datagrams.
const CHATTER: u16 = 9;

/// After all has healed: longer than anything takes that still comes to an end.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// Runs the internet of `seed`.
pub(crate) fn run(seed: u64) -> Report {
    let mut internet = Internet::draw(seed);
    internet.live();
    internet.heal();
    // Where it stalls, smoltcp does so for good.
    let patience = if internet.makers.iter().any(|maker| maker.smol) { PATIENCE / 6 } else { PATIENCE };
    internet.world.run_apps(patience);
    internet.world.run_out(PATIENCE);
    internet.report()
}

/// A run under way.
struct Internet {
    plan: Plan,
    world: World,
    rng: Rng,
    switches: Switches,
    /// How each node is made, once more after it has been forgotten.
    makers: Vec<Maker>,
    cables: Vec<CableId>,
    /// Losses that have been reported of each direction.
    losses: BTreeMap<(usize, usize), u64>,
    /// Datagrams that were sent, with their sender.
    chatter: HashSet<(SocketAddr, Vec<u8>)>,
    datagrams: u64,
}

/// What a node is made of.
#[derive(Clone)]
struct Maker {
    smol: bool,
    config: Config,
    options: fn(&mut tunstack::proto::tcp::SocketOptions),
    busy: Ppm,
    batch: Duration,
    coalesces: bool,
    offloads: bool,
    /// Throws away some of what it has reported to be there.
    reneges: bool,
}

impl Maker {
    fn draw(rng: &mut Rng, smol: bool) -> Maker {
        // Not drawn from the same source, so that the other draws of a seed stay what they were.
        let mut aside = Rng::from_number(rng.clone().next_u64());
        Maker {
            reneges: aside.chance_ppm(125_000),
            smol,
            config: draw::host_config(rng),
            options: draw::options(rng),
            busy: Ppm([0, 0, 0, 200_000][rng.within(0..=3) as usize]),
            batch: [Duration::ZERO, Duration::from_micros(50), Duration::from_millis(1)]
                [rng.within(0..=2) as usize],
            coalesces: rng.chance_ppm(500_000),
            offloads: rng.chance_ppm(500_000),
        }
    }

    /// Whether few connections that open at once make it send cookies.
    fn has_small_syn_queue(&self) -> bool {
        !self.smol && self.config.syn_queue < Config::DEFAULT.syn_queue
    }

    fn make(&self, plan: &Plan, node: usize, seed: u64, now: Instant) -> Box<dyn Host> {
        if self.smol {
            let wire = plan.access(node);
            let net = plan.address(node, wire).to_string();
            let mut host = SmolHost::new(seed, &net, plan.wires[wire].mtu, 65_535, 65_535, true);
            if let Some(gateway) = plan.gateway(node) {
                host.add_default_route(gateway);
            }
            return Box::new(host);
        }
        let mut stack = plan.stack(node, self.config.clone(), seed, now);
        if self.offloads {
            let devices: Vec<_> = stack.interfaces().map(|interface| interface.device).collect();
            let all = Offloads { checksum: true, tso4: true, tso6: true, uso: true };
            devices.into_iter().for_each(|device| stack.set_offloads(device, all));
        }
        let wire = plan.ports(node).next().expect("every node is joined to another");
        let mut host = OurHost::around(stack, plan.address(node, wire).addr(), seed);
        host.options = self.options;
        host.forgetful = (self.reneges && node < plan.hosts).then(|| Forgetful::new(seed));
        host.node.busy = self.busy;
        host.node.batch = self.batch;
        host.node.coalesces = self.coalesces;
        Box::new(host)
    }
}

impl Internet {
    fn draw(seed: u64) -> Internet {
        let mut rng = Rng::from_number(seed);
        let start = Instant::from_nanos(rng.next_u64() >> 14);
        let smol = rng.chance_ppm(250_000);
        // smoltcp learns nothing of a path's MTU.
        let narrow = !smol && rng.chance_ppm(500_000);
        let plan = Plan::draw(&mut rng, narrow);
        let switches = Switches::draw(&mut rng, plan.wires.len());
        let mut world = World::empty(seed, start);
        let makers: Vec<Maker> =
            (0..plan.nodes).map(|node| Maker::draw(&mut rng, smol && node == 0)).collect();
        for (node, maker) in makers.iter().enumerate() {
            let host = maker.make(&plan, node, rng.next_u64(), start);
            if node < plan.hosts {
                world.add_host(host, plan.wires[plan.access(node)].mtu);
            } else {
                world.network.add(host);
            }
        }
        let mut internet = Internet {
            plan,
            world,
            rng,
            switches,
            makers,
            cables: Vec::new(),
            losses: BTreeMap::new(),
            chatter: HashSet::new(),
            datagrams: 0,
        };
        internet.plug_in();
        (0..internet.plan.hosts).for_each(|host| internet.open_for_business(host));
        internet
    }

    fn plug_in(&mut self) {
        for wire in 0..self.plan.wires.len() {
            let ends = self.plan.wires[wire].ends.map(|node| {
                let port = self.plan.ports(node).position(|known| known == wire).unwrap_or(0);
                Port { node: NodeId(node), port }
            });
            let links = [(); 2].map(|()| self.switches.link(wire, &mut self.rng));
            let cable = self.world.network.join(ends, links, self.rng.next_u64());
            self.cables.push(cable);
        }
    }

    /// A host listens, and takes datagrams marked as able to be told of congestion.
    fn open_for_business(&mut self, host: usize) {
        self.world.at(NodeId(host), |host, now| {
            host.listen(now, PORT);
            host.udp_bind(now, CHATTER);
        });
    }

    /// Some time in which connections are opened, datagrams sent, and things happen.
    fn live(&mut self) {
        let mut disturbances = Disturbances::draw(&mut self.rng);
        let connections = self.rng.within(1..=5);
        let mut rush = self.rush();
        let until = self.world.now() + draw::millis(&mut self.rng, 5_000, 60_000);
        let mut opened = 0;
        while self.world.now() < until {
            if opened < connections {
                opened += 1;
                let (from, to) = self.two_hosts();
                self.open_connection(from, to, u64::from(opened));
            }
            if let Some(host) = rush.take_if(|_| opened == connections) {
                self.all_at_once(host, u64::from(opened));
            }
            for _ in 0..self.rng.within(0..=4) {
                self.send_datagram();
            }
            disturbances.happen(self);
            let pause = draw::millis(&mut self.rng, 1, 3_000);
            self.world.run_for(pause);
            self.read_datagrams();
        }
        disturbances.end(self);
    }

    /// The first host with a SYN queue that is soon full: everybody comes there at once, so that it is.
    fn rush(&self) -> Option<usize> {
        let is_small = |host: &usize| self.makers[*host].has_small_syn_queue();
        (0..self.plan.hosts).find(is_small)
    }

    /// As many connections to a host as its SYN queue has room for, and up to four more, beside the `opened` of before.
    fn all_at_once(&mut self, to: usize, opened: u64) {
        let queue = self.makers[to].config.syn_queue as u64;
        for number in 1..=queue + u64::from(self.rng.within(1..=4)) {
            let (mut from, other) = self.two_hosts();
            if from == to {
                from = other;
            }
            self.open_connection(from, to, opened + number);
        }
    }

    fn open_connection(&mut self, from: usize, to: usize, number: u64) {
        let smallest = [from, to].map(|host| {
            let Config { recv_buffer, send_buffer, .. } = self.makers[host].config;
            recv_buffer.min(send_buffer)
        });
        let smallest = smallest.into_iter().min().unwrap_or(1);
        let (client, server) = plans(&mut self.rng, number * 2 + 10, smallest);
        self.world.connect(NodeId(from), NodeId(to), client, server);
    }

    fn two_hosts(&mut self) -> (usize, usize) {
        let last = self.plan.hosts as u32 - 1;
        let from = self.rng.within(0..=last) as usize;
        let to = (from + self.rng.within(1..=last) as usize) % self.plan.hosts;
        (from, to)
    }

    /// One datagram, of up to several fragments where ours send it to ours. (Damage in two of its fragments might not be seen.)
    fn send_datagram(&mut self) {
        let (from, to) = self.two_hosts();
        let fragments = !self.makers[from].smol && !self.makers[to].smol && !self.switches.corrupts();
        let len = self.rng.within(0..=if fragments { 6_000 } else { 500 }) as usize;
        let data = pattern_bytes(self.rng.next_u64() >> 40, 0, len);
        let target = SocketAddr::new(self.plan.ip(to), CHATTER);
        let source = SocketAddr::new(self.plan.ip(from), CHATTER);
        if self.world.at(NodeId(from), |host, now| host.udp_send(now, target, &data)) {
            self.chatter.insert((source, data));
        }
    }

    /// What is read was sent, if it was at all, and unchanged.
    fn read_datagrams(&mut self) {
        for host in 0..self.plan.hosts {
            while let Some((data, from)) = self.world.host(NodeId(host)).udp_recv() {
                self.datagrams += 1;
                let len = data.len();
                assert!(self.chatter.contains(&(from, data)), "nobody sent these {len} bytes from {from}");
            }
        }
    }

    /// Every cable carries everything from now on.
    fn heal(&mut self) {
        for wire in 0..self.cables.len() {
            for direction in Direction::BOTH {
                let link = draw::healed(&mut self.rng);
                self.configure(wire, direction, link);
            }
        }
        self.world.tell(NodeId(0), "everything heals");
    }

    /// Whether some path loses packets in bursts: where little is said, a burst outlasts every retransmission of a SYN-ACK.
    fn has_bursts(&self) -> bool {
        let network = &self.world.network;
        let links = network.cables().flat_map(|cable| Direction::BOTH.map(|way| network.link(cable, way)));
        links.into_iter().any(|link| matches!(link.config().loss, Loss::Bursts(_)))
    }

    /// Another path from now on, which is not interrupted.
    fn configure(&mut self, wire: usize, direction: Direction, config: LinkConfig) {
        self.note_losses(wire, direction);
        let link = self.world.network.link_mut(self.cables[wire], direction);
        link.set_up(true);
        link.configure(config);
    }

    /// Reports what a direction has done since this was last asked.
    fn note_losses(&mut self, wire: usize, direction: Direction) {
        let link = self.world.network.link(self.cables[wire], direction);
        let (counters, config) = (link.counters(), link.config());
        let (has_jitter, has_rate) = (!config.jitter.is_zero(), config.rate.is_some());
        let name = draw::loss_name(config.loss);
        let key = (wire, direction as usize);
        let before = self.losses.insert(key, counters.lost).unwrap_or(0);
        if let Some(name) = name {
            self.world.report.fault(name, counters.lost - before);
        }
        self.world.report.fault("jitter", if has_jitter { counters.sent } else { 0 });
        self.world.report.fault("rate", if has_rate { counters.sent } else { 0 });
    }

    fn reboot(&mut self, node: usize) {
        let (seed, now) = (self.rng.next_u64(), self.world.network.now_at(NodeId(node)));
        let host = self.makers[node].make(&self.plan, node, seed, now);
        self.world.reboot(NodeId(node), host);
        if node < self.plan.hosts {
            self.open_for_business(node);
        }
    }

    fn report(mut self) -> Report {
        self.read_datagrams();
        for name in FAULTS {
            self.world.report.fault(name, 0);
        }
        self.world.report.fault("asymmetric path", u64::from(self.plan.is_asymmetric()));
        Report { datagrams: self.datagrams, ..self.world.finish() }
    }
}
