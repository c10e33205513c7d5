//! A simulated internet: hosts, routers and bad paths in virtual time, from one seed, with oracles that look at every event.
//!
//! Nothing here reads a clock or a random device, so every run is the same run. Randomised tests print the seed of a failure
//! and the command that replays it. How to read a trace, and how to soak: docs/simulation.md.

mod churn;
mod harness;
mod internet;
mod long_fat;
mod lossy;
mod oracle;
mod scenario;
mod slow_start;
mod smoltcp_peer;
mod soak;

#[path = "../support"]
mod support {
    pub(crate) mod seeds;
    pub(crate) mod wire;
}
