//! Segments on their way out: headers from a connection's numbers, and control segments for the outbox.

use core::net::{IpAddr, Ipv4Addr};
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
use crate::proto::wire::tcp::{CHECKSUM_AT, Control, HEADER_LEN, Segment, SeqNr, TcpHeader};
use crate::proto::wire::tcp_options::{TcpOptions, timestamps_bytes};

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
    fn ip_header(self, ctx: &mut Context, tuple: &FourTuple) -> IpHeader {
        match ctx.ip.path_mtu.needs_cutting(&tuple.remote) {
            false => self.whole_header(ctx, tuple),
            true => {
                let (ident, dont_fragment) = cuttable(ctx, tuple);
                IpHeader { ident, dont_fragment, ..self.whole_header(ctx, tuple) }
            }
        }
    }

    /// That of a segment that is not to be cut.
    #[inline(always)]
    fn whole_header(self, ctx: &Context, tuple: &FourTuple) -> IpHeader {
        IpHeader {
            src: tuple.local,
            dst: tuple.remote,
            protocol: PROTOCOL_TCP,
            hop_limit: self.ttl,
            tos: self.tos,
            ident: 0,
            dont_fragment: true,
            flow_label: ctx.ip.flows.label(tuple.local_addr(), tuple.remote_addr(), PROTOCOL_TCP),
        }
    }
}

/// Identification and DF of a segment that may be cut on the way.
#[cold]
fn cuttable(ctx: &mut Context, tuple: &FourTuple) -> (u16, bool) {
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
    ctx: &mut Context,
    sink: &mut dyn PacketSink,
    way: &Way<'_>,
    says: &Says,
    text: &[&[u8]],
    gso_size: Option<NonZeroU16>,
) -> Sent {
    if let Some(usual) = Usual::of(ctx, way, says)
        && let Some(ack) = says.ack
        && let Some(timestamps) = says.options.timestamps_alone()
    {
        let mut header = HeaderBuf::new();
        let options = timestamps_bytes(timestamps);
        let checksum = usual.write_headers(ctx, says, Some(ack), &options, text, &mut header);
        return sink.send(Egress { device: way.device, header: &header, payload: text, gso_size, checksum });
    }
    send_any(ctx, sink, way, says, text, gso_size)
}

/// What is known of nearly all segments: they go over IPv4, are not to be cut, and nothing in them is urgent. Said once more, it
/// is known to be so wherever a header is made.
struct Usual<'a> {
    way: &'a Way<'a>,
    local: Ipv4Addr,
    remote: Ipv4Addr,
}

impl<'a> Usual<'a> {
    #[inline(always)]
    fn of(ctx: &Context, way: &'a Way<'a>, says: &Says) -> Option<Self> {
        if !ctx.ip.path_mtu.needs_cutting(&way.tuple.remote)
            && let FourTuple { local: IpAddr::V4(local), remote: IpAddr::V4(remote), .. } = *way.tuple
            && says.urgent.is_none()
        {
            Some(Usual { way, local, remote })
        } else {
            None
        }
    }

    /// As the other [`write_headers`], where the options are known to be written as `options`, and often whether there is an `ack`.
    #[inline(always)]
    fn write_headers<const N: usize>(
        &self,
        ctx: &Context,
        says: &Says,
        ack: Option<SeqNr>,
        options: &[u8; N],
        text: &[&[u8]],
        header: &mut HeaderBuf,
    ) -> EgressChecksum {
        let way = self.way;
        let (local, remote) = (IpAddr::V4(self.local), IpAddr::V4(self.remote));
        let text_len = len_of(text);
        let ends = FourTuple { local, remote, ..*way.tuple };
        way.marks.whole_header(ctx, &ends).write(HEADER_LEN + N + text_len, header);
        if ctx.ip.interfaces.offloads(way.device).checksum {
            let start = header.len() as u16;
            let tcp_header = TcpHeader { ack, urgent: None, ..says.header(way.tuple) };
            tcp_header.write_seeded_with(options, local, remote, text_len, header);
            EgressChecksum::Partial { start, offset: CHECKSUM_AT }
        } else {
            says.write_summed(way.tuple, text, header);
            EgressChecksum::Complete
        }
    }
}

/// The same, however odd its header is.
#[inline(never)]
fn send_any(
    ctx: &mut Context,
    sink: &mut dyn PacketSink,
    way: &Way<'_>,
    says: &Says,
    text: &[&[u8]],
    gso_size: Option<NonZeroU16>,
) -> Sent {
    let mut header = HeaderBuf::new();
    let checksum = write_headers(ctx, way, says, text, &mut header);
    sink.send(Egress { device: way.device, header: &header, payload: text, gso_size, checksum })
}

/// Writes both headers of a segment, and what of its checksum the device can complete is left to it.
#[inline(never)]
fn write_headers(
    ctx: &mut Context,
    way: &Way<'_>,
    says: &Says,
    text: &[&[u8]],
    header: &mut HeaderBuf,
) -> EgressChecksum {
    let Way { device, tuple, marks } = *way;
    let (len, text_len) = (says.header(tuple).len(), len_of(text));
    marks.ip_header(ctx, tuple).write(len + text_len, header);
    if ctx.ip.interfaces.offloads(device).checksum {
        // No header of IP is that long.
        let start = header.len() as u16;
        says.header(tuple).write_seeded_of(len, tuple.local, tuple.remote, text_len, header);
        EgressChecksum::Partial { start, offset: CHECKSUM_AT }
    } else {
        says.write_summed(tuple, text, header);
        EgressChecksum::Complete
    }
}

/// Whether super-segments may go this way: the device cuts them, and nobody has to cut what it makes of them.
pub(crate) fn takes_supers(ctx: &Context, way: &Way<'_>) -> bool {
    let remote = way.tuple.remote;
    let Offloads { checksum, tso4, tso6, .. } = ctx.ip.interfaces.offloads(way.device);
    let takes_kind = if remote.is_ipv4() { tso4 } else { tso6 };
    // The fragments of each need an identification of their own.
    checksum && takes_kind && !ctx.ip.path_mtu.needs_cutting(&remote)
}

/// Queues a segment without text. Like any packet it may be lost: if there is no route or no room.
pub(crate) fn queue(ctx: &mut Context, tuple: &FourTuple, marks: Marks, says: &Says) {
    match ctx.ip.route(tuple.remote, Some(tuple.local)) {
        Ok(route) => queue_by(ctx, &route, tuple, marks, says),
        Err(_) => ctx.counters.replies_lost += 1,
    }
}

/// The same by a route that is known to be the one.
pub(crate) fn queue_by(ctx: &mut Context, route: &Route, tuple: &FourTuple, marks: Marks, says: &Says) {
    note_sent(ctx, tuple, says, 0, None);
    if route.mtu < HEADERS_MAX {
        return queue_by_narrow(ctx, route, tuple, marks, says);
    }
    let mut headers = HeaderBuf::new();
    let way = Way { device: route.device, tuple, marks };
    // Mostly it is a SYN, or answers one.
    let checksum = if let Some(usual) = Usual::of(ctx, &way, says)
        && let Some(options) = says.options.usual_syn()
    {
        usual.write_headers(ctx, says, says.ack, &options, &[], &mut headers)
    } else {
        write_headers(ctx, &way, says, &[], &mut headers)
    };
    let has_room = ctx.outbox.push_headers(route.device, &headers, checksum);
    ctx.counters.replies_lost += u64::from(!has_room);
}

/// IPv6's and TCP's, with all options that there may be.
const HEADERS_MAX: usize = 100;

/// The same where that may not fit into one packet.
#[cold]
fn queue_by_narrow(ctx: &mut Context, route: &Route, tuple: &FourTuple, marks: Marks, says: &Says) {
    let mut header = HeaderBuf::new();
    says.write_summed(tuple, &[], &mut header);
    let ip_header = marks.ip_header(ctx, tuple);
    ip::send(ctx, route, &ip_header, &[&header]);
}

/// Counts and traces a segment that was sent, with `len` bytes of text; a super-segment counts as those it is cut into.
pub(crate) fn note_sent(
    ctx: &mut Context,
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
#[inline(always)]
pub(crate) fn trace_received(trace: &mut Trace, datagram: &Datagram<'_>, segment: &Segment<'_>) {
    if trace.wants(TraceLevel::Trace) {
        record_received(trace, datagram, segment);
    }
}

// Apart, so that whoever receives one prepares for no record.
#[cold]
#[inline(never)]
fn record_received(trace: &mut Trace, datagram: &Datagram<'_>, segment: &Segment<'_>) {
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
pub(crate) fn refuse(ctx: &mut Context, tuple: &FourTuple, segment: &Segment<'_>) {
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::proto::ip::testing::{TUN, World};
    use crate::proto::wire::testing::any_ends;

    fn any_says() -> impl Strategy<Value = Says> {
        let control = prop::sample::select(&[Control::None, Control::Syn, Control::Fin, Control::Rst][..]);
        // Nearly all segments have an acknowledgement, timestamps and nothing else.
        let numbers = (any::<u32>(), prop::option::weighted(0.8, any::<u32>()), any::<u16>());
        let timestamps = prop::option::weighted(0.8, any::<(u32, u32)>());
        let options = (timestamps, prop::option::weighted(0.2, any::<u16>()));
        // As nearly all SYNs have them.
        let all = (any::<(u32, u32)>(), any::<u16>(), 0..15_u8);
        let options = prop_oneof![
            2 => options.prop_map(|(timestamps, mss)| TcpOptions { timestamps, mss, ..TcpOptions::NONE }),
            1 => all.prop_map(|(timestamps, mss, shift)| TcpOptions {
                timestamps: Some(timestamps),
                mss: Some(mss),
                window_scale: Some(shift),
                sack_permitted: true,
                ..TcpOptions::NONE
            }),
        ];
        let urgent = prop::option::weighted(0.2, any::<u16>());
        (numbers, control, any::<bool>(), urgent, options).prop_map(
            |((seq, ack, window), control, psh, urgent, options)| Says {
                seq: SeqNr(seq),
                ack: ack.map(SeqNr),
                control,
                psh,
                urgent,
                window,
                options,
            },
        )
    }

    fn any_way() -> impl Strategy<Value = (FourTuple, Marks, bool)> {
        let tuple = (any_ends(), any::<(u16, u16)>()).prop_map(|((local, remote), ports)| FourTuple {
            local,
            remote,
            local_port: ports.0,
            remote_port: ports.1,
        });
        let marks = (1u8.., any::<u8>()).prop_map(|(ttl, tos)| Marks { ttl, tos });
        (tuple, marks, any::<bool>())
    }

    fn world(checksum: bool) -> World {
        let mut world = World::new();
        world.ip.interfaces.set_offloads(TUN, Offloads { checksum, ..Offloads::default() });
        world
    }

    /// What waits, as the device gets it.
    fn left(world: &mut World) -> Vec<(Vec<u8>, EgressChecksum)> {
        let mut left = Vec::new();
        let _ = world.outbox.drain(&mut |egress: Egress<'_>| {
            assert!(egress.payload.is_empty() && egress.gso_size.is_none());
            left.push((egress.header.to_vec(), egress.checksum));
            Sent::Taken
        });
        assert_eq!(left.len(), 1);
        left
    }

    proptest! {
        #[test]
        fn a_segment_is_the_same_whichever_way_its_headers_are_written(
            says in any_says(),
            (tuple, marks, offload) in any_way(),
            text in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
            gso_size in any::<Option<NonZeroU16>>(),
        ) {
            let mut world = world(offload);
            let way = Way { device: TUN, tuple: &tuple, marks };
            let pieces: Vec<&[u8]> = text.iter().map(Vec::as_slice).collect();
            let mut seen = Vec::new();
            let mut sink = |egress: Egress<'_>| {
                let Egress { device, header, payload, gso_size, checksum } = egress;
                seen.push((device, header.to_vec(), payload.concat(), gso_size, checksum));
                Sent::Busy
            };
            let ctx = world.ctx();
            prop_assert_eq!(send(ctx, &mut sink, &way, &says, &pieces, gso_size), Sent::Busy);
            prop_assert_eq!(send_any(ctx, &mut sink, &way, &says, &pieces, gso_size), Sent::Busy);
            prop_assert_eq!(&seen[0], &seen[1]);
        }

        #[test]
        fn a_segment_that_waits_is_the_same_on_any_route(says in any_says(), (tuple, marks, _) in any_way()) {
            // What goes to ourselves is finished whatever the devices do.
            for (device, offload) in [(TUN, false), (DeviceId::LOOPBACK, true)] {
                let mut world = world(offload);
                let route = Route { device, source: tuple.local, mtu: 1500, link_mtu: 1500 };
                queue_by(world.ctx(), &route, &tuple, marks, &says);
                queue_by_narrow(world.ctx(), &route, &tuple, marks, &says);
                let (first, second) = (world.sent(), world.sent());
                prop_assert!(first.is_some() && first == second);
            }
        }

        #[test]
        fn a_segment_that_waits_is_finished_if_the_device_no_longer_does_so(
            says in any_says(),
            (tuple, marks, before) in any_way(),
            after: bool,
        ) {
            let route = Route { device: TUN, source: tuple.local, mtu: 1500, link_mtu: 1500 };
            let (mut changed, mut same) = (world(before), world(before && after));
            queue_by(changed.ctx(), &route, &tuple, marks, &says);
            queue_by(same.ctx(), &route, &tuple, marks, &says);
            changed.outbox.follow_offloads(TUN, Offloads { checksum: after, ..Offloads::default() });
            prop_assert_eq!(left(&mut changed), left(&mut same));
            prop_assert!(changed.outbox.is_empty());
        }
    }
}
