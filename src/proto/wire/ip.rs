//! IPv4 (RFC 791, RFC 1122 section 3.2) and IPv6 (RFC 8200) headers, in and out.
//!
//! Owns: whether a datagram's bytes hold together (version, lengths, header checksum, options, extension
//! headers), where its payload begins, and how a header we send looks. Owns not: whether the addresses make
//! sense here, what is answered to a datagram that is refused, and reassembly; that is `ip`.
//!
//! Fixed headers are read and written through `etherparse`. Options and extension headers are walked here:
//! `etherparse` neither looks into IPv4 options nor keeps the offsets that an ICMPv6 parameter problem has to
//! point at.

use core::net::{IpAddr, Ipv6Addr};

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6FragmentHeaderSlice, Ipv6Header};
use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice};

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

/// Next header value of hop-by-hop options.
const HOP_BY_HOP: u8 = 0;
/// Next header value of a routing header.
const ROUTING: u8 = 43;
/// Next header value of a fragment header.
const FRAGMENT: u8 = 44;
/// Next header value of destination options.
const DESTINATION_OPTIONS: u8 = 60;

/// Extension headers followed in one packet. A packet that needs more than one of each kind is not in the
/// wild; the bound is what keeps a chain of empty headers from costing more than a packet's worth of time.
const EXTENSION_HEADERS_MAX: usize = 8;

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
}

impl IpHeader {
    /// Appends the header for a payload of `payload_len` bytes. Header lengths: 20 and 40 bytes.
    ///
    /// # Panics
    /// If the addresses are of different families, or the payload doesn't fit into one datagram: both are
    /// mistakes of the caller, never of a peer.
    pub fn write(&self, payload_len: usize, out: &mut HeaderBuf) {
        let written = match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let total_len = u16::try_from(payload_len + Ipv4Header::MIN_LEN);
                let mut header = Ipv4Header {
                    dscp: (self.tos >> 2).try_into().unwrap_or_default(),
                    ecn: (self.tos & 0b11).try_into().unwrap_or_default(),
                    total_len: total_len.expect("an IPv4 datagram has at most 65,535 bytes"),
                    identification: self.ident,
                    dont_fragment: self.dont_fragment,
                    more_fragments: false,
                    fragment_offset: IpFragOffset::ZERO,
                    time_to_live: self.hop_limit,
                    protocol: IpNumber(self.protocol),
                    header_checksum: 0,
                    source: src.octets(),
                    destination: dst.octets(),
                    options: Default::default(),
                };
                header.header_checksum = header.calc_header_checksum();
                out.try_extend_from_slice(&header.to_bytes())
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let header = Ipv6Header {
                    traffic_class: self.tos,
                    flow_label: Ipv6FlowLabel::ZERO,
                    payload_length: u16::try_from(payload_len)
                        .expect("an IPv6 payload has at most 65,535 bytes"),
                    next_header: IpNumber(self.protocol),
                    hop_limit: self.hop_limit,
                    source: src.octets(),
                    destination: dst.octets(),
                };
                out.try_extend_from_slice(&header.to_bytes())
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                panic!("source and destination are of different families")
            }
        };
        written.expect("the header buffer has room for an IP header");
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
    /// Set if an IPv6 extension header forbids to process the packet further. `protocol` and `payload` then
    /// tell the header with the problem.
    pub problem: Option<ExtensionProblem>,
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

/// Why an IPv6 packet must be discarded because of its extension headers, and how that is answered. All
/// pointers count bytes from the start of the IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionProblem {
    /// A next header value that is not allowed where it stands: hop-by-hop options anywhere but first
    /// (RFC 8200 section 4.1). Parameter problem code 1.
    UnrecognizedNextHeader {
        /// Of the next header octet.
        pointer: u32,
    },
    /// An option nobody here knows and whose type forbids to skip it (RFC 8200 section 4.2). Parameter
    /// problem code 2, if it is to be answered at all.
    UnrecognizedOption {
        /// Of the option type octet.
        pointer: u32,
        /// What its two highest bits ask for.
        action: OptionAction,
    },
    /// A routing header, of whatever type, that is not used up: none is supported, and type 0 must not be
    /// (RFC 8200 section 4.4, RFC 5095). Parameter problem code 0.
    RoutingSegmentsLeft {
        /// Of the routing type octet.
        pointer: u32,
    },
    /// A field that contradicts itself: a fragment that is not a multiple of eight bytes long, or that would
    /// reach past 65,535 bytes (RFC 8200 section 4.5). Parameter problem code 0.
    ErroneousField {
        /// Of the field.
        pointer: u32,
    },
}

impl ExtensionProblem {
    /// The reason under which the packet's drop is counted.
    pub fn drop_reason(self) -> DropReason {
        match self {
            ExtensionProblem::RoutingSegmentsLeft { .. } => DropReason::SourceRouted,
            ExtensionProblem::UnrecognizedNextHeader { .. }
            | ExtensionProblem::UnrecognizedOption { .. }
            | ExtensionProblem::ErroneousField { .. } => DropReason::ExtensionHeader,
        }
    }

    /// Code and pointer of the ICMPv6 parameter problem (type 4) that is due, if one is. `to_multicast`
    /// tells whether the packet went to a multicast address; only code 2 may be sent then (RFC 4443 section
    /// 2.4 e.3).
    pub fn answer(self, to_multicast: bool) -> Option<(u8, u32)> {
        use super::icmp::v6;
        let (code, pointer, to_multicast_too) = match self {
            ExtensionProblem::UnrecognizedNextHeader { pointer } => {
                (v6::CODE_PARAM_PROBLEM_UNRECOG_NEXT_HEADER, pointer, false)
            }
            ExtensionProblem::UnrecognizedOption { pointer, action } => match action {
                OptionAction::Discard => return None,
                OptionAction::Report => (v6::CODE_PARAM_PROBLEM_UNRECOG_IPV6_OPTION, pointer, true),
                OptionAction::ReportUnlessMulticast => {
                    (v6::CODE_PARAM_PROBLEM_UNRECOG_IPV6_OPTION, pointer, false)
                }
            },
            ExtensionProblem::RoutingSegmentsLeft { pointer }
            | ExtensionProblem::ErroneousField { pointer } => {
                (v6::CODE_PARAM_PROBLEM_ERR_HEADER_FIELD, pointer, false)
            }
        };
        (to_multicast_too || !to_multicast).then_some((code, pointer))
    }
}

/// What the two highest bits of an unknown IPv6 option's type ask for, where it is not to be skipped (RFC
/// 8200 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionAction {
    /// 01: discard.
    Discard,
    /// 10: discard, and tell the source whatever the destination was.
    Report,
    /// 11: discard, and tell the source unless the destination was multicast.
    ReportUnlessMulticast,
}

/// Reads and validates the IP headers of a datagram. Bytes past the length that the header states are
/// padding.
///
/// # Errors
/// `Truncated` (fewer bytes than the headers say), `IpVersion`, `IpLength` (contradictory lengths, IPv6
/// jumbograms), `IpChecksum`, `IpOption`, or `ExtensionHeader` (a chain that is cut off or longer than
/// eight headers).
#[inline]
pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, DropReason> {
    match bytes.first().map(|first| first >> 4) {
        Some(4) => parse_v4(bytes),
        Some(6) => parse_v6(bytes),
        Some(_) => Err(DropReason::IpVersion),
        None => Err(DropReason::Truncated),
    }
}

fn parse_v4(bytes: &[u8]) -> Result<Parsed<'_>, DropReason> {
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|error| match error {
        etherparse::err::ipv4::HeaderSliceError::Len(_) => DropReason::Truncated,
        etherparse::err::ipv4::HeaderSliceError::Content(_) => DropReason::IpLength,
    })?;
    let header_len = header.slice().len();
    let total_len = usize::from(header.total_len());
    if total_len < header_len {
        return Err(DropReason::IpLength);
    }
    let whole = bytes.get(..total_len).ok_or(DropReason::Truncated)?;
    //= RFC1122 section 3.2.1.2: a host MUST verify the IP header checksum on every received datagram.
    let mut sum = Sum::new();
    sum.add(header.slice());
    if !sum.is_valid() {
        return Err(DropReason::IpChecksum);
    }
    let source_routed = header_len > Ipv4Header::MIN_LEN && walk_v4_options(header.options())?;
    let (_, payload) = whole.split_at_checked(header_len).ok_or(DropReason::IpLength)?;
    let fragment = match (usize::from(header.fragments_offset().value()) * 8, header.more_fragments()) {
        (0, false) => None,
        (offset_bytes, more) => {
            if offset_bytes + payload.len() > usize::from(u16::MAX) {
                return Err(DropReason::IpLength);
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
        source_routed,
        problem: None,
    })
}

/// Walks the options of an IPv4 header and tells whether a source route is among them. Unknown options are
/// skipped by their length (RFC 1122 section 3.2.1.8).
fn walk_v4_options(mut options: &[u8]) -> Result<bool, DropReason> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    let mut source_routed = false;
    loop {
        options = match *options {
            [] | [END, ..] => return Ok(source_routed),
            [NO_OPERATION, ref rest @ ..] => rest,
            [kind, len, ..] if len >= 2 => {
                source_routed |= matches!(kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE);
                options.get(usize::from(len)..).ok_or(DropReason::IpOption)?
            }
            [_, ..] => return Err(DropReason::IpOption),
        };
    }
}

fn parse_v6(bytes: &[u8]) -> Result<Parsed<'_>, DropReason> {
    // The version has been looked at: what is left to go wrong is the length.
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|_| DropReason::Truncated)?;
    let payload_len = usize::from(header.payload_length());
    let protocol = header.next_header().0;
    if payload_len == 0 && protocol == HOP_BY_HOP {
        // A jumbogram (RFC 2675), or nonsense: a hop-by-hop header that isn't there.
        return Err(DropReason::IpLength);
    }
    let whole = bytes.get(..Ipv6Header::LEN + payload_len).ok_or(DropReason::Truncated)?;
    let (_, payload) = whole.split_at_checked(Ipv6Header::LEN).ok_or(DropReason::Truncated)?;
    let mut parsed = Parsed {
        src: IpAddr::V6(header.source_addr()),
        dst: IpAddr::V6(header.destination_addr()),
        protocol,
        hop_limit: header.hop_limit(),
        tos: header.traffic_class(),
        ident: 0,
        dont_fragment: true,
        fragment: None,
        whole,
        payload,
        header_len: Ipv6Header::LEN,
        protocol_at: 6,
        source_routed: false,
        problem: None,
    };
    if is_extension(protocol) {
        follow_extensions(&mut parsed)?;
    }
    Ok(parsed)
}

/// Whether a next header value names an extension header that is followed. Authentication (51) and
/// encapsulation (50) are for protocols that nobody here speaks.
#[inline]
fn is_extension(next_header: u8) -> bool {
    matches!(next_header, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS)
}

/// Follows the chain of extension headers to its end, to a fragment, or to the first problem.
#[cold]
fn follow_extensions(parsed: &mut Parsed<'_>) -> Result<(), DropReason> {
    let mut followed = 0;
    while is_extension(parsed.protocol) && parsed.fragment.is_none() {
        if followed == EXTENSION_HEADERS_MAX {
            return Err(DropReason::ExtensionHeader);
        }
        if parsed.protocol == HOP_BY_HOP && followed > 0 {
            let pointer = parsed.protocol_at as u32;
            parsed.problem = Some(ExtensionProblem::UnrecognizedNextHeader { pointer });
        } else if parsed.protocol == FRAGMENT {
            follow_fragment(parsed)?;
        } else {
            follow_plain(parsed)?;
        }
        if parsed.problem.is_some() {
            return Ok(());
        }
        followed += 1;
    }
    Ok(())
}

/// Steps over hop-by-hop options, destination options or a routing header.
fn follow_plain(parsed: &mut Parsed<'_>) -> Result<(), DropReason> {
    let at = parsed.header_len as u32;
    let extension =
        Ipv6RawExtHeaderSlice::from_slice(parsed.payload).map_err(|_| DropReason::ExtensionHeader)?;
    parsed.problem = if parsed.protocol == ROUTING {
        //= RFC8200 section 4.4: with segments left, discard and point at the routing type; else ignore.
        match extension.payload() {
            [_, 0, ..] => None,
            _ => Some(ExtensionProblem::RoutingSegmentsLeft { pointer: at + 2 }),
        }
    } else {
        walk_v6_options(extension.payload(), at + 2)?
    };
    if parsed.problem.is_none() {
        step_over(parsed, extension.slice().len(), extension.next_header().0);
    }
    Ok(())
}

/// Reads a fragment header: a real fragment ends the chain, an atomic one is stepped over.
fn follow_fragment(parsed: &mut Parsed<'_>) -> Result<(), DropReason> {
    let at = parsed.header_len as u32;
    let fragment =
        Ipv6FragmentHeaderSlice::from_slice(parsed.payload).map_err(|_| DropReason::ExtensionHeader)?;
    let offset_bytes = usize::from(fragment.fragment_offset().value()) * 8;
    let more = fragment.more_fragments();
    let len = parsed.payload.len() - fragment.slice().len();
    //= RFC8200 section 4.5: a length that is no multiple of 8 with M set points at the payload length, a
    //# reassembled length beyond 65,535 at the fragment offset.
    if more && !len.is_multiple_of(8) {
        parsed.problem = Some(ExtensionProblem::ErroneousField { pointer: 4 });
        return Ok(());
    }
    let before = parsed.header_len - Ipv6Header::LEN;
    if before + offset_bytes + len > usize::from(u16::MAX) {
        parsed.problem = Some(ExtensionProblem::ErroneousField { pointer: at + 2 });
        return Ok(());
    }
    //= RFC6946 section 4: an atomic fragment is processed in isolation from all other fragments.
    if more || offset_bytes > 0 {
        parsed.fragment = Some(FragmentInfo { offset_bytes, more, ident: fragment.identification() });
    }
    step_over(parsed, fragment.slice().len(), fragment.next_header().0);
    Ok(())
}

/// Moves the payload's begin behind an extension header of `len` bytes.
fn step_over(parsed: &mut Parsed<'_>, len: usize, next_header: u8) {
    parsed.protocol = next_header;
    parsed.protocol_at = parsed.header_len;
    parsed.header_len += len;
    parsed.payload = parsed.payload.get(len..).unwrap_or_default();
}

/// Walks hop-by-hop or destination options, the first of which stands at `at`. None asks anything of this
/// host; those that forbid to be skipped are problems.
fn walk_v6_options(mut options: &[u8], mut at: u32) -> Result<Option<ExtensionProblem>, DropReason> {
    const PAD_1: u8 = 0;
    loop {
        let len = match *options {
            [] => return Ok(None),
            [PAD_1, ..] => 1,
            [kind, len, ..] => {
                let action = match kind >> 6 {
                    0b00 => None,
                    0b01 => Some(OptionAction::Discard),
                    0b10 => Some(OptionAction::Report),
                    _ => Some(OptionAction::ReportUnlessMulticast),
                };
                if let Some(action) = action {
                    return Ok(Some(ExtensionProblem::UnrecognizedOption { pointer: at, action }));
                }
                2 + usize::from(len)
            }
            [_] => return Err(DropReason::ExtensionHeader),
        };
        options = options.get(len..).ok_or(DropReason::ExtensionHeader)?;
        at += len as u32;
    }
}

/// The two ends and the payload of a packet that an ICMP error quotes: like [`parse`], but the packet may
/// be cut off anywhere and its checksums are not to be believed (it has been on the way).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QuotedIp<'a> {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) protocol: u8,
    pub(super) payload: &'a [u8],
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
            })
        }
        Some(6) => parse_quoted_v6(bytes),
        Some(_) | None => None,
    }
}

fn parse_quoted_v6(bytes: &[u8]) -> Option<QuotedIp<'_>> {
    let header = Ipv6HeaderSlice::from_slice(bytes).ok()?;
    let end = (Ipv6Header::LEN + usize::from(header.payload_length())).min(bytes.len());
    let mut protocol = header.next_header().0;
    let mut payload = bytes.get(Ipv6Header::LEN..end).unwrap_or_default();
    for _ in 0..EXTENSION_HEADERS_MAX {
        let len = match protocol {
            FRAGMENT => {
                let fragment = Ipv6FragmentHeaderSlice::from_slice(payload).ok()?;
                if fragment.fragment_offset() != IpFragOffset::ZERO {
                    protocol = fragment.next_header().0;
                    payload = &[];
                    break;
                }
                protocol = fragment.next_header().0;
                fragment.slice().len()
            }
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                let extension = Ipv6RawExtHeaderSlice::from_slice(payload).ok()?;
                protocol = extension.next_header().0;
                extension.slice().len()
            }
            _ => break,
        };
        payload = payload.get(len..)?;
    }
    let (src, dst): (Ipv6Addr, Ipv6Addr) = (header.source_addr(), header.destination_addr());
    Some(QuotedIp { src: IpAddr::V6(src), dst: IpAddr::V6(dst), protocol, payload })
}
