//! `tunstack up`: attach, announce, run until told to end.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use super::cli::UpArgs;
use super::failure::Failure;
use super::greeting::{Greeted, greeting};
use super::network::{self, Called, Network};
use super::output::say;
use super::report;
use super::services;
use super::signals::{self, Signal, Wish};
use crate::net::Net;
use crate::runtime::Stopped;

/// Signals that wait to be heeded: more say nothing new.
const WAKES_MAX: usize = 8;

/// Runs the daemon to its end.
///
/// # Errors
/// Why it could not start, or had to end.
pub(crate) fn run(args: &UpArgs) -> Result<(), Failure> {
    // Before anything is opened, so that a signal meets a program that knows what to do with it.
    let signals = signals::catch().map_err(|error| Failure::new(format!("can't catch signals: {error}")))?;
    let network = Network::resolve(&args.network)?;
    let network = network.fit_to_host(Path::new("/proc/sys/net"))?;

    let net = start(args, &network)?;
    let interfaces = net.interfaces();
    let devices: Vec<Greeted<'_>> = interfaces
        .iter()
        .zip(network.links())
        .map(|(interface, link)| Greeted { name: &interface.name, link })
        .collect();
    // A reader that has closed its end is no reason to end: the daemon serves the network.
    let _ = say(&greeting(&devices, args.forward, &args.serve));

    let (tell, wakes) = sync_channel(WAKES_MAX);
    let threads = signals.tell(tell.clone()).and_then(|()| {
        let net = net.clone();
        std::thread::Builder::new().name("stopped".into()).spawn(move || {
            let _ = tell.send(Wake::Stopped(net.wait_stopped()));
        })
    });
    threads.map_err(|error| Failure::new(format!("can't start a thread: {error}")))?;
    wait(args, &net, &wakes)
}

/// Runs until a signal asks for the end, or the stack ends by itself.
fn wait(args: &UpArgs, net: &Net, wakes: &Receiver<Wake>) -> Result<(), Failure> {
    loop {
        match wakes.recv() {
            Ok(Wake::Signal(signal)) => match signal.wish() {
                Wish::Report => report::print(net),
                Wish::End => {
                    log::info!("{signal}: ending; a second one ends at once");
                    let report = net.shutdown(args.stop_timeout());
                    log::info!(
                        "ended in {:?}: {} finished, {} reset",
                        report.took,
                        report.finished,
                        report.reset
                    );
                    if log::log_enabled!(log::Level::Info) {
                        report::print(net);
                    }
                    return Ok(());
                }
            },
            Ok(Wake::Stopped(stopped)) => return Err(stopped_by_itself(stopped)),
            Err(_) => {
                return Err(Failure::new("lost sight of the stack's threads; please report this as a bug"));
            }
        }
    }
}

/// What ends the wait.
enum Wake {
    Signal(Signal),
    Stopped(Stopped),
}

impl From<Signal> for Wake {
    fn from(signal: Signal) -> Self {
        Wake::Signal(signal)
    }
}

fn start(args: &UpArgs, network: &Network) -> Result<Net, Failure> {
    let builder = network
        .builder(args.offload.into())
        .forwarding(args.forward)
        .reverse_path(args.reverse_path.into())
        .busy_poll(args.busy_poll);
    services::add_all(builder, &args.serve, &network.addresses()).start().map_err(|error| {
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
