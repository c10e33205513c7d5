//! The protocol core in virtual time: exact scripts, random workloads through bad links, and smoltcp as the peer.
//!
//! Nothing here reads a clock or a random device, so every run is the same run. Randomised tests print the
//! seed of a failure and the command that replays it; `VIRTUAL_SEEDS=5000 cargo test --test virtual lossy` is a soak.

mod backlog;
mod churn;
mod closing;
mod congestion;
mod fragments;
mod half_open;
mod handshake;
mod harness;
mod icmp;
mod local;
mod lossy;
mod memory;
mod options;
mod readiness;
mod recovery;
mod rfc5961;
mod routing;
mod scenario;
mod smoltcp_peer;
mod states;
mod timers;
mod trace;
mod urgent;
mod windows;
mod wrap;
