//! A hierarchical timer wheel: O(1) to arm, move and disarm, exact firing times.
//!
//! Owns when each armed timer is due and the key it was armed with. Does not own what a key means, nor a
//! clock: `now` comes in, and the wheel turns as far as that.
//!
//! Eleven levels of 64 slots cover all of time at nanosecond resolution. A timer stands on the level of the
//! highest digit (in base 64) in which its deadline differs from the wheel's position, in the slot of that
//! digit. So the lowest level in use holds the earliest timers, its first slot in use the very earliest, and
//! two bit scans find it however far away it is. When the wheel reaches a slot, the slot's timers move to
//! lower levels; one that is disarmed before that, as most are, was never touched in between.
//!
//! ```text
//!   level      0      1        2        3      4       5      6      7     8     9    10
//!   slot      1 ns   64 ns   4.1 us   262 us  17 ms   1.1 s   69 s  73 min 3.3 d 208 d 36 y
//! ```
//!
//! Moving a slot's timers costs some nanoseconds each, all at once: 4 ms for a million that were armed in
//! order, ten times that in random order. A timer is moved down at most ten times in its life.
//!
//! Sorting stops at slots of [`GRAIN`] nanoseconds once all of a slot is due, so the two finest levels are
//! only turned to when `now` falls into the middle of such a slot. A timer that is alone in its slot when it is due
//! needs none.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::time::Instant;

/// Timers due within the same aligned stretch of so many nanoseconds may fire in any order.
pub const GRAIN: u64 = 1 << (COARSEST_GRAIN_LEVEL as u32 * DIGIT_BITS);

const DIGIT_BITS: u32 = 6;
const SLOTS_PER_LEVEL: usize = 1 << DIGIT_BITS;
const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;
const COARSEST_GRAIN_LEVEL: usize = 2;
/// The end of a list.
const NONE: u32 = u32::MAX;
/// The `slot` of an entry that is not armed.
const DISARMED: u16 = u16::MAX;

/// Names an armed timer.
///
/// It stays valid until the timer is disarmed or taken by [`TimerWheel::pop_due`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId {
    index: u32,
    /// Tells the timers apart that had the same place one after another.
    generation: u16,
}

/// Timers, each with a key of type `K`.
///
/// ```
/// use core::time::Duration;
/// use tunstack::proto::timer_wheel::TimerWheel;
/// use tunstack::time::Instant;
///
/// let start = Instant::ZERO;
/// let mut wheel = TimerWheel::new(start);
/// let retransmit = wheel.insert("retransmit", start + Duration::from_millis(200));
/// wheel.insert("keep-alive", start + Duration::from_secs(7_200));
/// wheel.reschedule(retransmit, start + Duration::from_millis(300));
///
/// let due = wheel.next_deadline().unwrap();
/// assert_eq!(due - start, Duration::from_millis(300));
/// assert_eq!(wheel.pop_due(start + Duration::from_millis(299)), None);
/// assert_eq!(wheel.pop_due(due), Some("retransmit"));
/// assert_eq!(wheel.pop_due(due), None);
/// assert_eq!(wheel.len(), 1);
/// ```
#[derive(Debug)]
pub struct TimerWheel<K> {
    /// How far the wheel has turned. Nothing in a slot counts as due earlier.
    position: u64,
    len: usize,
    /// Bit `l` is set while any slot of level `l` is in use.
    levels: u16,
    /// For each level, which of its slots are in use.
    occupied: [u64; LEVELS],
    /// Level by level.
    slots: Box<[Slot]>,
    entries: Vec<Entry<K>>,
    /// Head of the list of disarmed entries, linked by `next`.
    free: u32,
}

/// A doubly linked list of entries, in the order in which they came.
#[derive(Clone, Copy, Debug)]
struct Slot {
    head: u32,
    tail: u32,
    len: u32,
    /// Whether `earliest` is the deadline of an entry, or only not later than any.
    exact: bool,
    earliest: u64,
}

#[derive(Debug)]
struct Entry<K> {
    at: u64,
    key: K,
    prev: u32,
    next: u32,
    slot: u16,
    generation: u16,
}

impl<K: Copy> TimerWheel<K> {
    /// An empty wheel that starts turning at `now`.
    pub fn new(now: Instant) -> Self {
        TimerWheel {
            position: now.as_nanos(),
            len: 0,
            levels: 0,
            occupied: [0; LEVELS],
            slots: vec![Slot::EMPTY; LEVELS * SLOTS_PER_LEVEL].into_boxed_slice(),
            entries: Vec::new(),
            free: NONE,
        }
    }

    /// Arms a timer. One that is armed for the past is due at once.
    ///
    /// # Panics
    /// If 2^32 - 1 timers are armed already.
    pub fn insert(&mut self, key: K, at: Instant) -> TimerId {
        let at = at.as_nanos();
        let index = self.free;
        let id = if let Some(entry) = self.entries.get_mut(index as usize) {
            self.free = entry.next;
            entry.at = at;
            entry.key = key;
            TimerId { index, generation: entry.generation }
        } else {
            let index = self.entries.len() as u32;
            assert!(index < NONE && index as usize == self.entries.len(), "too many timers");
            self.entries.push(Entry { at, key, prev: NONE, next: NONE, slot: DISARMED, generation: 0 });
            TimerId { index, generation: 0 }
        };
        self.len += 1;
        self.link(id.index);
        id
    }

    /// Moves an armed timer.
    ///
    /// # Panics
    /// If the timer was disarmed or taken since.
    pub fn reschedule(&mut self, id: TimerId, at: Instant) {
        self.check(id);
        self.unlink(id.index);
        self.entries[id.index as usize].at = at.as_nanos();
        self.link(id.index);
    }

    /// Disarms a timer. Its id may be given to another one afterwards.
    ///
    /// # Panics
    /// If the timer was disarmed or taken before.
    pub fn remove(&mut self, id: TimerId) {
        self.check(id);
        self.unlink(id.index);
        self.release(id.index);
    }

    /// When an armed timer is due.
    ///
    /// # Panics
    /// If the timer was disarmed or taken since.
    pub fn deadline_of(&self, id: TimerId) -> Instant {
        self.check(id);
        Instant::from_nanos(self.entries[id.index as usize].at)
    }

    /// Takes one timer that is due at `now`, disarming it. Timers never fire early; call until `None`.
    ///
    /// They come in ascending order of their deadlines, to [`GRAIN`] nanoseconds; where a timer that was
    /// armed for the past comes among those that are due is left open. Time that runs backwards stands
    /// still for the wheel.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let now = now.as_nanos().max(self.position);
        while let Some((level, index)) = self.first_slot() {
            let (start, end) = self.bounds(level, index);
            if start > now {
                break;
            }
            let is_sorted = level == 0 || (level <= COARSEST_GRAIN_LEVEL && end <= now);
            if is_sorted || self.is_due_alone(index, now) {
                let entry = self.slots[index].head;
                let key = self.entries[entry as usize].key;
                self.unlink(entry);
                self.release(entry);
                return Some(key);
            }
            // The wheel enters this slot: at its earliest timer if that is due (which brings that one right
            // to level 0), else at `now`.
            let earliest = self.slots[index].earliest;
            self.turn_into(index, earliest.clamp(start, now));
        }
        self.position = now;
        None
    }

    /// When the next timer is due: a point in time that is never later than the earliest deadline, and
    /// exactly that unless the earliest of more than [`SCAN_MAX`](Self::SCAN_MAX) neighbouring timers was
    /// disarmed or moved; then it may be the deadline which that one had. O(1).
    ///
    /// Who sleeps until then, calls [`pop_due`](Self::pop_due) until `None` and asks again gets a later
    /// point each time, so an inexact answer costs a wake-up and never a loop.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.first_slot().map(|(_, index)| Instant::from_nanos(self.slots[index].earliest))
    }

    /// Armed timers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is armed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<K> TimerWheel<K> {
    /// Most timers of one slot that are looked at to find its earliest one again.
    pub const SCAN_MAX: u32 = 16;

    /// What a timer takes of memory.
    #[cfg(test)]
    pub(crate) const ENTRY_SIZE: usize = size_of::<Entry<K>>();

    /// An empty wheel keeps room for so many timers.
    const KEEP_MAX: usize = 1_024;

    fn check(&self, id: TimerId) {
        let armed = self
            .entries
            .get(id.index as usize)
            .is_some_and(|entry| entry.slot != DISARMED && entry.generation == id.generation);
        assert!(armed, "{id:?} names no armed timer");
    }

    /// The slot with the earliest timers: its level and its index among all slots.
    fn first_slot(&self) -> Option<(usize, usize)> {
        let level = self.levels.trailing_zeros() as usize;
        let first = self.occupied.get(level)?.trailing_zeros() as usize;
        Some((level, level * SLOTS_PER_LEVEL + first))
    }

    /// Whether a slot has one timer, and that is due: there is nothing to sort.
    fn is_due_alone(&self, index: usize, now: u64) -> bool {
        let Slot { len, exact, earliest, .. } = self.slots[index];
        len == 1 && exact && earliest <= now
    }

    /// The first and the last nanosecond of a slot in use.
    fn bounds(&self, level: usize, index: usize) -> (u64, u64) {
        let shift = level as u32 * DIGIT_BITS;
        let digit = (index % SLOTS_PER_LEVEL) as u64;
        let above = u64::MAX.checked_shl(shift + DIGIT_BITS).unwrap_or(0);
        let start = (self.position & above) | (digit << shift);
        (start, start | !(u64::MAX << shift))
    }

    /// Where a timer belongs that is due at `at`, as seen from the wheel's position.
    fn place(&self, at: u64) -> usize {
        let at = at.max(self.position);
        let differing = (at ^ self.position) | 1;
        let level = differing.ilog2() / DIGIT_BITS;
        let digit = (at >> (level * DIGIT_BITS)) & (SLOTS_PER_LEVEL as u64 - 1);
        level as usize * SLOTS_PER_LEVEL + digit as usize
    }

    /// Moves the wheel into a slot, and the timers of the slot to the levels below.
    fn turn_into(&mut self, index: usize, position: u64) {
        self.position = position;
        let mut next = self.slots[index].head;
        self.slots[index] = Slot::EMPTY;
        self.mark_vacant(index);
        while next != NONE {
            let entry = next;
            next = self.entries[entry as usize].next;
            self.link(entry);
        }
    }

    /// Appends an entry to the list of the slot that its deadline belongs to.
    fn link(&mut self, entry: u32) {
        let at = self.entries[entry as usize].at;
        let index = self.place(at);
        let slot = &mut self.slots[index];
        let prev = slot.tail;
        if prev == NONE {
            *slot = Slot { head: entry, tail: entry, len: 1, exact: true, earliest: at };
            self.mark_occupied(index);
        } else {
            slot.tail = entry;
            slot.len += 1;
            // What an inexact `earliest` stands for is gone, so an earlier deadline is exact again.
            if at <= slot.earliest {
                slot.earliest = at;
                slot.exact = true;
            }
            self.entries[prev as usize].next = entry;
        }
        let linked = &mut self.entries[entry as usize];
        linked.prev = prev;
        linked.next = NONE;
        linked.slot = index as u16;
    }

    /// Takes an entry out of its list.
    fn unlink(&mut self, entry: u32) {
        let Entry { at, prev, next, slot: index, .. } = self.entries[entry as usize];
        let index = usize::from(index);
        let slot = &mut self.slots[index];
        if slot.len == 1 {
            *slot = Slot::EMPTY;
            return self.mark_vacant(index);
        }
        // At the ends there is no neighbour.
        match self.entries.get_mut(prev as usize) {
            Some(before) => before.next = next,
            None => slot.head = next,
        }
        match self.entries.get_mut(next as usize) {
            Some(after) => after.prev = prev,
            None => slot.tail = prev,
        }
        slot.len -= 1;
        slot.exact &= at != slot.earliest;
        if !slot.exact && slot.len <= Self::SCAN_MAX {
            self.find_earliest(index);
        }
    }

    /// Makes `earliest` of a short slot exact.
    fn find_earliest(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        let mut earliest = u64::MAX;
        let mut next = slot.head;
        while let Some(entry) = self.entries.get(next as usize) {
            earliest = earliest.min(entry.at);
            next = entry.next;
        }
        slot.earliest = earliest;
        slot.exact = true;
    }

    /// Puts an unlinked entry on the free list.
    fn release(&mut self, entry: u32) {
        let freed = &mut self.entries[entry as usize];
        freed.slot = DISARMED;
        freed.generation = freed.generation.wrapping_add(1);
        freed.next = self.free;
        self.free = entry;
        self.len -= 1;
        if self.len == 0 && self.entries.len() > Self::KEEP_MAX {
            self.entries = Vec::new();
            self.free = NONE;
        }
    }

    fn mark_occupied(&mut self, index: usize) {
        let level = index / SLOTS_PER_LEVEL;
        self.occupied[level] |= 1 << (index % SLOTS_PER_LEVEL);
        self.levels |= 1 << level;
    }

    fn mark_vacant(&mut self, index: usize) {
        let level = index / SLOTS_PER_LEVEL;
        self.occupied[level] &= !(1 << (index % SLOTS_PER_LEVEL));
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }
}

impl Slot {
    const EMPTY: Slot = Slot { head: NONE, tail: NONE, len: 0, exact: true, earliest: u64::MAX };
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn drain<K: Copy>(wheel: &mut TimerWheel<K>, now: Instant) -> Vec<K> {
        core::iter::from_fn(|| wheel.pop_due(now)).collect()
    }

    #[test]
    fn a_timer_fires_at_its_nanosecond_and_not_before() {
        for delay in [0, 1, 63, 64, 4_095, 4_096, 1 << 14, 200_000_000, 7_200_000_000_000, u64::MAX - 77] {
            let mut wheel = TimerWheel::new(at(77));
            wheel.insert((), at(77 + delay));
            assert!(!wheel.is_empty());
            if delay != 0 {
                assert_eq!(wheel.pop_due(at(76 + delay)), None, "{delay} ns");
            }
            assert_eq!(wheel.next_deadline(), Some(at(77 + delay)));
            assert_eq!(wheel.pop_due(at(77 + delay)), Some(()), "{delay} ns");
            assert!(wheel.is_empty() && wheel.next_deadline().is_none());
        }
    }

    #[test]
    fn never_is_a_deadline_like_any_other() {
        let mut wheel = TimerWheel::new(Instant::ZERO);
        let never = wheel.insert(1, Instant::MAX);
        wheel.insert(2, at(5));
        assert_eq!(drain(&mut wheel, Instant::ZERO + Duration::from_secs(1 << 33)), [2]);
        assert_eq!((wheel.next_deadline(), wheel.deadline_of(never)), (Some(Instant::MAX), Instant::MAX));
        assert_eq!(drain(&mut wheel, Instant::MAX), [1]);
        wheel.insert(3, Instant::MAX);
        assert_eq!(drain(&mut wheel, Instant::MAX), [3]);
    }

    #[test]
    fn a_timer_armed_for_the_past_is_due_at_once() {
        let mut wheel = TimerWheel::new(at(1_000_000));
        wheel.insert("late", at(3));
        assert_eq!(wheel.next_deadline(), Some(at(3)));
        assert_eq!(wheel.pop_due(at(1_000_000)), Some("late"));
    }

    #[test]
    fn time_that_runs_backwards_fires_nothing_new() {
        let mut wheel = TimerWheel::new(at(0));
        wheel.insert(1, at(1 << 20));
        wheel.insert(2, at(1 << 30));
        assert_eq!(drain(&mut wheel, at(1 << 25)), [1]);
        assert_eq!(drain(&mut wheel, at(5)), []);
        assert_eq!(drain(&mut wheel, at(1 << 30)), [2]);
    }

    #[test]
    fn a_jump_over_years_fires_everything_in_order() {
        let mut wheel = TimerWheel::new(at(9));
        let delays: Vec<u64> = (0..57).map(|bit| 10 + (1 << bit)).collect();
        for &delay in delays.iter().rev() {
            wheel.insert(delay, at(delay));
        }
        let fired = drain(&mut wheel, at(1 << 60));
        assert_eq!(fired.len(), delays.len());
        assert!(fired.windows(2).all(|pair| pair[0] / GRAIN <= pair[1] / GRAIN));
    }

    #[test]
    fn an_idle_wheel_wakes_its_driver_only_for_its_timers() {
        let mut wheel = TimerWheel::new(at(0));
        let hours = |n: u64| at(n * 3_600_000_000_000 + 12_345);
        for n in 1..=4 {
            wheel.insert(n, hours(n));
        }
        for n in 1..=4 {
            assert_eq!(wheel.next_deadline(), Some(hours(n)));
            assert_eq!(drain(&mut wheel, hours(n)), [n]);
        }
    }

    #[test]
    fn disarming_the_earliest_of_many_neighbours_costs_a_driver_a_few_wakeups_at_most() {
        let mut wheel = TimerWheel::new(at(0));
        let hour = 3_600_000_000_000;
        let ids: Vec<_> = (0..1_000).map(|n| wheel.insert(n, at(2 * hour + n * 1_000))).collect();
        ids.iter().take(900).for_each(|&id| wheel.remove(id));
        let mut wakeups = 0;
        loop {
            let now = wheel.next_deadline().unwrap();
            if let Some(first) = wheel.pop_due(now) {
                assert_eq!((first, now), (900, at(2 * hour + 900_000)));
                break;
            }
            assert!(wheel.next_deadline().unwrap() > now);
            wakeups += 1;
        }
        assert!(wakeups <= LEVELS, "{wakeups} wake-ups for nothing");
    }

    #[test]
    fn disarmed_timers_leave_their_place_to_the_next() {
        let mut wheel = TimerWheel::new(at(0));
        let keep: Vec<_> = (0..10).map(|n| wheel.insert(n, at(1_000 * n))).collect();
        for n in 0..10_000 {
            let id = wheel.insert(n, at(1_000_000 + n));
            wheel.reschedule(id, at(n));
            wheel.remove(id);
        }
        assert_eq!((wheel.len(), wheel.entries.len()), (10, 11));
        keep.into_iter().for_each(|id| wheel.remove(id));
        assert!(wheel.is_empty() && wheel.levels == 0 && wheel.occupied == [0; LEVELS]);
    }

    #[test]
    fn a_wheel_that_was_once_full_gives_its_memory_back_when_empty() {
        let mut wheel = TimerWheel::new(at(0));
        for n in 0..100_000 {
            wheel.insert(n, at(n * 7));
        }
        assert_eq!(drain(&mut wheel, at(700_000)).len(), 100_000);
        assert_eq!(wheel.entries.capacity(), 0);
        wheel.insert(1, at(800_000));
        assert_eq!(drain(&mut wheel, at(800_000)), [1]);
    }

    #[test]
    fn an_empty_wheel_keeps_the_room_of_a_thousand_timers() {
        let mut wheel = TimerWheel::new(at(0));
        let ids: Vec<_> = (0..1_024).map(|n| wheel.insert(n, at(n))).collect();
        ids.into_iter().for_each(|id| wheel.remove(id));
        assert!(wheel.is_empty() && wheel.entries.capacity() >= 1_024);
    }

    #[test]
    #[should_panic(expected = "names no armed timer")]
    fn an_id_dies_with_its_timer_even_when_its_place_is_taken_again() {
        let mut wheel = TimerWheel::new(at(0));
        let first = wheel.insert(1, at(5));
        assert_eq!(wheel.pop_due(at(5)), Some(1));
        wheel.insert(2, at(6));
        wheel.remove(first);
    }

    #[test]
    fn an_entry_stays_small() {
        assert!(size_of::<Entry<[u32; 3]>>() <= 32);
    }

    #[derive(Clone, Debug)]
    enum Op {
        /// How many, how far from now, and how far from each other.
        Insert(u8, Span, u64),
        InsertNever,
        InsertInThePast(u64),
        Remove(prop::sample::Index),
        RemoveEarliest,
        Reschedule(prop::sample::Index, Span),
        Advance(Span),
        AdvanceToDeadline,
        PopOne(Span),
        GoBack(u64),
    }

    /// A length of time of any magnitude.
    type Span = u64;

    fn span() -> impl Strategy<Value = Span> {
        (0u32..52, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1))
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => (1u8..4, span(), 0u64..10_000).prop_map(|(n, span, step)| Op::Insert(n, span, step)),
            1 => (10u8..60, span(), 0u64..10_000).prop_map(|(n, span, step)| Op::Insert(n, span, step)),
            1 => Just(Op::InsertNever),
            1 => (0u64..100_000).prop_map(Op::InsertInThePast),
            3 => any::<prop::sample::Index>().prop_map(Op::Remove),
            2 => Just(Op::RemoveEarliest),
            3 => (any::<prop::sample::Index>(), span()).prop_map(|(which, span)| Op::Reschedule(which, span)),
            3 => span().prop_map(Op::Advance),
            4 => Just(Op::AdvanceToDeadline),
            2 => span().prop_map(Op::PopOne),
            1 => (0u64..1_000_000).prop_map(Op::GoBack),
        ]
    }

    #[derive(Clone, Copy, Debug)]
    struct Armed {
        key: u32,
        id: TimerId,
        at: u64,
        /// Was armed for a time that had passed.
        late: bool,
    }

    /// The wheel beside a plain list of what is armed.
    struct Pair {
        wheel: TimerWheel<u32>,
        list: Vec<Armed>,
        /// The latest time seen.
        now: u64,
        /// The latest time for which nothing was left.
        drained: u64,
        keys: u32,
    }

    impl Pair {
        fn insert(&mut self, at: u64) {
            self.keys += 1;
            let id = self.wheel.insert(self.keys, Instant::from_nanos(at));
            self.list.push(Armed { key: self.keys, id, at, late: at <= self.now });
        }

        fn remove(&mut self, index: usize) {
            self.wheel.remove(self.list.swap_remove(index).id);
        }

        fn earliest(&self) -> Option<u64> {
            self.list.iter().map(|armed| armed.at).min()
        }

        /// Pops one timer and checks that it was right to fire it now, and before all others.
        fn pop(&mut self, now: u64) -> bool {
            self.now = self.now.max(now);
            let Some(key) = self.wheel.pop_due(Instant::from_nanos(now)) else {
                self.drained = self.drained.max(now);
                assert!(self.earliest().is_none_or(|earliest| earliest > self.drained), "a timer is overdue");
                assert!(self.wheel.next_deadline().is_none_or(|deadline| deadline.as_nanos() > self.drained));
                return false;
            };
            let index = self.list.iter().position(|armed| armed.key == key).expect("fired once, while armed");
            let fired = self.list.swap_remove(index);
            assert!(fired.at <= self.now, "fired early");
            let others = self.list.iter().filter(|armed| !armed.late);
            let next = others.map(|armed| armed.at).min().unwrap_or(u64::MAX);
            assert!(fired.late || fired.at / GRAIN <= next / GRAIN, "fired out of order");
            true
        }

        fn drain(&mut self, now: u64) {
            while self.pop(now) {}
        }

        fn apply(&mut self, op: Op) {
            match op {
                Op::Insert(count, span, step) => {
                    (0..u64::from(count)).for_each(|n| self.insert(self.now.saturating_add(span + n * step)));
                }
                Op::InsertNever => self.insert(u64::MAX),
                Op::InsertInThePast(ago) => self.insert(self.now.saturating_sub(ago)),
                Op::Remove(which) if !self.list.is_empty() => self.remove(which.index(self.list.len())),
                Op::RemoveEarliest => {
                    if let Some(index) = (0..self.list.len()).min_by_key(|&index| self.list[index].at) {
                        self.remove(index);
                    }
                }
                Op::Reschedule(which, span) if !self.list.is_empty() => {
                    let armed = which.index(self.list.len());
                    let armed = &mut self.list[armed];
                    armed.at = self.now.saturating_add(span);
                    armed.late = span == 0;
                    self.wheel.reschedule(armed.id, Instant::from_nanos(armed.at));
                }
                Op::Remove(_) | Op::Reschedule(..) => {}
                Op::Advance(span) => self.drain(self.now.saturating_add(span)),
                Op::AdvanceToDeadline => {
                    if let Some(deadline) = self.wheel.next_deadline().filter(|&at| at < Instant::MAX) {
                        self.drain(deadline.as_nanos());
                    }
                }
                Op::PopOne(span) => drop(self.pop(self.now.saturating_add(span))),
                Op::GoBack(span) => drop(self.pop(self.now.saturating_sub(span))),
            }
        }

        fn check(&self) {
            assert_eq!(self.wheel.len(), self.list.len());
            let deadline = self.wheel.next_deadline().map(Instant::as_nanos);
            assert_eq!(deadline.is_some(), self.earliest().is_some());
            assert!(deadline <= self.earliest(), "the driver would oversleep");
            if self.list.len() <= TimerWheel::<u32>::SCAN_MAX as usize {
                assert_eq!(deadline, self.earliest());
            }
            for armed in &self.list {
                assert_eq!(self.wheel.deadline_of(armed.id).as_nanos(), armed.at);
            }
        }
    }

    proptest! {
        #[test]
        fn a_wheel_behaves_like_a_list_that_is_searched(start in 0u64..u64::MAX / 2, ops in prop::collection::vec(op(), 1..80)) {
            let wheel = TimerWheel::new(Instant::from_nanos(start));
            let mut pair = Pair { wheel, list: Vec::new(), now: start, drained: start, keys: 0 };
            for op in ops {
                pair.apply(op);
                pair.check();
            }
            pair.drain(u64::MAX);
            assert!(pair.list.is_empty() && pair.wheel.is_empty());
        }
    }
}
