//! See [`tunstack_fuzz::tcp_options`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunstack_fuzz::tcp_options::run(data));
