//! IPv6 extension headers (RFC 8200 section 4): followed to the payload, to a fragment, or to a problem.
//!
//! None of them asks anything of this host. What matters is to find the payload behind them, and to know
//! where to point if the packet may not be processed. `etherparse` reads each header; the chain is walked
//! here since its own walker neither keeps offsets nor looks into options.

use etherparse::{IpFragOffset, Ipv6FragmentHeaderSlice, Ipv6Header, Ipv6RawExtHeaderSlice};

use super::{FragmentInfo, Parsed, QuotedPart};
use crate::proto::counters::DropReason;
use etherparse::icmpv6 as v6;

/// Next header value of hop-by-hop options.
pub(super) const HOP_BY_HOP: u8 = 0;
/// Next header value of a routing header.
const ROUTING: u8 = 43;
/// Next header value of a fragment header.
const FRAGMENT: u8 = 44;
/// Bytes of a fragment header.
const FRAGMENT_HEADER: usize = 8;
/// Next header value of destination options.
const DESTINATION_OPTIONS: u8 = 60;

/// Extension headers followed in one packet. A packet that needs more than one of each kind is not in the
/// wild; the bound is what keeps a chain of empty headers from costing more than a packet's worth of time.
const EXTENSION_HEADERS_MAX: usize = 8;

/// Why a packet must be discarded because of its IPv6 extension headers or IPv4 options, and how that is
/// answered. All pointers count bytes from the start of the IP header.
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
    /// An option of IPv4 that contradicts itself (RFC 1122 section 3.2.2.5). Parameter problem code 0.
    MalformedOption {
        /// Of the octet in error.
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
            ExtensionProblem::MalformedOption { .. } => DropReason::IpOption,
            ExtensionProblem::ErroneousField { .. } => DropReason::FragmentMalformed,
            ExtensionProblem::UnrecognizedNextHeader { .. } | ExtensionProblem::UnrecognizedOption { .. } => {
                DropReason::ExtensionHeader
            }
        }
    }

    /// Code and pointer of the parameter problem that is due, if one is. `to_multicast`
    /// tells whether the packet went to a multicast address; only code 2 may be sent then (RFC 4443 section
    /// 2.4 e.3).
    pub fn answer(self, to_multicast: bool) -> Option<(u8, u32)> {
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
            // Of IPv4 code 0 says as much.
            ExtensionProblem::MalformedOption { pointer }
            | ExtensionProblem::RoutingSegmentsLeft { pointer }
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

/// Whether a next header value names an extension header that is followed. Authentication (51) and
/// encapsulation (50) are for protocols that nobody here speaks.
#[inline]
pub(super) fn is_extension(next_header: u8) -> bool {
    //= RFC8200 4.1 order
    matches!(next_header, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS)
}

/// Follows the chain of extension headers to its end, to a fragment, or to the first problem.
#[cold]
pub(super) fn follow(parsed: &mut Parsed<'_>) -> Result<(), DropReason> {
    let mut followed = 0;
    while is_extension(parsed.protocol) && parsed.fragment.is_none() {
        //= RFC8504 5.3 limits
        if followed == EXTENSION_HEADERS_MAX {
            return Err(DropReason::ExtensionHeader);
        }
        //= RFC8200 4 hop-by-hop
        if parsed.protocol == HOP_BY_HOP && followed > 0 {
            let pointer = parsed.protocol_at as u32;
            parsed.problem = Some(ExtensionProblem::UnrecognizedNextHeader { pointer });
        } else if parsed.protocol == FRAGMENT {
            follow_fragment(parsed)?;
        } else {
            follow_plain(parsed)?;
        }
        //= RFC8200 4 strictly in order
        if parsed.problem.is_some() {
            return Ok(());
        }
        followed += 1;
    }
    Ok(())
}

/// Looks at the first extension header alone, which is one of hop-by-hop options.
#[cold]
pub(super) fn follow_first(parsed: &mut Parsed<'_>) -> Result<(), DropReason> {
    follow_plain(parsed)
}

/// Steps over hop-by-hop options, destination options or a routing header.
fn follow_plain(parsed: &mut Parsed<'_>) -> Result<(), DropReason> {
    let at = parsed.header_len as u32;
    let extension =
        //= RFC8200 4 reserved
        Ipv6RawExtHeaderSlice::from_slice(parsed.payload).map_err(|_| DropReason::ExtensionHeader)?;
    parsed.problem = if parsed.protocol == ROUTING {
        //= RFC8504 5.2 routing type 0
        //= RFC8200 4.4 no segments left, 4.4 segments left: with segments left, discard and point at the
        //# routing type; else ignore.
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
    //= RFC8200 4.5 reserved
    let offset_bytes = usize::from(fragment.fragment_offset().value()) * 8;
    let more = fragment.more_fragments();
    let len = parsed.payload.len() - fragment.slice().len();
    //= RFC8200 4.5 fragment size: a length that is no multiple of 8 with M set points at the payload length, a
    //# reassembled length beyond 65,535 at the fragment offset.
    if more && !len.is_multiple_of(8) {
        parsed.problem = Some(ExtensionProblem::ErroneousField { pointer: 4 });
        return Ok(());
    }
    let before = parsed.header_len - Ipv6Header::LEN;
    //= RFC8200 4.5 largest packet
    if before + offset_bytes + len > usize::from(u16::MAX) {
        parsed.problem = Some(ExtensionProblem::ErroneousField { pointer: at + 2 });
        return Ok(());
    }
    //= RFC6946 section 4: an atomic fragment is processed in isolation from all other fragments.
    //= RFC8200 4.5 atomic
    //= RFC8504 5.1 atomic fragments
    if more || offset_bytes > 0 {
        parsed.fragment = Some(FragmentInfo { offset_bytes, more, ident: fragment.identification() });
    }
    step_over(parsed, fragment.slice().len(), fragment.next_header().0);
    Ok(())
}

/// The problem that a fragment header is which ends at `end`, where none may be.
pub(super) fn fragment_before(end: usize) -> ExtensionProblem {
    ExtensionProblem::ErroneousField { pointer: end.saturating_sub(FRAGMENT_HEADER) as u32 }
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
            //= RFC8200 4.2 padding
            [PAD_1, ..] => 1,
            [kind, len, ..] => {
                let action = match kind >> 6 {
                    //= RFC8200 4.2 00
                    0b00 => None,
                    //= RFC8200 4.2 01
                    0b01 => Some(OptionAction::Discard),
                    //= RFC8200 4.2 10
                    0b10 => Some(OptionAction::Report),
                    //= RFC8200 4.2 11
                    _ => Some(OptionAction::ReportUnlessMulticast),
                };
                if let Some(action) = action {
                    //= RFC8200 4.2 order
                    //= RFC8504 5.2 extension headers
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

/// Steps over the extension headers of a packet that is quoted and may be cut off: what they lead to, and how
/// much of it is there. Nothing is, behind the header of a fragment that isn't the first.
/// `None` if the chain itself is cut off or too long.
pub(super) fn skip_quoted(mut protocol: u8, mut payload: &[u8]) -> Option<(u8, &[u8], QuotedPart)> {
    let mut part = QuotedPart::Whole;
    for _ in 0..=EXTENSION_HEADERS_MAX {
        let len = match protocol {
            FRAGMENT => {
                let fragment = Ipv6FragmentHeaderSlice::from_slice(payload).ok()?;
                protocol = fragment.next_header().0;
                if fragment.fragment_offset() != IpFragOffset::ZERO {
                    return Some((protocol, &[], QuotedPart::Later));
                }
                part = QuotedPart::First;
                fragment.slice().len()
            }
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                let extension = Ipv6RawExtHeaderSlice::from_slice(payload).ok()?;
                protocol = extension.next_header().0;
                extension.slice().len()
            }
            _ => return Some((protocol, payload, part)),
        };
        payload = payload.get(len..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::proto::wire::icmp;
    use crate::proto::wire::ip::{
        PROTOCOL_ICMPV6, PROTOCOL_NO_NEXT_HEADER, PROTOCOL_TCP, PROTOCOL_UDP, parse,
    };
    use crate::proto::wire::testing::{hex, ipv6_chain};

    fn problem(bytes: &[u8]) -> Option<ExtensionProblem> {
        parse(bytes).unwrap().problem
    }

    /// Eight bytes of padding options, or of a used-up routing header of type 0.
    const PADDING: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
    const ROUTE_DONE: &[u8] = &[0, 0, 0, 0, 0, 0, 0];

    //= RFC6946 section 4
    //= RFC8200 4.5 reserved, 4.5 atomic
    //= RFC8504 5.1 atomic fragments
    #[test]
    fn an_atomic_fragment_is_whole() {
        let bytes = ipv6_chain(&[(FRAGMENT, &[0, 0, 0, 1, 2, 3, 4])], PROTOCOL_UDP, b"text");
        let parsed = parse(&bytes).unwrap();
        assert_eq!((parsed.fragment, parsed.protocol, parsed.payload), (None, PROTOCOL_UDP, &b"text"[..]));
        let bytes = ipv6_chain(
            &[(FRAGMENT, &[0, 0, 6, 1, 2, 3, 4]), (DESTINATION_OPTIONS, PADDING)],
            PROTOCOL_TCP,
            b"text",
        );
        let parsed = parse(&bytes).unwrap();
        assert_eq!((parsed.fragment, parsed.protocol, parsed.payload), (None, PROTOCOL_TCP, &b"text"[..]));
    }

    //= RFC8200 4.5 fragment size, 4.5 largest packet
    #[test]
    fn a_fragment_that_can_t_be_part_of_a_datagram_is_a_problem() {
        let reaching = ipv6_chain(&[(FRAGMENT, &[0, 0xff, 0xf8, 0, 0, 0, 9])], PROTOCOL_UDP, &[0; 8]);
        assert_eq!(problem(&reaching), Some(ExtensionProblem::ErroneousField { pointer: 42 }));
        // 65,520 + 8 bytes fit, but not behind eight more that belong to every fragment.
        let fragment: &[u8] = &[0, 0xff, 0xf0, 0, 0, 0, 9];
        let fitting = ipv6_chain(&[(FRAGMENT, fragment)], PROTOCOL_UDP, &[0; 8]);
        assert_eq!(problem(&fitting), None);
        let pushed = ipv6_chain(&[(HOP_BY_HOP, PADDING), (FRAGMENT, fragment)], PROTOCOL_UDP, &[0; 8]);
        assert_eq!(problem(&pushed), Some(ExtensionProblem::ErroneousField { pointer: 50 }));
        let uneven = ipv6_chain(&[(FRAGMENT, &[0, 0, 1, 0, 0, 0, 9])], PROTOCOL_UDP, &[0; 7]);
        assert_eq!(problem(&uneven), Some(ExtensionProblem::ErroneousField { pointer: 4 }));
    }

    #[test]
    fn what_follows_a_real_fragment_header_is_left_alone() {
        let chain: &[(u8, &[u8])] = &[(FRAGMENT, &[0, 0, 1, 0, 0, 0, 9]), (HOP_BY_HOP, PADDING)];
        let bytes = ipv6_chain(chain, PROTOCOL_UDP, b"");
        let parsed = parse(&bytes).unwrap();
        assert_eq!((parsed.protocol, parsed.payload, parsed.problem), (HOP_BY_HOP, &bytes[48..], None));
        assert_eq!((parsed.header_len, parsed.protocol_at), (48, 40));
    }

    //= RFC8200 4.1 order, 4.2 padding
    #[test]
    fn extension_headers_are_stepped_over_in_any_order() {
        let kernel = hex("6001d8df00113c40fd090000000000000000000000000001fd090000000000000000000000000002
             1100010400000000 84180007000909a678");
        let parsed = parse(&kernel).unwrap();
        assert_eq!((parsed.protocol, parsed.payload), (PROTOCOL_UDP, &kernel[48..]));
        assert_eq!((parsed.protocol_at, parsed.header_len, parsed.problem), (40, 48, None));

        // Router alert and padding; a routing header that is used up; an option that may be skipped.
        let alert = [0, 5, 2, 0, 0, 1, 0];
        let skippable = [1, 0x3e, 3, 9, 9, 9, 0, 0, 0, 0, 1, 3, 0, 0, 0];
        let chain: &[(u8, &[u8])] = &[
            (HOP_BY_HOP, &alert),
            (DESTINATION_OPTIONS, PADDING),
            (ROUTING, ROUTE_DONE),
            (FRAGMENT, &[0, 0, 0, 0, 0, 0, 9]),
            (DESTINATION_OPTIONS, &skippable),
            (ROUTING, ROUTE_DONE),
        ];
        let bytes = ipv6_chain(chain, PROTOCOL_ICMPV6, b"text");
        let parsed = parse(&bytes).unwrap();
        assert_eq!((parsed.protocol, parsed.payload, parsed.problem), (PROTOCOL_ICMPV6, &b"text"[..], None));
        assert_eq!(bytes[parsed.protocol_at], PROTOCOL_ICMPV6);
        for none_followed in [PROTOCOL_NO_NEXT_HEADER, 50, 51, 135, 255] {
            let bytes = ipv6_chain(&[(DESTINATION_OPTIONS, PADDING)], none_followed, b"text");
            assert_eq!(parse(&bytes).unwrap().protocol, none_followed);
        }
    }

    //= RFC8200 4 reserved
    //= RFC8504 5.3 limits
    #[test]
    fn a_chain_that_is_too_long_or_cut_off_is_refused() {
        let chain = |count| ipv6_chain(&vec![(DESTINATION_OPTIONS, PADDING); count], PROTOCOL_UDP, b"text");
        assert_eq!(parse(&chain(EXTENSION_HEADERS_MAX)).unwrap().protocol, PROTOCOL_UDP);
        assert_eq!(parse(&chain(EXTENSION_HEADERS_MAX + 1)), Err(DropReason::ExtensionHeader));
        for kind in [HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS] {
            for len in 1..7 {
                let cut = ipv6_chain(&[(kind, &PADDING[..len])], PROTOCOL_UDP, b"");
                assert_eq!(parse(&cut), Err(DropReason::ExtensionHeader), "{kind} {len}");
            }
        }
        let longer_than_the_packet =
            ipv6_chain(&[(DESTINATION_OPTIONS, &[1, 1, 4, 0, 0, 0, 0])], PROTOCOL_UDP, b"text");
        assert_eq!(parse(&longer_than_the_packet), Err(DropReason::ExtensionHeader));
        for malformed in [[0, 1, 5, 0, 0, 0, 0], [0, 1, 3, 0, 0, 0, 1], [0, 5, 255, 0, 0, 0, 0]] {
            let bytes = ipv6_chain(&[(HOP_BY_HOP, &malformed)], PROTOCOL_UDP, b"text");
            assert_eq!(parse(&bytes), Err(DropReason::ExtensionHeader));
        }
    }

    //= RFC8200 4 hop-by-hop
    #[test]
    fn hop_by_hop_options_stand_first_or_are_a_problem() {
        let bytes =
            ipv6_chain(&[(DESTINATION_OPTIONS, PADDING), (HOP_BY_HOP, PADDING)], PROTOCOL_UDP, b"text");
        let found = problem(&bytes).unwrap();
        assert_eq!(found, ExtensionProblem::UnrecognizedNextHeader { pointer: 40 });
        assert_eq!(found.answer(false), Some((1, 40)));
        assert_eq!((found.answer(true), found.drop_reason()), (None, DropReason::ExtensionHeader));
    }

    //= RFC8200 4.2 00, 4.2 01, 4.2 10, 4.2 11
    #[test]
    fn an_option_s_highest_bits_say_what_becomes_of_the_packet() {
        for header in [HOP_BY_HOP, DESTINATION_OPTIONS] {
            let answers = |kind: u8| {
                let bytes = ipv6_chain(&[(header, &[0, 1, 0, kind, 2, 0, 0])], PROTOCOL_UDP, b"text");
                problem(&bytes).map(|problem| (problem.answer(false), problem.answer(true)))
            };
            assert_eq!(answers(0x1e), None);
            assert_eq!(answers(0x5e), Some((None, None)));
            assert_eq!(answers(0x9e), Some((Some((2, 44)), Some((2, 44)))));
            assert_eq!(answers(0xde), Some((Some((2, 44)), None)));
        }
    }

    //= RFC8200 4.4 no segments left, 4.4 segments left
    #[test]
    fn a_routing_header_with_segments_left_is_a_problem_whatever_its_type() {
        for kind in [0, 2, 4, 200] {
            let bytes = ipv6_chain(
                &[(HOP_BY_HOP, PADDING), (ROUTING, &[0, kind, 1, 0, 0, 0, 0])],
                PROTOCOL_UDP,
                b"text",
            );
            let found = problem(&bytes).unwrap();
            assert_eq!(found, ExtensionProblem::RoutingSegmentsLeft { pointer: 50 });
            assert_eq!((found.answer(false), found.drop_reason()), (Some((0, 50)), DropReason::SourceRouted));
            let used_up = ipv6_chain(&[(ROUTING, &[0, kind, 0, 0, 0, 0, 0])], PROTOCOL_UDP, b"text");
            assert_eq!(problem(&used_up), None);
        }
    }

    proptest! {
        #[test]
        fn any_chain_of_harmless_headers_ends_at_the_payload(
            kinds in prop::collection::vec(
                prop::sample::select(vec![(DESTINATION_OPTIONS, PADDING), (ROUTING, ROUTE_DONE), (FRAGMENT, ROUTE_DONE)]),
                0..=EXTENSION_HEADERS_MAX,
            ),
            last in prop::sample::select(vec![6u8, 17, 50, 51, 58, 59, 200]),
            payload in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let bytes = ipv6_chain(&kinds, last, &payload);
            let parsed = parse(&bytes).unwrap();
            prop_assert_eq!((parsed.protocol, parsed.payload, parsed.problem), (last, &payload[..], None));
            prop_assert_eq!(bytes[parsed.protocol_at], last);
            prop_assert_eq!(parsed.header_len, 40 + 8 * kinds.len());
            let quoted = icmp::quoted(&bytes).unwrap();
            prop_assert_eq!((quoted.protocol, quoted.transport), (last, &payload[..]));
            for cut in 0..bytes.len() {
                let _ = icmp::quoted(&bytes[..cut]);
                prop_assert!(parse(&bytes[..cut]).is_err());
            }
        }
    }
}
