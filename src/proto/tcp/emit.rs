//! Segments on their way out: headers from a connection's numbers, and control segments for the outbox.

use core::num::NonZeroU16;

use super::demux::FourTuple;
use super::options::SocketOptions;
use crate::proto::context::Context;
use crate::proto::ip;
use crate::proto::ip::{Datagram, Route};
use crate::proto::packet::{DeviceId, Egress, EgressChecksum, Offloads, PacketSink, Sent, len_of};
use crate::proto::trace::{Direction, Record, SegmentLine, Trace, TraceLevel};
use crate::proto::wire::HeaderBuf;
use crate::proto::wire::ip::{IpHeader, PROTOCOL_TCP};
use crate::proto::wire::tcp::{CHECKSUM_AT, Control, Segment, SeqNr, TcpHeader};
use crate::proto::wire::tcp_options::TcpOptions;

/// What a segment to be sent says, but for its ports and text.
#[derive(Clone, Debug)]
pub(crate) struct Says {
    pub(crate) seq: SeqNr,
    pub(crate) ack: Option<SeqNr>,
    pub(crate) control: Control,
    pub(crate) psh: bool,
    pub(crate) urgent: Option<u16>,
    pub(crate) window: u16,
    pub(crate) options: TcpOptions,
}

impl Says {
    /// A bare acknowledgement.
    pub(crate) fn ack(seq: SeqNr, ack: SeqNr, window: u16) -> Self {
        Says {
            seq,
            ack: Some(ack),
            control: Control::None,
            psh: false,
            urgent: None,
            window,
            //= RFC9293 MUST-65: nothing but a SYN is given options that hold an MSS.
            options: TcpOptions::NONE,
        }
    }

    /// A reset.
    pub(crate) fn reset(seq: SeqNr, ack: Option<SeqNr>) -> Self {
        Says {
            seq,
            ack,
            control: Control::Rst,
            psh: false,
            urgent: None,
            window: 0,
            options: TcpOptions::NONE,
        }
    }

    /// A SYN, or with `ack` a SYN-ACK.
    pub(crate) fn syn(isn: SeqNr, ack: Option<SeqNr>, window: u16, options: TcpOptions) -> Self {
        Says { seq: isn, ack, control: Control::Syn, psh: false, urgent: None, window, options }
    }

    /// The same with other options.
    pub(crate) fn with(self, options: TcpOptions) -> Self {
        Says { options, ..self }
    }

    // Apart, so that the header of those whose device sums is nowhere but where it goes.
    #[inline(never)]
    fn write_summed(&self, tuple: &FourTuple, text: &[&[u8]], out: &mut HeaderBuf) {
        self.header(tuple).write(tuple.local, tuple.remote, text, out);
    }

    #[inline(always)]
    fn header(&self, tuple: &FourTuple) -> TcpHeader<'_> {
        TcpHeader {
            src_port: tuple.local_port,
            dst_port: tuple.remote_port,
            seq: self.seq,
            ack: self.ack,
            control: self.control,
            psh: self.psh,
            urgent: self.urgent,
            window: self.window,
            options: &self.options,
        }
    }
}

/// The IP side of a connection's segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
}

impl Marks {
    //= RFC9293 MUST-48
    //= RFC9293 MUST-49
    //= RFC9293 SHLD-22
    pub(crate) fn of(options: &SocketOptions) -> Self {
        // The two low bits are ECN's and not the application's to set (RFC 3168 section 5).
        Marks { ttl: options.ttl.max(1), tos: options.tos & !0b11 }
    }

    /// Segments are not to be cut on the way, so that a path's MTU shows (RFC 1191), and being atomic need no
    /// identification (RFC 6864 section 4.1). Where a path is too narrow to be believed they may be.
    //= RFC1191 3 DF
    //= RFC4821 5.1 DF
    // Inlined, the header is never anywhere but where it goes.
    #[inline(always)]
    fn ip_header(self, ctx: &mut Context<'_>, tuple: &FourTuple) -> IpHeader {
        let is_cut = ctx.ip.path_mtu.needs_cutting(tuple.remote);
        let (ident, dont_fragment) = if is_cut { cuttable(ctx, tuple) } else { (0, true) };
        IpHeader {
            src: tuple.local,
            dst: tuple.remote,
            protocol: PROTOCOL_TCP,
            hop_limit: self.ttl,
            tos: self.tos,
            ident,
            dont_fragment,
            flow_label: ctx.ip.flows.label(tuple.local_addr(), tuple.remote_addr(), PROTOCOL_TCP),
        }
    }
}

/// Identification and DF of a segment that may be cut on the way.
#[cold]
fn cuttable(ctx: &mut Context<'_>, tuple: &FourTuple) -> (u16, bool) {
    let IpHeader { ident, dont_fragment, .. } =
        ip::fragmentable(ctx, tuple.local, tuple.remote, PROTOCOL_TCP);
    (ident, dont_fragment)
}

/// How a connection's segments travel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    pub(crate) device: DeviceId,
    pub(crate) tuple: &'a FourTuple,
    pub(crate) marks: Marks,
}

/// Hands a segment with `text` to the sink. With `gso_size` it is a super-segment, for a device that
/// [takes it](takes_supers).
pub(crate) fn send(
    ctx: &mut Context<'_>,
    sink: &mut dyn PacketSink,
    way: &Way<'_>,
    says: &Says,
    text: &[&[u8]],
    gso_size: Option<NonZeroU16>,
) -> Sent {
    let Way { device, tuple, marks } = *way;
    let mut header = HeaderBuf::new();
    let text_len = len_of(text);
    marks.ip_header(ctx, tuple).write(says.header(tuple).len() + text_len, &mut header);
    let checksum = if ctx.ip.interfaces.offloads(device).checksum {
        // No header of IP is that long.
        let start = header.len() as u16;
        says.header(tuple).write_seeded(tuple.local, tuple.remote, text_len, &mut header);
        EgressChecksum::Partial { start, offset: CHECKSUM_AT }
    } else {
        says.write_summed(tuple, text, &mut header);
        EgressChecksum::Complete
    };
    sink.send(Egress { device, header: &header, payload: text, gso_size, checksum })
}

/// Whether super-segments may go this way: the device cuts them, and nobody has to cut what it makes of them.
pub(crate) fn takes_supers(ctx: &Context<'_>, way: &Way<'_>) -> bool {
    let remote = way.tuple.remote;
    let Offloads { checksum, tso4, tso6, .. } = ctx.ip.interfaces.offloads(way.device);
    let takes_kind = if remote.is_ipv4() { tso4 } else { tso6 };
    // The fragments of each need an identification of their own.
    checksum && takes_kind && !ctx.ip.path_mtu.needs_cutting(remote)
}

/// Queues a segment without text. Like any packet it may be lost: if there is no route or no room.
pub(crate) fn queue(ctx: &mut Context<'_>, tuple: &FourTuple, marks: Marks, says: &Says) {
    match ctx.ip.route(tuple.remote, Some(tuple.local)) {
        Ok(route) => queue_by(ctx, &route, tuple, marks, says),
        Err(_) => ctx.counters.replies_lost += 1,
    }
}

/// The same by a route that is known to be the one.
pub(crate) fn queue_by(ctx: &mut Context<'_>, route: &Route, tuple: &FourTuple, marks: Marks, says: &Says) {
    let mut header = HeaderBuf::new();
    says.write_summed(tuple, &[], &mut header);
    let ip_header = marks.ip_header(ctx, tuple);
    ip::send(ctx, route, &ip_header, &[&header]);
    note_sent(ctx, tuple, says, 0, None);
}

/// Counts and traces a segment that was sent, with `len` bytes of text; a super-segment counts as those it is cut into.
pub(crate) fn note_sent(
    ctx: &mut Context<'_>,
    tuple: &FourTuple,
    says: &Says,
    len: usize,
    gso_size: Option<NonZeroU16>,
) {
    ctx.counters.tcp_segments_out += gso_size.map_or(1, |size| len.div_ceil(size.get().into()) as u64);
    if says.control == Control::Rst {
        ctx.counters.tcp_resets_out += 1;
    }
    ctx.trace.record(ctx.now, TraceLevel::Trace, || {
        let segment = SegmentLine {
            seq: says.seq.0,
            ack: says.ack.map(|ack| ack.0),
            flags: says.header(tuple).flags(),
            window: says.window,
            len,
            gso_size,
        };
        Record::Segment { direction: Direction::Out, ends: tuple.ends(), segment }
    });
}

/// Traces a segment that was received.
pub(crate) fn trace_received(trace: &mut Trace, datagram: &Datagram<'_>, segment: &Segment<'_>) {
    trace.record(datagram.at, TraceLevel::Trace, || {
        let line = SegmentLine {
            seq: segment.seq.0,
            ack: segment.ack.map(|ack| ack.0),
            flags: segment.flags,
            window: segment.window,
            len: segment.payload.len(),
            gso_size: datagram.gso_size.filter(|size| usize::from(size.get()) < segment.payload.len()),
        };
        let ends = tuple_of(datagram, segment).ends();
        Record::Segment { direction: Direction::In, ends, segment: line }
    });
}

/// Answers a segment that no connection wants with a reset (RFC 9293 section 3.10.7.1). Never answers a
/// reset.
pub(crate) fn refuse(ctx: &mut Context<'_>, tuple: &FourTuple, segment: &Segment<'_>) {
    if segment.control == Control::Rst {
        return;
    }
    let says = match segment.ack {
        Some(ack) => Says::reset(ack, None),
        None => Says::reset(SeqNr(0), Some(segment.seq.plus(segment.len()))),
    };
    //= RFC7323 5.2 reset answers
    let timestamps =
        segment.options.timestamps.filter(|_| ctx.config.timestamps).map(|(value, _)| (0, value));
    let says = says.with(TcpOptions { timestamps, ..TcpOptions::NONE });
    let marks = Marks { ttl: ctx.config.ttl, tos: 0 };
    queue(ctx, tuple, marks, &says);
}

/// The four-tuple of a received segment, seen from here.
pub(crate) fn tuple_of(datagram: &Datagram<'_>, segment: &Segment<'_>) -> FourTuple {
    FourTuple {
        local: datagram.dst,
        remote: datagram.src,
        local_port: segment.dst_port,
        remote_port: segment.src_port,
    }
}
