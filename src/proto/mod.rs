//! The protocol core: one shard of a TCP/IP stack, pure.
//!
//! Nothing in here can reach a clock, thread, lock, file or environment; the compiler proves it, since the
//! module is built under `no_std` and forbids `unsafe`. Time comes in as `now`, randomness as a seeded
//! source, secrets as a value ([`Secrets`]). Packets come in through [`Stack::receive`] and leave through
//! a [`PacketSink`].
#![forbid(unsafe_code)]

pub mod buf;
pub mod config;
pub(crate) mod context;
pub mod counters;
pub mod datagram_queue;
pub mod error;
pub mod events;
pub(crate) mod hash;
pub(crate) mod ids;
pub mod ip;
pub mod packet;
pub mod ping;
pub mod raw;
pub mod reuse;
pub mod sending;
pub mod socket_errors;
pub mod stack;
pub mod tcp;
pub mod timer_wheel;
pub mod trace;
pub mod udp;
pub mod wire;

pub use config::{Config, Secrets};
pub use counters::{Counters, DropReason};
pub use datagram_queue::Received;
pub use error::{Error, SpliceError};
pub use events::{Event, Owner, Readiness, SocketId};
pub use ids::{ListenerId, PingId, RawId, TcpId, UdpId};
pub use packet::{ChecksumState, DeviceId, Egress, EgressChecksum, Offloads, Packet, PacketSink, Sent};
pub use reuse::BindOptions;
pub use sending::{MtuDiscover, SendOptions};
pub use socket_errors::{ErrorCause, ErrorReport};
pub use stack::Stack;
