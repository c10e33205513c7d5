//! Bytes of a connection without a copy of the application's: looked at and made where they lie, or carried on to another
//! connection.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::{io, ptr};

use bytes::Bytes;

use super::TcpStream;
use crate::proto::{Error, SocketId, SpliceError};
use crate::runtime::Side;

/// What came of an attempt to carry bytes on, beside that it has to wait.
enum Carried {
    /// So many bytes; 0 is the end of the stream.
    Bytes(usize),
    /// It waits for the other of the two.
    Waits,
}

/// Without a copy of the application's.
impl TcpStream {
    /// Carries up to `max` bytes that came on this connection on to `to`, where they are sent as if they had been read here and
    /// written there: what a proxy does all day, without a buffer of its own and a copy less. Waits until there is something
    /// to carry, and room for it, as long as a read here and a write there would wait. Returns how many bytes; 0 is the end of
    /// the stream (or a `max` of 0). `to` may be this connection, which makes an echo.
    ///
    /// # Errors
    /// What a read here or a write there would have answered: nothing is lost then. `InvalidInput` if the two are connections of
    /// different stacks.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::Shutdown;
    /// use tunstack::device::MemoryDevice;
    /// use tunstack::net::{Net, TcpListener, TcpStream};
    ///
    /// /// Carries on what one says to the other, to the end.
    /// fn carry(from: &TcpStream, to: &TcpStream) -> std::io::Result<()> {
    ///     while from.splice(to, usize::MAX)? > 0 {}
    ///     to.shutdown(Shutdown::Write)
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let (left, right) = MemoryDevice::pair(1500)?;
    /// # let outside = Net::builder().device(left).addr("10.9.0.1/24").start()?;
    /// # let net = Net::builder().device(right).addr("10.9.0.2/24").start()?;
    /// let listener = TcpListener::bind(&net, "10.9.0.2:7")?;
    /// let mut client = TcpStream::connect(&outside, "10.9.0.2:7")?;
    /// let (server, _) = listener.accept()?;
    /// client.write_all(b"greetings")?;
    /// client.shutdown(Shutdown::Write)?;
    /// carry(&server, &server)?;
    /// let mut answer = String::new();
    /// client.read_to_string(&mut answer)?;
    /// assert_eq!(answer, "greetings");
    /// # Ok(())
    /// # }
    /// ```
    pub fn splice(&self, to: &TcpStream, max: usize) -> io::Result<usize> {
        if !ptr::eq(self.0.net.shared(), to.0.net.shared()) {
            let why = "the two connections are of different stacks";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        self.tell_deferred()?;
        to.tell_deferred()?;
        loop {
            // Whoever of the two has to wait for the other sleeps where the other's events are heard.
            for (who, side) in [(self, Side::Read), (to, Side::Write)] {
                if let Carried::Bytes(count) = self.try_splice(to, max, who, side)? {
                    return Ok(count);
                }
            }
        }
    }

    /// Reads in place: waits until something has come, and lends it to `look` as it lies, in some pieces. `look` answers how many of
    /// the bytes, from the first on, are read now; the others are lent again by the next call. Returns how many were read; 0 is
    /// the end of the stream, unless `look` was called and said so.
    ///
    /// The stack stands still meanwhile: `look` has to be short, and whatever it asks of a socket of the same stack waits for ever,
    /// letting go of one included. It is called once at most.
    ///
    /// # Errors
    /// As a read; `look` isn't called then.
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use tunstack::device::MemoryDevice;
    /// # use tunstack::net::{Net, TcpListener, TcpStream};
    /// # fn main() -> std::io::Result<()> {
    /// # let (left, right) = MemoryDevice::pair(1500)?;
    /// # let outside = Net::builder().device(left).addr("10.9.0.1/24").start()?;
    /// # let net = Net::builder().device(right).addr("10.9.0.2/24").start()?;
    /// # let listener = TcpListener::bind(&net, "10.9.0.2:7")?;
    /// # let client = TcpStream::connect(&outside, "10.9.0.2:7")?;
    /// # let (server, _) = listener.accept()?;
    /// client.write_in_place(|room| {
    ///     room[..5].copy_from_slice(b"hello");
    ///     5
    /// })?;
    /// let mut sum = 0u64;
    /// let read = server.read_in_place(|pieces| {
    ///     sum += pieces.iter().flat_map(|piece| piece.iter()).map(|byte| u64::from(*byte)).sum::<u64>();
    ///     pieces.iter().map(|piece| piece.len()).sum()
    /// })?;
    /// assert_eq!((read, sum), (5, 532));
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_in_place(&self, look: impl FnMut(&[&[u8]]) -> usize) -> io::Result<usize> {
        let mut once = Once::new(look);
        let read = self.receive(|shard, now| {
            shard.stack.tcp_read_in_place(now, self.0.id, |pieces| once.run(|look| look(pieces)))
        });
        once.end(read)
    }

    /// Writes all of `bytes` without copying them: they are shared with the stack until the peer has acknowledged them, and what was
    /// written is gone from the front of `bytes`. Waits for room, and returns how many, as a write does: less than all only if
    /// the time is over or the connection fails on the way, or if the socket doesn't block. `bytes` has the others then.
    ///
    /// For what is there as [`Bytes`] anyway, or is sent more than once: it spares a copy, and the memory that this would take.
    /// Less than 16 KiB at a time is copied all the same, which takes less time. Where bytes have an owner
    /// ([`Bytes::from_owner`]), it is dropped by whatever thread notices that nobody needs them any more, without the stack's lock.
    /// That is mostly the stack's own thread: all others wait for it as long as this takes, and what it would have to wait for (room
    /// to write, or something to read) is `WouldBlock` there.
    ///
    /// # Errors
    /// As a write.
    ///
    /// ```
    /// # use std::io::Read;
    /// # use std::net::Shutdown;
    /// # use tunstack::device::MemoryDevice;
    /// # use tunstack::net::{Net, TcpListener, TcpStream};
    /// use bytes::Bytes;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let (left, right) = MemoryDevice::pair(1500)?;
    /// # let outside = Net::builder().device(left).addr("10.9.0.1/24").start()?;
    /// # let net = Net::builder().device(right).addr("10.9.0.2/24").start()?;
    /// # let listener = TcpListener::bind(&net, "10.9.0.2:7")?;
    /// # let clients = [TcpStream::connect(&outside, "10.9.0.2:7")?, TcpStream::connect(&outside, "10.9.0.2:7")?];
    /// # let servers = [listener.accept()?.0, listener.accept()?.0];
    /// let page = Bytes::from(vec![b'x'; 100_000]);
    /// for server in &servers {
    ///     server.write_bytes(&mut page.clone())?;
    ///     server.shutdown(Shutdown::Write)?;
    /// }
    /// # for mut client in clients {
    /// #     let mut got = Vec::new();
    /// #     client.read_to_end(&mut got)?;
    /// #     assert!(got == page);
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_bytes(&self, bytes: &mut Bytes) -> io::Result<usize> {
        self.send(bytes.len(), |shard, now, _| shard.stack.tcp_write_bytes(now, self.0.id, bytes))
    }

    /// Writes in place: waits until there is room in the send buffer, and lends some of it to `fill`, an octet at least and a page
    /// at most, all of it zero. `fill` puts bytes there, from the first on, and answers how many. Returns how many are sent.
    ///
    /// The stack stands still meanwhile, as for [`read_in_place`](Self::read_in_place).
    ///
    /// # Errors
    /// As a write; `fill` isn't called then.
    pub fn write_in_place(&self, fill: impl FnMut(&mut [u8]) -> usize) -> io::Result<usize> {
        self.tell_deferred()?;
        let mut once = Once::new(fill);
        let written = self.block_on(Side::Write, self.0.modes.patience(Side::Write), |shard, now| {
            shard.stack.tcp_write_in_place(now, self.0.id, |room| once.run(|fill| fill(room)))
        });
        once.end(written)
    }

    /// Carries on what can be carried, waiting for one side of one of the two.
    fn try_splice(&self, to: &TcpStream, max: usize, who: &TcpStream, side: Side) -> io::Result<Carried> {
        let patience = who.0.modes.patience(side);
        self.0.net.shared().block_on(SocketId::Tcp(who.0.id), side, patience, |shard, now| {
            if shard.stopped().is_some() {
                // What is unread can be read for ever, and what is written now would never be sent.
                return Err(Error::NoSuchSocket);
            }
            match (shard.stack.tcp_splice(now, self.0.id, to.0.id, max), side) {
                (Ok(count), _) => {
                    // Others who wait for either may have missed what this has used.
                    shard.wake_next(SocketId::Tcp(self.0.id), Side::Read);
                    shard.wake_next(SocketId::Tcp(to.0.id), Side::Write);
                    Ok(Carried::Bytes(count))
                }
                (Err(SpliceError::Read(Error::WouldBlock)), Side::Write)
                | (Err(SpliceError::Write(Error::WouldBlock)), Side::Read) => Ok(Carried::Waits),
                (Err(SpliceError::Read(error) | SpliceError::Write(error)), _) => Err(error),
            }
        })
    }
}

/// What is run once, under the stack's lock, by a call that may have to try several times. Its panic is its caller's, and not
/// the stack's end; and it is dropped when the lock is let go, since what it owns may be a socket of the same stack.
struct Once<F> {
    work: F,
    was_run: bool,
    panic: Option<Box<dyn Any + Send>>,
}

impl<F> Once<F> {
    fn new(work: F) -> Self {
        Once { work, was_run: false, panic: None }
    }

    fn run(&mut self, run: impl FnOnce(&mut F) -> usize) -> usize {
        if std::mem::replace(&mut self.was_run, true) {
            return 0;
        }
        catch_unwind(AssertUnwindSafe(|| run(&mut self.work))).unwrap_or_else(|panic| {
            self.panic = Some(panic);
            0
        })
    }

    /// What the call has to say, or the panic, now that the lock is let go.
    fn end<T>(self, result: T) -> T {
        match self.panic {
            Some(panic) => resume_unwind(panic),
            None => result,
        }
    }
}
