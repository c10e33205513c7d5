//! The oracle on the wire: what may be said of every segment a correct TCP sends, whatever happens to it.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use crate::support::wire::{self, Opt, Tcp};

/// One direction of one connection, in numbers relative to its initial sequence number.
#[derive(Clone, Debug, Default)]
struct Half {
    iss: u32,
    /// Past the last octet of sequence space sent.
    sent_to: u64,
    /// Past the last octet that the receiver has ever offered to take, as far as that news has arrived here.
    may_send_to: u64,
    /// The right edge and the acknowledgement that this side has sent for the other half.
    offered_to: u64,
    acked_to: u64,
    fin_at: Option<u64>,
    /// What of it has arrived at the other end, undamaged: all below `got_to`, and these stretches.
    got_to: u64,
    got: BTreeMap<u64, u64>,
    shift: u32,
    offers_scale: bool,
    /// Its SYN had selective acknowledgements.
    offers_sack: bool,
    /// Timestamps: the last that was sent, if its SYN had one, and the latest that has arrived at the other end.
    stamp: Option<u32>,
    stamp_arrived: Option<u32>,
}

impl Half {
    /// Whether all of a stretch has arrived at the other end.
    fn is_there(&self, from: u64, to: u64) -> bool {
        let mut reached = from.max(self.got_to);
        for (start, end) in &self.got {
            if *start <= reached {
                reached = reached.max(*end);
            }
        }
        to <= reached && (from <= self.got_to || self.got.range(..=from).any(|(_, end)| from < *end))
    }

    /// A SYN, the answer to one, or the ACK by which a half-open connection tells what it waits for: these may have waited for
    /// the device while the connection went on.
    fn is_late(&self, tcp: &Tcp, seq: u64, ack: u64) -> bool {
        let has_gone_on = self.acked_to > 1 || self.sent_to > 1;
        tcp.has(wire::SYN) || (has_gone_on && tcp.seq_len() == 0 && (seq, ack) == (1, 1))
    }

    /// A segment has arrived.
    fn arrived(&mut self, seq: u64, end: u64) {
        // What was never sent is of another connection on the same ports.
        if end > self.sent_to {
            return;
        }
        let known = self.got.entry(seq).or_insert(end);
        *known = end.max(*known);
        while let Some(entry) = self.got.first_entry().filter(|entry| *entry.key() <= self.got_to) {
            self.got_to = self.got_to.max(entry.remove());
        }
    }
}

/// No more than this is ever in flight: what lies further ahead is of another connection on the same ports.
const PLAUSIBLE: u64 = 1 << 30;

/// Watches the segments of all connections, where they leave their sender and where they come to their receiver.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    halves: HashMap<(SocketAddr, SocketAddr), Half>,
    /// Other answers to the SYN that one of `halves` has answered, too. A listener whose SYN queue is full answers with a
    /// cookie, and remembers nothing of that (RFC 4987 section 3.6); so the same SYN, when it comes again and finds room in the
    /// queue, is answered with another number. Which of them counts is for the peer to say: it takes the one that it hears first.
    answers: HashMap<(SocketAddr, SocketAddr), Vec<Half>>,
    pub(crate) segments: u64,
    pub(crate) retransmitted: u64,
}

impl Monitor {
    /// A host has sent a segment. `ours` says whether it is held to the rules.
    pub(crate) fn sent(&mut self, tcp: &Tcp, ours: bool, mtu: usize, len: usize) {
        self.segments += 1;
        let (key, back) = ((tcp.src, tcp.dst), (tcp.dst, tcp.src));
        if tcp.has(wire::SYN) {
            self.sent_syn(tcp);
        } else if tcp.has(wire::ACK) {
            self.choose(back, tcp.ack.wrapping_sub(1), key);
        }
        if tcp.has(wire::RST) || self.is_other_answer(tcp) {
            return;
        }
        let other = self.halves.get(&back).map(|half| (half.iss, half.sent_to, half.got_to));
        if ours {
            self.check_options(tcp);
        }
        let both_scale = self.scales(key, back);
        let Some(half) = self.halves.get_mut(&key) else { return };
        let seq = u64::from(tcp.seq.wrapping_sub(half.iss));
        let end = seq + u64::from(tcp.seq_len());
        if ours {
            assert!(len <= mtu, "{len} bytes into an MTU of {mtu}");
            let seq_known = seq <= half.sent_to || tcp.seq.wrapping_sub(half.iss) > u32::MAX - 2;
            assert!(seq_known, "sequence numbers {}..{seq} were left out", half.sent_to);
            if !tcp.payload.is_empty() {
                let text_end = seq + u64::from(tcp.has(wire::SYN)) + tcp.payload.len() as u64;
                // A window probe may put one octet past the edge.
                let limit = half.may_send_to + 1;
                assert!(text_end <= limit, "text up to {text_end}, offered only {}", half.may_send_to);
                if let Some(fin) = half.fin_at {
                    assert!(text_end <= fin, "text up to {text_end} after FIN at {fin}");
                }
            }
            if tcp.has(wire::FIN) {
                let at = end - 1;
                assert_eq!(*half.fin_at.get_or_insert(at), at, "FIN has moved");
            }
        }
        if seq < half.sent_to && tcp.seq_len() > 0 {
            self.retransmitted += 1;
        }
        // Of smoltcp's numbers some may be left out, since a probe of it was made one without its octet.
        if seq <= half.sent_to || (!ours && end < half.sent_to + PLAUSIBLE) {
            half.sent_to = half.sent_to.max(end);
        }
        if let (true, Some((other_iss, other_sent_to, got_to))) = (tcp.has(wire::ACK), other) {
            let shift = if both_scale && !tcp.has(wire::SYN) { half.shift } else { 0 };
            let ack = u64::from(tcp.ack.wrapping_sub(other_iss));
            let edge = ack + (u64::from(tcp.window) << shift);
            if ours && !half.is_late(tcp, seq, ack) {
                assert!(ack >= half.acked_to, "ACK went back from {} to {ack}", half.acked_to);
                let is_stale = ack > other_sent_to;
                assert!(is_stale || ack <= got_to, "ACK of {ack}, and only {got_to} have arrived");
                //= RFC9293 SHLD-14 (RFC 7323 section 2.4 allows for the rounding)
                let slack = (1u64 << shift) - 1;
                assert!(edge + slack >= half.offered_to, "window shrank from {} to {edge}", half.offered_to);
            }
            half.acked_to = half.acked_to.max(ack);
            half.offered_to = half.offered_to.max(edge);
        }
    }

    /// A segment has arrived undamaged: its receiver may send up to what it offers.
    pub(crate) fn arrived(&mut self, tcp: &Tcp) {
        let (key, back) = ((tcp.src, tcp.dst), (tcp.dst, tcp.src));
        if let Some(half) = self.speaker(tcp).filter(|_| tcp.seq_len() > 0) {
            let seq = u64::from(tcp.seq.wrapping_sub(half.iss));
            half.arrived(seq, seq + u64::from(tcp.seq_len()));
        }
        if let (Some(half), Some((value, _))) =
            (self.speaker(tcp), Opt::decode_all(&tcp.options).iter().find_map(stamp_of))
        {
            let is_later = half.stamp_arrived.is_none_or(|known| value.wrapping_sub(known) as i32 > 0);
            half.stamp_arrived = if is_later { Some(value) } else { half.stamp_arrived };
        }
        if !tcp.has(wire::ACK) && !tcp.has(wire::SYN) {
            return;
        }
        let shift = match self.scales(key, back) && !tcp.has(wire::SYN) {
            true => self.halves.get(&key).map_or(0, |half| half.shift),
            false => 0,
        };
        let Some(half) = self.halves.get_mut(&back) else { return };
        let ack = if tcp.has(wire::ACK) { u64::from(tcp.ack.wrapping_sub(half.iss)) } else { 1 };
        if ack <= half.sent_to {
            half.may_send_to = half.may_send_to.max(ack + (u64::from(tcp.window) << shift));
        }
    }

    /// Timestamps go on and echo what has come; what is reported to be there is.
    fn check_options(&mut self, tcp: &Tcp) {
        let (key, back) = ((tcp.src, tcp.dst), (tcp.dst, tcp.src));
        let Some(other) = self.halves.get(&back) else { return };
        let options = Opt::decode_all(&tcp.options);
        for (left, right) in options.iter().filter_map(sack_blocks).flatten() {
            let [from, to] = [left, right].map(|edge| u64::from(edge.wrapping_sub(other.iss)));
            // What was never sent is of another connection on the same ports.
            if to <= other.sent_to {
                assert!(from < to && other.is_there(from, to), "{from}..{to} reported, and not all is there");
            }
            assert!(other.offers_sack, "a report to somebody who doesn't want it");
        }
        let other_iss = other.iss;
        let (theirs, arrived, is_new) = (other.stamp, other.stamp_arrived, other.sent_to <= 1);
        let Some(half) = self.halves.get_mut(&key) else { return };
        let stamp = options.iter().find_map(stamp_of);
        if let (Some(last), Some(_)) = (half.stamp, theirs) {
            //= RFC7323 3.2 every segment
            let (value, echo) = stamp.expect("a timestamp in every segment");
            let goes_on = value.wrapping_sub(last) as i32 >= 0;
            let [seq, ack] = [tcp.seq.wrapping_sub(half.iss), tcp.ack.wrapping_sub(other_iss)].map(u64::from);
            assert!(goes_on || half.is_late(tcp, seq, ack), "timestamps went back from {last} to {value}");
            half.stamp = if goes_on { Some(value) } else { half.stamp };
            // A simultaneous open's SYN has heard nothing yet.
            if let Some(arrived) = arrived.filter(|_| !is_new) {
                assert!(arrived.wrapping_sub(echo) as i32 >= 0, "{echo} echoed, and only {arrived} has come");
            }
        }
    }

    fn sent_syn(&mut self, tcp: &Tcp) {
        let options = Opt::decode_all(&tcp.options);
        let scale = options.iter().find_map(|option| match option {
            Opt::WindowScale(shift) => Some(u32::from((*shift).min(14))),
            _ => None,
        });
        let key = (tcp.src, tcp.dst);
        if self.halves.get(&key).is_none_or(|half| half.iss != tcp.seq) {
            let half = Half {
                iss: tcp.seq,
                shift: scale.unwrap_or(0),
                offers_scale: scale.is_some(),
                offers_sack: options.contains(&Opt::SackPermitted),
                stamp: options.iter().find_map(stamp_of).map(|(value, _)| value),
                may_send_to: 1,
                ..Half::default()
            };
            if self.answers_again(tcp) {
                return self.another_answer(key, half);
            }
            self.answers.remove(&key);
            let had_one = self.halves.insert(key, half).is_some();
            if had_one || !tcp.has(wire::ACK) {
                // A new connection, or an old SYN answered anew: what the other side still says of the one
                // before is not held against it. In a simultaneous open there is none before.
                let back = (tcp.dst, tcp.src);
                if self.halves.get(&back).is_some_and(|half| half.acked_to > 0) {
                    self.halves.remove(&back);
                }
            }
        }
    }

    /// Whether this is one more answer to a SYN that was answered with another number.
    fn answers_again(&self, tcp: &Tcp) -> bool {
        let asks = |half: &Half| half.iss.wrapping_add(1) == tcp.ack;
        let answered = self.halves.contains_key(&(tcp.src, tcp.dst));
        tcp.has(wire::ACK) && answered && self.halves.get(&(tcp.dst, tcp.src)).is_some_and(asks)
    }

    /// The latest answer is the one that counts, as long as the peer has taken none.
    fn another_answer(&mut self, key: (SocketAddr, SocketAddr), half: Half) {
        let iss = half.iss;
        let others = self.answers.entry(key).or_default();
        if others.iter().all(|other| other.iss != iss) {
            others.push(half);
        }
        self.choose(key, iss, (key.1, key.0));
    }

    /// Of the answers of `key` the one with the number `iss` counts, unless `peer` has taken another.
    fn choose(&mut self, key: (SocketAddr, SocketAddr), iss: u32, peer: (SocketAddr, SocketAddr)) {
        if self.halves.get(&peer).is_none_or(|half| half.acked_to > 0) {
            return;
        }
        let Some(others) = self.answers.get_mut(&key) else { return };
        let chosen = others.iter_mut().find(|other| other.iss == iss);
        if let (Some(chosen), Some(half)) = (chosen, self.halves.get_mut(&key)) {
            std::mem::swap(chosen, half);
        }
    }

    /// Whether this is of an answer that doesn't count: it, or what a half-open connection says without text.
    fn is_other_answer(&self, tcp: &Tcp) -> bool {
        let iss = if tcp.has(wire::SYN) { tcp.seq } else { tcp.seq.wrapping_sub(1) };
        let others = self.answers.get(&(tcp.src, tcp.dst)).into_iter().flatten();
        tcp.payload.is_empty() && others.into_iter().any(|other| other.iss == iss)
    }

    /// Whoever a segment that has arrived is from.
    fn speaker(&mut self, tcp: &Tcp) -> Option<&mut Half> {
        let key = (tcp.src, tcp.dst);
        let half = self.halves.get_mut(&key)?;
        if !tcp.has(wire::SYN) || half.iss == tcp.seq {
            return Some(half);
        }
        self.answers.get_mut(&key)?.iter_mut().find(|other| other.iss == tcp.seq)
    }

    fn scales(&self, a: (SocketAddr, SocketAddr), b: (SocketAddr, SocketAddr)) -> bool {
        let offers = |key| self.halves.get(key).is_some_and(|half: &Half| half.offers_scale);
        offers(&a) && offers(&b)
    }

    /// A host has forgotten all its connections.
    pub(crate) fn forget(&mut self, host: IpAddr) {
        self.halves.retain(|(from, _), _| from.ip() != host);
        self.answers.retain(|(from, to), _| from.ip() != host && to.ip() != host);
        // What it has offered before may still arrive, and what that meant is forgotten here, too.
        for ((_, to), half) in &mut self.halves {
            if to.ip() == host {
                half.may_send_to = u64::MAX - 1;
            }
        }
    }
}

fn stamp_of(option: &Opt) -> Option<(u32, u32)> {
    match option {
        Opt::Timestamps(value, echo) => Some((*value, *echo)),
        _ => None,
    }
}

fn sack_blocks(option: &Opt) -> Option<Vec<(u32, u32)>> {
    match option {
        Opt::Sack(blocks) => Some(blocks.clone()),
        _ => None,
    }
}

mod this_oracle {
    //! What no TCP may do is noticed: each of these segments is one too many.

    use super::*;

    const CLIENT: &str = "10.9.0.1:1000";
    const SERVER: &str = "10.9.0.2:7";

    fn segment(from: &str, to: &str, flags: u8, seq: u32, ack: u32, len: usize) -> Tcp {
        let ends = [from, to].map(|end| end.parse().unwrap());
        Tcp { flags, seq, ack, window: 1_000, payload: vec![7; len], ..Tcp::new(ends[0], ends[1]) }
    }

    /// A connection with windows of 1,000 bytes, whose numbers begin at 100 and 500.
    fn opened() -> Monitor {
        let mut monitor = Monitor::default();
        for tcp in [
            segment(CLIENT, SERVER, wire::SYN, 100, 0, 0),
            segment(SERVER, CLIENT, wire::SYN | wire::ACK, 500, 101, 0),
            segment(CLIENT, SERVER, wire::ACK, 101, 501, 0),
        ] {
            monitor.sent(&tcp, true, 1_500, 40);
            monitor.arrived(&tcp);
        }
        monitor
    }

    fn client_sends(monitor: &mut Monitor, flags: u8, seq: u32, ack: u32, len: usize) -> Tcp {
        let tcp = segment(CLIENT, SERVER, flags, seq, ack, len);
        monitor.sent(&tcp, true, 1_500, 40 + len);
        tcp
    }

    fn server_sends(monitor: &mut Monitor, seq: u32, ack: u32, len: usize) {
        monitor.sent(&segment(SERVER, CLIENT, wire::ACK, seq, ack, len), true, 1_500, 40 + len);
    }

    #[test]
    fn a_window_that_is_filled_and_acknowledged_is_right() {
        let mut monitor = opened();
        let text = client_sends(&mut monitor, wire::ACK, 101, 501, 1_000);
        monitor.arrived(&text);
        server_sends(&mut monitor, 501, 1_101, 0);
    }

    /// A connection whose ends have both options, with 10 octets that have come and 10 more behind a gap.
    fn opened_with_options() -> Monitor {
        let mut monitor = Monitor::default();
        let ack = wire::ACK;
        for (from, to, flags, seq, ack, len, stamps) in [
            (CLIENT, SERVER, wire::SYN, 100, 0, 0, (1, 0)),
            (SERVER, CLIENT, wire::SYN | ack, 500, 101, 0, (71, 1)),
            (CLIENT, SERVER, ack, 101, 501, 10, (2, 71)),
            (CLIENT, SERVER, ack, 111, 501, 10, (3, 71)),
            (CLIENT, SERVER, ack, 121, 501, 10, (4, 71)),
        ] {
            let mut tcp = segment(from, to, flags, seq, ack, len);
            if flags & wire::SYN != 0 {
                Opt::SackPermitted.encode(&mut tcp.options);
            }
            Opt::Timestamps(stamps.0, stamps.1).encode(&mut tcp.options);
            monitor.sent(&tcp, true, 1_500, 60);
            // The second is lost.
            if seq != 111 {
                monitor.arrived(&tcp);
            }
        }
        monitor
    }

    fn server_reports(monitor: &mut Monitor, options: &[Opt]) {
        let mut tcp = segment(SERVER, CLIENT, wire::ACK, 501, 111, 0);
        options.iter().for_each(|option| option.encode(&mut tcp.options));
        monitor.sent(&tcp, true, 1_500, 60);
    }

    #[test]
    fn a_report_of_what_has_come_and_a_timestamp_that_goes_on_are_right() {
        let mut monitor = opened_with_options();
        server_reports(&mut monitor, &[Opt::Timestamps(72, 2), Opt::Sack(vec![(121, 131)])]);
        // What came twice is there, too.
        server_reports(&mut monitor, &[Opt::Timestamps(72, 2), Opt::Sack(vec![(101, 111), (121, 131)])]);
    }

    #[test]
    #[should_panic(expected = "not all is there")]
    fn a_report_of_what_was_lost_is_noticed() {
        let report = Opt::Sack(vec![(115, 131)]);
        server_reports(&mut opened_with_options(), &[Opt::Timestamps(72, 2), report]);
    }

    #[test]
    #[should_panic(expected = "doesn't want it")]
    fn a_report_to_a_peer_that_does_not_want_it_is_noticed() {
        let mut monitor = opened();
        let text = client_sends(&mut monitor, wire::ACK, 101, 501, 10);
        monitor.arrived(&text);
        server_reports(&mut monitor, &[Opt::Sack(vec![(101, 111)])]);
    }

    #[test]
    #[should_panic(expected = "a timestamp in every segment")]
    fn a_segment_without_a_timestamp_is_noticed() {
        server_reports(&mut opened_with_options(), &[]);
    }

    #[test]
    #[should_panic(expected = "timestamps went back")]
    fn a_timestamp_that_goes_back_is_noticed() {
        server_reports(&mut opened_with_options(), &[Opt::Timestamps(70, 2)]);
    }

    #[test]
    #[should_panic(expected = "echoed, and only")]
    fn an_echo_of_what_has_not_come_is_noticed() {
        server_reports(&mut opened_with_options(), &[Opt::Timestamps(72, 5)]);
    }

    #[test]
    #[should_panic(expected = "offered only 1001")]
    fn text_beyond_the_window_is_noticed() {
        client_sends(&mut opened(), wire::ACK, 101, 501, 1_002);
    }

    #[test]
    #[should_panic(expected = "only 1 have arrived")]
    fn an_acknowledgement_of_what_was_lost_is_noticed() {
        let mut monitor = opened();
        client_sends(&mut monitor, wire::ACK, 101, 501, 10);
        server_sends(&mut monitor, 501, 111, 0);
    }

    #[test]
    #[should_panic(expected = "only 1 have arrived")]
    fn an_acknowledgement_across_a_gap_is_noticed() {
        let mut monitor = opened();
        client_sends(&mut monitor, wire::ACK, 101, 501, 10);
        let second = client_sends(&mut monitor, wire::ACK, 111, 501, 10);
        monitor.arrived(&second);
        server_sends(&mut monitor, 501, 121, 0);
    }

    #[test]
    #[should_panic(expected = "ACK went back")]
    fn an_acknowledgement_that_goes_back_is_noticed() {
        let mut monitor = opened();
        let text = client_sends(&mut monitor, wire::ACK, 101, 501, 10);
        monitor.arrived(&text);
        server_sends(&mut monitor, 501, 111, 0);
        server_sends(&mut monitor, 501, 105, 0);
    }

    /// A SYN that was answered twice: a listener that had given out a cookie had room for it when it came again.
    fn answered_twice() -> Monitor {
        let mut monitor = Monitor::default();
        for (from, to, flags, seq, ack) in [
            (CLIENT, SERVER, wire::SYN, 100, 0),
            (SERVER, CLIENT, wire::SYN | wire::ACK, 500, 101),
            (CLIENT, SERVER, wire::SYN, 100, 0),
            (SERVER, CLIENT, wire::SYN | wire::ACK, 900, 101),
        ] {
            let tcp = segment(from, to, flags, seq, ack, 0);
            monitor.sent(&tcp, true, 1_500, 40);
            monitor.arrived(&tcp);
        }
        monitor
    }

    #[test]
    fn of_two_answers_to_a_syn_the_one_counts_that_the_peer_takes() {
        for (taken, other) in [(500, 900), (900, 500)] {
            let mut monitor = answered_twice();
            let text = client_sends(&mut monitor, wire::ACK, 101, taken + 1, 10);
            monitor.arrived(&text);
            // The half-open connection behind the other tries again; the one that counts goes on.
            let answer = segment(SERVER, CLIENT, wire::SYN | wire::ACK, other, 101, 0);
            monitor.sent(&answer, true, 1_500, 40);
            server_sends(&mut monitor, taken + 1, 111, 10);
            server_sends(&mut monitor, taken + 11, 111, 10);
        }
    }

    #[test]
    #[should_panic(expected = "were left out")]
    fn numbers_of_the_answer_that_was_not_taken_are_noticed() {
        let mut monitor = answered_twice();
        let text = client_sends(&mut monitor, wire::ACK, 101, 501, 10);
        monitor.arrived(&text);
        server_sends(&mut monitor, 901, 101, 10);
    }

    #[test]
    #[should_panic(expected = "window shrank")]
    fn a_window_that_shrinks_is_noticed() {
        let mut monitor = opened();
        let tcp = segment(SERVER, CLIENT, wire::ACK, 501, 101, 0);
        monitor.sent(&Tcp { window: 999, ..tcp }, true, 1_500, 40);
    }

    #[test]
    #[should_panic(expected = "FIN has moved")]
    fn a_fin_that_moves_is_noticed() {
        let mut monitor = opened();
        client_sends(&mut monitor, wire::FIN | wire::ACK, 101, 501, 10);
        client_sends(&mut monitor, wire::FIN | wire::ACK, 101, 501, 9);
    }

    #[test]
    #[should_panic(expected = "were left out")]
    fn sequence_numbers_that_are_left_out_are_noticed() {
        client_sends(&mut opened(), wire::ACK, 102, 501, 10);
    }

    #[test]
    #[should_panic(expected = "into an MTU of 1500")]
    fn a_packet_larger_than_the_link_is_noticed() {
        opened().sent(&segment(CLIENT, SERVER, wire::ACK, 101, 501, 10), true, 1_500, 1_501);
    }
}
