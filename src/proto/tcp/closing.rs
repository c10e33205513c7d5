//! The eleven states of RFC 9293 section 3.3.2, derived from two independent halves.

use core::fmt;

/// A connection state, by its RFC 9293 name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No connection.
    Closed,
    /// Waiting for a peer's SYN.
    Listen,
    /// SYN sent, waiting for one in return.
    SynSent,
    /// SYN received and sent, waiting for the acknowledgement of ours.
    SynReceived,
    /// Data flows both ways.
    Established,
    /// We closed first; our FIN is not acknowledged.
    FinWait1,
    /// We closed first; our FIN is acknowledged, theirs has not come.
    FinWait2,
    /// They closed first; we have not closed yet.
    CloseWait,
    /// Both closed at once; our FIN is not acknowledged.
    Closing,
    /// They closed first, we closed too; our FIN is not acknowledged.
    LastAck,
    /// Both FINs are acknowledged; we closed first and wait for 2 MSL.
    TimeWait,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Closed => "CLOSED",
            State::Listen => "LISTEN",
            State::SynSent => "SYN-SENT",
            State::SynReceived => "SYN-RECEIVED",
            State::Established => "ESTABLISHED",
            State::FinWait1 => "FIN-WAIT-1",
            State::FinWait2 => "FIN-WAIT-2",
            State::CloseWait => "CLOSE-WAIT",
            State::Closing => "CLOSING",
            State::LastAck => "LAST-ACK",
            State::TimeWait => "TIME-WAIT",
        })
    }
}
