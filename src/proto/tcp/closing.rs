//! The eleven states of RFC 9293 section 3.3.2, derived from two independent halves.
//!
//! Our side and their side close independently. Which of the two closed first is remembered, not derived;
//! the state's name follows from the three. *Closing* begins with the call, even with data still queued.

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

/// Our direction of a synchronised connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OurSide {
    /// The application may write.
    Open,
    /// The application has closed; our FIN is queued or on its way.
    Closing,
    /// Our FIN is acknowledged.
    Closed,
}

/// Their direction of a synchronised connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TheirSide {
    /// They may send.
    Open,
    /// Their FIN was received, and all before it.
    Closed,
}

/// Both directions, and who closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sides {
    ours: OurSide,
    theirs: TheirSide,
    closed_before_their_fin: bool,
}

impl Sides {
    /// A connection just established.
    pub(crate) const OPEN: Sides =
        Sides { ours: OurSide::Open, theirs: TheirSide::Open, closed_before_their_fin: false };

    /// Our side.
    pub(crate) fn ours(self) -> OurSide {
        self.ours
    }

    /// Their side.
    pub(crate) fn theirs(self) -> TheirSide {
        self.theirs
    }

    /// The application closes our side. Does nothing if it did before.
    pub(crate) fn close_ours(&mut self) {
        if self.ours == OurSide::Open {
            self.ours = OurSide::Closing;
            self.closed_before_their_fin = self.theirs == TheirSide::Open;
        }
    }

    /// Our FIN is acknowledged.
    pub(crate) fn our_fin_acknowledged(&mut self) {
        debug_assert!(self.ours != OurSide::Open, "an acknowledged FIN was sent after a close");
        self.ours = OurSide::Closed;
    }

    /// Their FIN has come, in order.
    pub(crate) fn their_fin_received(&mut self) {
        self.theirs = TheirSide::Closed;
    }

    /// The state's name.
    pub(crate) fn state(self) -> State {
        let first = self.closed_before_their_fin;
        match (self.ours, self.theirs) {
            (OurSide::Open, TheirSide::Open) => State::Established,
            (OurSide::Open, TheirSide::Closed) => State::CloseWait,
            (OurSide::Closing, TheirSide::Open) => State::FinWait1,
            (OurSide::Closing, TheirSide::Closed) if first => State::Closing,
            (OurSide::Closing, TheirSide::Closed) => State::LastAck,
            (OurSide::Closed, TheirSide::Open) => State::FinWait2,
            (OurSide::Closed, TheirSide::Closed) if first => State::TimeWait,
            (OurSide::Closed, TheirSide::Closed) => State::Closed,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_closes_first_passes_through_fin_wait_and_time_wait() {
        let mut sides = Sides::OPEN;
        sides.close_ours();
        assert_eq!(sides.state(), State::FinWait1);
        sides.our_fin_acknowledged();
        assert_eq!(sides.state(), State::FinWait2);
        sides.their_fin_received();
        assert_eq!(sides.state(), State::TimeWait);
    }

    #[test]
    fn whoever_closes_second_passes_through_last_ack() {
        let mut sides = Sides::OPEN;
        sides.their_fin_received();
        assert_eq!(sides.state(), State::CloseWait);
        sides.close_ours();
        assert_eq!(sides.state(), State::LastAck);
        sides.our_fin_acknowledged();
        assert_eq!(sides.state(), State::Closed);
    }

    #[test]
    fn closing_at_once_passes_through_closing() {
        let mut sides = Sides::OPEN;
        sides.close_ours();
        sides.their_fin_received();
        assert_eq!(sides.state(), State::Closing);
        sides.our_fin_acknowledged();
        assert_eq!(sides.state(), State::TimeWait);
    }
}
