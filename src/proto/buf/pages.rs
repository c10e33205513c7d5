//! The page pool: the one place that stream data takes memory from, with a hard limit.
//!
//! Owns: how many pages are lent out, and a short stack of spare ones. Does not own the pages themselves
//! while they are lent out; whoever takes a page gives it back to the same pool. Nobody gives a page back
//! before it wants to, and a peer that reads nothing keeps it from wanting to for ever. So the pool lends
//! less to each the less it has: [`Pool::share`]. A page keeps what its last
//! borrower wrote: borrowers read only what they have written, which [`super::ring::Ring`] checks in debug
//! builds.

use alloc::boxed::Box;
#[cfg(debug_assertions)]
use alloc::sync::{Arc, Weak};
use alloc::vec;
use alloc::vec::Vec;

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;

/// One page.
pub type Page = Box<[u8; PAGE_SIZE]>;

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
    /// Last in, first out, so that the page handed out next is the one most likely still in the cache.
    spare: Vec<Page>,
    #[cfg(debug_assertions)]
    alive: Arc<()>,
}

impl Pool {
    /// Most pages kept for the next borrower (1 MiB); more go back to the allocator.
    pub const SPARE_MAX: usize = 256;

    /// What one borrower may hold while less than half of the pool is left: 16 KiB, a first flight.
    pub const SHARE_WHEN_SCARCE: usize = 4;

    /// A pool that lends out at most `limit` pages.
    pub fn new(limit: usize) -> Self {
        Pool {
            limit,
            in_use: 0,
            spare: Vec::new(),
            #[cfg(debug_assertions)]
            alive: Arc::new(()),
        }
    }

    /// Borrows a page for one who holds `held` already, or `None` if that is its share, or at the limit. The
    /// page's contents are arbitrary.
    pub fn take(&mut self, held: usize) -> Option<Page> {
        if self.in_use >= self.limit || held >= self.share() {
            return None;
        }
        let page = match self.spare.pop() {
            Some(page) => page,
            None => fresh()?,
        };
        self.in_use += 1;
        Some(page)
    }

    /// Takes a page back.
    pub fn give(&mut self, page: Page) {
        debug_assert!(self.in_use > 0, "a page came back that this pool did not lend");
        self.in_use = self.in_use.saturating_sub(1);
        if self.spare.len() < Self::SPARE_MAX {
            self.spare.push(page);
        }
    }

    /// Pages that one borrower may hold now: as many as it likes while half of the pool is left, a few below
    /// that, one when less than an eighth is left. Those who hold more keep it, but the connections of one
    /// peer, however many they are, leave something for the others for a long time.
    pub fn share(&self) -> usize {
        let available = self.available();
        if available.saturating_mul(2) >= self.limit {
            usize::MAX
        } else if available.saturating_mul(8) >= self.limit {
            Self::SHARE_WHEN_SCARCE
        } else {
            1
        }
    }

    /// Pages lent out now.
    pub fn in_use(&self) -> usize {
        self.in_use
    }

    /// Pages that may be lent out at once.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Pages that [`take`](Self::take) can still lend before some come back.
    pub fn available(&self) -> usize {
        self.limit.saturating_sub(self.in_use)
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

    #[test]
    fn the_less_is_left_the_less_one_may_hold() {
        let mut pool = Pool::new(1_000);
        let greedy = |pool: &mut Pool| {
            let mut held = Vec::new();
            while let Some(page) = pool.take(held.len()) {
                held.push(page);
            }
            held.len()
        };
        assert_eq!(greedy(&mut pool), 501, "alone: until less than half is left");
        let crowd: Vec<usize> =
            core::iter::from_fn(|| Some(greedy(&mut pool)).filter(|held| *held > 0)).collect();
        assert!(crowd.len() > 200, "{} found something", crowd.len());
        assert!(crowd.iter().all(|held| *held <= Pool::SHARE_WHEN_SCARCE));
        assert_eq!((crowd.last(), pool.available()), (Some(&1), 0));
    }

    proptest! {
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
