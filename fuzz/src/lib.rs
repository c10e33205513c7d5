//! What the fuzzer does to the stack with the bytes that it makes up, and what must hold whatever they are.
//!
//! The fuzz targets are one line each and call `run` of the module with their name. `tests/fuzz_corpus.rs` includes this
//! file and calls the same functions with what is kept in `corpus/`.

pub mod ip_input;
pub mod packet_into_state;
pub mod tcp_options;
pub mod two_stacks;
pub mod wire;

mod driver;
mod packets;
mod text;

/// Runs one input. A panic is a finding.
pub type Run = fn(&[u8]);

/// All targets by their names.
pub const TARGETS: &[(&str, Run)] = &[
    ("ip_input", ip_input::run),
    ("packet_into_state", packet_into_state::run),
    ("tcp_options", tcp_options::run),
    ("two_stacks", two_stacks::run),
    ("wire", wire::run),
];
