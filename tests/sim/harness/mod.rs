//! What simulations share: hosts and their applications, the world they live in, and what is kept of a run.

pub(crate) mod apps;
pub(crate) mod capture;
pub(crate) mod forgetful;
pub(crate) mod host;
pub(crate) mod ours;
pub(crate) mod report;
pub(crate) mod smol;
pub(crate) mod trace;
pub(crate) mod world;
