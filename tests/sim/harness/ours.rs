//! The stack under test as a host.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use tunstack::proto::stack::Shutdown;
use tunstack::proto::udp::UdpOptions;
use tunstack::proto::{
    Config, Counters, Error, ListenerId, Owner, Readiness, Secrets, SocketId, Stack, TcpId, UdpId,
};
use tunstack::sim::{Node, StackNode};
use tunstack::time::Instant;

use super::forgetful::Forgetful;
use super::host::{Conn, Host, Io};

/// Our stack, and an application that tries nothing unless it has been told of it, so that a wake-up that never comes
/// is a run that never ends.
pub(crate) struct OurHost {
    pub(crate) node: StackNode,
    /// Changes each new connection's options.
    pub(crate) options: fn(&mut tunstack::proto::tcp::SocketOptions),
    /// What is out of order goes through this, if the host is one that reneges.
    pub(crate) forgetful: Option<Forgetful>,
    ip: IpAddr,
    conns: Vec<TcpId>,
    listener: Option<ListenerId>,
    /// What the application has been told of each connection and has not used up.
    ready: Vec<Readiness>,
    acceptable: bool,
    udp: Option<UdpId>,
}

/// "ECN-capable transport" (RFC 3168 section 5).
const ECT_0: u8 = 0b10;

impl OurHost {
    /// A host with one interface.
    pub(crate) fn new(config: Config, seed: u64, now: Instant, net: &str, mtu: usize) -> OurHost {
        let mut stack = Stack::new(config, &Secrets::from_number(seed), now);
        let device = stack.add_interface(mtu);
        let net: tunstack::ipnet::IpNet = net.parse().unwrap();
        stack.add_address(device, net).unwrap();
        OurHost::around(stack, net.addr(), seed)
    }

    /// A host, or a router, whose stack has all that it needs.
    pub(crate) fn around(stack: Stack, ip: IpAddr, seed: u64) -> OurHost {
        OurHost {
            node: StackNode::new(stack, seed),
            options: |_| {},
            forgetful: None,
            ip,
            conns: Vec::new(),
            listener: None,
            ready: Vec::new(),
            acceptable: false,
            udp: None,
        }
    }

    /// An open from a port of our choice: for two hosts that open the same connection at once.
    pub(crate) fn connect_from(&mut self, now: Instant, port: u16, remote: SocketAddr) -> Conn {
        let local = Some(SocketAddr::new(self.ip, port));
        let id = self.node.stack.tcp_connect(now, local, remote, None, Owner::APPLICATION).unwrap();
        self.adopt(now, id)
    }

    /// What the stack has counted.
    pub(crate) fn counters(&self) -> &Counters {
        self.node.stack.counters()
    }

    /// The connections that the application holds.
    pub(crate) fn held(&self) -> impl Iterator<Item = TcpId> + '_ {
        self.conns.iter().copied()
    }

    fn adopt(&mut self, now: Instant, id: TcpId) -> Conn {
        let mut options = self.node.stack.tcp_options(id).unwrap();
        (self.options)(&mut options);
        self.node.stack.tcp_set_options(now, id, options).unwrap();
        self.conns.push(id);
        self.ready.push(Readiness::empty());
        self.conns.len() - 1
    }

    /// Takes all events; `true` if there were any.
    fn take_events(&mut self) -> bool {
        let mut any = false;
        while let Some(event) = self.node.stack.next_event() {
            any = true;
            match event.socket {
                SocketId::Tcp(id) => {
                    // An event may come before the connection has a number here: it is raised again on accept.
                    if let Some(conn) = self.conns.iter().position(|known| *known == id) {
                        self.ready[conn] |= event.readiness;
                    }
                }
                SocketId::Listener(_) => self.acceptable = true,
                SocketId::Udp(_) | SocketId::Ping(_) | SocketId::Raw(_) => {}
            }
        }
        any
    }

    fn is_ready(&self, conn: Conn, wanted: Readiness) -> bool {
        self.ready[conn].intersects(wanted | Readiness::ERROR)
    }
}

fn io(result: Result<usize, Error>) -> Io {
    match result {
        Ok(count) => Io::Done(count),
        Err(Error::WouldBlock | Error::InProgress) => Io::Block,
        Err(error) => Io::Failed(format!("{error:?}")),
    }
}

impl Node for OurHost {
    fn receive(&mut self, now: Instant, port: usize, packet: &[u8]) {
        if !self.forgetful.as_mut().is_some_and(|queue| queue.takes(port, packet)) {
            self.node.receive(now, port, packet);
        }
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<(usize, Vec<u8>)>) -> bool {
        let before = out.len();
        let mut acted = self.node.poll(now, out);
        if let Some(queue) = &mut self.forgetful {
            let stack = out.len();
            queue.speak(out, before);
            acted |= out.len() > stack;
        }
        assert!(out.len() - before < 100_000, "a flood at one instant");
        acted | self.take_events()
    }

    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        self.node.deadline(now)
    }
}

impl Host for OurHost {
    fn ip(&self) -> IpAddr {
        self.ip
    }

    fn listen(&mut self, now: Instant, port: u16) {
        let local = SocketAddr::new(self.ip, port);
        self.listener = Some(self.node.stack.tcp_listen(now, local, None, Owner::APPLICATION).unwrap());
    }

    fn accept(&mut self, now: Instant) -> Option<Conn> {
        if !self.acceptable {
            return None;
        }
        match self.node.stack.tcp_accept(now, self.listener?) {
            Ok((id, _)) => Some(self.adopt(now, id)),
            Err(Error::WouldBlock) => {
                self.acceptable = false;
                None
            }
            Err(error) => panic!("accept: {error:?}"),
        }
    }

    fn connect(&mut self, now: Instant, remote: SocketAddr) -> Option<Conn> {
        let id = self.node.stack.tcp_connect(now, None, remote, None, Owner::APPLICATION).ok()?;
        Some(self.adopt(now, id))
    }

    fn opened(&mut self, conn: Conn) -> Io {
        if !self.is_ready(conn, Readiness::WRITABLE) {
            return Io::Block;
        }
        io(self.node.stack.tcp_connect_result(self.conns[conn]).map(|()| 0))
    }

    fn local_port(&self, conn: Conn) -> u16 {
        self.node.stack.tcp_local_addr(self.conns[conn]).unwrap().port()
    }

    fn peer(&self, conn: Conn) -> Option<SocketAddr> {
        self.node.stack.tcp_peer_addr(self.conns[conn]).ok()
    }

    fn write(&mut self, now: Instant, conn: Conn, data: &[u8]) -> Io {
        if !self.is_ready(conn, Readiness::WRITABLE) {
            return Io::Block;
        }
        // One of two connections shares what it writes, as far as it is much, and the other has it copied.
        let written = match conn % 2 {
            0 => self.node.stack.tcp_write(now, self.conns[conn], data),
            _ => self.node.stack.tcp_write_bytes(now, self.conns[conn], &mut Bytes::copy_from_slice(data)),
        };
        let result = io(written);
        if result == Io::Block {
            self.ready[conn] -= Readiness::WRITABLE | Readiness::ERROR;
        }
        result
    }

    fn read(&mut self, now: Instant, conn: Conn, out: &mut [u8]) -> Io {
        if !self.is_ready(conn, Readiness::READABLE) {
            return Io::Block;
        }
        let result = io(self.node.stack.tcp_read(now, self.conns[conn], out));
        if result == Io::Block {
            self.ready[conn] -= Readiness::READABLE | Readiness::ERROR;
        }
        result
    }

    fn finish(&mut self, now: Instant, conn: Conn) -> bool {
        self.node.stack.tcp_shutdown(now, self.conns[conn], Shutdown::Write).is_ok()
    }

    fn release(&mut self, now: Instant, conn: Conn) {
        self.node.stack.tcp_close(now, self.conns[conn]);
    }

    fn abort(&mut self, now: Instant, conn: Conn) {
        self.node.stack.tcp_abort(now, self.conns[conn]);
    }

    fn close_listener(&mut self, now: Instant) {
        if let Some(listener) = self.listener.take() {
            self.node.stack.tcp_close_listener(now, listener);
        }
    }

    fn udp_bind(&mut self, now: Instant, port: u16) {
        let local = SocketAddr::new(self.ip, port);
        let udp = self.node.stack.udp_bind(now, local, Owner::APPLICATION).unwrap();
        // Datagrams say that their sender can be told of congestion, so that a path may do so.
        let options = UdpOptions { tos: ECT_0, ..self.node.stack.udp_options(udp).unwrap() };
        self.node.stack.udp_set_options(udp, options).unwrap();
        self.udp = Some(udp);
    }

    fn udp_send(&mut self, now: Instant, to: SocketAddr, data: &[u8]) -> bool {
        self.node.stack.udp_send_to(now, self.udp.unwrap(), data, Some(to)).is_ok()
    }

    fn udp_recv(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        let mut out = vec![0; 65_535];
        let (len, from) = self.node.stack.udp_recv_from(self.udp?, &mut out).ok()?;
        out.truncate(len);
        Some((out, from))
    }

    fn left_over(&self) -> Option<String> {
        let census = self.node.stack.tcp_census();
        let listeners = usize::from(self.listener.is_some());
        let clean = (census.sockets, census.half_open, census.time_wait, census.timers, census.pages)
            == (0, 0, 0, 0, 0);
        (!clean || census.listeners != listeners).then(|| format!("{census:?}"))
    }

    fn ours(&self) -> Option<&OurHost> {
        Some(self)
    }

    fn describe(&self) -> String {
        let mut text = format!("{:?}", self.node.stack.tcp_census());
        for (id, ready) in self.conns.iter().zip(&self.ready) {
            if let Ok(info) = self.node.stack.tcp_info(*id) {
                text += &format!("\n    {ready:?} {info:?}");
            }
        }
        for reason in tunstack::proto::DropReason::ALL {
            let count = self.counters().dropped(*reason);
            if count > 0 {
                text += &format!("\n    dropped {reason}: {count}");
            }
        }
        text
    }
}
