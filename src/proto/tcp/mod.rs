//! TCP (RFC 9293): see `endpoint` for the way of a segment, `connection` for the synchronised phase.

pub mod closing;
pub mod congestion;
pub mod info;
pub mod listener;
pub mod options;

pub(crate) mod acceptance;
pub(crate) mod challenge;
pub(crate) mod connection;
pub(crate) mod cookies;
pub(crate) mod demux;
pub(crate) mod emit;
pub(crate) mod endpoint;
pub(crate) mod handshake;
pub(crate) mod isn;
pub(crate) mod keepalive;
pub(crate) mod ports;
pub(crate) mod recent;
pub(crate) mod recv;
pub(crate) mod send;
pub(crate) mod seq;
pub(crate) mod syn_queue;
pub(crate) mod time_wait;
pub(crate) mod timestamps;
pub(crate) mod wait_order;
pub(crate) mod way;

#[cfg(test)]
mod model;

pub use info::{TcpInfo, Timers};
pub use options::{KeepAlive, SocketOptions};
