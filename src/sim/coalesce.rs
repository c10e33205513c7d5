//! Segments that arrive together, put together: what a network card and a kernel do before a stack sees them.
//!
//! Only what can be taken apart again without a loss is merged: segments of one flow, in order and without a gap, whose headers
//! say the same, all but the last of the same size. The conventions of the result are those of Linux's
//! `virtio_net_hdr`, as for every super-segment (see [`Packet`](crate::proto::Packet)).

use alloc::vec::Vec;
use core::net::IpAddr;
use core::num::NonZeroU16;

use crate::proto::wire::checksum::Sum;
use crate::proto::wire::ip::PROTOCOL_TCP;
use crate::proto::wire::tcp::{FLAG_ACK, FLAG_PSH, Segment};
use crate::proto::{ChecksumState, wire};

/// What a stack is given of one or more packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) bytes: Vec<u8>,
    pub(super) checksum: ChecksumState,
    pub(super) gso_size: Option<NonZeroU16>,
}

/// Merges what can be merged of packets that came by one port, in their order.
pub(super) fn merge(packets: impl IntoIterator<Item = Vec<u8>>) -> Vec<Arrival> {
    let mut arrivals: Vec<Arrival> = Vec::new();
    // The super-segment that is being built is always the last, so that nothing overtakes anything.
    let mut run: Option<Run> = None;
    for bytes in packets {
        let layout = Layout::of(&bytes);
        if let (Some(open), Some(layout), Some(last)) = (&mut run, &layout, arrivals.last_mut())
            && open.takes(&last.bytes, layout, &bytes)
        {
            open.append(last, layout, &bytes);
            continue;
        }
        run = layout.map(Run::new);
        arrivals.push(Arrival { bytes, checksum: ChecksumState::Unverified, gso_size: None });
    }
    arrivals
}

/// Where the parts of a plain TCP segment with text lie in its packet.
#[derive(Clone, Copy, Debug)]
struct Layout {
    src: IpAddr,
    dst: IpAddr,
    /// Where the TCP header begins.
    tcp: usize,
    /// Where the text begins.
    text: usize,
    text_len: usize,
    seq: u32,
    pushes: bool,
}

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const SEQ: usize = 4;
const FLAGS: usize = 13;
const CHECKSUM: usize = 16;

impl Layout {
    /// `None` for whatever isn't to be merged: other protocols, fragments, options of IP, damaged packets, and segments
    /// that say more than "here is text".
    fn of(bytes: &[u8]) -> Option<Self> {
        let ip = wire::ip::parse(bytes).ok()?;
        let fixed = if ip.src.is_ipv4() { IPV4_HEADER } else { IPV6_HEADER };
        if ip.protocol != PROTOCOL_TCP || ip.header_len != fixed || ip.fragment.is_some() {
            return None;
        }
        let segment = Segment::parse(ip.payload, ip.src, ip.dst, ChecksumState::Unverified).ok()?;
        let text_len = segment.payload.len();
        // Behind the datagram there may be padding, which would get into the middle of the text.
        let text = bytes.len().checked_sub(text_len).filter(|_| ip.whole.len() == bytes.len())?;
        if text_len == 0 || segment.flags & !FLAG_PSH != FLAG_ACK {
            return None;
        }
        let (seq, pushes) = (segment.seq.0, segment.psh);
        Some(Layout { src: ip.src, dst: ip.dst, tcp: fixed, text, text_len, seq, pushes })
    }
}

/// A super-segment in the making.
struct Run {
    first: Layout,
    /// The sequence number that comes next.
    next: u32,
    /// Nothing may follow: a shorter segment, or one that pushes.
    is_over: bool,
}

impl Run {
    fn new(first: Layout) -> Self {
        Run { first, next: first.seq.wrapping_add(first.text_len as u32), is_over: first.pushes }
    }

    fn takes(&self, so_far: &[u8], layout: &Layout, bytes: &[u8]) -> bool {
        let first = &self.first;
        !self.is_over
            && (layout.src, layout.dst, layout.text) == (first.src, first.dst, first.text)
            && layout.seq == self.next
            && layout.text_len <= first.text_len
            && so_far.len() + layout.text_len <= usize::from(u16::MAX)
            && says_the_same(so_far, bytes, first)
    }

    fn append(&mut self, last: &mut Arrival, layout: &Layout, bytes: &[u8]) {
        let Some(text) = bytes.get(layout.text..) else { return };
        self.is_over = layout.pushes || layout.text_len < self.first.text_len;
        self.next = self.next.wrapping_add(layout.text_len as u32);
        last.bytes.extend_from_slice(text);
        if layout.pushes
            && let Some(flags) = last.bytes.get_mut(layout.tcp + FLAGS)
        {
            *flags |= FLAG_PSH;
        }
        last.gso_size = u16::try_from(self.first.text_len).ok().and_then(NonZeroU16::new);
        last.checksum = ChecksumState::Partial;
        self.seal(&mut last.bytes);
    }

    /// Lengths, IPv4's checksum, and the folded sum of the pseudo-header where TCP's checksum stands.
    fn seal(&self, bytes: &mut [u8]) {
        let (len, tcp) = (bytes.len(), self.first.tcp);
        if tcp == IPV4_HEADER {
            put(bytes, 2, len as u16);
            put(bytes, 10, 0);
            let mut sum = Sum::new();
            sum.add(bytes.get(..IPV4_HEADER).unwrap_or_default());
            put(bytes, 10, sum.finish());
        } else {
            put(bytes, 4, (len - IPV6_HEADER) as u16);
        }
        let seed = !Sum::pseudo_header(self.first.src, self.first.dst, PROTOCOL_TCP, len - tcp).finish();
        put(bytes, tcp + CHECKSUM, seed);
    }
}

/// Whether two packets' headers differ in nothing but what is each segment's own: lengths, identification, checksums, sequence
/// number and PSH.
fn says_the_same(a: &[u8], b: &[u8], layout: &Layout) -> bool {
    let tcp = layout.tcp;
    let own: &[usize] = if tcp == IPV4_HEADER { &[2, 3, 4, 5, 10, 11] } else { &[4, 5] };
    (0..layout.text).all(|at| {
        let is_own = match at.checked_sub(tcp) {
            None => own.contains(&at),
            Some(at) => (SEQ..SEQ + 4).contains(&at) || (CHECKSUM..CHECKSUM + 2).contains(&at),
        };
        let mask = if at == tcp + FLAGS { !FLAG_PSH } else { 0xff };
        is_own || a.get(at).map(|octet| octet & mask) == b.get(at).map(|octet| octet & mask)
    })
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(field) = bytes.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
