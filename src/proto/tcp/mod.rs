//! TCP (RFC 9293): see `endpoint` for the way of a segment, `connection` for the synchronised phase.

pub mod closing;
pub(crate) mod endpoint;
pub mod info;
pub mod listener;
pub mod options;
pub(crate) mod syn_queue;

pub use info::TcpInfo;
pub use options::{KeepAlive, SocketOptions};

slotmap::new_key_type! {
    /// Names a TCP connection (or an attempt at one). It outlives the connection: unread bytes, the pending
    /// error and [`TcpInfo`] stay until the handle is closed.
    pub struct TcpId;
}
