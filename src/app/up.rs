//! `tunstack up`: attach, announce, run until told to end.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::cli::UpArgs;
use super::failure::Failure;
use super::greeting::{Greeted, greeting};
use super::network::{self, Called, Network};
use super::output::say;
use super::report;
use super::services;
use super::signals::{self, Signal, Wish};
use crate::net::{Driver, Net};
use crate::runtime::Stopped;

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
    // A reader that has closed its end is no reason to end: the daemon serves the network.
    let _ = say(&greeting(&devices, args.forward, &args.serve));

    // All that the daemon does it does on this thread: to a process with one thread system calls are cheaper.
    let heed = heeding(net.clone(), args.stop_timeout());
    let driver = driver
        .watch(signals, move |signals| signals.take().for_each(&heed))
        .map_err(|error| Failure::new(format!("can't wait for signals: {error}")))?;
    match driver.run() {
        Stopped::Shutdown(report) => {
            log::info!("ended in {:?}: {} finished, {} reset", report.took, report.finished, report.reset);
            if log::log_enabled!(log::Level::Info) {
                report::print(&net);
            }
            Ok(())
        }
        stopped => Err(stopped_by_itself(stopped)),
    }
}

/// What is done about a signal, between two turns of the loop.
fn heeding(net: Net, stop_timeout: Duration) -> impl Fn(Signal) {
    move |signal| match signal.wish() {
        Wish::Report => print_aside(&net),
        Wish::End => {
            log::info!("{signal}: ending; a second one ends at once");
            net.shutdown(stop_timeout);
        }
    }
}

/// Prints the counters on a thread of its own: whoever reads them may pause, and the network must not.
fn print_aside(net: &Net) {
    let counted = net.clone();
    let printing = thread::Builder::new().name("report".into()).spawn(move || report::print(&counted));
    if printing.is_err() {
        report::print(net);
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
