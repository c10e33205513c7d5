//! The core's records as lines of a log: info, debug, and one line a segment in tcpdump's manner.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

use log::{Level, debug, info, log_enabled, trace, warn};

use crate::proto::trace::{Direction, Ends, Record, SegmentLine, TraceLevel};
use crate::time::Instant;

/// What the lines are filtered by.
const TARGET: &str = "tunstack";

/// How much the core has to record for the log as it is set up now.
pub(crate) fn level() -> TraceLevel {
    if log_enabled!(target: TARGET, Level::Trace) {
        TraceLevel::Trace
    } else if log_enabled!(target: TARGET, Level::Debug) {
        TraceLevel::Debug
    } else if log_enabled!(target: TARGET, Level::Info) {
        TraceLevel::Info
    } else {
        TraceLevel::Off
    }
}

/// Writes records, and how many were lost before they could be taken.
#[cold]
pub(super) fn write(records: VecDeque<(Instant, Record)>, lost: u64) {
    for (_, record) in records {
        match record {
            Record::Segment { direction, ends, segment } => {
                trace!(target: TARGET, "{}", Line { direction, ends, segment });
            }
            Record::State { ends, from, to } => {
                debug!(target: TARGET, "{} - {}: {from} -> {to}", ends.local, ends.remote);
            }
            Record::Opened { ends, active } => {
                let how = if active { "connected to" } else { "accepted from" };
                info!(target: TARGET, "{}: {how} {}", ends.local, ends.remote);
            }
            Record::Closed { ends, reason, bytes_in, bytes_out, duration } => info!(
                target: TARGET,
                "{} - {}: closed ({reason}), {bytes_in} bytes in, {bytes_out} bytes out, {:.3} s",
                ends.local,
                ends.remote,
                duration.as_secs_f64()
            ),
            Record::Dropped { reason, len, device: _ } => {
                debug!(target: TARGET, "dropped {len} bytes: {reason}");
            }
        }
    }
    if lost > 0 {
        warn!(target: TARGET, "{lost} log records were lost");
    }
}

/// A segment as tcpdump shows it.
struct Line {
    direction: Direction,
    ends: Ends,
    segment: SegmentLine,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FIN_SYN_RST: u8 = 0b111;
        let (from, to) = match self.direction {
            Direction::In => (self.ends.remote, self.ends.local),
            Direction::Out => (self.ends.local, self.ends.remote),
        };
        let SegmentLine { seq, ack, flags, window, len, gso_size } = self.segment;
        let ip = if from.is_ipv4() { "IP" } else { "IP6" };
        write!(f, "{ip} {} > {}: Flags [{}]", Dotted(from), Dotted(to), Flags(flags))?;
        if len > 0 {
            write!(f, ", seq {seq}:{}", seq.wrapping_add(u32::try_from(len).unwrap_or(0)))?;
        } else if flags & FIN_SYN_RST != 0 {
            write!(f, ", seq {seq}")?;
        }
        if let Some(ack) = ack {
            write!(f, ", ack {ack}")?;
        }
        write!(f, ", win {window}, length {len}")?;
        // tcpdump doesn't know it.
        gso_size.map_or(Ok(()), |size| write!(f, " in segments of {size}"))
    }
}

/// An address as tcpdump shows it: the port after a dot.
struct Dotted(SocketAddr);

impl fmt::Display for Dotted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.ip(), self.0.port())
    }
}

/// The flags octet as tcpdump shows it.
struct Flags(u8);

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In the order of the bits, from the lowest: FIN, SYN, RST, PSH, ACK, URG, ECE, CWR.
        let letters = "FSRP.UEW".chars().enumerate();
        let mut set = letters.filter(|(bit, _)| self.0 & (1 << bit) != 0).peekable();
        if set.peek().is_none() {
            return f.write_str("none");
        }
        set.try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    fn line(direction: Direction, remote: &str, segment: SegmentLine) -> String {
        let local = if remote.starts_with('[') { "[fd09::2]:7" } else { "10.9.0.2:7" };
        let ends = Ends { local: local.parse().unwrap(), remote: remote.parse().unwrap() };
        Line { direction, ends, segment }.to_string()
    }

    #[test]
    fn a_segment_reads_as_tcpdump_writes_it() {
        let syn = SegmentLine { seq: 123, ack: None, flags: 0x02, window: 64240, len: 0, gso_size: None };
        assert_eq!(
            line(Direction::In, "10.9.0.1:51234", syn),
            "IP 10.9.0.1.51234 > 10.9.0.2.7: Flags [S], seq 123, win 64240, length 0"
        );
        let data =
            SegmentLine { seq: u32::MAX, ack: Some(9), flags: 0x18, window: 1, len: 3, gso_size: None };
        assert_eq!(
            line(Direction::Out, "[fd09::1]:80", data),
            "IP6 fd09::2.7 > fd09::1.80: Flags [P.], seq 4294967295:2, ack 9, win 1, length 3"
        );
        let ack = SegmentLine { seq: 5, ack: Some(6), flags: 0x10, window: 2, len: 0, gso_size: None };
        assert_eq!(
            line(Direction::Out, "10.9.0.1:1", ack),
            "IP 10.9.0.2.7 > 10.9.0.1.1: Flags [.], ack 6, win 2, length 0"
        );
        let gso_size = NonZeroU16::new(1448);
        assert_eq!(
            line(Direction::Out, "10.9.0.1:1", SegmentLine { len: 60_000, gso_size, ..data }),
            "IP 10.9.0.2.7 > 10.9.0.1.1: Flags [P.], seq 4294967295:59999, ack 9, win 1, length 60000 in segments of 1448"
        );
        assert_eq!(Flags(0).to_string(), "none");
        assert_eq!(Flags(0xff).to_string(), "FSRP.UEW");
    }
}
