//! One connection as a service sees it, and the manner of speaking over it.

use bytes::Bytes;

use crate::proto::stack::Shutdown;
use crate::proto::tcp::SocketOptions;
use crate::proto::{Error, SpliceError, Stack, TcpId};
use crate::time::Instant;

/// The verbs of one connection. They answer as [`Stack`]'s do.
pub(super) trait Pipe {
    /// Sends back what came, as far as there is room, and tells whether it would find something now; 0 is the end of the stream.
    fn send_back(&mut self) -> Result<(usize, bool), SpliceError>;
    /// Whether [`skip`](Self::skip) would find something now; to ask costs less than to try.
    fn has_something_to_read(&self) -> bool;
    /// Throws away up to `max` bytes that came; 0 is the end of the stream.
    fn skip(&mut self, max: usize) -> Result<usize, Error>;
    /// Queues bytes to be sent, as many as there is room for.
    fn write(&mut self, data: &[u8]) -> Result<usize, Error>;
    /// The same with bytes that need not be copied: those that are queued are gone from the front.
    fn write_bytes(&mut self, bytes: &mut Bytes) -> Result<usize, Error>;
    /// Ends our side of the stream.
    fn shutdown_write(&mut self) -> Result<(), Error>;
}

/// A protocol: what to say on a connection.
pub(super) trait Talk: Send + 'static {
    /// What is kept per connection.
    type State: Default + Send;

    /// What the service is called in logs.
    const NAME: &'static str;

    /// Connections kept at once; the oldest gives way. `None` leaves the limit to the core.
    const CONNECTIONS_MAX: Option<usize> = None;

    /// Adjusts what accepted connections start with.
    fn adjust(&self, _options: &mut SocketOptions) {}

    /// Goes on until the connection answers `WouldBlock` or has served its purpose. While `ending` the
    /// daemon is about to leave: say no more than what is owed.
    fn talk(&mut self, pipe: &mut impl Pipe, state: &mut Self::State, ending: bool) -> Turn;
}

/// How far a service came with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Turn {
    /// Nothing is owed to the peer, whose word is awaited.
    Idle,
    /// Something is owed, but there is no room to write.
    Blocked,
    /// The connection has served its purpose, or failed.
    Done,
}

/// A connection of a stack.
pub(super) struct Wire<'a> {
    pub(super) stack: &'a mut Stack,
    pub(super) id: TcpId,
    pub(super) now: Instant,
}

impl Pipe for Wire<'_> {
    #[inline(always)]
    fn send_back(&mut self) -> Result<(usize, bool), SpliceError> {
        self.stack.tcp_send_back(self.now, self.id)
    }

    fn has_something_to_read(&self) -> bool {
        self.stack.tcp_has_something_to_read(self.id)
    }

    fn skip(&mut self, max: usize) -> Result<usize, Error> {
        self.stack.tcp_skip(self.now, self.id, max)
    }

    fn write(&mut self, data: &[u8]) -> Result<usize, Error> {
        self.stack.tcp_write(self.now, self.id, data)
    }

    fn write_bytes(&mut self, bytes: &mut Bytes) -> Result<usize, Error> {
        self.stack.tcp_write_bytes(self.now, self.id, bytes)
    }

    fn shutdown_write(&mut self) -> Result<(), Error> {
        self.stack.tcp_shutdown(self.now, self.id, Shutdown::Write)
    }
}

/// Throws away what came.
pub(super) fn drain(pipe: &mut impl Pipe) -> Drained {
    loop {
        match pipe.skip(usize::MAX) {
            Ok(0) => return Drained::EndOfStream,
            Ok(_) if pipe.has_something_to_read() => {}
            Ok(_) => return Drained::SoFar,
            Err(Error::WouldBlock) => return Drained::SoFar,
            Err(_) => return Drained::Failed,
        }
    }
}

/// What [`drain`] came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Drained {
    /// More may come.
    SoFar,
    /// The peer says no more.
    EndOfStream,
    /// The connection is broken.
    Failed,
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::VecDeque;

    use bytes::Buf;

    use super::*;

    /// A connection without a network: what came, and bounded room for what is to go.
    #[derive(Debug, Default)]
    pub(in super::super) struct Tube {
        pub(in super::super) came: VecDeque<u8>,
        pub(in super::super) their_end: bool,
        pub(in super::super) room: usize,
        pub(in super::super) went: Vec<u8>,
        pub(in super::super) our_end: bool,
        pub(in super::super) broken: Option<Error>,
    }

    impl Tube {
        /// How many bytes there are to be read; 0 is the end of the stream.
        fn readable(&self) -> Result<usize, Error> {
            if let Some(error) = self.broken {
                return Err(error);
            }
            if self.came.is_empty() && !self.their_end {
                return Err(Error::WouldBlock);
            }
            Ok(self.came.len())
        }
    }

    impl Pipe for Tube {
        fn send_back(&mut self) -> Result<(usize, bool), SpliceError> {
            let len = self.readable().map_err(SpliceError::Read)?.min(self.room);
            if len == 0 && !self.came.is_empty() {
                return Err(SpliceError::Write(Error::WouldBlock));
            }
            assert!(len == 0 || !self.our_end, "written after the end");
            self.room -= len;
            self.went.extend(self.came.drain(..len));
            Ok((len, self.has_something_to_read()))
        }

        fn has_something_to_read(&self) -> bool {
            !matches!(self.readable(), Err(Error::WouldBlock))
        }

        fn skip(&mut self, max: usize) -> Result<usize, Error> {
            let len = self.readable()?.min(max);
            self.came.drain(..len);
            Ok(len)
        }

        fn write(&mut self, data: &[u8]) -> Result<usize, Error> {
            assert!(!self.our_end, "written after the end");
            if let Some(error) = self.broken {
                return Err(error);
            }
            if self.room == 0 {
                return Err(Error::WouldBlock);
            }
            let len = data.len().min(self.room);
            self.room -= len;
            self.went.extend_from_slice(&data[..len]);
            Ok(len)
        }

        fn write_bytes(&mut self, bytes: &mut Bytes) -> Result<usize, Error> {
            let len = self.write(bytes)?;
            bytes.advance(len);
            Ok(len)
        }

        fn shutdown_write(&mut self) -> Result<(), Error> {
            self.our_end = true;
            Ok(())
        }
    }
}
