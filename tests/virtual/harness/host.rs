//! What stands at an end of a link: our stack, or another one, behind the same few verbs.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tunstack::proto::stack::{Progress, Shutdown};
use tunstack::proto::{
    Config, DeviceId, Egress, Error, ListenerId, Owner, Packet, Readiness, Secrets, Sent, SocketId, Stack,
    TcpId, UdpId,
};
use tunstack::rng::Rng;
use tunstack::time::Instant;

/// Names a connection of a host.
pub(crate) type Conn = usize;

/// How far a read, write or open came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Io {
    /// So many bytes; a read of 0 is the end of the stream.
    Done(usize),
    Block,
    Failed(String),
}

/// A host in virtual time.
pub(crate) trait Host {
    fn ip(&self) -> IpAddr;
    fn receive(&mut self, now: Instant, bytes: &[u8]);
    /// Runs timers and collects what is to be sent. `true` if anything was.
    fn poll(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) -> bool;
    fn deadline(&mut self, now: Instant) -> Option<Instant>;
    fn listen(&mut self, now: Instant, port: u16);
    fn accept(&mut self, now: Instant) -> Option<Conn>;
    fn connect(&mut self, now: Instant, remote: SocketAddr) -> Conn;
    fn opened(&mut self, conn: Conn) -> Io;
    fn local_port(&self, conn: Conn) -> u16;
    fn peer_port(&self, conn: Conn) -> u16;
    fn write(&mut self, now: Instant, conn: Conn, data: &[u8]) -> Io;
    fn read(&mut self, now: Instant, conn: Conn, out: &mut [u8]) -> Io;
    /// No more will be written.
    fn finish(&mut self, now: Instant, conn: Conn);
    /// The application has no more use for the connection.
    fn release(&mut self, now: Instant, conn: Conn);
    /// The application throws the connection away.
    fn abort(&mut self, now: Instant, conn: Conn);
    /// As [`connect`](Self::connect), where it may fail.
    fn try_connect(&mut self, now: Instant, remote: SocketAddr) -> Option<Conn> {
        Some(self.connect(now, remote))
    }
    /// As [`finish`](Self::finish), where the connection may be over.
    fn try_finish(&mut self, now: Instant, conn: Conn) -> bool {
        self.finish(now, conn);
        true
    }
    fn close_listener(&mut self, now: Instant);
    fn udp_bind(&mut self, now: Instant, port: u16);
    fn udp_send(&mut self, now: Instant, to: SocketAddr, data: &[u8]) -> bool;
    fn udp_recv(&mut self) -> Option<(Vec<u8>, SocketAddr)>;
    /// What must hold after every step.
    fn check(&self, now: Instant);
    /// What is still there when nothing should be.
    fn left_over(&self) -> Option<String>;
    /// Whether the wire oracle holds for what this host sends.
    fn is_ours(&self) -> bool;
    /// A few words for a failure.
    fn describe(&self) -> String;
}

/// The stack under test.
pub(crate) struct OurHost {
    pub(crate) stack: Stack,
    pub(crate) device: DeviceId,
    ip: IpAddr,
    listener: Option<ListenerId>,
    conns: Vec<TcpId>,
    /// What the application has been told and has not used up: it tries nothing else, so that a wake-up that
    /// never comes is a run that never ends.
    ready: Vec<Readiness>,
    acceptable: bool,
    udp: Option<UdpId>,
    nodelay: bool,
    sent: u64,
    /// How often the device has no room, in parts of a million, and when it will be asked again.
    pub(crate) busy: u32,
    busy_until: Option<Instant>,
    rng: Rng,
}

impl OurHost {
    pub(crate) fn new(
        config: Config,
        seed: u64,
        now: Instant,
        net: &str,
        mtu: usize,
        nodelay: bool,
    ) -> OurHost {
        let mut stack = Stack::new(config, &Secrets::from_number(seed), now);
        let device = stack.add_interface(mtu);
        let net: tunstack::ipnet::IpNet = net.parse().unwrap();
        stack.add_address(device, net).unwrap();
        OurHost {
            stack,
            device,
            ip: net.addr(),
            listener: None,
            conns: Vec::new(),
            ready: Vec::new(),
            acceptable: false,
            udp: None,
            nodelay,
            sent: 0,
            busy: 0,
            busy_until: None,
            rng: Rng::from_number(seed),
        }
    }

    /// An open from a port of our choice: for two hosts that open the same connection at once.
    pub(crate) fn connect_from(&mut self, now: Instant, port: u16, remote: SocketAddr) -> Conn {
        let local = Some(SocketAddr::new(self.ip, port));
        let id = self.stack.tcp_connect(now, local, remote, None, Owner::APPLICATION).unwrap();
        self.adopt(now, id)
    }

    fn adopt(&mut self, now: Instant, id: TcpId) -> Conn {
        let mut options = self.stack.tcp_options(id).unwrap();
        options.nodelay = self.nodelay;
        self.stack.tcp_set_options(now, id, options).unwrap();
        self.conns.push(id);
        self.ready.push(Readiness::empty());
        self.conns.len() - 1
    }

    /// Takes all events; `true` if there were any.
    fn take_events(&mut self) -> bool {
        let mut any = false;
        while let Some(event) = self.stack.next_event() {
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

impl Host for OurHost {
    fn ip(&self) -> IpAddr {
        self.ip
    }

    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.stack.receive(self.device, &Packet::plain(bytes, now));
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) -> bool {
        self.stack.advance(now);
        if let Some(deadline) = self.stack.deadline() {
            assert!(deadline > now, "a deadline that has passed: {deadline:?} at {now:?}");
        }
        if self.busy_until.is_some_and(|until| now < until) {
            return self.take_events();
        }
        self.busy_until = None;
        let before = out.len();
        loop {
            let progress = self.stack.transmit(now, &mut |egress: Egress<'_>| {
                assert_eq!((egress.device, egress.gso_size), (self.device, None));
                if self.rng.chance_ppm(self.busy) {
                    return Sent::Busy;
                }
                let mut bytes = Vec::new();
                egress.copy_to(&mut bytes);
                out.push(bytes);
                Sent::Taken
            });
            match progress {
                Progress::More => assert!(out.len() - before < 100_000, "a flood at one instant"),
                Progress::Idle => break,
                Progress::Busy => {
                    assert!(self.busy > 0, "busy, though the device is not");
                    self.busy_until = Some(now + Duration::from_micros(300));
                    break;
                }
            }
        }
        let told = self.take_events();
        let idle = self.busy_until.is_none();
        assert!(!idle || !self.stack.wants_transmit(), "something to send after transmit came to Idle");
        self.sent += (out.len() - before) as u64;
        out.len() > before || told
    }

    fn deadline(&mut self, _now: Instant) -> Option<Instant> {
        self.stack.deadline().into_iter().chain(self.busy_until).min()
    }

    fn listen(&mut self, now: Instant, port: u16) {
        let local = SocketAddr::new(self.ip, port);
        self.listener = Some(self.stack.tcp_listen(now, local, None, Owner::APPLICATION).unwrap());
    }

    fn accept(&mut self, now: Instant) -> Option<Conn> {
        if !self.acceptable {
            return None;
        }
        match self.stack.tcp_accept(now, self.listener?) {
            Ok((id, _)) => Some(self.adopt(now, id)),
            Err(Error::WouldBlock) => {
                self.acceptable = false;
                None
            }
            Err(error) => panic!("accept: {error:?}"),
        }
    }

    fn connect(&mut self, now: Instant, remote: SocketAddr) -> Conn {
        let id = self.stack.tcp_connect(now, None, remote, None, Owner::APPLICATION).unwrap();
        self.adopt(now, id)
    }

    fn opened(&mut self, conn: Conn) -> Io {
        if !self.is_ready(conn, Readiness::WRITABLE) {
            return Io::Block;
        }
        io(self.stack.tcp_connect_result(self.conns[conn]).map(|()| 0))
    }

    fn local_port(&self, conn: Conn) -> u16 {
        self.stack.tcp_local_addr(self.conns[conn]).unwrap().port()
    }

    fn peer_port(&self, conn: Conn) -> u16 {
        self.stack.tcp_peer_addr(self.conns[conn]).unwrap().port()
    }

    fn write(&mut self, now: Instant, conn: Conn, data: &[u8]) -> Io {
        if !self.is_ready(conn, Readiness::WRITABLE) {
            return Io::Block;
        }
        let result = io(self.stack.tcp_write(now, self.conns[conn], data));
        if result == Io::Block {
            self.ready[conn] -= Readiness::WRITABLE | Readiness::ERROR;
        }
        result
    }

    fn read(&mut self, now: Instant, conn: Conn, out: &mut [u8]) -> Io {
        if !self.is_ready(conn, Readiness::READABLE) {
            return Io::Block;
        }
        let result = io(self.stack.tcp_read(now, self.conns[conn], out));
        if result == Io::Block {
            self.ready[conn] -= Readiness::READABLE | Readiness::ERROR;
        }
        result
    }

    fn finish(&mut self, now: Instant, conn: Conn) {
        self.stack.tcp_shutdown(now, self.conns[conn], Shutdown::Write).unwrap();
    }

    fn release(&mut self, now: Instant, conn: Conn) {
        self.stack.tcp_close(now, self.conns[conn]);
    }

    fn abort(&mut self, now: Instant, conn: Conn) {
        self.stack.tcp_abort(now, self.conns[conn]);
    }

    fn try_connect(&mut self, now: Instant, remote: SocketAddr) -> Option<Conn> {
        let id = self.stack.tcp_connect(now, None, remote, None, Owner::APPLICATION).ok()?;
        Some(self.adopt(now, id))
    }

    fn try_finish(&mut self, now: Instant, conn: Conn) -> bool {
        self.stack.tcp_shutdown(now, self.conns[conn], Shutdown::Write).is_ok()
    }

    fn close_listener(&mut self, now: Instant) {
        if let Some(listener) = self.listener.take() {
            self.stack.tcp_close_listener(now, listener);
        }
    }

    fn udp_bind(&mut self, now: Instant, port: u16) {
        let local = SocketAddr::new(self.ip, port);
        self.udp = Some(self.stack.udp_bind(now, local, Owner::APPLICATION).unwrap());
    }

    fn udp_send(&mut self, now: Instant, to: SocketAddr, data: &[u8]) -> bool {
        self.stack.udp_send_to(now, self.udp.unwrap(), data, Some(to)).is_ok()
    }

    fn udp_recv(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        let mut out = vec![0; 65_535];
        let (len, from) = self.stack.udp_recv_from(self.udp?, &mut out).ok()?;
        out.truncate(len);
        Some((out, from))
    }

    fn check(&self, _now: Instant) {
        let counters = self.stack.counters();
        assert_eq!(counters.packets_in, counters.packets_delivered + counters.dropped_total());
        assert_eq!(counters.packets_out, self.sent);
    }

    fn left_over(&self) -> Option<String> {
        let census = self.stack.tcp_census();
        let listeners = usize::from(self.listener.is_some());
        let clean = (census.sockets, census.half_open, census.time_wait, census.timers, census.pages)
            == (0, 0, 0, 0, 0);
        (!clean || census.listeners != listeners).then(|| format!("{census:?}"))
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let mut text = format!("{:?}", self.stack.tcp_census());
        for (id, ready) in self.conns.iter().zip(&self.ready) {
            if let Ok(info) = self.stack.tcp_info(*id) {
                text += &format!("\n    {ready:?} {info:?}");
            }
        }
        for reason in tunstack::proto::DropReason::ALL {
            let count = self.stack.counters().dropped(*reason);
            if count > 0 {
                text += &format!("\n    dropped {reason}: {count}");
            }
        }
        text
    }
}
