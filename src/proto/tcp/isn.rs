//! Initial sequence numbers (RFC 6528, RFC 9293 section 3.4.1).

use super::demux::FourTuple;
use crate::proto::wire::tcp::SeqNr;
use crate::time::Instant;

/// Chooses initial sequence numbers: a clock plus a keyed function of the four-tuple.
#[derive(Clone)]
pub(crate) struct IsnGenerator {
    key: [u8; 16],
}

impl IsnGenerator {
    //= RFC9293 MUST-9: without the per-boot key the function can't be computed from outside.
    pub(crate) fn new(key: [u8; 16]) -> Self {
        IsnGenerator { key }
    }

    /// The number for a connection opened at `now`.
    pub(crate) fn generate(&self, now: Instant, tuple: &FourTuple) -> SeqNr {
        //= RFC9293 MUST-8: M is a clock that ticks every 4 microseconds.
        //= RFC6528 3 clock
        let clock = (now.as_micros() / 4) as u32;
        self.offset(tuple).plus(clock)
    }

    /// What is added to the clock, F of RFC 6528.
    pub(crate) fn offset(&self, tuple: &FourTuple) -> SeqNr {
        //= RFC9293 SHLD-1
        //= RFC6528 3 secret
        SeqNr(tuple.secret_number(&self.key) as u32)
    }

    /// The number for a connection that takes the place of one in TIME-WAIT, whose next sequence number was
    /// `old_nxt`: beyond everything the old one has sent (RFC 9293 MAY-2).
    pub(crate) fn generate_above(&self, now: Instant, tuple: &FourTuple, old_nxt: SeqNr) -> SeqNr {
        let isn = self.generate(now, tuple);
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
        let isn = IsnGenerator::new([1; 16]);
        let start = isn.generate(Instant::ZERO, &tuple(1));
        let later = isn.generate(Instant::ZERO + Duration::from_millis(4), &tuple(1));
        assert_eq!(later.minus(start), 1000);
    }

    //= RFC9293 MUST-9, SHLD-1
    //= RFC6528 3 secret
    #[test]
    fn another_tuple_or_another_key_gives_unrelated_numbers() {
        let isn = IsnGenerator::new([1; 16]);
        let base = isn.generate(Instant::ZERO, &tuple(1));
        assert_ne!(isn.generate(Instant::ZERO, &tuple(2)), base);
        assert_ne!(IsnGenerator::new([2; 16]).generate(Instant::ZERO, &tuple(1)), base);
    }

    #[test]
    fn a_successor_of_a_time_wait_entry_starts_above_it() {
        let isn = IsnGenerator::new([1; 16]);
        let plain = isn.generate(Instant::ZERO, &tuple(1));
        let old_nxt = plain.plus(1000);
        let above = isn.generate_above(Instant::ZERO, &tuple(1), old_nxt);
        assert!(above.minus(old_nxt) > 0);
        assert_eq!(isn.generate_above(Instant::ZERO, &tuple(1), plain.plus(u32::MAX)), plain);
    }
}
