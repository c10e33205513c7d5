//! Which seeds a randomised test runs, and what a failing one prints.

// Each test uses some of it.
#![allow(dead_code)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::LazyLock;

use tunstack::rng::Rng;

/// Runs `scenario` for `count` seeds, or for the one in `SIM_SEED`, or for as many as `SIM_SEEDS` says, from
/// `SIM_FIRST_SEED` on. A failure prints the seed and the command that replays it.
pub(crate) fn for_each_seed(test: &str, count: u64, scenario: impl Fn(u64)) {
    let seeds = match (number("SIM_SEED"), number("SIM_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, many) => {
            let first = number("SIM_FIRST_SEED").unwrap_or(0);
            first..first + many.unwrap_or(count)
        }
    };
    for seed in seeds {
        replayable(test, seed, || scenario(seed));
    }
}

/// Runs one seed; if it panics, says how to have that again.
pub(crate) fn replayable<T>(test: &str, seed: u64, run: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result,
        Err(cause) => {
            let target = env!("CARGO_CRATE_NAME");
            eprintln!("seed {seed} fails; replay with:");
            eprintln!("    SIM_SEED={seed} cargo test --test {target} {test} -- --nocapture");
            if target == "sim" {
                eprintln!("SIM_TRACE=FILE keeps every event of it, SIM_PCAP=FILE every packet for Wireshark");
            }
            resume_unwind(cause);
        }
    }
}

/// What a variable of the environment says, if it is set.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")))
}

/// Bytes without a period that a protocol could hide behind.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut rng = Rng::from_number(0x7e57);
    (0..NOISE_LEN.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()).take(NOISE_LEN).collect()
});

/// A prime: no power of two, window or page divides it.
const NOISE_LEN: usize = 1_048_583;

/// A stretch of stream `stream`: what is sent and what must be read.
pub(crate) fn pattern_bytes(stream: u64, from: u64, len: usize) -> Vec<u8> {
    let mut at = ((from + stream * 77_773) % NOISE_LEN as u64) as usize;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let piece = &NOISE[at..];
        bytes.extend_from_slice(&piece[..piece.len().min(len - bytes.len())]);
        at = 0;
    }
    bytes
}

/// As [`pattern_bytes`], for text at a sequence number `seq` relative to the SYN. What stands before the stream's
/// first byte is zero.
pub(crate) fn text_at(stream: u64, seq: u32, len: usize) -> Vec<u8> {
    let offset = i64::from(seq.wrapping_sub(1) as i32);
    let before = usize::try_from(-offset).unwrap_or(0).min(len);
    let mut text = vec![0; before];
    text.extend(pattern_bytes(stream, offset.max(0) as u64, len - before));
    text
}
