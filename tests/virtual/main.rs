//! The protocol core in virtual time: what it answers to exact segments at exact times.
//!
//! Nothing here reads a clock or a random device, so every run is the same run. Random networks are in `tests/sim`.

mod backlog;
mod closing;
mod fragments;
mod handshake;
mod harness;
mod icmp;
mod local;
mod options;
mod recovery;
mod requirements;
mod rfc5961;
mod routing;
mod states;
mod timers;
mod urgent;
mod windows;
mod wrap;

#[path = "../support"]
mod support {
    pub(crate) mod seeds;
    pub(crate) mod wire;
}
