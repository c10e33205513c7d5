//! What a connection can tell about itself.

use core::time::Duration;

use super::closing::State;
use crate::proto::error::Error;

bitflags::bitflags! {
    /// The timers of a connection.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Timers: u8 {
        /// What is in flight, our SYN included, will be sent again (RFC 6298).
        const RETRANSMIT = 1;
        /// The peer's window of zero will be probed (RFC 9293 section 3.8.6.1).
        const PERSIST = 2;
        /// What silly-window avoidance holds back will be sent all the same (RFC 9293 section 3.8.6.2.1).
        const OVERRIDE = 4;
        /// An acknowledgement waits for company (RFC 9293 section 3.8.6.3).
        const DELAYED_ACK = 8;
        /// The peer's silence will be looked into (RFC 9293 section 3.8.4).
        const KEEP_ALIVE = 16;
        /// Before that, what was sent last will be sent again, or something new (RFC 8985 section 7).
        const LOSS_PROBE = 32;
        /// Before that, what may only be late will be believed lost (RFC 8985 section 6).
        const REORDERING = 64;
    }
}

/// A connection's inner life, as it stood when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpInfo {
    /// RFC 9293 state.
    pub state: State,
    /// Smoothed round-trip time; `None` before the first measurement.
    pub srtt: Option<Duration>,
    /// Round-trip time variation.
    pub rttvar: Duration,
    /// Smallest round-trip time measured.
    pub min_rtt: Option<Duration>,
    /// Current retransmission time-out, back-off included.
    pub rto: Duration,
    /// Retransmissions of the oldest byte in a row.
    pub backoff: u32,
    /// Congestion window in bytes.
    pub cwnd: u64,
    /// Slow-start threshold in bytes; `u64::MAX` while unset.
    pub ssthresh: u64,
    /// Largest segment we send, in bytes of text.
    pub snd_mss: u32,
    /// Largest segment the peer has sent so far.
    pub rcv_mss: u32,
    /// The window the peer offers, in bytes.
    pub snd_wnd: u32,
    /// The window we offer, in bytes.
    pub rcv_wnd: u32,
    /// Shift of the windows the peer sends.
    pub snd_wscale: u8,
    /// Shift of the windows we send.
    pub rcv_wscale: u8,
    /// Bytes written and not sent yet.
    pub unsent: u64,
    /// Bytes sent and not acknowledged yet.
    pub unacknowledged: u64,
    /// Bytes of those that are believed lost, and not sent again yet.
    pub lost: u64,
    /// Bytes of those that the peer has, beyond what it acknowledges (RFC 2018).
    pub sacked: u64,
    /// Whether loss recovery, fast or after a time-out, is under way.
    pub in_recovery: bool,
    /// Which timers are running.
    pub timers: Timers,
    /// Bytes received in order and not read yet.
    pub unread: u64,
    /// Bytes of text acknowledged by the peer.
    pub bytes_acked: u64,
    /// Bytes of text received in order.
    pub bytes_received: u64,
    /// Segments sent that carried bytes sent before.
    pub retransmits: u64,
    /// Recoveries that turned out to have been needless, and were undone.
    pub undone: u64,
    /// Segments received that carried nothing new.
    pub duplicates_in: u64,
    /// Segments received ahead of their turn.
    pub out_of_order_in: u64,
    /// Unread bytes up to the urgent mark, if urgent data is pending (RFC 9293 MUST-33).
    pub urgent_unread: Option<u64>,
    /// The latest soft error (RFC 9293 MUST-47): the connection lives on.
    pub soft_error: Option<Error>,
    /// Type of service of the last segment received (RFC 9293 MAY-9).
    pub received_tos: u8,
}

impl TcpInfo {
    /// What a socket tells that has no connection.
    pub(crate) const CLOSED: TcpInfo = TcpInfo {
        state: State::Closed,
        srtt: None,
        rttvar: Duration::ZERO,
        min_rtt: None,
        rto: Duration::ZERO,
        backoff: 0,
        cwnd: 0,
        ssthresh: u64::MAX,
        snd_mss: 0,
        rcv_mss: 0,
        snd_wnd: 0,
        rcv_wnd: 0,
        snd_wscale: 0,
        rcv_wscale: 0,
        unsent: 0,
        unacknowledged: 0,
        lost: 0,
        sacked: 0,
        in_recovery: false,
        timers: Timers::empty(),
        unread: 0,
        bytes_acked: 0,
        bytes_received: 0,
        retransmits: 0,
        undone: 0,
        duplicates_in: 0,
        out_of_order_in: 0,
        urgent_unread: None,
        soft_error: None,
        received_tos: 0,
    };
}
