//! Initial sequence numbers (RFC 6528, RFC 9293 section 3.4.1), and where the clocks of timestamps begin (RFC 7323 section 7.1).
//!
//! Owns the key of one function of the four-tuple, whose halves are what either clock is ahead by: they are independent, so
//! that both may be told to the peer, and they cost one hash a connection.

use super::demux::FourTuple;
use super::timestamps::TimestampClock;
use crate::proto::wire::tcp::SeqNr;
use crate::time::Instant;

/// Chooses initial numbers: a clock plus a keyed function of the four-tuple.
#[derive(Clone)]
pub(crate) struct IsnGenerator {
    key: [u8; 16],
}

impl IsnGenerator {
    //= RFC9293 MUST-9: without the per-boot key the function can't be computed from outside.
    pub(crate) fn new(key: [u8; 16]) -> Self {
        IsnGenerator { key }
    }

    /// The numbers of connections between two ends.
    pub(crate) fn of(&self, tuple: &FourTuple) -> Offsets {
        //= RFC9293 SHLD-1
        //= RFC6528 3 secret
        let number = tuple.secret_number(&self.key);
        Offsets { isn: SeqNr(number as u32), clock: TimestampClock::ahead_by((number >> 32) as u32) }
    }
}

/// What is added to the clocks of all connections between two ends. It is the same for each that they have, one after the
/// other: the next one's timestamps follow upon those of the last (RFC 6191).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offsets {
    /// F of RFC 6528.
    pub(crate) isn: SeqNr,
    //= RFC7323 7 offset
    //= RFC6191 3 increasing
    pub(crate) clock: TimestampClock,
}

impl Offsets {
    /// The initial sequence number of a connection opened at `now`.
    pub(crate) fn isn_at(&self, now: Instant) -> SeqNr {
        //= RFC9293 MUST-8: M is a clock that ticks every 4 microseconds.
        //= RFC6528 3 clock
        let clock = (now.as_micros() / 4) as u32;
        self.isn.plus(clock)
    }

    /// That of a connection that takes the place of one in TIME-WAIT, whose next sequence number was
    /// `old_nxt`: beyond everything the old one has sent (RFC 9293 MAY-2).
    pub(crate) fn isn_above(&self, now: Instant, old_nxt: SeqNr) -> SeqNr {
        let isn = self.isn_at(now);
        if isn.minus(old_nxt) > 0 { isn } else { old_nxt.plus(Self::ABOVE) }
    }

    /// Room above an old connection: one unscaled window and a SYN and FIN.
    const ABOVE: u32 = 65_537;
}

impl core::fmt::Debug for IsnGenerator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("IsnGenerator(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn tuple(port: u16) -> FourTuple {
        FourTuple::new("10.9.0.2:7".parse().unwrap(), (core::net::Ipv4Addr::new(10, 9, 0, 1), port).into())
    }

    //= RFC9293 MUST-8
    //= RFC6528 3 clock
    #[test]
    fn the_same_tuple_advances_by_one_every_four_microseconds() {
        let offsets = IsnGenerator::new([1; 16]).of(&tuple(1));
        let start = offsets.isn_at(Instant::ZERO);
        let later = offsets.isn_at(Instant::ZERO + Duration::from_millis(4));
        assert_eq!(later.minus(start), 1000);
    }

    //= RFC9293 MUST-9, SHLD-1
    //= RFC6528 3 secret
    #[test]
    fn another_tuple_or_another_key_gives_unrelated_numbers() {
        let of = |key, port| IsnGenerator::new([key; 16]).of(&tuple(port)).isn_at(Instant::ZERO);
        assert_ne!(of(1, 2), of(1, 1));
        assert_ne!(of(2, 1), of(1, 1));
    }

    //= RFC7323 7 offset
    //= RFC6191 3 increasing
    #[test]
    fn each_connection_has_a_clock_of_its_own() {
        let now = Instant::from_millis(5_000);
        let of = |key, port| IsnGenerator::new([key; 16]).of(&tuple(port)).clock;
        assert_eq!(of(1, 1), of(1, 1), "also the next one's between the same ends");
        assert_ne!(of(1, 2).at(now), of(1, 1).at(now));
        assert_ne!(of(2, 1).at(now), of(1, 1).at(now));
    }

    #[test]
    fn who_knows_one_of_the_offsets_knows_nothing_of_the_other() {
        // They are two halves of one number, and no bit of it tells of both.
        for port in 1..=1_000 {
            let Offsets { isn, clock } = IsnGenerator::new([1; 16]).of(&tuple(port));
            let halves = u64::from(clock.at(Instant::ZERO)) << 32 | u64::from(isn.0);
            assert_eq!(halves, tuple(port).secret_number(&[1; 16]));
        }
    }

    #[test]
    fn a_successor_of_a_time_wait_entry_starts_above_it() {
        let offsets = IsnGenerator::new([1; 16]).of(&tuple(1));
        let plain = offsets.isn_at(Instant::ZERO);
        let old_nxt = plain.plus(1000);
        let above = offsets.isn_above(Instant::ZERO, old_nxt);
        assert!(above.minus(old_nxt) > 0);
        assert_eq!(offsets.isn_above(Instant::ZERO, plain.plus(u32::MAX)), plain);
    }
}
