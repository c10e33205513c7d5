//! Sequence arithmetic against whole numbers: RFC 9293 section 3.4, "all arithmetic dealing with sequence numbers must be
//! performed modulo 2**32".

use proptest::prelude::*;

use super::*;

const MODULUS: i128 = 1 << 32;

/// A number on the wire, often one around which something turns.
fn number() -> impl Strategy<Value = u32> {
    let around = |turn: u32| (-3_i32..4).prop_map(move |by| turn.wrapping_add_signed(by));
    prop_oneof![any::<u32>(), around(0), around(1 << 31)]
}

/// Of all positions that look the same on the wire the nearest; of two, the lower.
fn nearest(reference: u64, nr: u32) -> u64 {
    let reference = i128::from(reference);
    let turn = reference / MODULUS;
    let candidates = (turn - 2..=turn + 2).map(|turn| turn * MODULUS + i128::from(nr));
    let nearest = candidates.min_by_key(|candidate| ((candidate - reference).abs(), *candidate));
    u64::try_from(nearest.unwrap()).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    /// Another number is heard.
    Hear(u32),
    /// One that lies so far from the position.
    HearNear(i64),
    Move(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let half = 1_i64 << 31;
    let near = prop_oneof![-70_000_i64..70_000, -half - 3..-half + 3, half - 3..half + 3];
    let count = prop_oneof![0_u64..70_000, any::<u32>().prop_map(u64::from)];
    prop_oneof![number().prop_map(Step::Hear), near.prop_map(Step::HearNear), count.prop_map(Step::Move)]
}

proptest! {
    #[test]
    fn numbers_on_the_wire_add_and_subtract_modulo_their_size(a in number(), b in number()) {
        let (long_a, long_b) = (i128::from(a), i128::from(b));
        prop_assert_eq!(i128::from(SeqNr(a).plus(b).0), (long_a + long_b) % MODULUS);
        let distance = i128::from(SeqNr(a).minus(SeqNr(b)));
        // The one distance that leads from `b` to `a` and is no further than half of the way around.
        let leads_there = |distance: &i128| (long_b + distance).rem_euclid(MODULUS) == long_a;
        prop_assert!(leads_there(&distance) && (-MODULUS / 2..MODULUS / 2).contains(&distance));
    }

    #[test]
    fn positions_walk_like_whole_numbers(isn in number(), steps in prop::collection::vec(step(), 1..60)) {
        let (mut snd, mut rcv) = (SndPos::of_syn(SeqNr(isn)), RcvPos::of_syn(SeqNr(isn)));
        let first = (1 << 32) + u64::from(isn);
        let mut model = first;
        for step in steps {
            let before = (snd, model);
            match step {
                Step::Hear(_) | Step::HearNear(_) => {
                    let nr = match step {
                        Step::Hear(nr) => nr,
                        Step::HearNear(by) => model.wrapping_add_signed(by) as u32,
                        Step::Move(_) => unreachable!(),
                    };
                    let heard = nearest(model, nr);
                    prop_assert_eq!((snd.unwrap(SeqNr(nr)).get(), rcv.unwrap(SeqNr(nr)).get()), (heard, heard));
                    // A peer can't lead us before our SYN.
                    if heard >= first {
                        (snd, rcv, model) = (snd.unwrap(SeqNr(nr)), rcv.unwrap(SeqNr(nr)), heard);
                    }
                }
                Step::Move(count) => (snd, rcv, model) = (snd.plus(count), rcv.plus(count), model + count),
            }
            prop_assert_eq!((snd.get(), rcv.get()), (model, model));
            prop_assert_eq!((snd, rcv), (SndPos::at(model), RcvPos::at(model)));
            prop_assert_eq!(i128::from(snd.wire().0), i128::from(model) % MODULUS);
            prop_assert_eq!(rcv.wire(), snd.wire());
            let (was, model_was) = before;
            prop_assert_eq!(snd.cmp(&was), model.cmp(&model_was));
            prop_assert_eq!(snd.since(was), model.max(model_was) - model_was);
            prop_assert_eq!(was.since(snd), model_was.max(model) - model);
        }
    }
}
