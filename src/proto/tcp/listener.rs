//! LISTEN: a SYN queue and an accept queue (RFC 9293 section 3.10.7.2).
//!
//! A listener owns the queue of connections that wait to be accepted, and counts its half-open ones, which
//! live in `syn_queue`. As on Linux, a backlog of `n` is full when *more* than `n` connections wait: new
//! SYNs are then dropped, and the last ACK of a handshake is ignored, so that the peer tries again. A SYN queue that is
//! full is not the backlog's matter: SYNs go on being answered, by cookies.

use alloc::collections::VecDeque;
use core::net::SocketAddr;

use super::cookies;
use super::options::SocketOptions;
use crate::proto::config::Config;
use crate::proto::counters::DropReason;
use crate::proto::events::Owner;
use crate::proto::ids::TcpId;
use crate::proto::reuse::BindOptions;
use crate::time::Instant;

/// A listener.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) local: SocketAddr,
    pub(crate) owner: Owner,
    pub(crate) options: SocketOptions,
    pub(crate) bind_options: BindOptions,
    backlog: usize,
    waiting: VecDeque<TcpId>,
    pub(crate) half_open: usize,
    /// Until when a cookie that it has given out may come back.
    cookies_until: Option<Instant>,
}

impl Listener {
    pub(crate) fn new(
        config: &Config,
        local: SocketAddr,
        bind_options: BindOptions,
        backlog: Option<usize>,
        owner: Owner,
    ) -> Self {
        Listener {
            local,
            owner,
            options: SocketOptions::new(config),
            bind_options,
            backlog: backlog.unwrap_or(config.backlog).min(config.backlog_max),
            waiting: VecDeque::new(),
            half_open: 0,
            cookies_until: None,
        }
    }

    /// Whether no more handshakes may finish.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() > self.backlog
    }

    /// Whether a new SYN may begin a handshake.
    pub(crate) fn admits_syn(&self, config: &Config) -> Result<(), DropReason> {
        if self.is_full() {
            return Err(DropReason::TcpBacklogFull);
        }
        //= RFC4987 3.2 backlog
        if self.half_open >= config.syn_queue {
            return Err(DropReason::TcpSynQueueFull);
        }
        Ok(())
    }

    /// A cookie is given out.
    pub(crate) fn gives_cookie(&mut self, now: Instant) {
        self.cookies_until = Some(now + cookies::LIFETIME);
    }

    /// Whether an ACK that nobody waits for may bring a cookie back.
    pub(crate) fn awaits_cookies(&self, now: Instant) -> bool {
        self.cookies_until.is_some_and(|until| now < until)
    }

    /// A handshake has finished.
    pub(crate) fn push(&mut self, id: TcpId) {
        self.waiting.push_back(id);
    }

    /// Takes the connection that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<TcpId> {
        self.waiting.pop_front()
    }

    /// Whether any connection waits.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}
