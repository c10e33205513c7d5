//! TCP's socket verbs.

use core::net::SocketAddr;

use bytes::Bytes;

use super::{Shutdown, Stack};
use crate::proto::error::{Error, SpliceError};
use crate::proto::events::Owner;
use crate::proto::ids::{ListenerId, TcpId};
use crate::proto::reuse::BindOptions;
use crate::proto::tcp::endpoint::{Done, Take};
use crate::proto::tcp::{SocketOptions, TcpInfo};
use crate::time::Instant;

/// TCP's socket verbs. Handles that were closed answer [`Error::NoSuchSocket`].
impl Stack {
    /// Opens a listener. Port 0 chooses a free one. `backlog` is how many finished handshakes may wait
    /// to be accepted, less one, as on Linux; `None` takes the default. Connections that an earlier listener has
    /// accepted, and what is left of them, are no hindrance (it reuses the address, as `std`'s listeners do).
    ///
    /// # Errors
    /// `AddrInUse` (another listener has the port, or a connection that was opened from this side),
    /// `AddrNotAvailable` (not an address of ours), `NoBufferSpace` (too many listeners).
    pub fn tcp_listen(
        &mut self,
        now: Instant,
        local: SocketAddr,
        backlog: Option<usize>,
        owner: Owner,
    ) -> Result<ListenerId, Error> {
        let options = BindOptions { reuse_addr: true, ..BindOptions::NONE };
        self.tcp_listen_with(now, local, options, backlog, owner)
    }

    /// Like [`tcp_listen`](Self::tcp_listen), saying who else may have the port. Listeners that all reuse the port get
    /// each its share of the connections; those that wait for a listener to accept them end with it.
    pub fn tcp_listen_with(
        &mut self,
        now: Instant,
        local: SocketAddr,
        options: BindOptions,
        backlog: Option<usize>,
        owner: Owner,
    ) -> Result<ListenerId, Error> {
        let (tcp, ctx) = with!(self, now, tcp);
        tcp.listen(ctx, local, options, backlog, owner)
    }

    /// Takes a connection from the accept queue, with the peer's address.
    ///
    /// # Errors
    /// `WouldBlock` if none waits.
    pub fn tcp_accept(&mut self, now: Instant, id: ListenerId) -> Result<(TcpId, SocketAddr), Error> {
        let (tcp, ctx) = with!(self, now, tcp);
        tcp.accept(ctx, id)
    }

    /// Like [`tcp_accept`](Self::tcp_accept), for whoever uses the connection at once as after an event, and then asks again until
    /// none waits. Of neither there is an event: it would tell what has been seen.
    #[cfg(feature = "daemon")]
    pub(crate) fn tcp_take_waiting(&mut self, id: ListenerId) -> Option<TcpId> {
        self.tcp.take_waiting(id)
    }

    /// Where a listener listens.
    pub fn tcp_listener_addr(&self, id: ListenerId) -> Result<SocketAddr, Error> {
        self.tcp.listener_addr(id)
    }

    /// Options that connections accepted from now on start with.
    pub fn tcp_listener_options(&self, id: ListenerId) -> Result<SocketOptions, Error> {
        self.tcp.listener_options(id)
    }

    /// Sets what connections accepted from now on start with.
    pub fn tcp_set_listener_options(&mut self, id: ListenerId, options: SocketOptions) -> Result<(), Error> {
        self.tcp.set_listener_options(id, options)
    }

    /// Closes a listener; connections that wait to be accepted are reset.
    pub fn tcp_close_listener(&mut self, now: Instant, id: ListenerId) {
        let (tcp, ctx) = with!(self, now, tcp);
        tcp.close_listener(ctx, id);
    }

    /// Starts to open a connection; a WRITABLE event tells when [`tcp_connect_result`](Self::tcp_connect_result)
    /// has something to say. `local` with port 0 or an unspecified address leaves that part to the stack.
    ///
    /// # Errors
    /// `InvalidInput` (families differ, port 0), `NetworkUnreachable` (no route; broadcast, multicast or unspecified remote),
    /// `AddrNotAvailable` (no such local address, no free port), `AddrInUse`, `NoBufferSpace`.
    pub fn tcp_connect(
        &mut self,
        now: Instant,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: Option<SocketOptions>,
        owner: Owner,
    ) -> Result<TcpId, Error> {
        let (tcp, ctx) = with!(self, now, tcp);
        tcp.connect(ctx, local, remote, options, owner)
    }

    /// Whether the connection is open: `InProgress` while it is not decided, the reason if it failed
    /// (told once; `NotConnected` afterwards).
    pub fn tcp_connect_result(&mut self, id: TcpId) -> Result<(), Error> {
        self.tcp.connect_result(id)
    }

    /// Reads in-order bytes; 0 is the end of the stream (or an empty `out`).
    ///
    /// # Errors
    /// `WouldBlock`, or how the connection failed: told once, after all that was received in order.
    pub fn tcp_read(&mut self, now: Instant, id: TcpId, out: &mut [u8]) -> Result<usize, Error> {
        let done = self.tcp.read(&mut self.ctx.pool, id, Take::Copy(out), now)?;
        Ok(self.tcp_done(now, id, done))
    }

    /// Like [`tcp_read`](Self::tcp_read), leaving the bytes unread.
    pub fn tcp_peek(&mut self, now: Instant, id: TcpId, out: &mut [u8]) -> Result<usize, Error> {
        let done = self.tcp.read(&mut self.ctx.pool, id, Take::Look(out), now)?;
        Ok(self.tcp_done(now, id, done))
    }

    /// Like [`tcp_read`](Self::tcp_read), throwing up to `max` bytes away instead of copying them: for what was
    /// seen by [`tcp_peek`](Self::tcp_peek), or is of no interest.
    pub fn tcp_skip(&mut self, now: Instant, id: TcpId, max: usize) -> Result<usize, Error> {
        let done = self.tcp.read(&mut self.ctx.pool, id, Take::Skip(max), now)?;
        Ok(self.tcp_done(now, id, done))
    }

    /// Queues bytes to be sent; fewer than all if the send buffer has no more room.
    ///
    /// # Errors
    /// `WouldBlock` (no room; not open yet), `BrokenPipe` (closed on this side, or the peer is gone), or how the
    /// connection failed, told once.
    pub fn tcp_write(&mut self, now: Instant, id: TcpId, data: &[u8]) -> Result<usize, Error> {
        let done = self.tcp.write(&mut self.ctx.pool, id, data, false, now)?;
        Ok(self.tcp_done(now, id, done))
    }

    /// Like [`tcp_write`](Self::tcp_write), with the urgent mark set after the last byte queued (RFC 9293
    /// section 3.8.5; new protocols should not use it, RFC 6093).
    pub fn tcp_write_urgent(&mut self, now: Instant, id: TcpId, data: &[u8]) -> Result<usize, Error> {
        let done = self.tcp.write(&mut self.ctx.pool, id, data, true, now)?;
        Ok(self.tcp_done(now, id, done))
    }

    /// Like [`tcp_write`](Self::tcp_write), from the front of `bytes`, which keeps what is not queued; and what is queued is not
    /// copied, but shared until the peer has acknowledged it. (What is less than 16 KiB, or finds room for less, is copied: that
    /// takes less time.) It counts against the send buffer as all else does, though no pages are taken for it.
    ///
    /// What is no longer needed is dropped as soon as that is known, or [by the driver](Self::keep_released).
    ///
    /// # Errors
    /// As [`tcp_write`](Self::tcp_write); `bytes` is as it was then.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use tunstack::proto::{Error, Stack, TcpId};
    /// use tunstack::time::Instant;
    ///
    /// /// Goes on sending a page to somebody who has asked for it; tells whether that was all.
    /// fn serve(stack: &mut Stack, now: Instant, id: TcpId, page: &mut Bytes) -> Result<bool, Error> {
    ///     while !page.is_empty() {
    ///         match stack.tcp_write_bytes(now, id, page) {
    ///             Ok(_) => {}
    ///             // The socket will be writable again.
    ///             Err(Error::WouldBlock) => return Ok(false),
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    ///     Ok(true)
    /// }
    /// ```
    pub fn tcp_write_bytes(&mut self, now: Instant, id: TcpId, bytes: &mut Bytes) -> Result<usize, Error> {
        let done = self.tcp.write_bytes(&mut self.ctx.pool, id, bytes, now)?;
        Ok(self.tcp_done(now, id, done))
    }

    /// Lends in-order bytes that are unread as they lie, in some pieces, to `look`, which answers how many of them, from the first on,
    /// are read now: reading without a copy. Not all that is unread need be lent at once. Returns how many were read; 0 is the
    /// end of the stream, unless `look` was called and said so.
    ///
    /// # Errors
    /// As [`tcp_read`](Self::tcp_read); `look` isn't called then.
    ///
    /// ```
    /// use tunstack::proto::{Error, Stack, TcpId};
    /// use tunstack::time::Instant;
    ///
    /// /// Counts the lines that have come, and reads to the end of the last of them.
    /// fn lines(stack: &mut Stack, now: Instant, id: TcpId) -> Result<usize, Error> {
    ///     let mut lines = 0;
    ///     stack.tcp_read_in_place(now, id, |pieces| {
    ///         let ends = pieces.iter().flat_map(|piece| piece.iter()).enumerate().filter(|(_, byte)| **byte == b'\n');
    ///         ends.inspect(|_| lines += 1).last().map_or(0, |(at, _)| at + 1)
    ///     })?;
    ///     Ok(lines)
    /// }
    /// ```
    pub fn tcp_read_in_place(
        &mut self,
        now: Instant,
        id: TcpId,
        look: impl FnOnce(&[&[u8]]) -> usize,
    ) -> Result<usize, Error> {
        let done = self.tcp.read_in_place(&mut self.ctx.pool, id, now, look)?;
        Ok(self.tcp_done(now, id, done))
    }

    /// Lends room in the send buffer to `fill`, which puts bytes there and answers how many: writing without a copy. The room is all
    /// zeros. There is an octet of it at least, and a page at most. Returns how many are sent.
    ///
    /// # Errors
    /// As [`tcp_write`](Self::tcp_write); `fill` isn't called then.
    ///
    /// ```
    /// use tunstack::proto::{Error, Stack, TcpId};
    /// use tunstack::time::Instant;
    ///
    /// /// Sends as many zeros as there is room for.
    /// fn zeros(stack: &mut Stack, now: Instant, id: TcpId) -> Result<usize, Error> {
    ///     stack.tcp_write_in_place(now, id, |room| room.len())
    /// }
    /// ```
    pub fn tcp_write_in_place(
        &mut self,
        now: Instant,
        id: TcpId,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> Result<usize, Error> {
        let done = self.tcp.write_in_place(&mut self.ctx.pool, id, now, fill)?;
        Ok(self.tcp_done(now, id, done))
    }

    /// Moves up to `max` bytes that came on connection `from` to where those wait that `to` is to send: what a proxy does all
    /// day, without a buffer of its own. `to` may be `from`, which makes an echo. Returns how many; 0 is the end of the stream
    /// (or a `max` of 0). An urgent mark is not carried over.
    ///
    /// # Errors
    /// `Read` with what [`tcp_read`](Self::tcp_read) would have answered, or `Write` with what [`tcp_write`](Self::tcp_write)
    /// would have; nothing is lost then.
    ///
    /// ```
    /// use tunstack::proto::{Error, SpliceError, Stack, TcpId};
    /// use tunstack::time::Instant;
    ///
    /// /// Carries on what has come. True at the end of the stream, or when either is broken.
    /// fn carry(stack: &mut Stack, now: Instant, from: TcpId, to: TcpId) -> bool {
    ///     loop {
    ///         match stack.tcp_splice(now, from, to, usize::MAX) {
    ///             Ok(0) => return true,
    ///             Ok(_) => {}
    ///             Err(SpliceError::Read(Error::WouldBlock) | SpliceError::Write(Error::WouldBlock)) => return false,
    ///             Err(_) => return true,
    ///         }
    ///     }
    /// }
    /// ```
    pub fn tcp_splice(
        &mut self,
        now: Instant,
        from: TcpId,
        to: TcpId,
        max: usize,
    ) -> Result<usize, SpliceError> {
        let done = self.tcp.splice(&mut self.ctx.pool, from, to, max, now)?;
        let count = self.tcp_done(now, to, done);
        if from != to && count > 0 {
            let done = self.tcp.settle_reader(from, count, now);
            self.tcp_done(now, from, done);
        }
        Ok(count)
    }

    /// Like [`tcp_splice`](Self::tcp_splice) of all that came on a connection to itself. Tells also whether a read
    /// [would find something](Self::tcp_has_something_to_read) now.
    #[cfg(feature = "daemon")]
    #[inline(always)]
    pub(crate) fn tcp_send_back(&mut self, now: Instant, id: TcpId) -> Result<(usize, bool), SpliceError> {
        let (done, has_more) = self.tcp.send_back(&mut self.ctx.pool, id, usize::MAX, now)?;
        Ok((self.tcp_done(now, id, done), has_more))
    }

    /// Whether a read would find something now: bytes, the end of the stream, or how the connection failed.
    #[cfg(feature = "daemon")]
    pub(crate) fn tcp_has_something_to_read(&self, id: TcpId) -> bool {
        self.tcp.has_something_to_read(id)
    }

    /// Closes one or both directions; the handle stays.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn tcp_shutdown(&mut self, now: Instant, id: TcpId, how: Shutdown) -> Result<(), Error> {
        let (tcp, ctx) = with!(self, now, tcp);
        tcp.shutdown(ctx, id, how)
    }

    /// Lets go of a handle: queued data and FIN still go, unread data draws a reset (RFC 9293 SHLD-3),
    /// linger zero aborts.
    pub fn tcp_close(&mut self, now: Instant, id: TcpId) {
        let (tcp, ctx) = with!(self, now, tcp);
        tcp.close(ctx, id);
    }

    /// Resets the connection and lets go of the handle.
    pub fn tcp_abort(&mut self, now: Instant, id: TcpId) {
        let (tcp, ctx) = with!(self, now, tcp);
        tcp.abort(ctx, id);
    }

    /// A socket's options.
    pub fn tcp_options(&self, id: TcpId) -> Result<SocketOptions, Error> {
        self.tcp.options(id)
    }

    /// Changes a socket's options; they hold from the next segment on.
    pub fn tcp_set_options(&mut self, now: Instant, id: TcpId, options: SocketOptions) -> Result<(), Error> {
        let (tcp, ctx) = with!(self, now, tcp);
        tcp.set_options(ctx, id, options)
    }

    /// This side's address.
    pub fn tcp_local_addr(&self, id: TcpId) -> Result<SocketAddr, Error> {
        self.tcp.local_addr(id)
    }

    /// The peer's address.
    ///
    /// # Errors
    /// `NotConnected` unless the connection is open.
    pub fn tcp_peer_addr(&self, id: TcpId) -> Result<SocketAddr, Error> {
        self.tcp.peer_addr(id)
    }

    /// Takes the pending error.
    pub fn tcp_take_error(&mut self, id: TcpId) -> Result<Option<Error>, Error> {
        self.tcp.take_error(id)
    }

    /// The connection's inner life.
    pub fn tcp_info(&self, id: TcpId) -> Result<TcpInfo, Error> {
        self.tcp.info(id)
    }

    /// Connections with something left to send or a FIN not acknowledged: what a graceful end waits for.
    pub fn tcp_unfinished(&self) -> usize {
        self.tcp.unfinished()
    }

    /// Resets every connection that is still there, as the last act of a stack.
    pub fn tcp_abort_all(&mut self, now: Instant) {
        let (tcp, ctx) = with!(self, now, tcp);
        tcp.abort_all(ctx);
    }

    /// Does what a read or a write has left to be done, and tells how many bytes it was.
    fn tcp_done(&mut self, now: Instant, id: TcpId, done: Done) -> usize {
        if done.rearm {
            self.tcp_rearm(now, id);
        }
        debug_assert!(
            self.tcp.is_settled(&self.ctx.config, id, now),
            "a read or a write has done more than that"
        );
        done.count
    }

    // Apart, so that a read or a write, after which it mostly isn't needed, prepares nothing for it.
    #[inline(never)]
    fn tcp_rearm(&mut self, now: Instant, id: TcpId) {
        let (tcp, ctx) = with!(self, now, tcp);
        tcp.rearm(ctx, id);
    }
}
