//! Devices: where a stack's packets come from and go to.
//!
//! Owns the TUN device, with the kernel's offloads ([`offload`]) or without ([`plain`]), its kernel side ([`host`],
//! configured through netlink), the way to network namespaces ([`namespace`]) and the pair of devices that joins two
//! stacks in one process ([`memory`]). Knows nothing of what is in a packet, but where checksums are ([`offload`]).

mod follow;
pub mod host;
pub mod memory;
pub mod namespace;
mod netlink;
pub mod offload;
mod open;
mod open_error;
pub mod plain;
mod sys;
mod tun;
mod vnet_header;

use std::num::NonZeroU16;
use std::os::fd::BorrowedFd;

pub use host::HostError;
pub use memory::MemoryDevice;
pub use namespace::{Namespace, NamespaceError};
pub use offload::Offload;
pub use open::{OffloadMode, OpenTun};
pub use open_error::OpenError;
pub use plain::Plain;

use crate::proto::{ChecksumState, DeviceId, Egress, EgressChecksum, Offloads, Sent};

/// How many bytes stand before the datagram in the buffers that [`Device::recv_with_headroom`] and
/// [`Device::send_with_headroom`] are given.
pub const HEADROOM: usize = 16;

/// A network device, as the run loop uses it: several threads send at once, one receives.
///
/// Nothing here blocks. A device that is gone (deleted, unplugged) says so through
/// [`Received::Gone`] and from then on loses what is sent.
pub trait Device: Send + Sync {
    /// The device's name.
    fn name(&self) -> &str;

    /// The largest datagram the device takes now, in bytes.
    fn mtu(&self) -> usize;

    /// Receives one datagram to the start of `buffer`, which should hold 65,535 bytes: what doesn't fit is
    /// lost.
    fn recv(&self, buffer: &mut [u8]) -> Received;

    /// Receives one datagram, which begins at `buffer[HEADROOM]`; what stands before is the device's to overwrite. The length
    /// that is told counts from there. The run loop receives so.
    ///
    /// A device that has something else to read before each datagram may put it there and needs one read for both. Every
    /// other has no use for the room, and nothing to do: by default this is [`recv`](Self::recv) into the rest.
    fn recv_with_headroom(&self, buffer: &mut [u8]) -> Received {
        self.recv(buffer.get_mut(HEADROOM..).unwrap_or_default())
    }

    /// Sends one datagram, or loses it on the device's own account.
    fn send(&self, egress: Egress<'_>) -> Sent;

    /// Sends one datagram, or loses it on the device's own account. It begins at `buffer[HEADROOM]`, and what stands before is
    /// the device's to overwrite. `meta` is the rest of what is to be known of it. The run loop sends small datagrams so.
    ///
    /// A device that has something else to write before each datagram may put it there, and needs no copy to have both in one
    /// piece. Every other has no use for the room, and nothing to do: by default this is [`send`](Self::send).
    fn send_with_headroom(&self, buffer: &mut [u8], meta: EgressMeta) -> Sent {
        self.send(meta.egress(buffer.get(HEADROOM..).unwrap_or_default()))
    }

    /// What the device takes off the stack's hands, as long as it lives. Nothing by default.
    fn offloads(&self) -> Offloads {
        Offloads::default()
    }

    /// Is readable for as long as [`recv`](Self::recv) has something to say. The loop does not always read until there is nothing more,
    /// and a device that says so only once would not be heard.
    fn poll_fd(&self) -> BorrowedFd<'_>;

    /// How the device tells that it has room again, after it answered [`Sent::Busy`].
    fn room(&self) -> Room;

    /// Becomes readable when the device itself has changed; [`control`](Self::control) then has to be called.
    fn control_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Takes notice of changes of the device: afterwards [`mtu`](Self::mtu) is up to date.
    fn control(&self) {}

    /// Datagrams that were lost on the device's own account, such as those sent while the link was down.
    fn lost(&self) -> u64 {
        0
    }
}

/// What there is to know of a datagram in one piece that stands for itself alone, beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EgressMeta {
    /// The interface it leaves by.
    pub device: DeviceId,
    /// What the transport checksum field holds.
    pub checksum: EgressChecksum,
}

impl EgressMeta {
    /// The datagram with these bytes.
    pub fn egress(self, bytes: &[u8]) -> Egress<'_> {
        Egress { checksum: self.checksum, ..Egress::plain(self.device, bytes, &[]) }
    }
}

/// What came of an attempt to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A datagram.
    Packet {
        /// Its length in bytes.
        len: usize,
        /// What is known of its transport checksum.
        checksum: ChecksumState,
        /// Set if it is a super-segment.
        gso_size: Option<NonZeroU16>,
    },
    /// Nothing waits.
    Empty,
    /// The device is gone for good.
    Gone,
}

/// How a device tells that it has room again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Its descriptor becomes writable (`EPOLLOUT`).
    Writable,
    /// Its descriptor becomes readable.
    Readable,
}
