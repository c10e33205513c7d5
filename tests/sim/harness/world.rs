//! A network with applications on its hosts, and everybody who looks on.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use tunstack::proto::Config;
use tunstack::sim::{Direction, Fate, LinkConfig, Network, NodeId, Port, Sight, Watch};
use tunstack::time::Instant;

use super::apps::{End, Plan};
use super::capture::Capture;
use super::host::{Conn, Host};
use super::report::Report;
use super::trace::{Mark, Trace};
use crate::oracle::connection::Connections;
use crate::oracle::stack;
use crate::oracle::wire::Monitor;
use crate::support::wire;

/// The port that servers listen on.
pub(crate) const PORT: u16 = 7;

/// Two or more hosts, the paths between them, and the clock that drives all.
pub(crate) struct World {
    pub(crate) network: Network<Box<dyn Host>>,
    pub(crate) onlookers: Onlookers,
    pub(crate) ends: Vec<End>,
    /// Connections that servers have not accepted yet.
    expected: Vec<Expected>,
    /// Some clients are no more, and their connections may come all the same.
    some_forgotten: bool,
    /// Whether connections are accepted as they come; a test may do so itself.
    pub(crate) accepts: bool,
    pub(crate) report: Report,
    connections: HashMap<NodeId, Connections>,
    seed: u64,
    start: Instant,
    steps: u64,
    idle_steps: u64,
}

/// A connection that a server is to accept.
struct Expected {
    server: NodeId,
    client: (NodeId, SocketAddr),
    plan: Plan,
    may_fail: bool,
}

/// Who looks on: the oracle of the wire, the trace and the capture.
#[derive(Debug)]
pub(crate) struct Onlookers {
    pub(crate) monitor: Monitor,
    pub(crate) trace: Trace,
    capture: Option<Capture>,
    start: Instant,
    /// The hosts' addresses: what leaves or comes to others is in transit. And whether the rules are held against them.
    hosts: HashMap<NodeId, (IpAddr, bool, usize)>,
}

impl Watch for Onlookers {
    fn sent(&mut self, sight: &Sight<'_>, fate: Fate) {
        self.note(sight, Mark::Sent(fate));
        let Some((ip, ours, mtu)) = self.hosts.get(&sight.port.node) else { return };
        // What leaves its host is right in every respect.
        if let Some(tcp) = wire::Tcp::decode(sight.packet).filter(|tcp| tcp.src.ip() == *ip) {
            self.monitor.sent(&tcp, *ours, *mtu, sight.packet.len());
        }
    }

    fn arrived(&mut self, sight: &Sight<'_>) {
        self.note(sight, Mark::Arrived);
        let Some((ip, ..)) = self.hosts.get(&sight.port.node) else { return };
        if let Some(tcp) = wire::tcp_if_intact(sight.packet).filter(|tcp| tcp.dst.ip() == *ip) {
            self.monitor.arrived(&tcp);
        }
    }
}

impl Onlookers {
    fn note(&mut self, sight: &Sight<'_>, mark: Mark) {
        let time = sight.at - self.start;
        self.trace.packet(time, mark, sight.port.node.0, sight.packet);
        if let Some(capture) = &mut self.capture {
            capture.packet(time, mark, sight.port, sight.packet);
        }
    }
}

impl World {
    /// An empty network.
    pub(crate) fn empty(seed: u64, start: Instant) -> World {
        World {
            network: Network::new(start),
            onlookers: Onlookers {
                monitor: Monitor::default(),
                trace: Trace::new(),
                capture: Capture::from_environment(),
                start,
                hosts: HashMap::new(),
            },
            ends: Vec::new(),
            expected: Vec::new(),
            some_forgotten: false,
            accepts: true,
            report: Report::default(),
            connections: HashMap::new(),
            seed,
            start,
            steps: 0,
            idle_steps: 0,
        }
    }

    /// Two hosts joined by one cable: node 0 and node 1.
    pub(crate) fn pair(
        hosts: [Box<dyn Host>; 2],
        links: [LinkConfig; 2],
        mtu: usize,
        seed: u64,
        start: Instant,
    ) -> World {
        let mut world = World::empty(seed, start);
        let ports = hosts.map(|host| Port { node: world.add_host(host, mtu), port: 0 });
        world.network.join(ports, links, seed);
        world
    }

    /// Adds a host, whose link takes datagrams of `mtu` bytes.
    pub(crate) fn add_host(&mut self, host: Box<dyn Host>, mtu: usize) -> NodeId {
        let (ip, ours) = (host.ip(), host.ours().is_some());
        let node = self.network.add(host);
        self.onlookers.hosts.insert(node, (ip, ours, mtu));
        node
    }

    pub(crate) fn now(&self) -> Instant {
        self.network.now()
    }

    pub(crate) fn host(&mut self, node: NodeId) -> &mut dyn Host {
        &mut **self.network.node_mut(node)
    }

    /// Calls a host's verb with the host's own time.
    pub(crate) fn at<T>(&mut self, node: NodeId, act: impl FnOnce(&mut dyn Host, Instant) -> T) -> T {
        let now = self.network.now_at(node);
        act(self.host(node), now)
    }

    /// Opens a connection from one host to another, with what each side is to do with it. Nothing comes of it if the
    /// client can't even begin.
    pub(crate) fn connect(&mut self, from: NodeId, to: NodeId, client: Plan, server: Plan) {
        let remote = SocketAddr::new(self.network.node(to).ip(), PORT);
        let Some(conn) = self.at(from, |host, now| host.connect(now, remote)) else { return };
        let host = self.network.node(from);
        let addr = SocketAddr::new(host.ip(), host.local_port(conn));
        self.expected.push(Expected { server: to, client: (from, addr), plan: server, may_fail: false });
        self.employ(from, to, conn, client);
    }

    /// Gives an open (or opening) connection of a host its application.
    pub(crate) fn employ(&mut self, host: NodeId, peer: NodeId, conn: Conn, plan: Plan) {
        let seed = self.seed.wrapping_add(self.ends.len() as u64);
        self.ends.push(End::new(host, peer, conn, plan, false, seed));
    }

    /// Something that has happened, for the trace.
    pub(crate) fn tell(&mut self, node: NodeId, what: &str) {
        let time = self.now() - self.start;
        self.onlookers.trace.event(time, node.0, what);
    }

    /// Puts another host in one's place, which remembers nothing.
    pub(crate) fn reboot(&mut self, node: NodeId, host: Box<dyn Host>) {
        self.tell(node, "reboots, and has forgotten all");
        self.report.fault("reboot", 1);
        self.some_forgotten = true;
        if let Some(ours) = self.network.node(node).ours() {
            self.report.stack(ours.counters());
        }
        self.onlookers.monitor.forget(host.ip());
        self.connections.remove(&node);
        *self.network.node_mut(node) = host;
        for end in &mut self.ends {
            if end.host == node {
                end.host_is_gone();
            } else if end.peer == node {
                end.may_fail = true;
            }
        }
        self.expected.retain(|expected| expected.server != node && expected.client.0 != node);
    }

    /// From now on connections that aren't fully open may fail: what has happened takes longer than a handshake waits.
    pub(crate) fn handshakes_may_fail(&mut self) {
        for expected in &mut self.expected {
            expected.may_fail = true;
        }
        for end in self.ends.iter_mut().filter(|end| !end.has_heard()) {
            end.may_fail = true;
        }
    }

    /// Runs until every application is done, or panics after `limit` of virtual time. Connections that may fail are given
    /// up once all others are done.
    pub(crate) fn run_apps(&mut self, limit: Duration) {
        let until = self.now() + limit;
        self.guarded(|world| {
            world.settle();
            while !world.apps_done() {
                let goes_on = world.step() && world.now() < until;
                if !goes_on && world.smoltcp_stalls() {
                    world.report.stalls_of_smoltcp += 1;
                    break;
                }
                assert!(goes_on, "not done after {limit:?}, or nothing will ever happen again");
            }
            world.give_up_failures();
        });
    }

    /// Runs until nothing is left to happen; then everything must have been given back.
    pub(crate) fn run_out(&mut self, limit: Duration) {
        let until = self.now() + limit;
        self.guarded(|world| {
            while world.step() {
                assert!(world.now() < until, "still busy after {limit:?}");
            }
            for node in world.network.nodes() {
                assert_eq!(world.network.node(node).left_over(), None, "left over at node {}", node.0);
            }
        });
    }

    /// Runs for so long.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let until = self.now() + time;
        self.run_until(until);
    }

    /// Runs until then.
    pub(crate) fn run_until(&mut self, until: Instant) {
        self.guarded(|world| {
            world.settle();
            while world.next_time().is_some_and(|at| at <= until) {
                world.step();
            }
            world.network.advance_to(until);
        });
    }

    /// Goes on to the next thing that happens, but not past `until`.
    pub(crate) fn step_until(&mut self, until: Instant) {
        self.guarded(|world| {
            if world.next_time().is_some_and(|at| at <= until) {
                world.step();
            } else {
                world.network.advance_to(until);
                world.settle();
            }
        });
    }

    /// The report of this run, which is over.
    pub(crate) fn finish(mut self) -> Report {
        let mut report = std::mem::take(&mut self.report);
        report.scenarios += 1;
        report.virtual_time += self.now() - self.start;
        report.connections += self.ends.len() as u64;
        report.failed += self.ends.iter().filter(|end| end.failed()).count() as u64;
        report.bytes += self.ends.iter().map(End::bytes_read).sum::<u64>();
        report.segments += self.onlookers.monitor.segments;
        report.retransmitted += self.onlookers.monitor.retransmitted;
        for cable in self.network.cables() {
            for direction in Direction::BOTH {
                report.link(self.network.link(cable, direction).counters());
            }
        }
        for node in self.network.nodes() {
            if let Some(ours) = self.network.node(node).ours() {
                report.stack(ours.counters());
                let [taken, sent] = ours.node.super_segments();
                report.fault("super-segment received", taken);
                report.fault("super-segment sent", sent);
                report.fault(
                    "receiver that reneges",
                    ours.forgetful.as_ref().map_or(0, |queue| queue.forgotten),
                );
                report.fault("busy device", ours.node.refused());
                // What is promised is kept, so that it shows in windows and not in refusals.
                let is_short = ours.node.stack.config().pages < Config::DEFAULT.pages;
                report.fault("memory pressure", is_short.into());
            } else {
                report.with_smoltcp += 1;
            }
        }
        report
    }

    fn apps_done(&self) -> bool {
        self.expected.iter().all(|expected| expected.may_fail)
            && self.ends.iter().all(|end| end.is_over() || end.may_fail)
    }

    /// Whether all that isn't done waits for smoltcp, which can stall: ours has said all that it has to say, has had it
    /// acknowledged, and offers room for what it waits for.
    fn smoltcp_stalls(&self) -> bool {
        let waiting = self.ends.iter().filter(|end| !end.is_over() && !end.may_fail);
        let ours = waiting.filter_map(|end| Some((end, self.network.node(end.host).ours()?)));
        let mut any = false;
        for (end, host) in ours {
            let Some(info) = host.held().nth(end.conn).and_then(|id| host.node.stack.tcp_info(id).ok())
            else {
                return false;
            };
            let is_blameless = self.network.node(end.peer).ours().is_none()
                && (info.unsent, info.unacknowledged, info.unread) == (0, 0, 0)
                && info.rcv_wnd > 0;
            if !is_blameless {
                return false;
            }
            any = true;
        }
        any
    }

    fn give_up_failures(&mut self) {
        self.some_forgotten |= !self.expected.is_empty();
        self.expected.clear();
        for end in &mut self.ends {
            let now = self.network.now_at(end.host);
            end.give_up(now, &mut **self.network.node_mut(end.host));
        }
    }

    fn next_time(&mut self) -> Option<Instant> {
        let now = self.now();
        let network = &self.network;
        let apps = self
            .ends
            .iter()
            .filter(|end| !network.sleeps(end.host))
            .filter_map(|end| end.wakes_at(now))
            .min();
        self.network.deadline().into_iter().chain(apps).min()
    }

    /// Goes on to the next thing that happens.
    fn step(&mut self) -> bool {
        let Some(at) = self.next_time() else { return false };
        self.network.advance_to(at);
        let useful = self.settle();
        self.steps += 1;
        self.idle_steps += u64::from(!useful);
        let seconds = (self.now() - self.start).as_secs();
        let nodes = self.network.nodes().count() as u64;
        assert!(self.idle_steps < 1_000 * nodes + 100 * seconds, "timers fire for nothing");
        assert!(self.steps < 10_000_000, "a busy loop");
        true
    }

    /// Lets hosts and applications act until none has anything to do at this instant.
    fn settle(&mut self) -> bool {
        let mut any = false;
        for round in 0.. {
            assert!(round < 100_000, "a busy loop at one instant");
            let mut progress = self.network.turn(&mut self.onlookers);
            self.check();
            progress |= self.run_ends();
            if !progress {
                return any;
            }
            any = true;
        }
        any
    }

    fn check(&mut self) {
        for node in self.network.nodes() {
            if let Some(ours) = self.network.node(node).ours() {
                stack::check(ours);
                self.connections.entry(node).or_default().check(ours);
            }
        }
    }

    fn run_ends(&mut self) -> bool {
        let mut any = self.accepts && self.accept();
        for end in &mut self.ends {
            if !end.is_over() && !self.network.sleeps(end.host) {
                let (now, host_now) = (self.network.now(), self.network.now_at(end.host));
                any |= end.run(now, host_now, &mut **self.network.node_mut(end.host));
            }
        }
        any
    }

    fn accept(&mut self) -> bool {
        let mut any = false;
        for node in self.network.nodes() {
            if self.network.sleeps(node) {
                continue;
            }
            while let Some(conn) = self.at(node, |host, now| host.accept(now)) {
                any = true;
                let peer = self.network.node(node).peer(conn);
                let is_it = |expected: &Expected| (expected.server, Some(expected.client.1)) == (node, peer);
                let Some(index) = self.expected.iter().position(is_it) else {
                    assert!(self.some_forgotten, "a connection that nobody opened");
                    self.at(node, |host, now| host.abort(now, conn));
                    continue;
                };
                let Expected { client, plan, may_fail, .. } = self.expected.remove(index);
                let seed = self.seed.wrapping_add(1_000 + self.ends.len() as u64);
                let mut end = End::new(node, client.0, conn, plan, true, seed);
                end.may_fail = may_fail;
                self.ends.push(end);
            }
        }
        any
    }

    /// Runs `act`; if it panics, says how things stood.
    fn guarded(&mut self, act: impl FnOnce(&mut World)) {
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| act(self))) {
            eprintln!("{}", self.describe());
            resume_unwind(cause);
        }
    }

    fn describe(&self) -> String {
        let time = (self.now() - self.start).as_secs_f64();
        let mut text = vec![format!("at {time:.6} s of virtual time, after {} steps:", self.steps)];
        text.extend(self.ends.iter().map(|end| format!("  {}", end.describe())));
        for node in self.network.nodes() {
            text.push(format!("  node {}: {}", node.0, self.network.node(node).describe()));
        }
        for cable in self.network.cables() {
            let [from, to] = self.network.ends(cable).map(|port| port.node.0);
            for (direction, arrow) in Direction::BOTH.into_iter().zip(["->", "<-"]) {
                let link = self.network.link(cable, direction);
                text.push(format!("  {from} {arrow} {to}: {:?} {:?}", link.config(), link.counters()));
            }
        }
        text.extend(self.onlookers.trace.tail().map(str::to_owned));
        text.join("\n")
    }
}
