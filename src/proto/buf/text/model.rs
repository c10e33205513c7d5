//! What text should be, by a list with an entry for each byte.

use alloc::sync::Arc;
use alloc::vec;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Write {
        len: usize,
    },
    InPlace {
        len: usize,
    },
    Share {
        len: usize,
    },
    /// So many thousandths of what is held are forgotten.
    Advance {
        share: usize,
    },
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    let len = || prop_oneof![1usize..10, 1usize..9_000];
    prop_oneof![
        4 => len().prop_map(|len| Op::Write { len }),
        2 => len().prop_map(|len| Op::InPlace { len }),
        6 => prop_oneof![0usize..10, 1usize..20_000].prop_map(|len| Op::Share { len }),
        4 => prop_oneof![0usize..=1000, Just(1000)].prop_map(|share| Op::Advance { share }),
        1 => Just(Op::Clear),
    ]
}

/// Text, and what should be in it.
struct Pair {
    text: Text,
    pool: Pool,
    start: u64,
    bytes: Vec<u8>,
    /// Where each that was shared ends, and what lives as long as it is held.
    owners: Vec<(u64, Arc<()>)>,
    made: u64,
}

/// Bytes that somebody owns.
struct Owned(Vec<u8>, #[expect(dead_code, reason = "it lives as long as the bytes")] Arc<()>);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn pieces(text: &Text, from: u64, len: usize) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    text.pieces(from, len, &mut pieces);
    pieces
}

impl Pair {
    fn new(start: u64) -> Pair {
        let (pool, text) = (Pool::new(64), Text::new(start));
        Pair { text, pool, start, bytes: vec![], owners: vec![], made: 0 }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// So many bytes that are no others'.
    fn make(&mut self, len: usize) -> Vec<u8> {
        let from = self.made;
        self.made += len as u64;
        (from..self.made).map(|at| (at % 251) as u8).collect()
    }

    fn apply(&mut self, op: &Op) {
        let at = self.end();
        match *op {
            Op::Write { len } => {
                let data = self.make(len);
                let stored = self.text.write_at(at, &data, &mut self.pool);
                self.bytes.extend(&data[..stored]);
            }
            Op::InPlace { len } => {
                let data = self.make(len);
                let stored = self.text.write_in_place(at, len, &mut self.pool, |room| {
                    room.copy_from_slice(&data[..room.len()]);
                    room.len()
                });
                self.bytes.extend(&data[..stored.unwrap_or(0)]);
            }
            Op::Share { len } => {
                let (data, owner) = (self.make(len), Arc::new(()));
                self.bytes.extend(&data);
                self.text.share_at(at, Bytes::from_owner(Owned(data, Arc::clone(&owner))));
                // Nothing is not held.
                self.owners.extend((len > 0).then_some((at + len as u64, owner)));
            }
            Op::Advance { share } => {
                let by = self.bytes.len() * share / 1000;
                self.bytes.drain(..by);
                self.start += by as u64;
                self.text.advance(self.start, &mut self.pool);
            }
            Op::Clear => {
                self.start = at;
                self.bytes.clear();
                self.text.clear(&mut self.pool);
                // The ring goes on where it is told to.
                self.text.advance(at, &mut self.pool);
            }
        }
    }

    /// Compares what stands at these thousandths.
    fn check(&self, (one, other): (usize, usize)) {
        let place = |share| self.bytes.len() * share / 1000;
        let range = place(one.min(other))..place(one.max(other));
        let (from, expected) = (self.start + range.start as u64, &self.bytes[range.clone()]);
        let pieces = pieces(&self.text, from, range.len());
        assert!(pieces.iter().all(|piece| !piece.is_empty()));
        assert_eq!(pieces.concat(), expected);
        if let Some(piece) = self.text.piece(from, range.len()) {
            assert_eq!(piece, expected);
        } else if let [piece] = pieces[..] {
            // What begins with a page that is not the first takes longer to find, but what is shared is found.
            assert!(piece.len() <= PAGE_SIZE, "{} bytes in one piece, which is not found", piece.len());
        }
        assert_eq!(self.text.is_empty(), self.bytes.is_empty());
        for (end, owner) in &self.owners {
            let is_held = Arc::strong_count(owner) > 1;
            assert_eq!(
                is_held,
                *end > self.start,
                "what is shared up to {end} with {} forgotten",
                self.start
            );
        }
    }
}

proptest! {
    #[test]
    fn text_is_what_was_written_and_shared_and_what_is_forgotten_is_released(
        start in prop_oneof![0u64..10_000, Just((1 << 32) - 3)],
        ops in prop::collection::vec((op(), (0usize..=1000, 0usize..=1000)), 1..60),
    ) {
        let mut pair = Pair::new(start);
        for (op, places) in &ops {
            pair.apply(op);
            pair.check(*places);
            pair.check((0, 1000));
        }
        pair.apply(&Op::Clear);
        pair.check((0, 1000));
        prop_assert_eq!(pair.pool.in_use(), 0);
    }

    #[test]
    fn no_segment_lies_in_more_pieces_than_that(
        lens in prop::collection::vec(
            (any::<bool>(), prop_oneof![Just(1usize), Just(Text::SHARE_MIN), 1usize..9_000, 1usize..70_000]), 1..40),
        start in 0u64..5_000,
        from in 0usize..5_000,
    ) {
        let (mut text, mut pool) = (Text::new(start), Pool::new(2_000));
        let mut end = start;
        for (is_shared, len) in lens {
            if is_shared && len >= Text::SHARE_MIN {
                text.share_at(end, Bytes::from(vec![0; len]));
            } else {
                prop_assert_eq!(text.write_at(end, &vec![0; len], &mut pool), len);
            }
            end += len as u64;
        }
        for from in (start..end).skip(from).step_by(4_999) {
            let len = (end - from).min(1 << 16) as usize;
            let pieces = pieces(&text, from, len).len();
            prop_assert!(pieces <= Text::PIECES_MAX, "{pieces} pieces");
        }
        text.clear(&mut pool);
    }
}

#[test]
fn the_worst_that_can_be_is_met() {
    let (mut text, mut pool) = (Text::new(0), Pool::new(200));
    let share = || Bytes::from(vec![0; Text::SHARE_MIN]);
    // What is copied begins with the last byte of a page.
    let (start, copied) = (5 * PAGE_SIZE as u64 - 1, (1 << 16) - 2);
    text.advance(start - Text::SHARE_MIN as u64, &mut pool);
    text.share_at(start - Text::SHARE_MIN as u64, share());
    assert_eq!(text.write_at(start, &vec![0; copied], &mut pool), copied);
    text.share_at(start + copied as u64, share());
    assert_eq!(pieces(&text, start - 1, 1 << 16).len(), Text::PIECES_MAX);
    text.clear(&mut pool);
}

#[test]
fn what_is_to_be_kept_is_kept_until_it_is_taken() {
    let (mut text, mut pool) = (Text::new(0), Pool::new(1));
    let mut list = Vec::new();
    pool.released.keep();
    for (at, last) in [(0, 1u8), (1, 2)] {
        text.share_at(at, Bytes::copy_from_slice(&[last]));
    }
    text.advance(1, &mut pool);
    pool.released.take(&mut list);
    assert_eq!(list, [&[1][..]]);
    list.clear();
    text.clear(&mut pool);
    pool.released.take(&mut list);
    assert_eq!(list, [&[2][..]]);
    list.clear();
    pool.released.take(&mut list);
    assert!(list.is_empty());
}
