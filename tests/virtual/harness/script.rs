//! A stack alone with a peer that does exactly what a test says, at exactly the time it says.
//!
//! The peer stands at no distance: what it sends is received at once, what the stack sends is seen at once. Time
//! passes only by [`Script::wait`], [`Script::run`] and [`Script::expect_in`], and every segment the stack sends must be expected.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tunstack::proto::counters::DropReason;
use tunstack::proto::stack::{Progress, Shutdown};
use tunstack::proto::tcp::SocketOptions;
use tunstack::proto::tcp::closing::State;
use tunstack::proto::{
    Config, DeviceId, Egress, Error, Event, ListenerId, Offloads, Owner, Packet, Readiness, Secrets, Sent,
    SocketId, Stack, TcpId,
};
use tunstack::time::Instant;

use super::device::Given;
use super::seg::{Origin, Seg};
use crate::support::seeds::{pattern_bytes, text_at};
use crate::support::wire::{self, Ip, Opt, Tcp};

/// How far from its due time a timer may fire.
const TIMER_ERROR: Duration = Duration::from_micros(100);
/// Stream numbers of [`pattern_bytes`]: from the stack, to the stack.
pub(crate) const OUT: u64 = 1;
const IN: u64 = 2;

/// What a test may choose before the first packet.
pub(crate) struct Setup {
    pub(crate) ipv6: bool,
    pub(crate) config: Config,
    pub(crate) secrets: u64,
    pub(crate) start: Instant,
    pub(crate) peer_iss: u32,
    pub(crate) mtu: usize,
    /// What the stack leaves to the device.
    pub(crate) offloads: Offloads,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            ipv6: false,
            // Buffers have their size from the start, so that windows are easy to foretell.
            config: Config {
                recv_buffer: 65_535,
                recv_buffer_initial: usize::MAX,
                send_buffer: 512 << 10,
                send_buffer_initial: usize::MAX,
                ..Config::default()
            },
            secrets: 1,
            start: Instant::from_millis(1_000_000),
            peer_iss: 1_000_000,
            mtu: 1500,
            offloads: Offloads::default(),
        }
    }
}

/// One connection (or what may become one) between the stack and the peer.
#[derive(Clone, Debug, Default)]
struct Flow {
    local_port: u16,
    peer_port: u16,
    stack_iss: Option<u32>,
    /// The first timestamp that the stack sent.
    stack_stamp: Option<u32>,
    peer_iss: u32,
    socket: Option<TcpId>,
    written: u64,
    read: u64,
}

impl Flow {
    fn stack(&self) -> Origin {
        Origin { iss: self.stack_iss.unwrap_or(0), stamp: self.stack_stamp.unwrap_or(0) }
    }

    fn peer(&self) -> Origin {
        Origin { iss: self.peer_iss, stamp: 0 }
    }
}

/// The stack under test, its peer, the clock and the transcript.
pub(crate) struct Script {
    pub(crate) stack: Stack,
    pub(crate) device: DeviceId,
    pub(crate) listener: Option<ListenerId>,
    pub(crate) stack_ip: IpAddr,
    pub(crate) peer_ip: IpAddr,
    now: Instant,
    start: Instant,
    peer_iss: u32,
    flows: Vec<Flow>,
    current: usize,
    sent: VecDeque<(Instant, Tcp)>,
    others: VecDeque<Ip>,
    transcript: String,
    events: Vec<Event>,
    /// The device refuses packets while set.
    pub(crate) busy: bool,
    offloads: Offloads,
    /// What the device cuts super-segments into is seen, and not they.
    pub(crate) sees_pieces: bool,
    /// TTL and TOS of the peer's packets.
    pub(crate) peer_tos: u8,
}

/// Opening.
impl Script {
    pub(crate) fn new() -> Script {
        Script::with(Setup::default())
    }

    pub(crate) fn v6() -> Script {
        Script::with(Setup { ipv6: true, ..Setup::default() })
    }

    pub(crate) fn config(change: impl FnOnce(&mut Config)) -> Script {
        let mut setup = Setup::default();
        change(&mut setup.config);
        Script::with(setup)
    }

    pub(crate) fn with(setup: Setup) -> Script {
        let mut stack = Stack::new(setup.config, &Secrets::from_number(setup.secrets), setup.start);
        let device = stack.add_interface(setup.mtu);
        stack.set_offloads(device, setup.offloads);
        let (net, peer) = if setup.ipv6 { ("fd09::2/64", "fd09::1") } else { ("10.9.0.2/24", "10.9.0.1") };
        let net: tunstack::ipnet::IpNet = net.parse().unwrap();
        stack.add_address(device, net).unwrap();
        let flow = Flow { local_port: 7, peer_port: 40_000, peer_iss: setup.peer_iss, ..Flow::default() };
        Script {
            stack,
            device,
            listener: None,
            stack_ip: net.addr(),
            peer_ip: peer.parse().unwrap(),
            now: setup.start,
            start: setup.start,
            peer_iss: setup.peer_iss,
            flows: vec![flow],
            current: 0,
            sent: VecDeque::new(),
            others: VecDeque::new(),
            transcript: String::new(),
            events: Vec::new(),
            busy: false,
            offloads: setup.offloads,
            sees_pieces: false,
            peer_tos: 0,
        }
    }

    /// Listens on port 7.
    pub(crate) fn listen(&mut self) -> ListenerId {
        self.listen_with(None)
    }

    pub(crate) fn listen_with(&mut self, backlog: Option<usize>) -> ListenerId {
        let local = SocketAddr::new(self.stack_ip, 7);
        let listener = self.stack.tcp_listen(self.now, local, backlog, Owner::APPLICATION).unwrap();
        self.listener = Some(listener);
        listener
    }

    /// Goes on with the connection from the peer's port 40000 + `number`, made on first use.
    pub(crate) fn client(&mut self, number: u16) -> &mut Script {
        let peer_port = 40_000 + number;
        self.current = match self.flows.iter().position(|flow| flow.peer_port == peer_port) {
            Some(known) => known,
            None => {
                let peer_iss = self.peer_iss;
                self.flows.push(Flow { local_port: 7, peer_port, peer_iss, ..Flow::default() });
                self.flows.len() - 1
            }
        };
        self
    }

    /// Sends segments from now on to this port of the stack.
    pub(crate) fn aim_at(&mut self, port: u16) -> &mut Script {
        self.flow_mut().local_port = port;
        self
    }

    /// A passive open: the peer's SYN as given, the answer, the final ACK, accept.
    pub(crate) fn open_passive(&mut self, syn: &str) -> TcpId {
        if self.listener.is_none() {
            self.listen();
        }
        self.peer(syn);
        let answer = self.take();
        self.check(answer.flags == wire::SYN | wire::ACK, "a SYN-ACK was expected");
        let win = Seg::parse(syn).win.unwrap_or(65535);
        let stamp = Seg::parse(syn).options.into_iter().flatten().find_map(|option| match option {
            Opt::Timestamps(value, _) => Some(format!(" <ts {value} 0>")),
            _ => None,
        });
        self.peer(&format!("A 1 ack 1 win {win}{}", stamp.unwrap_or_default()));
        self.accept()
    }

    /// As [`open_passive`](Self::open_passive), with MSS 1460 and a window of 65535 without scaling.
    pub(crate) fn open(&mut self) -> TcpId {
        self.open_passive("S 0 win 65535 <mss 1460>")
    }

    /// Starts an active open to the peer's port 80; the SYN is left to be expected.
    pub(crate) fn connect(&mut self) -> TcpId {
        self.connect_with(None)
    }

    pub(crate) fn connect_with(&mut self, options: Option<SocketOptions>) -> TcpId {
        self.try_connect(0, options).unwrap()
    }

    /// The same from a port of the test's choice, or with 0 of the stack's.
    pub(crate) fn try_connect(&mut self, port: u16, options: Option<SocketOptions>) -> Result<TcpId, Error> {
        let local = (port != 0).then(|| SocketAddr::new(self.stack_ip, port));
        let remote = SocketAddr::new(self.peer_ip, 80);
        let id = self.stack.tcp_connect(self.now, local, remote, options, Owner::APPLICATION)?;
        let local_port = self.stack.tcp_local_addr(id).unwrap().port();
        // The same ends again are a new connection.
        self.flows.retain(|flow| (flow.local_port, flow.peer_port) != (local_port, 80));
        let flow =
            Flow { local_port, peer_port: 80, peer_iss: self.peer_iss, socket: Some(id), ..Flow::default() };
        self.flows.push(flow);
        self.current = self.flows.len() - 1;
        self.flush();
        Ok(id)
    }

    /// An active open that the peer answers as given.
    pub(crate) fn open_active(&mut self, syn_ack: &str) -> TcpId {
        let id = self.connect();
        let syn = self.take();
        self.check(syn.flags == wire::SYN, "a SYN was expected");
        self.peer(syn_ack);
        self.expect("A 1 ack 1");
        self.check_eq(self.stack.tcp_state(id), State::Established);
        id
    }

    pub(crate) fn accept(&mut self) -> TcpId {
        let now = self.now;
        let listener = self.listener.expect("a listener");
        let (id, from) = match self.stack.tcp_accept(now, listener) {
            Ok(accepted) => accepted,
            Err(error) => self.fail(&format!("accept: {error:?}")),
        };
        self.check_eq(from.ip(), self.peer_ip);
        self.current =
            self.flows.iter().position(|flow| flow.peer_port == from.port()).expect("a known peer");
        self.flow_mut().socket = Some(id);
        self.flow_mut().local_port = 7;
        self.flush();
        id
    }

    pub(crate) fn try_accept(&mut self) -> Option<TcpId> {
        self.stack.tcp_accept(self.now, self.listener?).ok().map(|(id, from)| {
            self.current =
                self.flows.iter().position(|flow| flow.peer_port == from.port()).expect("a known peer");
            self.flow_mut().socket = Some(id);
            id
        })
    }
}

/// What the peer does and sees.
impl Script {
    /// The peer sends a segment now.
    pub(crate) fn peer(&mut self, line: &str) {
        self.check_nothing_unexpected(line);
        self.inject(line);
    }

    /// As [`peer`](Self::peer), whatever the stack has sent meanwhile: for transcripts.
    pub(crate) fn inject(&mut self, line: &str) {
        let tcp = self.build(line);
        let seg = Seg { win: Some(tcp.window), ..Seg::parse(line) };
        self.note_line(self.flow().peer_port, '<', &seg.line());
        self.receive(&tcp.encode());
    }

    /// The segment that `line` describes, as the peer would send it.
    pub(crate) fn build(&self, line: &str) -> Tcp {
        let seg = Seg::parse(line);
        let flow = self.flow();
        let mut tcp = Tcp::new(self.peer_addr(), SocketAddr::new(self.stack_ip, flow.local_port));
        tcp.flags = seg.flags;
        tcp.tos = self.peer_tos;
        tcp.seq = flow.peer_iss.wrapping_add(seg.seq);
        tcp.ack = seg.ack.map_or(0, |ack| flow.stack_iss.unwrap_or(0).wrapping_add(ack));
        tcp.window = seg.win.unwrap_or(65535);
        tcp.urgent = seg.urg.unwrap_or(0);
        for option in seg.options_on_wire(flow.peer(), flow.stack()) {
            option.encode(&mut tcp.options);
        }
        tcp.payload = text_at(IN, seg.seq, seg.len);
        tcp
    }

    /// A raw datagram arrives.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.stack.receive(self.device, &Packet::plain(bytes, self.now));
        self.flush();
    }

    /// The next segment was sent just now and is as described.
    pub(crate) fn expect(&mut self, line: &str) {
        let Some((at, tcp)) = self.sent.pop_front() else {
            self.fail(&format!("expected {line}\n but nothing was sent"))
        };
        let wanted = Seg::parse(line);
        let flow = self.flow();
        let actual = Seg::of(&tcp, flow.stack(), flow.peer());
        let ends = (tcp.src, tcp.dst) == (self.stack_addr(), self.peer_addr());
        if !wanted.matches(&actual) || !ends {
            self.fail(&format!(
                "expected {}\n but sent {} ({} > {})",
                wanted.line(),
                actual.line(),
                tcp.src,
                tcp.dst
            ));
        }
        if self.now - at > TIMER_ERROR {
            self.fail(&format!("{line} was sent {:?} too early", self.now - at));
        }
    }

    /// Nothing is sent until `ms` milliseconds from now, and then a segment as described.
    pub(crate) fn expect_in(&mut self, ms: u64, line: &str) {
        self.expect_at(self.now + Duration::from_millis(ms), line);
    }

    pub(crate) fn expect_at(&mut self, due: Instant, line: &str) {
        self.check_nothing_unexpected(line);
        while self.sent.is_empty() && self.now < due + TIMER_ERROR {
            self.step(due + TIMER_ERROR);
        }
        if self.now < due {
            let ahead = due - self.now;
            self.fail(&format!("something was sent {ahead:?} before {line}"));
        }
        if self.sent.is_empty() {
            self.fail(&format!("nothing was sent at {:.3} s, when {line} was due", self.seconds(due)));
        }
        self.expect(line);
    }

    /// The sequence number of the stack's SYN.
    pub(crate) fn stack_iss(&self) -> u32 {
        self.flow().stack_iss.expect("a SYN of the stack's")
    }

    /// Nothing has been sent that was not expected.
    pub(crate) fn expect_none(&mut self) {
        self.check_nothing_unexpected("nothing");
    }

    /// Takes the oldest segment not expected yet, whatever it is.
    pub(crate) fn take(&mut self) -> Tcp {
        match self.sent.pop_front() {
            Some((_, tcp)) => tcp,
            None => self.fail("a segment was expected, but nothing was sent"),
        }
    }

    /// Takes the oldest segment not expected yet, if there is one.
    pub(crate) fn try_take(&mut self) -> Option<Tcp> {
        self.sent.pop_front().map(|(_, tcp)| tcp)
    }

    /// Takes all segments not expected yet, as lines.
    pub(crate) fn take_all(&mut self) -> Vec<String> {
        let flow = self.flow().clone();
        let line = |(_, tcp): (Instant, Tcp)| Seg::of(&tcp, flow.stack(), flow.peer()).line();
        self.sent.drain(..).map(line).collect()
    }

    /// Takes the oldest datagram sent that isn't TCP.
    pub(crate) fn take_other(&mut self) -> Option<Ip> {
        self.others.pop_front()
    }

    /// Time passes, and nothing is sent.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.check_nothing_unexpected("silence");
        self.run(ms);
        self.check_nothing_unexpected("silence");
    }

    /// Time passes; what is sent meanwhile is in the transcript and may be expected or taken afterwards.
    pub(crate) fn run(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while self.now < until {
            self.step(until);
        }
    }

    /// The transcript so far, for a snapshot; what was sent counts as seen.
    pub(crate) fn transcript(&mut self) -> String {
        self.sent.clear();
        self.transcript.clone()
    }

    /// The transcript must be as the reviewed snapshot has it.
    #[track_caller]
    pub(crate) fn snapshot(&mut self, name: &str) {
        let transcript = self.transcript();
        snapshot(name, &transcript);
    }

    /// A remark in the transcript.
    pub(crate) fn remark(&mut self, text: &str) {
        let _ = writeln!(self.transcript, "          -- {text}");
    }

    /// An ICMP error about the segment `line` that the stack sent (or is said to have sent).
    pub(crate) fn icmp(&mut self, kind: u8, code: u8, quoted: &str) {
        self.check_nothing_unexpected("icmp");
        let (from, to) = (self.peer_ip, self.stack_ip);
        let quoted = self.as_sent(quoted);
        let _ = writeln!(self.transcript, "{:>9.3} < icmp type {kind} code {code}", self.seconds(self.now));
        self.receive(&wire::icmp_error(from, to, kind, code, 0, &quoted));
    }

    /// The datagram that the stack would have sent for `line`.
    pub(crate) fn as_sent(&self, line: &str) -> Vec<u8> {
        let seg = Seg::parse(line);
        let flow = self.flow();
        let mut tcp = Tcp::new(self.stack_addr(), self.peer_addr());
        tcp.flags = seg.flags;
        tcp.seq = flow.stack_iss.unwrap_or(0).wrapping_add(seg.seq);
        tcp.ack = flow.peer_iss.wrapping_add(seg.ack.unwrap_or(0));
        tcp.payload = text_at(OUT, seg.seq, seg.len);
        tcp.encode()
    }
}

/// What the application does and sees.
impl Script {
    pub(crate) fn id(&self) -> TcpId {
        self.flow().socket.expect("a socket")
    }

    pub(crate) fn has_socket(&self) -> bool {
        self.flow().socket.is_some()
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Writes `len` bytes, all of which must be taken.
    pub(crate) fn write(&mut self, len: usize) {
        let taken = self.write_some(len);
        self.check_eq(taken, Ok(len));
    }

    pub(crate) fn write_some(&mut self, len: usize) -> Result<usize, Error> {
        let data = pattern_bytes(OUT, self.flow().written, len);
        let taken = self.stack.tcp_write(self.now, self.id(), &data);
        self.flow_mut().written += *taken.as_ref().unwrap_or(&0) as u64;
        self.flush();
        taken
    }

    pub(crate) fn write_urgent(&mut self, len: usize) {
        let data = pattern_bytes(OUT, self.flow().written, len);
        let taken = self.stack.tcp_write_urgent(self.now, self.id(), &data);
        self.flow_mut().written += len as u64;
        self.flush();
        self.check_eq(taken, Ok(len));
    }

    /// Reads at most `max` bytes and checks that they are what the peer sent.
    pub(crate) fn read_some(&mut self, max: usize) -> Result<usize, Error> {
        let mut out = vec![0; max];
        let len = self.stack.tcp_read(self.now, self.id(), &mut out)?;
        let from = self.flow().read;
        if out[..len] != pattern_bytes(IN, from, len) {
            self.fail(&format!("bytes {from}..{} read are not those that were sent", from + len as u64));
        }
        self.flow_mut().read += len as u64;
        self.flush();
        Ok(len)
    }

    /// Reads exactly `len` bytes.
    pub(crate) fn read(&mut self, len: usize) {
        let mut left = len;
        while left > 0 {
            match self.read_some(left) {
                Ok(count) if count > 0 => left -= count,
                other => self.fail(&format!("read {other:?} with {left} of {len} bytes to come")),
            }
        }
    }

    /// Nothing can be read now.
    pub(crate) fn expect_no_data(&mut self) {
        let result = self.read_some(1);
        self.check_eq(result, Err(Error::WouldBlock));
    }

    pub(crate) fn expect_eof(&mut self) {
        let result = self.read_some(1);
        self.check_eq(result, Ok(0));
    }

    pub(crate) fn expect_read_error(&mut self, error: Error) {
        let result = self.read_some(1);
        self.check_eq(result, Err(error));
    }

    pub(crate) fn shutdown(&mut self, how: Shutdown) {
        let result = self.stack.tcp_shutdown(self.now, self.id(), how);
        self.flush();
        self.check_eq(result, Ok(()));
    }

    /// Lets go of the handle.
    pub(crate) fn close(&mut self) {
        let id = self.flow_mut().socket.take().expect("a socket");
        self.stack.tcp_close(self.now, id);
        self.flush();
    }

    pub(crate) fn abort(&mut self) {
        let id = self.flow_mut().socket.take().expect("a socket");
        self.stack.tcp_abort(self.now, id);
        self.flush();
    }

    pub(crate) fn options(&mut self, change: impl FnOnce(&mut SocketOptions)) {
        let id = self.id();
        let mut options = self.stack.tcp_options(id).unwrap();
        change(&mut options);
        self.stack.tcp_set_options(self.now, id, options).unwrap();
        self.flush();
    }

    /// The state as the handle tells it, or as the census does where there is no handle.
    pub(crate) fn state(&self) -> State {
        if let Some(id) = self.flow().socket {
            return self.stack.tcp_state(id);
        }
        let census = self.stack.tcp_census();
        match () {
            () if census.sockets > 0 => State::Established,
            () if census.half_open > 0 => State::SynReceived,
            () if census.time_wait > 0 => State::TimeWait,
            () if census.listeners > 0 => State::Listen,
            () => State::Closed,
        }
    }

    pub(crate) fn expect_state(&mut self, state: State) {
        self.check_eq(self.state(), state);
    }

    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.stack.counters().dropped(reason)
    }

    /// What has changed about the current socket since the last call.
    pub(crate) fn readiness(&mut self) -> Readiness {
        self.readiness_of(self.id())
    }

    /// The same of any.
    pub(crate) fn readiness_of(&mut self, id: TcpId) -> Readiness {
        let socket = SocketId::Tcp(id);
        let mut all = Readiness::empty();
        self.events.retain(|event| {
            if event.socket == socket {
                all |= event.readiness;
            }
            event.socket != socket
        });
        all
    }

    /// Sends what waits, as a driver does after every verb.
    pub(crate) fn flush(&mut self) {
        let (device, offloads, busy, now) = (self.device, self.offloads, self.busy, self.now);
        let mut packets = Vec::new();
        for _ in 0..10_000 {
            let progress = self.stack.transmit(now, &mut |egress: Egress<'_>| {
                assert_eq!(egress.device, device);
                if busy {
                    return Sent::Busy;
                }
                packets.push(Given::of(&egress, offloads));
                Sent::Taken
            });
            if progress != Progress::More {
                assert!(packets.len() < 100_000, "a flood at one instant");
                break;
            }
        }
        for given in packets {
            let cut = || given.pieces.iter().map(|piece| (Tcp::decode(piece), &piece[..])).collect();
            let seen: Vec<_> = if self.sees_pieces { cut() } else { vec![(given.tcp(), &given.pieces[0])] };
            seen.into_iter().for_each(|(tcp, bytes)| self.record(tcp, bytes));
        }
        while let Some(event) = self.stack.next_event() {
            self.events.push(event);
        }
        let counters = self.stack.counters();
        assert_eq!(counters.packets_in, counters.packets_delivered + counters.dropped_total());
        if !busy {
            assert!(!self.stack.wants_transmit(), "something to send after transmit came to Idle");
        }
    }
}

/// Checks that print the transcript.
impl Script {
    #[track_caller]
    pub(crate) fn check_eq<T: PartialEq + std::fmt::Debug>(&self, actual: T, expected: T) {
        if actual != expected {
            self.fail(&format!("expected {expected:?}, but it is {actual:?}"));
        }
    }

    #[track_caller]
    pub(crate) fn check(&self, holds: bool, what: &str) {
        if !holds {
            self.fail(what);
        }
    }

    #[track_caller]
    pub(crate) fn fail(&self, what: &str) -> ! {
        panic!("{what}\n at {:.6} s, after:\n{}", self.seconds(self.now), self.transcript);
    }

    #[track_caller]
    fn check_nothing_unexpected(&self, before: &str) {
        if let Some((at, tcp)) = self.sent.front() {
            let flow = self.flow();
            let line = Seg::of(tcp, flow.stack(), flow.peer()).line();
            self.fail(&format!("not expected at {:.3} s (before {before}): {line}", self.seconds(*at)));
        }
    }

    fn flow(&self) -> &Flow {
        &self.flows[self.current]
    }

    fn flow_mut(&mut self) -> &mut Flow {
        &mut self.flows[self.current]
    }

    fn peer_addr(&self) -> SocketAddr {
        SocketAddr::new(self.peer_ip, self.flow().peer_port)
    }

    fn stack_addr(&self) -> SocketAddr {
        SocketAddr::new(self.stack_ip, self.flow().local_port)
    }

    fn seconds(&self, at: Instant) -> f64 {
        (at - self.start).as_secs_f64()
    }

    /// Goes on to the next deadline, but not past `until`.
    fn step(&mut self, until: Instant) {
        let next = self.stack.deadline().map_or(until, |deadline| deadline.min(until));
        self.now = next.max(self.now);
        self.stack.advance(self.now);
        if let Some(deadline) = self.stack.deadline() {
            assert!(deadline > self.now, "a deadline that has passed: {deadline:?} at {:?}", self.now);
        }
        self.flush();
    }

    fn record(&mut self, tcp: Option<Tcp>, bytes: &[u8]) {
        let Some(tcp) = tcp else {
            let ip = Ip::decode(bytes);
            let _ = writeln!(self.transcript, "{:>9.3} > protocol {}", self.seconds(self.now), ip.protocol);
            self.others.push_back(ip);
            return;
        };
        let ends = (tcp.src.port(), tcp.dst.port());
        if let Some(flow) = self.flows.iter_mut().find(|flow| (flow.local_port, flow.peer_port) == ends) {
            if tcp.has(wire::SYN) {
                flow.stack_iss = Some(tcp.seq);
                let stamp = Opt::decode_all(&tcp.options).into_iter().find_map(|option| match option {
                    Opt::Timestamps(value, _) => Some(value),
                    _ => None,
                });
                flow.stack_stamp = flow.stack_stamp.or(stamp);
            }
            if let (Some(iss), false) = (flow.stack_iss, tcp.payload.is_empty()) {
                // A keep-alive's or window probe's octet too must be the one that stands at its place.
                let from = tcp.seq.wrapping_sub(iss).wrapping_sub(1);
                let expected = pattern_bytes(OUT, u64::from(from), tcp.payload.len());
                assert_eq!(tcp.payload, expected, "text at {from}\n{}", self.transcript);
            }
        }
        self.note(&tcp);
        self.sent.push_back((self.now, tcp));
    }

    fn note(&mut self, tcp: &Tcp) {
        let Some(flow) = self.flows.iter().find(|flow| flow.peer_port == tcp.dst.port()) else { return };
        let line = Seg::of(tcp, flow.stack(), flow.peer()).line();
        self.note_line(tcp.dst.port(), '>', &line);
    }

    fn note_line(&mut self, peer_port: u16, arrow: char, line: &str) {
        // The first flow needs no name.
        let from =
            if peer_port == self.flows[0].peer_port { String::new() } else { format!("{peer_port:>6}") };
        let _ = writeln!(self.transcript, "{:>9.3}{from} {arrow} {line}", self.seconds(self.now));
    }
}

/// Compares `text` with the reviewed snapshot `snapshots/NAME.snap`.
#[track_caller]
pub(crate) fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("../snapshots");
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Whatever a script does, at its end everything can be given back.
impl Drop for Script {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.busy = false;
        if let Some(listener) = self.listener.take() {
            self.stack.tcp_close_listener(self.now, listener);
        }
        for flow in &mut self.flows {
            if let Some(id) = flow.socket.take() {
                self.stack.tcp_abort(self.now, id);
            }
        }
        self.flush();
        // Orphans still retransmit; the longest of them lives for R2.
        let end = self.now + Duration::from_secs(2_000);
        while self.now < end && self.stack.deadline().is_some() {
            self.step(end);
        }
        let census = self.stack.tcp_census();
        assert_eq!(census, Default::default(), "left behind after:\n{}", self.transcript);
    }
}

/// The state of a handle, CLOSED where it has none any more.
pub(crate) trait StateOf {
    fn tcp_state(&self, id: TcpId) -> State;
}

impl StateOf for Stack {
    fn tcp_state(&self, id: TcpId) -> State {
        self.tcp_info(id).map_or(State::Closed, |info| info.state)
    }
}
