//! The TUN device with offloads: checksums are left to the kernel, and super-segments come and go whole.
//!
//! Owns what was agreed with the kernel; what each datagram's header says is `vnet_header`'s, the rest is what every
//! `Tun` does. Does not touch the kernel's side (addresses, link state): that is [`host`](super::host)'s.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};

use super::tun::{Read, Tun, as_every_tun};
use super::{Device, EgressMeta, HEADROOM, OpenError, Received, sys, vnet_header};
use crate::proto::{Egress, Offloads, Sent};

/// `TUN_F_CSUM` of `linux/if_tun.h`: the others need it.
const CSUM: u32 = 1;
/// `TUN_F_TSO4`.
const TSO4: u32 = 2;
/// `TUN_F_TSO6`.
const TSO6: u32 = 4;
/// `TUN_F_TSO_ECN`: super-segments with CWR set, too.
const TSO_ECN: u32 = 8;
/// `TUN_F_USO4` and `TUN_F_USO6` (Linux 6.2): the kernel takes neither without the other.
const USO: u32 = 0x20 | 0x40;

/// What the kernel is asked for: the most first, and from one to the next what some kernel doesn't know.
const WISHES: [u32; 4] =
    [CSUM | TSO4 | TSO6 | TSO_ECN | USO, CSUM | TSO4 | TSO6 | TSO_ECN, CSUM | TSO4 | TSO6, CSUM];

/// Where in a datagram's headroom the header begins, which ends where the datagram begins.
const HEADER_AT: usize = HEADROOM - vnet_header::LEN;

/// A TUN device with offloads.
#[derive(Debug)]
pub struct Offload {
    tun: Tun,
    offloads: Offloads,
}

impl Offload {
    /// Makes the next free `tunN`. It never attaches to a device that exists, and vanishes when it is dropped.
    ///
    /// # Errors
    /// See [`OpenError`]; [`OpenError::NoOffload`] if the kernel has none, which it says of any device.
    pub fn create() -> Result<Offload, OpenError> {
        Offload::attach(None)
    }

    /// Attaches to the TUN device `name` if it exists, else makes it.
    ///
    /// # Errors
    /// As of [`create`](Self::create).
    pub fn open(name: &str) -> Result<Offload, OpenError> {
        Offload::attach(Some(name))
    }

    /// The index that the device's interface on the host had when it was opened.
    pub fn index(&self) -> u32 {
        self.tun.index()
    }

    /// What came of a read, which has filled the header and a part of the buffer. `None` if it was a datagram that
    /// nobody can make sense of, which is lost; the next may be better.
    // Inlined, what came of it is written where it is to go.
    #[inline(always)]
    fn understand(
        &self,
        read: &Read,
        header: &[u8; vnet_header::LEN],
        buffer: &mut [u8],
    ) -> Option<Received> {
        let len = match read {
            Read::Bytes(len) => len,
            Read::Empty => return Some(Received::Empty),
            Read::Gone => return Some(Received::Gone),
        };
        let datagram = len.checked_sub(vnet_header::LEN).and_then(|len| buffer.get_mut(..len));
        let known =
            datagram.and_then(|datagram| Some((datagram.len(), vnet_header::read(header, datagram)?)));
        let Some((len, meta)) = known else {
            self.tun.lose();
            return None;
        };
        Some(Received::Packet { len, checksum: meta.checksum, gso_size: meta.gso_size })
    }

    /// Reads what [`recv_with_headroom`](Device::recv_with_headroom) reads. The header goes right before the datagram, so that
    /// both are one piece: for the kernel, a list of pieces costs more.
    #[inline(always)]
    fn read_whole(&self, buffer: &mut [u8]) -> Read {
        let both = buffer.get_mut(HEADER_AT..).unwrap_or_default();
        self.tun.recv(|tun| rustix::io::read(tun, &mut *both))
    }

    /// What came of such a read, or of the next that came to something.
    // Apart, so that what is usual needs hardly any registers.
    #[inline(never)]
    fn go_on(&self, mut read: Read, buffer: &mut [u8]) -> Received {
        loop {
            let both = buffer.get_mut(HEADER_AT..).unwrap_or_default();
            let Some((header, datagram)) = both.split_first_chunk_mut() else { return Received::Empty };
            if let Some(received) = self.understand(&read, header, datagram) {
                return received;
            }
            read = self.read_whole(buffer);
        }
    }

    fn attach(name: Option<&str>) -> Result<Offload, OpenError> {
        let tun = Tun::open(name, open_with_header)?;
        let none = |error| OpenError::NoOffload { name: tun.name().to_owned(), error };
        sys::set_vnet_header(tun.fd(), vnet_header::LEN).map_err(none)?;
        let given = negotiate(|wish| sys::set_tun_offload(tun.fd(), wish)).map_err(none)?;
        let offloads = offloads(given);
        log::info!("{}: the kernel's offloads are in use: {}", tun.name(), named(offloads));
        Ok(Offload { tun, offloads })
    }
}

impl Drop for Offload {
    /// They would outlive us on a persistent device, and its next reader may know nothing of them.
    fn drop(&mut self) {
        let _ = sys::set_tun_offload(self.tun.fd(), 0);
    }
}

fn open_with_header(clone_device: File, name: &str) -> io::Result<(OwnedFd, String)> {
    let fd = OwnedFd::from(clone_device);
    let name = sys::attach_tun_with_vnet_header(fd.as_fd(), name)?;
    Ok((fd, name))
}

/// Asks for less and less until the kernel agrees; the error is the last one's.
fn negotiate(mut ask: impl FnMut(u32) -> io::Result<()>) -> io::Result<u32> {
    let mut refusal = None;
    for wish in WISHES {
        match ask(wish) {
            Ok(()) => return Ok(wish),
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
}

/// What follows from what the kernel agreed to read, which it then writes as well.
fn offloads(given: u32) -> Offloads {
    let has = |bits| given & bits == bits;
    Offloads { checksum: has(CSUM), tso4: has(TSO4), tso6: has(TSO6), uso: has(USO) }
}

fn named(offloads: Offloads) -> String {
    let Offloads { checksum, tso4, tso6, uso } = offloads;
    let all = [(checksum, "checksums"), (tso4, "TCP/IPv4"), (tso6, "TCP/IPv6"), (uso, "UDP")];
    let names: Vec<&str> = all.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect();
    names.join(", ")
}

impl Device for Offload {
    as_every_tun!();

    fn recv(&self, buffer: &mut [u8]) -> Received {
        loop {
            let mut header = [0; vnet_header::LEN];
            let read = self.tun.recv(|tun| {
                rustix::io::readv(tun, &mut [IoSliceMut::new(&mut header), IoSliceMut::new(buffer)])
            });
            if let Some(received) = self.understand(&read, &header, buffer) {
                return received;
            }
        }
    }

    fn recv_with_headroom(&self, buffer: &mut [u8]) -> Received {
        let read = self.read_whole(buffer);
        if let Read::Bytes(len) = read
            && let Some(both) = buffer.get(HEADER_AT..)
            && vnet_header::is_usual(both, len)
        {
            let vnet_header::Meta { checksum, gso_size } = vnet_header::Meta::USUAL;
            return Received::Packet { len: len - vnet_header::LEN, checksum, gso_size };
        }
        // As each batch ends.
        if matches!(read, Read::Empty) { Received::Empty } else { self.go_on(read, buffer) }
    }

    fn send(&self, egress: Egress<'_>) -> Sent {
        self.tun.send(&vnet_header::write(&egress), &egress)
    }

    /// The header goes right before the datagram.
    fn send_with_headroom(&self, buffer: &mut [u8], meta: EgressMeta) -> Sent {
        let Some((headroom, datagram)) = buffer.split_first_chunk_mut::<HEADROOM>() else {
            self.tun.lose();
            return Sent::Taken;
        };
        headroom[HEADER_AT..].copy_from_slice(&vnet_header::write(&meta.egress(datagram)));
        self.tun.send_whole(&buffer[HEADER_AT..])
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel that knows these bits, with the rules of Linux.
    fn kernel(known: u32) -> impl FnMut(u32) -> io::Result<()> {
        move |wish| {
            let tso_alone = wish & (TSO4 | TSO6 | USO) != 0 && wish & CSUM == 0;
            let half_uso = wish & USO != 0 && wish & USO != USO;
            let refused = wish & !known != 0 || tso_alone || half_uso;
            if refused { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(()) }
        }
    }

    #[test]
    fn the_most_that_a_kernel_knows_is_agreed_upon() {
        let all = CSUM | TSO4 | TSO6 | TSO_ECN | USO;
        assert_eq!(all, 0x6f);
        for (known, given) in
            [(u32::MAX, all), (0x0f, 0x0f), (0x1f, 0x0f), (0x07, 0x07), (0x03, 0x01), (0x01, 0x01)]
        {
            assert_eq!(negotiate(kernel(known)).ok(), Some(given), "{known:#x}");
        }
        assert!(negotiate(kernel(0)).is_err());
    }

    #[test]
    fn what_was_agreed_upon_is_what_the_stack_makes_use_of() {
        let all = Offloads { checksum: true, tso4: true, tso6: true, uso: true };
        assert_eq!(offloads(0x6f), all);
        assert_eq!(offloads(0x0f), Offloads { uso: false, ..all });
        assert_eq!(offloads(0x01), Offloads { checksum: true, ..Offloads::default() });
        assert_eq!(named(all), "checksums, TCP/IPv4, TCP/IPv6, UDP");
        assert_eq!(named(offloads(1)), "checksums");
    }
}
