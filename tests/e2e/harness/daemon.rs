//! The daemon under test, and the examples.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::Signal;

use super::process::{Ended, Process, run};

/// How long the daemon may take to be ready.
const READY: Duration = Duration::from_secs(10);

/// How long the daemon may take to end after a signal: its bound for open connections and some slack.
pub(crate) const STOP: Duration = Duration::from_secs(15);

/// A running `tunstack up` that has said that it is ready.
pub(crate) struct Daemon {
    process: Process,
    ready: String,
}

impl Daemon {
    /// `tunstack up` with these arguments (words parted by blanks).
    pub(crate) fn up(arguments: &str) -> Daemon {
        Daemon::start(tunstack("up").args(arguments.split_whitespace()))
    }

    /// Starts a command that ends up as a daemon, and waits for its first line.
    pub(crate) fn start(command: &mut Command) -> Daemon {
        let mut process = Process::start(command);
        let output = process.wait_for_stdout("\n", READY);
        let ready = output.lines().next().unwrap_or_default().to_owned();
        assert!(ready.starts_with("ready: "), "the first line of standard output is {ready:?}");
        Daemon { process, ready }
    }

    /// The first line of standard output.
    pub(crate) fn ready_line(&self) -> &str {
        &self.ready
    }

    /// The process.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn stop_with(&mut self, signal: Signal) -> ExitStatus {
        self.process.signal(signal);
        self.process.wait(STOP)
    }

    /// Processor time used so far, in ticks of 1/100 s, over all threads.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("the daemon runs");
        // The second field is the name in parentheses, which may hold blanks; utime and stime are 14 and 15.
        let after_name = stat.rsplit_once(')').expect("the name stands in parentheses").1;
        let fields: Vec<_> = after_name.split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u64>().expect("times are numbers");
        ticks(11) + ticks(12)
    }
}

/// The daemon's command line.
pub(crate) fn tunstack(subcommand: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tunstack"));
    command.arg(subcommand).env_remove("RUST_LOG");
    command
}

/// Runs `tunstack up` where it is expected to fail at once.
pub(crate) fn up_fails(arguments: &str) -> Ended {
    run(tunstack("up").args(arguments.split_whitespace()), READY)
}

/// An example's command line. `cargo test` builds examples beside the tests.
pub(crate) fn example(name: &str) -> Command {
    let test_binary = env::current_exe().expect("the test binary has a path");
    let profile =
        test_binary.parent().and_then(|deps| deps.parent()).expect("it lies in target/PROFILE/deps");
    let path: PathBuf = profile.join("examples").join(name);
    assert!(path.is_file(), "{} is not there: build it with `cargo build --examples`", path.display());
    let mut command = Command::new(path);
    command.env_remove("RUST_LOG");
    command
}
