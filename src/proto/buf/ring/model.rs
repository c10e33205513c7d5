//! What a ring should do, by a map with an entry for each byte.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const PAGE: u64 = PAGE_SIZE as u64;

fn read(ring: &Ring, from: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    ring.read_at(from, &mut out);
    assert_eq!(ring.pieces(from, len).collect::<Vec<_>>().concat(), out);
    out
}

#[derive(Clone, Debug)]
enum Op {
    Write {
        gap: u64,
        len: usize,
        fill: u8,
    },
    Append {
        len: usize,
        fill: u8,
    },
    /// So much room is asked for, and so much of it used.
    InPlace {
        max: usize,
        len: usize,
        fill: u8,
    },
    Advance {
        by: u64,
    },
    AdvanceToEnd,
    /// Up to so many bytes are moved out, if any stand at the start.
    Take {
        len: usize,
    },
    Promise {
        pages: usize,
    },
    Truncate {
        run: usize,
    },
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0u64..60_000, 0usize..9_000, any::<u8>()).prop_map(|(gap, len, fill)| Op::Write { gap, len, fill }),
        4 => (0usize..9_000, any::<u8>()).prop_map(|(len, fill)| Op::Append { len, fill }),
        4 => (1usize..9_000, 0usize..5_000, any::<u8>())
            .prop_map(|(max, len, fill)| Op::InPlace { max, len, fill }),
        4 => (0u64..20_000).prop_map(|by| Op::Advance { by }),
        1 => Just(Op::AdvanceToEnd),
        4 => (0usize..20_000).prop_map(|len| Op::Take { len }),
        2 => (0usize..12).prop_map(|pages| Op::Promise { pages }),
        2 => any::<usize>().prop_map(|run| Op::Truncate { run }),
        1 => Just(Op::Clear),
    ]
}

/// One map entry per byte.
#[derive(Default)]
struct Model {
    start: u64,
    bytes: BTreeMap<u64, u8>,
}

impl Model {
    fn end(&self) -> u64 {
        self.bytes.last_key_value().map_or(self.start, |(&position, _)| position + 1)
    }

    fn write(&mut self, at: u64, data: &[u8]) {
        self.bytes.extend((at..).zip(data.iter().copied()));
    }

    fn advance(&mut self, to: u64) {
        self.start = self.start.max(to);
        self.bytes = self.bytes.split_off(&self.start);
    }

    /// The maximal written runs.
    fn runs(&self) -> Vec<(u64, Vec<u8>)> {
        let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
        for (&position, &byte) in &self.bytes {
            match runs.last_mut() {
                Some((at, run)) if *at + run.len() as u64 == position => run.push(byte),
                _ => runs.push((position, vec![byte])),
            }
        }
        runs
    }

    /// Pages that hold a written byte.
    fn pages(&self) -> usize {
        let mut pages: Vec<u64> = self.bytes.keys().map(|position| position / PAGE).collect();
        pages.dedup();
        pages.len()
    }
}

/// Stores the same in both and compares what they say about it.
fn write(ring: &mut Ring, model: &mut Model, pool: &mut Pool, at: u64, (len, fill): (usize, u8)) {
    let data: Vec<u8> = (0..len).map(|i| fill.wrapping_add(i as u8)).collect();
    let stored = ring.write_at(at, &data, pool);
    assert!(stored == len || ring.pages() >= pool.share(ring.committed()) || !pool.can_lend());
    model.write(at, &data[..stored]);
}

/// Moves up to `len` bytes out of both, if any stand at the start.
fn take(ring: &mut Ring, model: &mut Model, pool: &mut Pool, len: usize) {
    let unread = model.runs().into_iter().next().filter(|(at, _)| *at == model.start);
    let (at, mut unread) = unread.unwrap_or((model.start, Vec::new()));
    unread.truncate(len);
    let mut out = vec![0; unread.len()];
    ring.take(at, &mut out, pool);
    assert_eq!(out, unread);
    model.advance(at + out.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_ring_behaves_like_a_map_from_positions_to_bytes(
        begin in prop_oneof![Just(1u64 << 32), 0u64..10_000],
        ops in prop::collection::vec(op(), 1..30),
        limit in 1usize..30,
    ) {
        // The pool is dropped first, or a failure would be reported as a leak.
        let mut ring = Ring::new(begin);
        let mut pool = Pool::new(limit);
        let mut model = Model { start: begin, ..Model::default() };
        for op in ops {
            match op {
                Op::Write { gap, len, fill } => {
                    let at = ring.start() + gap;
                    write(&mut ring, &mut model, &mut pool, at, (len, fill));
                }
                Op::Append { len, fill } => {
                    let at = ring.end();
                    write(&mut ring, &mut model, &mut pool, at, (len, fill));
                }
                Op::InPlace { max, len, fill } => {
                    let (at, mut data) = (ring.end(), Vec::new());
                    let stored = ring.write_in_place(at, max, &mut pool, |room| {
                        data.resize(len.min(room.len()), fill);
                        room[..data.len()].copy_from_slice(&data);
                        assert!(!room.is_empty() && room.len() <= max);
                        data.len()
                    });
                    let expected = stored.is_some().then_some(data.len());
                    prop_assert_eq!(stored, expected);
                    let has_its_share = ring.pages() >= pool.share(ring.committed());
                    prop_assert!(stored.is_some() || has_its_share || !pool.can_lend());
                    model.write(at, &data);
                }
                Op::Advance { by } => {
                    ring.advance(model.start + by, &mut pool);
                    model.advance(model.start + by);
                }
                Op::Take { len } => take(&mut ring, &mut model, &mut pool, len),
                Op::Promise { pages } => ring.promise(pages.min(pool.share(ring.committed())), &mut pool),
                Op::Truncate { run } => {
                    let ends = model.runs().into_iter().map(|(at, run)| at + run.len() as u64);
                    let ends: Vec<u64> = core::iter::once(ring.start()).chain(ends).collect();
                    let to = ends[run % ends.len()];
                    ring.truncate(to, &mut pool);
                    model.bytes.retain(|position, _| *position < to);
                }
                Op::AdvanceToEnd => {
                    ring.advance(model.end(), &mut pool);
                    model.advance(model.end());
                }
                Op::Clear => {
                    ring.clear(&mut pool);
                    model.bytes.clear();
                }
            }
            prop_assert_eq!((ring.start(), ring.end()), (model.start, model.end()));
            prop_assert_eq!((ring.pages(), ring.committed()), (pool.in_use(), pool.committed()));
            // A page may be kept whose written bytes all lie below the start, but only the first.
            prop_assert!((model.pages()..=model.pages() + 1).contains(&ring.pages()));
            prop_assert!(!model.bytes.is_empty() || ring.pages() == 0 && ring.more.capacity() == 0);
            for (at, run) in model.runs() {
                prop_assert_eq!(read(&ring, at, run.len()), run);
            }
        }
        ring.clear(&mut pool);
        prop_assert_eq!(pool.in_use(), 0);
    }
}
