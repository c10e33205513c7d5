//! The plain TUN device: one datagram a read, one datagram a write, no offloads.
//!
//! Opening goes through `tun-tap`; the rest is what every `Tun` does. Does not touch the kernel's side (addresses, link
//! state): that is [`host`](super::host)'s.

use tun_tap::{Iface, Mode};

use super::tun::{Read, Tun, as_every_tun};
use super::{Device, OpenError, Received, sys};
use crate::proto::{ChecksumState, Egress, Sent};

/// A plain TUN device.
#[derive(Debug)]
pub struct Plain {
    tun: Tun,
}

impl Plain {
    /// Makes the next free `tunN`. It never attaches to a device that exists, and vanishes when it is dropped.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn create() -> Result<Plain, OpenError> {
        Plain::attach(None)
    }

    /// Attaches to the TUN device `name` if it exists, else makes it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(name: &str) -> Result<Plain, OpenError> {
        Plain::attach(Some(name))
    }

    fn attach(name: Option<&str>) -> Result<Plain, OpenError> {
        // `tun-tap` opens the clone device itself, and reports that step and the next with the same error type; taken
        // apart, each can be explained for what it is.
        let tun = Tun::open(name, |_, name| {
            let iface = Iface::without_packet_info(name, Mode::Tun)?;
            let name = iface.name().to_owned();
            Ok((sys::into_owned(iface), name))
        })?;
        // Another user of a persistent device may have left offloads on, and super-segments and half-made
        // checksums would come in.
        sys::set_tun_offload(tun.fd(), 0).map_err(|error| OpenError::Other {
            name: tun.name().to_owned(),
            doing: "switch its offloads off",
            error,
        })?;
        Ok(Plain { tun })
    }

    /// The index that the device's interface on the host had when it was opened.
    pub fn index(&self) -> u32 {
        self.tun.index()
    }
}

impl Device for Plain {
    as_every_tun!();

    fn recv(&self, buffer: &mut [u8]) -> Received {
        match self.tun.recv(|tun| rustix::io::read(tun, &mut *buffer)) {
            Read::Bytes(len) => Received::Packet { len, checksum: ChecksumState::Unverified, gso_size: None },
            Read::Empty => Received::Empty,
            Read::Gone => Received::Gone,
        }
    }

    fn send(&self, egress: Egress<'_>) -> Sent {
        self.tun.send(&[], &egress)
    }
}
