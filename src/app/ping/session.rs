//! When to send the next request and when to end, what was answered: ping without a clock or a socket.

use std::collections::HashMap;
use std::time::Duration;

use super::lines::{self, Answer};
use super::tally::Tally;
use crate::proto::ping::{PingError, PingReceived};
use crate::time::Instant;

/// What was asked for.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Requests to send; `None` goes on for ever.
    pub(super) count: Option<u64>,
    /// From one request to the next.
    pub(super) interval: Duration,
    /// How long to wait for a first answer after the last request.
    pub(super) linger: Duration,
    /// Bytes of data in a request.
    pub(super) size: usize,
}

/// A ping under way.
pub(super) struct Session {
    plan: Plan,
    data: Vec<u8>,
    tally: Tally,
    /// Requests by number. There are 65,536 numbers, so it grows no further.
    sent: HashMap<u16, Sent>,
    first_at: Option<Instant>,
    last_at: Instant,
    next_at: Instant,
    /// When to give up waiting: known once the last request is sent.
    ends_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    answered: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Send the request with this number.
    Send(u16),
    /// Wait, until then at most.
    WaitUntil(Instant),
    /// It is over.
    End,
}

impl Session {
    /// Nothing is sent yet; the first request is due at once.
    pub(super) fn new(plan: Plan, now: Instant) -> Self {
        // A byte tells its own place, as in ping: what comes back can be compared.
        let data = (0..plan.size).map(|at| at as u8).collect();
        Session {
            plan,
            data,
            tally: Tally::default(),
            sent: HashMap::new(),
            first_at: None,
            last_at: now,
            next_at: now,
            ends_at: None,
        }
    }

    /// The data of every request.
    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// What is to be done now.
    pub(super) fn due(&self, now: Instant) -> Due {
        let heard_of = self.tally.received + self.tally.errors;
        if self.plan.count.is_some_and(|count| heard_of >= count) {
            return Due::End;
        }
        match self.ends_at {
            Some(end) if now >= end => Due::End,
            Some(end) => Due::WaitUntil(end),
            None if now >= self.next_at => Due::Send(self.next_seq()),
            None => Due::WaitUntil(self.next_at),
        }
    }

    /// The request that was due was sent, or could not be.
    pub(super) fn sent(&mut self, now: Instant) {
        self.sent.insert(self.next_seq(), Sent { at: now, answered: false });
        self.tally.transmitted += 1;
        self.first_at.get_or_insert(now);
        self.last_at = now;
        // Late by a little: the next one keeps to the beat. Late by more than that: nothing is made up for.
        self.next_at = (self.next_at + self.plan.interval).max(now);
        if self.plan.count.is_some_and(|count| self.tally.transmitted >= count) {
            // Who has heard something knows how long it may take.
            let patience = match self.tally.received {
                0 => self.plan.linger,
                _ => (self.tally.max() * 2).max(self.plan.interval),
            };
            self.ends_at = Some(now + patience);
        }
    }

    /// Our own stack refused to send a request.
    pub(super) fn refused(&mut self) {
        self.tally.errors += 1;
    }

    /// An answer came. Returns the line that tells of it; `None` if it answers nothing that was sent.
    pub(super) fn answer(&mut self, received: &PingReceived, data: &[u8]) -> Option<String> {
        let sent = self.sent.get_mut(&received.seq)?;
        let is_repeat = std::mem::replace(&mut sent.answered, true);
        let took = Duration::from_nanos(received.at.as_nanos().saturating_sub(sent.at.as_nanos()));
        if is_repeat {
            self.tally.repeats += 1;
        } else {
            self.tally.received += 1;
        }
        self.tally.took(took);
        self.tally.heard_of(received.seq);
        let answer = Answer {
            from: received.from,
            seq: received.seq,
            hop_limit: received.hop_limit,
            took,
            data,
            sent: &self.data,
            is_repeat,
        };
        Some(answer.line())
    }

    /// An ICMP error came. Returns the line that tells of it.
    pub(super) fn error(&mut self, error: &PingError) -> String {
        self.tally.errors += 1;
        self.tally.heard_of(error.seq);
        lines::error(error.offender, error.seq, error.kind, error.type_code)
    }

    /// The last lines.
    pub(super) fn statistics(&self, name: &str) -> String {
        let first_at = self.first_at.unwrap_or(self.last_at);
        let took = Duration::from_nanos(self.last_at.as_nanos().saturating_sub(first_at.as_nanos()));
        self.tally.statistics(name, took)
    }

    /// Whether anybody answered.
    pub(super) fn was_answered(&self) -> bool {
        self.tally.received > 0
    }

    /// Whether nothing at all was heard, neither answer nor error.
    pub(super) fn heard_nothing(&self) -> bool {
        self.tally.received + self.tally.errors == 0
    }

    /// Numbers begin with 1 and go round.
    fn next_seq(&self) -> u16 {
        (self.tally.transmitted as u16).wrapping_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ip::icmp::IcmpErrorKind;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn session(count: Option<u64>) -> Session {
        let linger = Duration::from_secs(10);
        Session::new(Plan { count, interval: Duration::from_secs(1), linger, size: 56 }, at(0))
    }

    fn reply(seq: u16, at: Instant) -> PingReceived {
        PingReceived {
            len: 56,
            sent_len: 56,
            from: "10.9.0.2".parse().unwrap(),
            to: "10.9.0.1".parse().unwrap(),
            device: crate::proto::DeviceId(0),
            ident: 1,
            seq,
            hop_limit: 64,
            tos: 0,
            at,
        }
    }

    fn answered(session: &mut Session, seq: u16, at: Instant) -> Option<String> {
        let data = session.data().to_vec();
        session.answer(&reply(seq, at), &data)
    }

    fn unreachable(seq: u16, at: Instant) -> PingError {
        PingError {
            kind: IcmpErrorKind::HostUnreachable,
            type_code: (3, 1),
            offender: "10.1.0.1".parse().unwrap(),
            destination: "10.9.0.2".parse().unwrap(),
            seq,
            at,
        }
    }

    #[test]
    fn three_are_sent_a_second_apart_and_the_last_answer_ends_it() {
        let mut session = session(Some(3));
        for n in 0..3u64 {
            let now = at(n * 1000);
            assert_eq!(session.due(now), Due::Send(n as u16 + 1));
            session.sent(now);
            if n < 2 {
                assert_eq!(session.due(now), Due::WaitUntil(at((n + 1) * 1000)));
            }
            let line = answered(&mut session, n as u16 + 1, now + Duration::from_micros(70));
            let text = format!("64 bytes from 10.9.0.2: icmp_seq={} ttl=64 time=0.070 ms", n + 1);
            assert_eq!(line.as_deref(), Some(text.as_str()));
        }
        assert_eq!(session.due(at(2000)), Due::End);
        assert!(
            session
                .statistics("x")
                .contains("3 packets transmitted, 3 received, 0% packet loss, time 2000ms")
        );
    }

    #[test]
    fn after_the_last_it_waits_long_for_a_first_answer_and_short_for_a_further_one() {
        let mut silent = session(Some(1));
        silent.sent(at(0));
        assert_eq!(silent.due(at(1)), Due::WaitUntil(at(10_000)));
        assert_eq!(silent.due(at(10_000)), Due::End);
        assert!(silent.heard_nothing() && !silent.was_answered());

        let mut known = session(Some(2));
        known.sent(at(0));
        answered(&mut known, 1, at(700)).unwrap();
        known.sent(at(1000));
        assert_eq!(known.due(at(1001)), Due::WaitUntil(at(2400)), "twice the longest time");
    }

    #[test]
    fn an_error_counts_as_heard_of_and_a_repeat_does_not() {
        let mut session = session(Some(2));
        session.sent(at(0));
        answered(&mut session, 1, at(1)).unwrap();
        assert!(answered(&mut session, 1, at(2)).unwrap().ends_with("(DUP!)"));
        session.sent(at(1000));
        assert_ne!(session.due(at(1000)), Due::End);
        let line = session.error(&unreachable(2, at(1001)));
        assert_eq!(line, "From 10.1.0.1 icmp_seq=2 Destination Host Unreachable");
        assert_eq!(session.due(at(1001)), Due::End);
        let text = session.statistics("x");
        assert!(
            text.contains("2 packets transmitted, 1 received, +1 duplicates, +1 errors, 50% packet loss"),
            "{text}"
        );
    }

    #[test]
    fn what_answers_nothing_that_was_sent_is_not_told() {
        let mut session = session(None);
        session.sent(at(0));
        assert_eq!(answered(&mut session, 2, at(1)), None);
        assert!(!session.was_answered());
    }

    #[test]
    fn without_a_count_it_goes_on_beyond_the_end_of_numbers_and_makes_up_for_nothing() {
        let mut session = session(None);
        for n in 0..70_000u64 {
            assert_eq!(session.due(at(n * 1000)), Due::Send((n + 1) as u16));
            session.sent(at(n * 1000));
        }
        assert_eq!(session.sent.len(), 65_536);
        // The machine slept for an hour.
        let woken = at(70_000_000 + 3_600_000);
        session.sent(woken);
        session.sent(woken);
        assert_eq!(session.due(woken), Due::WaitUntil(woken + Duration::from_secs(1)));
    }
}
