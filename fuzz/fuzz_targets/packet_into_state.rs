//! See [`tunstack_fuzz::packet_into_state`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tunstack_fuzz::packet_into_state::run(data));
