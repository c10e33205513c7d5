//! Two hosts, the path between them, and the clock that drives all.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use tunstack::time::Instant;

use super::apps::{End, Plan};
use super::host::{Conn, Host};
use super::link::{Faults, Link};
use super::monitor::Monitor;
use super::seg::flags_text;
use super::wire::Tcp;

/// The port that servers listen on.
pub(crate) const PORT: u16 = 7;

/// A packet under way: arrival, order of sending, receiver, bytes.
type UnderWay = (Instant, u64, usize, Vec<u8>);

/// Two hosts joined by a path; host 0 opens connections, host 1 accepts them.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) hosts: [Box<dyn Host>; 2],
    links: [Link; 2],
    queue: BinaryHeap<Reverse<UnderWay>>,
    ends: Vec<End>,
    /// Plans of connections that the server has not accepted yet, by the client's port.
    expected: Vec<(u16, Plan)>,
    pub(crate) monitor: Monitor,
    /// Whether connections are accepted as they come; a test may do so itself.
    pub(crate) accepts: bool,
    mtu: usize,
    seed: u64,
    start: Instant,
    order: u64,
    steps: u64,
    idle_steps: u64,
}

impl World {
    pub(crate) fn new(
        hosts: [Box<dyn Host>; 2],
        faults: [Faults; 2],
        mtu: usize,
        seed: u64,
        start: Instant,
    ) -> World {
        let [there, back] = faults;
        World {
            now: start,
            hosts,
            links: [Link::new(there, seed ^ 0x1111), Link::new(back, seed ^ 0x2222)],
            queue: BinaryHeap::new(),
            ends: Vec::new(),
            expected: Vec::new(),
            monitor: Monitor::default(),
            accepts: true,
            mtu,
            seed,
            start,
            order: 0,
            steps: 0,
            idle_steps: 0,
        }
    }

    /// Opens a connection from host 0, with what each side is to do with it.
    pub(crate) fn connect(&mut self, client: Plan, server: Plan) {
        let remote = SocketAddr::new(self.hosts[1].ip(), PORT);
        let conn = self.hosts[0].connect(self.now, remote);
        self.expected.push((self.hosts[0].local_port(conn), server));
        self.employ(0, conn, client);
    }

    /// Gives an open (or opening) connection of a host its application.
    pub(crate) fn employ(&mut self, host: usize, conn: Conn, plan: Plan) {
        let seed = self.seed + self.ends.len() as u64;
        self.ends.push(End::new(host, conn, plan, false, seed));
    }

    /// Runs until every application is done, or panics after `limit` of virtual time.
    pub(crate) fn run_apps(&mut self, limit: Duration) {
        let until = self.now + limit;
        self.guarded(|world| {
            world.settle();
            while !world.apps_done() {
                assert!(world.step(), "nothing will ever happen again");
                assert!(world.now < until, "not done after {limit:?}");
            }
        });
    }

    /// Runs until nothing is left to happen; then everything must have been given back.
    pub(crate) fn run_out(&mut self, limit: Duration) {
        let until = self.now + limit;
        self.guarded(|world| {
            while world.step() {
                assert!(world.now < until, "still busy after {limit:?}");
            }
            for host in &world.hosts {
                assert_eq!(host.left_over(), None);
            }
        });
    }

    /// Runs for so long.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        self.guarded(|world| {
            world.settle();
            while world.next_time().is_some_and(|at| at <= until) {
                world.step();
            }
            world.now = until;
        });
    }

    /// Goes on to the next thing that happens, but not past `until`.
    pub(crate) fn step_until(&mut self, until: Instant) {
        self.guarded(|world| {
            if world.next_time().is_some_and(|at| at <= until) {
                world.step();
            } else {
                world.now = until;
                world.settle();
            }
        });
    }

    fn apps_done(&self) -> bool {
        self.expected.is_empty() && self.ends.iter().all(End::done)
    }

    fn next_time(&mut self) -> Option<Instant> {
        let now = self.now;
        let packet = self.queue.peek().map(|Reverse((at, ..))| *at);
        let deadlines = self.hosts.iter_mut().filter_map(|host| host.deadline(now)).min();
        let apps = self.ends.iter().filter_map(|end| end.wakes_at(now)).min();
        [packet, deadlines, apps].into_iter().flatten().min()
    }

    /// Goes on to the next thing that happens.
    fn step(&mut self) -> bool {
        let Some(at) = self.next_time() else { return false };
        self.now = self.now.max(at);
        let mut useful = false;
        while let Some(Reverse((at, ..))) = self.queue.peek() {
            if *at > self.now {
                break;
            }
            let Some(Reverse((_, _, receiver, bytes))) = self.queue.pop() else { break };
            self.deliver(receiver, &bytes);
            useful = true;
        }
        useful |= self.settle();
        self.steps += 1;
        self.idle_steps += u64::from(!useful);
        let seconds = (self.now - self.start).as_secs();
        assert!(self.idle_steps < 2_000 + 100 * seconds, "timers fire for nothing");
        assert!(self.steps < 5_000_000, "a busy loop");
        true
    }

    /// Lets hosts and applications act until none has anything to do at this instant.
    fn settle(&mut self) -> bool {
        let mut any = false;
        for round in 0.. {
            assert!(round < 100_000, "a busy loop at one instant");
            let mut progress = self.poll_hosts();
            progress |= self.run_ends();
            for host in &self.hosts {
                host.check(self.now);
            }
            if !progress {
                return any;
            }
            any = true;
        }
        any
    }

    fn poll_hosts(&mut self) -> bool {
        let mut any = false;
        for sender in 0..2 {
            let mut out = Vec::new();
            any |= self.hosts[sender].poll(self.now, &mut out);
            for bytes in out {
                if let Some(tcp) = Tcp::decode(&bytes) {
                    self.note(sender, &tcp);
                    self.monitor.sent(&tcp, self.hosts[sender].is_ours(), self.mtu, bytes.len());
                }
                for (at, bytes) in self.links[sender].carry(self.now, bytes) {
                    self.order += 1;
                    self.queue.push(Reverse((at, self.order, 1 - sender, bytes)));
                }
            }
        }
        any
    }

    fn run_ends(&mut self) -> bool {
        let mut any = false;
        while let Some(conn) = self.accepts.then(|| self.hosts[1].accept(self.now)).flatten() {
            let port = self.hosts[1].peer_port(conn);
            let index = self.expected.iter().position(|(client, _)| *client == port);
            let (_, plan) = self.expected.remove(index.expect("a connection that nobody opened"));
            let seed = self.seed + 1_000 + self.ends.len() as u64;
            self.ends.push(End::new(1, conn, plan, true, seed));
            any = true;
        }
        for end in &mut self.ends {
            any |= end.run(self.now, &mut *self.hosts[end.host]);
        }
        any
    }

    fn deliver(&mut self, receiver: usize, bytes: &[u8]) {
        // Damaged packets can't be read; the oracle looks at the others only.
        let intact = self.links.iter().all(|link| link.faults.corruption == 0);
        let tcp = if intact { Tcp::decode(bytes) } else { decode_quietly(bytes) };
        if let Some(tcp) = tcp {
            self.monitor.arrived(&tcp);
        }
        self.hosts[receiver].receive(self.now, bytes);
    }

    fn note(&mut self, sender: usize, tcp: &Tcp) {
        let line = format!(
            "{:>12.6} {} {:<3} seq {} ack {} win {} len {} ports {}>{}",
            (self.now - self.start).as_secs_f64(),
            ["->", "<-"][sender],
            flags_text(tcp.flags),
            tcp.seq,
            tcp.ack,
            tcp.window,
            tcp.payload.len(),
            tcp.src.port(),
            tcp.dst.port(),
        );
        self.monitor.note(line);
    }

    /// Runs `act`; if it panics, says how things stood.
    fn guarded(&mut self, act: impl FnOnce(&mut World)) {
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| act(self))) {
            eprintln!(
                "at {:.6} s of virtual time, after {} steps:",
                (self.now - self.start).as_secs_f64(),
                self.steps
            );
            for end in &self.ends {
                eprintln!("  {}", end.describe());
            }
            for host in &self.hosts {
                eprintln!("  {}", host.describe());
            }
            for link in &self.links {
                eprintln!("  {:?}", link.faults);
            }
            for line in &self.monitor.tail {
                eprintln!("  {line}");
            }
            resume_unwind(cause);
        }
    }
}

/// A datagram's segment, unless it was damaged on the way.
fn decode_quietly(bytes: &[u8]) -> Option<Tcp> {
    use std::net::IpAddr;
    let (header, src, dst, protocol): (usize, IpAddr, IpAddr, u8) = match bytes.first()? >> 4 {
        4 => {
            let (header, _) = etherparse::Ipv4Header::from_slice(bytes).ok()?;
            if header.header_checksum != header.calc_header_checksum()
                || usize::from(header.total_len) != bytes.len()
            {
                return None;
            }
            (header.header_len(), header.source.into(), header.destination.into(), header.protocol.0)
        }
        6 => {
            let (header, rest) = etherparse::Ipv6Header::from_slice(bytes).ok()?;
            if usize::from(header.payload_length) != rest.len() {
                return None;
            }
            (40, header.source.into(), header.destination.into(), header.next_header.0)
        }
        _ => return None,
    };
    let slice = etherparse::TcpSlice::from_slice(bytes.get(header..)?).ok().filter(|_| protocol == 6)?;
    let sum = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => slice.calc_checksum_ipv4(src.octets(), dst.octets()).ok()?,
        (IpAddr::V6(src), IpAddr::V6(dst)) => slice.calc_checksum_ipv6(src.octets(), dst.octets()).ok()?,
        _ => return None,
    };
    (sum == slice.checksum()).then(|| Tcp::decode(bytes)).flatten()
}
