//! smoltcp as the other host: a TCP that shares nothing with ours.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::{icmp, tcp, udp};
use smoltcp::time::Instant as SmolInstant;
use smoltcp::wire::{HardwareAddress, IpCidr};
use tunstack::sim::Node;
use tunstack::time::Instant;

use super::host::{Conn, Host, Io};
use super::ours::OurHost;
use crate::support::wire;

/// Packets to and from the interface.
struct Wire {
    arrived: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
    mtu: usize,
}

struct Arrived(Vec<u8>);

struct Room<'a>(&'a mut Vec<Vec<u8>>);

impl phy::RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut bytes = vec![0; len];
        let result = f(&mut bytes);
        self.0.push(bytes);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, _now: SmolInstant) -> Option<(Arrived, Room<'_>)> {
        let bytes = self.arrived.pop_front()?;
        Some((Arrived(bytes), Room(&mut self.sent)))
    }

    fn transmit(&mut self, _now: SmolInstant) -> Option<Room<'_>> {
        Some(Room(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

/// A host that runs smoltcp.
pub(crate) struct SmolHost {
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    ip: IpAddr,
    listening: Option<(u16, Vec<SocketHandle>)>,
    conns: Vec<SocketHandle>,
    /// Text of connections that have seen the peer's FIN: smoltcp forgets what is unread when it closes.
    rest: HashMap<Conn, VecDeque<u8>>,
    released: Vec<SocketHandle>,
    udp: Option<SocketHandle>,
    ping: Option<SocketHandle>,
    recv_buffer: usize,
    send_buffer: usize,
    nagle: bool,
    next_port: u16,
}

impl SmolHost {
    pub(crate) fn new(
        seed: u64,
        net: &str,
        mtu: usize,
        recv_buffer: usize,
        send_buffer: usize,
        nagle: bool,
    ) -> SmolHost {
        let mut wire = Wire { arrived: VecDeque::new(), sent: Vec::new(), mtu };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, SmolInstant::ZERO);
        let net: IpCidr = net.parse().unwrap();
        interface.update_ip_addrs(|addresses| addresses.push(net).unwrap());
        SmolHost {
            wire,
            interface,
            sockets: SocketSet::new(Vec::new()),
            ip: net.address().into(),
            listening: None,
            conns: Vec::new(),
            rest: HashMap::new(),
            released: Vec::new(),
            udp: None,
            ping: None,
            recv_buffer,
            send_buffer,
            nagle,
            next_port: 50_000,
        }
    }

    fn tcp(&mut self, conn: Conn) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.conns[conn])
    }

    fn take_rests(&mut self) {
        for (conn, handle) in self.conns.iter().enumerate() {
            if self.rest.contains_key(&conn) {
                continue;
            }
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(*handle);
            let ended =
                [tcp::State::CloseWait, tcp::State::Closing, tcp::State::LastAck, tcp::State::TimeWait];
            if ended.contains(&socket.state()) {
                let mut rest = VecDeque::new();
                while let Ok(1..) = socket.recv(|bytes| {
                    rest.extend(bytes.iter());
                    (bytes.len(), bytes.len())
                }) {}
                self.rest.insert(conn, rest);
            }
        }
    }

    fn new_socket(&mut self) -> SocketHandle {
        let buffer = |len: usize| tcp::SocketBuffer::new(vec![0; len]);
        let mut socket = tcp::Socket::new(buffer(self.recv_buffer), buffer(self.send_buffer));
        socket.set_nagle_enabled(self.nagle);
        // smoltcp 0.14 can stall with no timer running: when an old ACK with a window of zero arrives late (it keeps
        // no SND.WL1), and when it has fast-retransmitted past a small window. A keep-alive makes us tell our
        // window again.
        socket.set_keep_alive(Some(smoltcp::time::Duration::from_secs(1)));
        self.sockets.add(socket)
    }

    fn new_listening(&mut self, port: u16) -> SocketHandle {
        let handle = self.new_socket();
        self.sockets.get_mut::<tcp::Socket<'_>>(handle).listen(port).unwrap();
        handle
    }

    /// Sends whatever isn't of its own network by way of a router.
    pub(crate) fn add_default_route(&mut self, router: IpAddr) {
        let routes = self.interface.routes_mut();
        match router {
            IpAddr::V4(router) => routes.add_default_ipv4_route(router).map(drop).unwrap(),
            IpAddr::V6(router) => routes.add_default_ipv6_route(router).map(drop).unwrap(),
        }
    }

    /// Opens an ICMP socket for echo requests with this identifier.
    pub(crate) fn ping_bind(&mut self, ident: u16) {
        let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 64], vec![0; 1 << 18]);
        let mut socket = icmp::Socket::new(buffer(), buffer());
        socket.bind(icmp::Endpoint::Ident(ident)).unwrap();
        self.ping = Some(self.sockets.add(socket));
    }

    /// Sends a whole ICMP message (checksum left to smoltcp's emitter by the caller).
    pub(crate) fn ping_send(&mut self, message: &[u8], to: IpAddr) {
        let socket = self.sockets.get_mut::<icmp::Socket<'_>>(self.ping.unwrap());
        socket.send_slice(message, to.into()).unwrap();
    }

    /// Takes an ICMP message that came for the identifier.
    pub(crate) fn ping_recv(&mut self) -> Option<(Vec<u8>, IpAddr)> {
        let socket = self.sockets.get_mut::<icmp::Socket<'_>>(self.ping?);
        let (bytes, from) = socket.recv().ok()?;
        Some((bytes.to_vec(), from.into()))
    }
}

fn smol(now: Instant) -> SmolInstant {
    SmolInstant::from_micros(now.as_micros() as i64)
}

/// smoltcp 0.14 sends keep-alive probes with an octet of zero, and does so with text in flight, too: if that is lost, the
/// zero takes the place of what it will send there again. Such a probe is made one without an octet, at a sequence number
/// that has long been acknowledged.
fn without_garbage(packet: Vec<u8>) -> Vec<u8> {
    match wire::Tcp::decode(&packet) {
        Some(tcp) if tcp.payload == [0] && tcp.flags == wire::ACK => {
            let seq = tcp.seq.wrapping_sub(1 << 30);
            wire::Tcp { seq, payload: Vec::new(), ..tcp }.encode()
        }
        Some(_) | None => packet,
    }
}

impl Node for SmolHost {
    fn receive(&mut self, _now: Instant, _port: usize, packet: &[u8]) {
        self.wire.arrived.push_back(packet.to_vec());
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<(usize, Vec<u8>)>) -> bool {
        self.interface.poll(smol(now), &mut self.wire, &mut self.sockets);
        self.take_rests();
        // They stay in the set: smoltcp gives a segment to the first socket that takes it, and a listening one in the
        // place of an old one would take the repeated SYN of a connection that another has half open.
        let sockets = &self.sockets;
        self.released.retain(|handle| sockets.get::<tcp::Socket<'_>>(*handle).is_open());
        let any = !self.wire.sent.is_empty();
        out.extend(self.wire.sent.drain(..).map(|packet| (0, without_garbage(packet))));
        any
    }

    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let at = self.interface.poll_at(smol(now), &self.sockets)?;
        let at = Instant::from_nanos(at.total_micros().max(0) as u64 * 1_000);
        // Where there is nothing to do yet, smoltcp may still say "now".
        Some(at.max(now + std::time::Duration::from_micros(1)))
    }
}

impl Host for SmolHost {
    fn ip(&self) -> IpAddr {
        self.ip
    }

    fn listen(&mut self, _now: Instant, port: u16) {
        let handles = (0..8).map(|_| self.new_listening(port)).collect();
        self.listening = Some((port, handles));
    }

    fn accept(&mut self, _now: Instant) -> Option<Conn> {
        let (port, handles) = self.listening.as_ref()?;
        let port = *port;
        let ready = handles.iter().position(|handle| {
            let socket = self.sockets.get::<tcp::Socket<'_>>(*handle);
            socket.may_send() || socket.may_recv() || socket.can_recv()
        })?;
        let fresh = self.new_listening(port);
        let handles = &mut self.listening.as_mut()?.1;
        let handle = std::mem::replace(&mut handles[ready], fresh);
        self.conns.push(handle);
        Some(self.conns.len() - 1)
    }

    fn connect(&mut self, _now: Instant, remote: SocketAddr) -> Option<Conn> {
        let handle = self.new_socket();
        self.next_port += 1;
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(self.interface.context(), remote, self.next_port).unwrap();
        self.conns.push(handle);
        Some(self.conns.len() - 1)
    }

    fn opened(&mut self, conn: Conn) -> Io {
        match self.tcp(conn).state() {
            tcp::State::SynSent | tcp::State::SynReceived => Io::Block,
            tcp::State::Closed => Io::Failed("closed".into()),
            _ => Io::Done(0),
        }
    }

    fn local_port(&self, conn: Conn) -> u16 {
        let socket = self.sockets.get::<tcp::Socket<'_>>(self.conns[conn]);
        socket.local_endpoint().map_or(0, |endpoint| endpoint.port)
    }

    fn peer(&self, conn: Conn) -> Option<SocketAddr> {
        let socket = self.sockets.get::<tcp::Socket<'_>>(self.conns[conn]);
        let endpoint = socket.remote_endpoint()?;
        Some(SocketAddr::new(endpoint.addr.into(), endpoint.port))
    }

    fn write(&mut self, _now: Instant, conn: Conn, data: &[u8]) -> Io {
        match self.tcp(conn).send_slice(data) {
            Ok(0) => Io::Block,
            Ok(count) => Io::Done(count),
            Err(error) => Io::Failed(format!("{error:?}")),
        }
    }

    fn read(&mut self, _now: Instant, conn: Conn, out: &mut [u8]) -> Io {
        if let Some(rest) = self.rest.get_mut(&conn) {
            let count = rest.len().min(out.len());
            rest.drain(..count).zip(out).for_each(|(byte, place)| *place = byte);
            return Io::Done(count);
        }
        match self.tcp(conn).recv_slice(out) {
            Ok(0) => Io::Block,
            Ok(count) => Io::Done(count),
            Err(tcp::RecvError::Finished) => Io::Done(0),
            Err(error) => Io::Failed(format!("{error:?}")),
        }
    }

    fn finish(&mut self, _now: Instant, conn: Conn) -> bool {
        self.tcp(conn).close();
        true
    }

    fn release(&mut self, _now: Instant, conn: Conn) {
        self.tcp(conn).close();
        let handle = self.conns[conn];
        self.rest.insert(conn, VecDeque::new());
        self.released.push(handle);
    }

    fn abort(&mut self, now: Instant, conn: Conn) {
        self.tcp(conn).abort();
        self.release(now, conn);
    }

    fn close_listener(&mut self, _now: Instant) {
        for handle in self.listening.take().into_iter().flat_map(|(_, handles)| handles) {
            self.sockets.remove(handle);
        }
    }

    fn udp_bind(&mut self, _now: Instant, port: u16) {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; 1 << 18]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.udp = Some(self.sockets.add(socket));
    }

    fn udp_send(&mut self, _now: Instant, to: SocketAddr, data: &[u8]) -> bool {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.udp.unwrap());
        socket.send_slice(data, smoltcp::wire::IpEndpoint::from(to)).is_ok()
    }

    fn udp_recv(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.udp?);
        let (bytes, from) = socket.recv().ok()?;
        Some((bytes.to_vec(), SocketAddr::new(from.endpoint.addr.into(), from.endpoint.port)))
    }

    fn left_over(&self) -> Option<String> {
        let is_open = |handle: &&SocketHandle| self.sockets.get::<tcp::Socket<'_>>(**handle).is_open();
        let open = self.released.iter().filter(is_open).count();
        (open > 0).then(|| format!("smoltcp keeps {open} sockets"))
    }

    fn ours(&self) -> Option<&OurHost> {
        None
    }

    fn describe(&self) -> String {
        let states: Vec<String> = (self.sockets.iter())
            .filter_map(|(_, socket)| match socket {
                smoltcp::socket::Socket::Tcp(socket) => Some(format!("{}", socket.state())),
                _ => None,
            })
            .collect();
        format!("smoltcp: {states:?}")
    }
}
