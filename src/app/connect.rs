//! `tunstack connect`: a TCP connection from a stack of its own, between standard input and standard output.
//!
//! What netcat is to the kernel's sockets. The end of the input closes our side; the command ends when both sides have
//! ended, at a reset or a signal.

use std::io::{self, IsTerminal as _, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use clap::Args;

use super::destination::Destination;
use super::failure::Failure;
use super::links::{NetworkArgs, named};
use super::network;
use super::report;
use super::signals::{self, Signal, Wish};
use crate::net::{Net, TcpStream};

/// How long the peer may take to acknowledge what is left at the end.
const FINISH: Duration = Duration::from_secs(5);
/// The longest wait that may be named: a day.
const SECONDS_MAX: u64 = 86_400;
/// Signals and ends that wait to be heard: few come, and none is lost.
const HAPPENINGS_MAX: usize = 16;
/// As much as is read at a time, from either side.
const CHUNK: usize = 64 << 10;

/// What `tunstack connect` may be told.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConnectArgs {
    #[command(flatten)]
    destination: Destination,

    /// Which port
    #[arg(value_name = "PORT", value_parser = named(parse_port))]
    port: u16,

    /// How long to wait for the connection [default: as long as TCP tries, three minutes]
    #[arg(short, long, value_name = "SEC", value_parser = named(parse_wait))]
    wait: Option<Duration>,

    #[command(flatten)]
    network: NetworkArgs,
}

/// Connects, and carries bytes both ways until the peer has ended.
///
/// # Errors
/// Why it could not connect, or how the connection broke.
pub(crate) fn run(args: &ConnectArgs) -> Result<(), Failure> {
    let signals = signals::catch().map_err(|error| Failure::new(format!("can't catch signals: {error}")))?;
    let to = args.destination.resolve(|to| format!("tunstack connect {to} {}", args.port))?;
    let command = format!("tunstack connect --addr 10.10.0.2/24 {} {}", args.destination.name, args.port);
    let net = network::start_anywhere(&args.network, &command)?;

    let (tell, happenings) = sync_channel(HAPPENINGS_MAX);
    let to = SocketAddr::new(to, args.port);
    let threads = signals.tell(tell.clone()).and_then(|()| talk(&net, to, args.wait, tell));
    threads.map_err(|error| Failure::new(format!("can't start a thread: {error}")))?;
    let ended = wait(&net, &happenings);
    // What has been typed is to arrive, whoever ended it.
    net.shutdown(FINISH);
    ended
}

/// What ends the wait, or interrupts it.
enum Happening {
    Connected(TcpStream),
    Ended(Result<(), Failure>),
    Signal(Signal),
}

impl From<Signal> for Happening {
    fn from(signal: Signal) -> Self {
        Happening::Signal(signal)
    }
}

fn wait(net: &Net, happenings: &Receiver<Happening>) -> Result<(), Failure> {
    let mut connected: Option<TcpStream> = None;
    loop {
        match happenings.recv() {
            Ok(Happening::Connected(stream)) => connected = Some(stream),
            Ok(Happening::Ended(how)) => return how,
            Ok(Happening::Signal(signal)) => match signal.wish() {
                Wish::End => {
                    // As the kernel closes what a program leaves open. If it fails there is nothing left to close.
                    let _ = connected.map(|stream| stream.shutdown(Shutdown::Both));
                    return Ok(());
                }
                Wish::Report => report::print(net),
            },
            Err(_) => {
                return Err(Failure::new("lost sight of the stack's threads; please report this as a bug"));
            }
        }
    }
}

/// Connects and carries on threads of its own, so that a signal finds somebody who listens.
fn talk(net: &Net, to: SocketAddr, wait: Option<Duration>, tell: SyncSender<Happening>) -> io::Result<()> {
    let net = net.clone();
    std::thread::Builder::new().name("connection".into()).spawn(move || {
        let connected = match wait {
            Some(wait) => TcpStream::connect_timeout(&net, &to, wait),
            None => TcpStream::connect(&net, to),
        };
        let how = connected.map_err(|error| cannot_connect(to, &error)).and_then(|stream| {
            let _ = stream.try_clone().map(|stream| tell.send(Happening::Connected(stream)));
            carry(&stream).map_err(|error| broken(to, &error))
        });
        // The receiver is gone only when the program ends anyway.
        let _ = tell.send(Happening::Ended(how));
    })?;
    Ok(())
}

/// Both ways until the peer's side ends, and then what is left of the input: a peer may have said all it has to say and
/// still listen. Somebody at a terminal would only wonder why nothing happens, so there it ends with the peer.
fn carry(stream: &TcpStream) -> io::Result<()> {
    log::info!("connected from {} to {}", stream.local_addr()?, stream.peer_addr()?);
    let output = stream.try_clone()?;
    let input = std::thread::Builder::new()
        .name("input".into())
        .spawn(move || copy(io::stdin().lock(), &output).and_then(|()| output.shutdown(Shutdown::Write)))?;
    match copy(stream, io::stdout().lock()) {
        // Whoever read along has seen what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        how => how?,
    }
    if io::stdin().is_terminal() {
        return Ok(());
    }
    input.join().unwrap_or_else(|_| Err(io::Error::other("the thread that reads the input has panicked")))
}

/// Copies to the end, each piece at once: whoever reads along is not to wait.
fn copy(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let len = match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(chunk.get(..len).unwrap_or_default())?;
        to.flush()?;
    }
}

fn cannot_connect(to: SocketAddr, error: &io::Error) -> Failure {
    let mend = match error.kind() {
        io::ErrorKind::ConnectionRefused => "it was refused: nobody listens there".to_owned(),
        io::ErrorKind::TimedOut => "nobody answered in time".to_owned(),
        io::ErrorKind::NetworkUnreachable => {
            let everywhere = match to.ip() {
                IpAddr::V4(_) => "0.0.0.0/0",
                IpAddr::V6(_) => "::/0",
            };
            format!("no route of the stack leads there; give it one, as in `--route {everywhere},dev=NAME`")
        }
        _ => error.to_string(),
    };
    Failure::new(format!("can't connect to {to}: {mend}"))
}

fn broken(to: SocketAddr, error: &io::Error) -> Failure {
    Failure::new(format!("the connection to {to} broke: {error}"))
}

fn parse_port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| format!("'{text}' is not a number from 1 to 65535; try `7`"))
}

fn parse_wait(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| format!("'{text}' is not a whole number of seconds from 1 to {SECONDS_MAX}; try `5`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_there_is_no_connection_is_said_with_the_remedy() {
        let to = "10.9.0.1:80".parse().unwrap();
        let said = |kind| cannot_connect(to, &io::Error::from(kind)).to_string();
        insta::assert_snapshot!(said(io::ErrorKind::ConnectionRefused), @"tunstack: can't connect to 10.9.0.1:80: it was refused: nobody listens there");
        insta::assert_snapshot!(said(io::ErrorKind::TimedOut), @"tunstack: can't connect to 10.9.0.1:80: nobody answered in time");
        insta::assert_snapshot!(said(io::ErrorKind::NetworkUnreachable), @"tunstack: can't connect to 10.9.0.1:80: no route of the stack leads there; give it one, as in `--route 0.0.0.0/0,dev=NAME`");
    }

    #[test]
    fn a_wait_is_some_seconds() {
        assert_eq!(parse_wait("5"), Ok(Duration::from_secs(5)));
        for text in ["", "0", "-1", "1.5", "86401", "soon"] {
            assert!(parse_wait(text).is_err(), "{text}");
        }
    }
}
