//! The stack: owner of everything, and the verbs by which it is driven.
//!
//! A driver (the run loop, a simulation) does four things, in any order and as often as it likes:
//!
//! 1. [`receive`](Stack::receive) each packet that came in;
//! 2. [`advance`](Stack::advance) when [`deadline`](Stack::deadline) has come;
//! 3. [`transmit`](Stack::transmit) whatever there is to send, after 1, 2 and after socket verbs;
//! 4. take events with [`next_event`](Stack::next_event) and use the sockets they name.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::buf::pages::Pool;
use super::config::{Config, Secrets};
use super::context::{Context, TimerKey};
use super::counters::{Counters, DropReason};
use super::error::Error;
use super::events::{Event, Events, Owner};
use super::ids::{ListenerId, TcpId, UdpId};
use super::ip::outbox::Outbox;
use super::ip::{self, Datagram, Layer, icmp};
use super::packet::{ChecksumState, DeviceId, Egress, Packet, PacketSink, Sent};
use super::tcp::endpoint::{Endpoint, Take};
use super::tcp::{SocketOptions, TcpInfo};
use super::timer_wheel::TimerWheel;
use super::trace::{Record, Trace, TraceLevel};
use super::udp::{self, UdpOptions, UdpReceived};
use super::wire;
use crate::rng::Rng;
use crate::time::Instant;

/// Which side of a connection to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// No more reading: what is unread is kept, what comes later is dropped, and reads answer end of stream.
    Read,
    /// No more writing: FIN follows what is queued.
    Write,
    /// Both.
    Both,
}

/// How far [`Stack::transmit`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// Nothing is left to send now.
    Idle,
    /// The device had no room; go on when it has.
    Busy,
    /// The budget is used up; call again after looking at what came in.
    More,
}

/// How many TCP objects of each kind exist: for leak checks and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpCensus {
    /// Handles and connections, in any phase.
    pub sockets: usize,
    /// Listening sockets.
    pub listeners: usize,
    /// Half-open connections of listeners.
    pub half_open: usize,
    /// Entries in TIME-WAIT.
    pub time_wait: usize,
    /// Timers armed.
    pub timers: usize,
    /// Pages lent out.
    pub pages: usize,
}

/// One shard of a TCP/IP stack.
///
/// ```
/// use tunstack::proto::{Config, Packet, Secrets, Sent, Stack};
/// use tunstack::time::Instant;
///
/// let mut stack = Stack::new(Config::default(), &Secrets::from_number(1), Instant::ZERO);
/// let device = stack.add_interface(1500);
/// stack.add_address(device, "10.9.0.2/24".parse().unwrap()).unwrap();
/// let listener = stack.tcp_listen(Instant::ZERO, "10.9.0.2:7".parse().unwrap(), None, Default::default()).unwrap();
/// stack.receive(device, &Packet::plain(b"not a packet", Instant::ZERO));
/// let _ = stack.transmit(Instant::ZERO, &mut |_egress: tunstack::proto::Egress<'_>| Sent::Taken);
/// assert_eq!(stack.counters().dropped_total(), 1);
/// stack.tcp_close_listener(Instant::ZERO, listener);
/// ```
#[derive(Debug)]
pub struct Stack {
    /// First, so that it is dropped first: debug builds call pages a leak while their pool still lives.
    pool: Pool,
    config: Config,
    counters: Counters,
    ip: Layer,
    udp: udp::Sockets,
    tcp: Endpoint,
    outbox: Outbox,
    events: Events,
    trace: Trace,
    rng: Rng,
    timers: TimerWheel<TimerKey>,
    /// Packets on their way from the stack to itself.
    loopback: VecDeque<Vec<u8>>,
}

/// Splits the stack into one layer and the context that it runs in.
macro_rules! with {
    ($self:ident, $now:expr, $layer:ident) => {
        (
            &mut $self.$layer,
            Context {
                now: $now,
                config: &$self.config,
                counters: &mut $self.counters,
                ip: &mut $self.ip,
                outbox: &mut $self.outbox,
                events: &mut $self.events,
                trace: &mut $self.trace,
                rng: &mut $self.rng,
                pool: &mut $self.pool,
                timers: &mut $self.timers,
            },
        )
    };
}

/// Construction, interfaces and routes.
impl Stack {
    /// A stack without interfaces.
    pub fn new(config: Config, secrets: &Secrets, now: Instant) -> Self {
        Stack {
            counters: Counters::default(),
            ip: Layer::new(&config, now),
            udp: udp::Sockets::new(secrets.tables),
            tcp: Endpoint::new(&config, secrets),
            outbox: Outbox::new(&config),
            events: Events::default(),
            trace: Trace::default(),
            rng: Rng::from_seed(secrets.rng),
            pool: Pool::new(config.pages),
            timers: TimerWheel::new(now),
            loopback: VecDeque::new(),
            config,
        }
    }

    /// Adds an interface whose largest datagram is `mtu` bytes.
    pub fn add_interface(&mut self, mtu: usize) -> DeviceId {
        self.ip.add_interface(mtu)
    }

    /// Follows a change of an interface's MTU.
    pub fn set_mtu(&mut self, device: DeviceId, mtu: usize) {
        self.ip.set_mtu(device, mtu);
    }

    /// Gives an interface an address; the network it stands in becomes a connected route.
    ///
    /// # Errors
    /// `InvalidInput` if no host may have the address, `AddrInUse` if the stack has it already.
    pub fn add_address(&mut self, device: DeviceId, address: IpNet) -> Result<(), Error> {
        self.ip.add_address(device, address)
    }

    /// Adds a route through an interface; `0.0.0.0/0` and `::/0` are default routes.
    ///
    /// # Errors
    /// `InvalidInput` for an interface that doesn't exist.
    pub fn add_route(&mut self, destination: IpNet, device: DeviceId) -> Result<(), Error> {
        self.ip.add_route(destination, device)
    }

    /// Limits and defaults.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What has been counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The trace: set its level, take its records.
    pub fn trace(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// How many UDP sockets are open.
    pub fn udp_sockets(&self) -> usize {
        self.udp.len()
    }

    /// How many TCP objects exist.
    pub fn tcp_census(&self) -> TcpCensus {
        TcpCensus { timers: self.timers.len(), pages: self.pool.in_use(), ..self.tcp.census() }
    }
}

/// The driver's verbs.
impl Stack {
    /// Takes one packet that came in by `device`. What it causes to be sent waits for
    /// [`transmit`](Self::transmit).
    pub fn receive(&mut self, device: DeviceId, packet: &Packet<'_>) {
        self.counters.packets_in += 1;
        self.counters.bytes_in += packet.bytes.len() as u64;
        match self.dispatch(device, packet) {
            Ok(()) => self.counters.packets_delivered += 1,
            Err(reason) => {
                self.counters.drop(reason);
                let len = packet.bytes.len();
                self.trace.record(packet.at, TraceLevel::Debug, || Record::Dropped { reason, device, len });
            }
        }
    }

    /// Runs everything whose time has come.
    pub fn advance(&mut self, now: Instant) {
        while let Some(key) = self.timers.pop_due(now) {
            let (tcp, mut ctx) = with!(self, now, tcp);
            tcp.timer(&mut ctx, key);
        }
    }

    /// When [`advance`](Self::advance) has something to do next.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// Whether [`transmit`](Self::transmit) has something to send.
    pub fn wants_transmit(&self) -> bool {
        !self.outbox.is_empty() || !self.loopback.is_empty() || self.tcp.wants_transmit(&self.pool)
    }

    /// Sends what there is to send. State advances only as the sink takes packets.
    pub fn transmit(&mut self, now: Instant, sink: &mut dyn PacketSink) -> Progress {
        self.transmit_all(now, sink, false)
    }

    /// Like [`transmit`](Self::transmit), for a driver that knows of packets which have arrived and which it
    /// will hand over next: acknowledgements that may be merged with theirs wait, and [`Progress::Idle`] says
    /// only that nothing else is left.
    pub fn transmit_mid_batch(&mut self, now: Instant, sink: &mut dyn PacketSink) -> Progress {
        self.transmit_all(now, sink, true)
    }

    fn transmit_all(&mut self, now: Instant, sink: &mut dyn PacketSink, more_to_come: bool) -> Progress {
        // Packets to ourselves may cause more of them; a bounded number of rounds keeps two chatting
        // sockets from holding the driver for ever.
        for _ in 0..Self::LOOPBACK_ROUNDS {
            let progress = self.transmit_once(now, sink, more_to_come);
            if self.loopback.is_empty() {
                return progress;
            }
            self.deliver_loopback(now);
        }
        Progress::More
    }

    /// The next socket that is worth another look.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    const LOOPBACK_ROUNDS: usize = 64;

    fn dispatch(&mut self, device: DeviceId, packet: &Packet<'_>) -> Result<(), DropReason> {
        let (tcp, mut ctx) = with!(self, packet.at, tcp);
        let datagram = ip::input::receive(&mut ctx, device, packet)?;
        match datagram.protocol {
            wire::ip::PROTOCOL_TCP => tcp.receive(&mut ctx, &datagram),
            wire::ip::PROTOCOL_UDP => self.udp.receive(&mut ctx, &datagram),
            wire::ip::PROTOCOL_ICMP | wire::ip::PROTOCOL_ICMPV6 => self.dispatch_icmp(&datagram),
            _ => {
                icmp::send_protocol_unreachable(&mut ctx, &datagram);
                Err(DropReason::UnknownProtocol)
            }
        }
    }

    fn dispatch_icmp(&mut self, datagram: &Datagram<'_>) -> Result<(), DropReason> {
        let (tcp, mut ctx) = with!(self, datagram.at, tcp);
        let Some(error) = icmp::receive(&mut ctx, datagram)? else { return Ok(()) };
        match error.protocol {
            wire::ip::PROTOCOL_TCP => tcp.icmp_error(&mut ctx, &error),
            wire::ip::PROTOCOL_UDP => self.udp.icmp_error(&mut ctx, &error),
            _ => Err(DropReason::IcmpUnrelated),
        }
    }

    fn transmit_once(&mut self, now: Instant, device: &mut dyn PacketSink, more_to_come: bool) -> Progress {
        let (mut packets, mut bytes) = (0, 0);
        let mut sink = LoopbackSink {
            device,
            loopback: &mut self.loopback,
            limit: self.config.loopback_packets,
            packets: &mut packets,
            bytes: &mut bytes,
        };
        let progress = loop {
            let Some((device, datagram)) = self.outbox.front() else {
                let (tcp, mut ctx) = with!(self, now, tcp);
                break tcp.transmit(&mut ctx, &mut sink, more_to_come);
            };
            match sink.send(Egress { device, header: datagram, payload: &[], gso_size: None }) {
                Sent::Taken => drop(self.outbox.pop()),
                Sent::Busy => break Progress::Busy,
            }
        };
        self.counters.packets_out += packets;
        self.counters.bytes_out += bytes;
        let (udp, mut ctx) = with!(self, now, udp);
        udp.outbox_drained(&mut ctx);
        progress
    }

    fn deliver_loopback(&mut self, now: Instant) {
        for bytes in core::mem::take(&mut self.loopback) {
            let packet = Packet { bytes: &bytes, at: now, checksum: ChecksumState::Trusted, gso_size: None };
            self.receive(DeviceId::LOOPBACK, &packet);
        }
    }
}

/// TCP's socket verbs. Handles that were closed answer [`Error::NoSuchSocket`].
impl Stack {
    /// Opens a listener. Port 0 chooses a free one. `backlog` is how many finished handshakes may wait
    /// to be accepted, less one, as on Linux; `None` takes the default.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable` (not an address of ours), `NoBufferSpace` (too many listeners).
    pub fn tcp_listen(
        &mut self,
        now: Instant,
        local: SocketAddr,
        backlog: Option<usize>,
        owner: Owner,
    ) -> Result<ListenerId, Error> {
        let (tcp, mut ctx) = with!(self, now, tcp);
        tcp.listen(&mut ctx, local, backlog, owner)
    }

    /// Takes a connection from the accept queue, with the peer's address.
    ///
    /// # Errors
    /// `WouldBlock` if none waits.
    pub fn tcp_accept(&mut self, now: Instant, id: ListenerId) -> Result<(TcpId, SocketAddr), Error> {
        let (tcp, mut ctx) = with!(self, now, tcp);
        tcp.accept(&mut ctx, id)
    }

    /// Where a listener listens.
    pub fn tcp_listener_addr(&self, id: ListenerId) -> Result<SocketAddr, Error> {
        self.tcp.listener_addr(id)
    }

    /// Options that connections accepted from now on start with.
    pub fn tcp_listener_options(&self, id: ListenerId) -> Result<SocketOptions, Error> {
        self.tcp.listener_options(id)
    }

    /// Sets what connections accepted from now on start with.
    pub fn tcp_set_listener_options(&mut self, id: ListenerId, options: SocketOptions) -> Result<(), Error> {
        self.tcp.set_listener_options(id, options)
    }

    /// Closes a listener; connections that wait to be accepted are reset.
    pub fn tcp_close_listener(&mut self, now: Instant, id: ListenerId) {
        let (tcp, mut ctx) = with!(self, now, tcp);
        tcp.close_listener(&mut ctx, id);
    }

    /// Starts to open a connection; a WRITABLE event tells when [`tcp_connect_result`](Self::tcp_connect_result)
    /// has something to say. `local` with port 0 or an unspecified address leaves that part to the stack.
    ///
    /// # Errors
    /// `InvalidInput` (families differ, port 0), `NetworkUnreachable` (no route; broadcast, multicast or unspecified remote),
    /// `AddrNotAvailable` (no such local address, no free port), `AddrInUse`, `NoBufferSpace`.
    pub fn tcp_connect(
        &mut self,
        now: Instant,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: Option<SocketOptions>,
        owner: Owner,
    ) -> Result<TcpId, Error> {
        let (tcp, mut ctx) = with!(self, now, tcp);
        tcp.connect(&mut ctx, local, remote, options, owner)
    }

    /// Whether the connection is open: `InProgress` while it is not decided, the reason if it failed
    /// (told once; `NotConnected` afterwards).
    pub fn tcp_connect_result(&mut self, id: TcpId) -> Result<(), Error> {
        self.tcp.connect_result(id)
    }

    /// Reads in-order bytes; 0 is the end of the stream (or an empty `out`).
    ///
    /// # Errors
    /// `WouldBlock`, or how the connection failed: told once, after all that was received in order.
    pub fn tcp_read(&mut self, now: Instant, id: TcpId, out: &mut [u8]) -> Result<usize, Error> {
        let (tcp, mut ctx) = with!(self, now, tcp);
        tcp.read(&mut ctx, id, Take::Copy(out))
    }

    /// Like [`tcp_read`](Self::tcp_read), leaving the bytes unread.
    pub fn tcp_peek(&mut self, now: Instant, id: TcpId, out: &mut [u8]) -> Result<usize, Error> {
        let (tcp, mut ctx) = with!(self, now, tcp);
        tcp.read(&mut ctx, id, Take::Look(out))
    }

    /// Like [`tcp_read`](Self::tcp_read), throwing up to `max` bytes away instead of copying them: for what was
    /// seen by [`tcp_peek`](Self::tcp_peek), or is of no interest.
    pub fn tcp_skip(&mut self, now: Instant, id: TcpId, max: usize) -> Result<usize, Error> {
        let (tcp, mut ctx) = with!(self, now, tcp);
        tcp.read(&mut ctx, id, Take::Skip(max))
    }

    /// Queues bytes to be sent; fewer than all if the send buffer has no more room.
    ///
    /// # Errors
    /// `WouldBlock` (no room; not open yet), `BrokenPipe` (closed on this side, or the peer is gone), or how the
    /// connection failed, told once.
    pub fn tcp_write(&mut self, now: Instant, id: TcpId, data: &[u8]) -> Result<usize, Error> {
        let (tcp, mut ctx) = with!(self, now, tcp);
        tcp.write(&mut ctx, id, data, false)
    }

    /// Like [`tcp_write`](Self::tcp_write), with the urgent mark set after the last byte queued (RFC 9293
    /// section 3.8.5; new protocols should not use it, RFC 6093).
    pub fn tcp_write_urgent(&mut self, now: Instant, id: TcpId, data: &[u8]) -> Result<usize, Error> {
        let (tcp, mut ctx) = with!(self, now, tcp);
        tcp.write(&mut ctx, id, data, true)
    }

    /// Closes one or both directions; the handle stays.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn tcp_shutdown(&mut self, now: Instant, id: TcpId, how: Shutdown) -> Result<(), Error> {
        let (tcp, mut ctx) = with!(self, now, tcp);
        tcp.shutdown(&mut ctx, id, how)
    }

    /// Lets go of a handle: queued data and FIN still go, unread data draws a reset (RFC 9293 SHLD-3),
    /// linger zero aborts.
    pub fn tcp_close(&mut self, now: Instant, id: TcpId) {
        let (tcp, mut ctx) = with!(self, now, tcp);
        tcp.close(&mut ctx, id);
    }

    /// Resets the connection and lets go of the handle.
    pub fn tcp_abort(&mut self, now: Instant, id: TcpId) {
        let (tcp, mut ctx) = with!(self, now, tcp);
        tcp.abort(&mut ctx, id);
    }

    /// A socket's options.
    pub fn tcp_options(&self, id: TcpId) -> Result<SocketOptions, Error> {
        self.tcp.options(id)
    }

    /// Changes a socket's options; they hold from the next segment on.
    pub fn tcp_set_options(&mut self, now: Instant, id: TcpId, options: SocketOptions) -> Result<(), Error> {
        let (tcp, mut ctx) = with!(self, now, tcp);
        tcp.set_options(&mut ctx, id, options)
    }

    /// This side's address.
    pub fn tcp_local_addr(&self, id: TcpId) -> Result<SocketAddr, Error> {
        self.tcp.local_addr(id)
    }

    /// The peer's address.
    ///
    /// # Errors
    /// `NotConnected` unless the connection is open.
    pub fn tcp_peer_addr(&self, id: TcpId) -> Result<SocketAddr, Error> {
        self.tcp.peer_addr(id)
    }

    /// Takes the pending error.
    pub fn tcp_take_error(&mut self, id: TcpId) -> Result<Option<Error>, Error> {
        self.tcp.take_error(id)
    }

    /// The connection's inner life.
    pub fn tcp_info(&self, id: TcpId) -> Result<TcpInfo, Error> {
        self.tcp.info(id)
    }

    /// Connections with something left to send or a FIN not acknowledged: what a graceful end waits for.
    pub fn tcp_unfinished(&self) -> usize {
        self.tcp.unfinished()
    }

    /// Resets every connection that is still there, as the last act of a stack.
    pub fn tcp_abort_all(&mut self, now: Instant) {
        let (tcp, mut ctx) = with!(self, now, tcp);
        tcp.abort_all(&mut ctx);
    }
}

/// UDP's socket verbs.
impl Stack {
    /// Opens a socket. Port 0 chooses a free one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `NoBufferSpace` (too many sockets).
    pub fn udp_bind(&mut self, now: Instant, local: SocketAddr, owner: Owner) -> Result<UdpId, Error> {
        let (udp, mut ctx) = with!(self, now, udp);
        udp.bind(&mut ctx, local, owner)
    }

    /// Sets the peer: only its datagrams are received, and ICMP errors are reported.
    ///
    /// # Errors
    /// `NetworkUnreachable`, `InvalidInput` (families differ).
    pub fn udp_connect(&mut self, now: Instant, id: UdpId, remote: SocketAddr) -> Result<(), Error> {
        let (udp, mut ctx) = with!(self, now, udp);
        udp.connect(&mut ctx, id, remote)
    }

    /// Sends one datagram to `to`, or to the connected peer.
    ///
    /// # Errors
    /// `MessageTooLong`, `DestinationRequired`, `NetworkUnreachable`, `WouldBlock` (queue full), or a pending
    /// error, told once.
    pub fn udp_send_to(
        &mut self,
        now: Instant,
        id: UdpId,
        data: &[u8],
        to: Option<SocketAddr>,
    ) -> Result<usize, Error> {
        let (udp, mut ctx) = with!(self, now, udp);
        udp.send_to(&mut ctx, id, data, to, None)
    }

    /// Receives one datagram; what doesn't fit into `out` is lost.
    ///
    /// # Errors
    /// `WouldBlock`, or a pending error, told once.
    pub fn udp_recv_from(&mut self, id: UdpId, out: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        self.udp.recv_from(id, out, false).map(|read| (read.len, read.from))
    }

    /// Like [`udp_recv_from`](Self::udp_recv_from), leaving the datagram in the queue.
    pub fn udp_peek_from(&mut self, id: UdpId, out: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        self.udp.recv_from(id, out, true).map(|read| (read.len, read.from))
    }

    /// Like [`udp_send_to`](Self::udp_send_to), from an address of ours that the caller chooses.
    ///
    /// # Errors
    /// Also `AddrNotAvailable` if `source` isn't ours, `InvalidInput` if it is of another family or a loopback
    /// address that was to leave the stack.
    pub fn udp_send_from(
        &mut self,
        now: Instant,
        id: UdpId,
        data: &[u8],
        to: Option<SocketAddr>,
        source: IpAddr,
    ) -> Result<usize, Error> {
        let (udp, mut ctx) = with!(self, now, udp);
        udp.send_to(&mut ctx, id, data, to, Some(source))
    }

    /// Like [`udp_recv_from`](Self::udp_recv_from), and tells all that is known of the datagram: the address it
    /// was sent to, and whether it was longer than `out`.
    pub fn udp_recv_msg(&mut self, id: UdpId, out: &mut [u8]) -> Result<UdpReceived, Error> {
        self.udp.recv_from(id, out, false)
    }

    /// Closes a socket.
    pub fn udp_close(&mut self, now: Instant, id: UdpId) {
        let (udp, mut ctx) = with!(self, now, udp);
        udp.close(&mut ctx, id);
    }

    /// This side's address.
    pub fn udp_local_addr(&self, id: UdpId) -> Result<SocketAddr, Error> {
        self.udp.local_addr(id)
    }

    /// The connected peer.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn udp_peer_addr(&self, id: UdpId) -> Result<SocketAddr, Error> {
        self.udp.peer_addr(id)
    }

    /// A socket's options.
    pub fn udp_options(&self, id: UdpId) -> Result<UdpOptions, Error> {
        self.udp.options(id)
    }

    /// Changes a socket's options.
    pub fn udp_set_options(&mut self, id: UdpId, options: UdpOptions) -> Result<(), Error> {
        self.udp.set_options(id, options)
    }

    /// Takes the pending error.
    pub fn udp_take_error(&mut self, id: UdpId) -> Result<Option<Error>, Error> {
        self.udp.take_error(id)
    }
}

/// Counts what is taken, and turns packets for the stack itself round.
struct LoopbackSink<'a> {
    device: &'a mut dyn PacketSink,
    loopback: &'a mut VecDeque<Vec<u8>>,
    limit: usize,
    packets: &'a mut u64,
    bytes: &'a mut u64,
}

impl PacketSink for LoopbackSink<'_> {
    fn send(&mut self, egress: Egress<'_>) -> Sent {
        let sent = if egress.device == DeviceId::LOOPBACK {
            self.turn_round(egress)
        } else {
            self.device.send(egress)
        };
        if sent == Sent::Taken {
            *self.packets += 1;
            *self.bytes += egress.len() as u64;
        }
        sent
    }
}

impl LoopbackSink<'_> {
    fn turn_round(&mut self, egress: Egress<'_>) -> Sent {
        if self.loopback.len() >= self.limit {
            return Sent::Busy;
        }
        let mut bytes = Vec::new();
        egress.copy_to(&mut bytes);
        self.loopback.push_back(bytes);
        Sent::Taken
    }
}
