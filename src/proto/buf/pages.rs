//! The page pool: the one place that stream data takes memory from, with a hard limit.
//!
//! Owns: how many pages are lent out, how many more are promised, and short stacks of spare ones and of spare page
//! tables. Does not own the pages themselves while they are lent out; whoever takes a page gives it back to the same pool. Nobody gives a page
//! back before it wants to, and a peer that reads nothing, or an application, keeps it from wanting to for ever.
//!
//! A window that was offered is a promise: its text can't be refused afterwards (RFC 9293 SHLD-14), so whoever offers
//! one has the pages for it promised first, and they count as if they were lent. Each may be promised or hold what
//! [`Pool::share`] says, which is less the less is left, for everybody: those that have much shrink as they are read
//! from. [`Pool::SHARE_LEAST`] is everybody's, be there pages for it or not, so that nobody is shut out by what others
//! might use some day. So no page is missing that was promised as long as there are at most 5 borrowers for 32 pages
//! (20,480 with the default's 131,072), whatever they do: below one half of the pool a borrower takes 4, below an
//! eighth 2, and it takes that many to use all up. A page keeps what its
//! last borrower wrote: borrowers read only what they have written, which [`super::ring::Ring`] checks in debug builds.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
#[cfg(debug_assertions)]
use alloc::sync::{Arc, Weak};
use alloc::vec;
use alloc::vec::Vec;

use super::text::Released;

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;

/// One page.
pub type Page = Box<[u8; PAGE_SIZE]>;

/// The pages of one borrower, in their order; `None` in gaps.
pub(super) type Table = VecDeque<Option<Page>>;

/// A bounded supply of pages.
///
/// ```
/// use tunstack::proto::buf::pages::Pool;
///
/// let mut pool = Pool::new(1);
/// let page = pool.take(0).unwrap();
/// assert!(pool.take(0).is_none());
/// pool.give(page);
/// assert_eq!(pool.in_use(), 0);
/// ```
#[derive(Debug)]
pub struct Pool {
    limit: usize,
    in_use: usize,
    /// While the others have less than this, there is plenty: half of all is left, and as much as anybody may have then.
    plenty: usize,
    /// Pages lent out, and those that are promised beside them.
    committed: usize,
    /// Last in, first out, so that the page handed out next is the one most likely still in the cache.
    spare: Vec<Page>,
    /// Page tables without pages, likewise: a borrower that gives all its pages back keeps none.
    tables: Vec<Table>,
    /// Places in these.
    places: usize,
    /// What was shared instead of being copied to pages goes the same way.
    pub(crate) released: Released,
    #[cfg(debug_assertions)]
    alive: Arc<()>,
}

impl Pool {
    /// Most pages kept for the next borrower (1 MiB); more go back to the allocator.
    pub const SPARE_MAX: usize = 256;

    /// Places in all page tables together that are kept (32 KiB).
    const PLACES_MAX: usize = 4096;

    /// Places in the largest that is kept, for 1 MiB (2 KiB): whoever needs two gets it, too, and no limit counts what tables take.
    const TABLE_MAX: usize = 256;

    /// What anybody may have while half of the pool is left: 64 KiB, wherever in a page they begin.
    pub const SHARE_WHEN_PLENTY: usize = 17;

    /// What one may have while less than half of the pool is left: a window of 12 KiB, about a first flight.
    pub const SHARE_WHEN_SCARCE: usize = 4;

    /// What one may have in any case: a window of a page, which may begin within one.
    pub const SHARE_LEAST: usize = 2;

    /// The part of what is left above one half that one may have. A quarter leaves something for those who come later,
    /// and is no bound where few are there: an eighth of the pool for one alone.
    const GROWTH_DIVISOR: usize = 4;

    /// A pool that lends out at most `limit` pages.
    pub fn new(limit: usize) -> Self {
        Pool {
            limit,
            plenty: limit.saturating_add(1).saturating_sub((limit / 2).max(Self::SHARE_WHEN_PLENTY)),
            in_use: 0,
            committed: 0,
            spare: Vec::new(),
            tables: Vec::new(),
            places: 0,
            released: Released::default(),
            #[cfg(debug_assertions)]
            alive: Arc::new(()),
        }
    }

    /// Borrows a page for one who holds `held` already and was promised no more, or `None` if that is its share, or at
    /// the limit. The page's contents are arbitrary.
    pub fn take(&mut self, held: usize) -> Option<Page> {
        // Nobody's share is smaller.
        let share = if held < Self::SHARE_LEAST { Self::SHARE_LEAST } else { self.share(held) };
        self.take_of_share(held, share)
    }

    /// The same for one whose [share](Self::share) is known. It is no other after that: what this one has is no less for itself.
    pub(super) fn take_of_share(&mut self, held: usize, share: usize) -> Option<Page> {
        if held >= share {
            return None;
        }
        let page = self.take_promised()?;
        self.committed += 1;
        Some(page)
    }

    /// Takes a page back that was not promised.
    pub fn give(&mut self, page: Page) {
        self.committed = self.committed.saturating_sub(1);
        self.give_promised(page);
    }

    /// Borrows a page that was promised. `None` only if more is promised than there is.
    pub(super) fn take_promised(&mut self) -> Option<Page> {
        if self.in_use >= self.limit {
            return None;
        }
        let page = match self.spare.pop() {
            Some(page) => page,
            None => fresh()?,
        };
        self.in_use += 1;
        Some(page)
    }

    /// Takes a page back that stays promised.
    pub(super) fn give_promised(&mut self, page: Page) {
        debug_assert!(self.in_use > 0, "a page came back that this pool did not lend");
        self.in_use = self.in_use.saturating_sub(1);
        self.keep(page);
    }

    /// Takes back all pages in these places, as if they stayed promised, and tells how many.
    pub(super) fn give_all_promised(&mut self, places: &mut [Option<Page>]) -> usize {
        let mut given = 0;
        for page in places.iter_mut().filter_map(Option::take) {
            given += 1;
            self.keep(page);
        }
        debug_assert!(self.in_use >= given, "pages came back that this pool did not lend");
        self.in_use = self.in_use.saturating_sub(given);
        given
    }

    #[inline]
    fn keep(&mut self, page: Page) {
        if self.spare.len() < Self::SPARE_MAX {
            self.spare.push(page);
        }
    }

    /// An empty page table.
    pub(super) fn take_table(&mut self) -> Table {
        let table = self.tables.pop().unwrap_or_default();
        self.places -= table.capacity();
        table
    }

    /// Takes back a page table that is empty.
    pub(super) fn give_table(&mut self, table: Table) {
        debug_assert!(table.is_empty(), "pages are given back one by one");
        let places = self.places + table.capacity();
        let is_kept = (1..=Self::TABLE_MAX).contains(&table.capacity()) && places <= Self::PLACES_MAX;
        if is_kept && self.tables.len() < Self::SPARE_MAX {
            self.places = places;
            self.tables.push(table);
        }
    }

    /// What one borrower holds or was promised was `before`, and is `after` now.
    pub(super) fn commit(&mut self, before: usize, after: usize) {
        debug_assert!(self.committed >= before, "a promise was given back that this pool did not make");
        self.committed = (self.committed + after).saturating_sub(before);
    }

    /// Pages that one may hold or be promised who has `mine` already: some, and a part of what the others leave above
    /// one half of the pool; a few below that, and the least when less than an eighth is left. Those who have more keep
    /// it for as long as they must.
    pub fn share(&self, mine: usize) -> usize {
        let left = self.limit.saturating_add(mine).saturating_sub(self.committed).min(self.limit);
        let half = self.limit / 2;
        let share = if left >= half {
            Self::SHARE_WHEN_PLENTY + (left - half) / Self::GROWTH_DIVISOR
        } else if left.saturating_mul(8) >= self.limit {
            Self::SHARE_WHEN_SCARCE
        } else {
            Self::SHARE_LEAST
        };
        share.min(left).max(Self::SHARE_LEAST)
    }

    /// Whether one who has `mine` already may have [what is anybody's](Self::SHARE_WHEN_PLENTY) while there is plenty, or
    /// more: the short way to what [`share`](Self::share) says.
    pub(crate) fn has_plenty(&self, mine: usize) -> bool {
        self.committed < self.plenty.saturating_add(mine)
    }

    /// Pages lent out now.
    pub fn in_use(&self) -> usize {
        self.in_use
    }

    /// Pages that may be lent out at once.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Pages lent out or promised now. More than [`limit`](Self::limit) only by the least shares of very many.
    pub fn committed(&self) -> usize {
        self.committed
    }

    /// Pages that are neither lent out nor promised.
    pub fn available(&self) -> usize {
        self.limit.saturating_sub(self.committed)
    }

    /// Whether somebody who holds nothing finds a page.
    pub fn can_lend(&self) -> bool {
        self.in_use < self.limit
    }

    /// Pages kept for the next borrower.
    pub fn spare(&self) -> usize {
        self.spare.len()
    }

    /// Lets a borrower find out whether its pages still have a place to go back to.
    #[cfg(debug_assertions)]
    pub(super) fn alive(&self) -> Weak<()> {
        Arc::downgrade(&self.alive)
    }
}

/// A zeroed page, made on the heap: `Box::new([0; PAGE_SIZE])` may build it on the stack and copy it.
fn fresh() -> Option<Page> {
    vec![0; PAGE_SIZE].into_boxed_slice().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn page_tables_are_kept_for_the_next_borrower_but_neither_long_ones_nor_too_many() {
        const MANY: usize = Pool::PLACES_MAX / Pool::TABLE_MAX;
        let mut pool = Pool::new(2);
        pool.give_table(Table::new());
        pool.give_table(Table::with_capacity(Pool::TABLE_MAX + 1));
        assert_eq!(pool.take_table().capacity(), 0);
        pool.give_table(Table::with_capacity(3));
        (0..MANY).for_each(|_| pool.give_table(Table::with_capacity(Pool::TABLE_MAX)));
        assert_eq!(pool.tables.len(), MANY);
        // There is room again.
        assert_eq!(pool.take_table().capacity(), Pool::TABLE_MAX);
        pool.give_table(Table::with_capacity(Pool::TABLE_MAX));
        (1..MANY).for_each(|_| assert_eq!(pool.take_table().capacity(), Pool::TABLE_MAX));
        assert_eq!((pool.take_table().capacity(), pool.take_table().capacity()), (3, 0));
        (0..=Pool::SPARE_MAX).for_each(|_| pool.give_table(Table::with_capacity(1)));
        assert_eq!(pool.tables.len(), Pool::SPARE_MAX);
    }

    #[test]
    fn a_pool_lends_no_more_than_its_limit() {
        let mut pool = Pool::new(2);
        let first = pool.take(0).unwrap();
        let _second = pool.take(0).unwrap();
        assert!(pool.take(0).is_none());
        assert_eq!((pool.in_use(), pool.available()), (2, 0));
        pool.give(first);
        assert!(pool.take(0).is_some());
        assert!(Pool::new(0).take(0).is_none());
    }

    #[test]
    fn the_page_given_back_last_is_lent_first() {
        let mut pool = Pool::new(4);
        let (mut cold, mut hot) = (pool.take(0).unwrap(), pool.take(0).unwrap());
        cold[0] = 1;
        hot[0] = 2;
        pool.give(cold);
        pool.give(hot);
        assert_eq!(pool.take(0).unwrap()[0], 2);
        assert_eq!(pool.take(0).unwrap()[0], 1);
    }

    #[test]
    fn pages_beyond_a_small_reserve_go_back_to_the_allocator() {
        let mut pool = Pool::new(2 * Pool::SPARE_MAX);
        let pages: Vec<Page> = core::iter::from_fn(|| pool.take(0)).collect();
        assert_eq!(pages.len(), 2 * Pool::SPARE_MAX);
        for page in pages {
            pool.give(page);
        }
        assert_eq!((pool.in_use(), pool.spare()), (0, Pool::SPARE_MAX));
    }

    /// Takes for one borrower what it can get.
    fn greedy(pool: &mut Pool) -> Vec<Page> {
        let mut held = Vec::new();
        while let Some(page) = pool.take(held.len()) {
            held.push(page);
        }
        held
    }

    #[test]
    fn the_less_is_left_the_less_one_may_hold() {
        let mut pool = Pool::new(1_000);
        let first = greedy(&mut pool).len();
        assert_eq!(first, 17 + 500 / 4, "alone");
        let crowd: Vec<usize> =
            core::iter::from_fn(|| Some(greedy(&mut pool).len()).filter(|held| *held > 0)).collect();
        assert!(crowd.is_sorted_by(|one, next| one >= next), "{crowd:?}");
        let of = |share| crowd.iter().filter(|held| **held == share).count();
        assert!(of(4) >= 80 && of(2) >= 60, "{crowd:?}");
        assert_eq!(pool.available(), 0);
        assert!(!pool.can_lend());
    }

    #[test]
    fn who_came_first_and_has_much_may_have_less_once_others_want_some_until_all_have_the_same() {
        let mut pool = Pool::new(100_000);
        let mut shares = [0; 10];
        for round in 0..100 {
            for share in &mut shares {
                let fair = pool.share(*share);
                pool.commit(*share, fair);
                *share = fair;
            }
            assert!(round > 0 || shares[0] > 2 * shares[9], "{shares:?}");
        }
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(most - least <= most / 100, "{shares:?}");
        assert!(pool.committed() < 50_000 && pool.committed() > 30_000, "{shares:?}");
    }

    #[test]
    fn a_page_that_was_promised_is_there_for_as_long_as_there_are_no_more_borrowers_than_5_for_32_pages() {
        let mut pool = Pool::new(6_400);
        let promised = pool.share(0);
        pool.commit(0, promised);
        let others: Vec<Page> = (0..1_000 - 8).flat_map(|_| greedy(&mut pool)).collect();
        assert!(pool.available() < 100 && pool.in_use() == others.len(), "{}", pool.available());
        let pages: Vec<Page> = core::iter::from_fn(|| pool.take_promised()).take(promised).collect();
        assert_eq!(pages.len(), promised);
    }

    proptest! {
        #[test]
        fn there_is_plenty_for_whom_the_share_is_as_much_as_that(
            limit in prop_oneof![0usize..100, Just(131_072), Just(1 << 40)],
            others in prop_oneof![0usize..100, 60_000usize..70_000, Just(1 << 39)],
            mine in 0usize..40,
        ) {
            let mut pool = Pool::new(limit);
            pool.commit(0, others + mine);
            prop_assert_eq!(pool.has_plenty(mine), pool.share(mine) >= Pool::SHARE_WHEN_PLENTY);
        }

        #[test]
        fn the_account_of_lent_pages_is_exact(limit in 0usize..8, takes in prop::collection::vec(any::<bool>(), 0..100)) {
            let mut pool = Pool::new(limit);
            let mut lent = Vec::new();
            for take in takes {
                if take {
                    match pool.take(0) {
                        Some(page) => lent.push(page),
                        None => prop_assert_eq!(lent.len(), limit),
                    }
                } else if let Some(page) = lent.pop() {
                    pool.give(page);
                }
                prop_assert_eq!(pool.in_use(), lent.len());
                prop_assert_eq!(pool.available(), limit - lent.len());
            }
        }
    }
}
