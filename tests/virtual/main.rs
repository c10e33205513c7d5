//! The protocol core in virtual time: what it answers to exact segments at exact times.
//!
//! Nothing here reads a clock or a random device, so every run is the same run. Random networks are in `tests/sim`.

mod backlog;
mod buffers;
mod closing;
mod congestion;
mod cookies;
mod fragments;
mod half_open;
mod handshake;
mod harness;
mod hostile;
mod icmp;
mod local;
mod loss_probe;
mod memory;
mod options;
mod path_mtu;
mod prr;
mod rack;
mod readiness;
mod recovery;
mod reordering;
mod requirements;
mod rfc5961;
mod routing;
mod sack;
mod sharing;
mod splice;
mod states;
mod supers;
mod time_wait;
mod timers;
mod timestamps;
mod trace;
mod undo;
mod urgent;
mod windows;
mod wrap;

#[path = "../support"]
mod support {
    pub(crate) mod seeds;
    pub(crate) mod wire;
}
