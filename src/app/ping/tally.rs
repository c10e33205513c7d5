//! Numbers of a ping: how many went and came, how long they took.

use std::time::Duration;

use super::lines::millis;

/// What is counted while pinging.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Requests sent, those that could not be sent included.
    pub(super) transmitted: u64,
    /// Requests that were answered.
    pub(super) received: u64,
    /// Answers to requests that had been answered before.
    pub(super) repeats: u64,
    /// Requests that came to nothing, as an ICMP error or our own stack said.
    pub(super) errors: u64,
    min: Option<u64>,
    max: u64,
    sum: u64,
    sum_of_squares: u128,
    /// The most requests that were on their way at once.
    pipe: u64,
}

impl Tally {
    /// Counts an answer's time.
    pub(super) fn took(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.min = Some(self.min.map_or(micros, |min| min.min(micros)));
        self.max = self.max.max(micros);
        self.sum = self.sum.saturating_add(micros);
        self.sum_of_squares += u128::from(micros) * u128::from(micros);
    }

    /// Notes that the request `seq` was heard of: those sent since were on their way together with it.
    pub(super) fn heard_of(&mut self, seq: u16) {
        let later = (self.transmitted as u16).wrapping_sub(seq);
        if later <= u16::MAX / 2 {
            self.pipe = self.pipe.max(u64::from(later) + 1);
        }
    }

    /// The longest time so far.
    pub(super) fn max(&self) -> Duration {
        Duration::from_micros(self.max)
    }

    /// The last lines: what was counted of `name` in `took`, from the first request to the last.
    pub(super) fn statistics(&self, name: &str, took: Duration) -> String {
        let mut text = format!(
            "\n--- {name} ping statistics ---\n{} packets transmitted, {} received",
            self.transmitted, self.received
        );
        if self.repeats > 0 {
            text += &format!(", +{} duplicates", self.repeats);
        }
        if self.errors > 0 {
            text += &format!(", +{} errors", self.errors);
        }
        if self.transmitted > 0 {
            text += &format!(", {}% packet loss", self.loss());
            text += &format!(", time {}ms", (took.as_micros() + 500) / 1000);
        }
        text.push('\n');
        let mut words = Vec::new();
        if self.received > 0 {
            words.push(self.times());
        }
        if self.pipe > 1 {
            words.push(format!("pipe {}", self.pipe));
        }
        text + &words.join(", ") + "\n"
    }

    /// Per cent of requests without an answer, in up to six digits.
    fn loss(&self) -> String {
        let lost = self.transmitted.saturating_sub(self.received);
        let percent = lost as f64 * 100.0 / self.transmitted as f64;
        let digits = match percent {
            ten if ten >= 10.0 => 4,
            one if one >= 1.0 => 5,
            _ => 6,
        };
        let text = format!("{percent:.digits$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    fn times(&self) -> String {
        let count = u128::from(self.received + self.repeats).max(1);
        let sum = u128::from(self.sum);
        let mean = sum / count;
        // In one fraction, so that nothing is rounded before the root is drawn.
        let squares = self.sum_of_squares.saturating_mul(count).saturating_sub(sum.saturating_mul(sum));
        let variance = squares / (count * count);
        format!(
            "rtt min/avg/max/mdev = {}/{}/{}/{} ms",
            millis(self.min.unwrap_or_default()),
            millis(u64::try_from(mean).unwrap_or(u64::MAX)),
            millis(self.max),
            millis(u64::try_from(variance.isqrt()).unwrap_or(u64::MAX)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(transmitted: u64, micros: &[u64]) -> Tally {
        let mut tally = Tally { transmitted, received: micros.len() as u64, ..Tally::default() };
        for micros in micros {
            tally.took(Duration::from_micros(*micros));
        }
        tally
    }

    #[test]
    fn statistics_are_told_as_ping_tells_them() {
        let all = tally(3, &[97, 67, 58]);
        insta::assert_snapshot!(all.statistics("10.9.0.2", Duration::from_micros(2_055_600)).trim_start(), @"
        --- 10.9.0.2 ping statistics ---
        3 packets transmitted, 3 received, 0% packet loss, time 2056ms
        rtt min/avg/max/mdev = 0.058/0.074/0.097/0.016 ms
        ");
        let none = Tally { errors: 3, pipe: 3, ..tally(4, &[]) };
        assert_eq!(
            none.statistics("fd09::2", Duration::from_millis(3064)),
            "\n--- fd09::2 ping statistics ---\n\
             4 packets transmitted, 0 received, +3 errors, 100% packet loss, time 3064ms\npipe 3\n"
        );
        let lost = tally(1, &[]);
        assert!(lost.statistics("a", Duration::ZERO).ends_with("100% packet loss, time 0ms\n\n"));
        let doubled = Tally { repeats: 1, received: 1, ..tally(2, &[1_234_567, 1_000]) };
        assert!(doubled.statistics("a", Duration::ZERO).contains(
            "2 packets transmitted, 1 received, +1 duplicates, 50% packet loss, time 0ms\n\
             rtt min/avg/max/mdev = 1.000/617.783/1234.567/616.783 ms\n"
        ));
        assert_eq!(
            Tally::default().statistics("a", Duration::ZERO),
            "\n--- a ping statistics ---\n0 packets transmitted, 0 received\n\n"
        );
    }

    #[test]
    fn loss_is_told_in_six_digits_at_most() {
        let loss = |transmitted, received| Tally { transmitted, received, ..Tally::default() }.loss();
        assert_eq!(loss(3, 2), "33.3333");
        assert_eq!(loss(4, 3), "25");
        assert_eq!(loss(11, 10), "9.09091");
        assert_eq!(loss(1000, 999), "0.1");
        assert_eq!(loss(7, 0), "100");
        assert_eq!(loss(7, 7), "0");
    }

    #[test]
    fn requests_on_their_way_together_are_counted_across_the_end_of_numbers() {
        let mut tally = Tally { transmitted: 65_537, ..Tally::default() };
        tally.heard_of(1);
        assert_eq!(tally.pipe, 1);
        tally.heard_of(65_535);
        assert_eq!(tally.pipe, 3);
        tally.heard_of(2);
        assert_eq!(tally.pipe, 3, "a number not sent yet");
    }
}
