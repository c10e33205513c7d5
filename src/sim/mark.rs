//! Congestion told by a mark instead of a loss (RFC 3168 section 5).

use crate::proto::wire::checksum;

/// The two bits of ECN in the octet of traffic class or type of service.
const ECN: u8 = 0b11;
const NOT_CAPABLE: u8 = 0b00;

/// Marks a datagram "congestion experienced" if its sender can be told so. `false` if it can't, or is no datagram.
pub(super) fn congestion(bytes: &mut [u8]) -> bool {
    match bytes {
        [first, tos, rest @ ..] if *first >> 4 == 4 && rest.len() >= 18 => {
            if *tos & ECN == NOT_CAPABLE {
                return false;
            }
            let before = u16::from_be_bytes([*first, *tos]);
            *tos |= ECN;
            let after = u16::from_be_bytes([*first, *tos]);
            // The header checksum, from byte 10 of the header.
            if let Some([high, low]) = rest.get_mut(8..10) {
                let sum = checksum::updated(u16::from_be_bytes([*high, *low]), before, after);
                [*high, *low] = sum.to_be_bytes();
            }
            true
        }
        [first, second, rest @ ..] if *first >> 4 == 6 && rest.len() >= 38 => {
            // The traffic class lies across the first two octets; its lowest bits are bits 5 and 4 of the second.
            if *second >> 4 & ECN == NOT_CAPABLE {
                return false;
            }
            *second |= ECN << 4;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::HeaderBuf;
    use crate::proto::wire::ip::{self, IpHeader};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn datagram(is_v4: bool, tos: u8, ident: u16) -> Vec<u8> {
        let (src, dst) = if is_v4 { ("10.0.0.1", "10.0.0.2") } else { ("fd00::1", "fd00::2") };
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        let header = IpHeader {
            src,
            dst,
            protocol: 17,
            hop_limit: 9,
            tos,
            ident,
            dont_fragment: false,
            flow_label: 0,
        };
        let mut bytes = HeaderBuf::new();
        header.write(4, &mut bytes);
        [&bytes[..], b"text"].concat()
    }

    proptest! {
        #[test]
        fn a_mark_is_all_that_changes_and_the_header_still_holds(is_v4: bool, tos: u8, ident: u16) {
            let mut bytes = datagram(is_v4, tos, ident);
            let is_capable = tos & 3 != 0;
            prop_assert_eq!(congestion(&mut bytes), is_capable);
            let expected = datagram(is_v4, if is_capable { tos | 3 } else { tos }, ident);
            prop_assert_eq!(&bytes, &expected);
            prop_assert!(ip::parse(&bytes).is_ok());
        }

        #[test]
        fn whatever_is_no_datagram_is_left_alone(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut marked = bytes.clone();
            if !congestion(&mut marked) {
                prop_assert_eq!(marked, bytes);
            }
        }
    }
}
