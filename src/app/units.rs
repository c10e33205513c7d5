//! Quantities as people write them: `33ms`, `100mbit`, `256kB`, `0.1%`.
//!
//! Each is a decimal number with its unit behind it and nothing between, and is kept exactly: what is finer than can be
//! kept is refused, not rounded. Zero needs no unit.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::sim::Ppm;

/// A unit: how it is written, and how many of the smallest there are in it.
type Unit = (&'static str, u64);

const TIMES: &[Unit] = &[("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
const RATES: &[Unit] = &[("bit", 1), ("kbit", 1_000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)];
const SIZES: &[Unit] =
    &[("", 1), ("B", 1), ("kB", 1_000), ("KiB", 1 << 10), ("MB", 1_000_000), ("MiB", 1 << 20)];
/// In parts of a million.
const SHARES: &[Unit] = &[("%", 10_000)];

/// A time: `20us`, `1.5ms`, `2s`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let what = Quantity {
        units: TIMES,
        is: "a time, a number with us, ms or s behind it",
        finest: "1ns",
        such_as: "20ms",
    };
    what.parse(text).map(Duration::from_nanos)
}

/// A rate in decimal units, a second each: `512kbit`, `100mbit`. Not zero.
pub(crate) fn rate(text: &str) -> Result<NonZeroU64, String> {
    let what = Quantity {
        units: RATES,
        is: "a rate, a number with bit, kbit, mbit or gbit (a second) behind it",
        finest: "1bit",
        such_as: "10mbit",
    };
    let bits = what.parse(text)?;
    NonZeroU64::new(bits).ok_or_else(|| {
        format!("'{text}' would let nothing through; `none` is no limit, `--loss 100%` loses all")
    })
}

/// A number of bytes: `1400`, `1400B`, `256kB`, `1MiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let what = Quantity {
        units: SIZES,
        is: "a size, a number with B, kB, KiB, MB or MiB behind it",
        finest: "1B",
        such_as: "1500B",
    };
    what.parse(text)
}

/// A share, from 0 to 100 %: `1%`, `0.0001%`.
pub(crate) fn share(text: &str) -> Result<Ppm, String> {
    let what = Quantity {
        units: SHARES,
        is: "a share, a number with % behind it",
        finest: "0.0001%",
        such_as: "0.1%",
    };
    let ppm = what.parse(text)?;
    let within = u32::try_from(ppm).ok().map(Ppm).filter(|share| *share <= Ppm::ALWAYS);
    within.ok_or_else(|| format!("'{text}' is more than all; at most `100%`"))
}

/// What is to be understood, and what to say if it isn't.
struct Quantity {
    units: &'static [Unit],
    is: &'static str,
    finest: &'static str,
    such_as: &'static str,
}

impl Quantity {
    /// So many of the smallest unit.
    fn parse(&self, text: &str) -> Result<u64, String> {
        let Quantity { units, is, finest, such_as } = self;
        let no_such = || format!("'{text}' is not {is}; try `{such_as}`");
        let number_len = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(number_len);
        let number = Decimal::parse(number).ok_or_else(no_such)?;
        let scale = match units.iter().find(|(name, _)| *name == unit) {
            Some((_, scale)) => *scale,
            None if unit.is_empty() && number.digits == 0 => 1,
            None => return Err(no_such()),
        };
        let scaled = number.digits.checked_mul(u128::from(scale));
        let whole = scaled.ok_or_else(|| format!("'{text}' is too much; try `{such_as}`"))?;
        if whole % number.parts != 0 {
            return Err(format!("'{text}' is finer than can be kept; whole multiples of `{finest}` are"));
        }
        u64::try_from(whole / number.parts).map_err(|_| format!("'{text}' is too much; try `{such_as}`"))
    }
}

/// A decimal number: so many digits of the smallest place, of which `parts` are one.
struct Decimal {
    digits: u128,
    parts: u128,
}

impl Decimal {
    fn parse(text: &str) -> Option<Decimal> {
        let (whole, fraction) = match text.split_once('.') {
            // `1.` and `.5` are slips of the finger more often than numbers.
            Some((whole, fraction)) if whole.is_empty() || fraction.is_empty() => return None,
            Some(parted) => parted,
            None => (text, ""),
        };
        let fraction = fraction.trim_end_matches('0');
        let digits = [whole, fraction].concat().parse().ok()?;
        let parts = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        Some(Decimal { digits, parts })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_what_they_say() {
        assert_eq!(time("20us"), Ok(Duration::from_micros(20)));
        assert_eq!(time("1.5ms"), Ok(Duration::from_micros(1500)));
        assert_eq!(time("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(time("0"), Ok(Duration::ZERO));
        assert_eq!(rate("100mbit").map(NonZeroU64::get), Ok(100_000_000));
        assert_eq!(rate("0.5gbit").map(NonZeroU64::get), Ok(500_000_000));
        assert_eq!(size("256kB"), Ok(256_000));
        assert_eq!(size("256KiB"), Ok(262_144));
        assert_eq!(size("1.5MiB"), Ok(1_572_864));
        assert_eq!(size("1400"), Ok(1400));
        assert_eq!(share("1%"), Ok(Ppm(10_000)));
        assert_eq!(share("0.0001%"), Ok(Ppm(1)));
        assert_eq!(share("100.000%"), Ok(Ppm::ALWAYS));
        assert_eq!(share("0"), Ok(Ppm::NEVER));
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_an_example() {
        insta::assert_snapshot!(time("20").unwrap_err(), @"'20' is not a time, a number with us, ms or s behind it; try `20ms`");
        insta::assert_snapshot!(time("0.1ns").unwrap_err(), @"'0.1ns' is finer than can be kept; whole multiples of `1ns` are");
        insta::assert_snapshot!(time("99999999999999s").unwrap_err(), @"'99999999999999s' is too much; try `20ms`");
        insta::assert_snapshot!(rate("0").unwrap_err(), @"'0' would let nothing through; `none` is no limit, `--loss 100%` loses all");
        insta::assert_snapshot!(share("0.00005%").unwrap_err(), @"'0.00005%' is finer than can be kept; whole multiples of `0.0001%` are");
        insta::assert_snapshot!(share("100.0001%").unwrap_err(), @"'100.0001%' is more than all; at most `100%`");
        for text in
            ["", "-1ms", "1 ms", "ms", ".5ms", "1.ms", "1..2ms", "1e3ms", "+1ms", "1MS", "1ms1", "٣ms"]
        {
            assert!(time(text).is_err(), "{text:?}");
        }
        for text in ["1Mbit", "1mbps", "1", "none"] {
            assert!(rate(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        /// The model: the number of the smallest units, written out in the larger one by hand.
        #[test]
        fn a_number_written_in_a_larger_unit_means_the_same(nanos: u64, unit in 0..4usize) {
            let (name, scale) = TIMES[unit];
            let places = scale.ilog10() as usize;
            let mut text = format!("{}", nanos / scale);
            if places > 0 {
                text += &format!(".{:0places$}", nanos % scale);
            }
            prop_assert_eq!(time(&(text + name)), Ok(Duration::from_nanos(nanos)));
        }

        #[test]
        fn shares_keep_every_part_of_a_million(ppm in 0..=1_000_000_u32) {
            prop_assert_eq!(share(&format!("{}.{:04}%", ppm / 10_000, ppm % 10_000)), Ok(Ppm(ppm)));
        }

        #[test]
        fn whatever_is_said_is_understood_or_refused_in_one_line(text in "[0-9.]{0,30}[a-zA-Z% ]{0,4}|\\PC*") {
            for error in [time(&text).err(), rate(&text).err(), size(&text).err(), share(&text).err()] {
                prop_assert!(error.is_none_or(|error| error.contains('`')));
            }
        }
    }
}
