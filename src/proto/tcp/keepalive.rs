//! Keep-alive (RFC 9293 section 3.8.4): off unless asked for, and only on a connection with nothing to say.

use crate::proto::tcp::options::KeepAlive;
use crate::time::Instant;

/// A connection's keep-alive timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepAliveTimer {
    last_heard: Instant,
    last_probe: Instant,
    /// Probes sent since the peer was last heard.
    unanswered: u32,
    due: bool,
}

/// What an expired keep-alive timer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Send a probe.
    Probe,
    /// The peer is gone.
    GiveUp,
}

impl KeepAliveTimer {
    pub(crate) fn new(now: Instant) -> Self {
        KeepAliveTimer { last_heard: now, last_probe: now, unanswered: 0, due: false }
    }

    /// Something came from the peer.
    pub(crate) fn heard(&mut self, at: Instant) {
        *self = KeepAliveTimer { last_heard: at, ..KeepAliveTimer::new(at) };
    }

    /// When the timer expires, if nothing is outstanding until then.
    //= RFC9293 MAY-5
    //= RFC9293 MUST-24
    //= RFC9293 MUST-27
    pub(crate) fn deadline(&self, settings: &KeepAlive) -> Instant {
        if self.due {
            return Instant::MAX;
        }
        match self.unanswered {
            0 => self.last_heard + settings.idle,
            _ => self.last_probe + settings.interval,
        }
    }

    /// Lets the timer expire if its time has come.
    pub(crate) fn expired(&mut self, settings: &KeepAlive, now: Instant) -> Option<Expiry> {
        if self.deadline(settings) > now {
            return None;
        }
        //= RFC9293 MUST-29
        if self.unanswered >= settings.probes.max(1) {
            return Some(Expiry::GiveUp);
        }
        self.due = true;
        Some(Expiry::Probe)
    }

    /// Whether a probe waits to be sent.
    pub(crate) fn probe_is_due(&self) -> bool {
        self.due
    }

    /// The probe has gone out.
    pub(crate) fn probe_sent(&mut self, now: Instant) {
        self.due = false;
        self.last_probe = now;
        self.unanswered += 1;
    }
}
