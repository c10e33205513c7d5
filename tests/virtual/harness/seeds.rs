//! Which seeds a randomised test runs, and what a failing one prints.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs `scenario` for `count` seeds, or for the one in `VIRTUAL_SEED`, or for as many as `VIRTUAL_SEEDS` says
/// (a soak). A failure prints the seed and the command that replays it.
pub(crate) fn for_each_seed(test: &str, count: u64, scenario: impl Fn(u64)) {
    let seeds = match (number("VIRTUAL_SEED"), number("VIRTUAL_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(many)) => {
            let first = number("VIRTUAL_FIRST_SEED").unwrap_or(0);
            first..first + many
        }
        (None, None) => 0..count,
    };
    for seed in seeds {
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            eprintln!("seed {seed} fails; replay with:");
            eprintln!("    VIRTUAL_SEED={seed} cargo test --test virtual {test} -- --nocapture");
            resume_unwind(cause);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")))
}

/// The byte at `offset` of stream `stream`: what is sent and what must be read.
pub(crate) fn pattern(stream: u64, offset: u64) -> u8 {
    let mixed =
        (offset / 8 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
    (mixed ^ mixed >> 29).to_le_bytes()[(offset % 8) as usize]
}

/// A stretch of [`pattern`].
pub(crate) fn pattern_bytes(stream: u64, from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64).map(|offset| pattern(stream, offset)).collect()
}
