//! See [`tunstack_fuzz::two_stacks`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunstack_fuzz::two_stacks::run(data));
