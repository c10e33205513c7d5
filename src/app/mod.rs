//! The daemon: command line, addresses, services, logging and the way from start to end.
//!
//! Owns what a user of the program sees: options, the lines on standard output, one line for every failure,
//! exit statuses. Knows nothing of packets; it stands on [`net`](crate::net) and
//! [`runtime`](crate::runtime), and its services on the verbs of [`Stack`](crate::proto::Stack).

mod addressing;
mod cable;
mod cli;
mod connect;
mod destination;
mod failure;
mod greeting;
mod links;
mod logging;
mod network;
mod output;
mod ping;
mod report;
mod serve;
mod services;
mod signals;
mod units;
mod up;

use std::io::Write as _;
use std::process::ExitCode;

use self::cli::{Cli, Command, Parsed};
use self::failure::Failure;

/// The program: reads the command line, does what it says, and turns how it went into an exit status.
///
/// 0 is success, 1 a failure (of `ping`: no answer), 2 a command line that can't be understood (of `ping`: any
/// trouble); a second SIGINT or SIGTERM exits
/// with 128 and the signal's number.
pub fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(failure) => {
            // Nobody is left to be told if standard error is gone.
            let _ = writeln!(std::io::stderr(), "{failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    match cli::parse(std::env::args_os())? {
        Parsed::Print(text) => {
            let asked_for = !text.use_stderr();
            // A reader that has closed its end (`| head -1`) has seen what it wanted.
            let _ = text.print();
            if asked_for {
                Ok(ExitCode::SUCCESS)
            } else {
                Err(Failure::usage("a command is missing; try `tunstack up`"))
            }
        }
        Parsed::Run(Cli { verbosity, command }) => {
            logging::start(verbosity.level());
            match command {
                Command::Up(args) => up::run(&args).map(|()| ExitCode::SUCCESS),
                Command::Ping(args) => ping::run(&args, verbosity.is_quiet()),
                Command::Link(args) => cable::run(&args, verbosity).map(|()| ExitCode::SUCCESS),
                Command::Connect(args) => connect::run(&args).map(|()| ExitCode::SUCCESS),
            }
        }
    }
}
