//! Why a TUN device could not be opened, and what mends it.
//!
//! Owns the checks that come before the kernel is asked, and the explanations of what it answers.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use rustix::io::Errno;

use super::netlink::Link;

/// Where the kernel gives out TUN devices.
pub(super) const CLONE_DEVICE: &str = "/dev/net/tun";
/// Its device number: major 10 (misc), minor 200.
const CLONE_DEVICE_NUMBER: u64 = 10 << 8 | 200;
/// Longest interface name in bytes: `IFNAMSIZ` less the final zero.
const NAME_LEN_MAX: usize = 15;

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
    /// The kernel's TUN driver leaves checksums and segmentation to its users.
    #[error("the kernel has no offloads for {name} ({error}): go on without, as with `--offload off`")]
    NoOffload {
        /// The device.
        name: String,
        /// What the kernel said.
        #[source]
        error: io::Error,
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

/// The kernel's rules, checked here: `tun-tap` would cut a name that is too long, and a `%d` in it would make
/// a new device whatever exists.
pub(super) fn check_name(name: &str) -> Result<(), OpenError> {
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
pub(super) fn check_clone_device(file: &File) -> Result<(), OpenError> {
    let metadata = file.metadata().map_err(explain_clone_device)?;
    let is_driver = metadata.file_type().is_char_device() && metadata.rdev() == CLONE_DEVICE_NUMBER;
    if is_driver { Ok(()) } else { Err(OpenError::NotTheDriver) }
}

pub(super) fn explain_clone_device(error: io::Error) -> OpenError {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => OpenError::NoDriver,
        Some(Errno::ACCESS | Errno::PERM) => OpenError::CloneDeviceForbidden,
        Some(Errno::ISDIR) => OpenError::NotTheDriver,
        _ => OpenError::Other { name: CLONE_DEVICE.to_owned(), doing: "open it", error },
    }
}

/// `existing` is the interface that had the name just before.
pub(super) fn explain_attach(name: &str, existing: Option<&Link>, error: io::Error) -> OpenError {
    let name = if name.is_empty() { "tun0" } else { name }.to_owned();
    let tun = existing.map(|link| link.tun);
    match (error.raw_os_error().map(Errno::from_raw_os_error), tun) {
        (Some(Errno::PERM), None) => OpenError::CreateForbidden { name },
        (Some(Errno::PERM), Some(_)) => OpenError::AttachForbidden { name },
        (Some(Errno::BUSY), _) => OpenError::Busy { name },
        (Some(Errno::OPNOTSUPP), _) => OpenError::NoOffload { name, error },
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
            OpenError::NoOffload { name: name.clone(), error: io::ErrorKind::Unsupported.into() },
            OpenError::BadName { name, why: "it is empty" },
        ] {
            let text = error.to_string();
            assert!(!text.contains('\n') && !text.contains("  "), "{text:?}");
        }
    }
}
