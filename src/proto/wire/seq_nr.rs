//! TCP sequence numbers as they stand on the wire (RFC 9293 section 3.4).

/// A sequence number as it stands on the wire. It has no order; see `tcp::seq` for positions that have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNr(pub u32);

impl SeqNr {
    /// The number `count` further on, modulo 2^32.
    pub fn plus(self, count: u32) -> SeqNr {
        SeqNr(self.0.wrapping_add(count))
    }

    /// The signed distance from `earlier` to here: negative if `earlier` is in fact later.
    pub fn minus(self, earlier: SeqNr) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }
}

impl core::fmt::Debug for SeqNr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}
