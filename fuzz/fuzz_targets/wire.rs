//! See [`tunstack_fuzz::wire`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunstack_fuzz::wire::run(data));
