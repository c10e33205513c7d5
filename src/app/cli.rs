//! The command line: what may be asked for, and what is said when it can't be understood.
//!
//! Owns the words (options, their help and their errors), not their meaning: what addresses follow from them
//! is `addressing`'s, what ports `serve`'s.

use std::ffi::OsString;
use std::num::{IntErrorKind, ParseIntError};
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::cable::CableArgs;
use super::connect::ConnectArgs;
use super::failure::Failure;
use super::links::{NetworkArgs, named};
use super::ping::PingArgs;
use super::serve::ServeList;
use crate::net::{BusyPoll, OffloadMode};
use crate::proto::config::ReversePath;

/// A TCP/IP stack in a process, behind a TUN device.
#[derive(Debug, Parser)]
#[command(name = "tunstack", version, about, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How much is logged.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Verbosity {
    /// Log more: -v connections, -vv changes of state, -vvv every segment (else RUST_LOG decides); `link` also prints its counters every second
    #[arg(short, long, action = clap::ArgAction::Count, global = true, conflicts_with = "quiet", display_order = 900)]
    verbose: u8,
    /// Log errors only; `ping` and `link` also print nothing between first line and statistics
    #[arg(short, long, global = true, display_order = 900)]
    quiet: bool,
}

impl Verbosity {
    /// Whether as little as possible is to be said.
    pub(crate) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Whether more than usual is to be said.
    pub(crate) fn is_verbose(self) -> bool {
        self.verbose > 0
    }

    /// The level asked for; `None` leaves it to `RUST_LOG` and the default.
    pub(crate) fn level(self) -> Option<log::LevelFilter> {
        match (self.quiet, self.verbose) {
            (true, _) => Some(log::LevelFilter::Error),
            (false, 0) => None,
            (false, 1) => Some(log::LevelFilter::Info),
            (false, 2) => Some(log::LevelFilter::Debug),
            (false, _) => Some(log::LevelFilter::Trace),
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Attach a stack to TUN devices and run its services until SIGINT or SIGTERM
    Up(UpArgs),
    /// Ping somebody from a stack of its own, out through a TUN device; prints what ping prints
    Ping(PingArgs),
    /// Connect to a TCP port from a stack of its own: standard input goes there, what comes goes to standard output
    Connect(ConnectArgs),
    /// Join two TUN devices by a path with delay, loss and other faults until SIGINT or SIGTERM
    Link(Box<CableArgs>),
}

/// What `tunstack up` may be told.
#[derive(Args, Clone, Debug)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    /// Send packets for others on: be a router
    #[arg(long)]
    pub(crate) forward: bool,

    /// What is asked of the source of a packet that is to be sent on
    #[arg(long, value_enum, value_name = "MODE", default_value_t = ReversePathMode::Off, requires = "forward")]
    pub(crate) reverse_path: ReversePathMode,

    /// Services and their ports, TCP and UDP, or `none`
    #[arg(long, value_name = "LIST", default_value_t, value_parser = named(str::parse::<ServeList>))]
    pub(crate) serve: ServeList,

    /// Whether the kernel is left checksums and segmentation, and super-segments are taken whole
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Offload::Auto)]
    pub(crate) offload: Offload,

    /// How long to look for packets before sleeping, after the last one came: no waking, for processor time. `auto`: up to 50, where it
    /// is tried and found to gain and to take no more of that
    #[arg(long, value_name = "MICROSECONDS|auto", default_value = "auto", value_parser = named(busy_poll))]
    pub(crate) busy_poll: BusyPoll,

    /// How long connections may take to finish after SIGINT or SIGTERM before they are reset
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=3600))]
    stop_timeout: u64,
}

impl UpArgs {
    /// How long connections may take to finish.
    pub(crate) fn stop_timeout(&self) -> Duration {
        Duration::from_secs(self.stop_timeout)
    }
}

/// What is asked of the source of a packet for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReversePathMode {
    /// Nothing
    Off,
    /// That a route leads to it
    Loose,
    /// That the best route to it leads by the device it came by
    Strict,
}

impl From<ReversePathMode> for ReversePath {
    fn from(mode: ReversePathMode) -> Self {
        match mode {
            ReversePathMode::Off => ReversePath::Off,
            ReversePathMode::Loose => ReversePath::Loose,
            ReversePathMode::Strict => ReversePath::Strict,
        }
    }
}

/// When to use the kernel's offloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Offload {
    /// If the kernel can
    Auto,
    /// Always
    On,
    /// Never
    Off,
}

impl From<Offload> for OffloadMode {
    fn from(offload: Offload) -> Self {
        match offload {
            Offload::Auto => OffloadMode::Auto,
            Offload::On => OffloadMode::On,
            Offload::Off => OffloadMode::Off,
        }
    }
}

/// What came of reading the command line.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// Something to do.
    Run(Cli),
    /// Something to print (help, version) and no more.
    Print(clap::Error),
}

/// Reads the command line.
///
/// # Errors
/// A usage [`Failure`] of one line.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, Failure> {
    let args: Vec<OsString> = args.into_iter().collect();
    match Cli::try_parse_from(&args) {
        Ok(cli) => Ok(Parsed::Run(cli)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Ok(Parsed::Print(error)),
            _ => Err(Failure::usage(one_line(&error, &args))),
        },
    }
}

/// The longest time to look for packets that can be asked for: a second.
const BUSY_POLL_MAX: u64 = 1_000_000;

fn busy_poll(text: &str) -> Result<BusyPoll, String> {
    match text.parse() {
        _ if text == "auto" => Ok(BusyPoll::Auto),
        Ok(micros @ ..=BUSY_POLL_MAX) => Ok(BusyPoll::For(Duration::from_micros(micros))),
        Ok(_) => Err(format!("{text} microseconds are more than a second, which is the most")),
        Err(_) => Err(format!("'{text}' is neither `auto` nor a number of microseconds; try `50`")),
    }
}

/// Clap's error as one line, with the command that shows how it should be.
fn one_line(error: &clap::Error, args: &[OsString]) -> String {
    let what = match (error.kind(), error.get(ContextKind::InvalidArg), std::error::Error::source(error)) {
        (ErrorKind::ValueValidation, Some(ContextValue::String(arg)), Some(cause)) => {
            let option = arg.split([' ', '=']).next().unwrap_or(arg);
            match (cause.downcast_ref::<ParseIntError>(), error.get(ContextKind::InvalidValue)) {
                (Some(no_number), Some(value)) => format!("{option}: '{value}' {}", why_no_number(no_number)),
                (Some(_) | None, _) => format!("{option}: {cause}"),
            }
        }
        _ => {
            let text = error.to_string();
            let paragraph = text.split("\n\n").next().unwrap_or(&text);
            let words: Vec<&str> = paragraph.split_whitespace().collect();
            let line = words.join(" ");
            line.strip_prefix("error: ").unwrap_or(&line).to_owned()
        }
    };
    // Errors of ours name their remedy themselves.
    if what.contains('`') {
        return what;
    }
    let first = args.iter().skip(1).find(|word| !word.as_encoded_bytes().starts_with(b"-"));
    let command = ["ping", "connect", "link"]
        .into_iter()
        .find(|name| first.is_some_and(|word| word == name))
        .unwrap_or("up");
    format!("{what}; see `tunstack {command} --help`")
}

/// What the standard library says of it is about strings and types.
fn why_no_number(error: &ParseIntError) -> &'static str {
    match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "is too large a number",
        _ => "is not a whole number",
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::links::LinkArgs;
    use super::*;

    fn parse_words(line: &str) -> Result<Parsed, Failure> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn up(line: &str) -> UpArgs {
        match parse_words(line) {
            Ok(Parsed::Run(Cli { command: Command::Up(args), .. })) => args,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn complaint(line: &str) -> String {
        match parse_words(line) {
            Err(failure) => {
                assert_eq!(failure.status(), 2, "{failure}");
                assert!(!failure.to_string().contains('\n'), "{failure}");
                failure.to_string()
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn up_alone_asks_for_every_default() {
        let args = up("tunstack up");
        assert_eq!(args.network.links.each(), [LinkArgs::default()]);
        assert!(args.network.route.is_empty() && !args.forward);
        assert_eq!(args.serve.to_string(), "echo:7,discard:9,daytime:13,chargen:19");
        assert_eq!((args.reverse_path, args.offload), (ReversePathMode::Off, Offload::Auto));
        assert_eq!(args.stop_timeout(), Duration::from_secs(5));
        assert_eq!(args.busy_poll, BusyPoll::Auto);
    }

    #[test]
    fn how_long_to_look_for_packets_is_a_number_or_found_out() {
        let poll = |value: &str| up(&format!("tunstack up --busy-poll {value}")).busy_poll;
        assert_eq!(poll("auto"), BusyPoll::Auto);
        for micros in [0, 50, 1_000_000] {
            assert_eq!(poll(&micros.to_string()), BusyPoll::For(Duration::from_micros(micros)));
        }
        insta::assert_snapshot!(complaint("tunstack up --busy-poll 1000001"), @"tunstack: --busy-poll: 1000001 microseconds are more than a second, which is the most; see `tunstack up --help`");
        insta::assert_snapshot!(complaint("tunstack up --busy-poll fast"), @"tunstack: --busy-poll: 'fast' is neither `auto` nor a number of microseconds; try `50`");
    }

    #[test]
    fn a_router_is_said_in_one_line() {
        let args = up("tunstack up --tun a --addr 10.1.0.1/24 --route 10.3.0.0/16,via=10.2.0.2 --forward \
                       --tun b --addr 10.2.0.1/24 --reverse-path strict --route 10.4.0.0/16,type=blackhole");
        let names: Vec<&str> = args.network.links.each().iter().map(LinkArgs::label).collect();
        assert_eq!(names, ["a", "b"]);
        let routes: Vec<String> = args.network.route.iter().map(ToString::to_string).collect();
        assert_eq!(routes, ["10.3.0.0/16,via=10.2.0.2", "10.4.0.0/16,type=blackhole"]);
        assert!(args.forward);
        assert_eq!(ReversePath::from(args.reverse_path), ReversePath::Strict);
    }

    #[test]
    fn ping_takes_the_letters_of_ping_and_the_devices_of_up() {
        let line =
            "tunstack ping -c 3 -i 0.2 -s 100 -t 5 -W 2 -M do -q -4 --tun a --addr 10.1.0.1/24 10.1.0.2";
        match parse_words(line) {
            Ok(Parsed::Run(Cli { command: Command::Ping(_), verbosity })) => assert!(verbosity.is_quiet()),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn verbosity_may_stand_before_or_behind_the_command() {
        for (line, level) in [
            ("tunstack up", None),
            ("tunstack -q up", Some(log::LevelFilter::Error)),
            ("tunstack up -v", Some(log::LevelFilter::Info)),
            ("tunstack -vv up", Some(log::LevelFilter::Debug)),
            ("tunstack up -vvv", Some(log::LevelFilter::Trace)),
        ] {
            match parse_words(line) {
                Ok(Parsed::Run(cli)) => assert_eq!(cli.verbosity.level(), level, "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn help_and_version_are_not_failures() {
        for line in [
            "tunstack --version",
            "tunstack --help",
            "tunstack up --help",
            "tunstack ping --help",
            "tunstack connect --help",
            "tunstack link --help",
            "tunstack",
        ] {
            assert!(matches!(parse_words(line), Ok(Parsed::Print(_))), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_said_in_one_line_with_the_remedy() {
        let lines = [
            "tunstack up --addr 10.9.0.2",
            "tunstack up --addr 10.9.0.300/24",
            "tunstack up --addr 10.9.0.2/33",
            "tunstack up --addr 10.9.0.0/24",
            "tunstack up --addr 10.9.0.255/24",
            "tunstack up --addr 127.0.0.2/8",
            "tunstack up --addr ff02::1/64",
            "tunstack up --host-addr nowhere",
            "tunstack up --serve telnet:23",
            "tunstack up --serve echo:7,discard:7",
            "tunstack up --serve echo:0",
            "tunstack up --mtu 20",
            "tunstack up --mtu large",
            "tunstack up --stop-timeout 99999999999999999999",
            "tunstack up --offload maybe",
            "tunstack up --frobnicate",
            "tunstack up --tun a --tun a",
            "tunstack up --mtu 1400 --mtu 1300",
            "tunstack up --route 10.0.0.0",
            "tunstack up --route 10.0.0.0/8,via=nobody",
            "tunstack up --route 10.0.0.0/8,type=dark",
            "tunstack up --reverse-path strict",
            "tunstack up --forward --reverse-path often",
            "tunstack ping",
            "tunstack ping -c 0 10.9.0.1",
            "tunstack ping -i 0 10.9.0.1",
            "tunstack ping -W long 10.9.0.1",
            "tunstack ping -s 65528 fd09::1",
            "tunstack ping -t 0 10.9.0.1",
            "tunstack ping -M maybe 10.9.0.1",
            "tunstack ping -4 -6 10.9.0.1",
            "tunstack connect 10.9.0.1",
            "tunstack connect 10.9.0.1 0",
            "tunstack connect 10.9.0.1 http",
            "tunstack connect -w 0 10.9.0.1 7",
            "tunstack link",
            "tunstack link tun0",
            "tunstack link tun0 :tun1",
            "tunstack link a b --delay 20",
            "tunstack link a b --delay 20ms/fast",
            "tunstack link a b --jitter 0.1ns",
            "tunstack link a b --loss 1",
            "tunstack link a b --loss 101%",
            "tunstack link a b --loss 1%,burst=none",
            "tunstack link a b --loss 90%,burst=2",
            "tunstack link a b --reorder 1%,for=5ms",
            "tunstack link a b --duplicate 0.00001%",
            "tunstack link a b --corrupt -1%",
            "tunstack link a b --rate 100mbps",
            "tunstack link a b --rate 0",
            "tunstack link a b --queue 64kB",
            "tunstack link a b --rate 1mbit --queue 64k",
            "tunstack link a b --mtu-blackhole small",
            "tunstack link a b --seed x",
            "tunstack link a b --offload maybe",
            "tunstack down",
            "tunstack -q -v up",
        ];
        let said: Vec<String> = lines.iter().map(|line| format!("$ {line}\n{}\n", complaint(line))).collect();
        insta::assert_snapshot!(said.concat());
    }
}
