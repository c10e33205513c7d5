//! What fuzzing has found worth keeping (`fuzz/corpus`) is run through the same functions as the fuzz targets run:
//! every path that the fuzzer knows of is taken by `cargo test`, too.

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets use it as a crate")]
mod fuzz;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// Files of one target, and bytes of all: enough for a second or two.
const FILES_MAX: usize = 60;
const BYTES_MAX: u64 = 200 << 10;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// The files of a directory, in the order of their names.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Runs all that is kept of a target.
fn replay(target: &str) {
    let (_, run) = fuzz::TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    for path in entries(&corpus().join(target)) {
        let data = fs::read(&path).unwrap();
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| run(&data))) {
            eprintln!("{} fails; the same with a fuzzer's backtrace:", path.display());
            eprintln!("    scripts/fuzz --replay {} {target}", path.display());
            resume_unwind(cause);
        }
    }
}

#[test]
fn tcp_options_read_as_slowly_as_they_can_be_are_the_same() {
    replay("tcp_options");
}

#[test]
fn headers_read_byte_by_byte_are_the_same() {
    replay("wire");
}

#[test]
fn datagrams_of_any_bytes_have_one_fate_each() {
    replay("ip_input");
}

#[test]
fn any_packet_in_any_state_mixes_no_text_up_and_leaves_nothing_behind() {
    replay("packet_into_state");
}

#[test]
fn whatever_happens_between_two_stacks_what_is_read_was_written() {
    replay("two_stacks");
}

#[test]
fn every_target_has_a_small_corpus() {
    let mut bytes = 0;
    let directories: Vec<String> =
        entries(&corpus()).iter().map(|path| path.file_name().unwrap().to_string_lossy().into()).collect();
    let targets: Vec<&str> = fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(directories, targets);
    for target in targets {
        let files = entries(&corpus().join(target));
        assert!((10..=FILES_MAX).contains(&files.len()), "{target} has {} files", files.len());
        bytes += files.iter().map(|path| path.metadata().unwrap().len()).sum::<u64>();
        let main = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/fuzz_targets/{target}.rs"));
        assert!(main.exists(), "{target} is replayed, and never fuzzed");
    }
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}
