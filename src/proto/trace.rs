//! What the core tells a log: typed records, kept until the driver takes them (outside its lock).
//!
//! A level that is off costs one branch. Records are bounded; when the driver is too slow to take them the
//! newest are lost and counted, never the packet's processing delayed.

use alloc::collections::VecDeque;
use core::fmt;
use core::net::SocketAddr;
use core::num::NonZeroU16;
use core::time::Duration;

use super::counters::DropReason;
use super::packet::DeviceId;
use super::tcp::closing::State;
use crate::time::Instant;

/// How much is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TraceLevel {
    /// Nothing.
    #[default]
    Off,
    /// Connections opening and closing.
    Info,
    /// And changes of state, and dropped packets.
    Debug,
    /// And every segment.
    Trace,
}

/// Direction of a packet, seen from the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Received.
    In,
    /// Sent.
    Out,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Both sides closed in the normal way.
    Closed,
    /// The peer sent a reset.
    ResetByPeer,
    /// This side aborted (closed with unread data, linger 0, shut down, data after close).
    Aborted,
    /// R2, user time-out or keep-alive ran out.
    TimedOut,
    /// The attempt was refused.
    Refused,
    /// An ICMP error ended the attempt.
    Unreachable,
    /// An orphan in FIN-WAIT-2 waited long enough.
    FinWait2TimedOut,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CloseReason::Closed => "by both sides",
            CloseReason::ResetByPeer => "reset by peer",
            CloseReason::Aborted => "reset by this side",
            CloseReason::TimedOut => "timed out",
            CloseReason::Refused => "refused",
            CloseReason::Unreachable => "unreachable",
            CloseReason::FinWait2TimedOut => "peer did not close in time",
        })
    }
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// This side.
    pub local: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
}

/// What a TCP segment says, for a line in tcpdump's manner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentLine {
    /// Sequence number on the wire.
    pub seq: u32,
    /// Acknowledgement number, where the ACK bit is set.
    pub ack: Option<u32>,
    /// The flags octet.
    pub flags: u8,
    /// The window field as sent, not scaled.
    pub window: u16,
    /// Bytes of text.
    pub len: usize,
    /// Of a super-segment, the bytes of text in each segment that it stands for; the last may have less.
    pub gso_size: Option<NonZeroU16>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A TCP segment was received or sent.
    Segment {
        /// Received or sent.
        direction: Direction,
        /// Between whom.
        ends: Ends,
        /// What it says.
        segment: SegmentLine,
    },
    /// A connection changed its RFC 9293 state.
    State {
        /// Which connection.
        ends: Ends,
        /// The state before.
        from: State,
        /// The state now.
        to: State,
    },
    /// A connection is established.
    Opened {
        /// Which connection.
        ends: Ends,
        /// Whether this side opened it.
        active: bool,
    },
    /// A connection is gone.
    Closed {
        /// Which connection.
        ends: Ends,
        /// Why.
        reason: CloseReason,
        /// Bytes received in order.
        bytes_in: u64,
        /// Bytes sent and acknowledged.
        bytes_out: u64,
        /// Since it was opened.
        duration: Duration,
    },
    /// A packet was dropped.
    Dropped {
        /// Why.
        reason: DropReason,
        /// By which interface it came.
        device: DeviceId,
        /// Its length in bytes.
        len: usize,
    },
}

/// Records kept until they are taken.
#[derive(Debug, Default)]
pub struct Trace {
    level: TraceLevel,
    records: VecDeque<(Instant, Record)>,
    lost: u64,
}

impl Trace {
    /// Records kept at most.
    const RECORDS_MAX: usize = 4096;

    /// Sets how much is recorded from now on.
    pub fn set_level(&mut self, level: TraceLevel) {
        self.level = level;
    }

    /// Whether records of `level` are wanted.
    #[inline]
    pub fn wants(&self, level: TraceLevel) -> bool {
        level <= self.level
    }

    /// Keeps a record if its level is wanted; `make` runs only then.
    #[inline]
    pub(crate) fn record(&mut self, now: Instant, level: TraceLevel, make: impl FnOnce() -> Record) {
        if self.wants(level) {
            self.keep(now, make());
        }
    }

    #[cold]
    fn keep(&mut self, now: Instant, record: Record) {
        if self.records.len() < Self::RECORDS_MAX {
            self.records.push_back((now, record));
        } else {
            self.lost += 1;
        }
    }

    /// Whether no record waits to be taken, nor were any lost.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.lost == 0
    }

    /// Takes the oldest record.
    pub fn pop(&mut self) -> Option<(Instant, Record)> {
        self.records.pop_front()
    }

    /// Takes all records, and the number of those lost since the last call.
    pub fn take(&mut self) -> (VecDeque<(Instant, Record)>, u64) {
        (core::mem::take(&mut self.records), core::mem::take(&mut self.lost))
    }
}
