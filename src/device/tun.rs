//! What all TUN devices have in common, with offloads or without.
//!
//! Owns the device's descriptor, the knowledge of its MTU and the count of what it lost. What a read and a write begin
//! with is for each kind to say.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrayvec::ArrayVec;
use rustix::io::Errno;

use super::follow::Follower;
use super::netlink::{Link, Netlink};
use super::open_error::{
    CLONE_DEVICE, OpenError, check_clone_device, check_name, explain_attach, explain_clone_device,
};
use crate::proto::{Egress, Sent};

/// Pieces of one datagram that go to the kernel as they lie; one that has more is copied together first.
const PIECES_MAX: usize = 24;
/// Datagrams of up to this many bytes are copied together and written as one piece: for the kernel, a list of
/// pieces costs more than the copy does here.
const FLAT_MAX: usize = 2048;

/// A TUN device that is open.
#[derive(Debug)]
pub(super) struct Tun {
    fd: OwnedFd,
    name: String,
    index: u32,
    mtu: AtomicUsize,
    lost: AtomicU64,
    follower: Follower,
}

impl Tun {
    /// Opens the device `name`, or the next free `tunN` if there is none. `attach` is given the kernel's clone device and
    /// the name, and answers with the descriptor and the name that the device has.
    pub(super) fn open(
        name: Option<&str>,
        attach: impl FnOnce(File, &str) -> io::Result<(OwnedFd, String)>,
    ) -> Result<Tun, OpenError> {
        name.map_or(Ok(()), check_name)?;
        let mut netlink = netlink()?;
        let clone_device = File::options().read(true).write(true).open(CLONE_DEVICE);
        let clone_device = clone_device.map_err(explain_clone_device)?;
        check_clone_device(&clone_device)?;
        let existing = name.and_then(|name| netlink.link_by_name(name).ok().flatten());
        // The kernel looks for an existing device by name only, and no device has the empty one.
        let name = name.unwrap_or_default();
        let (fd, name) =
            attach(clone_device, name).map_err(|error| explain_attach(name, existing.as_ref(), error))?;
        let fail = |doing| {
            let name = name.clone();
            move |error| OpenError::Other { name, doing, error }
        };
        rustix::io::ioctl_fionbio(&fd, true)
            .map_err(io::Error::from)
            .map_err(fail("make it non-blocking"))?;
        let (follower, link) = Follower::new(&name).map_err(fail("watch it"))?;
        let (mtu, lost) = (AtomicUsize::new(link.mtu), AtomicU64::new(0));
        Ok(Tun { fd, name, index: link.index, mtu, lost, follower })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The index that the device's interface on the host had when it was opened.
    pub(super) fn index(&self) -> u32 {
        self.index
    }

    pub(super) fn mtu(&self) -> usize {
        self.mtu.load(Ordering::Relaxed)
    }

    pub(super) fn control_fd(&self) -> BorrowedFd<'_> {
        self.follower.fd()
    }

    pub(super) fn control(&self) {
        if let Some(Link { mtu, up, .. }) = self.follower.news(self.fd.as_fd()) {
            log::debug!("{}: the link is {}, MTU {mtu}", self.name, if up { "up" } else { "down" });
            self.mtu.store(mtu, Ordering::Relaxed);
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Counts a datagram as lost on the device's own account.
    pub(super) fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads once by `read`, which is repeated if a signal interrupts it.
    pub(super) fn recv(&self, mut read: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<usize>) -> Read {
        loop {
            match read(self.fd.as_fd()) {
                Ok(0) => return Read::Empty,
                Ok(len) => return Read::Bytes(len),
                Err(Errno::INTR) => {}
                Err(Errno::BADFD) => return Read::Gone,
                // EIO and EFAULT stand for a device on its way out; the next read says EBADFD.
                Err(_) => return Read::Empty,
            }
        }
    }

    /// Writes what goes before the datagram, which may be nothing, and the datagram.
    pub(super) fn send(&self, before: &[u8], egress: &Egress<'_>) -> Sent {
        let whole = |bytes: &[u8]| rustix::io::write(&self.fd, bytes);
        let in_pieces = |pieces: &[IoSlice<'_>]| rustix::io::writev(&self.fd, pieces);
        self.sent(|| laid_out(before, egress, whole, in_pieces))
    }

    /// Writes the datagram, with what goes before it.
    pub(super) fn send_whole(&self, both: &[u8]) -> Sent {
        self.sent(|| rustix::io::write(&self.fd, both))
    }

    /// Writes by `write`, which is repeated if a signal interrupts it, and tells what came of it.
    fn sent(&self, write: impl Fn() -> rustix::io::Result<usize>) -> Sent {
        loop {
            return match write() {
                Ok(_) => Sent::Taken,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Sent::Busy,
                // A link that is down (EIO) loses what it is given, as a cable that is out: time-outs go on
                // running. So does a device that is gone (EBADFD; the next read tells) and a datagram that the
                // kernel doesn't like, which no repetition makes better.
                Err(_) => {
                    self.lose();
                    Sent::Taken
                }
            };
        }
    }
}

/// Hands what goes before the datagram, and the datagram, to one of both: together in one piece, or as they lie.
fn laid_out<T>(
    before: &[u8],
    egress: &Egress<'_>,
    whole: impl Fn(&[u8]) -> T,
    in_pieces: impl Fn(&[IoSlice<'_>]) -> T,
) -> T {
    if before.is_empty() && egress.payload.is_empty() {
        return whole(egress.header);
    }
    let first = [before, egress.header];
    if before.len() + egress.len() <= FLAT_MAX {
        let mut flat = ArrayVec::<u8, FLAT_MAX>::new();
        for piece in first.iter().chain(egress.payload) {
            // There is room for all of them.
            let _ = flat.try_extend_from_slice(piece);
        }
        return whole(&flat);
    }
    if first.len() + egress.payload.len() <= PIECES_MAX {
        let all = first.iter().chain(egress.payload).filter(|piece| !piece.is_empty());
        let pieces: ArrayVec<IoSlice<'_>, PIECES_MAX> = all.map(|piece| IoSlice::new(piece)).collect();
        return in_pieces(&pieces);
    }
    let mut copy = before.to_vec();
    egress.copy_to(&mut copy);
    whole(&copy)
}

/// What a [`Device`](super::Device) whose field `tun` is a [`Tun`] answers, with the kernel's offloads or without.
macro_rules! as_every_tun {
    () => {
        fn name(&self) -> &str {
            self.tun.name()
        }

        fn mtu(&self) -> usize {
            self.tun.mtu()
        }

        fn poll_fd(&self) -> std::os::fd::BorrowedFd<'_> {
            self.tun.fd()
        }

        fn room(&self) -> $crate::device::Room {
            $crate::device::Room::Writable
        }

        fn control_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
            Some(self.tun.control_fd())
        }

        fn control(&self) {
            self.tun.control();
        }

        fn lost(&self) -> u64 {
            self.tun.lost()
        }
    };
}

pub(super) use as_every_tun;

/// What came of an attempt to read.
pub(super) enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing waits.
    Empty,
    /// The device is gone for good.
    Gone,
}

fn netlink() -> Result<Netlink, OpenError> {
    Netlink::open().map_err(|error| OpenError::Other {
        name: "netlink".to_owned(),
        doing: "ask the kernel about interfaces",
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::DeviceId;

    /// Text in a ring is in pieces of this many bytes at most.
    const PAGE: usize = 4096;
    const BEFORE: [u8; 10] = [1; 10];
    const HEADER: [u8; 52] = [2; 52];

    /// What the kernel is given.
    #[derive(Debug, PartialEq, Eq)]
    enum Given {
        Whole(Vec<u8>),
        /// Where each piece lies, and how long it is.
        Pieces(Vec<(*const u8, usize)>),
    }

    fn given(before: &[u8], header: &[u8], payload: &[&[u8]]) -> Given {
        let egress = Egress::plain(DeviceId(0), header, payload);
        let place = |piece: &IoSlice<'_>| (piece.as_ptr(), piece.len());
        laid_out(
            before,
            &egress,
            |bytes| Given::Whole(bytes.to_vec()),
            |pieces| Given::Pieces(pieces.iter().map(place).collect()),
        )
    }

    fn places(pieces: &[&[u8]]) -> Given {
        Given::Pieces(pieces.iter().map(|piece| (piece.as_ptr(), piece.len())).collect())
    }

    #[test]
    fn a_super_segment_goes_to_the_kernel_as_it_lies_wherever_in_a_page_it_begins() {
        let text = vec![3; 65_535 - HEADER.len()];
        for begin in [0, 1, PAGE / 2, PAGE - 1] {
            let (first, rest) = text.split_at(PAGE - begin);
            let payload: Vec<&[u8]> = std::iter::once(first).chain(rest.chunks(PAGE)).collect();
            assert!(payload.len() >= 16, "{}", payload.len());
            for before in [&BEFORE[..], &[]] {
                let headers = [before, &HEADER].into_iter().filter(|piece| !piece.is_empty());
                let all: Vec<&[u8]> = headers.chain(payload.iter().copied()).collect();
                assert_eq!(given(before, &HEADER, &payload), places(&all), "{begin}");
            }
        }
    }

    #[test]
    fn what_is_small_goes_in_one_piece_and_so_does_what_lies_in_too_many() {
        let text = vec![3; FLAT_MAX + 1];
        let whole = |payload: &[&[u8]]| Given::Whole([&BEFORE[..], &HEADER, &payload.concat()].concat());
        let headers = BEFORE.len() + HEADER.len();
        for payload in [&[][..], &[&text[..1]], &[&text[..700], &text[..FLAT_MAX - headers - 700]]] {
            assert_eq!(given(&BEFORE, &HEADER, payload), whole(payload));
        }
        let larger = &text[..FLAT_MAX - headers + 1];
        assert_eq!(given(&BEFORE, &HEADER, &[larger]), places(&[&BEFORE, &HEADER, larger]));
        let many = vec![&text[..200]; PIECES_MAX - 1];
        assert_eq!(given(&BEFORE, &HEADER, &many), whole(&many));
        let Given::Pieces(pieces) = given(&BEFORE, &HEADER, &many[1..]) else { panic!("copied together") };
        assert_eq!(pieces.len(), PIECES_MAX);
        assert_eq!(given(&[], &HEADER, &[]), Given::Whole(HEADER.to_vec()));
    }
}
