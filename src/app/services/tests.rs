//! The services on a stack, spoken to by another stack, in virtual time.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::serve::ServiceKind;
use super::chargen::{Chargen, pattern};
use super::daytime::Daytime;
use super::discard::Discard;
use super::echo::Echo;
use super::pipe::Talk;
use super::tcp::TcpService;
use super::udp::{GuardedPorts, UdpService};
use crate::proto::stack::{Progress, Shutdown};
use crate::proto::{
    Config, DeviceId, Egress, Error, Owner, Packet, Secrets, Sent, SocketId, Stack, TcpId, UdpId,
};
use crate::runtime::Service;
use crate::time::Instant;

const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 2));
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 1));
const PORT: u16 = 7777;

/// One of the two stacks, with the packets on their way to it.
struct Host {
    stack: Stack,
    device: DeviceId,
    arriving: VecDeque<Vec<u8>>,
}

impl Host {
    fn new(addr: IpAddr, secret: u64) -> Self {
        let mut stack = Stack::new(Config::default(), &Secrets::from_number(secret), Instant::ZERO);
        let device = stack.add_interface(1500);
        stack.add_address(device, ipnet::IpNet::new(addr, 24).unwrap()).unwrap();
        Host { stack, device, arriving: VecDeque::new() }
    }

    /// Sends to the other host; a bounded number of packets, as a device would take.
    fn transmit(&mut self, now: Instant, to: &mut Host) {
        let arriving = &mut to.arriving;
        let progress = self.stack.transmit(now, &mut |egress: Egress<'_>| {
            if arriving.len() >= 400 {
                return Sent::Busy;
            }
            let mut bytes = Vec::new();
            egress.copy_to(&mut bytes);
            arriving.push_back(bytes);
            Sent::Taken
        });
        assert!(matches!(progress, Progress::Idle | Progress::Busy | Progress::More));
    }

    fn receive_all(&mut self, now: Instant) {
        for bytes in std::mem::take(&mut self.arriving) {
            self.stack.receive(self.device, &Packet::plain(&bytes, now));
        }
    }
}

/// A service on one stack, and a client stack beside it.
struct World {
    now: Instant,
    server: Host,
    client: Host,
    service: Box<dyn Service>,
}

impl World {
    fn new(service: impl Service + 'static) -> Self {
        let mut world = World {
            now: Instant::ZERO,
            server: Host::new(SERVER, 1),
            client: Host::new(CLIENT, 2),
            service: Box::new(service),
        };
        world.service.start(&mut world.server.stack, Owner(1), world.now).unwrap();
        world
    }

    fn tcp<T: Talk>(talk: T) -> Self {
        World::new(TcpService::new(talk, PORT, &[SERVER]))
    }

    fn udp(kind: ServiceKind) -> Self {
        World::new(UdpService::new(kind, PORT, &[SERVER], GuardedPorts::new([PORT].into_iter())))
    }

    /// Lets packets and events go back and forth for a while.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.server.receive_all(self.now);
            while let Some(event) = self.server.stack.next_event() {
                assert_eq!(event.owner, Owner(1));
                self.service.on_event(&mut self.server.stack, event, self.now);
            }
            self.server.transmit(self.now, &mut self.client);
            self.client.receive_all(self.now);
            while self.client.stack.next_event().is_some() {}
            self.client.transmit(self.now, &mut self.server);
            if !self.server.arriving.is_empty() || !self.client.arriving.is_empty() {
                continue;
            }
            let deadlines = [self.server.stack.deadline(), self.client.stack.deadline()];
            match deadlines.into_iter().flatten().min() {
                Some(next) if next <= end => self.now = next.max(self.now + Duration::from_nanos(1)),
                _ => break,
            }
            self.server.stack.advance(self.now);
            self.client.stack.advance(self.now);
        }
        self.now = end;
    }

    /// Lets packets go back and forth so many times; events wait.
    fn exchange(&mut self, times: usize) {
        for _ in 0..times {
            self.client.transmit(self.now, &mut self.server);
            self.server.receive_all(self.now);
            self.server.transmit(self.now, &mut self.client);
            self.client.receive_all(self.now);
        }
    }

    fn connect(&mut self) -> TcpId {
        let to = SocketAddr::new(SERVER, PORT);
        let id = self.client.stack.tcp_connect(self.now, None, to, None, Owner::APPLICATION).unwrap();
        self.run(Duration::from_millis(1));
        assert_eq!(self.client.stack.tcp_connect_result(id), Ok(()));
        id
    }

    /// Reads what has come, at most `limit` bytes; says whether the stream has ended.
    fn read(&mut self, id: TcpId, limit: usize, into: &mut Vec<u8>) -> bool {
        let (mut buffer, mut left) = (vec![0; 10_000], limit);
        while left > 0 {
            let len = buffer.len().min(left);
            match self.client.stack.tcp_read(self.now, id, &mut buffer[..len]) {
                Ok(0) => return true,
                Ok(len) => {
                    into.extend_from_slice(&buffer[..len]);
                    left -= len;
                }
                Err(Error::WouldBlock) => return false,
                Err(error) => panic!("{error} after {} bytes", into.len()),
            }
        }
        false
    }

    fn shutdown_write(&mut self, id: TcpId) {
        self.client.stack.tcp_shutdown(self.now, id, Shutdown::Write).unwrap();
    }

    fn server_sockets(&self) -> usize {
        self.server.stack.tcp_census().sockets
    }
}

const MOMENT: Duration = Duration::from_millis(50);

#[test]
fn echo_returns_every_byte_to_a_client_that_reads_slowly_and_half_closes() {
    let mut world = World::tcp(Echo);
    let id = world.connect();
    let sent: Vec<u8> = (0..6_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (mut written, mut received) = (0, Vec::new());
    // Nothing is read at first: everything between the two fills up and the service has to hold back.
    for round in 0..10_000 {
        while written < sent.len() {
            match world.client.stack.tcp_write(world.now, id, &sent[written..]) {
                Ok(len) => written += len,
                Err(Error::WouldBlock) => break,
                Err(error) => panic!("{error}"),
            }
            if written == sent.len() {
                world.shutdown_write(id);
            }
        }
        world.run(MOMENT);
        if round == 20 {
            assert!(written < sent.len(), "back-pressure reaches the client");
        }
        if round > 20 && world.read(id, 20_000, &mut received) {
            break;
        }
    }
    assert!(received == sent, "{} bytes of {} came back", received.len(), sent.len());
    world.run(MOMENT);
    assert_eq!(world.server_sockets(), 0, "the service lets go of what has ended");
    assert_eq!(world.server.stack.tcp_census().pages, 0);
}

#[test]
fn a_thousand_echo_connections_live_side_by_side_and_leave_nothing() {
    let mut world = World::tcp(Echo);
    let ids: Vec<TcpId> = (0..1000).map(|_| world.connect()).collect();
    for (i, id) in ids.iter().enumerate() {
        world.client.stack.tcp_write(world.now, *id, format!("number {i}").as_bytes()).unwrap();
    }
    world.run(MOMENT);
    for (i, id) in ids.iter().enumerate() {
        let mut line = Vec::new();
        assert!(!world.read(*id, 100, &mut line));
        assert_eq!(line, format!("number {i}").into_bytes());
        world.client.stack.tcp_close(world.now, *id);
    }
    world.run(MOMENT);
    assert_eq!(world.server_sockets(), 0);
}

#[test]
fn chargen_never_loses_its_place_and_stops_when_the_client_is_gone() {
    let mut world = World::tcp(Chargen::new());
    let id = world.connect();
    let mut received = Vec::new();
    for limit in [1, 10_000, 70_000, 3, 500_000, 900_000] {
        world.run(MOMENT);
        world.read(id, limit, &mut received);
    }
    assert!(received.len() > 500_000);
    assert!(received[..] == pattern(received.len())[..]);
    world.client.stack.tcp_close(world.now, id);
    world.run(MOMENT);
    assert_eq!(world.server_sockets(), 0);
}

#[test]
fn discard_takes_all_and_says_nothing() {
    let mut world = World::tcp(Discard);
    let id = world.connect();
    let mut written = 0;
    while written < 5_000_000 {
        match world.client.stack.tcp_write(world.now, id, &[0; 100_000]) {
            Ok(len) => written += len,
            Err(Error::WouldBlock) => world.run(MOMENT),
            Err(error) => panic!("{error}"),
        }
    }
    world.shutdown_write(id);
    world.run(MOMENT);
    let mut received = Vec::new();
    assert!(world.read(id, 100, &mut received) && received.is_empty());
    assert_eq!(world.server_sockets(), 0);
}

#[test]
fn daytime_says_its_line_and_keeps_only_so_many_that_do_not_go() {
    let mut world = World::tcp(Daytime);
    for _ in 0..1030 {
        let id = world.connect();
        world.run(Duration::from_millis(1));
        let mut line = Vec::new();
        assert!(world.read(id, 100, &mut line));
        assert!(line.ends_with(b"-UTC\r\n"));
    }
    // The others are the stack's to forget: nobody's connections in FIN-WAIT-2.
    let patience = world.server.stack.config().fin_wait2_timeout;
    world.run(patience + MOMENT);
    assert_eq!(world.server_sockets(), 1024);
}

#[test]
fn at_the_end_idle_connections_get_a_fin_and_owed_bytes_are_still_echoed() {
    let mut world = World::tcp(Echo);
    let (idle, busy) = (world.connect(), world.connect());
    // More than the send buffer and the client's window hold, so that some of it still waits to be echoed.
    let mut written = 0;
    for _ in 0..10 {
        written += world.client.stack.tcp_write(world.now, busy, &[b'x'; 200_000]).unwrap();
        world.run(MOMENT);
    }
    world.service.on_closing(&mut world.server.stack, world.now);
    world.run(MOMENT);
    let to = SocketAddr::new(SERVER, PORT);
    let late = world.client.stack.tcp_connect(world.now, None, to, None, Owner::APPLICATION).unwrap();
    world.run(MOMENT);
    assert_eq!(world.client.stack.tcp_connect_result(late), Err(Error::ConnectionRefused));
    assert!(world.read(idle, 1, &mut Vec::new()), "an idle connection is closed at once");

    let mut received = Vec::new();
    for _ in 0..2000 {
        if world.read(busy, 100_000, &mut received) {
            break;
        }
        world.run(MOMENT);
    }
    assert_eq!(received.len(), written);
    world.run(MOMENT);
    assert_eq!(world.server.stack.tcp_unfinished(), 0, "nothing is left to wait for");
}

#[test]
fn at_the_end_chargen_stops() {
    let mut world = World::tcp(Chargen::new());
    let id = world.connect();
    world.run(MOMENT);
    world.service.on_closing(&mut world.server.stack, world.now);
    let mut received = Vec::new();
    for _ in 0..1000 {
        if world.read(id, 100_000, &mut received) {
            break;
        }
        world.run(MOMENT);
    }
    assert!(received[..] == pattern(received.len())[..]);
    world.run(MOMENT);
    assert_eq!(world.server.stack.tcp_unfinished(), 0, "nothing is left to wait for");
}

#[test]
fn all_who_wait_are_served_by_one_event_and_no_other_repeats_it() {
    let mut world = World::tcp(Echo);
    let to = SocketAddr::new(SERVER, PORT);
    let stack = &mut world.client.stack;
    let ids = [(); 5].map(|()| stack.tcp_connect(world.now, None, to, None, Owner::APPLICATION).unwrap());
    world.exchange(2);
    // Some have said something before they are accepted, and one has no more to say.
    for (id, text) in ids.iter().zip([&b"one"[..], b"two", b"three"]) {
        assert_eq!(world.client.stack.tcp_write(world.now, *id, text), Ok(text.len()));
    }
    world.client.stack.tcp_shutdown(world.now, ids[2], Shutdown::Write).unwrap();
    world.exchange(1);
    let event = world.server.stack.next_event().expect("of the listener");
    assert!(matches!(event.socket, SocketId::Listener(_)) && world.server.stack.next_event().is_none());
    world.service.on_event(&mut world.server.stack, event, world.now);
    assert_eq!(world.server.stack.next_event(), None);
    for id in &ids[3..] {
        assert_eq!(world.client.stack.tcp_write(world.now, *id, b"later"), Ok(5));
    }
    world.run(MOMENT);
    for (id, text) in ids.into_iter().zip([&b"one"[..], b"two", b"three", b"later", b"later"]) {
        let mut received = Vec::new();
        assert_eq!(world.read(id, 10, &mut received), text == b"three", "the end");
        assert_eq!(received, text);
    }
    assert_eq!(world.server.stack.tcp_census().sockets, 4);
}

#[test]
fn a_port_that_is_taken_is_reported_and_nothing_stays_open() {
    let mut world = World::tcp(Echo);
    let mut second = TcpService::new(Discard, PORT, &[SERVER]);
    let error = second.start(&mut world.server.stack, Owner(2), world.now).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert_eq!(world.server.stack.tcp_census().listeners, 1);
}

fn ask(world: &mut World, from: u16, question: &[u8]) -> Option<Vec<u8>> {
    let local = SocketAddr::new(CLIENT, from);
    let socket: UdpId = world.client.stack.udp_bind(world.now, local, Owner::APPLICATION).unwrap();
    let to = SocketAddr::new(SERVER, PORT);
    assert_eq!(world.client.stack.udp_send_to(world.now, socket, question, Some(to)), Ok(question.len()));
    world.run(MOMENT);
    let mut answer = vec![0; 2000];
    let received = world.client.stack.udp_recv_from(socket, &mut answer);
    world.client.stack.udp_close(world.now, socket);
    match received {
        Ok((len, from)) => {
            assert_eq!(from, to);
            answer.truncate(len);
            Some(answer)
        }
        Err(Error::WouldBlock) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn udp_echo_answers_anybody_but_a_service() {
    let mut world = World::udp(ServiceKind::Echo);
    assert_eq!(ask(&mut world, 40_000, b"hello"), Some(b"hello".to_vec()));
    assert_eq!(ask(&mut world, 40_000, b""), Some(Vec::new()));
    for port in [7, 9, 13, 19, PORT] {
        assert_eq!(ask(&mut world, port, b"hello"), None, "{port}");
    }
    assert_eq!(ask(&mut world, 40_000, b"hello"), Some(b"hello".to_vec()));
}

#[test]
fn udp_discard_is_silent_and_daytime_and_chargen_answer_anything() {
    assert_eq!(ask(&mut World::udp(ServiceKind::Discard), 40_000, b"hello"), None);
    assert!(ask(&mut World::udp(ServiceKind::Daytime), 40_000, b"").unwrap().ends_with(b"-UTC\r\n"));
    assert!(ask(&mut World::udp(ServiceKind::Chargen), 40_000, b"").unwrap().len() <= 512);
}
