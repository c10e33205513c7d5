//! `tunstack up`: attach, announce, run until told to end.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::cli::UpArgs;
use super::failure::Failure;
use super::greeting::{Greeted, greeting};
use super::network::{self, Called, Network};
use super::output::say;
use super::report;
use super::services;
use super::signals::{self, Signal, Wish};
use crate::net::{Driver, Net};
use crate::runtime::{ShutdownReport, Stopped};

/// For how long the end waits for what is being printed.
const ASIDE_MAX: Duration = Duration::from_millis(200);

/// Runs the daemon to its end.
///
/// # Errors
/// Why it could not start, or had to end.
pub(crate) fn run(args: &UpArgs) -> Result<(), Failure> {
    // Before anything is opened, so that a signal meets a program that knows what to do with it.
    let signals = signals::catch().map_err(|error| Failure::new(format!("can't catch signals: {error}")))?;
    let network = Network::resolve(&args.network)?;
    let network = network.fit_to_host(Path::new("/proc/sys/net"))?;

    let (net, driver) = build(args, &network)?;
    let interfaces = net.interfaces();
    let devices: Vec<Greeted<'_>> = interfaces
        .iter()
        .zip(network.links())
        .map(|(interface, link)| Greeted { name: &interface.name, link })
        .collect();
    let (said, reports) = (Asides::default(), Asides::default());
    let greeting = greeting(&devices, args.forward, &args.serve);
    said.begin(move || {
        // A reader that has closed its end is no reason to end: the daemon serves the network.
        let _ = say(&greeting);
    });

    // All that the daemon does it does on this thread: to a process with one thread system calls are cheaper.
    let is_ending = Arc::new(AtomicBool::new(false));
    let heed = heeding(net.clone(), reports.clone(), args.stop_timeout(), Arc::clone(&is_ending));
    let heed_all = move |signals: &mut signals::Caught| {
        signals.take().for_each(&heed);
        ControlFlow::Continue(())
    };
    let driver = driver
        .watch(signals, heed_all)
        .map_err(|error| Failure::new(format!("can't wait for signals: {error}")))?;
    let stopped = driver.run();
    [said, reports].iter().for_each(|aside| aside.wait_for(ASIDE_MAX));
    let report = match stopped {
        Stopped::Shutdown(report) => report,
        // Who asks for the end may take the device away as well.
        Stopped::DeviceGone { .. } if is_ending.load(Ordering::Relaxed) => ShutdownReport::default(),
        stopped => return Err(stopped_by_itself(stopped)),
    };
    log::info!("ended in {:?}: {} finished, {} reset", report.took, report.finished, report.reset);
    if log::log_enabled!(log::Level::Info) {
        report::print(&net);
    }
    Ok(())
}

/// What is done about a signal, between two turns of the loop.
fn heeding(net: Net, reports: Asides, timeout: Duration, is_ending: Arc<AtomicBool>) -> impl Fn(Signal) {
    move |signal| match signal.wish() {
        Wish::Report => {
            let net = net.clone();
            reports.begin(move || report::print(&net));
        }
        Wish::End => {
            is_ending.store(true, Ordering::Relaxed);
            log::info!("{signal}: ending; a second one ends at once");
            net.shutdown(timeout);
        }
    }
}

/// What is printed on a thread of its own: whoever reads it may pause, and the network must not.
#[derive(Clone, Default)]
struct Asides(Arc<AtomicBool>);

impl Asides {
    /// Begins to print, unless the last is still being printed: then there is a reader who has more to read than is read.
    fn begin(&self, print: impl FnOnce() + Send + 'static) {
        if self.0.swap(true, Ordering::Acquire) {
            return;
        }
        let is_printing = Arc::clone(&self.0);
        let printing = thread::Builder::new().name("print".into()).spawn(move || {
            print();
            is_printing.store(false, Ordering::Release);
        });
        if printing.is_err() {
            self.0.store(false, Ordering::Release);
        }
    }

    /// Waits for what is being printed, for so long at most.
    fn wait_for(&self, limit: Duration) {
        let end = Instant::now() + limit;
        while self.0.load(Ordering::Acquire) && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn build(args: &UpArgs, network: &Network) -> Result<(Net, Driver), Failure> {
    let builder = network
        .builder(args.offload.into())
        .forwarding(args.forward)
        .reverse_path(args.reverse_path.into())
        .busy_poll(args.busy_poll);
    services::add_all(builder, &args.serve, &network.addresses()).build().map_err(|error| {
        Failure::new(network::explain(&error, &Called::now("tunstack up --addr 10.10.0.2/24")))
    })
}

fn stopped_by_itself(stopped: Stopped) -> Failure {
    match stopped {
        Stopped::DeviceGone { name } => Failure::new(format!(
            "the device {name} is gone: it was deleted while in use; start anew with `tunstack up`"
        )),
        Stopped::Shutdown(_) | Stopped::Failed { .. } => {
            Failure::new(format!("{stopped}; run again with `tunstack -v up` and report what it says"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_run_is_said_with_the_remedy() {
        let gone = stopped_by_itself(Stopped::DeviceGone { name: "tun0".into() });
        insta::assert_snapshot!(gone, @"tunstack: the device tun0 is gone: it was deleted while in use; start anew with `tunstack up`");
        assert_eq!(gone.status(), 1);
    }
}
