//! A service over TCP: listens on every address of the stack, accepts, and lets a [`Talk`] do the talking.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use slotmap::SecondaryMap;

use super::pipe::{Talk, Turn, Wire};
use crate::proto::tcp::KeepAlive;
use crate::proto::{Error, Event, ListenerId, Owner, SocketId, Stack, TcpId};
use crate::runtime::Service;
use crate::time::Instant;

/// One protocol on one port.
pub(super) struct TcpService<T: Talk> {
    talk: T,
    name: String,
    locals: Vec<SocketAddr>,
    listeners: Vec<ListenerId>,
    connections: SecondaryMap<TcpId, T::State>,
    /// Connections in the order of their coming, where only so many may stay. Names of those that have
    /// left by themselves stay here until it is their turn.
    oldest: VecDeque<TcpId>,
    ending: bool,
}

impl<T: Talk> TcpService<T> {
    pub(super) fn new(talk: T, port: u16, addrs: &[IpAddr]) -> Self {
        TcpService {
            talk,
            name: format!("{} on TCP port {port}", T::NAME),
            locals: addrs.iter().map(|addr| SocketAddr::new(*addr, port)).collect(),
            listeners: Vec::new(),
            connections: SecondaryMap::new(),
            oldest: VecDeque::new(),
            ending: false,
        }
    }

    fn listen(
        &mut self,
        stack: &mut Stack,
        local: SocketAddr,
        owner: Owner,
        now: Instant,
    ) -> Result<(), Error> {
        // A daemon is met by crowds: as many may wait as the stack allows.
        let backlog = stack.config().backlog_max;
        let listener = stack.tcp_listen(now, local, Some(backlog), owner)?;
        self.listeners.push(listener);
        let mut options = stack.tcp_listener_options(listener)?;
        let config = stack.config();
        // A service waits for its peer's word: without keep-alive it would wait for the dead, too.
        options.keepalive = Some(KeepAlive {
            idle: config.keepalive_idle,
            interval: config.keepalive_interval,
            probes: config.keepalive_probes,
        });
        self.talk.adjust(&mut options);
        stack.tcp_set_listener_options(listener, options)
    }

    fn close_listeners(&mut self, stack: &mut Stack, now: Instant) {
        for listener in self.listeners.drain(..) {
            stack.tcp_close_listener(now, listener);
        }
    }

    // Apart, so that an event of a connection, as most are, prepares for nothing of this.
    #[inline(never)]
    fn accept_all(&mut self, stack: &mut Stack, listener: ListenerId, now: Instant) {
        while let Some(id) = stack.tcp_take_waiting(listener) {
            self.connections.insert(id, T::State::default());
            self.make_room(stack, id, now);
            self.serve(stack, id, now);
        }
    }

    fn make_room(&mut self, stack: &mut Stack, newest: TcpId, now: Instant) {
        let Some(limit) = T::CONNECTIONS_MAX else { return };
        self.oldest.push_back(newest);
        if self.oldest.len() > limit
            && let Some(oldest) = self.oldest.pop_front()
            && self.connections.remove(oldest).is_some()
        {
            stack.tcp_close(now, oldest);
        }
    }

    // Once, for events and for who is accepted.
    #[inline(never)]
    fn serve(&mut self, stack: &mut Stack, id: TcpId, now: Instant) {
        let Some(state) = self.connections.get_mut(id) else { return };
        let leave = match self.talk.talk(&mut Wire { stack, id, now }, state, self.ending) {
            Turn::Idle => self.ending,
            Turn::Blocked => false,
            Turn::Done => true,
        };
        if leave {
            self.connections.remove(id);
            stack.tcp_close(now, id);
        }
    }
}

impl<T: Talk> Service for TcpService<T> {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&mut self, stack: &mut Stack, owner: Owner, now: Instant) -> io::Result<()> {
        for local in self.locals.clone() {
            if let Err(error) = self.listen(stack, local, owner, now) {
                self.close_listeners(stack, now);
                return Err(io::Error::from(error));
            }
        }
        Ok(())
    }

    fn on_event(&mut self, stack: &mut Stack, event: Event, now: Instant) {
        match event.socket {
            SocketId::Listener(listener) => self.accept_all(stack, listener, now),
            SocketId::Tcp(id) => self.serve(stack, id, now),
            SocketId::Udp(_) | SocketId::Ping(_) | SocketId::Raw(_) => {}
        }
    }

    fn on_closing(&mut self, stack: &mut Stack, now: Instant) {
        self.ending = true;
        self.close_listeners(stack, now);
        let ids: Vec<TcpId> = self.connections.keys().collect();
        for id in ids {
            self.serve(stack, id, now);
        }
    }
}
