//! The command line: what may be asked for, and what is said when it can't be understood.
//!
//! Owns the words (options, their help and their errors), not their meaning: what addresses follow from them
//! is `addressing`'s, what ports `serve`'s.

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::{StringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use super::addressing::{HostAddr, parse_cidr, parse_host_addr};
use super::failure::Failure;
use super::serve::ServeList;

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
    /// Log more: -v connections, -vv changes of state, -vvv every segment (else RUST_LOG decides)
    #[arg(short, long, action = clap::ArgAction::Count, global = true, conflicts_with = "quiet")]
    verbose: u8,
    /// Log errors only
    #[arg(short, long, global = true)]
    quiet: bool,
}

impl Verbosity {
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
    /// Attach a stack to a TUN device and run its services until SIGINT or SIGTERM
    Up(UpArgs),
}

/// What `tunstack up` may be told.
#[derive(Args, Clone, Debug)]
pub(crate) struct UpArgs {
    /// TUN device to attach to, made if it doesn't exist [default: the next free tunN, always made anew]
    #[arg(long, value_name = "NAME")]
    pub(crate) tun: Option<String>,

    /// Address of the stack; repeat for more [default: 10.9.0.2/24 and fd09::2/64]
    #[arg(long, value_name = "CIDR", value_parser = named(parse_cidr))]
    pub(crate) addr: Vec<IpNet>,

    /// Address of the kernel's side; repeat for more. `none` leaves address, MTU and link of the kernel's
    /// side alone [default: the first free address of each --addr network; 10.9.0.1/24 and fd09::1/64]
    #[arg(long, value_name = "CIDR|none", value_parser = named(parse_host_addr))]
    pub(crate) host_addr: Vec<HostAddr>,

    /// Services and their ports, TCP and UDP, or `none`
    #[arg(long, value_name = "LIST", default_value_t, value_parser = named(str::parse::<ServeList>))]
    pub(crate) serve: ServeList,

    /// Largest datagram in bytes [default: what the device has; 1500 on a new one]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(68..))]
    pub(crate) mtu: Option<u16>,

    /// Checksum and segmentation offload with the kernel; this version has the plain device only
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Offload::Auto)]
    pub(crate) offload: Offload,

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

/// When to use the kernel's offloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Offload {
    /// If the device can
    Auto,
    /// Always
    On,
    /// Never
    Off,
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
    match Cli::try_parse_from(args) {
        Ok(cli) => Ok(Parsed::Run(cli)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Ok(Parsed::Print(error)),
            _ => Err(Failure::usage(one_line(&error))),
        },
    }
}

/// A value parser whose errors are sentences of ours.
fn named<T, E>(parse: fn(&str) -> Result<T, E>) -> impl TypedValueParser<Value = T>
where
    T: Clone + Send + Sync + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync + 'static>> + 'static,
{
    StringValueParser::new().try_map(move |text| parse(&text))
}

/// Clap's error as one line, with the command that shows how it should be.
fn one_line(error: &clap::Error) -> String {
    let what = match (error.kind(), error.get(ContextKind::InvalidArg), std::error::Error::source(error)) {
        (ErrorKind::ValueValidation, Some(ContextValue::String(arg)), Some(cause)) => {
            let option = arg.split([' ', '=']).next().unwrap_or(arg);
            format!("{option}: {cause}")
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
    if what.contains('`') { what } else { format!("{what}; see `tunstack up --help`") }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse_words(line: &str) -> Result<Parsed, Failure> {
        parse(line.split(' ').map(OsString::from))
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
        assert_eq!(args.tun, None);
        assert!(args.addr.is_empty() && args.host_addr.is_empty());
        assert_eq!(args.serve.to_string(), "echo:7,discard:9,daytime:13,chargen:19");
        assert_eq!((args.mtu, args.offload), (None, Offload::Auto));
        assert_eq!(args.stop_timeout(), Duration::from_secs(5));
    }

    #[test]
    fn options_that_repeat_are_kept_in_order() {
        let args =
            up("tunstack up --addr 10.1.0.2/24 --addr fd01::2/64 --host-addr 10.1.0.1/24 --offload off");
        assert_eq!(args.addr, ["10.1.0.2/24".parse().unwrap(), "fd01::2/64".parse().unwrap()]);
        assert_eq!(args.host_addr, [HostAddr::Net("10.1.0.1/24".parse().unwrap())]);
        assert_eq!(args.offload, Offload::Off);
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
        for line in ["tunstack --version", "tunstack --help", "tunstack up --help", "tunstack"] {
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
            "tunstack up --offload maybe",
            "tunstack up --frobnicate",
            "tunstack down",
            "tunstack -q -v up",
        ];
        let said: Vec<String> = lines.iter().map(|line| format!("$ {line}\n{}\n", complaint(line))).collect();
        insta::assert_snapshot!(said.concat());
    }
}
