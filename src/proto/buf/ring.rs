//! A paged ring addressed by position: stream bytes at absolute `u64` positions.
//!
//! Owns bytes and the pages they stand in. Does not own the knowledge of *which* positions have been
//! written (that is the business of whoever reassembles or retransmits), nor any limit except the pool's.
//!
//! ```text
//!               start                                end
//!                 |                                   |
//!   ... forgotten v  kept                             v  nothing yet ...
//!   ----+---------:---------+---------+---------+-----:---+----
//!       |     page          |  page   |  (gap)  |   page  |
//!   ----+-------------------+---------+---------+---------+----
//!       ^ a multiple of PAGE_SIZE
//! ```

#[cfg(debug_assertions)]
use alloc::sync::Weak;
use core::ops::Range;

use super::pages::{PAGE_SIZE, Page, Pool, Table};
#[cfg(debug_assertions)]
use super::ranges::Ranges;

/// Bytes at positions; owns pages only where bytes were written. `start` is the lowest position kept.
///
/// Pages are lent by a [`Pool`], so an owner that goes away calls [`clear`](Self::clear) first: dropping a
/// ring cannot give its pages back. Debug builds panic when that is forgotten while the pool still lives,
/// and when a position is read that was never written (it could hold another connection's bytes).
///
/// ```
/// use tunstack::proto::buf::{pages::Pool, ring::Ring};
///
/// let mut pool = Pool::new(16);
/// let mut ring = Ring::new(1_000);
/// assert_eq!(ring.write_at(1_000, b"hello, ", &mut pool), 7);
/// assert_eq!(ring.write_at(1_007, b"world", &mut pool), 5);
/// let text: Vec<u8> = ring.pieces(1_000, 12).flatten().copied().collect();
/// assert_eq!(text, b"hello, world");
///
/// ring.advance(1_012, &mut pool);
/// assert_eq!(pool.in_use(), 0);
/// ```
#[derive(Debug)]
pub struct Ring {
    start: u64,
    /// One past the highest position written, or `start` when nothing is kept.
    end: u64,
    /// The page that `start` falls in. It stands by itself, since what is small and soon read needs no more, nor a table.
    first: Option<Page>,
    /// The pages behind it, as far as any was ever needed; `None` in gaps.
    more: Table,
    held: usize,
    /// Pages promised by the pool, those held included.
    promised: usize,
    #[cfg(debug_assertions)]
    audit: Audit,
}

impl Ring {
    /// How far beyond [`start`](Self::start) a byte may stand: a window is at most 1 GiB (RFC 7323
    /// section 2.3), and a page table for more would only be a bug's way to eat memory.
    pub const SPAN_MAX: u64 = 1 << 30;

    /// An empty ring whose first byte will stand at position `at`. Owns no page.
    pub const fn new(at: u64) -> Self {
        Ring {
            start: at,
            end: at,
            first: None,
            more: Table::new(),
            held: 0,
            promised: 0,
            #[cfg(debug_assertions)]
            audit: Audit { written: Ranges::new(), lender: Weak::new() },
        }
    }

    /// As a new one, where all pages are given back and none are promised: the first byte will stand at position `at`.
    pub(crate) fn renew(&mut self, at: u64) {
        debug_assert!(self.committed() == 0 && self.first.is_none() && self.more.capacity() == 0);
        (self.start, self.end) = (at, at);
        #[cfg(debug_assertions)]
        {
            self.audit = Audit { written: Ranges::new(), lender: Weak::new() };
        }
    }

    /// The lowest position kept.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// One past the highest position written, or [`start`](Self::start) when nothing is kept.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Copies `data` to positions `at..`, taking pages as needed; gaps are allowed (out-of-order data).
    /// Returns how many bytes were stored, from the first on: fewer than all only when the pool lends no more.
    ///
    /// # Panics
    /// If `at` lies below [`start`](Self::start) or the data ends more than [`SPAN_MAX`](Self::SPAN_MAX)
    /// beyond it; a window keeps callers inside both.
    pub fn write_at(&mut self, at: u64, data: &[u8], pool: &mut Pool) -> usize {
        self.check_writable(at);
        let Some(place) = self.within_first(at, data.len()).filter(|place| !place.is_empty()) else {
            return self.write_across(at, data, pool);
        };
        let Some(page) = self.page_for(0, pool) else { return 0 };
        page[place].copy_from_slice(data);
        self.wrote(at, data.len(), pool);
        data.len()
    }

    /// Bytes from `at` on have been written, some at least.
    #[inline]
    fn wrote(&mut self, at: u64, len: usize, _pool: &Pool) {
        let to = at + len as u64;
        self.end = self.end.max(to);
        #[cfg(test)]
        super::copies::count(len);
        #[cfg(debug_assertions)]
        self.audit.wrote(at..to, _pool);
    }

    /// Copies `data` to where it belongs, for as long as there are pages.
    #[inline(never)]
    fn write_across(&mut self, at: u64, data: &[u8], pool: &mut Pool) -> usize {
        if data.is_empty() {
            return 0;
        }
        let span = (at - self.start).saturating_add(data.len() as u64);
        assert!(span <= Self::SPAN_MAX, "write that ends {span} bytes beyond the start of the ring");
        let (first, mut offset) = self.locate(at);
        let (last, _) = self.locate(at + (data.len() as u64 - 1));
        self.reserve(last, pool);
        let share = pool.share(self.committed());
        let Ring { first: first_page, more, held, promised, .. } = self;
        let first_page = (first == 0).then_some(first_page);
        let mut rest = data;
        for place in first_page.into_iter().chain(more.range_mut(first.saturating_sub(1)..last)) {
            if place.is_none() {
                let is_promised = *held < *promised;
                *place = if is_promised { pool.take_promised() } else { pool.take_of_share(*held, share) };
                *held += usize::from(place.is_some());
            }
            let Some(page) = place else { break };
            let (now, later) = rest.split_at(rest.len().min(PAGE_SIZE - offset));
            page[offset..offset + now.len()].copy_from_slice(now);
            rest = later;
            offset = 0;
        }
        if !rest.is_empty() {
            self.drop_unused_places(pool);
        }
        let stored = data.len() - rest.len();
        if stored > 0 {
            self.wrote(at, stored, pool);
        }
        stored
    }

    /// Lends `fill` up to `max` bytes of room at positions `at..`, as far as one page goes, and takes what it has put there: so
    /// many bytes from the first on. All of the room is zero, since others have had the page before. `None` if the pool lends no page.
    ///
    /// # Panics
    /// As [`write_at`](Self::write_at).
    pub fn write_in_place(
        &mut self,
        at: u64,
        max: usize,
        pool: &mut Pool,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> Option<usize> {
        self.check_writable(at);
        let (index, offset) = self.locate(at);
        let room = max.min(PAGE_SIZE - offset);
        assert!(
            at - self.start + room as u64 <= Self::SPAN_MAX,
            "write too far beyond the start of the ring"
        );
        self.reserve(index, pool);
        let held = self.held;
        let Some(page) = self.page_for(index, pool) else {
            self.drop_unused_places(pool);
            return None;
        };
        let lent = &mut page[offset..offset + room];
        lent.fill(0);
        let count = fill(lent).min(room);
        if count > 0 {
            self.end = self.end.max(at + count as u64);
            #[cfg(debug_assertions)]
            self.audit.wrote(at..at + count as u64, pool);
        } else if self.held > held {
            let place = if index == 0 { Some(&mut self.first) } else { self.more.get_mut(index - 1) };
            let page = place.and_then(Option::take);
            self.give(page, pool);
            self.drop_unused_places(pool);
        }
        Some(count)
    }

    /// Moves bytes from positions `from..` to `out`: forgets what is copied, and everything below it. They must have been
    /// written.
    ///
    /// # Panics
    /// If they can't have been written.
    pub fn take(&mut self, from: u64, out: &mut [u8], pool: &mut Pool) {
        self.read_at(from, out);
        self.advance(from + out.len() as u64, pool);
    }

    /// Copies bytes from positions `from..` into `out`. They must have been written.
    ///
    /// # Panics
    /// If they can't have been written.
    #[inline]
    pub fn read_at(&self, from: u64, out: &mut [u8]) {
        self.check_readable(from..from.saturating_add(out.len() as u64));
        if let (Some(place), Some(page)) = (self.within_first(from, out.len()), &self.first) {
            out.copy_from_slice(&page[place]);
            #[cfg(test)]
            super::copies::count(out.len());
            return;
        }
        self.read_across(from, out);
    }

    #[inline(never)]
    fn read_across(&self, from: u64, out: &mut [u8]) {
        let mut rest = out;
        for piece in self.pieces(from, rest.len()) {
            let (now, later) = rest.split_at_mut(piece.len());
            now.copy_from_slice(piece);
            #[cfg(test)]
            super::copies::count(piece.len());
            rest = later;
        }
    }

    /// The pieces that hold positions `from..from + len`, in order. They must have been written.
    ///
    /// # Panics
    /// If they can't have been written.
    pub fn pieces(&self, from: u64, len: usize) -> impl Iterator<Item = &[u8]> {
        let to = from.saturating_add(len as u64);
        self.check_readable(from..to);
        let (next, offset) = if len == 0 { (0, 0) } else { self.locate(from) };
        Pieces { ring: self, next, offset, rest: len }
    }

    /// The same as one piece, if it stands in the first page: so it is with what is small and soon sent.
    ///
    /// # Panics
    /// As [`pieces`](Self::pieces).
    #[inline]
    pub fn piece(&self, from: u64, len: usize) -> Option<&[u8]> {
        self.check_readable(from..from.saturating_add(len as u64));
        let (place, page) = (self.within_first(from, len)?, self.first.as_ref()?);
        (len > 0).then(|| &page[place])
    }

    /// Forgets everything below `to` and gives emptied pages back. `to` may lie past all data; a `to`
    /// below [`start`](Self::start) changes nothing.
    #[inline]
    pub fn advance(&mut self, to: u64, pool: &mut Pool) {
        // What is acknowledged may be no text.
        if to > self.start {
            self.advance_on(to, pool);
        }
    }

    /// The same where it is beyond.
    #[inline(never)]
    fn advance_on(&mut self, to: u64, pool: &mut Pool) {
        if to >= self.end {
            self.empty(pool);
            self.start = to;
            self.end = to;
            #[cfg(debug_assertions)]
            self.audit.written.clear();
            return;
        }
        self.advance_within(to, pool);
    }

    /// The same where something is left.
    #[inline(never)]
    fn advance_within(&mut self, to: u64, pool: &mut Pool) {
        let (emptied, _) = self.locate(to);
        for _ in 0..emptied {
            let next = self.more.pop_front().flatten();
            let page = core::mem::replace(&mut self.first, next);
            self.give(page, pool);
        }
        self.start = to;
        #[cfg(debug_assertions)]
        self.audit.written.remove_below(to);
    }

    /// Forgets everything from `to` on and gives emptied pages back. `to` is [`start`](Self::start), or stands
    /// right behind a byte that was written.
    pub fn truncate(&mut self, to: u64, pool: &mut Pool) {
        if to <= self.start {
            self.clear(pool);
            return;
        }
        if to >= self.end {
            return;
        }
        self.check_readable(to - 1..to);
        let (last, _) = self.locate(to - 1);
        while self.more.len() > last {
            let page = self.more.pop_back().flatten();
            self.give(page, pool);
        }
        self.end = to;
        #[cfg(debug_assertions)]
        self.audit.written.remove(to..u64::MAX);
    }

    /// Gives all pages back, and the memory of the page table with them. The ring is empty afterwards;
    /// [`start`](Self::start) stays where it is.
    #[inline]
    pub fn clear(&mut self, pool: &mut Pool) {
        // Who ends makes sure more than once, and mostly there is nothing.
        if self.held > 0 || self.more.capacity() > 0 {
            self.give_all(pool);
        }
        self.end = self.start;
        #[cfg(debug_assertions)]
        self.audit.written.clear();
    }

    #[inline(never)]
    fn give_all(&mut self, pool: &mut Pool) {
        self.empty(pool);
    }

    // For whoever has read all there is, which is so after most that is small: without another call.
    #[inline(always)]
    fn empty(&mut self, pool: &mut Pool) {
        let first = self.first.take();
        self.give(first, pool);
        if self.more.capacity() > 0 {
            self.clear_table(pool);
        }
    }

    #[inline(never)]
    fn clear_table(&mut self, pool: &mut Pool) {
        let before = self.committed();
        let (front, back) = self.more.as_mut_slices();
        self.held -= pool.give_all_promised(front) + pool.give_all_promised(back);
        pool.commit(before, self.committed());
        self.more.clear();
        pool.give_table(core::mem::take(&mut self.more));
    }

    /// Pages owned.
    pub fn pages(&self) -> usize {
        self.held
    }

    /// Pages that are this ring's: owned, or promised.
    pub fn committed(&self) -> usize {
        self.held.max(self.promised)
    }

    /// Has the pool promise so many pages, those owned included; not more than its share, if the promise is to be worth
    /// something. An owner that goes away promises nothing first.
    #[inline]
    pub fn promise(&mut self, pages: usize, pool: &mut Pool) {
        if pages != self.promised {
            self.promise_anew(pages, pool);
        }
    }

    #[inline(never)]
    fn promise_anew(&mut self, pages: usize, pool: &mut Pool) {
        let before = self.committed();
        self.promised = pages;
        pool.commit(before, self.committed());
    }

    /// Pages that bytes at `from..to` can take up.
    pub fn cover(from: u64, to: u64) -> usize {
        let page = PAGE_SIZE as u64;
        if to <= from { 0 } else { (to.div_ceil(page) - from / page) as usize }
    }

    /// Gives a page back that was taken from its place, if one was there.
    #[inline]
    fn give(&mut self, page: Option<Page>, pool: &mut Pool) {
        let Some(page) = page else { return };
        self.held -= 1;
        if self.held < self.promised { pool.give_promised(page) } else { pool.give(page) }
    }

    /// The page at a place that is [reserved](Self::reserve); `None` if there is none and the pool lends none.
    // For each page of a long write, and for the first alone: a call would cost as much as it does.
    #[inline(always)]
    fn page_for(&mut self, index: usize, pool: &mut Pool) -> Option<&mut Page> {
        let place = match index.checked_sub(1) {
            None => &mut self.first,
            Some(index) => self.more.get_mut(index)?,
        };
        if place.is_none() {
            let is_promised = self.held < self.promised;
            let page = if is_promised { pool.take_promised() } else { pool.take(self.held) };
            *place = Some(page?);
            self.held += 1;
        }
        place.as_mut()
    }

    fn page_at(&self, index: usize) -> Option<&Page> {
        match index.checked_sub(1) {
            None => self.first.as_ref(),
            Some(index) => self.more.get(index)?.as_ref(),
        }
    }

    /// Where `len` bytes at or above `start` stand in the first page, if all of them do: so it is with what is small and
    /// soon read.
    #[inline]
    fn within_first(&self, at: u64, len: usize) -> Option<Range<usize>> {
        let page = PAGE_SIZE as u64;
        let from = at.wrapping_sub(self.start / page * page);
        let to = from.saturating_add(len as u64);
        (to <= page).then_some(from as usize..to as usize)
    }

    /// Which page holds a position at or above `start`, counted from the first, and where in it.
    fn locate(&self, position: u64) -> (usize, usize) {
        let page = PAGE_SIZE as u64;
        // Both fit: the span is bounded, and a remainder is smaller than a page.
        ((position / page - self.start / page) as usize, (position % page) as usize)
    }

    /// Makes places for pages up to this one.
    #[inline]
    fn reserve(&mut self, last: usize, pool: &mut Pool) {
        if last > self.more.len() {
            if self.more.capacity() == 0 {
                self.more = pool.take_table();
            }
            self.more.resize_with(last, || None);
        }
    }

    /// Takes back what a write reserved before the pool ran dry.
    fn drop_unused_places(&mut self, pool: &mut Pool) {
        while let Some(None) = self.more.back() {
            self.more.pop_back();
        }
        if self.more.is_empty() {
            pool.give_table(core::mem::take(&mut self.more));
        }
    }

    #[inline]
    fn check_writable(&self, at: u64) {
        if at < self.start {
            below(at, self.start);
        }
    }

    fn check_readable(&self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        assert!(
            self.start <= range.start && range.end <= self.end,
            "read of {range:?} from a ring that holds {}..{}",
            self.start,
            self.end
        );
        #[cfg(debug_assertions)]
        assert!(
            self.audit.written.covers(range.clone()),
            "read of {range:?} from a ring in which {:?} was written",
            self.audit.written
        );
    }
}

// Apart, so that whoever writes where it may has nothing to do with what it says.
#[cold]
#[inline(never)]
fn below(at: u64, start: u64) -> ! {
    panic!("write at {at}, below the start of the ring, {start}");
}

/// Walks the pages from the first that is wanted.
struct Pieces<'a> {
    ring: &'a Ring,
    next: usize,
    offset: usize,
    rest: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest == 0 {
            return None;
        }
        let page = self.ring.page_at(self.next).expect("read from a gap in a ring");
        self.next += 1;
        let end = PAGE_SIZE.min(self.offset + self.rest);
        let piece = &page[self.offset..end];
        self.rest -= piece.len();
        self.offset = 0;
        Some(piece)
    }
}

/// What only debug builds remember.
#[cfg(debug_assertions)]
#[derive(Debug)]
struct Audit {
    written: Ranges,
    /// Dies with the pool that lent the pages.
    lender: Weak<()>,
}

#[cfg(debug_assertions)]
impl Audit {
    fn wrote(&mut self, range: Range<u64>, pool: &Pool) {
        self.written.insert(range);
        if self.lender.strong_count() == 0 {
            self.lender = pool.alive();
        }
    }
}

#[cfg(debug_assertions)]
impl Drop for Ring {
    fn drop(&mut self) {
        // A pool that is gone already took the account of its pages with it.
        let leaked = self.held != 0 && self.audit.lender.strong_count() != 0;
        assert!(!leaked || panicking(), "a ring was dropped with {} pages of a living pool", self.held);
    }
}

/// Whether a panic is under way, in which case another one would hide it. Only unit tests can know: the
/// core has no threads to ask.
#[cfg(debug_assertions)]
fn panicking() -> bool {
    #[cfg(test)]
    return tests::panicking();
    #[cfg(not(test))]
    false
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    const PAGE: u64 = PAGE_SIZE as u64;

    #[cfg(debug_assertions)]
    pub(super) fn panicking() -> bool {
        extern crate std;
        std::thread::panicking()
    }

    fn text(from: u64, len: usize) -> Vec<u8> {
        (from..from + len as u64).map(|position| (position % 251) as u8).collect()
    }

    fn read(ring: &Ring, from: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        ring.read_at(from, &mut out);
        assert_eq!(ring.pieces(from, len).collect::<Vec<_>>().concat(), out);
        out
    }

    #[test]
    fn bytes_come_back_from_where_they_were_put_across_page_borders() {
        let mut pool = Pool::new(8);
        let mut ring = Ring::new(PAGE - 10);
        assert_eq!(ring.write_at(PAGE - 10, &text(PAGE - 10, 9_000), &mut pool), 9_000);
        assert_eq!((ring.pages(), pool.in_use()), (4, 4));
        assert_eq!(read(&ring, PAGE - 10, 9_000), text(PAGE - 10, 9_000));
        assert_eq!(read(&ring, 2 * PAGE - 1, 2), text(2 * PAGE - 1, 2));
        assert_eq!(ring.pieces(PAGE, 2 * PAGE_SIZE).map(<[u8]>::len).collect::<Vec<_>>(), [PAGE_SIZE; 2]);
        ring.clear(&mut pool);
    }

    #[test]
    fn an_emptied_ring_gives_back_even_the_page_it_had_begun() {
        let mut pool = Pool::new(8);
        let mut ring = Ring::new(100);
        ring.write_at(100, &text(100, 5_000), &mut pool);
        ring.advance(5_099, &mut pool);
        assert_eq!(ring.pages(), 1);
        ring.advance(5_100, &mut pool);
        assert_eq!((ring.pages(), pool.in_use(), ring.start()), (0, 0, 5_100));
        assert_eq!(ring.more.capacity(), 0);
        // What stands in one page needs no table.
        assert_eq!(ring.write_at(5_100, b"more", &mut pool), 4);
        assert_eq!((read(&ring, 5_100, 4), ring.more.capacity()), (b"more".to_vec(), 0));
        // The table that it had given back is of use again.
        ring.write_at(5_104, &text(5_104, 5_000), &mut pool);
        assert!(ring.more.capacity() > 0 && pool.take_table().capacity() == 0);
        ring.clear(&mut pool);
        assert!(pool.take_table().capacity() > 0);
    }

    #[test]
    fn a_long_page_table_is_not_passed_on_to_a_ring_of_two_pages() {
        let mut pool = Pool::new(8);
        let mut long = Ring::new(0);
        long.write_at(1_500 * PAGE, b"far", &mut pool);
        long.clear(&mut pool);
        let mut short = Ring::new(0);
        short.write_at(0, &text(0, 5_000), &mut pool);
        let bytes = short.more.capacity() * size_of::<Option<Page>>();
        assert!(bytes <= PAGE_SIZE / 2, "a table of {bytes} bytes, that no limit counts, for two pages");
        short.clear(&mut pool);
    }

    #[test]
    fn a_gap_owns_no_page() {
        let mut pool = Pool::new(8);
        let mut ring = Ring::new(0);
        ring.write_at(50 * PAGE, b"far", &mut pool);
        ring.write_at(0, b"near", &mut pool);
        assert_eq!(ring.pages(), 2);
        assert_eq!(read(&ring, 50 * PAGE, 3), b"far");
        ring.advance(20 * PAGE, &mut pool);
        assert_eq!((ring.pages(), ring.start(), ring.end()), (1, 20 * PAGE, 50 * PAGE + 3));
        assert_eq!(read(&ring, 50 * PAGE, 3), b"far");
        ring.clear(&mut pool);
    }

    #[test]
    fn an_empty_pool_cuts_a_write_short_at_a_page_border() {
        let mut pool = Pool::new(2);
        let mut ring = Ring::new(10);
        assert_eq!(ring.write_at(10, &text(10, 100_000), &mut pool), 2 * PAGE_SIZE - 10);
        assert_eq!(ring.end(), 2 * PAGE);
        assert_eq!(ring.more.len(), 1);
        assert_eq!(ring.write_at(2 * PAGE, b"x", &mut pool), 0);
        ring.advance(PAGE, &mut pool);
        assert_eq!(ring.write_at(2 * PAGE, b"x", &mut pool), 1);
        assert_eq!(read(&ring, PAGE, 100), text(PAGE, 100));
        ring.clear(&mut pool);

        let mut starved = Ring::new(0);
        assert_eq!(starved.write_at(50, b"x", &mut Pool::new(0)), 0);
        assert_eq!((starved.end(), starved.more.capacity()), (0, 0));
    }

    #[test]
    fn forgetting_past_all_data_moves_the_start_there() {
        let mut pool = Pool::new(2);
        let mut ring = Ring::new(0);
        ring.write_at(0, b"abc", &mut pool);
        ring.advance(1_000_000, &mut pool);
        assert_eq!((ring.start(), ring.end(), ring.pages()), (1_000_000, 1_000_000, 0));
        ring.advance(5, &mut pool);
        assert_eq!(ring.start(), 1_000_000);
    }

    #[test]
    fn positions_next_to_the_end_of_the_number_space_work() {
        let mut pool = Pool::new(4);
        let at = u64::MAX - 5_000;
        let mut ring = Ring::new(at);
        assert_eq!(ring.write_at(at, &text(at, 5_000), &mut pool), 5_000);
        assert_eq!(read(&ring, at, 5_000), text(at, 5_000));
        ring.advance(u64::MAX, &mut pool);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    #[should_panic(expected = "below the start")]
    fn writing_below_the_start_is_a_bug_of_the_caller() {
        Ring::new(10).write_at(9, b"x", &mut Pool::new(1));
    }

    #[test]
    #[should_panic(expected = "beyond the start")]
    fn writing_a_gigabyte_ahead_is_refused_before_memory_is_taken() {
        Ring::new(0).write_at(Ring::SPAN_MAX, b"x", &mut Pool::new(1));
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "was written")]
    fn reading_what_was_never_written_is_caught() {
        let mut pool = Pool::new(1);
        let mut ring = Ring::new(0);
        ring.write_at(10, b"x", &mut pool);
        let _ = ring.pieces(9, 2).count();
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "dropped with 1 pages")]
    fn a_ring_dropped_with_pages_is_caught() {
        let mut pool = Pool::new(1);
        Ring::new(0).write_at(0, b"x", &mut pool);
    }

    #[test]
    fn a_ring_may_outlive_its_pool_with_pages_in_hand() {
        let mut ring = Ring::new(0);
        ring.write_at(0, b"x", &mut Pool::new(1));
    }
}
