//! The system calls that no library wraps safely: the only file of the crate with `unsafe` in it.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};

use rustix::ioctl::{IntegerSetter, Opcode, ioctl, opcode};

/// `TUNSETOFFLOAD` of `linux/if_tun.h`.
const TUNSETOFFLOAD: Opcode = opcode::write::<u32>(b'T', 208);

/// Tells the kernel which offloads the reader of a TUN device understands.
pub(super) fn set_tun_offload(tun: impl AsFd, flags: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value, as a set of flags; the kernel reads and writes no
    // memory of ours.
    unsafe { ioctl(tun, IntegerSetter::<TUNSETOFFLOAD>::new_usize(flags as usize))? };
    Ok(())
}

/// The file descriptor of a device that `tun-tap` opened.
pub(super) fn into_owned(iface: tun_tap::Iface) -> OwnedFd {
    // SAFETY: `into_raw_fd` gives the ownership of an open descriptor away, so nobody else closes it.
    unsafe { OwnedFd::from_raw_fd(iface.into_raw_fd()) }
}
