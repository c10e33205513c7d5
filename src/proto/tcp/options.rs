//! Options of a TCP socket, as the application sets them.

use core::time::Duration;

use crate::proto::config::Config;

/// Keep-alive settings (RFC 9293 section 3.8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes before the connection is given up.
    pub probes: u32,
}

/// Options of one TCP socket. A listener's are inherited by the connections it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Send small segments at once instead of waiting for acknowledgements (Nagle's algorithm off).
    pub nodelay: bool,
    /// How many bytes may be written that were not sent yet, as Linux's TCP_NOTSENT_LOWAT; `None` for as many as there is
    /// room for; 0 counts as 1. A writer that waits hears when half of them have gone. What waits in the buffer can't be taken back, nor is it in any cache when its turn comes: a writer that is
    /// quick to wake should need no more than some hundred KiB.
    pub notsent_lowat: Option<u32>,
    /// Time to live, hop limit (RFC 9293 MUST-49). 0 counts as 1.
    pub ttl: u8,
    /// Type of service, traffic class (RFC 9293 MUST-48). The two ECN bits are the stack's own.
    pub tos: u8,
    /// Keep-alive, off unless set (RFC 9293 MUST-25).
    pub keepalive: Option<KeepAlive>,
    /// Give up when sent data stays unacknowledged for this long (RFC 5482, TCP_USER_TIMEOUT).
    pub user_timeout: Option<Duration>,
    /// What closing does with unsent data: `None` sends it in the background, zero aborts the connection.
    /// A longer time is for whoever blocks in close; the core treats it as `None`.
    pub linger: Option<Duration>,
    /// R1: retransmissions before trouble is reported (RFC 9293 MUST-20).
    pub r1_retransmits: u32,
    /// R2: how long a byte may stay unacknowledged before the connection is given up (RFC 9293 MUST-21).
    pub r2: Duration,
    /// R2 of our SYN (RFC 9293 MUST-23).
    pub r2_syn: Duration,
    /// Whether soft errors raise [`Readiness::SOFT_ERROR`](crate::proto::Readiness) (RFC 9293 SHLD-20).
    pub report_soft_errors: bool,
}

impl SocketOptions {
    /// What a new socket starts with.
    pub fn new(config: &Config) -> Self {
        SocketOptions {
            nodelay: false,
            notsent_lowat: None,
            ttl: config.ttl,
            tos: 0,
            //= RFC9293 MUST-25
            keepalive: None,
            user_timeout: None,
            linger: None,
            r1_retransmits: config.r1_retransmits,
            r2: config.r2,
            r2_syn: config.r2_syn,
            report_soft_errors: true,
        }
    }
}
