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

use bytes::Bytes;

use crate::proto::config::{Config, Secrets};
use crate::proto::context::Context;
use crate::proto::counters::{Counters, DropReason};
use crate::proto::events::Event;
use crate::proto::ids::TimerKey;
use crate::proto::ip::icmp::Received;
use crate::proto::ip::reassembly::Reassembly;
use crate::proto::ip::{self, Accepted, Datagram, Part, icmp};
pub use crate::proto::packet::Progress;
use crate::proto::packet::{ChecksumState, DeviceId, Egress, Packet, PacketSink, Sent};
use crate::proto::ping::Sockets as Ping;
use crate::proto::raw::Sockets as Raw;
use crate::proto::tcp::endpoint::Endpoint;
use crate::proto::trace::{Record, Trace, TraceLevel};
use crate::proto::udp::Sockets as Udp;
use crate::proto::wire;
use crate::time::Instant;

/// Splits the stack into one layer and the context that it runs in.
macro_rules! with {
    ($self:ident, $now:expr, $layer:ident) => {
        (&mut $self.$layer, $self.ctx.at($now))
    };
}

mod interfaces;
mod ping;
mod raw;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

pub use interfaces::InterfaceInfo;

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
    /// Pages lent out, or promised to the windows that were offered.
    pub pages_committed: usize,
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
    /// First, so that it is dropped first, and the pool first of it.
    ctx: Context,
    reassembly: Reassembly,
    udp: Udp,
    ping: Ping,
    raw: Raw,
    tcp: Endpoint,
    /// The outbox has used up what the driver could take: TCP is first next time, else whoever keeps the outbox full
    /// would silence it.
    tcp_leads: bool,
    /// Packets on their way from the stack to itself.
    loopback: VecDeque<Vec<u8>>,
}

/// Construction, and what there is to look at.
impl Stack {
    /// A stack without interfaces.
    pub fn new(mut config: Config, secrets: &Secrets, now: Instant) -> Self {
        //= RFC1122 3.2.1.7 send: a host MUST NOT send a datagram with a TTL of zero.
        config.ttl = config.ttl.max(1);
        Stack {
            reassembly: Reassembly::new(&config, secrets.tables),
            udp: Udp::new(secrets.tables),
            ping: Ping::new(secrets.tables),
            raw: Raw::new(secrets.tables),
            tcp: Endpoint::new(&config, secrets),
            tcp_leads: false,
            loopback: VecDeque::new(),
            ctx: Context::of(config, secrets, now),
        }
    }

    /// Limits and defaults.
    pub fn config(&self) -> &Config {
        &self.ctx.config
    }

    /// What has been counted so far.
    pub fn counters(&self) -> &Counters {
        &self.ctx.counters
    }

    /// The trace: set its level, take its records.
    pub fn trace(&mut self) -> &mut Trace {
        &mut self.ctx.trace
    }

    /// How many UDP sockets are open.
    pub fn udp_sockets(&self) -> usize {
        self.udp.len()
    }

    /// How many TCP objects exist.
    pub fn tcp_census(&self) -> TcpCensus {
        TcpCensus {
            timers: self.ctx.timers.len(),
            pages: self.ctx.pool.in_use(),
            pages_committed: self.ctx.pool.committed(),
            ..self.tcp.census()
        }
    }
}

/// The driver's verbs.
impl Stack {
    /// From now on, bytes that were [shared](Self::tcp_write_bytes) and are needed no more are kept for
    /// [`take_released`](Self::take_released) instead of being dropped at once: for a driver that holds a lock which their
    /// owner's `drop` may want.
    pub fn keep_released(&mut self) {
        self.ctx.pool.released.keep();
    }

    /// Exchanges the bytes that were kept for `list`, which is empty. To be called each time before the lock is let go, and `list`
    /// to be dropped after that.
    pub fn take_released(&mut self, list: &mut Vec<Bytes>) {
        self.ctx.pool.released.take(list);
    }

    /// Takes one packet that came in by `device`. What it causes to be sent waits for
    /// [`transmit`](Self::transmit), and so does the packet itself if it is to be forwarded.
    #[inline]
    pub fn receive(&mut self, device: DeviceId, packet: &Packet<'_>) {
        self.receive_and_forward(device, packet, &mut |_: Egress<'_>| Sent::Enough);
    }

    /// Like [`receive`](Self::receive), and a packet that is to be forwarded is offered to the sink at once; only
    /// if it isn't taken it is copied and waits for [`transmit`](Self::transmit).
    #[inline]
    pub fn receive_and_forward(&mut self, device: DeviceId, packet: &Packet<'_>, sink: &mut dyn PacketSink) {
        self.ctx.counters.packets_in += 1;
        self.ctx.counters.bytes_in += packet.bytes.len() as u64;
        // Who sends packets on has most of them for others.
        let fate = if self.ctx.config.forwarding {
            self.dispatch(device, packet, sink)
        } else {
            self.dispatch_usual(device, packet, sink)
        };
        match fate {
            Ok(Fate::Delivered) => self.ctx.counters.packets_delivered += 1,
            Ok(Fate::Forwarded) => self.ctx.counters.packets_forwarded += 1,
            Err(reason) => {
                //= RFC1122 3.1 counted
                self.ctx.counters.drop(reason);
                let len = packet.bytes.len();
                self.ctx.trace.record(packet.at, TraceLevel::Debug, || Record::Dropped {
                    reason,
                    device,
                    len,
                });
            }
        }
    }

    /// Runs everything whose time has come.
    pub fn advance(&mut self, now: Instant) {
        while let Some(key) = self.ctx.timers.pop_due(now) {
            self.fire(now, key);
        }
    }

    // Apart, since mostly nothing's time has come.
    #[inline(never)]
    fn fire(&mut self, now: Instant, key: TimerKey) {
        match key {
            TimerKey::Tcp(timer) => {
                let (tcp, ctx) = with!(self, now, tcp);
                tcp.timer(ctx, timer);
            }
            TimerKey::Reassembly => {
                let (reassembly, ctx) = with!(self, now, reassembly);
                reassembly.timer(ctx);
            }
            TimerKey::PathMtu => self.ctx.ip.path_mtu.expire(now, &mut self.ctx.timers),
        }
    }

    /// When [`advance`](Self::advance) has something to do next; to be asked when [`transmit`](Self::transmit) has nothing left
    /// to do: who has answered [`Progress::More`] may have more that is not in here yet.
    pub fn deadline(&self) -> Option<Instant> {
        self.ctx.timers.next_deadline()
    }

    /// Whether [`transmit`](Self::transmit) has something to send, or to tell those who wait to send.
    pub fn wants_transmit(&self) -> bool {
        !self.ctx.outbox.is_empty()
            || self.ctx.outbox.has_relief()
            || !self.loopback.is_empty()
            || self.tcp.wants_transmit(&self.ctx.pool)
    }

    /// Whether something is left that `device` had no room for.
    pub fn waits_for_room(&self, device: DeviceId) -> bool {
        self.ctx.outbox.has_waiting(device) || self.tcp.waits_for_room(device)
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
        let progress = self.transmit_once(now, sink, more_to_come);
        if self.loopback.is_empty() { progress } else { self.converse(now, sink, more_to_come) }
    }

    /// Packets to ourselves may cause more of them; a bounded number of rounds keeps two chatting sockets from holding the
    /// driver for ever.
    // Apart, so that one round, which mostly is all, prepares for no other.
    #[cold]
    fn converse(&mut self, now: Instant, sink: &mut dyn PacketSink, more_to_come: bool) -> Progress {
        for _ in 1..Self::LOOPBACK_ROUNDS {
            self.deliver_loopback(now);
            let progress = self.transmit_once(now, sink, more_to_come);
            if self.loopback.is_empty() {
                return progress;
            }
        }
        self.deliver_loopback(now);
        Progress::More
    }

    /// The next socket that is worth another look.
    pub fn next_event(&mut self) -> Option<Event> {
        self.ctx.events.pop()
    }

    const LOOPBACK_ROUNDS: usize = 64;

    /// As [`dispatch`](Self::dispatch), where it is worth asking first whether the packet is as nearly all are.
    #[inline(never)]
    fn dispatch_usual(
        &mut self,
        device: DeviceId,
        packet: &Packet<'_>,
        sink: &mut dyn PacketSink,
    ) -> Result<Fate, DropReason> {
        match ip::input::usual_v4(&self.ctx.ip, device, packet) {
            // What most packets carry is taken here, where all that was read of it is at hand.
            Some(datagram) if datagram.protocol == wire::ip::PROTOCOL_TCP && self.raw.is_empty() => {
                let (tcp, ctx) = with!(self, datagram.at, tcp);
                tcp.receive(ctx, &datagram).map(|()| Fate::Delivered)
            }
            Some(datagram) => self.deliver(&datagram),
            None => self.dispatch_usual_v6(device, packet, sink),
        }
    }

    /// The same of one that is not of IPv4, or not so usual.
    #[inline(never)]
    fn dispatch_usual_v6(
        &mut self,
        device: DeviceId,
        packet: &Packet<'_>,
        sink: &mut dyn PacketSink,
    ) -> Result<Fate, DropReason> {
        match ip::input::usual_v6(&self.ctx.ip, device, packet) {
            Some(datagram) => self.deliver(&datagram),
            None => self.dispatch(device, packet, sink),
        }
    }

    /// Brings a packet to whom it is for: the next hop, or the transport of ours.
    #[inline(never)]
    fn dispatch(
        &mut self,
        device: DeviceId,
        packet: &Packet<'_>,
        sink: &mut dyn PacketSink,
    ) -> Result<Fate, DropReason> {
        let (reassembly, ctx) = with!(self, packet.at, reassembly);
        let mut read = wire::ip::parse_fixed(packet.bytes);
        //= RFC1812 4.3.2.7 about invalid headers, 5.2.1 verify first
        let parsed = read.as_mut().map_err(|reason| *reason)?;
        let Some(cast) = ip::input::cast(ctx, device, parsed)? else {
            let transit = ip::input::receive_transit(ctx, device, packet, parsed)?;
            //= RFC1812 5.2.6 no reassembly
            ip::forward::forward(ctx, &transit, sink)?;
            return Ok(Fate::Forwarded);
        };
        let whole;
        let datagram = match ip::input::receive(ctx, device, packet, parsed, cast)? {
            Accepted::Local => Datagram::of(device, packet, parsed, cast),
            //= RFC8504 5.1 fragment headers
            Accepted::Part => {
                let part = Part::of(device, packet, parsed, cast);
                let Some(joined) = reassembly.add(ctx, &part)? else { return Ok(Fate::Delivered) };
                whole = joined;
                ip::input::reassembled(ctx, &part, &whole)?
            }
        };
        self.deliver(&datagram)
    }

    /// Brings a datagram to the transport of ours that it is for.
    #[inline(never)]
    fn deliver(&mut self, datagram: &Datagram<'_>) -> Result<Fate, DropReason> {
        let (tcp, ctx) = with!(self, datagram.at, tcp);
        // The raw sockets that want a copy come first.
        let has_raw = !self.raw.is_empty() && self.raw.receive(ctx, datagram);
        match datagram.protocol {
            wire::ip::PROTOCOL_TCP => tcp.receive(ctx, datagram)?,
            wire::ip::PROTOCOL_UDP => self.udp.receive(ctx, datagram)?,
            //= RFC1122 3.1 IP and ICMP
            //= RFC792 part of IP
            wire::ip::PROTOCOL_ICMP | wire::ip::PROTOCOL_ICMPV6 => self.dispatch_icmp(datagram, has_raw)?,
            _ if has_raw => {}
            _ => {
                //= RFC1122 3.2.2.1 protocol
                icmp::complain(ctx, datagram, icmp::Complaint::ProtocolUnreachable);
                return Err(DropReason::UnknownProtocol);
            }
        }
        Ok(Fate::Delivered)
    }

    fn dispatch_icmp(&mut self, datagram: &Datagram<'_>, has_raw: bool) -> Result<(), DropReason> {
        let (tcp, ctx) = with!(self, datagram.at, tcp);
        let error = match icmp::receive(ctx, datagram) {
            Ok(Received::Done) => return Ok(()),
            Ok(Received::Reply(echo)) => {
                let received = self.ping.receive(ctx, datagram, echo);
                return if has_raw { Ok(()) } else { received };
            }
            Ok(Received::Error(error)) => error,
            // Sound, and of no use to the stack itself: a raw socket has it.
            Err(
                DropReason::IcmpIgnored
                | DropReason::IcmpRequestToMany
                | DropReason::IcmpRedirect
                | DropReason::IcmpDiscovery
                | DropReason::IcmpGroups
                | DropReason::IcmpDeprecated,
            ) if has_raw => return Ok(()),
            Err(reason) => return Err(reason),
        };
        let raw = if self.raw.is_empty() {
            Err(DropReason::IcmpUnrelated)
        } else {
            self.raw.icmp_error(ctx, &error)
        };
        let told = match error.protocol {
            wire::ip::PROTOCOL_TCP => tcp.icmp_error(ctx, &error),
            //= RFC1122 3.2.2 demultiplex
            wire::ip::PROTOCOL_UDP => self.udp.icmp_error(ctx, &error),
            wire::ip::PROTOCOL_ICMP | wire::ip::PROTOCOL_ICMPV6 => self.ping.icmp_error(ctx, &error),
            _ => raw,
        };
        if has_raw { Ok(()) } else { raw.or(told) }
    }

    #[inline(always)]
    fn transmit_once(&mut self, now: Instant, device: &mut dyn PacketSink, more_to_come: bool) -> Progress {
        let limit = self.ctx.config.loopback_packets;
        let mut sink = LoopbackSink { device, loopback: &mut self.loopback, limit, packets: 0, bytes: 0 };
        let (tcp, ctx) = with!(self, now, tcp);
        let tcp_leads = core::mem::take(&mut self.tcp_leads);
        let mut progress = Progress::Idle;
        if tcp_leads {
            progress = tcp.transmit(ctx, &mut sink, more_to_come);
        }
        if progress != Progress::More && !ctx.outbox.is_empty() {
            let drained = ctx.outbox.drain(&mut sink);
            self.tcp_leads = drained == Progress::More && !tcp_leads;
            progress = progress.and(drained);
        }
        if !tcp_leads && progress != Progress::More && tcp.wants_transmit(&ctx.pool) {
            progress = progress.and(tcp.transmit(ctx, &mut sink, more_to_come));
        }
        let LoopbackSink { packets, bytes, .. } = sink;
        self.ctx.counters.packets_out += packets;
        self.ctx.counters.bytes_out += bytes;
        if self.ctx.outbox.take_relief() {
            self.tell_relief(now);
        }
        progress
    }

    /// Those who found no room in the outbox are told that there is some.
    #[inline(never)]
    fn tell_relief(&mut self, now: Instant) {
        let (udp, ctx) = with!(self, now, udp);
        udp.outbox_relieved(ctx);
        self.ping.outbox_relieved(ctx);
        self.raw.outbox_relieved(ctx);
    }

    fn deliver_loopback(&mut self, now: Instant) {
        for bytes in core::mem::take(&mut self.loopback) {
            let packet = Packet { bytes: &bytes, at: now, checksum: ChecksumState::Trusted, gso_size: None };
            self.receive(DeviceId::LOOPBACK, &packet);
        }
    }
}

/// What became of a packet that wasn't dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It reached the layer it was meant for; a part of a datagram, its place among the others.
    Delivered,
    /// It goes on to somebody else.
    Forwarded,
}

/// Counts what is taken, and turns packets for the stack itself round.
struct LoopbackSink<'a> {
    device: &'a mut dyn PacketSink,
    loopback: &'a mut VecDeque<Vec<u8>>,
    limit: usize,
    packets: u64,
    bytes: u64,
}

impl PacketSink for LoopbackSink<'_> {
    fn send(&mut self, egress: Egress<'_>) -> Sent {
        let sent = if egress.device == DeviceId::LOOPBACK {
            self.turn_round(&egress)
        } else {
            self.device.send(egress)
        };
        if sent == Sent::Taken {
            self.packets += 1;
            self.bytes += egress.len() as u64;
        }
        sent
    }
}

impl LoopbackSink<'_> {
    // Apart, as it is rare, and `send` then needs hardly any registers.
    #[cold]
    #[inline(never)]
    fn turn_round(&mut self, egress: &Egress<'_>) -> Sent {
        if self.loopback.len() >= self.limit {
            return Sent::Busy;
        }
        let mut bytes = Vec::new();
        egress.copy_to(&mut bytes);
        self.loopback.push_back(bytes);
        Sent::Taken
    }
}
