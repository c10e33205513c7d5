//! IPv4 (RFC 791, RFC 1122 section 3.2) and IPv6 (RFC 8200) headers, in and out.
//!
//! Owns: whether a datagram's bytes hold together (version, lengths, header checksum, options, extension
//! headers), where its payload begins, and how a header we send looks. Owns not: whether the addresses make
//! sense here, what is answered to a datagram that is refused, and reassembly; that is `ip`.
//!
//! Fixed headers are read through `etherparse`, and written here: what has all that a header may hold takes several times
//! the instructions to become bytes. Options and extension headers are walked here: `etherparse` neither looks into IPv4
//! options nor keeps the offsets that an ICMPv6 parameter problem has to point at.

mod extensions;
pub(crate) mod options;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{IpFragOffset, Ipv4Header, Ipv4HeaderSlice, Ipv6Header, Ipv6HeaderSlice};

pub use extensions::{ExtensionProblem, OptionAction};

use super::HeaderBuf;
use super::checksum::Sum;
use crate::proto::counters::DropReason;

/// Protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// Protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// Protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// Next header value of ICMPv6.
pub const PROTOCOL_ICMPV6: u8 = 58;
/// Next header value for "nothing follows" (RFC 8200 section 4.7).
pub const PROTOCOL_NO_NEXT_HEADER: u8 = 59;

/// What a header we send says.
///
/// ```
/// use core::net::{IpAddr, Ipv4Addr};
/// use tunstack::proto::wire::HeaderBuf;
/// use tunstack::proto::wire::ip::{self, IpHeader, PROTOCOL_UDP};
///
/// let header = IpHeader {
///     src: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2)),
///     dst: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1)),
///     protocol: PROTOCOL_UDP,
///     hop_limit: 64,
///     tos: 0,
///     ident: 7,
///     dont_fragment: true,
///     flow_label: 0,
/// };
/// let mut bytes = HeaderBuf::new();
/// header.write(4, &mut bytes);
/// bytes.try_extend_from_slice(b"text").unwrap();
///
/// let parsed = ip::parse(&bytes).unwrap();
/// assert_eq!(parsed.payload, b"text");
/// assert_eq!((parsed.src, parsed.dst), (header.src, header.dst));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpHeader {
    /// Source address.
    pub src: IpAddr,
    /// Destination address, of the same family.
    pub dst: IpAddr,
    /// Protocol or next header of the payload.
    pub protocol: u8,
    /// Time to live, hop limit.
    pub hop_limit: u8,
    /// Type of service, traffic class.
    pub tos: u8,
    /// IPv4 identification; not used in IPv6.
    pub ident: u16,
    /// IPv4 don't-fragment flag.
    pub dont_fragment: bool,
    /// IPv6 flow label, of 20 bits; not used in IPv4.
    pub flow_label: u32,
}

impl IpHeader {
    /// Appends the header for a payload of `payload_len` bytes. Header lengths: 20 and 40 bytes.
    ///
    /// # Panics
    /// If the addresses are of different families, or the payload doesn't fit into one datagram: both are
    /// mistakes of the caller, never of a peer.
    // Inlined, the header is read from where it was made of, and not from memory that it is put in for the call.
    #[inline(always)]
    pub fn write(&self, payload_len: usize, out: &mut HeaderBuf) {
        let written = match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => out.try_extend_from_slice(&self.v4(src, dst, payload_len)),
            (IpAddr::V6(src), IpAddr::V6(dst)) => out.try_extend_from_slice(&self.v6(src, dst, payload_len)),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                panic!("source and destination are of different families")
            }
        };
        written.expect("the header buffer has room for an IP header");
    }

    #[inline]
    fn v4(&self, src: Ipv4Addr, dst: Ipv4Addr, payload_len: usize) -> [u8; Ipv4Header::MIN_LEN] {
        let total_len = u16::try_from(payload_len + Ipv4Header::MIN_LEN)
            .expect("an IPv4 datagram has at most 65,535 bytes");
        let fragment: u16 = if self.dont_fragment { 0x4000 } else { 0 };
        let mut header = [0; Ipv4Header::MIN_LEN];
        header[0] = 0x45;
        header[1] = self.tos;
        header[2..4].copy_from_slice(&total_len.to_be_bytes());
        header[4..6].copy_from_slice(&self.ident.to_be_bytes());
        header[6..8].copy_from_slice(&fragment.to_be_bytes());
        header[8] = self.hop_limit;
        header[9] = self.protocol;
        header[12..16].copy_from_slice(&src.octets());
        header[16..20].copy_from_slice(&dst.octets());
        //= RFC1122 3.2.1.2 send
        let mut sum = Sum::new();
        sum.add_header(&header);
        header[10..12].copy_from_slice(&sum.finish().to_be_bytes());
        header
    }

    fn v6(&self, src: Ipv6Addr, dst: Ipv6Addr, payload_len: usize) -> [u8; Ipv6Header::LEN] {
        let payload_len = u16::try_from(payload_len).expect("an IPv6 payload has at most 65,535 bytes");
        assert!(self.flow_label < 1 << 20, "a flow label has 20 bits");
        let first = 6 << 28 | u32::from(self.tos) << 20 | self.flow_label;
        let mut header = [0; Ipv6Header::LEN];
        header[..4].copy_from_slice(&first.to_be_bytes());
        header[4..6].copy_from_slice(&payload_len.to_be_bytes());
        header[6] = self.protocol;
        header[7] = self.hop_limit;
        header[8..24].copy_from_slice(&src.octets());
        header[24..].copy_from_slice(&dst.octets());
        header
    }

    /// Like [`write`](Self::write), with options: a multiple of four bytes, of which IPv6 knows none.
    ///
    /// # Panics
    /// As [`write`](Self::write), and if there are more than 40 bytes of options: mistakes of the caller.
    pub(crate) fn write_with_options(&self, options: &[u8], payload_len: usize, out: &mut HeaderBuf) {
        let begin = out.len();
        self.write(options.len() + payload_len, out);
        if options.is_empty() || self.src.is_ipv6() {
            return;
        }
        assert!(options.len().is_multiple_of(4) && options.len() <= 40, "these are no options of a header");
        out.try_extend_from_slice(options).expect("the header buffer has room for an IP header");
        let header = &mut out[begin..];
        header[0] = 0x40 | (header.len() / 4) as u8;
        header[10..12].fill(0);
        let mut sum = Sum::new();
        sum.add(header);
        header[10..12].copy_from_slice(&sum.finish().to_be_bytes());
    }

    /// Bytes that [`write`](Self::write) appends.
    #[allow(clippy::len_without_is_empty)] // A header is never empty.
    pub fn len(&self) -> usize {
        if self.src.is_ipv4() { Ipv4Header::MIN_LEN } else { Ipv6Header::LEN }
    }
}

/// A received datagram whose headers hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// Source address, as sent.
    pub src: IpAddr,
    /// Destination address, as sent.
    pub dst: IpAddr,
    /// Protocol of the payload; for IPv6 after all extension headers. In an IPv6 fragment it is what the
    /// fragment header names, which may be another extension header.
    pub protocol: u8,
    /// Time to live, hop limit.
    pub hop_limit: u8,
    /// Type of service, traffic class.
    pub tos: u8,
    /// IPv4 identification; 0 for IPv6.
    pub ident: u16,
    /// IPv4 don't-fragment flag; true for IPv6.
    pub dont_fragment: bool,
    /// Set if this is a part of a datagram: the payload is that part. An IPv6 "atomic fragment" is whole
    /// (RFC 6946).
    pub fragment: Option<FragmentInfo>,
    /// The datagram, cut to the length its header states.
    pub whole: &'a [u8],
    /// What follows all headers.
    pub payload: &'a [u8],
    /// Bytes of all headers before the payload, extension headers included.
    pub header_len: usize,
    /// Where in `whole` the octet stands that names `protocol`: what an ICMP "protocol unreachable" of
    /// IPv6 has to point at (RFC 4443 section 3.4, code 1).
    pub protocol_at: usize,
    /// An IPv4 loose or strict source route is present (RFC 7126 sections 4.3, 4.4).
    pub source_routed: bool,
    /// Set if an option of IPv4 or an extension header of IPv6 forbids to process the packet further. `protocol`
    /// and `payload` of IPv6 then tell the header with the problem.
    pub problem: Option<ExtensionProblem>,
}

impl Parsed<'_> {
    /// Goes on from the fixed header of IPv6 to the end of the chain of extension headers, to a fragment, or to
    /// the first problem. Does nothing over IPv4.
    ///
    /// # Errors
    /// `ExtensionHeader`: a chain that is cut off or too long.
    #[inline]
    pub(crate) fn follow_extensions(&mut self) -> Result<(), DropReason> {
        if self.src.is_ipv6() && extensions::is_extension(self.protocol) {
            extensions::follow(self)?;
        }
        Ok(())
    }

    /// Makes a problem of a fragment header, where none may be: in what was put together of fragments. Who cuts parts
    /// into parts hides from everybody on the way what he sends (as Linux, which points at the header, too).
    pub(crate) fn refuse_fragment(&mut self) {
        if self.fragment.is_some() && self.problem.is_none() {
            self.problem = Some(extensions::fragment_before(self.header_len));
        }
    }

    /// Goes on from the fixed header of IPv6 over the only extension header that concerns those on the way.
    ///
    /// # Errors
    /// `ExtensionHeader`: hop-by-hop options that are cut off.
    #[inline]
    pub(crate) fn follow_hop_by_hop(&mut self) -> Result<(), DropReason> {
        if self.src.is_ipv6() && self.protocol == extensions::HOP_BY_HOP {
            extensions::follow_first(self)?;
        }
        Ok(())
    }
}

/// Which part of a datagram a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentInfo {
    /// Where in the original datagram's payload this part begins, in bytes: a multiple of eight.
    pub offset_bytes: usize,
    /// Whether parts follow this one.
    pub more: bool,
    /// What joins the parts, together with addresses and (for IPv4) protocol. 16 bits in IPv4.
    pub ident: u32,
}

/// Reads and validates the IP headers of a datagram. Bytes past the length that the header states are
/// padding.
///
/// # Errors
/// `Truncated` (fewer bytes than the headers say), `IpVersion`, `IpLength` (contradictory lengths, IPv6
/// jumbograms), `IpChecksum`, `FragmentMalformed` (of IPv4, past 65,535 bytes), or `ExtensionHeader` (a chain that is cut off or longer than
/// eight headers).
#[inline]
pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, DropReason> {
    let mut parsed = parse_fixed(bytes)?;
    parsed.follow_extensions()?;
    Ok(parsed)
}

/// Like [`parse`], but of IPv6 it reads the fixed header alone: `protocol` and `payload` are what follows that,
/// be it an extension header. A router looks no further (RFC 8200 section 4).
///
/// # Errors
/// As [`parse`], but for `ExtensionHeader`.
// Inlined, a datagram's headers are read into the place where they are to stay.
#[inline(always)]
pub(crate) fn parse_fixed(bytes: &[u8]) -> Result<Parsed<'_>, DropReason> {
    match bytes.first().map(|first| first >> 4) {
        //= RFC8504 10.1 dual stack
        Some(4) => parse_v4(bytes),
        Some(6) => parse_v6(bytes),
        //= RFC1122 3.2.1.1 version
        //= RFC8200 3 version
        Some(_) => Err(DropReason::IpVersion),
        None => Err(DropReason::Truncated),
    }
}

/// A datagram as nearly all are: whole, and without options or extension headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usual<'a> {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    pub(crate) tos: u8,
    pub(crate) whole: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// Reads one of IPv4. `None` for all others, and for those that don't hold together: [`parse_fixed`] tells of both what they are, and of
/// this one the same.
#[inline(always)]
pub(crate) fn parse_usual_v4(bytes: &[u8]) -> Option<Usual<'_>> {
    const HEADER_LEN: usize = Ipv4Header::MIN_LEN;
    /// Version 4, and five words of header.
    const FIRST: u8 = 0x45;
    /// "More fragments", and where in a datagram the fragment stands.
    const IS_FRAGMENT: u16 = 0x3fff;
    let header = bytes.first_chunk::<HEADER_LEN>()?;
    let [first, tos, l, m, _, _, f, g, hop_limit, protocol, _, _, a, b, c, d, h, i, j, k] = *header;
    if first != FIRST || u16::from_be_bytes([f, g]) & IS_FRAGMENT != 0 {
        return None;
    }
    let whole = bytes.get(..u16::from_be_bytes([l, m]).into())?;
    let payload = whole.get(HEADER_LEN..)?;
    let mut sum = Sum::new();
    sum.add_header(header);
    let (src, dst) = (IpAddr::V4(Ipv4Addr::new(a, b, c, d)), IpAddr::V4(Ipv4Addr::new(h, i, j, k)));
    sum.is_valid().then_some(Usual { src, dst, protocol, hop_limit, tos, whole, payload })
}

/// The same of IPv6.
#[inline(always)]
pub(crate) fn parse_usual_v6(bytes: &[u8]) -> Option<Usual<'_>> {
    const HEADER_LEN: usize = Ipv6Header::LEN;
    const VERSION: u8 = 6;
    let header = bytes.first_chunk::<HEADER_LEN>()?;
    let [first, second, _, _, l, m, protocol, hop_limit, ref addresses @ ..] = *header;
    let goes_on = extensions::is_extension(protocol) || protocol == PROTOCOL_NO_NEXT_HEADER;
    if first >> 4 != VERSION || goes_on {
        return None;
    }
    let whole = bytes.get(..HEADER_LEN + usize::from(u16::from_be_bytes([l, m])))?;
    let payload = whole.get(HEADER_LEN..)?;
    let ([src, dst], []) = addresses.as_chunks::<16>() else { return None };
    let (src, dst) = (IpAddr::V6(Ipv6Addr::from(*src)), IpAddr::V6(Ipv6Addr::from(*dst)));
    Some(Usual { src, dst, protocol, hop_limit, tos: first << 4 | second >> 4, whole, payload })
}

#[inline(always)]
fn parse_v4(bytes: &[u8]) -> Result<Parsed<'_>, DropReason> {
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|error| match error {
        //= RFC1812 5.2.2 link length
        etherparse::err::ipv4::HeaderSliceError::Len(_) => DropReason::Truncated,
        //= RFC1812 5.2.2 header length
        etherparse::err::ipv4::HeaderSliceError::Content(_) => DropReason::IpLength,
    })?;
    let header_len = header.slice().len();
    let total_len = usize::from(header.total_len());
    //= RFC791 3.1 total length
    //= RFC1812 5.2.2 total length
    let whole = bytes.get(..total_len).ok_or(DropReason::Truncated)?;
    //= RFC1122 3.2.1.2 checksum: a host MUST verify the IP header checksum on every received datagram.
    let mut sum = Sum::new();
    sum.add_header(header.slice());
    if !sum.is_valid() {
        //= RFC1812 4.2.2.5 checksum
        return Err(DropReason::IpChecksum);
    }
    let options = match header.options() {
        [] => options::Inspected::default(),
        options => options::inspect(options),
    };
    //= RFC791 3.1 header
    //= RFC1812 5.2.2 total length and header
    let (_, payload) = whole.split_at_checked(header_len).ok_or(DropReason::IpLength)?;
    //= RFC1812 4.2.2.3 reserved flag
    let fragment = match (usize::from(header.fragments_offset().value()) * 8, header.more_fragments()) {
        (0, false) => None,
        (offset_bytes, more) => {
            //= RFC791 3.1 largest datagram
            if offset_bytes + payload.len() > usize::from(u16::MAX) {
                return Err(DropReason::FragmentMalformed);
            }
            Some(FragmentInfo { offset_bytes, more, ident: header.identification().into() })
        }
    };
    Ok(Parsed {
        src: IpAddr::V4(header.source_addr()),
        dst: IpAddr::V4(header.destination_addr()),
        protocol: header.protocol().0,
        hop_limit: header.ttl(),
        tos: header.dcp().value() << 2 | header.ecn().value(),
        ident: header.identification(),
        dont_fragment: header.dont_fragment(),
        fragment,
        whole,
        payload,
        header_len,
        protocol_at: 9,
        source_routed: options.source_routed,
        problem: options
            .malformed_at
            .map(|at| ExtensionProblem::MalformedOption { pointer: (Ipv4Header::MIN_LEN + at) as u32 }),
    })
}

#[inline]
fn parse_v6(bytes: &[u8]) -> Result<Parsed<'_>, DropReason> {
    // The version has been looked at: what is left to go wrong is the length.
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|_| DropReason::Truncated)?;
    let payload_len = usize::from(header.payload_length());
    let protocol = header.next_header().0;
    if payload_len == 0 && protocol == extensions::HOP_BY_HOP {
        // A jumbogram (RFC 2675), or nonsense: a hop-by-hop header that isn't there.
        return Err(DropReason::IpLength);
    }
    //= RFC8200 3 payload length
    let whole = bytes.get(..Ipv6Header::LEN + payload_len).ok_or(DropReason::Truncated)?;
    let (_, payload) = whole.split_at_checked(Ipv6Header::LEN).ok_or(DropReason::Truncated)?;
    Ok(Parsed {
        src: IpAddr::V6(header.source_addr()),
        dst: IpAddr::V6(header.destination_addr()),
        protocol,
        hop_limit: header.hop_limit(),
        //= RFC8200 3 flow label
        tos: header.traffic_class(),
        ident: 0,
        //= RFC8200 5 nobody cuts
        dont_fragment: true,
        fragment: None,
        whole,
        payload,
        header_len: Ipv6Header::LEN,
        protocol_at: 6,
        source_routed: false,
        problem: None,
    })
}

/// The two ends and the payload of a packet that an ICMP error quotes: like [`parse`], but the packet may
/// be cut off anywhere and its checksums are not to be believed (it has been on the way).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QuotedIp<'a> {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) protocol: u8,
    pub(super) payload: &'a [u8],
    pub(super) part: QuotedPart,
}

/// How much of a datagram a packet is that an ICMP error quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotedPart {
    /// All of it.
    Whole,
    /// Its first fragment.
    First,
    /// A fragment that isn't the first: it holds no transport header.
    Later,
}

/// Reads the IP headers of a quoted packet. The payload of a fragment that isn't the first is empty, since it
/// holds no transport header.
pub(super) fn parse_quoted(bytes: &[u8]) -> Option<QuotedIp<'_>> {
    match bytes.first().map(|first| first >> 4) {
        Some(4) => {
            let header = Ipv4HeaderSlice::from_slice(bytes).ok()?;
            let end = usize::from(header.total_len()).min(bytes.len());
            let first = header.fragments_offset() == IpFragOffset::ZERO;
            let payload = bytes.get(header.slice().len()..end).filter(|_| first);
            Some(QuotedIp {
                src: IpAddr::V4(header.source_addr()),
                dst: IpAddr::V4(header.destination_addr()),
                protocol: header.protocol().0,
                payload: payload.unwrap_or_default(),
                part: match (first, header.more_fragments()) {
                    (true, false) => QuotedPart::Whole,
                    (true, true) => QuotedPart::First,
                    (false, _) => QuotedPart::Later,
                },
            })
        }
        Some(6) => parse_quoted_v6(bytes),
        Some(_) | None => None,
    }
}

fn parse_quoted_v6(bytes: &[u8]) -> Option<QuotedIp<'_>> {
    let header = Ipv6HeaderSlice::from_slice(bytes).ok()?;
    let end = (Ipv6Header::LEN + usize::from(header.payload_length())).min(bytes.len());
    let behind = bytes.get(Ipv6Header::LEN..end)?;
    let (protocol, payload, part) = extensions::skip_quoted(header.next_header().0, behind)?;
    let (src, dst) = (IpAddr::V6(header.source_addr()), IpAddr::V6(header.destination_addr()));
    Some(QuotedIp { src, dst, protocol, payload, part })
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::proto::wire::testing::{any_ends, for_each_bit_turned, hex, ip, ipv6_chain};

    /// "hello" over UDP from the Linux kernel.
    const KERNEL_V4: &str = "4500002177d540004011aee20a0900010a090002 bbcd0007000dec1868656c6c6f";
    const KERNEL_V6: &str = "60094d66000d1140fd090000000000000000000000000001fd090000000000000000000000000002
        bfa60007000d023e68656c6c6f";

    /// An IPv4 header with a right checksum, whatever it says.
    fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let header_len = usize::from(bytes[0] & 0xf) * 4;
        bytes[10..12].fill(0);
        let mut sum = Sum::new();
        sum.add(&bytes[..header_len]);
        bytes[10..12].copy_from_slice(&sum.finish().to_be_bytes());
        bytes
    }

    /// An IPv4 packet with these options and four bytes of payload.
    fn with_options(options: &[u8]) -> Vec<u8> {
        let mut bytes = hex("45000000000140004011 0000 0a0900010a090002");
        bytes[0] = 0x40 | (5 + options.len() / 4) as u8;
        bytes.extend(options);
        bytes.extend(b"text");
        bytes[3] = bytes.len() as u8;
        resealed(bytes)
    }

    #[test]
    fn a_kernel_s_packets_are_read() {
        let bytes = hex(KERNEL_V4);
        let v4 = parse(&bytes).unwrap();
        assert_eq!((v4.src, v4.dst), (ip("10.9.0.1"), ip("10.9.0.2")));
        assert_eq!((v4.protocol, v4.hop_limit, v4.tos, v4.ident), (PROTOCOL_UDP, 64, 0, 0x77d5));
        assert_eq!((v4.dont_fragment, v4.fragment, v4.source_routed), (true, None, false));
        assert_eq!((v4.header_len, v4.payload, v4.whole), (20, &bytes[20..], &bytes[..]));
        let bytes = hex(KERNEL_V6);
        let v6 = parse(&bytes).unwrap();
        assert_eq!((v6.src, v6.dst), (ip("fd09::1"), ip("fd09::2")));
        assert_eq!(
            (v6.protocol, v6.hop_limit, v6.tos, v6.fragment, v6.problem),
            (PROTOCOL_UDP, 64, 0, None, None)
        );
        assert_eq!((v6.header_len, v6.payload, v6.whole), (40, &bytes[40..], &bytes[..]));
    }

    //= RFC1122 3.2.1.2 send
    #[test]
    fn a_kernel_s_header_written_anew_is_the_same_bytes() {
        let bytes = hex(KERNEL_V4);
        let parsed = parse(&bytes).unwrap();
        let Parsed { src, dst, protocol, hop_limit, tos, ident, dont_fragment, .. } = parsed;
        let mut out = HeaderBuf::new();
        let flow_label = 0;
        let header = IpHeader { src, dst, protocol, hop_limit, tos, ident, dont_fragment, flow_label };
        header.write(parsed.payload.len(), &mut out);
        assert_eq!(out.as_slice(), &bytes[..20]);
    }

    //= RFC791 3.1 total length
    //= RFC8200 3 payload length
    #[test]
    fn padding_behind_the_packet_is_cut_off() {
        for good in [hex(KERNEL_V4), hex(KERNEL_V6)] {
            let padded = [&good[..], &[1, 2, 3]].concat();
            assert_eq!(parse(&padded), parse(&good));
        }
    }

    //= RFC791 3.1 total length
    //= RFC1812 5.2.2 link length, 5.2.2 total length
    //= RFC8200 3 payload length
    #[test]
    fn a_packet_cut_anywhere_is_truncated() {
        for good in [hex(KERNEL_V4), hex(KERNEL_V6)] {
            for len in 0..good.len() {
                assert_eq!(parse(&good[..len]), Err(DropReason::Truncated), "{len}");
            }
        }
    }

    //= RFC1122 3.2.1.1 version
    //= RFC8200 3 version
    #[test]
    fn a_version_other_than_4_and_6_is_refused() {
        for version in (0..16).filter(|version| ![4, 6].contains(version)) {
            assert_eq!(parse(&[version << 4 | 5; 60]), Err(DropReason::IpVersion));
        }
    }

    //= RFC791 3.1 header
    //= RFC1812 5.2.2 header length, 5.2.2 total length and header
    #[test]
    fn lengths_that_contradict_themselves_are_refused() {
        let good = hex(KERNEL_V4);
        for header_words in 0..5 {
            let mut bytes = good.clone();
            bytes[0] = 0x40 | header_words;
            assert_eq!(parse(&bytes), Err(DropReason::IpLength));
        }
        for total_len in 0..20 {
            let mut bytes = good.clone();
            bytes[3] = total_len;
            assert_eq!(parse(&resealed(bytes)), Err(DropReason::IpLength));
        }
        // A jumbogram: payload length 0, a hop-by-hop header with the jumbo option.
        let mut jumbo =
            ipv6_chain(&[(extensions::HOP_BY_HOP, &[0, 0xc2, 4, 0, 1, 0, 0])], PROTOCOL_UDP, b"text");
        jumbo[4..6].fill(0);
        assert_eq!(parse(&jumbo), Err(DropReason::IpLength));
        assert_eq!(parse(&ipv6_chain(&[], PROTOCOL_NO_NEXT_HEADER, b"")).unwrap().payload, b"");
    }

    //= RFC1122 3.2.1.2 checksum
    #[test]
    fn no_single_bit_turned_in_an_ipv4_header_goes_unnoticed() {
        for good in [hex(KERNEL_V4), with_options(&[7, 7, 4, 0, 0, 0, 0, 0])] {
            let header_len = usize::from(good[0] & 0xf) * 4;
            for_each_bit_turned(&good, |at, turned| {
                assert_eq!(parse(turned).is_err(), at < header_len, "octet {at}");
            });
        }
    }

    //= RFC1122 3.2.1.8 unknown
    #[test]
    fn options_are_stepped_over_and_source_routes_told() {
        for (options, source_routed) in [
            ("07070400 00000000", false),          // record route
            ("01010101", false),                   // no operation
            ("00838383", false),                   // nothing is read behind the end
            ("94040000", false),                   // router alert
            ("44040500 de060102 03040101", false), // timestamp, one nobody knows
            ("8307040a 09000201", true),           // loose source route
            ("01890304", true),                    // strict source route
            ("94040000 8307040a 09000201", true),
        ] {
            let bytes = with_options(&hex(options));
            let parsed = parse(&bytes).unwrap();
            assert_eq!((parsed.payload, parsed.source_routed), (&b"text"[..], source_routed), "{options}");
            assert_eq!(parsed.header_len, 20 + hex(options).len());
        }
        let kernel = hex("47000025c42e40004011ce710a0900010a090003 8307040a09000201 ed3200070009868c78");
        assert!(parse(&kernel).unwrap().source_routed);
    }

    #[test]
    fn malformed_options_are_a_problem_with_a_place() {
        for (options, pointer) in [
            ("07000000", 20),
            ("07010000", 20),
            ("07050000", 20),
            ("01010107", 23),
            ("8300ffff", 20),
            ("01018308", 22),
            ("07070300000000 00", 22),
        ] {
            let problem = parse(&with_options(&hex(options))).unwrap().problem.unwrap();
            assert_eq!(problem, ExtensionProblem::MalformedOption { pointer }, "{options}");
            assert_eq!(
                (problem.drop_reason(), problem.answer(false)),
                (DropReason::IpOption, Some((0, pointer)))
            );
        }
    }

    #[test]
    fn a_kernel_s_fragments_are_told() {
        let first = hex("450004fc77f920004011c9e30a0900010a090002");
        let last = hex("4500013477f9009d4011ed0e0a0900010a090002");
        let fragment = |header: Vec<u8>, len: usize| {
            let bytes = [header, vec![0xaa; len]].concat();
            let parsed = parse(&bytes).unwrap();
            assert_eq!(
                (parsed.protocol, parsed.payload),
                (PROTOCOL_UDP, &vec![0xaa; parsed.payload.len()][..])
            );
            parsed.fragment.unwrap()
        };
        assert_eq!(fragment(first, 1256), FragmentInfo { offset_bytes: 0, more: true, ident: 0x77f9 });
        assert_eq!(fragment(last, 288), FragmentInfo { offset_bytes: 1256, more: false, ident: 0x77f9 });
        let header = "60094d6604d82c40fd090000000000000000000000000001fd090000000000000000000000000002";
        let first = hex(&[header, "1100000188ef770d"].concat());
        assert_eq!(fragment(first, 1232), FragmentInfo { offset_bytes: 0, more: true, ident: 0x88ef_770d });
        let mut last = hex(&[header, "110004d088ef770d"].concat());
        last[4..6].copy_from_slice(&[1, 0x40]);
        assert_eq!(fragment(last, 312), FragmentInfo { offset_bytes: 1232, more: false, ident: 0x88ef_770d });
    }

    //= RFC791 3.1 largest datagram
    #[test]
    fn an_ipv4_fragment_that_reaches_past_the_longest_datagram_is_refused() {
        let mut bytes = hex(KERNEL_V4);
        bytes[6..8].copy_from_slice(&0x1fff_u16.to_be_bytes());
        assert_eq!(parse(&resealed(bytes.clone())), Err(DropReason::FragmentMalformed));
        bytes[6..8].copy_from_slice(&0x1ffe_u16.to_be_bytes());
        assert_eq!(parse(&resealed(bytes)).unwrap().fragment.unwrap().offset_bytes, 65_520);
    }

    #[test]
    #[should_panic = "different families"]
    fn a_header_between_families_is_a_mistake() {
        let header = IpHeader {
            src: ip("10.9.0.1"),
            dst: ip("fd09::1"),
            protocol: 6,
            hop_limit: 1,
            tos: 0,
            ident: 0,
            dont_fragment: true,
            flow_label: 0,
        };
        header.write(0, &mut HeaderBuf::new());
    }

    proptest! {
            #[test]
            fn what_is_written_is_read_again(
                (src, dst) in any_ends(),
                (protocol, hop_limit, tos, ident, dont_fragment) in any::<(u8, u8, u8, u16, bool)>(),
                flow_label in 0..1_u32 << 20,
                payload in prop::collection::vec(any::<u8>(), 0..100),
            ) {
                prop_assume!(src.is_ipv4() || !extensions::is_extension(protocol));
                let header = IpHeader { src, dst, protocol, hop_limit, tos, ident, dont_fragment, flow_label };
                let mut out = HeaderBuf::new();
                header.write(payload.len(), &mut out);
                prop_assert_eq!(out.len(), header.len());
                let bytes = [&out[..], &payload].concat();
                let is_v6 = src.is_ipv6();
                let label = u32::from_be_bytes([0, bytes[1] & 0xf, bytes[2], bytes[3]]);
                prop_assert!(!is_v6 || label == flow_label);
                prop_assert_eq!(parse(&bytes), Ok(Parsed {
                    src, dst, protocol, hop_limit, tos,
                    ident: if is_v6 { 0 } else { ident },
                    dont_fragment: dont_fragment || is_v6,
                    fragment: None,
                    whole: &bytes,
                    payload: &payload,
                    header_len: header.len(),
                    protocol_at: if is_v6 { 6 } else { 9 },
                    source_routed: false,
                    problem: None,
                }));
            }

            #[test]
            fn any_bytes_are_read_without_panic(
                version in prop::sample::select(vec![0x45u8, 0x46, 0x4f, 0x60, 0x6f, 0x00]),
                next in prop::sample::select(vec![0u8, 43, 44, 60, 6, 17]),
                mut bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..3, Just(44), Just(60)], 8..200),
            ) {
                bytes[0] = version;
                bytes[6] = next;
                // A payload length near the truth, so that the chain is reached.
    let near = bytes.len().saturating_sub(40) as u16;
                bytes[4..6].copy_from_slice(&near.to_be_bytes());
                for candidate in [bytes.clone(), if bytes.len() >= 60 { resealed(bytes) } else { bytes }] {
                    if let Ok(parsed) = parse(&candidate) {
                        prop_assert!(parsed.header_len + parsed.payload.len() == parsed.whole.len());
                        prop_assert!(parsed.protocol_at < parsed.header_len);
                        prop_assert_eq!(parsed.whole[parsed.protocol_at], parsed.protocol);
                        prop_assert!(parsed.whole.ends_with(parsed.payload));
                    }
                }
            }

            #[test]
            fn any_options_are_walked_without_panic(
                options in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..8], 4..=40)
            ) {
                let options = &options[..options.len() / 4 * 4];
                match parse(&with_options(options)) {
                    Ok(parsed) => prop_assert_eq!(parsed.payload, b"text"),
                    Err(reason) => prop_assert_eq!(reason, DropReason::IpOption),
                }
            }
        }
}
