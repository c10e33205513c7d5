//! Bytes of a connection without a copy of the application's: carried on to another connection.

use std::io;
use std::ptr;

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

    /// Carries on what can be carried, waiting for one side of one of the two.
    fn try_splice(&self, to: &TcpStream, max: usize, who: &TcpStream, side: Side) -> io::Result<Carried> {
        let patience = who.0.modes.patience(side);
        self.0.net.shared().block_on(SocketId::Tcp(who.0.id), side, patience, |shard, now| {
            match (shard.stack.tcp_splice(now, self.0.id, to.0.id, max), side) {
                (Ok(count), _) => Ok(Carried::Bytes(count)),
                (Err(SpliceError::Read(Error::WouldBlock)), Side::Write)
                | (Err(SpliceError::Write(Error::WouldBlock)), Side::Read) => Ok(Carried::Waits),
                (Err(SpliceError::Read(error) | SpliceError::Write(error)), _) => Err(error),
            }
        })
    }
}
