//! What `tunstack ping` may be told: iputils' letters, and the devices of `tunstack up`.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::super::destination::Destination;
use super::super::failure::Failure;
use super::super::links::{NetworkArgs, named};
use super::session::Plan;
use crate::proto::MtuDiscover;

/// The most data of a request over IPv4: 65,535 bytes less the headers of IP and ICMP.
const SIZE_MAX_V4: u16 = 65_507;
/// The same over IPv6, whose length leaves its own header out.
const SIZE_MAX_V6: u16 = 65_527;
/// The shortest interval: a thousand requests a second.
const INTERVAL_MIN: Duration = Duration::from_millis(1);
/// The longest time that may be named: a day.
const SECONDS_MAX: f64 = 86_400.0;

/// What `tunstack ping` may be told.
#[derive(Args, Clone, Debug)]
pub(crate) struct PingArgs {
    #[command(flatten)]
    pub(super) destination: Destination,

    /// Stop after so many requests [default: go on until Ctrl-C]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// From one request to the next
    #[arg(short, long, value_name = "SEC", default_value = "1", value_parser = named(parse_interval))]
    interval: Duration,

    /// Bytes of data in a request
    #[arg(short, long, value_name = "BYTES", default_value_t = 56)]
    #[arg(value_parser = clap::value_parser!(u16).range(..=i64::from(SIZE_MAX_V6)))]
    pub(super) size: u16,

    /// Time to live (hop limit) of requests [default: 64]
    #[arg(short, long, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..))]
    pub(super) ttl: Option<u8>,

    /// How long to wait for a first answer after the last request
    #[arg(short = 'W', long, value_name = "SEC", default_value = "10", value_parser = named(parse_seconds))]
    wait: Duration,

    /// What to do with a request that the path doesn't take whole
    #[arg(short = 'M', long, value_enum, value_name = "HINT", default_value_t = MtuHint::Want)]
    pub(super) mtu_discovery: MtuHint,

    /// Ping a broadcast address
    #[arg(short, long)]
    pub(super) broadcast: bool,

    #[command(flatten)]
    pub(super) network: NetworkArgs,
}

/// What to do with a request that is larger than the path takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum MtuHint {
    /// Nothing: forbid fragments, here and on the way
    Do,
    /// Find out what the path takes, and make fragments here
    Want,
    /// Let routers on the way make fragments
    Dont,
}

impl From<MtuHint> for MtuDiscover {
    fn from(hint: MtuHint) -> Self {
        match hint {
            MtuHint::Do => MtuDiscover::Do,
            MtuHint::Want => MtuDiscover::Want,
            MtuHint::Dont => MtuDiscover::Dont,
        }
    }
}

impl PingArgs {
    /// The address to ping.
    ///
    /// # Errors
    /// A usage failure: no address, or of the wrong family, or too long a request for it.
    pub(super) fn resolve(&self) -> Result<IpAddr, Failure> {
        let to = self.destination.resolve(|to| format!("tunstack ping {to}"))?;
        if to.is_ipv4() && self.size > SIZE_MAX_V4 {
            return Err(Failure::usage(format!(
                "--size: {} bytes are too many for a request over IPv4; try `-s {SIZE_MAX_V4}`",
                self.size
            )));
        }
        Ok(to)
    }

    /// When to send how much.
    pub(super) fn plan(&self) -> Plan {
        Plan { count: self.count, interval: self.interval, linger: self.wait, size: usize::from(self.size) }
    }
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_seconds(text)?;
    if interval < INTERVAL_MIN {
        return Err(format!("{text} is too short an interval; try `-i {}`", INTERVAL_MIN.as_secs_f64()));
    }
    Ok(interval)
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("'{text}' is not a number of seconds up to {SECONDS_MAX}; try `0.2`"))
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};

    use super::*;

    fn read(line: &str) -> PingArgs {
        let command = PingArgs::augment_args(Command::new("ping").no_binary_name(true));
        let matches = command.try_get_matches_from(line.split(' ')).unwrap();
        PingArgs::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn an_address_is_taken_as_it_is_and_a_name_in_the_family_asked_for() {
        assert_eq!(read("10.9.0.1").resolve().unwrap(), IpAddr::from([10, 9, 0, 1]));
        assert_eq!(read("-4 localhost").resolve().unwrap(), IpAddr::from([127, 0, 0, 1]));
        insta::assert_snapshot!(read("-4 fd09::1").resolve().unwrap_err(), @"tunstack: fd09::1 is not an IPv4 address; try `tunstack ping -6 fd09::1`");
        insta::assert_snapshot!(read("-6 10.9.0.1").resolve().unwrap_err(), @"tunstack: 10.9.0.1 is not an IPv6 address; try `tunstack ping -4 10.9.0.1`");
        insta::assert_snapshot!(read("-s 65508 10.9.0.1").resolve().unwrap_err(), @"tunstack: --size: 65508 bytes are too many for a request over IPv4; try `-s 65507`");
        assert!(read("-s 65508 fd09::1").resolve().is_ok());
        let unknown = read("no.such.name.invalid").resolve().unwrap_err();
        assert!(unknown.to_string().ends_with("try an address, as in `tunstack ping 10.9.0.1`"), "{unknown}");
    }

    #[test]
    fn times_are_seconds_with_a_fraction() {
        assert_eq!(parse_seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_interval("0.001"), Ok(Duration::from_millis(1)));
        for text in ["", "x", "-1", "1e9", "inf", "nan"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
        assert_eq!(parse_interval("0").unwrap_err(), "0 is too short an interval; try `-i 0.001`");
    }
}
