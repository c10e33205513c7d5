//! Other network namespaces: a device can be opened in the one it is to be in.
//!
//! A thread has one network namespace, and what it opens is of that one. So a thread is started that moves there, opens
//! what is wanted and ends; descriptors work from anywhere.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::thread;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps the namespaces that have a name.
const NAMED: &str = "/run/netns";

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    said: String,
    file: File,
}

impl Namespace {
    /// The one that `ip netns` knows by this name; with a slash in it, the one at this path, such as
    /// `/proc/123/ns/net`.
    ///
    /// # Errors
    /// See [`NamespaceError`].
    pub fn open(said: &str) -> Result<Namespace, NamespaceError> {
        let is_path = said.contains('/');
        let opened = if is_path { File::open(said) } else { File::open(Path::new(NAMED).join(said)) };
        let said = said.to_owned();
        match opened {
            Ok(file) => Ok(Namespace { said, file }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_path => {
                Err(NamespaceError::NoPath { path: said })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(NamespaceError::NoName { name: said })
            }
            Err(error) => Err(explain(said, error)),
        }
    }

    /// Does something there, on a thread of its own, and waits for it: what it opens is of that namespace.
    ///
    /// # Errors
    /// If the namespace can't be entered.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        within(self.file.as_fd(), work).map_err(|error| explain(self.said.clone(), error))
    }
}

/// Does something in a network namespace, on a thread that ends with it.
pub(super) fn within<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let inside = thread::Builder::new().name("tunstack moves".into()).spawn_scoped(scope, || {
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
            Ok(work())
        })?;
        inside.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked there")))
    })
}

/// Why nothing can be done in a namespace, and the command that mends it, on one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamespaceError {
    /// `ip netns` knows none of this name.
    #[error(
        "there is no network namespace {name}: `ip netns` lists those that have a name, and `sudo ip netns add {name}` \
         makes it"
    )]
    NoName {
        /// The name.
        name: String,
    },
    /// There is no such file.
    #[error(
        "{path} is not there: the network namespace of a process is `/proc/PID/ns/net`, as long as the process runs"
    )]
    NoPath {
        /// The path.
        path: String,
    },
    /// The file is something else.
    #[error("{said} is not a network namespace: name one of `ip netns`, or a path as `/proc/PID/ns/net`")]
    NotOne {
        /// What was named.
        said: String,
    },
    /// Entering a namespace needs CAP_SYS_ADMIN.
    #[error("no permission to enter the network namespace {said}: run this with `sudo`")]
    NotPermitted {
        /// The namespace.
        said: String,
    },
    /// Something else went wrong.
    #[error("can't enter the network namespace {said}: {error}; `ip netns` lists those that have a name")]
    Other {
        /// The namespace.
        said: String,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

fn explain(said: String, error: io::Error) -> NamespaceError {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => NamespaceError::NotPermitted { said },
        Some(Errno::INVAL | Errno::NOTDIR | Errno::ISDIR) => NamespaceError::NotOne { said },
        _ => NamespaceError::Other { said, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_namespace_is_said_with_the_remedy() {
        let complaint = |said: &str| match Namespace::open(said).and_then(|there| there.within(|| ())) {
            Err(error) => error.to_string(),
            Ok(()) => panic!("{said} was entered"),
        };
        insta::assert_snapshot!(complaint("no-such-one"), @"there is no network namespace no-such-one: `ip netns` lists those that have a name, and `sudo ip netns add no-such-one` makes it");
        insta::assert_snapshot!(complaint("/no/such/path"), @"/no/such/path is not there: the network namespace of a process is `/proc/PID/ns/net`, as long as the process runs");
        insta::assert_snapshot!(complaint("/proc/self/status"), @"/proc/self/status is not a network namespace: name one of `ip netns`, or a path as `/proc/PID/ns/net`");
    }
}
