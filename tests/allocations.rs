//! Connections come and go without memory being asked for: what one leaves behind serves the next.
//!
//! Two stacks in virtual time, and a wire that reuses its buffers. Once as many connections have been there as there will be at a
//! time, none of what they go through allocates: handshake, accept queue, a request and its answer, an end from either side, TIME-WAIT
//! and its end.

use std::time::Duration;

use tunstack::proto::stack::Shutdown;
use tunstack::proto::{
    Config, DeviceId, Egress, ListenerId, Packet, PacketSink, Secrets, Sent, Stack, TcpId,
};
use tunstack::time::Instant;

const SERVER: &str = "10.9.0.2:7";
const REQUEST: [u8; 64] = [0x5a; 64];

/// One direction of the wire.
#[derive(Default)]
struct Wire {
    packets: Vec<Vec<u8>>,
    used: usize,
}

impl PacketSink for Wire {
    fn send(&mut self, egress: Egress<'_>) -> Sent {
        if self.used == self.packets.len() {
            self.packets.push(Vec::with_capacity(2048));
        }
        let packet = &mut self.packets[self.used];
        packet.clear();
        egress.copy_to(packet);
        self.used += 1;
        Sent::Taken
    }
}

struct End {
    stack: Stack,
    device: DeviceId,
}

impl End {
    fn new(number: u64, address: &str) -> Self {
        let config = Config { msl: Duration::from_millis(50), ..Config::default() };
        let mut stack = Stack::new(config, &Secrets::from_number(number), Instant::ZERO);
        let device = stack.add_interface(1500);
        stack.add_address(device, address.parse().unwrap()).unwrap();
        End { stack, device }
    }

    fn transmit(&mut self, now: Instant, wire: &mut Wire) {
        while self.stack.wants_transmit() {
            let _ = self.stack.transmit(now, wire);
        }
    }

    fn take_all(&mut self, now: Instant, wire: &mut Wire) {
        for packet in &wire.packets[..wire.used] {
            self.stack.receive(self.device, &Packet::plain(packet, now));
        }
        wire.used = 0;
        while self.stack.next_event().is_some() {}
    }
}

/// Who closes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Client,
    Server,
}

struct World {
    client: End,
    server: End,
    up: Wire,
    down: Wire,
    now: Instant,
    listener: ListenerId,
    /// The connections of the crowd that is there: both ends' names of each.
    crowd: Vec<(TcpId, TcpId)>,
}

impl World {
    fn new(crowd: usize) -> Self {
        let (client, mut server) = (End::new(1, "10.9.0.1/24"), End::new(2, "10.9.0.2/24"));
        let now = Instant::from_millis(1);
        let listener =
            server.stack.tcp_listen(now, SERVER.parse().unwrap(), Some(crowd), Default::default()).unwrap();
        let wires = (Wire::default(), Wire::default());
        World { client, server, up: wires.0, down: wires.1, now, listener, crowd: Vec::with_capacity(crowd) }
    }

    /// Until neither end has anything to say.
    fn settle(&mut self) {
        loop {
            self.client.transmit(self.now, &mut self.up);
            self.server.transmit(self.now, &mut self.down);
            if self.up.used + self.down.used == 0 {
                return;
            }
            self.server.take_all(self.now, &mut self.up);
            self.client.take_all(self.now, &mut self.down);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.client.stack.advance(self.now);
        self.server.stack.advance(self.now);
        self.settle();
    }

    /// So many connections at once, each with a request and its answer; those that wait in TIME-WAIT meanwhile expire.
    fn live(&mut self, crowd: usize, first: First) {
        for _ in 0..crowd {
            let remote = SERVER.parse().unwrap();
            let ours =
                self.client.stack.tcp_connect(self.now, None, remote, None, Default::default()).unwrap();
            self.crowd.push((ours, TcpId::default()));
        }
        self.settle();
        let mut crowd = std::mem::take(&mut self.crowd);
        for (ours, theirs) in &mut crowd {
            let accepted = self.server.stack.tcp_accept(self.now, self.listener);
            *theirs = accepted.expect("a connection has come").0;
            assert_eq!(self.client.stack.tcp_connect_result(*ours), Ok(()));
            assert_eq!(self.client.stack.tcp_write(self.now, *ours, &REQUEST), Ok(REQUEST.len()));
        }
        self.settle();
        for (_, theirs) in &crowd {
            let mut room = [0; 128];
            assert_eq!(self.server.stack.tcp_read(self.now, *theirs, &mut room), Ok(REQUEST.len()));
            assert_eq!(
                self.server.stack.tcp_write(self.now, *theirs, &room[..REQUEST.len()]),
                Ok(REQUEST.len())
            );
        }
        self.pass(Duration::from_millis(1));
        for (ours, _) in &crowd {
            assert_eq!(self.client.stack.tcp_read(self.now, *ours, &mut [0; 128]), Ok(REQUEST.len()));
        }
        self.pass(Duration::from_millis(1));
        self.close(&crowd, first);
        crowd.clear();
        self.crowd = crowd;
        self.pass(Duration::from_millis(20));
    }

    fn close(&mut self, crowd: &[(TcpId, TcpId)], first: First) {
        let now = self.now;
        for side in [first, if first == First::Client { First::Server } else { First::Client }] {
            for (ours, theirs) in crowd {
                let (stack, id) = match side {
                    First::Client => (&mut self.client.stack, *ours),
                    First::Server => (&mut self.server.stack, *theirs),
                };
                if side == first {
                    stack.tcp_shutdown(now, id, Shutdown::Write).expect("it is open");
                } else {
                    assert_eq!(stack.tcp_read(now, id, &mut [0; 8]), Ok(0));
                    stack.tcp_close(now, id);
                }
            }
            self.settle();
        }
        for (ours, theirs) in crowd {
            match first {
                First::Client => self.client.stack.tcp_close(now, *ours),
                First::Server => self.server.stack.tcp_close(now, *theirs),
            }
        }
        self.settle();
    }
}

/// What a connection may allocate, both its ends together. Debug builds keep a record of what was written to each ring.
const EACH: u64 = if cfg!(debug_assertions) { 4 } else { 0 };

/// Crowds of this size come and go. Once all there is has been there before, nothing is allocated but what may be.
fn come_and_go(crowd: usize) {
    let mut world = World::new(crowd);
    let rounds = |world: &mut World, count: usize| {
        for round in 0..count {
            world.live(crowd, if round % 2 == 0 { First::Client } else { First::Server });
        }
    };
    rounds(&mut world, 40);
    let counted = allocation_counter::measure(|| rounds(&mut world, 20));
    let (client, server) = (&world.client.stack, &world.server.stack);
    assert_eq!(server.counters().tcp_passive_opens, 60 * crowd as u64, "each was a connection");
    assert_eq!(client.counters().tcp_retransmits + server.counters().tcp_retransmits, 0);
    assert!(server.tcp_census().time_wait > 0 && client.tcp_census().time_wait > 0);
    let most = EACH * 20 * crowd as u64;
    assert!(counted.count_total <= most, "{} allocations, {most} at most", counted.count_total);
}

#[test]
fn connections_one_after_another_need_no_memory_that_others_have_not_left() {
    come_and_go(1);
}

#[test]
fn sixteen_connections_at_a_time_need_no_memory_that_others_have_not_left() {
    come_and_go(16);
}

#[test]
fn a_crowd_that_comes_and_goes_at_once_needs_no_memory_that_others_have_not_left() {
    come_and_go(60);
}
