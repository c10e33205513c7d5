//! A hash table of blocks of IPv6: what is known below each string of 32 bits.
//!
//! Why not `hashbrown`: it reads two places for one question, its marks and then the item, where one line of
//! cache would do; and where items come and go it may grow although they do not become more, so that
//! memory would not be given back. Here a cell is sought from the place that the number of its block is hashed
//! to onwards, and what goes leaves no mark: those behind it move up.
//!
//! At most three quarters of the cells are in use, and more than a quarter, unless there are but eight. Growing and
//! shrinking move all of them: that is rare, since before the next time a third has to go or half as many to come.

use alloc::boxed::Box;

use super::runs::Runs;
use super::slot::Packed;

/// What is known of the addresses whose first 32 bits are the same. Vacant if nothing is. Half a line of cache, never
/// astride two.
#[derive(Debug)]
#[repr(align(32))]
pub(super) struct Cell {
    block: u32,
    /// For all of them: the longest prefix of 25 to 32 bits.
    pub(super) whole: Packed,
    /// By their next 16 bits: the longest prefix of 33 to 48 bits.
    pub(super) inside: Runs,
}

impl Cell {
    const VACANT: Cell = Cell { block: 0, whole: Packed::EMPTY, inside: Runs::NONE };

    #[inline]
    fn is_vacant(&self) -> bool {
        self.whole == Packed::EMPTY && self.inside.is_none()
    }
}

/// Cells by their blocks.
#[derive(Debug, Default)]
pub(super) struct Cells {
    /// A power of two, or none.
    cells: Box<[Cell]>,
    len: usize,
}

const _: () = assert!(size_of::<Cell>() == 32, "half a line of cache");

const CELLS_MIN: usize = 8;

impl Cells {
    /// What is known of a block.
    #[inline]
    pub(super) fn get(&self, block: u32) -> Option<&Cell> {
        let home = self.home_of(block);
        // The second cell of the same line, if it is not the first: reckoned, as a processor that has to guess
        // does not go on to the next look-up while it waits.
        let mut place = home + usize::from(self.cells.get(home)?.block != block);
        loop {
            let cell = self.cells.get(place)?;
            if cell.block == block || cell.is_vacant() {
                return (!cell.is_vacant()).then_some(cell);
            }
            place = self.after(place);
        }
    }

    /// Changes what is known of a block.
    pub(super) fn change(&mut self, block: u32, how: impl FnOnce(&mut Cell)) {
        if (self.len + 1) * 4 > self.cells.len() * 3 {
            self.resize((self.cells.len() * 2).max(CELLS_MIN));
        }
        let place = self.place_of(block);
        let Some(cell) = self.cells.get_mut(place) else { return };
        let was_vacant = cell.is_vacant();
        cell.block = block;
        how(cell);
        let is_vacant = cell.is_vacant();
        self.len = self.len + usize::from(was_vacant) - usize::from(is_vacant);
        if is_vacant {
            self.close(place);
            if self.len == 0 {
                self.resize(0);
            } else if self.len * 4 <= self.cells.len() && self.cells.len() > CELLS_MIN {
                self.resize(self.cells.len() / 2);
            }
        }
    }

    /// How many bytes they take.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.cells) + self.cells.iter().map(|cell| cell.inside.bytes()).sum::<usize>()
    }

    /// For how many there is room.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.cells.len()
    }

    /// Where the search for a block begins: the first cell of a line.
    #[inline]
    fn home_of(&self, block: u32) -> usize {
        // The golden ratio: numbers that are alike go far from one another, and every bit counts for the upper.
        let mixed = u64::from(block).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (mixed as usize) & self.cells.len().wrapping_sub(1) & !1
    }

    /// The place that is looked at next.
    #[inline]
    fn after(&self, place: usize) -> usize {
        (place + 1) & self.cells.len().wrapping_sub(1)
    }

    /// Where a block's cell is or would be. There are vacant ones.
    fn place_of(&self, block: u32) -> usize {
        let mut place = self.home_of(block);
        while self.cells.get(place).is_some_and(|cell| cell.block != block && !cell.is_vacant()) {
            place = self.after(place);
        }
        place
    }

    /// Moves up what is behind a place that has become vacant, so that a search that passed it finds it still.
    fn close(&mut self, mut gap: usize) {
        let mask = self.cells.len().wrapping_sub(1);
        let mut place = gap;
        loop {
            place = self.after(place);
            let Some(cell) = self.cells.get(place).filter(|cell| !cell.is_vacant()) else { return };
            let home = self.home_of(cell.block);
            // Whether the gap is on its way from home.
            if (place.wrapping_sub(home) & mask) >= (place.wrapping_sub(gap) & mask) {
                self.cells.swap(gap, place);
                gap = place;
            }
        }
    }

    fn resize(&mut self, room: usize) {
        let cells = (0..room).map(|_| Cell::VACANT).collect();
        for cell in core::mem::replace(&mut self.cells, cells) {
            if cell.is_vacant() {
                continue;
            }
            let place = self.place_of(cell.block);
            if let Some(there) = self.cells.get_mut(place) {
                *there = cell;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::choices::ChoiceId;
    use super::super::slot::{Change, Tier};
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    fn answer(number: u32) -> Packed {
        let tier = Tier::of(32, &[24, 32]);
        Change::insertion(32, ChoiceId(number), tier).of(Packed::EMPTY)
    }

    proptest! {
        /// With few blocks, and with blocks whose search begins at one place.
        #[test]
        fn it_agrees_with_an_ordered_map_and_keeps_no_more_room_than_it_says(
            steps in prop::collection::vec((0_u32..2, 0_u32..60, any::<bool>()), 0..400),
        ) {
            let (mut cells, mut model) = (Cells::default(), BTreeMap::new());
            for (number, (upper, lower, is_there)) in steps.into_iter().enumerate() {
                let block = upper << 28 | lower;
                let whole = if is_there { answer(number as u32) } else { Packed::EMPTY };
                cells.change(block, |cell| cell.whole = whole);
                model.insert(block, whole);
                let len = model.values().filter(|whole| **whole != Packed::EMPTY).count();
                prop_assert_eq!(cells.len, len);
                let room = cells.cells.len();
                prop_assert!(len * 4 <= room * 3, "{} of {}", len, room);
                prop_assert!(room <= 8 || room < len * 4, "{} of {}", len, room);
                prop_assert_eq!(room == 0, len == 0);
            }
            for (block, whole) in &model {
                let found = cells.get(*block).map_or(Packed::EMPTY, |cell| cell.whole);
                prop_assert_eq!(found, *whole);
            }
        }
    }
}
