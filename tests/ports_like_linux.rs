//! Who may have a port beside whom, and who of several gets what comes: the kernel's sockets and ours have to agree.
//!
//! The kernel's run on its loopback, ours on one stack's own. Every combination of options and addresses is tried on
//! both, and what each call answers is compared.

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
use tunstack::device::MemoryDevice;
use tunstack::net::{BindOptions, Net};

/// Longer than anything here takes on a loaded machine; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(20);
const ONE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const ALL: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// What both stacks can do.
trait Sockets {
    type Udp: Udp;
    type Listener: Listener<Stream = Self::Stream>;
    type Stream: Read;

    fn new() -> Self;
    fn udp(&self, at: SocketAddr, options: BindOptions) -> io::Result<Self::Udp>;
    fn listen(&self, at: SocketAddr, options: BindOptions) -> io::Result<Self::Listener>;
    fn connect(&self, to: SocketAddr) -> io::Result<Self::Stream>;
    fn local_port(stream: &Self::Stream) -> u16;
}

trait Udp {
    fn port(&self) -> u16;
    fn connect_to(&self, port: u16);
    fn send(&self, port: u16);
    /// Whether a datagram waits.
    fn takes(&self) -> bool;
}

trait Listener {
    type Stream;
    fn port(&self) -> u16;
    fn accepts(&self) -> Option<Self::Stream>;
}

struct Kernel;
struct Ours(Net);

macro_rules! udp_and_listener {
    ($udp:ty, $listener:ty, $stream:ty) => {
        impl Udp for $udp {
            fn port(&self) -> u16 {
                self.local_addr().unwrap().port()
            }

            fn connect_to(&self, port: u16) {
                self.connect((ONE, port)).unwrap();
            }

            fn send(&self, port: u16) {
                self.send_to(b"x", (ONE, port)).unwrap();
            }

            fn takes(&self) -> bool {
                self.recv_from(&mut [0; 9]).is_ok()
            }
        }

        impl Listener for $listener {
            type Stream = $stream;

            fn port(&self) -> u16 {
                self.local_addr().unwrap().port()
            }

            fn accepts(&self) -> Option<$stream> {
                let (stream, _) = self.accept().ok()?;
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Some(stream)
            }
        }
    };
}

udp_and_listener!(std::net::UdpSocket, std::net::TcpListener, std::net::TcpStream);
udp_and_listener!(tunstack::net::UdpSocket, tunstack::net::TcpListener, tunstack::net::TcpStream);

impl Kernel {
    fn open(
        &self,
        at: SocketAddr,
        kind: SocketType,
        options: BindOptions,
    ) -> io::Result<std::os::fd::OwnedFd> {
        let fd = socket(AddressFamily::INET, kind, None)?;
        sockopt::set_socket_reuseaddr(&fd, options.reuse_addr)?;
        sockopt::set_socket_reuseport(&fd, options.reuse_port)?;
        bind(&fd, &at)?;
        Ok(fd)
    }
}

impl Sockets for Kernel {
    type Udp = std::net::UdpSocket;
    type Listener = std::net::TcpListener;
    type Stream = std::net::TcpStream;

    fn new() -> Self {
        Kernel
    }

    fn udp(&self, at: SocketAddr, options: BindOptions) -> io::Result<Self::Udp> {
        let socket = std::net::UdpSocket::from(self.open(at, SocketType::DGRAM, options)?);
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    fn listen(&self, at: SocketAddr, options: BindOptions) -> io::Result<Self::Listener> {
        let fd = self.open(at, SocketType::STREAM, options)?;
        listen(&fd, 128)?;
        let listener = std::net::TcpListener::from(fd);
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    fn connect(&self, to: SocketAddr) -> io::Result<Self::Stream> {
        std::net::TcpStream::connect(to)
    }

    fn local_port(stream: &Self::Stream) -> u16 {
        stream.local_addr().unwrap().port()
    }
}

impl Sockets for Ours {
    type Udp = tunstack::net::UdpSocket;
    type Listener = tunstack::net::TcpListener;
    type Stream = tunstack::net::TcpStream;

    fn new() -> Self {
        let (device, _other_end) = MemoryDevice::pair(1500).unwrap();
        Ours(Net::builder().device(device).addr("10.9.0.2/24").start().unwrap())
    }

    fn udp(&self, at: SocketAddr, options: BindOptions) -> io::Result<Self::Udp> {
        let socket = tunstack::net::UdpSocket::bind_with(&self.0, at, options)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    fn listen(&self, at: SocketAddr, options: BindOptions) -> io::Result<Self::Listener> {
        let listener = tunstack::net::TcpListener::bind_with(&self.0, at, options)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    fn connect(&self, to: SocketAddr) -> io::Result<Self::Stream> {
        tunstack::net::TcpStream::connect(&self.0, to)
    }

    fn local_port(stream: &Self::Stream) -> u16 {
        stream.local_addr().unwrap().port()
    }
}

const REUSE_ADDR: BindOptions = BindOptions { reuse_addr: true, reuse_port: false };
const REUSE_PORT: BindOptions = BindOptions { reuse_addr: false, reuse_port: true };
const REUSE_BOTH: BindOptions = BindOptions { reuse_addr: true, reuse_port: true };
const OPTIONS: [BindOptions; 4] = [BindOptions::NONE, REUSE_ADDR, REUSE_PORT, REUSE_BOTH];

/// What a call to bind answered, and what was asked.
type Answers = Vec<(String, Result<(), ErrorKind>)>;

fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

fn answer<T>(answers: &mut Answers, asked: String, result: io::Result<T>) {
    answers.push((asked, result.map(|_| ()).map_err(|error| error.kind())));
}

/// Two sockets on one port, with every combination of addresses and options.
fn pairs<T>(
    mut bind: impl FnMut(SocketAddr, BindOptions) -> io::Result<T>,
    port: impl Fn(&T) -> u16,
) -> Answers {
    let mut answers = Vec::new();
    for (first, second) in [(ONE, ONE), (ONE, ALL), (ONE, OTHER), (ALL, ONE), (ALL, ALL)] {
        for (theirs, ours) in OPTIONS.iter().flat_map(|a| OPTIONS.map(|b| (*a, b))) {
            let there = bind(at(first, 0), theirs).unwrap();
            let asked = format!("{first} {theirs:?}, {second} {ours:?}");
            answer(&mut answers, asked, bind(at(second, port(&there)), ours));
        }
    }
    answers
}

#[test]
fn udp_sockets_share_a_port_as_on_linux() {
    fn tell<S: Sockets>() -> Answers {
        let stack = S::new();
        pairs(|at, options| stack.udp(at, options), Udp::port)
    }
    assert_eq!(tell::<Ours>(), tell::<Kernel>());
}

#[test]
fn tcp_listeners_share_a_port_as_on_linux() {
    fn tell<S: Sockets>() -> Answers {
        let stack = S::new();
        pairs(|at, options| stack.listen(at, options), Listener::port)
    }
    assert_eq!(tell::<Ours>(), tell::<Kernel>());
}

/// Waits until a connection is there.
fn accepted<L: Listener>(listener: &L) -> L::Stream {
    let begin = std::time::Instant::now();
    loop {
        if let Some(stream) = listener.accepts() {
            return stream;
        }
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Opens a listener on a port that a connection has: accepted there or opened from there, open or in TIME-WAIT.
fn beside_a_connection<S: Sockets>(opened_from_there: bool) -> Answers {
    let stack = S::new();
    let mut answers = Vec::new();
    let all = OPTIONS.iter().flat_map(|a| OPTIONS.map(|b| (*a, b)));
    for (theirs, ours) in all.filter(|(theirs, _)| !opened_from_there || *theirs == REUSE_ADDR) {
        for (address, is_over) in [(ONE, false), (ONE, true), (ALL, false), (ALL, true), (OTHER, false)] {
            let listener = stack.listen(at(ONE, 0), theirs).unwrap();
            let client = stack.connect(at(ONE, listener.port())).unwrap();
            let server = accepted(&listener);
            let port = if opened_from_there { S::local_port(&client) } else { listener.port() };
            drop(listener);
            let mut open = Vec::new();
            if is_over {
                // Who closes first keeps the port in TIME-WAIT.
                let (first, mut second) = if opened_from_there { (client, server) } else { (server, client) };
                drop(first);
                assert_eq!(second.read(&mut [0; 1]).unwrap(), 0);
            } else {
                open = vec![client, server];
            }
            let asked = format!("{theirs:?}, {address} {ours:?}, over: {is_over}");
            answer(&mut answers, asked, stack.listen(at(address, port), ours));
            drop(open);
        }
    }
    answers
}

#[test]
fn a_listener_comes_beside_connections_that_were_accepted_as_on_linux() {
    assert_eq!(beside_a_connection::<Ours>(false), beside_a_connection::<Kernel>(false));
}

#[test]
fn a_listener_comes_beside_connections_that_were_opened_as_on_linux() {
    assert_eq!(beside_a_connection::<Ours>(true), beside_a_connection::<Kernel>(true));
}

/// Which of the sockets took what was sent. Loopback may take a moment.
fn takers<U: Udp>(sockets: &[Option<U>]) -> Vec<usize> {
    let begin = std::time::Instant::now();
    loop {
        let took = |at: &usize| sockets[*at].as_ref().is_some_and(Udp::takes);
        let takers: Vec<usize> = (0..sockets.len()).filter(took).collect();
        if !takers.is_empty() {
            return takers;
        }
        assert!(begin.elapsed() < PATIENCE, "nobody took it");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_best_of_several_udp_sockets_takes_a_datagram_as_on_linux() {
    fn tell<S: Sockets>() -> Vec<Vec<usize>> {
        let stack = S::new();
        let sender = stack.udp(at(ONE, 0), BindOptions::NONE).unwrap();
        let stranger = stack.udp(at(ONE, 0), BindOptions::NONE).unwrap();
        let first = stack.udp(at(ONE, 0), REUSE_ADDR).unwrap();
        let port = first.port();
        let mut sockets = vec![Some(first)];
        for address in [ONE, ALL, ONE] {
            sockets.push(Some(stack.udp(at(address, port), REUSE_ADDR).unwrap()));
        }
        let mut story = Vec::new();
        let tell = |story: &mut Vec<Vec<usize>>, sockets: &[Option<S::Udp>]| {
            for from in [&sender, &stranger] {
                from.send(port);
                story.push(takers(sockets));
            }
        };
        tell(&mut story, &sockets);
        // One that is connected to the sender is better than one that came later.
        sockets[1].as_ref().unwrap().connect_to(sender.port());
        tell(&mut story, &sockets);
        for gone in [3, 1, 0] {
            sockets[gone] = None;
            tell(&mut story, &sockets);
        }
        story
    }
    assert_eq!(tell::<Ours>(), tell::<Kernel>());
}

/// How many of a group of sockets got something, whether each sender stayed with one of them, and whether all that
/// one of them had goes to the others once it is gone.
#[test]
fn a_group_of_udp_sockets_shares_the_load_as_on_linux() {
    fn tell<S: Sockets>() -> (Vec<bool>, bool, Vec<bool>) {
        let stack = S::new();
        let first = stack.udp(at(ONE, 0), REUSE_PORT).unwrap();
        let port = first.port();
        let mut group = vec![Some(first)];
        group.extend((0..2).map(|_| Some(stack.udp(at(ONE, port), REUSE_PORT).unwrap())));
        let senders: Vec<S::Udp> =
            (0..64).map(|_| stack.udp(at(ONE, 0), BindOptions::NONE).unwrap()).collect();
        let taker = |group: &[Option<S::Udp>], from: &S::Udp| {
            from.send(port);
            let takers = takers(group);
            assert_eq!(takers.len(), 1);
            takers[0]
        };
        let before: Vec<usize> = senders.iter().map(|from| taker(&group, from)).collect();
        let again: Vec<usize> = senders.iter().map(|from| taker(&group, from)).collect();
        group[1] = None;
        let after: Vec<usize> = senders.iter().map(|from| taker(&group, from)).collect();
        let served = |takers: &[usize]| (0..3).map(|at| takers.contains(&at)).collect();
        (served(&before), before == again, served(&after))
    }
    assert_eq!(tell::<Ours>(), tell::<Kernel>());
    assert_eq!(tell::<Ours>(), (vec![true; 3], true, vec![true, false, true]));
}

#[test]
fn a_group_of_listeners_shares_the_connections_and_one_that_goes_takes_those_that_wait_with_it() {
    fn tell<S: Sockets>() -> (Vec<bool>, Vec<bool>, bool) {
        let stack = S::new();
        let first = stack.listen(at(ONE, 0), REUSE_PORT).unwrap();
        let port = first.port();
        let mut group = vec![Some(first)];
        group.extend((0..2).map(|_| Some(stack.listen(at(ONE, port), REUSE_PORT).unwrap())));
        let shares = |group: &[Option<S::Listener>]| -> Vec<bool> {
            let mut served = vec![false; group.len()];
            for _ in 0..64 {
                let _client = stack.connect(at(ONE, port)).unwrap();
                let begin = std::time::Instant::now();
                loop {
                    let accepts = |at: &usize| group[*at].as_ref().is_some_and(|it| it.accepts().is_some());
                    if let Some(at) = (0..group.len()).find(accepts) {
                        served[at] = true;
                        break;
                    }
                    assert!(begin.elapsed() < PATIENCE);
                    std::thread::yield_now();
                }
            }
            served
        };
        let before = shares(&group);
        group[1] = None;
        let after = shares(&group);
        // Connections that wait for the one that goes are reset; there is only one left to wait for.
        group[2] = None;
        let mut waiting = stack.connect(at(ONE, port)).unwrap();
        group[0] = None;
        let end = waiting.read(&mut [0; 1]);
        (before, after, end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset))
    }
    assert_eq!(tell::<Ours>(), tell::<Kernel>());
    assert_eq!(tell::<Ours>(), (vec![true; 3], vec![true, false, true], true));
}
