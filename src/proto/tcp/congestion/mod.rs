//! Congestion control: how much may be in flight (RFC 5681).
//!
//! A controller owns the congestion window and nothing else: loss recovery tells it what happened, and
//! asks how large the window is now.

mod hystart;
pub mod new_reno;

use core::fmt::Debug;
use core::ops::{Deref, DerefMut};

use crate::time::Instant;
use new_reno::NewReno;

/// An acknowledgement of new data, as a controller sees it. Positions and sizes are bytes of sequence space.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// When it arrived.
    pub at: Instant,
    /// How much it newly acknowledges.
    pub acked: u64,
    /// Whether the window was what held the sender back; if it was not, it must not grow (RFC 7661's concern).
    pub cwnd_limited: bool,
    /// SND.UNA, behind it.
    pub una: u64,
    /// SND.NXT.
    pub nxt: u64,
    /// A round trip that it measures, in nanoseconds.
    pub rtt: Option<u64>,
    /// The shortest round trip of late, in nanoseconds.
    pub min_rtt: Option<u64>,
}

/// A congestion controller. Sizes are bytes of sequence space.
pub trait Controller: Debug + Send {
    /// The congestion window.
    fn cwnd(&self) -> u64;

    /// The slow-start threshold; `u64::MAX` while unset.
    fn ssthresh(&self) -> u64;

    /// New data was acknowledged outside of loss recovery.
    fn on_ack(&mut self, ack: &Progress);

    /// Up to `acked` bytes have arrived while what a time-out has lost is sent again: slow start, and no more than that is to be
    /// learnt of it.
    fn on_ack_after_timeout(&mut self, acked: u64);

    /// Something was lost of `flight` bytes in flight, and selective acknowledgements told so: the threshold is reduced, and the
    /// window to it. How the sender gets there is not this controller's affair (RFC 9937).
    fn on_loss(&mut self, flight: u64);

    /// The last reduction was needless: window and threshold are no smaller than before it (RFC 4015).
    fn undo(&mut self, cwnd: u64, ssthresh: u64);

    /// Loss recovery has found the window to be `cwnd` (RFC 5682 section 2.1 step 3a).
    fn set_cwnd(&mut self, cwnd: u64);

    /// Fast recovery begins with `flight` bytes in flight, after three duplicate ACKs.
    fn on_enter_recovery(&mut self, flight: u64);

    /// Another duplicate ACK in fast recovery: a segment has left the network.
    fn on_duplicate_ack(&mut self);

    /// A partial ACK in fast recovery (RFC 6582 section 3.2 step 3).
    fn on_partial_ack(&mut self, acked: u64);

    /// Fast recovery ends with `flight` bytes still in flight.
    fn on_exit_recovery(&mut self, flight: u64);

    /// The retransmission timer expired with `flight` bytes in flight. `first` is false if it was the
    /// same data's retransmission that was lost again.
    fn on_timeout(&mut self, flight: u64, first: bool);

    /// The connection was idle for longer than the retransmission time-out (RFC 5681 section 4.1).
    fn on_idle(&mut self);

    /// The maximum segment size has changed.
    fn on_mss(&mut self, mss: u64);
}

/// The controller that a connection has. It stands in the connection: whoever calls it knows no more than the trait, and
/// no connection needs memory for it alone.
#[derive(Debug)]
pub(crate) enum Chosen {
    /// The only one so far.
    NewReno(NewReno),
}

impl Deref for Chosen {
    type Target = dyn Controller;

    fn deref(&self) -> &Self::Target {
        match self {
            Chosen::NewReno(controller) => controller,
        }
    }
}

impl DerefMut for Chosen {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Chosen::NewReno(controller) => controller,
        }
    }
}
