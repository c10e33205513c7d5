//! The window we offer: never pulled back, never opened in small steps.

use crate::proto::tcp::seq::RcvPos;

/// The receive window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// The right edge as last advertised: RCV.NXT + RCV.WND then.
    edge: RcvPos,
    /// Bytes that may be unread at once.
    capacity: u64,
    /// The shift the peer applies to our window field.
    scale: u8,
}

impl Window {
    /// The largest window field.
    const FIELD_MAX: u64 = 65_535;

    /// The window as it was offered in our SYN, which is never scaled (RFC 7323 section 2.2). `first` is the
    /// position after the peer's SYN.
    pub(crate) fn new(first: RcvPos, capacity: u64, scale: u8) -> Self {
        Window { edge: first.plus(Self::syn_field(capacity).into()), capacity, scale }
    }

    /// The window field of our SYN.
    pub(crate) fn syn_field(capacity: u64) -> u16 {
        capacity.min(Self::FIELD_MAX) as u16
    }

    /// The shift we ask for: the least that lets the field express the whole capacity.
    pub(crate) fn scale_for(capacity: u64) -> u8 {
        // Of as many bits as the shift leaves to the field, one number alone may be too large: the field with all bits set.
        let beyond = (u64::BITS - capacity.leading_zeros()).saturating_sub(u16::BITS);
        let shift = beyond + u32::from(capacity > Self::FIELD_MAX << beyond);
        shift.min(14) as u8
    }

    /// The right edge as last advertised; nothing at or past it may be accepted.
    pub(crate) fn edge(&self) -> RcvPos {
        self.edge
    }

    /// What is promised from now on is no more than `bytes` beyond what is read. What was promised stays.
    pub(crate) fn resize(&mut self, bytes: u64) {
        self.capacity = bytes;
    }

    /// The position before which all text stands that may come, now or after the next advertisement. `read` is the first
    /// unread position.
    pub(crate) fn limit(&self, read: RcvPos) -> RcvPos {
        // Where the field can't say it, it is rounded up.
        self.edge.max(read.plus(self.capacity + (1 << self.scale)))
    }

    /// RCV.WND.
    pub(crate) fn size(&self, nxt: RcvPos) -> u64 {
        self.edge.since(nxt)
    }

    pub(crate) fn scale(&self) -> u8 {
        self.scale
    }

    /// The field for a segment sent now, and the edge that it advertises. `read` is the first unread
    /// position.
    pub(crate) fn field(&self, nxt: RcvPos, read: RcvPos, mss: u64) -> (u16, RcvPos) {
        let wanted = self.wanted_edge(read, mss);
        let unit = 1u64 << self.scale;
        //= RFC7323 2.3 outgoing
        let mut field = wanted.since(nxt) >> self.scale;
        //= RFC9293 SHLD-14: rounding down should not pull the edge back either. But rounding up at every ACK would
        // move it on, read or not: past the buffer's end the edge stays, and is told less one unit (RFC 7323
        // section 2.4 has peers expect that).
        let rounded_up = (self.edge.since(nxt) + (unit - 1)) >> self.scale;
        if field < rounded_up && nxt.plus(rounded_up * unit) <= read.plus(self.capacity + unit) {
            field = rounded_up;
        }
        let field = field.min(Self::FIELD_MAX);
        (field as u16, nxt.plus(field * unit).max(self.edge))
    }

    /// Notes that `edge` was advertised.
    pub(crate) fn advertised(&mut self, edge: RcvPos) {
        //= RFC7323 2.4 tracked
        self.edge = self.edge.max(edge);
    }

    /// Whether reading has opened the window so far that the peer should hear of it at once: what it may
    /// still send is less than half of what it could.
    pub(crate) fn update_is_due(&self, nxt: RcvPos, read: RcvPos, mss: u64) -> bool {
        // No further than the field can say: else every read would seem to have opened the window, and draw an
        // ACK that a peer which doesn't scale takes for a duplicate.
        let wanted = self.wanted_edge(read, mss).min(nxt.plus(Self::FIELD_MAX << self.scale));
        wanted > self.edge && wanted.since(nxt) >= 2 * self.size(nxt)
    }

    //= RFC9293 MAY-8: for as long as nothing is read it does not move.
    //= RFC9293 MUST-39: the edge moves by a full segment or half the buffer, or not at all.
    fn wanted_edge(&self, read: RcvPos, mss: u64) -> RcvPos {
        let possible = read.plus(self.capacity);
        let step = mss.min(self.capacity / 2).max(1);
        if possible.since(self.edge) >= step { possible } else { self.edge }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_scale_is_the_least_that_expresses_the_capacity() {
        assert_eq!(Window::scale_for(65_535), 0);
        assert_eq!(Window::scale_for(65_536), 1);
        assert_eq!(Window::scale_for(1 << 20), 5);
        assert_eq!(Window::scale_for(u64::MAX), 14);
        let edges = (0..14).flat_map(|shift| {
            let most = Window::FIELD_MAX << shift;
            [(most - 1, shift), (most, shift), (most + 1, shift + 1)]
        });
        for (capacity, shift) in edges {
            assert_eq!(Window::scale_for(capacity), shift, "{capacity}");
        }
    }

    //= RFC9293 MUST-39
    #[test]
    fn the_window_does_not_open_by_less_than_a_segment() {
        let first = RcvPos::at(1 << 32);
        let window = Window::new(first, 10_000, 0);
        let nxt = first.plus(10_000);
        assert_eq!(window.field(nxt, first.plus(500), 1460), (0, nxt));
        assert_eq!(window.field(nxt, first.plus(1460), 1460), (1460, nxt.plus(1460)));
    }

    #[test]
    fn an_update_is_due_once_half_of_a_scaled_window_can_be_added() {
        let first = RcvPos::at(1 << 32);
        let mut window = Window::new(first, 1 << 20, 5);
        window.advertised(first.plus(1 << 20));
        // All but 100,000 bytes have come. Half of what could be offered is that much when 200,000 can be.
        let nxt = first.plus((1 << 20) - 100_000);
        assert!(!window.update_is_due(nxt, first.plus(99_999), 1460));
        assert!(window.update_is_due(nxt, first.plus(100_000), 1460));
    }

    //= RFC9293 SHLD-14
    //= RFC7323 2.4 tracked
    #[test]
    fn a_window_that_the_field_cannot_express_is_rounded_up_where_the_buffer_has_room_for_that() {
        let first = RcvPos::at(1 << 32);
        let mut window = Window::new(first, 100_000, 1);
        assert_eq!(window.field(first, first, 1460), (50_000, first.plus(100_000)));
        window.advertised(first.plus(100_000));
        // Nothing is read, so the edge should stay, and 99,999 can't be told: once, twice it is rounded up ...
        for nxt in [1, 2] {
            let edge = first.plus(100_000 + nxt);
            assert_eq!(window.field(first.plus(nxt), first, 1460), (50_000, edge));
            window.advertised(edge);
        }
        // ... but not on and on: then the edge stays, and the field falls short of it.
        assert_eq!(window.field(first.plus(3), first, 1460), (49_999, first.plus(100_002)));
    }

    proptest! {
        //= RFC9293 SHLD-14
        #[test]
        fn the_edge_never_moves_left(
            capacity in 1u64..1 << 24,
            steps in prop::collection::vec((0u64..70_000, 0u64..70_000), 1..50),
        ) {
            let first = RcvPos::at(1 << 32);
            let mut window = Window::new(first, capacity, Window::scale_for(capacity));
            let (mut nxt, mut read) = (first, first);
            for (received, consumed) in steps {
                nxt = nxt.plus(received.min(window.size(nxt)));
                read = read.plus(consumed.min(nxt.since(read)));
                let (field, edge) = window.field(nxt, read, 1460);
                prop_assert!(edge >= window.edge());
                // Told exactly or rounded up, but for the one unit that would not fit.
                let unit = 1 << window.scale();
                prop_assert!(nxt.plus((u64::from(field) + 1) * unit) > window.edge() || field == 65_535);
                prop_assert!(edge.since(read) <= capacity + (1 << window.scale()));
                window.advertised(edge);
            }
        }
    }
}
