//! Options of IPv4 (RFC 791 section 3.1): walked, and found well-formed or not.
//!
//! Owns what an option looks like. Owns not what is done about one, which is
//! [`ip::options`](crate::proto::ip)'s. Record route and timestamp are checked as strictly as Linux checks
//! them, since whoever is to write into them must not have to ask again; options that nobody here knows are
//! skipped by their length (RFC 1122 section 3.2.1.8).

/// End of the list: what follows is padding.
pub(crate) const END: u8 = 0;
const NO_OPERATION: u8 = 1;
/// Every router writes its address.
pub(crate) const RECORD_ROUTE: u8 = 7;
/// Every router writes the time, and perhaps its address.
pub(crate) const TIMESTAMP: u8 = 68;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;
/// Every router looks closer (RFC 2113). None of the protocols that use it is spoken here.
const ROUTER_ALERT: u8 = 148;

/// The flag of a timestamp option whose entries are times alone.
pub(crate) const FLAG_TIMES: u8 = 0;
/// Its entries are addresses with times.
pub(crate) const FLAG_ADDRESSES: u8 = 1;
/// Its entries are for the hosts that the sender has named.
pub(crate) const FLAG_PRESPECIFIED: u8 = 3;

/// What is to be known of the options before a packet is looked at any further.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Inspected {
    /// A loose or strict source route is among them.
    pub(super) source_routed: bool,
    /// Where the first of them is not as it should be, in bytes from the first of the options.
    pub(super) malformed_at: Option<usize>,
}

/// Walks all options.
//= RFC9293 MUST-50
#[cold]
pub(super) fn inspect(options: &[u8]) -> Inspected {
    let mut inspected = Inspected::default();
    let (mut seen_route, mut seen_times) = (false, false);
    for option in walk(options) {
        let (at, option) = match option {
            Ok(found) => found,
            Err(at) => return Inspected { malformed_at: Some(at), ..inspected },
        };
        let kind = option.first().copied().unwrap_or_default();
        inspected.source_routed |= matches!(kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE);
        // RFC 791 section 3.1: record route and timestamp appear at most once in a datagram.
        let seen_before = match kind {
            RECORD_ROUTE => core::mem::replace(&mut seen_route, true),
            TIMESTAMP => core::mem::replace(&mut seen_times, true),
            _ => false,
        };
        //= RFC791 3.1 once
        let trouble = if seen_before { Some(0) } else { trouble_in(kind, option) };
        if let Some(trouble) = trouble {
            return Inspected { malformed_at: Some(at + trouble), ..inspected };
        }
    }
    inspected
}

/// The options but "no operation", each with where it begins, in bytes from the first; or where one begins that
/// does not end.
pub(crate) fn walk(options: &[u8]) -> Walk<'_> {
    Walk { options, at: 0 }
}

/// What [`walk`] returns.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    options: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<(usize, &'a [u8]), usize>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let at = self.at;
            let rest = self.options.get(at..)?;
            let len = match *rest {
                //= RFC791 3.1 end of options
                [] | [END, ..] => return None,
                //= RFC791 3.1 options
                [NO_OPERATION, ..] => {
                    self.at += 1;
                    continue;
                }
                [_, len, ..] if len >= 2 => usize::from(len),
                [_, ..] => 0,
            };
            // What follows an option that does not end can't be told from noise.
            self.at = if len == 0 { self.options.len() } else { at + len };
            return Some(match rest.get(..len) {
                Some(option) if len > 0 => Ok((at, option)),
                Some(_) | None => {
                    self.at = self.options.len();
                    Err(at)
                }
            });
        }
    }
}

/// Where an option of a known kind is not as it should be, in bytes from its own first.
fn trouble_in(kind: u8, option: &[u8]) -> Option<usize> {
    const LENGTH: usize = 1;
    const POINTER: usize = 2;
    const OVERFLOW: usize = 3;
    let len = option.len();
    // Whether an entry of so many bytes would begin in the option and end outside.
    let sticks_out = |pointer: u8, entry: usize| {
        let begin = usize::from(pointer) - 1;
        begin < len && begin + entry > len
    };
    match (kind, option) {
        //= RFC791 3.1 record route pointer
        (RECORD_ROUTE, &[_, _, pointer, ..]) => (pointer < 4 || sticks_out(pointer, 4)).then_some(POINTER),
        (TIMESTAMP, &[_, _, pointer, overflow_and_flag, ..]) => {
            let flag = overflow_and_flag & 0xf;
            let entry = if matches!(flag, FLAG_ADDRESSES | FLAG_PRESPECIFIED) { 8 } else { 4 };
            if pointer < 5 || sticks_out(pointer, entry) {
                return Some(POINTER);
            }
            //= RFC791 3.1 timestamp overflow: if the overflow count itself overflows, the original datagram is
            //# considered to be in error and is discarded.
            let overflows = is_full(option) && flag != FLAG_PRESPECIFIED && overflow_and_flag >> 4 == 0xf;
            overflows.then_some(OVERFLOW)
        }
        (RECORD_ROUTE | TIMESTAMP, _) => Some(LENGTH),
        (ROUTER_ALERT, _) => (len < 4).then_some(LENGTH),
        //= RFC1122 3.2.1.8 unknown, 3.2.1.8 obsolete
        //= RFC1812 4.2.2.6 unknown options, 5.3.13.3 stream identifier
        _ => None,
    }
}

/// Whether record route or timestamp have no room for another entry.
pub(crate) fn is_full(option: &[u8]) -> bool {
    //= RFC791 3.1 record route full
    option.get(2).is_none_or(|pointer| usize::from(*pointer) > option.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::testing::hex;
    use proptest::prelude::*;

    //= RFC791 3.1 options, 3.1 end of options, 3.1 once, 3.1 record route pointer, 3.1 timestamp overflow
    //= RFC1812 4.2.2.6 unknown options
    #[test]
    fn options_are_found_well_formed_or_not_as_linux_finds_them() {
        for (options, malformed_at) in [
            ("07070400000000 00", None),
            ("07070801020304 00", None),
            ("07070c01020304 00", None),
            ("07070300000000 00", Some(2)),
            ("07070600000000 00", Some(2)),
            ("070b050000000000000000 00", None),
            ("07020000", Some(1)),
            ("07030400", None),
            ("07200400000000 00", Some(0)),
            ("07070400000000 07070400000000 0000", Some(7)),
            ("ff000000", Some(0)),
            ("ff010000", Some(0)),
            ("9e0400ff", None),
            ("01010107", Some(3)),
            ("94040000", None),
            ("94030000", Some(1)),
            ("00ffffff", None),
            ("440c05000000000000000000", None),
            ("4408090000000001", None),
            ("440809e000000001", None),
            ("440809f000000001", Some(3)),
            ("4408040000000001", Some(2)),
            ("4408060000000001", Some(2)),
            ("44030500", Some(1)),
            ("44040500", None),
            ("4408050100000000", Some(2)),
            ("440c0df30102030400000000", None),
            ("440c05020000000000000000", None),
            ("4408050000000000 4408050000000000", Some(8)),
            ("820b000000000000000000 00", None),
        ] {
            assert_eq!(inspect(&hex(options)), Inspected { source_routed: false, malformed_at }, "{options}");
        }
    }

    #[test]
    fn source_routes_are_found_behind_others() {
        for options in ["8307040a020002 00", "01 89 07 08 0a020002", "94040000 8307040a020002 00"] {
            assert!(inspect(&hex(options)).source_routed, "{options}");
        }
        assert!(!inspect(&hex("00 8307040a020002")).source_routed);
    }

    proptest! {
        #[test]
        fn walking_ends_and_stays_inside(options in prop::collection::vec(any::<u8>(), 0..=40)) {
            let mut end = 0;
            for found in walk(&options) {
                match found {
                    Ok((at, option)) => {
                        prop_assert!(at >= end && option.len() >= 2);
                        end = at + option.len();
                        prop_assert_eq!(&options[at..end], option);
                    }
                    Err(at) => prop_assert!(at >= end && at < options.len()),
                }
            }
            if let Some(at) = inspect(&options).malformed_at {
                prop_assert!(at < options.len());
            }
        }
    }
}
