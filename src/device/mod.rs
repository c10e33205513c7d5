//! Devices.
/// A device (being built).
pub trait Device: Send + Sync {}
/// Why a device could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("")]
pub struct OpenError;
