//! Options of IPv4 that ask something of who handles the packet: record route and timestamp.
//!
//! Owns what is written into them, as the packet goes on ([`forward`]) and as it is answered ([`answer`]). Owns
//! not what an option looks like, which is [`wire`](crate::proto::wire::ip::options)'s, where a packet with a
//! malformed one has been refused already. RFC 791 section 3.1, RFC 1122 section 3.2.1.8, RFC 1812 section 5.3.13.
//!
//! Where the RFCs leave something open, this does what Linux does: a route is recorded by the address of the
//! interface that the packet leaves by, a time by that of the interface that it came by; an answer has been
//! through here twice, coming and going; options that nobody here knows go on unchanged, and do not come back.

use core::net::{IpAddr, Ipv4Addr};

use arrayvec::ArrayVec;

use super::{Datagram, Layer};
use crate::proto::wire::ip::options::{
    END, FLAG_ADDRESSES, FLAG_PRESPECIFIED, FLAG_TIMES, RECORD_ROUTE, TIMESTAMP, is_full, walk,
};
use crate::time::Instant;

/// All options of a header.
pub(crate) type Options = ArrayVec<u8, OPTIONS_MAX>;

/// A header has at most 60 bytes, of which 20 are its fixed part.
const OPTIONS_MAX: usize = 40;

/// What there is to be written.
pub(crate) struct Here<'a> {
    /// The address for recorded routes.
    pub(crate) route_address: Ipv4Addr,
    /// The address for times.
    pub(crate) time_address: Ipv4Addr,
    /// Whether the sender means us by an address.
    pub(crate) is_ours: &'a dyn Fn(Ipv4Addr) -> bool,
    /// The time, as the option has it: milliseconds since midnight UT, or anything with the highest bit set.
    pub(crate) time: u32,
}

/// Writes into the options of a packet that goes on. `options` are well-formed.
pub(crate) fn forward(options: &mut [u8], here: &Here<'_>) {
    let mut places: ArrayVec<(usize, usize), OPTIONS_MAX> = ArrayVec::new();
    places.extend(walk(options).flatten().map(|(at, option)| (at, option.len())));
    for (at, len) in places {
        if let Some(option) = options.get_mut(at..at + len) {
            record(option, here, true);
        }
    }
}

/// The options of an answer to a datagram: its recorded route and times, `ours` (the address that answers) added once
/// for its arrival and once for the departure, as far as there is room.
// RFC 1122 section 3.2.2.6: if a record route and/or timestamp option is received in an ICMP echo request, this
// option (these options) SHOULD be updated to include the current host and included in the IP header of the
// echo reply message.
pub(crate) fn answer(layer: &Layer, datagram: &Datagram<'_>, ours: IpAddr) -> Options {
    match (of(datagram.whole), ours) {
        ([], _) | (_, IpAddr::V6(_)) => Options::new(),
        (options, IpAddr::V4(ours)) => {
            let here = Here {
                route_address: ours,
                time_address: ours,
                is_ours: &|address| layer.is_local(IpAddr::V4(address)),
                time: layer.wall_clock.timestamp(datagram.at),
            };
            answered(options, &here)
        }
    }
}

#[cold]
fn answered(options: &[u8], here: &Here<'_>) -> Options {
    let mut answer = Options::new();
    //= RFC1122 3.2.2.6 record route, 3.2.2.6 timestamp
    //= RFC1812 4.2.2.1 own timestamp
    for wanted in [RECORD_ROUTE, TIMESTAMP] {
        let found = walk(options).flatten().find(|(_, option)| option.first() == Some(&wanted));
        let Some((_, option)) = found else { continue };
        let begin = answer.len();
        // Each comes once and all fit into one header.
        if answer.try_extend_from_slice(option).is_err() {
            break;
        }
        if let Some(copy) = answer.get_mut(begin..) {
            record(copy, here, true);
            record(copy, here, false);
        }
    }
    while answer.len() % 4 != 0 && answer.try_push(END).is_ok() {}
    answer
}

/// The options of an IPv4 header; none of IPv6's, or of what is no header.
fn of(whole: &[u8]) -> &[u8] {
    let header_len = match whole.first() {
        Some(first) if first >> 4 == 4 => usize::from(first & 0xf) * 4,
        Some(_) | None => 0,
    };
    whole.get(V4_HEADER..header_len).unwrap_or_default()
}

const V4_HEADER: usize = 20;

/// What the stack knows of the time of day.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WallClock {
    /// Nanoseconds of UT that had passed since 1970 at [`Instant::ZERO`](crate::time::Instant::ZERO).
    epoch_ns: Option<u64>,
}

impl WallClock {
    /// Learns the time of day: nanoseconds from 1970 (UT) to the zero of [`Instant`].
    pub(crate) fn set(&mut self, epoch_ns: u64) {
        self.epoch_ns = Some(epoch_ns);
    }

    /// A time as options and messages have it.
    // RFC 791 section 3.1: the timestamp is a right-justified, 32-bit timestamp in milliseconds since midnight UT.
    // If the time is not available in milliseconds or cannot be provided with respect to midnight UT then any time
    // may be inserted as a timestamp provided the high order bit of the timestamp field is set to one.
    pub(crate) fn timestamp(&self, now: Instant) -> u32 {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let ms = now.as_nanos().saturating_add(self.epoch_ns.unwrap_or(0)) / 1_000_000;
        let of_the_day = (ms % DAY_MS) as u32;
        //= RFC1122 3.2.1.8 timestamp
        //= RFC791 3.1 timestamp value
        if self.epoch_ns.is_some() { of_the_day } else { of_the_day | NOT_SINCE_MIDNIGHT }
    }
}

const NOT_SINCE_MIDNIGHT: u32 = 1 << 31;

/// Writes an entry into an option, if it is one that takes entries and has room. `counts` if we are to be
/// counted among those who found none.
fn record(option: &mut [u8], here: &Here<'_>, counts: bool) {
    match option.first() {
        //= RFC1812 5.3.13.5 record route
        Some(&RECORD_ROUTE) => add(option, &here.route_address.octets()),
        //= RFC1812 5.3.13.6 timestamp
        Some(&TIMESTAMP) => record_time(option, here, counts),
        //= RFC1812 4.2.2.1 understood, 5.3.13.1 unknown options
        Some(_) | None => {}
    }
}

fn record_time(option: &mut [u8], here: &Here<'_>, counts: bool) {
    let Some(&[_, _, pointer, overflow_and_flag]) = option.first_chunk() else { return };
    let flag = overflow_and_flag & 0xf;
    if is_full(option) {
        // Whoever was named by the sender has found room. A count that overflows has been refused.
        if counts
            && flag != FLAG_PRESPECIFIED
            && let Some(field) = option.get_mut(3)
        {
            //= RFC791 3.1 timestamp overflow
            *field = overflow_and_flag.saturating_add(0x10);
        }
        return;
    }
    let time = here.time.to_be_bytes();
    let [t0, t1, t2, t3] = time;
    match flag {
        FLAG_TIMES => add(option, &time),
        FLAG_ADDRESSES => {
            let [a, b, c, d] = here.time_address.octets();
            add(option, &[a, b, c, d, t0, t1, t2, t3]);
        }
        // RFC 1812 section 5.3.13.6: if the flags field = 3, the router MUST add its timestamp if the next
        // prespecified address matches any of the router's IP addresses.
        FLAG_PRESPECIFIED => {
            let named =
                option.get(usize::from(pointer).saturating_sub(1)..).and_then(|rest| rest.first_chunk());
            let Some(&[a, b, c, d]) = named else { return };
            //= RFC791 3.1 timestamp prespecified
            if (here.is_ours)(Ipv4Addr::new(a, b, c, d)) {
                add(option, &[a, b, c, d, t0, t1, t2, t3]);
            }
        }
        _ => {}
    }
}

/// Writes an entry where the pointer points, and moves that on. One that points before the first entry, as no
/// well-formed option has it, has nothing written there: what the option is stays.
fn add(option: &mut [u8], entry: &[u8]) {
    let Some(&[kind, _, pointer]) = option.first_chunk() else { return };
    // The smallest legal values of RFC 791 section 3.1: 4, and 5 behind overflow and flag.
    let smallest = if kind == TIMESTAMP { 5 } else { 4 };
    if pointer < smallest {
        return;
    }
    let begin = usize::from(pointer) - 1;
    //= RFC791 3.1 record route full
    let Some(place) = option.get_mut(begin..begin + entry.len()) else { return };
    place.copy_from_slice(entry);
    if let Some(field) = option.get_mut(2) {
        *field = pointer.saturating_add(entry.len() as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ip::testing::{World, datagram, header, ip};
    use crate::proto::wire;
    use crate::proto::wire::checksum::Sum;
    use crate::proto::wire::testing::hex;
    use alloc::vec::Vec;
    use core::time::Duration;
    use proptest::prelude::*;

    const TIME: u32 = 0x0512_ec00;

    fn here<'a>(is_ours: &'a dyn Fn(Ipv4Addr) -> bool) -> Here<'a> {
        let (route_address, time_address) = (Ipv4Addr::new(10, 2, 0, 1), Ipv4Addr::new(10, 1, 0, 1));
        Here { route_address, time_address, is_ours, time: TIME }
    }

    fn is_ours(address: Ipv4Addr) -> bool {
        address == Ipv4Addr::new(10, 2, 0, 1) || address == Ipv4Addr::new(10, 1, 0, 1)
    }

    //= RFC791 3.1 record route full, 3.1 timestamp prespecified, 3.1 timestamp overflow
    //= RFC1812 4.2.2.1 understood, 4.2.2.6 unknown options
    #[test]
    fn options_go_on_as_linux_sends_them_on() {
        //= RFC1812 5.3.13.1 unknown options: unrecognized IP options in forwarded packets MUST be passed
        //# through unchanged.
        //= RFC1812 5.3.13.5 record route: routers MUST support the record route option in forwarded packets.
        //= RFC1812 5.3.13.6 timestamp: routers MUST support the timestamp option in forwarded packets.
        for (before, after) in [
            ("0707040000000000", "0707080a02000100"),
            ("070b04000000000000000000", "070b080a0200010000000000"),
            ("0707080102030400", "0707080102030400"),
            ("07070c0102030400", "07070c0102030400"),
            ("070b05000000000000000000", "070b09000a02000100000000"),
            ("07030400", "07030400"),
            ("9e0400ff", "9e0400ff"),
            ("94040000", "94040000"),
            ("01070b040000000000000000", "01070b080a02000100000000"),
            ("440c05000000000000000000", "440c09000512ec0000000000"),
            ("4408090000000001", "4408091000000001"),
            ("440809e000000001", "440809f000000001"),
            ("44040500", "44040510"),
            ("4414050100000000000000000000000000000000", "44140d010a0100010512ec000000000000000000"),
            ("440c05030a01000100000000", "440c0d030a0100010512ec00"),
            ("440c05030a02000100000000", "440c0d030a0200010512ec00"),
            ("440c05030102030400000000", "440c05030102030400000000"),
            ("440c0df30102030400000000", "440c0df30102030400000000"),
            ("440c05020000000000000000", "440c05020000000000000000"),
            ("440805000000000007070400000000 00", "440809000512ec0007070 80a02000100"),
            ("44080500000000009e0400ff", "440809000512ec009e0400ff"),
        ] {
            let mut options = hex(before);
            forward(&mut options, &here(&is_ours));
            assert_eq!(options, hex(after), "{before}");
        }
    }

    //= RFC1812 4.2.2.1 own timestamp
    #[test]
    fn options_are_answered_as_linux_answers_them() {
        //= RFC1122 3.2.2.6 record route, 3.2.2.6 timestamp
        for (asked, answer) in [
            ("0707040000000000", "0707080a09000200"),
            ("070b04000000000000000000", "070b0c0a0900020a09000200"),
            ("0707080102030400", "0707080102030400"),
            ("9e0400ff", ""),
            ("94040000", ""),
            ("01070b040000000000000000", "070b0c0a0900020a09000200"),
            ("00ffffff", ""),
            ("440c05000000000000000000", "440c0d000512ec000512ec00"),
            ("4408090000000001", "4408091000000001"),
            ("440809e000000001", "440809f000000001"),
            ("44040500", "44040510"),
            ("4414050100000000000000000000000000000000", "441415010a0900020512ec000a0900020512ec00"),
            ("440c05010000000000000000", "440c0d010a0900020512ec00"),
            ("441405030a090002000000000a09000200000000", "441415030a0900020512ec000a0900020512ec00"),
            ("440c05030102030400000000", "440c05030102030400000000"),
            ("440c05020000000000000000", "440c05020000000000000000"),
            ("44080500000000000707040000000000", "0707080a090002440809000512ec0000"),
            ("44080500000000009e0400ff", "440809000512ec00"),
        ] {
            let ours = Ipv4Addr::new(10, 9, 0, 2);
            let here = Here {
                route_address: ours,
                time_address: ours,
                is_ours: &|address| address == ours,
                time: TIME,
            };
            assert_eq!(answered(&hex(asked), &here)[..], hex(answer), "{asked}");
        }
    }

    #[test]
    fn no_entry_is_written_where_an_option_says_what_it_is() {
        for malformed in [
            "0704000000000000",
            "07070000000000 00",
            "07070300000000 00",
            "4408000000000000",
            "4408040000000000",
            "440c000100000000 00000000",
            "440c040300000000 00000000",
        ] {
            let mut options = hex(malformed);
            forward(&mut options, &here(&|_| true));
            assert_eq!(options, hex(malformed));
        }
    }

    #[test]
    fn a_ping_with_options_is_answered_with_options() {
        let mut world = World::new();
        world.ip.wall_clock.set(Duration::from_secs(86_400 * 20_000).as_nanos() as u64);
        let options = hex("070b04000000000000000000");
        let mut ping =
            datagram(&header("10.9.0.1", "10.9.0.2", 1), &[&options, &hex("0800f7fe00000001")[..]].concat());
        ping[0] = 0x48;
        ping[10..12].fill(0);
        let mut sum = Sum::new();
        sum.add(&ping[..32]);
        ping[10..12].copy_from_slice(&sum.finish().to_be_bytes());
        let mut udp = crate::proto::udp::Sockets::new([1; 16]);
        let packet = crate::proto::Packet::plain(&ping, world.now);
        world.receive(&mut udp, crate::proto::ip::testing::TUN, &packet).unwrap();
        let (_, reply) = world.sent().unwrap();
        let read = wire::ip::parse(&reply).unwrap();
        assert_eq!((read.src, read.problem), (ip("10.9.0.2"), None));
        assert_eq!(of(&reply), hex("070b0c0a0900020a09000200"));
        assert_eq!(read.payload, hex("0000fffe00000001"));
    }

    //= RFC1122 3.2.1.8 timestamp
    #[test]
    fn the_time_is_that_of_the_day_or_marked_as_none() {
        //= RFC791 3.1 timestamp value: any time may be inserted as a timestamp provided the high order bit of
        //# the timestamp field is set to one.
        let mut clock = WallClock::default();
        let now = Instant::from_millis(5);
        assert_eq!(clock.timestamp(now), 1 << 31 | 5);
        clock.set(Duration::from_secs(86_400 * 20_000 + 3600).as_nanos() as u64);
        assert_eq!(clock.timestamp(now), 3_600_005);
        clock.set(Duration::from_secs(86_400 * 20_000).as_nanos() as u64 - 1_000_000);
        assert_eq!(clock.timestamp(Instant::ZERO), 86_399_999);
        clock.set(u64::MAX);
        assert!(clock.timestamp(now) < 86_400_000);
    }

    /// Options that make sense more often than not.
    fn any_options() -> impl Strategy<Value = Vec<u8>> {
        let option = prop_oneof![
            Just(alloc::vec![1]),
            (0u8..5, 0usize..4).prop_map(|(pointer, slots)| {
                let mut option = alloc::vec![RECORD_ROUTE, 3 + 4 * slots as u8, 4 + 4 * pointer];
                option.resize(3 + 4 * slots, 0);
                option
            }),
            (0u8..5, 0usize..4, any::<u8>()).prop_map(|(pointer, slots, flag)| {
                let mut option = alloc::vec![TIMESTAMP, 4 + 4 * slots as u8, 5 + 4 * pointer, flag & 0xf3];
                option.resize(4 + 4 * slots, 10);
                option
            }),
            prop::collection::vec(any::<u8>(), 1..8),
        ];
        prop::collection::vec(option, 0..5).prop_map(|options| {
            let mut options = options.concat();
            options.truncate(OPTIONS_MAX);
            options
        })
    }

    proptest! {
        #[test]
        fn nothing_but_free_entries_is_written_and_all_stays_well_formed_or_full(options in any_options()) {
            // Malformed ones are refused before; here they must do no harm.
            let mut after = options.clone();
            forward(&mut after, &here(&|_| true));
            prop_assert_eq!(after.len(), options.len());
            let kinds = |options: &[u8]| -> Vec<(usize, u8, u8)> {
                walk(options).flatten().map(|(at, option)| (at, option[0], option[1])).collect()
            };
            prop_assert_eq!(kinds(&after), kinds(&options));
            prop_assert!(answered(&options, &here(&|_| true)).len() <= OPTIONS_MAX);
        }
    }
}
