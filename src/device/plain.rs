//! The plain TUN device: one datagram a read, one datagram a write, no offloads.
//!
//! Owns the device's descriptor and the knowledge of its MTU; opening goes through `tun-tap`. Does not
//! touch the kernel's side (addresses, link state): that is [`host`](super::host)'s.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrayvec::ArrayVec;
use rustix::io::Errno;
use tun_tap::{Iface, Mode};

use super::follow::Follower;
use super::netlink::{Link, Netlink};
use super::{Device, Received, Room, sys};
use crate::proto::{ChecksumState, Egress, Sent};

/// Where the kernel gives out TUN devices.
const CLONE_DEVICE: &str = "/dev/net/tun";
/// Its device number: major 10 (misc), minor 200.
const CLONE_DEVICE_NUMBER: u64 = 10 << 8 | 200;
/// Longest interface name in bytes: `IFNAMSIZ` less the final zero.
const NAME_LEN_MAX: usize = 15;
/// Pieces of one datagram that go to the kernel as they lie; one that has more is copied together first.
const PIECES_MAX: usize = 24;
/// Datagrams of up to this many bytes are copied together and written as one piece: for the kernel, a list of
/// pieces costs more than the copy does here.
const FLAT_MAX: usize = 2048;

/// A plain TUN device.
#[derive(Debug)]
pub struct Plain {
    fd: OwnedFd,
    name: String,
    index: u32,
    mtu: AtomicUsize,
    lost: AtomicU64,
    follower: Follower,
}

impl Plain {
    /// Makes the next free `tunN`. It never attaches to a device that exists, and vanishes when it is dropped.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn create() -> Result<Plain, OpenError> {
        // The kernel looks for an existing device by name only, and no device has the empty one.
        Plain::attach("", &mut netlink()?)
    }

    /// Attaches to the TUN device `name` if it exists, else makes it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(name: &str) -> Result<Plain, OpenError> {
        check_name(name)?;
        Plain::attach(name, &mut netlink()?)
    }

    fn attach(name: &str, netlink: &mut Netlink) -> Result<Plain, OpenError> {
        // `tun-tap` reports this step and the next with the same error type; taken apart, each can be
        // explained for what it is.
        let clone_device = File::options().read(true).write(true).open(CLONE_DEVICE);
        check_clone_device(&clone_device.map_err(explain_clone_device)?)?;
        let existing = netlink.link_by_name(name).ok().flatten().filter(|_| !name.is_empty());
        let iface = Iface::without_packet_info(name, Mode::Tun)
            .map_err(|error| explain_attach(name, existing.as_ref(), error))?;
        let name = iface.name().to_owned();
        let fail = |doing| {
            let name = name.clone();
            move |error| OpenError::Other { name, doing, error }
        };
        let fd = sys::into_owned(iface);
        rustix::io::ioctl_fionbio(&fd, true)
            .map_err(io::Error::from)
            .map_err(fail("make it non-blocking"))?;
        // Another user of a persistent device may have left offloads on, and super-segments and half-made
        // checksums would come in.
        sys::set_tun_offload(&fd, 0).map_err(fail("switch its offloads off"))?;
        let (follower, link) = Follower::new(&name).map_err(fail("watch it"))?;
        let (mtu, lost) = (AtomicUsize::new(link.mtu), AtomicU64::new(0));
        Ok(Plain { fd, name, index: link.index, mtu, lost, follower })
    }

    /// The index that the device's interface on the host had when it was opened.
    pub fn index(&self) -> u32 {
        self.index
    }

    fn write(&self, egress: &Egress<'_>) -> rustix::io::Result<usize> {
        if egress.payload.is_empty() {
            return rustix::io::write(&self.fd, egress.header);
        }
        if egress.len() <= FLAT_MAX {
            let mut flat = ArrayVec::<u8, FLAT_MAX>::new();
            for piece in [egress.header].iter().chain(egress.payload) {
                // There is room for all of them.
                let _ = flat.try_extend_from_slice(piece);
            }
            return rustix::io::write(&self.fd, &flat);
        }
        let mut pieces = ArrayVec::<IoSlice<'_>, PIECES_MAX>::new();
        if egress.payload.len() < PIECES_MAX {
            pieces.push(IoSlice::new(egress.header));
            pieces.extend(egress.payload.iter().map(|piece| IoSlice::new(piece)));
            return rustix::io::writev(&self.fd, &pieces);
        }
        let mut copy = Vec::new();
        egress.copy_to(&mut copy);
        rustix::io::write(&self.fd, &copy)
    }
}

impl Device for Plain {
    fn name(&self) -> &str {
        &self.name
    }

    fn mtu(&self) -> usize {
        self.mtu.load(Ordering::Relaxed)
    }

    fn recv(&self, buffer: &mut [u8]) -> Received {
        loop {
            match rustix::io::read(&self.fd, &mut *buffer) {
                Ok(0) => return Received::Empty,
                Ok(len) => {
                    return Received::Packet { len, checksum: ChecksumState::Unverified, gso_size: None };
                }
                Err(Errno::INTR) => {}
                Err(Errno::BADFD) => return Received::Gone,
                // EIO and EFAULT stand for a device on its way out; the next read says EBADFD.
                Err(_) => return Received::Empty,
            }
        }
    }

    fn send(&self, egress: Egress<'_>) -> Sent {
        loop {
            return match self.write(&egress) {
                Ok(_) => Sent::Taken,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Sent::Busy,
                // A link that is down (EIO) loses what it is given, as a cable that is out: time-outs go on
                // running. So does a device that is gone (EBADFD; the next read tells) and a datagram that the
                // kernel doesn't like, which no repetition makes better.
                Err(_) => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    Sent::Taken
                }
            };
        }
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn room(&self) -> Room {
        Room::Writable
    }

    fn control_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.follower.fd())
    }

    fn control(&self) {
        if let Some(Link { mtu, up, .. }) = self.follower.news(self.fd.as_fd()) {
            log::debug!("{}: the link is {}, MTU {mtu}", self.name, if up { "up" } else { "down" });
            self.mtu.store(mtu, Ordering::Relaxed);
        }
    }

    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Why a TUN device could not be opened, and the command that mends it, on one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No interface can have this name.
    #[error("{name:?} can't be an interface name ({why}): choose another, such as tun0")]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The kernel's TUN driver isn't there.
    #[error(
        "{CLONE_DEVICE} is missing: load the driver with `sudo modprobe tun`, or in a container make the node with \
         `mkdir -p /dev/net && mknod /dev/net/tun c 10 200`"
    )]
    NoDriver,
    /// Something else stands where the kernel's TUN driver should be.
    #[error(
        "{CLONE_DEVICE} is not the TUN driver's device node: make it anew with `sudo rm -r {CLONE_DEVICE} && \
         sudo mkdir -p /dev/net && sudo mknod {CLONE_DEVICE} c 10 200`"
    )]
    NotTheDriver,
    /// Not even asking for a device is allowed.
    #[error(
        "no permission to open {CLONE_DEVICE}: `sudo chmod 0666 {CLONE_DEVICE}` lets every user ask for devices \
         (a container needs `--device {CLONE_DEVICE}`)"
    )]
    CloneDeviceForbidden,
    /// Making devices needs CAP_NET_ADMIN.
    #[error(
        "no permission to make a TUN device: run this with `sudo`, or make one for yourself first with \
         `sudo ip tuntap add dev {name} mode tun user $USER` and name it"
    )]
    CreateForbidden {
        /// The name asked for, or one to choose.
        name: String,
    },
    /// The device belongs to someone else.
    #[error(
        "no permission to use {name}, which was made for another user: `sudo ip tuntap del dev {name} mode tun && \
         sudo ip tuntap add dev {name} mode tun user $USER` makes it yours"
    )]
    AttachForbidden {
        /// The device.
        name: String,
    },
    /// Another process is attached to the device.
    #[error(
        "{name} is in use by another process (`ip -details tuntap` shows which): stop it, or choose another name"
    )]
    Busy {
        /// The device.
        name: String,
    },
    /// The name is taken by an interface of another kind.
    #[error("{name} exists and is not a TUN device: choose another name (`ip tuntap` lists the TUN devices)")]
    NotTun {
        /// The interface.
        name: String,
    },
    /// The device is a TAP device.
    #[error(
        "{name} is a TAP device: choose another name, or make it anew with `sudo ip tuntap del dev {name} mode tap \
         && sudo ip tuntap add dev {name} mode tun user $USER`"
    )]
    Tap {
        /// The device.
        name: String,
    },
    /// The device was made for several queues.
    #[error(
        "{name} was made with multi_queue: choose another name, or make it anew with `sudo ip tuntap del dev {name} \
         mode tun multi_queue && sudo ip tuntap add dev {name} mode tun user $USER`"
    )]
    MultiQueue {
        /// The device.
        name: String,
    },
    /// Something else went wrong.
    #[error("{name}: can't {doing}: {error}")]
    Other {
        /// The device.
        name: String,
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

fn netlink() -> Result<Netlink, OpenError> {
    Netlink::open().map_err(|error| OpenError::Other {
        name: "netlink".to_owned(),
        doing: "ask the kernel about interfaces",
        error,
    })
}

/// The kernel's rules, checked here: `tun-tap` would cut a name that is too long, and a `%d` in it would make
/// a new device whatever exists.
fn check_name(name: &str) -> Result<(), OpenError> {
    let bad = |why| Err(OpenError::BadName { name: name.to_owned(), why });
    if name.is_empty() {
        bad("it is empty")
    } else if name.len() > NAME_LEN_MAX {
        bad("it is longer than 15 bytes")
    } else if matches!(name, "." | "..") {
        bad("it names a directory")
    } else if name.chars().any(|c| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control()) {
        bad("it has a slash, colon, percent sign, space or control character in it")
    } else {
        Ok(())
    }
}

/// Any other file takes no order to make a device.
fn check_clone_device(file: &File) -> Result<(), OpenError> {
    let metadata = file.metadata().map_err(explain_clone_device)?;
    let is_driver = metadata.file_type().is_char_device() && metadata.rdev() == CLONE_DEVICE_NUMBER;
    if is_driver { Ok(()) } else { Err(OpenError::NotTheDriver) }
}

fn explain_clone_device(error: io::Error) -> OpenError {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => OpenError::NoDriver,
        Some(Errno::ACCESS | Errno::PERM) => OpenError::CloneDeviceForbidden,
        Some(Errno::ISDIR) => OpenError::NotTheDriver,
        _ => OpenError::Other { name: CLONE_DEVICE.to_owned(), doing: "open it", error },
    }
}

/// `existing` is the interface that had the name just before.
fn explain_attach(name: &str, existing: Option<&Link>, error: io::Error) -> OpenError {
    let name = if name.is_empty() { "tun0" } else { name }.to_owned();
    let tun = existing.map(|link| link.tun);
    match (error.raw_os_error().map(Errno::from_raw_os_error), tun) {
        (Some(Errno::PERM), None) => OpenError::CreateForbidden { name },
        (Some(Errno::PERM), Some(_)) => OpenError::AttachForbidden { name },
        (Some(Errno::BUSY), _) => OpenError::Busy { name },
        (Some(Errno::INVAL), Some(None)) => OpenError::NotTun { name },
        (Some(Errno::INVAL), Some(Some(kind))) if kind.tap => OpenError::Tap { name },
        (Some(Errno::INVAL), Some(Some(kind))) if kind.multi_queue => OpenError::MultiQueue { name },
        _ => OpenError::Other { name, doing: "attach to it", error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_would_cut_or_read_otherwise_are_refused() {
        for name in ["", "sixteen-bytes-it", "tun%d", "a/b", "a b", "a:b", "..", "tun\n"] {
            assert!(matches!(check_name(name), Err(OpenError::BadName { .. })), "{name:?}");
        }
        for name in ["tun0", "fifteen-bytes-i", "vpn.home"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn every_explanation_is_one_line() {
        let name = "tun0".to_owned();
        for error in [
            OpenError::NoDriver,
            OpenError::NotTheDriver,
            OpenError::CloneDeviceForbidden,
            OpenError::CreateForbidden { name: name.clone() },
            OpenError::AttachForbidden { name: name.clone() },
            OpenError::Busy { name: name.clone() },
            OpenError::NotTun { name: name.clone() },
            OpenError::Tap { name: name.clone() },
            OpenError::MultiQueue { name: name.clone() },
            OpenError::BadName { name, why: "it is empty" },
        ] {
            let text = error.to_string();
            assert!(!text.contains('\n') && !text.contains("  "), "{text:?}");
        }
    }
}
