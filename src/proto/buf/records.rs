//! Records of bytes, first in, first out, in one buffer: what a queue of datagrams is made of.
//!
//! A record lies in one piece, so that it can be handed on without a copy. Behind the newest the buffer begins anew
//! when the oldest have left room there. It grows when a record finds no room and shrinks when most of it is empty,
//! so in the steady state nothing is allocated, and what a burst has needed is given back after it. How much may
//! wait is for those to say who have the queue: the buffer is at most about twice as large as that.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use crate::proto::packet::{copy_pieces, len_of};

/// A queue of records, each with something that is known of it.
#[derive(Debug)]
pub struct Records<M> {
    /// The room: its length is all there is, whatever is in use of it.
    bytes: Vec<u8>,
    /// Oldest first. Each begins where the one before it ends, or at the beginning of the room.
    places: VecDeque<Place<M>>,
    /// Where the newest ends, if there is one.
    end: usize,
    /// Bytes of all records together.
    used: usize,
    kept: Kept,
}

#[derive(Debug)]
struct Place<M> {
    at: usize,
    len: usize,
    meta: M,
}

/// What is not given back.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Room for so many bytes.
    pub bytes: usize,
    /// Room for so many records (or twice as many: half as many again would not be worth an allocation).
    pub records: usize,
}

impl<M> Records<M> {
    /// What is kept of one record beside its bytes.
    pub const OVERHEAD: usize = size_of::<Place<M>>();

    /// No records, and no memory yet.
    pub const fn new(kept: Kept) -> Self {
        Records { bytes: Vec::new(), places: VecDeque::new(), end: 0, used: 0, kept }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Copies a record, which comes in pieces, to the end; tells how long it is.
    #[inline]
    pub fn push(&mut self, meta: M, pieces: &[&[u8]]) -> usize {
        let len = len_of(pieces);
        let at = self.place_for(len);
        copy_pieces(pieces, &mut self.bytes[at..at + len]);
        self.placed(Place { at, len, meta });
        len
    }

    /// The same of one that comes in one piece.
    #[inline]
    pub fn push_one(&mut self, meta: M, bytes: &[u8]) {
        let len = bytes.len();
        let at = self.place_for(len);
        self.bytes[at..at + len].copy_from_slice(bytes);
        self.placed(Place { at, len, meta });
    }

    #[inline(always)]
    fn place_for(&mut self, len: usize) -> usize {
        self.room_for(len).unwrap_or_else(|| self.grow_for(len))
    }

    #[inline(always)]
    fn placed(&mut self, place: Place<M>) {
        self.end = place.at + place.len;
        self.used += place.len;
        self.places.push_back(place);
    }

    /// The oldest.
    #[inline]
    pub fn front(&self) -> Option<(&M, &[u8])> {
        let place = self.places.front()?;
        Some((&place.meta, &self.bytes[place.at..place.at + place.len]))
    }

    /// The newest.
    #[inline]
    pub fn back_mut(&mut self) -> Option<(&mut M, &mut [u8])> {
        let place = self.places.back_mut()?;
        Some((&mut place.meta, &mut self.bytes[place.at..place.at + place.len]))
    }

    /// Copies more to the end of the newest record; `false` if what room there is lies elsewhere (nothing happened).
    pub fn extend_back(&mut self, bytes: &[u8]) -> bool {
        let len = bytes.len();
        if self.places.is_empty() {
            return false;
        }
        let end = self.end;
        let mut at = self.room_for(len);
        if at != Some(end) && (self.bytes.len() < self.kept.bytes || self.used + len > self.bytes.len()) {
            at = Some(self.grow_for(len));
        } else if at != Some(end) {
            return false;
        }
        let (Some(newest), Some(at)) = (self.places.back_mut(), at) else { return false };
        self.bytes[at..at + len].copy_from_slice(bytes);
        newest.len += len;
        self.end = at + len;
        self.used += len;
        true
    }

    /// Takes the oldest out; tells what was known of it, and how long it was.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<(M, usize)> {
        let Place { len, meta, .. } = self.places.pop_front()?;
        self.used -= len;
        if self.bytes.len() > self.kept.bytes && self.used <= self.bytes.len() / 8 {
            self.shrink();
        }
        if self.places.is_empty() && self.places.capacity() > 2 * self.kept.records {
            self.places.shrink_to(self.kept.records);
        }
        Some((meta, len))
    }

    /// Where in the buffer there is room for a record, if there is.
    #[inline]
    fn room_for(&self, len: usize) -> Option<usize> {
        let Some(oldest) = self.places.front() else { return (len <= self.bytes.len()).then_some(0) };
        let end = self.end;
        // Where the newest has gone round, something is left between it and the oldest: else nobody could tell that it has.
        if end < oldest.at {
            (end + len < oldest.at).then_some(end)
        } else if end + len <= self.bytes.len() {
            Some(end)
        } else {
            (len < oldest.at).then_some(0)
        }
    }

    #[cold]
    fn grow_for(&mut self, len: usize) -> usize {
        self.move_to(LEAST.max(2 * self.bytes.len()).max(self.used + len));
        self.used
    }

    #[cold]
    fn shrink(&mut self) {
        // Far from full as well as from empty: neither a few more nor a few less move everything again.
        self.move_to(self.kept.bytes.max(4 * self.used));
    }

    /// Moves all records, one right behind the other, to the beginning of a buffer of this size.
    fn move_to(&mut self, size: usize) {
        let mut bytes = vec![0; size];
        let mut end = 0;
        for place in &mut self.places {
            bytes[end..end + place.len].copy_from_slice(&self.bytes[place.at..place.at + place.len]);
            place.at = end;
            end += place.len;
        }
        self.bytes = bytes;
        self.end = end;
    }
}

/// The smallest buffer that is worth an allocation.
const LEAST: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEPT: Kept = Kept { bytes: 1000, records: 8 };

    #[test]
    fn the_newest_is_added_to_where_there_is_room() {
        let mut records = Records::new(KEPT);
        assert!(!records.extend_back(b"to nothing"));
        records.push(1, &[b"begin"]);
        assert!(records.extend_back(b" and end"));
        assert_eq!(records.front(), Some((&1, &b"begin and end"[..])));
        assert!(records.extend_back(&[0; LEAST]));
        records.push(2, &[&[0; 400]]);
        records.pop();
        // At the end of what is kept, with room at the beginning.
        assert!(records.bytes.len() >= KEPT.bytes && !records.extend_back(&[0; 200]));
        assert_eq!(records.pop(), Some((2, 400)));
    }

    #[test]
    fn what_a_burst_needed_is_given_back_and_what_is_kept_is_not_allocated_again() {
        let mut records = Records::new(KEPT);
        for number in 0..1000 {
            records.push(number, &[&[7; 50], &[8; 50]]);
        }
        assert!(records.bytes.len() >= 100_000);
        for number in 0..999 {
            assert_eq!(records.pop(), Some((number, 100)));
        }
        assert!(records.bytes.len() <= 1000, "one that is left does not hold the room of all");
        assert_eq!((records.pop(), records.pop()), (Some((999, 100)), None));
        assert!(records.places.capacity() <= 2 * KEPT.records);
        let room = records.bytes.as_ptr();
        for _ in 0..1000 {
            records.push(0, &[&[7; 90]]);
            records.push(0, &[&[7; 800]]);
            assert_eq!((records.pop(), records.pop()), (Some((0, 90)), Some((0, 800))));
        }
        assert_eq!(records.bytes.as_ptr(), room);
    }

    proptest! {
        #[test]
        fn records_come_out_as_they_went_in_and_take_no_more_room_than_they_need(
            steps in prop::collection::vec(
                prop::option::weighted(0.6, prop_oneof![0_usize..20, 0_usize..300, 0_usize..3000]), 1..300),
            joins in prop::collection::vec(any::<bool>(), 300),
        ) {
            let mut records = Records::new(KEPT);
            let mut model: VecDeque<(usize, Vec<u8>)> = VecDeque::new();
            let mut most = 0;
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Some(len) => {
                        let bytes: Vec<u8> = (0..len).map(|at| (at + number) as u8).collect();
                        let newest = model.back_mut().filter(|(_, newest)| joins[number] && newest.len() + len <= 3000);
                        match newest {
                            Some((_, newest)) if records.extend_back(&bytes) => newest.extend(bytes),
                            Some(_) | None => {
                                let (head, tail) = bytes.split_at(len / 3);
                                match joins[number] {
                                    true => prop_assert_eq!(records.push(number, &[head, &[], tail]), len),
                                    false => records.push_one(number, &bytes),
                                }
                                model.push_back((number, bytes));
                            }
                        }
                        let newest = records.back_mut().map(|(meta, bytes)| (*meta, bytes.to_vec()));
                        prop_assert_eq!(newest.as_ref(), model.back());
                    }
                    None => {
                        let expected = model.pop_front().map(|(number, bytes)| (number, bytes.len()));
                        prop_assert_eq!(records.pop(), expected);
                        let room = records.bytes.len();
                        prop_assert!(room <= KEPT.bytes.max(8 * records.used), "{} for {}", room, records.used);
                    }
                }
                let front = records.front().map(|(meta, bytes)| (*meta, bytes.to_vec()));
                prop_assert_eq!(front.as_ref(), model.front());
                prop_assert_eq!((records.len(), records.is_empty()), (model.len(), model.is_empty()));
                let used: usize = model.iter().map(|(_, bytes)| bytes.len()).sum();
                prop_assert_eq!(records.used, used);
                most = most.max(used);
                let largest = 3000;
                prop_assert!(records.bytes.len() <= (2 * (most + 2 * largest)).max(KEPT.bytes));
            }
            for (number, bytes) in model {
                prop_assert_eq!(records.front(), Some((&number, &bytes[..])));
                prop_assert_eq!(records.pop(), Some((number, bytes.len())));
            }
            prop_assert!(records.is_empty() && records.bytes.len() <= KEPT.bytes);
        }
    }
}
