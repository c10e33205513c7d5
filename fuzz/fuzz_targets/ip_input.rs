//! See [`tunstack_fuzz::ip_input`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunstack_fuzz::ip_input::run(data));
