//! When slow start is over, told by round trips before losses tell: HyStart++ (RFC 9406), and acknowledgement trains.
//!
//! Owns what is known of the rounds of the first slow start. It owns no window: it says how fast that may grow. Round trips
//! are in nanoseconds.
//!
//! ```text
//!             round trips have grown,               they have grown again,
//!             or there was a train                  or five rounds are over
//!   Standard ─────────────────────▶ Conservative ─────────────────────────▶ Over
//!      ▲                                 │
//!      └─────────────────────────────────┘
//!        it was jitter, or no queue came of the train
//! ```
//!
//! RFC 9406 hears of a queue a round after it has begun to grow, and by then the window has doubled again: a queue that holds
//! less than the path does runs over. So the acknowledgements' own spacing raises suspicion, too (Ha and Rhee, "Taming the
//! elephants", 2011): those of one window come back as far apart as the bottleneck lets segments go, and if they take half
//! a round trip without a gap, the window, doubled, is what the path holds.

use super::Progress;
use crate::time::Instant;

//= RFC9406 4.3 constants
const RTT_THRESHOLD_MIN: u64 = 4_000_000;
const RTT_THRESHOLD_MAX: u64 = 16_000_000;
const RTT_DIVISOR: u64 = 8;
const SAMPLES: u32 = 8;
const CONSERVATIVE_ROUNDS: u32 = 5;

/// How fast the window may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// By all that is acknowledged.
    Standard,
    /// By a part of it.
    Conservative,
    /// Slow start is over.
    Over,
}

/// The first slow start's rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct HyStart {
    /// The round ends when this is acknowledged; `None` before the first acknowledgement.
    window_end: Option<u64>,
    /// The least round trip of the round before.
    last: Option<u64>,
    current: Sampled,
    train: Train,
    phase: Phase,
}

/// Round trips measured in a row.
#[derive(Clone, Copy, Debug)]
struct Sampled {
    /// The largest number, if there is none.
    least: u64,
    count: u32,
}

/// Acknowledgements of one round that follow each other without a gap.
#[derive(Clone, Copy, Debug, Default)]
enum Train {
    /// None has come in this round.
    #[default]
    Expected,
    Runs {
        began: Instant,
        latest: Instant,
    },
    /// There was a gap, or the window was not what held the sender back.
    Broken,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    Standard,
    Conservative(Conservative),
}

/// Conservative slow start.
#[derive(Clone, Copy, Debug)]
struct Conservative {
    cause: Cause,
    //= RFC9406 4.2 baseline
    baseline: u64,
    rounds_left: u32,
    /// What goes from here on goes at the new pace: before, each burst was twice of what left the queue meanwhile, and waited for itself.
    from: u64,
    /// Round trips of that, since the last look.
    recent: Sampled,
}

/// What made slow start conservative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Delay,
    Train,
}

impl HyStart {
    /// An acknowledgement of new data has come.
    pub(super) fn on_ack(&mut self, ack: &Progress) -> Pace {
        self.turn_round(ack);
        if let Some(rtt) = ack.rtt {
            self.current.take(rtt);
        }
        match &mut self.phase {
            Phase::Standard => self.suspect(ack),
            Phase::Conservative(conservative) => match conservative.judge(ack, &self.current) {
                Verdict::Open => Pace::Conservative,
                Verdict::Queue => Pace::Over,
                //= RFC9406 4.2 resume
                Verdict::Jitter => {
                    self.phase = Phase::Standard;
                    self.train = Train::Broken;
                    Pace::Standard
                }
            },
        }
    }

    /// A round ends when all is acknowledged that was sent by its beginning. What goes beyond that is the first of the next round:
    /// it was sent first, too, and met no queue of its own.
    //= RFC9406 4.2 round
    fn turn_round(&mut self, ack: &Progress) {
        if ack.una <= *self.window_end.get_or_insert(ack.nxt) {
            return;
        }
        self.window_end = Some(ack.nxt);
        self.last = Some(self.current.least).filter(|_| self.current.count > 0);
        self.current = Sampled::default();
        self.train = Train::Expected;
        if let Phase::Conservative(conservative) = &mut self.phase {
            conservative.rounds_left = conservative.rounds_left.saturating_sub(1);
        }
    }

    /// In standard slow start: does anything tell of a queue?
    fn suspect(&mut self, ack: &Progress) -> Pace {
        //= RFC9406 4.2 exit
        if let (Some(last), Some(current)) = (self.last, self.current.judged())
            && current >= last.saturating_add(threshold(last))
        {
            return self.enter(Cause::Delay, current, ack);
        }
        self.train.take(ack);
        if let Some(least) = ack.min_rtt
            && ack.rtt.is_some()
            && self.train.fills(least)
        {
            return self.enter(Cause::Train, least, ack);
        }
        Pace::Standard
    }

    fn enter(&mut self, cause: Cause, baseline: u64, ack: &Progress) -> Pace {
        self.phase = Phase::Conservative(Conservative {
            cause,
            baseline,
            //= RFC9406 4.2 rounds: the one that has begun is one of them.
            rounds_left: CONSERVATIVE_ROUNDS,
            from: ack.nxt,
            recent: Sampled::default(),
        });
        Pace::Conservative
    }
}

/// What conservative slow start has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Open,
    Queue,
    Jitter,
}

impl Conservative {
    fn judge(&mut self, ack: &Progress, round: &Sampled) -> Verdict {
        if self.rounds_left == 0 {
            return match self.cause {
                //= RFC9406 4.2 end
                Cause::Delay => Verdict::Queue,
                // The window has more than doubled, and no queue has come of it.
                Cause::Train => Verdict::Jitter,
            };
        }
        //= RFC9406 4.2 resume
        if self.cause == Cause::Delay && round.judged().is_some_and(|least| least < self.baseline) {
            return Verdict::Jitter;
        }
        // RFC 9406 waits for five rounds. If round trips go on growing while the window does, nothing is left to wait for: eight
        // in a row, as in the round that raised suspicion.
        let Some(rtt) = ack.rtt.filter(|_| ack.una > self.from) else { return Verdict::Open };
        self.recent.take(rtt);
        let Some(least) = self.recent.judged() else { return Verdict::Open };
        self.recent = Sampled::default();
        let has_grown = least >= self.baseline.saturating_add(threshold(self.baseline));
        if has_grown { Verdict::Queue } else { Verdict::Open }
    }
}

impl Default for Sampled {
    fn default() -> Self {
        Sampled { least: u64::MAX, count: 0 }
    }
}

impl Sampled {
    fn take(&mut self, rtt: u64) {
        self.least = self.least.min(rtt);
        self.count = self.count.saturating_add(1);
    }

    /// The least, if enough were measured.
    //= RFC9406 4.2 samples
    fn judged(&self) -> Option<u64> {
        (self.count >= SAMPLES).then_some(self.least)
    }
}

impl Train {
    fn take(&mut self, ack: &Progress) {
        let at = ack.at;
        *self = match *self {
            Train::Expected | Train::Runs { .. } | Train::Broken if !ack.cwnd_limited => Train::Broken,
            Train::Expected => Train::Runs { began: at, latest: at },
            Train::Runs { began, latest }
                if at.nanos_since(latest) <= threshold(ack.min_rtt.unwrap_or_default()) =>
            {
                Train::Runs { began, latest: at }
            }
            Train::Runs { .. } | Train::Broken => Train::Broken,
        };
    }

    /// Whether it takes half the shortest round trip. Where that is no longer than the threshold, no queue that came of the
    /// window could be told from noise.
    fn fills(&self, least: u64) -> bool {
        match self {
            Train::Runs { began, latest } => {
                least / 2 > threshold(least) && latest.nanos_since(*began) >= least / 2
            }
            Train::Expected | Train::Broken => false,
        }
    }
}

/// By how much a round trip has to grow to tell of a queue.
//= RFC9406 4.2 threshold
fn threshold(rtt: u64) -> u64 {
    (rtt / RTT_DIVISOR).clamp(RTT_THRESHOLD_MIN, RTT_THRESHOLD_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;

    const US: u64 = 1_000;
    const MS: u64 = 1_000 * US;

    /// Rounds of ten acknowledgements each, a microsecond apart.
    struct Rounds {
        hystart: HyStart,
        now: Instant,
        una: u64,
    }

    impl Rounds {
        const ACKS: u64 = 10;

        fn new() -> Self {
            Rounds { hystart: HyStart::default(), now: Instant::ZERO, una: 0 }
        }

        /// The next acknowledgement of the round, or the first of the next one.
        fn ack(&mut self, rtt: Option<u64>) -> Pace {
            self.una += 1;
            self.now = self.now.plus_nanos(US);
            let nxt = self.una + Self::ACKS - 1;
            let (at, una) = (self.now, self.una);
            self.hystart.on_ack(&Progress { at, acked: 1, cwnd_limited: true, una, nxt, rtt, min_rtt: rtt })
        }

        fn round(&mut self, rtt: u64) -> Pace {
            (0..Self::ACKS).map(|_| self.ack(Some(rtt))).last().unwrap()
        }
    }

    #[test]
    fn eight_round_trips_that_have_grown_by_an_eighth_make_slow_start_conservative() {
        //= RFC9406 4.2 exit, 4.2 samples, 4.2 threshold, 4.3 constants
        for (before, grown_by) in [(10, 4), (31, 4), (80, 10), (128, 16), (400, 16)] {
            let mut rounds = Rounds::new();
            assert_eq!(rounds.round(before * MS), Pace::Standard);
            assert_eq!(rounds.round((before + grown_by) * MS - US), Pace::Standard);
            let mut rounds = Rounds::new();
            rounds.round(before * MS);
            for _ in 0..7 {
                assert_eq!(rounds.ack(Some((before + grown_by) * MS)), Pace::Standard);
            }
            assert_eq!(rounds.ack(None), Pace::Standard, "nothing was measured");
            assert_eq!(rounds.ack(Some((before + grown_by) * MS)), Pace::Conservative);
        }
    }

    #[test]
    fn a_round_in_which_one_round_trip_is_short_tells_of_no_queue() {
        //= RFC9406 4.2 round
        let mut rounds = Rounds::new();
        rounds.round(80 * MS);
        rounds.ack(Some(81 * MS));
        for _ in 1..Rounds::ACKS {
            assert_eq!(rounds.ack(Some(200 * MS)), Pace::Standard);
        }
        // The round before counts, not the shortest ever.
        rounds.round(90 * MS);
        assert_eq!(rounds.round(99 * MS), Pace::Standard);
    }

    #[test]
    fn jitter_takes_it_back() {
        //= RFC9406 4.2 resume, 4.2 baseline
        let mut rounds = Rounds::new();
        rounds.round(80 * MS);
        assert_eq!(rounds.round(95 * MS), Pace::Conservative);
        assert_eq!(rounds.round(95 * MS), Pace::Conservative, "no shorter than when it began");
        assert_eq!(rounds.round(94 * MS), Pace::Standard);
        assert_eq!(rounds.round(115 * MS), Pace::Conservative, "and again");
    }

    #[test]
    fn five_rounds_of_it_end_slow_start() {
        //= RFC9406 4.2 rounds, 4.2 end
        let mut rounds = Rounds::new();
        rounds.round(80 * MS);
        for _ in 0..5 {
            assert_eq!(rounds.round(95 * MS), Pace::Conservative);
        }
        assert_eq!(rounds.ack(Some(95 * MS)), Pace::Over);
    }

    #[test]
    fn round_trips_that_go_on_growing_end_it_at_once() {
        let mut rounds = Rounds::new();
        rounds.round(80 * MS);
        assert_eq!(rounds.round(95 * MS), Pace::Conservative);
        // These went before the pace was another.
        for _ in 0..Rounds::ACKS - 3 {
            assert_eq!(rounds.ack(Some(120 * MS)), Pace::Conservative);
        }
        for _ in 0..7 {
            assert_eq!(rounds.ack(Some(120 * MS)), Pace::Conservative);
        }
        assert_eq!(rounds.ack(Some(120 * MS)), Pace::Over);
    }

    /// A bottleneck that lets a segment go each `per`, `base` away, with no end to its queue. Acknowledgements come `batch` at a
    /// time.
    struct Bottleneck {
        per: u64,
        base: u64,
        batch: usize,
    }

    /// The window when slow start is over, as a multiple of what the path holds.
    fn window_at_the_end(path: &Bottleneck) -> f64 {
        let (mut hystart, mut free) = (HyStart::default(), Instant::ZERO);
        let mut under_way: VecDeque<(Instant, Instant)> = VecDeque::new();
        let mut now = Instant::ZERO;
        // The window in fourths of a segment.
        let (mut una, mut nxt, mut cwnd) = (0, 0, 40);
        for _ in 0..1_000_000 {
            while nxt - una < cwnd / 4 {
                free = free.max(now).plus_nanos(path.per);
                under_way.push_back((now, free.plus_nanos(path.base)));
                nxt += 1;
            }
            let batch: VecDeque<_> = under_way.drain(..path.batch.min(under_way.len())).collect();
            let (sent, arrives) = *batch.back().unwrap();
            now = arrives;
            let acked = batch.len() as u64;
            una += acked;
            let (rtt, min_rtt) = (Some(now.nanos_since(sent)), Some(path.base + path.per));
            match hystart.on_ack(&Progress { at: now, acked, cwnd_limited: true, una, nxt, rtt, min_rtt }) {
                Pace::Standard => cwnd += 4 * acked,
                Pace::Conservative => cwnd += acked,
                Pace::Over => {
                    return cwnd as f64 / 4.0 / (path.base as f64 / path.per as f64);
                }
            }
        }
        panic!("slow start never ends");
    }

    #[test]
    fn slow_start_ends_with_little_more_than_the_path_holds() {
        for base in [10, 20, 66, 100, 300] {
            for per_us in [1_200, 240, 120, 12] {
                let base = base * MS;
                let path = Bottleneck { per: per_us * US, base, batch: 2 };
                let window = window_at_the_end(&path);
                let least_segments = path.base / (per_us * US);
                // Where ten segments fill the path, they are the beginning and the end. Below 32 ms the threshold is more than an eighth.
                let most = if least_segments < 40 || base < 32 * MS { 3.2 } else { 2.0 };
                assert!((0.9..most).contains(&window), "{base} ns, {per_us} us: {window}");
            }
        }
    }

    #[test]
    fn a_round_trip_as_long_as_time_itself_tells_of_no_queue() {
        for longest in [u64::MAX, u64::MAX - 10 * MS] {
            let mut rounds = Rounds::new();
            rounds.round(longest);
            assert_eq!(rounds.round(10 * MS), Pace::Standard);
            assert_eq!(rounds.round(10 * MS), Pace::Standard);
        }
    }

    #[test]
    fn acknowledgements_in_lumps_are_no_train_and_the_delay_tells() {
        // One for a quarter of what the path holds.
        let path = Bottleneck { per: 240 * US, base: 100 * MS, batch: 100 };
        let window = window_at_the_end(&path);
        assert!((1.0..8.0).contains(&window), "{window}");
    }

    #[test]
    fn a_train_that_no_queue_follows_is_forgotten() {
        let mut rounds = Rounds::new();
        let mut paces = alloc::vec::Vec::new();
        for _ in 0..8 {
            for _ in 0..Rounds::ACKS {
                rounds.now = rounds.now.plus_nanos(7 * MS);
                paces.push(rounds.ack(Some(66 * MS)));
            }
        }
        let first = paces.iter().position(|pace| *pace == Pace::Conservative).unwrap();
        assert_eq!(first, 5, "five times seven milliseconds after the first of the round");
        assert_eq!(
            paces[first..].iter().position(|pace| *pace == Pace::Standard),
            Some(45),
            "five rounds, that one included"
        );
        assert!(!paces.contains(&Pace::Over));
    }

    #[test]
    fn a_gap_or_a_sender_that_had_nothing_to_send_makes_no_train() {
        let train = |gap: u64, cwnd_limited: bool| {
            let (mut train, mut at) = (Train::default(), Instant::ZERO);
            for n in 0..30 {
                at = at.plus_nanos(if n == 15 { gap } else { 2 * MS });
                let cwnd_limited = cwnd_limited || n != 20;
                let (rtt, min_rtt) = (None, Some(66 * MS));
                train.take(&Progress { at, acked: 1, cwnd_limited, una: 0, nxt: 1, rtt, min_rtt });
            }
            train.fills(66 * MS)
        };
        assert!(train(8 * MS, true));
        assert!(!train(9 * MS, true));
        assert!(!train(8 * MS, false));
    }

    #[test]
    fn short_paths_have_no_trains() {
        let train = Train::Runs { began: Instant::ZERO, latest: Instant::from_millis(100) };
        assert!(!train.fills(8 * MS));
        assert!(train.fills(9 * MS));
    }
}
