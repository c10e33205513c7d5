//! The system calls that no library wraps safely: the only file of the crate with `unsafe` in it.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::ioctl::{Getter, IntegerSetter, Ioctl, IoctlOutput, Opcode, Setter, Updater, ioctl, opcode};

/// `TUNSETIFF` of `linux/if_tun.h`, which takes a `struct ifreq` in spite of its type.
const TUNSETIFF: Opcode = opcode::write::<c_int>(b'T', 202);
/// `TUNGETFEATURES`.
const TUNGETFEATURES: Opcode = opcode::read::<u32>(b'T', 207);
/// `TUNSETOFFLOAD`.
const TUNSETOFFLOAD: Opcode = opcode::write::<u32>(b'T', 208);
/// `TUNSETVNETHDRSZ`.
const TUNSETVNETHDRSZ: Opcode = opcode::write::<c_int>(b'T', 216);
/// `TUNSETVNETLE`.
const TUNSETVNETLE: Opcode = opcode::write::<c_int>(b'T', 220);

/// `IFF_TUN`, `IFF_NO_PI` and `IFF_VNET_HDR`: datagrams, with nothing before them but a `virtio_net_hdr`.
const FLAGS_WITH_VNET_HEADER: u16 = 0x0001 | 0x1000 | IFF_VNET_HDR;
const IFF_VNET_HDR: u16 = 0x4000;

/// `IFNAMSIZ`: the bytes of a name with its final zero.
const NAME_SIZE: usize = 16;

/// `struct ifreq` as TUNSETIFF reads and writes it.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; NAME_SIZE],
    flags: u16,
    rest: [u8; 22],
}

/// Attaches the clone device's descriptor to the device `name`, or makes it, with a `virtio_net_hdr` before each datagram;
/// returns the name that it has. The empty name makes the next free `tunN`.
///
/// # Errors
/// `EOPNOTSUPP` if this kernel knows no such header; what else is wrong, it says itself.
pub(super) fn attach_tun_with_vnet_header(clone_device: impl AsFd, name: &str) -> io::Result<String> {
    let clone_device = clone_device.as_fd();
    // SAFETY: TUNGETFEATURES writes an unsigned int, which the type says.
    let features = unsafe { ioctl(clone_device, Getter::<TUNGETFEATURES, u32>::new())? };
    if features & u32::from(IFF_VNET_HDR) == 0 {
        return Err(Errno::OPNOTSUPP.into());
    }
    let mut request = InterfaceRequest { name: [0; NAME_SIZE], flags: FLAGS_WITH_VNET_HEADER, rest: [0; 22] };
    // The last byte stays zero.
    let room = request.name[..NAME_SIZE - 1].get_mut(..name.len()).ok_or(Errno::INVAL)?;
    room.copy_from_slice(name.as_bytes());
    // SAFETY: TUNSETIFF reads and writes a struct ifreq, which is 40 bytes long on 64-bit machines and 32 on others:
    // the request is no shorter, and every pattern of bits is one.
    unsafe { ioctl(clone_device, Updater::<TUNSETIFF, InterfaceRequest>::new(&mut request))? };
    let given = request.name.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(given).into_owned())
}

/// Sets the length of the `virtio_net_hdr`, and its byte order to this machine's: another user of a persistent device may
/// have left others.
pub(super) fn set_vnet_header(tun: impl AsFd, len: usize) -> io::Result<()> {
    let tun = tun.as_fd();
    let len = c_int::try_from(len).map_err(|_| Errno::INVAL)?;
    // SAFETY: TUNSETVNETHDRSZ and TUNSETVNETLE each read an int, which the type says.
    unsafe {
        ioctl(tun, Setter::<TUNSETVNETHDRSZ, c_int>::new(len))?;
        ioctl(tun, Setter::<TUNSETVNETLE, c_int>::new(c_int::from(cfg!(target_endian = "little"))))?;
    }
    Ok(())
}

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
