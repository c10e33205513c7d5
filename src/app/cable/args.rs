//! What `tunstack link` may be told.

use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::super::cli::Offload;
use super::super::links::named;
use super::super::units;
use crate::sim::{GilbertElliott, LinkConfig, Loss, Ppm};

/// The longest bursts of losses, in packets.
const BURST_MAX: u32 = 10_000;

/// What `tunstack link` may be told.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Each fault may have one value for both directions, or two: `--delay 10ms/50ms --loss 0/10%` is 10 ms \
    and no loss from A to B, 50 ms and 10 % from B to A.\n\
    Units: us, ms, s; bit, kbit, mbit, gbit (a second, decimal); B, kB, KiB, MB, MiB; percentages down to 0.0001%.\n\
    A packet meets, in this order: the black hole, loss, queue and rate, then duplication, corruption, delay and reordering.\n\
    A super-segment is cut into such packets first. In a direction with nothing but delay it passes whole, as one packet, if \
    the other end takes it.\n\
    SIGUSR1 prints the counters, SIGINT and SIGTERM end the link."
)]
pub(crate) struct CableArgs {
    /// One end: a TUN device, made (and set up) if it doesn't exist, else left as it is. NETNS is a network namespace, by
    /// its name in `ip netns` or by a path as in /proc/123/ns/net:tun0
    #[arg(value_name = "[NETNS:]A", value_parser = named(str::parse::<EndArg>))]
    pub(crate) a: EndArg,

    /// The other end
    #[arg(value_name = "[NETNS:]B", value_parser = named(str::parse::<EndArg>))]
    pub(crate) b: EndArg,

    /// How long every packet takes, as in 33ms or 10ms/50ms
    #[arg(long, value_name = "TIME[/TIME]", value_parser = named(|text| both(text, units::time)))]
    delay: Option<Both<Duration>>,

    /// Up to how much longer it may take; reorders nothing
    #[arg(long, value_name = "TIME[/TIME]", value_parser = named(|text| both(text, units::time)))]
    jitter: Option<Both<Duration>>,

    /// Packets that are lost, each by itself; with burst=N as many, but N in a row on average (Gilbert-Elliott)
    #[arg(long, value_name = "SHARE[,burst=N][/...]", value_parser = named(|text| both(text, loss)))]
    loss: Option<Both<Loss>>,

    /// Packets that are held back, so that later ones overtake them; for half of TIME to TIME [default: 10ms]
    #[arg(long, value_name = "SHARE[,by=TIME][/...]", value_parser = named(|text| both(text, reorder)))]
    reorder: Option<Both<Reorder>>,

    /// Packets that arrive twice
    #[arg(long, value_name = "SHARE[/SHARE]", value_parser = named(|text| both(text, units::share)))]
    duplicate: Option<Both<Ppm>>,

    /// Packets in which one octet is changed
    #[arg(long, value_name = "SHARE[/SHARE]", value_parser = named(|text| both(text, units::share)))]
    corrupt: Option<Both<Ppm>>,

    /// Bits a second of whole IP packets, or `none`, as in 100mbit or 16mbit/1mbit
    #[arg(long, value_name = "RATE[/RATE]", value_parser = named(|text| both(text, |one| or_none(one, units::rate))))]
    rate: Option<Both<Option<NonZeroU64>>>,

    /// Bytes that wait where there is a rate; what comes when there is no room is dropped [default: 256KiB]
    #[arg(long, value_name = "SIZE[/SIZE]", requires = "rate", value_parser = named(|text| both(text, units::size)))]
    queue: Option<Both<u64>>,

    /// With so many bytes waiting, packets whose sender takes part in ECN are marked, or `none`
    #[arg(long, value_name = "SIZE[/SIZE]", requires = "rate")]
    #[arg(value_parser = named(|text| both(text, |one| or_none(one, units::size))))]
    ecn_threshold: Option<Both<Option<u64>>>,

    /// Larger packets vanish without a word, or `none`
    #[arg(long, value_name = "BYTES[/BYTES]", value_parser = named(|text| both(text, |one| or_none(one, units::size))))]
    mtu_blackhole: Option<Both<Option<u64>>>,

    /// Whether the kernel is left checksums and segmentation, and super-segments are taken whole
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Offload::Auto)]
    pub(crate) offload: Offload,

    /// Number from which all chances follow: the same packets then meet the same faults [default: another one each time]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64))]
    pub(crate) seed: Option<u64>,
}

impl CableArgs {
    /// What happens from A to B, and from B to A.
    pub(crate) fn configs(&self) -> [LinkConfig; 2] {
        [Direction::AToB, Direction::BToA].map(|direction| {
            let plain = LinkConfig::default();
            let reorder = of(self.reorder, direction, Reorder { share: plain.reorder, by: plain.reorder_by });
            let mtu = of(self.mtu_blackhole, direction, None);
            LinkConfig {
                delay: of(self.delay, direction, plain.delay),
                jitter: of(self.jitter, direction, plain.jitter),
                rate: of(self.rate, direction, plain.rate),
                queue: of(self.queue, direction, plain.queue),
                ecn_threshold: of(self.ecn_threshold, direction, plain.ecn_threshold),
                loss: of(self.loss, direction, plain.loss),
                duplicate: of(self.duplicate, direction, plain.duplicate),
                corrupt: of(self.corrupt, direction, plain.corrupt),
                reorder: reorder.share,
                reorder_by: reorder.by,
                mtu: mtu.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
                under_way_max: plain.under_way_max,
            }
        })
    }
}

/// One of the two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    AToB,
    BToA,
}

/// A value for each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Both<T> {
    a_to_b: T,
    b_to_a: T,
}

fn of<T: Copy>(said: Option<Both<T>>, direction: Direction, default: T) -> T {
    match (said, direction) {
        (Some(both), Direction::AToB) => both.a_to_b,
        (Some(both), Direction::BToA) => both.b_to_a,
        (None, Direction::AToB | Direction::BToA) => default,
    }
}

/// One value for both directions, or two with a slash between.
fn both<T: Copy>(text: &str, one: impl Fn(&str) -> Result<T, String>) -> Result<Both<T>, String> {
    let (a_to_b, b_to_a) = text.split_once('/').unwrap_or((text, text));
    Ok(Both { a_to_b: one(a_to_b)?, b_to_a: one(b_to_a)? })
}

fn or_none<T>(text: &str, some: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text == "none" { Ok(None) } else { some(text).map(Some) }
}

/// Packets that are held back, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reorder {
    share: Ppm,
    by: Duration,
}

fn reorder(text: &str) -> Result<Reorder, String> {
    let (share, by) = with_word(text, "by", "0.1%,by=5ms")?;
    let by = by.map_or(Ok(LinkConfig::default().reorder_by), units::time)?;
    Ok(Reorder { share: units::share(share)?, by })
}

fn loss(text: &str) -> Result<Loss, String> {
    let (share, burst) = with_word(text, "burst", "1%,burst=5")?;
    let share = units::share(share)?;
    let Some(burst) = burst else {
        return Ok(if share == Ppm::NEVER { Loss::None } else { Loss::Random(share) });
    };
    let burst = burst.parse().ok().filter(|packets| (1..=BURST_MAX).contains(packets)).ok_or_else(|| {
        format!("'{burst}' is not a number of packets from 1 to {BURST_MAX}; try `1%,burst=5`")
    })?;
    bursts(share, burst).ok_or_else(|| {
        format!(
            "'{text}' can't be had: so many losses need longer bursts, so few shorter ones; try `1%,burst=5`"
        )
    })
}

/// Bursts of so many packets on average, that are so large a share of all packets. `None` if they would have to begin
/// more often than always, or too seldom to be said.
fn bursts(share: Ppm, packets: u32) -> Option<Loss> {
    if share == Ppm::NEVER {
        return Some(Loss::None);
    }
    // In the long run, bad / good = begin / end; and a burst ends with a chance of one in its length.
    let all = u64::from(Ppm::ALWAYS.0);
    let (bad, good) = (u64::from(share.0), all.checked_sub(u64::from(share.0)).filter(|good| *good > 0)?);
    let per = good * u64::from(packets);
    let begin = (bad * all + per / 2) / per;
    let begin = u32::try_from(begin).ok().map(Ppm).filter(|begin| (Ppm(1)..=Ppm::ALWAYS).contains(begin))?;
    Some(Loss::Bursts(GilbertElliott::bursts(begin, packets)))
}

/// A value and what stands behind `,word=`.
fn with_word<'a>(text: &'a str, word: &str, such_as: &str) -> Result<(&'a str, Option<&'a str>), String> {
    let Some((value, rest)) = text.split_once(',') else { return Ok((text, None)) };
    match rest.split_once('=') {
        Some((said, of_word)) if said == word => Ok((value, Some(of_word))),
        Some(_) | None => Err(format!("'{rest}' is not {word}= with its value; try `{such_as}`")),
    }
}

/// One end as the command line has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndArg {
    /// The network namespace, by name or path; `None` is that of the command.
    pub(crate) netns: Option<String>,
    /// The device.
    pub(crate) name: String,
}

impl FromStr for EndArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // No device has a colon in its name; a path may.
        let (netns, name) = match text.rsplit_once(':') {
            Some((netns, name)) => (Some(netns.to_owned()), name),
            None => (None, text),
        };
        if name.is_empty() || netns.as_ref().is_some_and(String::is_empty) {
            return Err(format!("'{text}' is not a device, nor NETNS:DEVICE; try `tun0` or `left:tun0`"));
        }
        Ok(EndArg { netns, name: name.to_owned() })
    }
}

impl std::fmt::Display for EndArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.netns {
            Some(netns) => write!(f, "{netns}:{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use proptest::prelude::*;

    use super::*;
    use crate::rng::Rng;
    use crate::sim::LossModel;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CableArgs,
    }

    fn read(line: &str) -> CableArgs {
        let words = ["link", "a", "b"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).args
    }

    #[test]
    fn nothing_said_is_a_cable_without_faults() {
        for config in read("").configs() {
            assert!(config.is_only_delay() && config.delay.is_zero(), "{config:?}");
        }
        assert_eq!(read("").offload, Offload::Auto);
    }

    #[test]
    fn offloads_are_for_both_ends() {
        for (said, expected) in [("auto", Offload::Auto), ("on", Offload::On), ("off", Offload::Off)] {
            assert_eq!(read(&format!("--offload {said}")).offload, expected);
        }
    }

    #[test]
    fn one_value_is_for_both_directions_and_two_are_for_one_each() {
        let [there, back] =
            read("--delay 33ms --loss 0/10% --rate 16mbit/none --reorder 1%,by=4ms/0").configs();
        assert_eq!((there.delay, back.delay), (Duration::from_millis(33), Duration::from_millis(33)));
        assert_eq!((there.loss, back.loss), (Loss::None, Loss::Random(Ppm::percent(10))));
        assert_eq!((there.rate.map(NonZeroU64::get), back.rate), (Some(16_000_000), None));
        assert_eq!((there.reorder, there.reorder_by), (Ppm::percent(1), Duration::from_millis(4)));
        assert_eq!((back.reorder, back.reorder_by), (Ppm::NEVER, Duration::from_millis(10)));
    }

    #[test]
    fn every_fault_reaches_its_place() {
        let line = "--delay 1ms --jitter 2ms --loss 3% --reorder 4%,by=5ms --duplicate 6% --corrupt 7% --rate 8mbit \
                    --queue 9kB --ecn-threshold 10kB --mtu-blackhole 1100";
        let [there, back] = read(line).configs();
        let expected = LinkConfig {
            delay: Duration::from_millis(1),
            jitter: Duration::from_millis(2),
            rate: NonZeroU64::new(8_000_000),
            queue: 9_000,
            ecn_threshold: Some(10_000),
            loss: Loss::Random(Ppm::percent(3)),
            duplicate: Ppm::percent(6),
            corrupt: Ppm::percent(7),
            reorder: Ppm::percent(4),
            reorder_by: Duration::from_millis(5),
            mtu: Some(1100),
            ..LinkConfig::default()
        };
        assert_eq!(format!("{there:?}"), format!("{expected:?}"));
        assert_eq!(format!("{back:?}"), format!("{expected:?}"));
    }

    #[test]
    fn bursts_lose_the_share_that_was_said() {
        for (text, share, length) in
            [("1%,burst=5", 0.01, 5.0), ("20%,burst=3", 0.2, 3.0), ("50%,burst=1", 0.5, 1.0)]
        {
            let (mut model, mut rng) = (LossModel::new(loss(text).unwrap()), Rng::from_number(1));
            let lost: Vec<bool> = (0..1_000_000).map(|_| model.loses(&mut rng)).collect();
            let count = lost.iter().filter(|lost| **lost).count() as f64;
            let bursts = lost.windows(2).filter(|pair| *pair == [false, true]).count() as f64;
            assert!((0.9..1.1).contains(&(count / 1_000_000.0 / share)), "{text}: {count} of a million");
            assert!((0.9..1.1).contains(&(count / bursts / length)), "{text}: {count} in {bursts} bursts");
        }
        for text in
            ["100%,burst=5", "0.0001%,burst=5", "90%,burst=5", "1%,burst=0", "1%,burst=", "1%,bust=5", "1%,"]
        {
            assert!(loss(text).is_err(), "{text}");
        }
        assert_eq!(loss("0,burst=5"), Ok(Loss::None));
    }

    #[test]
    fn an_end_is_a_device_in_a_namespace_or_without() {
        let end = |text: &str| text.parse::<EndArg>().map(|end| (end.netns, end.name));
        assert_eq!(end("tun0"), Ok((None, "tun0".to_owned())));
        assert_eq!(end("left:tun0"), Ok((Some("left".to_owned()), "tun0".to_owned())));
        assert_eq!(end("/proc/12/ns/net:t"), Ok((Some("/proc/12/ns/net".to_owned()), "t".to_owned())));
        for text in ["", ":", ":tun0", "left:"] {
            assert!(end(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_end_reads_as_it_is_shown(netns in prop::option::of("[a-z:/]{1,12}"), name in "[a-z0-9]{1,15}") {
            let end = EndArg { netns, name };
            prop_assert_eq!(end.to_string().parse(), Ok(end));
        }
    }
}
