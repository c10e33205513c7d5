//! Services that run inside the loop, beside the stack: no thread, no lock, no wake-up of their own.

use std::io;

use crate::proto::{Event, Owner, Stack};
use crate::time::Instant;

/// A service that lives in the run loop, driven by the events of its own sockets.
///
/// Give the sockets that the service opens the `owner` that [`start`](Self::start) is told: events of these
/// sockets, and of the connections its listeners accept, then come to [`on_event`](Self::on_event). The loop
/// calls [`Stack::transmit`] afterwards; a service doesn't.
///
/// All methods run with the stack locked ([`start`](Self::start) on the thread that adds the service, the others on
/// the loop's) and hold up every other connection while they do: they must not block, nor use sockets or a
/// [`Net`](crate::net::Net) of the same stack. On the loop's thread there is one exception: to drop a `Net`, or to
/// call its [`shutdown`](crate::net::Net::shutdown), asks for the stack's end, which then begins after the method
/// has returned.
///
/// ```
/// use std::io;
/// use tunstack::proto::{Event, ListenerId, Owner, SocketId, Stack};
/// use tunstack::runtime::Service;
/// use tunstack::time::Instant;
///
/// /// Accepts connections on port 9 and closes them at once.
/// #[derive(Default)]
/// struct Hangup(Option<ListenerId>);
///
/// impl Service for Hangup {
///     fn start(&mut self, stack: &mut Stack, owner: Owner, now: Instant) -> io::Result<()> {
///         self.0 = Some(stack.tcp_listen(now, "0.0.0.0:9".parse().unwrap(), None, owner)?);
///         Ok(())
///     }
///
///     fn on_event(&mut self, stack: &mut Stack, event: Event, now: Instant) {
///         if let SocketId::Listener(listener) = event.socket {
///             while let Ok((connection, _peer)) = stack.tcp_accept(now, listener) {
///                 stack.tcp_close(now, connection);
///             }
///         }
///     }
///
///     fn on_closing(&mut self, stack: &mut Stack, now: Instant) {
///         if let Some(listener) = self.0.take() {
///             stack.tcp_close_listener(now, listener);
///         }
///     }
/// }
/// ```
pub trait Service: Send {
    /// What the service is called in logs.
    fn name(&self) -> &str {
        "service"
    }

    /// Opens the service's sockets, with `owner` as their owner. Called once, before any event.
    ///
    /// # Errors
    /// Why the service can't run, such as a port that is taken; whoever added the service gets it.
    fn start(&mut self, stack: &mut Stack, owner: Owner, now: Instant) -> io::Result<()>;

    /// One of the service's sockets is worth another look. Events are edges: use the socket until it answers
    /// [`Error::WouldBlock`](crate::proto::Error::WouldBlock), or keep in mind that it wasn't.
    fn on_event(&mut self, stack: &mut Stack, event: Event, now: Instant);

    /// The stack is about to end: close listeners, and close or finish connections. Events go on coming
    /// until everything is finished or the time allowed for it is over. Called at most once.
    fn on_closing(&mut self, stack: &mut Stack, now: Instant);
}

impl<S: Service + ?Sized> Service for Box<S> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn start(&mut self, stack: &mut Stack, owner: Owner, now: Instant) -> io::Result<()> {
        (**self).start(stack, owner, now)
    }

    fn on_event(&mut self, stack: &mut Stack, event: Event, now: Instant) {
        (**self).on_event(stack, event, now);
    }

    fn on_closing(&mut self, stack: &mut Stack, now: Instant) {
        (**self).on_closing(stack, now);
    }
}
