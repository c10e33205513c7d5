//! The system calls that no library wraps safely: the only file of the crate with `unsafe` in it.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::ptr;

use rustix::ioctl::{IntegerSetter, Ioctl, IoctlOutput, Opcode, ioctl, opcode};

/// `TUNSETOFFLOAD` of `linux/if_tun.h`.
const TUNSETOFFLOAD: Opcode = opcode::write::<u32>(b'T', 208);

/// Tells the kernel which offloads the reader of a TUN device understands.
pub(super) fn set_tun_offload(tun: impl AsFd, flags: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value, as a set of flags; the kernel reads and writes no
    // memory of ours.
    unsafe { ioctl(tun, IntegerSetter::<TUNSETOFFLOAD>::new_usize(flags as usize))? };
    Ok(())
}

/// The network namespace that a TUN device is in: where it was made, or where it was moved to.
pub(super) fn tun_namespace(tun: impl AsFd) -> io::Result<OwnedFd> {
    // SAFETY: TUNGETDEVNETNS takes no argument; the kernel reads and writes no memory of ours.
    Ok(unsafe { ioctl(tun, GetNamespace)? })
}

/// `TUNGETDEVNETNS` of `linux/if_tun.h`.
struct GetNamespace;

// SAFETY: the opcode is that of a call without argument, which answers with a new file descriptor.
unsafe impl Ioctl for GetNamespace {
    type Output = OwnedFd;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        opcode::none(b'T', 227)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        ptr::null_mut()
    }

    unsafe fn output_from_ptr(answer: IoctlOutput, _: *mut c_void) -> rustix::io::Result<OwnedFd> {
        // SAFETY: the call has succeeded, so the answer is a descriptor that was opened for us and that nobody else
        // knows of.
        Ok(unsafe { OwnedFd::from_raw_fd(answer) })
    }
}

/// The file descriptor of a device that `tun-tap` opened.
pub(super) fn into_owned(iface: tun_tap::Iface) -> OwnedFd {
    // SAFETY: `into_raw_fd` gives the ownership of an open descriptor away, so nobody else closes it.
    unsafe { OwnedFd::from_raw_fd(iface.into_raw_fd()) }
}
