//! What the scripts share: a peer that does as it is told, and segments as they are written.

pub(crate) mod device;
pub(crate) mod script;
pub(crate) mod seg;
