//! The kernel's side of a TUN device, watched wherever it goes.
//!
//! A device may be moved to another network namespace while we hold it (a router's are, so that each has a kernel of its
//! own behind it), and netlink tells of the links of one namespace alone. So who watches moves along: only a socket that
//! was made in a namespace hears of what happens there, and a thread that ends at once makes it. Who may not enter the
//! namespace knows of the device what it knew before.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use super::netlink::{Link, LinkWatch, Netlink};
use super::{namespace, sys};

/// How often a device is looked for that moves on, or is given another name, while it is looked for.
const ATTEMPTS: usize = 8;

/// Follows a device of the kernel.
#[derive(Debug)]
pub(super) struct Follower {
    /// Holds the watch, which may be another one tomorrow.
    epoll: OwnedFd,
    place: Mutex<Place>,
}

/// Where the device is, with sockets of that namespace.
#[derive(Debug)]
struct Place {
    watch: LinkWatch,
    netlink: Netlink,
    index: u32,
}

impl Follower {
    /// Watches the device called `name` in this thread's namespace; tells how it is now.
    ///
    /// # Errors
    /// If the kernel refuses to tell, or there is no such device.
    pub(super) fn new(name: &str) -> io::Result<(Self, Link)> {
        let (place, link) = Place::of(name)?.ok_or(Errno::NODEV)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        add(&epoll, &place.watch)?;
        Ok((Follower { epoll, place: Mutex::new(place) }, link))
    }

    /// Readable when [`news`](Self::news) has something to tell.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// How the device is now, if something about it has changed. `tun` is the device's own descriptor.
    pub(super) fn news(&self, tun: BorrowedFd<'_>) -> Option<Link> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let index = place.index;
        if !place.watch.changed(index) {
            return None;
        }
        match place.netlink.link_by_index(index) {
            Ok(Some(link)) => Some(link),
            Ok(None) => {
                let (found, link) = (0..ATTEMPTS).find_map(|_| Place::find(tun).ok().flatten())?;
                // The watch that is left goes out of the epoll when it is closed.
                add(&self.epoll, &found.watch).ok()?;
                *place = found;
                log::debug!("{}: now in another namespace", link.name);
                Some(link)
            }
            Err(_) => None,
        }
    }
}

impl Place {
    /// Where a device of that name is in this thread's namespace.
    fn of(name: &str) -> io::Result<Option<(Self, Link)>> {
        // Watched before it is looked at, so that no change falls between the two.
        let (watch, mut netlink) = (LinkWatch::open()?, Netlink::open()?);
        let link = netlink.link_by_name(name)?;
        Ok(link.map(|link| (Place { watch, netlink, index: link.index }, link)))
    }

    /// Where the device is that has this descriptor, in whatever namespace.
    fn find(tun: BorrowedFd<'_>) -> io::Result<Option<(Self, Link)>> {
        let namespace = sys::tun_namespace(tun)?;
        let name = name_of(tun)?;
        namespace::within(namespace.as_fd(), || Place::of(&name))?
    }
}

fn add(epoll: &OwnedFd, watch: &LinkWatch) -> rustix::io::Result<()> {
    epoll::add(epoll, watch.fd(), EventData::new_u64(0), EventFlags::IN)
}

/// What the device is called now, where it is now: it may have been given another name on the way.
fn name_of(tun: BorrowedFd<'_>) -> io::Result<String> {
    let said = fs::read_to_string(format!("/proc/self/fdinfo/{}", tun.as_raw_fd()))?;
    let name = said.lines().find_map(|line| line.strip_prefix("iff:")).map(str::trim);
    name.filter(|name| !name.is_empty()).map(str::to_owned).ok_or_else(|| Errno::NODEV.into())
}
