//! `tunstack ping`: asks somebody for echoes from a stack of its own, and prints what iputils' ping prints.
//!
//! Owns the command: the stack and the socket, the threads that wait for answers and for signals, the exit status.
//! What may be asked for is [`args`]'s, when to send and when to end [`session`]'s, the words are [`lines`]'s, the
//! numbers [`tally`]'s.

mod args;
mod lines;
mod session;
mod tally;

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use ipnet::IpNet;

pub(crate) use self::args::PingArgs;
use self::session::{Due, Session};
use super::failure::Failure;
use super::network;
use super::output::say;
use super::report;
use super::signals::{self, Signal, Wish};
use crate::net::{Net, PingSocket};
use crate::proto::ping::{PingError, PingReceived};
use crate::runtime;

/// The exit status when nobody answered.
const NO_ANSWER: u8 = 1;
/// The exit status when it could not even begin.
const TROUBLE: u8 = 2;
/// How long the end may take: there is nothing to finish.
const SHUTDOWN: Duration = Duration::from_millis(100);
/// How often one request is tried while errors about others stand in its way.
const SEND_ATTEMPTS: usize = 64;
/// Answers, errors and signals that wait to be told of. Whoever reads the lines may pause, and whoever answers may answer
/// without end: what doesn't find room waits in the socket, whose queue has a limit.
const HAPPENINGS_MAX: usize = 16;

/// Pings until told to end. The exit status says how it went, as ping's does: 0 answered, 1 not.
///
/// # Errors
/// Why it could not begin, with status 2.
pub(crate) fn run(args: &PingArgs, quiet: bool) -> Result<ExitCode, Failure> {
    begin(args, quiet).map_err(|failure| failure.with_status(TROUBLE))
}

fn begin(args: &PingArgs, quiet: bool) -> Result<ExitCode, Failure> {
    let signals = signals::catch().map_err(|error| Failure::new(format!("can't catch signals: {error}")))?;
    let to = args.resolve()?;
    let command = format!("tunstack ping --addr 10.10.0.2/24 {}", args.destination.name);
    let net = network::start_anywhere(&args.network, &command)?;
    let socket = open(args, &net, to).map_err(|error| cannot_ping(&net, to, &error))?;

    let (tell, happenings) = sync_channel(HAPPENINGS_MAX);
    let threads = signals.tell(tell.clone()).and_then(|()| listen(&socket, args.size.into(), tell));
    threads.map_err(|error| Failure::new(format!("can't start a thread: {error}")))?;
    let session = Session::new(args.plan(), runtime::now());
    let mut ping = Ping { session, net, socket, quiet, is_read: true };
    let first = format!("{}\n", lines::first(&args.destination.name, to, args.size.into()));
    ping.is_read = say(&first);
    let ended = ping.go_on(&happenings);
    say(&ping.session.statistics(&args.destination.name));
    ping.net.shutdown(SHUTDOWN);
    ended?;
    if ping.session.heard_nothing() && !ping.net.addresses().iter().any(|net| net.contains(&to)) {
        tell_of_forwarding(to);
    }
    Ok(ExitCode::from(if ping.session.was_answered() { 0 } else { NO_ANSWER }))
}

/// A ping under way.
struct Ping {
    session: Session,
    net: Net,
    socket: PingSocket,
    quiet: bool,
    /// Somebody reads the lines: there is a point in going on.
    is_read: bool,
}

/// What may happen while it waits.
enum Happening {
    Answer(PingReceived, Vec<u8>),
    Error(PingError),
    /// Receiving failed for good: the stack runs no more.
    Broken(io::Error),
    Signal(Signal),
}

impl From<Signal> for Happening {
    fn from(signal: Signal) -> Self {
        Happening::Signal(signal)
    }
}

impl Ping {
    /// Sends and waits until everything is answered, or time is up, or a signal asks for the end.
    fn go_on(&mut self, happenings: &Receiver<Happening>) -> Result<(), Failure> {
        while self.is_read {
            let now = runtime::now();
            let until = match self.session.due(now) {
                Due::End => return Ok(()),
                Due::Send(seq) => {
                    self.send(seq);
                    continue;
                }
                Due::WaitUntil(until) => until,
            };
            let nanos = until.as_nanos().saturating_sub(now.as_nanos());
            match happenings.recv_timeout(Duration::from_nanos(nanos)) {
                Ok(Happening::Answer(received, data)) => {
                    let line = self.session.answer(&received, &data);
                    self.tell(line);
                }
                Ok(Happening::Error(error)) => {
                    let line = self.session.error(&error);
                    self.tell(Some(line));
                }
                Ok(Happening::Signal(signal)) => match signal.wish() {
                    Wish::End => return Ok(()),
                    Wish::Report => report::print(&self.net),
                },
                Ok(Happening::Broken(error)) => return Err(Failure::new(error.to_string())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::new(
                        "lost sight of the stack's threads; please report this as a bug",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Sends the request that is due.
    fn send(&mut self, seq: u16) {
        let now = runtime::now();
        let (mut refused, mut alone) = (None, false);
        // ICMP errors about earlier requests stand in the way, each once, and other ones may come meanwhile. What is
        // said again, with no such error about, concerns this request.
        for _ in 0..SEND_ATTEMPTS {
            refused = self.socket.send(seq, self.session.data()).err();
            if refused.is_none() || alone {
                break;
            }
            let earlier = errors(&self.socket);
            alone = earlier.is_empty();
            for error in earlier {
                let line = self.session.error(&error);
                self.tell(Some(line));
            }
        }
        self.session.sent(now);
        let Some(error) = refused else { return };
        let what = if is_too_long(&error) {
            self.session.refused();
            format!("local error: message too long, mtu={}", self.socket.path_mtu().unwrap_or_default())
        } else {
            format!("sendmsg: {error}")
        };
        if !self.quiet {
            let _ = writeln!(io::stderr(), "ping: {what}");
        }
    }

    fn tell(&mut self, line: Option<String>) {
        if let Some(line) = line.filter(|_| !self.quiet) {
            self.is_read &= say(&(line + "\n"));
        }
    }
}

fn open(args: &PingArgs, net: &Net, to: IpAddr) -> io::Result<PingSocket> {
    let socket = PingSocket::bind(net, unspecified(to))?;
    socket.set_report_errors(true)?;
    socket.set_broadcast(args.broadcast)?;
    if let Some(ttl) = args.ttl {
        socket.set_ttl(ttl.into())?;
    }
    socket.set_mtu_discover(args.mtu_discovery.into())?;
    socket.connect(to)?;
    Ok(socket)
}

/// Hands on answers and errors from a thread of its own, as far as there is room, until the stack runs no more.
fn listen(socket: &PingSocket, size: usize, tell: SyncSender<Happening>) -> io::Result<()> {
    let socket = socket.try_clone()?;
    // Longer answers than requests are cut off at a length that shows that they were longer.
    let mut buffer = vec![0; size + 1];
    std::thread::Builder::new().name("answers".into()).spawn(move || {
        loop {
            let happened = match socket.recv(&mut buffer) {
                Ok(received) => {
                    let data = buffer.get(..received.len).unwrap_or_default().to_vec();
                    vec![Happening::Answer(received, data)]
                }
                Err(error) if error.kind() == ErrorKind::NetworkDown => vec![Happening::Broken(error)],
                // One of the errors that wait, if nobody else has told of it meanwhile.
                Err(_) => errors(&socket).into_iter().map(Happening::Error).collect(),
            };
            for happening in happened {
                let is_last = matches!(happening, Happening::Broken(_));
                if tell.send(happening).is_err() || is_last {
                    return;
                }
            }
        }
    })?;
    Ok(())
}

/// Takes the ICMP errors that wait.
fn errors(socket: &PingSocket) -> Vec<PingError> {
    std::iter::from_fn(|| socket.recv_error().ok().flatten()).collect()
}

fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error())
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}

fn cannot_ping(net: &Net, to: IpAddr, error: &io::Error) -> Failure {
    let route_says = |kind| format!("the stack's route there says so (type={kind})");
    let mend = match error.kind() {
        ErrorKind::PermissionDenied if is_broadcast(net, to) => {
            format!("it is a broadcast address; if that is meant, `tunstack ping -b {to}`")
        }
        ErrorKind::PermissionDenied => route_says("prohibit"),
        ErrorKind::HostUnreachable => route_says("unreachable"),
        ErrorKind::InvalidInput => route_says("blackhole"),
        ErrorKind::NetworkUnreachable if is_nobody(to) => "no host has that address".to_owned(),
        ErrorKind::NetworkUnreachable => {
            "no route of the stack leads there; give it one, as in `--route 0.0.0.0/0,dev=NAME`".to_owned()
        }
        _ => error.to_string(),
    };
    Failure::new(format!("can't ping {to}: {mend}"))
}

/// Whether it is a broadcast address for the stack.
fn is_broadcast(net: &Net, to: IpAddr) -> bool {
    let IpAddr::V4(to) = to else { return false };
    let is_of = |net: &IpNet| matches!(net, IpNet::V4(net) if [net.broadcast(), net.network()].contains(&to));
    to.is_broadcast() || net.addresses().iter().any(is_of)
}

/// Whether it is an address that no route can lead to.
fn is_nobody(to: IpAddr) -> bool {
    match to {
        IpAddr::V4(v4) => v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_unspecified() || v6.to_ipv4_mapped().is_some(),
    }
}

/// Whom the kernel would have to send our requests on to, and doesn't, never hears of them.
fn tell_of_forwarding(to: IpAddr) {
    let (family, switch) = match to {
        IpAddr::V4(_) => ("IPv4", "net.ipv4.ip_forward"),
        IpAddr::V6(_) => ("IPv6", "net.ipv6.conf.all.forwarding"),
    };
    let file = Path::new("/proc/sys").join(switch.replace('.', "/"));
    let is_off = fs::read_to_string(file).is_ok_and(|value| value.trim() == "0");
    // Who can bind to an address has it.
    let is_here = UdpSocket::bind((to, 0)).is_ok();
    if is_off && !is_here {
        let _ = writeln!(
            io::stderr(),
            "tunstack: nobody answered; perhaps because this machine's kernel doesn't send {family} packets on: \
             `sudo sysctl -w {switch}=1`"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Device as _, MemoryDevice, Received};
    use crate::proto::counters::DropReason;
    use crate::proto::{DeviceId, Egress, Sent};
    use std::thread;

    /// The answer to an echo request over IPv4 without options.
    fn answer_to(mut packet: Vec<u8>) -> Vec<u8> {
        let (head, icmp) = packet.split_at_mut(20);
        let (src, dst) = head[12..20].split_at_mut(4);
        src.swap_with_slice(dst);
        icmp[0] = 0;
        // The type was 8 and is 0: the checksum grows by as much, and a carry comes round.
        let sum = u32::from(u16::from_be_bytes([icmp[2], icmp[3]])) + 0x0800;
        icmp[2..4].copy_from_slice(&((sum + (sum >> 16)) as u16).to_be_bytes());
        packet
    }

    #[test]
    fn why_somebody_cannot_be_pinged_is_said_as_it_is() {
        let device = MemoryDevice::pair(1500).unwrap().0;
        let mut builder = Net::builder().device(device).addr("10.9.0.2/24");
        for (network, kind) in
            [("8.1.0.0/16", "prohibit"), ("8.2.0.0/16", "unreachable"), ("8.3.0.0/16", "blackhole")]
        {
            builder = builder.route(format!("{network},type={kind}").as_str());
        }
        let net = builder.start().unwrap();
        for (to, why) in [
            ("10.9.0.255", "it is a broadcast address; if that is meant, `tunstack ping -b 10.9.0.255`"),
            (
                "255.255.255.255",
                "it is a broadcast address; if that is meant, `tunstack ping -b 255.255.255.255`",
            ),
            ("8.1.0.1", "the stack's route there says so (type=prohibit)"),
            ("8.2.0.1", "the stack's route there says so (type=unreachable)"),
            ("8.3.0.1", "the stack's route there says so (type=blackhole)"),
            ("8.4.0.1", "no route of the stack leads there; give it one, as in `--route 0.0.0.0/0,dev=NAME`"),
            ("0.0.0.0", "no host has that address"),
            ("::ffff:10.9.0.1", "no host has that address"),
        ] {
            let to: IpAddr = to.parse().unwrap();
            let error =
                PingSocket::bind(&net, unspecified(to)).and_then(|socket| socket.connect(to)).unwrap_err();
            assert_eq!(
                cannot_ping(&net, to, &error).to_string(),
                format!("tunstack: can't ping {to}: {why}")
            );
        }
    }

    #[test]
    fn answers_without_end_that_nobody_tells_of_cost_no_memory_without_end() {
        const ANSWERS: u64 = 5000;
        let (ours, peer) = MemoryDevice::pair(1500).unwrap();
        let net = Net::builder().device(ours).addr("10.9.0.2/24").start().unwrap();
        let socket = PingSocket::bind(&net, IpAddr::from([0, 0, 0, 0])).unwrap();
        socket.connect(IpAddr::from([10, 9, 0, 1])).unwrap();
        let (tell, happenings) = sync_channel(HAPPENINGS_MAX);
        listen(&socket, 56, tell).unwrap();

        socket.send(1, &[7; 56]).unwrap();
        let mut buffer = [0; 1500];
        let request = loop {
            match peer.recv(&mut buffer) {
                Received::Packet { len, .. } => break buffer[..len].to_vec(),
                Received::Empty | Received::Gone => thread::yield_now(),
            }
        };
        let answer = answer_to(request);
        for sent in 1..=ANSWERS {
            assert_eq!(peer.send(Egress::plain(DeviceId(0), &answer, &[])), Sent::Taken);
            // The stack keeps up, and so would a listener.
            while sent % 50 == 0 && net.counters().packets_in < sent {
                thread::sleep(Duration::from_micros(100));
            }
        }
        let counters = net.counters();
        assert_eq!(counters.packets_delivered + counters.dropped(DropReason::PingQueueFull), ANSWERS);
        // What is in the socket's queue of 208 KiB, each with what it costs to keep it.
        assert!(counters.packets_delivered < 2000, "{} are kept", counters.packets_delivered);
        let told = happenings.recv_timeout(Duration::from_secs(20));
        assert!(matches!(told, Ok(Happening::Answer(received, _)) if received.seq == 1));
    }
}
