//! What the tests share: a virtual clock, hosts, links with faults, a scripted peer and the oracles.

pub(crate) mod apps;
pub(crate) mod host;
pub(crate) mod link;
pub(crate) mod monitor;
pub(crate) mod script;
pub(crate) mod seeds;
pub(crate) mod seg;
pub(crate) mod smol;
pub(crate) mod wire;
pub(crate) mod world;
