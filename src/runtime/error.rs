//! What the core's errors are called in `std`'s terms.

use std::io;

use rustix::io::Errno;

use crate::proto::Error;

impl From<Error> for io::Error {
    /// The error that the kernel's sockets give for the same event: same errno, hence same text and same
    /// [`io::ErrorKind`].
    fn from(error: Error) -> io::Error {
        io::Error::from_raw_os_error(errno(error).raw_os_error())
    }
}

fn errno(error: Error) -> Errno {
    match error {
        Error::WouldBlock => Errno::AGAIN,
        Error::InProgress => Errno::INPROGRESS,
        Error::ConnectionRefused => Errno::CONNREFUSED,
        Error::ConnectionReset => Errno::CONNRESET,
        Error::ConnectionAborted => Errno::CONNABORTED,
        Error::TimedOut => Errno::TIMEDOUT,
        Error::HostUnreachable => Errno::HOSTUNREACH,
        Error::NetworkUnreachable => Errno::NETUNREACH,
        Error::ProtocolUnreachable => Errno::NOPROTOOPT,
        Error::ProtocolError => Errno::PROTO,
        Error::HostDown => Errno::HOSTDOWN,
        Error::HostIsolated => Errno::NONET,
        Error::OperationNotSupported => Errno::OPNOTSUPP,
        Error::AddrInUse => Errno::ADDRINUSE,
        Error::AddrNotAvailable => Errno::ADDRNOTAVAIL,
        Error::AlreadyConnected => Errno::ISCONN,
        Error::NotConnected => Errno::NOTCONN,
        Error::BrokenPipe => Errno::PIPE,
        Error::MessageTooLong => Errno::MSGSIZE,
        Error::NoBufferSpace => Errno::NOBUFS,
        Error::InvalidInput => Errno::INVAL,
        Error::DestinationRequired => Errno::DESTADDRREQ,
        Error::PermissionDenied => Errno::ACCESS,
        Error::AlreadyExists => Errno::EXIST,
        Error::NotFound => Errno::NOENT,
        Error::NoSuchSocket => Errno::BADF,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_errors_have_the_kinds_that_std_gives_them() {
        let kind = |error: Error| io::Error::from(error).kind();
        assert_eq!(kind(Error::WouldBlock), io::ErrorKind::WouldBlock);
        assert_eq!(kind(Error::ConnectionRefused), io::ErrorKind::ConnectionRefused);
        assert_eq!(kind(Error::ConnectionReset), io::ErrorKind::ConnectionReset);
        assert_eq!(kind(Error::TimedOut), io::ErrorKind::TimedOut);
        assert_eq!(kind(Error::BrokenPipe), io::ErrorKind::BrokenPipe);
        assert_eq!(kind(Error::NetworkUnreachable), io::ErrorKind::NetworkUnreachable);
        assert_eq!(kind(Error::HostUnreachable), io::ErrorKind::HostUnreachable);
        assert_eq!(kind(Error::AddrInUse), io::ErrorKind::AddrInUse);
        assert_eq!(kind(Error::AddrNotAvailable), io::ErrorKind::AddrNotAvailable);
        assert_eq!(kind(Error::NotConnected), io::ErrorKind::NotConnected);
        assert_eq!(kind(Error::InvalidInput), io::ErrorKind::InvalidInput);
    }
}
