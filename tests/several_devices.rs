//! The core with several devices of which some have no room: what is offered to which, and how often.

use std::collections::HashMap;

use tunstack::proto::stack::Progress;
use tunstack::proto::{
    Config, DeviceId, Egress, Error, Owner, Packet, Readiness, Secrets, Sent, Stack, TcpId,
};
use tunstack::time::Instant;

const NEAR: DeviceId = DeviceId(0);
const FAR: DeviceId = DeviceId(1);
const NOW: Instant = Instant::from_millis(1000);

/// A stack with two devices, and the hosts behind them.
struct World {
    stack: Stack,
    hosts: [Stack; 2],
}

impl World {
    fn new() -> Self {
        let mut stack = Stack::new(Config::default(), &Secrets::from_number(1), NOW);
        for address in ["10.1.0.1/24", "10.2.0.1/24"] {
            let device = stack.add_interface(1500);
            stack.add_address(device, address.parse().unwrap()).unwrap();
        }
        let host = |seed, address: &str| {
            let mut host = Stack::new(Config::default(), &Secrets::from_number(seed), NOW);
            let device = host.add_interface(1500);
            host.add_address(device, address.parse().unwrap()).unwrap();
            host.tcp_listen(NOW, "0.0.0.0:7".parse().unwrap(), Some(4096), Owner::default()).unwrap();
            host
        };
        World { stack, hosts: [host(2, "10.1.0.2/24"), host(3, "10.2.0.2/24")] }
    }

    /// Lets everything go back and forth until all is quiet.
    fn settle(&mut self) {
        loop {
            let mut out = Vec::new();
            let _ = self.stack.transmit(NOW, &mut |egress: Egress<'_>| keep(&mut out, egress));
            let mut back = Vec::new();
            for (device, bytes) in &out {
                let host = &mut self.hosts[usize::from(device.0)];
                host.receive(DeviceId(0), &Packet::plain(bytes, NOW));
            }
            for (host, device) in self.hosts.iter_mut().zip([NEAR, FAR]) {
                let mut sent = Vec::new();
                let _ = host.transmit(NOW, &mut |egress: Egress<'_>| keep(&mut sent, egress));
                back.extend(sent.into_iter().map(|(_, bytes)| (device, bytes)));
            }
            for (device, bytes) in &back {
                self.stack.receive(*device, &Packet::plain(bytes, NOW));
            }
            if out.is_empty() && back.is_empty() {
                return;
            }
        }
    }

    fn connect(&mut self, host: &str) -> TcpId {
        let remote = format!("{host}:7").parse().unwrap();
        let id = self.stack.tcp_connect(NOW, None, remote, None, Owner::default()).unwrap();
        self.settle();
        assert_eq!(self.stack.tcp_connect_result(id), Ok(()));
        id
    }

    /// Offers what there is to send; counts what was offered to each device, and what each took.
    fn offer(&mut self, answer: impl Fn(DeviceId) -> Sent) -> (Progress, Offered, Offered) {
        let (mut offered, mut taken) = (Offered::new(), Offered::new());
        let progress = self.stack.transmit(NOW, &mut |egress: Egress<'_>| {
            *offered.entry(egress.device).or_default() += 1;
            let sent = answer(egress.device);
            if sent == Sent::Taken {
                *taken.entry(egress.device).or_default() += 1;
            }
            sent
        });
        (progress, offered, taken)
    }
}

type Offered = HashMap<DeviceId, usize>;

fn keep(out: &mut Vec<(DeviceId, Vec<u8>)>, egress: Egress<'_>) -> Sent {
    let mut bytes = Vec::new();
    egress.copy_to(&mut bytes);
    out.push((egress.device, bytes));
    Sent::Taken
}

fn near_is_busy(device: DeviceId) -> Sent {
    if device == NEAR { Sent::Busy } else { Sent::Taken }
}

#[test]
fn a_busy_device_costs_one_attempt_a_call_however_many_connections_wait_for_it() {
    let mut world = World::new();
    let near: Vec<TcpId> = (0..200).map(|_| world.connect("10.1.0.2")).collect();
    let far = world.connect("10.2.0.2");
    for id in near.iter().chain([&far]) {
        assert_eq!(world.stack.tcp_write(NOW, *id, b"text"), Ok(4));
    }
    let (progress, offered, taken) = world.offer(near_is_busy);
    assert_eq!((progress, offered[&NEAR], taken.get(&FAR)), (Progress::Busy, 1, Some(&1)));
    assert!(world.stack.waits_for_room(NEAR) && !world.stack.waits_for_room(FAR));
    for _ in 0..10 {
        let (progress, offered, _) = world.offer(near_is_busy);
        assert_eq!((progress, offered), (Progress::Busy, Offered::from([(NEAR, 1)])));
    }
    let (progress, _, taken) = world.offer(|_| Sent::Taken);
    assert_eq!((progress, taken), (Progress::Idle, Offered::from([(NEAR, 200)])));
    assert!(!world.stack.waits_for_room(NEAR) && !world.stack.wants_transmit());
}

#[test]
fn a_sink_that_has_enough_is_offered_nothing_more_for_any_device() {
    let mut world = World::new();
    for id in ["10.1.0.2", "10.2.0.2"].map(|host| world.connect(host)) {
        assert_eq!(world.stack.tcp_write(NOW, id, b"text"), Ok(4));
    }
    let (progress, offered, _) = world.offer(|_| Sent::Enough);
    assert_eq!((progress, offered.values().sum::<usize>()), (Progress::More, 1));
    assert!(!world.stack.waits_for_room(NEAR) && !world.stack.waits_for_room(FAR));
    let (progress, _, taken) = world.offer(|_| Sent::Taken);
    assert_eq!((progress, taken), (Progress::Idle, Offered::from([(NEAR, 1), (FAR, 1)])));
}

#[test]
fn datagrams_and_answers_pass_a_device_that_is_busy() {
    let mut world = World::new();
    let socket = world.stack.udp_bind(NOW, "0.0.0.0:9".parse().unwrap(), Owner::default()).unwrap();
    for to in ["10.1.0.2:9", "10.2.0.2:9", "10.1.0.1:9"] {
        let sent = world.stack.udp_send_to(NOW, socket, b"text", Some(to.parse().unwrap()));
        assert_eq!(sent, Ok(4), "{to}");
    }
    let (progress, _, taken) = world.offer(near_is_busy);
    assert_eq!((progress, taken), (Progress::Busy, Offered::from([(FAR, 1)])));
    assert!(world.stack.next_event().is_some(), "what we send to ourselves arrives");
    assert!(world.stack.waits_for_room(NEAR));
}

#[test]
fn connections_that_wait_for_a_device_take_another_when_it_is_gone() {
    let mut world = World::new();
    let id = world.connect("10.1.0.2");
    assert_eq!(world.stack.tcp_write(NOW, id, b"text"), Ok(4));
    assert_eq!(world.offer(near_is_busy).0, Progress::Busy);
    let default = tunstack::proto::ip::route::RouteTarget::Interface(FAR);
    let everywhere = "0.0.0.0/0".parse().unwrap();
    let route = tunstack::proto::ip::route::RouteSpec::new(everywhere, default);
    world.stack.add_route(route).unwrap();
    assert_eq!(world.offer(near_is_busy).0, Progress::Busy, "the shorter prefix is second best");
    world.stack.set_down(NEAR);
    let (progress, _, taken) = world.offer(near_is_busy);
    assert_eq!((progress, taken), (Progress::Idle, Offered::from([(FAR, 1)])));
    assert!(!world.stack.waits_for_room(NEAR));
    world.stack.set_down(FAR);
    let refused = world.stack.tcp_connect(NOW, None, "10.2.0.2:7".parse().unwrap(), None, Owner::default());
    assert_eq!(refused.err(), Some(Error::NetworkUnreachable));
}

#[test]
fn who_waits_to_send_by_a_device_hears_that_it_is_gone() {
    let mut world = World::new();
    let socket = world.stack.udp_bind(NOW, "0.0.0.0:9".parse().unwrap(), Owner::default()).unwrap();
    let to = Some("10.1.0.2:9".parse().unwrap());
    let refused = loop {
        if let Err(error) = world.stack.udp_send_to(NOW, socket, b"text", to) {
            break error;
        }
    };
    assert_eq!(refused, Error::WouldBlock);
    assert_eq!(world.offer(near_is_busy).0, Progress::Busy);
    while world.stack.next_event().is_some() {}
    world.stack.set_down(NEAR);
    assert!(world.stack.wants_transmit(), "a driver that is told there is nothing to do does nothing");
    let _ = world.offer(near_is_busy);
    assert!(world.stack.next_event().is_some_and(|event| event.readiness.contains(Readiness::WRITABLE)));
    assert_eq!(world.stack.udp_send_to(NOW, socket, b"text", to), Err(Error::NetworkUnreachable));
    assert!(!world.stack.wants_transmit());
}

#[test]
fn who_keeps_the_queue_of_datagrams_full_does_not_silence_tcp() {
    const BUDGET: usize = 64;
    let mut world = World::new();
    let id = world.connect("10.2.0.2");
    let socket = world.stack.udp_bind(NOW, "0.0.0.0:9".parse().unwrap(), Owner::default()).unwrap();
    assert_eq!(world.stack.tcp_write(NOW, id, b"text"), Ok(4));
    let mut datagrams = 0;
    for _ in 0..4 {
        for _ in 0..2 * BUDGET {
            let _ = world.stack.udp_send_to(NOW, socket, b"text", Some("10.1.0.2:9".parse().unwrap()));
        }
        let (mut left, mut of_tcp) = (BUDGET, 0);
        let progress = world.stack.transmit(NOW, &mut |egress: Egress<'_>| {
            if left == 0 {
                return Sent::Enough;
            }
            left -= 1;
            if egress.device == FAR {
                of_tcp += 1;
            } else {
                datagrams += 1;
            }
            Sent::Taken
        });
        assert_eq!(progress, Progress::More);
        if of_tcp > 0 {
            assert!(datagrams > BUDGET, "who comes first takes turns");
            return;
        }
    }
    panic!("TCP had no turn");
}

#[test]
fn connections_that_end_while_they_wait_leave_nothing_behind() {
    let mut world = World::new();
    for _ in 0..50 {
        let ids: Vec<TcpId> = (0..20).map(|_| world.connect("10.1.0.2")).collect();
        for id in &ids {
            assert_eq!(world.stack.tcp_write(NOW, *id, b"text"), Ok(4));
        }
        assert_eq!(world.offer(near_is_busy).0, Progress::Busy);
        ids.into_iter().for_each(|id| world.stack.tcp_abort(NOW, id));
    }
    world.settle();
    assert_eq!(world.stack.tcp_census().sockets, 0);
    assert!(!world.stack.wants_transmit());
}
