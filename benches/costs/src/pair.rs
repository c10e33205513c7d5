//! Two stacks and the wire between them, in virtual time: nothing is lost, and nothing is late.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use tunstack::proto::packet::EgressChecksum;
use tunstack::proto::{
    ChecksumState, Config, DeviceId, Egress, ListenerId, Offloads, Owner, Packet, PacketSink, Secrets, Sent,
    Stack, TcpId,
};
use tunstack::time::Instant;

/// What both ends' devices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Devices {
    Plain,
    /// With all offloads: super-segments, and checksums left unfinished.
    Offload,
}

/// One direction of the wire, and what is on it. Its buffers are used again, so that it costs a copy and no allocation.
#[derive(Default)]
pub(crate) struct Wire {
    packets: Vec<Carried>,
    used: usize,
}

#[derive(Default)]
struct Carried {
    bytes: Vec<u8>,
    gso_size: Option<NonZeroU16>,
    is_partial: bool,
}

impl PacketSink for Wire {
    fn send(&mut self, egress: Egress<'_>) -> Sent {
        if self.used == self.packets.len() {
            self.packets.push(Carried { bytes: Vec::with_capacity(1 << 16), ..Carried::default() });
        }
        let carried = &mut self.packets[self.used];
        self.used += 1;
        carried.bytes.clear();
        egress.copy_to(&mut carried.bytes);
        carried.gso_size = egress.gso_size;
        carried.is_partial = egress.checksum != EgressChecksum::Complete;
        Sent::Taken
    }
}

impl Wire {
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Everything arrives.
    pub(crate) fn deliver(&mut self, to: &mut End, now: Instant) {
        for carried in &self.packets[..self.used] {
            let checksum =
                if carried.is_partial { ChecksumState::Partial } else { ChecksumState::Unverified };
            let packet = Packet { bytes: &carried.bytes, at: now, checksum, gso_size: carried.gso_size };
            to.stack.receive(to.device, &packet);
        }
        self.used = 0;
    }
}

/// A stack with one device.
pub(crate) struct End {
    pub(crate) stack: Stack,
    pub(crate) device: DeviceId,
}

impl End {
    fn new(config: Config, number: u64, address: &str, devices: Devices) -> Self {
        let mut stack = Stack::new(config, &Secrets::from_number(number), Instant::ZERO);
        let device = stack.add_interface(1500);
        if devices == Devices::Offload {
            stack.set_offloads(device, Offloads { checksum: true, tso4: true, tso6: true, uso: true });
        }
        stack.add_address(device, address.parse().unwrap()).unwrap();
        End { stack, device }
    }

    /// Sends all there is to send.
    pub(crate) fn transmit(&mut self, now: Instant, wire: &mut Wire) {
        while self.stack.wants_transmit() {
            let _ = self.stack.transmit(now, wire);
        }
    }

    /// Takes what is told, as a driver does.
    pub(crate) fn take_events(&mut self) {
        while self.stack.next_event().is_some() {}
    }
}

/// Where the server's port is.
pub(crate) const SERVER: &str = "10.9.0.2:7";

/// A client and a server.
pub(crate) struct Pair {
    pub(crate) client: End,
    pub(crate) server: End,
    pub(crate) up: Wire,
    pub(crate) down: Wire,
    pub(crate) now: Instant,
}

impl Pair {
    pub(crate) fn new(config: &Config, devices: Devices) -> Self {
        Pair {
            client: End::new(config.clone(), 1, "10.9.0.1/24", devices),
            server: End::new(config.clone(), 2, "10.9.0.2/24", devices),
            up: Wire::default(),
            down: Wire::default(),
            now: Instant::from_millis(1),
        }
    }

    /// A while passes, and what is due at either end is done.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.client.stack.advance(self.now);
        self.server.stack.advance(self.now);
    }

    /// Goes on until neither has anything left to say.
    pub(crate) fn settle(&mut self) {
        loop {
            self.client.transmit(self.now, &mut self.up);
            self.server.transmit(self.now, &mut self.down);
            if self.up.len() + self.down.len() == 0 {
                return;
            }
            self.up.deliver(&mut self.server, self.now);
            self.down.deliver(&mut self.client, self.now);
        }
    }

    pub(crate) fn listen(&mut self) -> ListenerId {
        let local = SERVER.parse().unwrap();
        self.server.stack.tcp_listen(self.now, local, Some(4096), Owner::default()).unwrap()
    }

    pub(crate) fn connect(&mut self) -> TcpId {
        let remote: SocketAddr = SERVER.parse().unwrap();
        self.client.stack.tcp_connect(self.now, None, remote, None, Owner::default()).unwrap()
    }

    /// An open connection: the client's handle and the server's.
    pub(crate) fn open(&mut self, listener: ListenerId) -> (TcpId, TcpId) {
        let client = self.connect();
        self.settle();
        let (server, _) = self.server.stack.tcp_accept(self.now, listener).expect("a connection has come");
        self.client.take_events();
        self.server.take_events();
        (client, server)
    }
}
