//! `tunstack link`: two TUN devices joined by a path with faults, for whoever lacks the kernel's netem.
//!
//! Owns the way from the two ends as they were said to open devices, and what is printed; the faults are [`sim`](crate::sim)'s,
//! the loop [`runtime::cable`](crate::runtime::cable)'s.

mod args;
mod lines;

use std::io::IsTerminal as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

pub(crate) use self::args::CableArgs;
use self::args::EndArg;
use super::cli::Verbosity;
use super::failure::Failure;
use super::output::say;
use super::signals::{self, Signal, Wish};
use crate::device::host::{self, HostSide};
use crate::device::{Device, Namespace, OffloadMode, OpenTun};
use crate::rng::Rng;
use crate::runtime::cable::{Broken, Cable, Control, Passage};
use crate::sim::Link;

/// Signals and ends that wait to be heard: few come, and none is lost.
const HAPPENINGS_MAX: usize = 8;
/// How often the counters are printed as they go.
const EVERY: Duration = Duration::from_secs(1);

/// Joins the devices until SIGINT or SIGTERM.
///
/// # Errors
/// Why it could not begin, or had to end.
pub(crate) fn run(args: &CableArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let signals = signals::catch().map_err(|error| Failure::new(format!("can't catch signals: {error}")))?;
    if args.a == args.b {
        return Err(Failure::usage(format!(
            "{} can't be both ends; name two devices, as in `tunstack link tun0 tun1`",
            args.a
        )));
    }
    let mode = args.offload.into();
    let devices = [open(&args.a, mode)?, open(&args.b, mode)?];
    let seed = match args.seed {
        Some(seed) => seed,
        None => draw_seed()?,
    };
    let mut seeds = Rng::from_number(seed);
    let links = args.configs().map(|config| Link::new(config, seeds.next_u64()));
    let cannot_start = |error| Failure::new(format!("can't start the link: {error}; see `ulimit -a`"));
    let cable = Cable::new(devices, links).map_err(cannot_start)?;
    let talk = Talk {
        ends: [args.a.to_string(), args.b.to_string()],
        control: cable.control(),
        as_it_goes: !verbosity.is_quiet() && (verbosity.is_verbose() || std::io::stdout().is_terminal()),
    };

    let (tell, happenings) = sync_channel(HAPPENINGS_MAX);
    let started = signals.tell(tell.clone()).and_then(|()| {
        std::thread::Builder::new().name("tunstack link".into()).spawn(move || {
            let end = catch_unwind(AssertUnwindSafe(|| cable.run()));
            let _ = tell.send(Happening::Ended(end.ok()));
        })
    });
    started.map_err(cannot_start)?;
    print(&format!("ready: {} {} seed {seed}\n", args.a, args.b));
    talk.wait(&happenings)
}

/// Opens one end, in its namespace. A device that is made for it is set up.
fn open(end: &EndArg, offload: OffloadMode) -> Result<Arc<dyn Device>, Failure> {
    let open_here = || -> Result<Arc<dyn Device>, String> {
        let exists = host::exists(&end.name).map_err(|error| error.to_string())?;
        let tun = OpenTun::open(Some(&end.name), offload).map_err(|error| error.to_string())?;
        let OpenTun { device, index } = tun;
        if !exists {
            let name = device.name();
            let side = HostSide { name, index, addresses: &[], mtu: None, ipv6_if_available: true };
            side.set_up().map_err(|error| error.to_string())?;
        }
        Ok(device)
    };
    let opened = match &end.netns {
        None => open_here(),
        Some(netns) => {
            let there = Namespace::open(netns).and_then(|namespace| namespace.within(open_here));
            let opened = there.map_err(|error| Failure::new(error.to_string()))?;
            opened.map_err(|error| format!("in the network namespace {netns}: {error}"))
        }
    };
    opened.map_err(Failure::new)
}

/// A number that somebody can type in again.
fn draw_seed() -> Result<u64, Failure> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(|error| {
        Failure::new(format!("can't draw a random number: {error}; name one with `--seed 1`"))
    })?;
    Ok(u32::from_ne_bytes(bytes).into())
}

/// What is said while the link is up, and how it ends.
struct Talk {
    ends: [String; 2],
    control: Control,
    as_it_goes: bool,
}

/// What ends the wait.
enum Happening {
    Signal(Signal),
    /// The loop has ended by itself, or panicked.
    Ended(Option<Result<(), Broken>>),
}

impl From<Signal> for Happening {
    fn from(signal: Signal) -> Self {
        Happening::Signal(signal)
    }
}

impl Talk {
    fn wait(&self, happenings: &Receiver<Happening>) -> Result<(), Failure> {
        let mut printed = [Passage::default(); 2];
        let mut next = Instant::now() + EVERY;
        loop {
            let happening = if self.as_it_goes {
                happenings.recv_timeout(next.saturating_duration_since(Instant::now()))
            } else {
                happenings.recv().map_err(RecvTimeoutError::from)
            };
            match happening {
                Ok(Happening::Signal(signal)) => match signal.wish() {
                    Wish::Report => self.report(),
                    // The loop tells when it has ended.
                    Wish::End => self.control.unplug(),
                },
                Ok(Happening::Ended(end)) => {
                    self.report();
                    return self.explain(end);
                }
                Err(RecvTimeoutError::Timeout) => {
                    next += EVERY;
                    let now = self.control.counters();
                    // Nothing new is not worth a line.
                    if now != printed {
                        printed = now;
                        self.report();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return self.explain(None),
            }
        }
    }

    fn report(&self) {
        let [a, b] = &self.ends;
        print(&lines::counters([a, b], &self.control.counters()));
    }

    fn explain(&self, end: Option<Result<(), Broken>>) -> Result<(), Failure> {
        let [a, b] = &self.ends;
        match end {
            Some(Ok(())) => Ok(()),
            Some(Err(broken @ Broken::DeviceGone { .. })) => Err(Failure::new(format!(
                "{broken}: it was deleted while in use; start anew with `tunstack link {a} {b}`"
            ))),
            Some(Err(broken @ Broken::Failed(_))) => Err(Failure::new(format!(
                "{broken}; run again with `tunstack -v link` and report what it says"
            ))),
            None => Err(Failure::new("the link failed; please report what stands above as a bug")),
        }
    }
}

/// A reader that has closed its end is no reason to end: the link serves the network.
fn print(text: &str) {
    let _ = say(text);
}
