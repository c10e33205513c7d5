//! Stacks with several devices in one process: a router between two hosts, a device that vanishes, one that is busy.

mod support {
    pub(crate) mod running;
}

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tunstack::device::MemoryDevice;
use tunstack::device::memory::Switches;
use tunstack::net::{Builder, Net, RouteConfig, Stopped, TcpListener, TcpStream, UdpSocket};

use support::running::{PATIENCE, bytes, carry, connect, eventually};

/// Two hosts with a router between them.
struct World {
    left: Net,
    router: Net,
    right: Net,
    /// The router's ends of its links.
    to_left: Switches,
    to_right: Switches,
}

fn world() -> World {
    world_with(|router| router.forwarding(true))
}

fn world_with(change: impl FnOnce(Builder) -> Builder) -> World {
    let (left, router_left) = MemoryDevice::pair(1500).unwrap();
    let (right, router_right) = MemoryDevice::pair(1500).unwrap();
    let (to_left, to_right) = (router_left.switches(), router_right.switches());
    let router = Net::builder()
        .device(router_left.named("a"))
        .addr("10.1.0.1/24")
        .addr("fd01::1/64")
        .device(router_right.named("b"))
        .addr("10.2.0.1/24")
        .addr("fd02::1/64");
    let host = |device, v4: &str, v6: &str| {
        let host = Net::builder().device(device).addr(v4).addr(v6).route("0.0.0.0/0").route("::/0");
        host.start().unwrap()
    };
    World {
        left: host(left, "10.1.0.2/24", "fd01::2/64"),
        router: change(router).start().unwrap(),
        right: host(right, "10.2.0.2/24", "fd02::2/64"),
        to_left,
        to_right,
    }
}

/// Sends `data` one way and checks that it arrives.
fn check_carried(from: &TcpStream, to: &TcpStream, data: &[u8]) {
    assert!(carry(from, to, data) == data, "the bytes changed on the way");
}

#[test]
fn a_router_carries_connections_of_both_families_between_its_devices() {
    let world = world();
    for address in ["10.2.0.2:0", "[fd02::2]:0"] {
        let (client, server) = connect(&world.left, &world.right, address);
        check_carried(&client, &server, &bytes(2 << 20, 1));
        check_carried(&server, &client, &bytes(2 << 20, 2));
    }
    let counters = world.router.counters();
    assert!(counters.packets_forwarded > 4000, "{}", counters.packets_forwarded);
    assert_eq!(
        counters.packets_in,
        counters.packets_delivered + counters.packets_forwarded + counters.dropped_total()
    );
}

//= RFC1122 3.1 switch, 3.1 several interfaces
#[test]
fn a_stack_with_two_devices_that_was_not_told_to_forward_is_a_host_on_both_and_no_router() {
    let world = world_with(|router| router);
    let listener = TcpListener::bind(&world.router, "0.0.0.0:7").unwrap();
    for (host, address) in [(&world.left, "10.1.0.1:7"), (&world.right, "10.2.0.1:7")] {
        TcpStream::connect(host, address).unwrap();
        assert_eq!(listener.accept().unwrap().0.local_addr().unwrap(), address.parse().unwrap());
    }
    let timeout = Duration::from_millis(300);
    let error = TcpStream::connect_timeout(&world.left, &"10.2.0.2:7".parse().unwrap(), timeout).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(world.router.counters().packets_forwarded, 0);
}

#[test]
fn a_device_that_vanishes_takes_its_routes_along_and_leaves_the_rest_running() {
    let world = world();
    let (client, server) = connect(&world.left, &world.router, "10.1.0.1:0");
    let (_, lost) = connect(&world.right, &world.router, "10.2.0.1:0");
    world.to_right.vanish();
    eventually("the loss of the device", || world.router.interfaces()[1].mtu == 0);
    check_carried(&client, &server, &bytes(100_000, 3));
    assert_eq!(world.router.stopped(), None);
    let error = TcpStream::connect(&world.router, "10.2.0.2:7").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
    (&lost).write_all(b"into the void").unwrap();
    world.to_left.vanish();
    assert_eq!(world.router.wait_stopped(), Stopped::DeviceGone { name: "a".into() });
}

#[test]
fn a_busy_device_holds_up_neither_the_other_nor_the_way_to_ourselves() {
    let world = world();
    let held_up: Vec<_> = (0..50).map(|_| connect(&world.router, &world.right, "10.2.0.2:0")).collect();
    let (client, server) = connect(&world.router, &world.left, "10.1.0.2:0");
    let (here, there) = connect(&world.router, &world.router, "10.1.0.1:0");
    world.to_right.set_busy(true);
    for (stream, _) in &held_up {
        stream.set_nonblocking(true).unwrap();
        (&*stream).write_all(b"late").unwrap();
    }
    let socket = UdpSocket::bind(&world.router, "0.0.0.0:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut queued = 0;
    while socket.send_to(b"datagram", "10.2.0.2:9").is_ok() {
        queued += 1;
        assert!(queued < 100_000, "a busy device takes everything");
    }
    socket.send_to(b"datagram", "10.1.0.2:9").expect("another device has room");
    check_carried(&client, &server, &bytes(1 << 20, 4));
    check_carried(&here, &there, &bytes(1 << 20, 5));
    world.to_right.set_busy(false);
    for (_, stream) in &held_up {
        let mut buffer = [0; 4];
        (&*stream).read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"late");
    }
}

#[test]
fn a_thread_that_waits_to_send_by_a_busy_device_is_told_when_it_vanishes() {
    let world = world();
    world.to_left.set_busy(true);
    let socket = UdpSocket::bind(&world.router, "10.1.0.1:9").unwrap();
    let sender = thread::spawn(move || {
        loop {
            if let Err(error) = socket.send_to(b"text", "10.1.0.2:9") {
                return error.kind();
            }
        }
    });
    let queued = || world.router.counters().udp_out;
    let mut before = 0;
    eventually("a full queue", || {
        thread::sleep(Duration::from_millis(20));
        let now = queued();
        std::mem::replace(&mut before, now) == now && now > 0
    });
    world.to_left.vanish();
    eventually("the end of the wait", || sender.is_finished());
    assert_eq!(sender.join().unwrap(), ErrorKind::NetworkUnreachable);
}

#[test]
fn what_a_busy_device_cannot_take_waits_and_arrives_in_order() {
    let world = world();
    let receiver = UdpSocket::bind(&world.right, "10.2.0.2:9").unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let sender = UdpSocket::bind(&world.left, "0.0.0.0:0").unwrap();
    world.to_right.set_busy(true);
    for number in 0..100_u8 {
        sender.send_to(&[number], "10.2.0.2:9").unwrap();
    }
    eventually("forwarding", || world.router.counters().packets_forwarded == 100);
    world.to_right.set_busy(false);
    for number in 0..100_u8 {
        let mut buffer = [0; 10];
        assert_eq!(receiver.recv_from(&mut buffer).unwrap().0, 1);
        assert_eq!(buffer[0], number);
    }
}

#[test]
fn each_device_follows_its_own_mtu() {
    let world = world();
    world.to_left.set_mtu(1280);
    eventually("the change", || world.router.interfaces()[0].mtu == 1280);
    let (client, _server) = connect(&world.router, &world.left, "10.1.0.2:0");
    let (other, _server) = connect(&world.router, &world.right, "10.2.0.2:0");
    let mss = |stream: &TcpStream| stream.tcp_info().unwrap().snd_mss;
    // Less the headers, timestamps among them.
    assert_eq!((mss(&client), mss(&other)), (1280 - 52, 1500 - 52));
}

#[test]
fn routes_come_while_the_stack_runs_and_say_what_is_wrong_with_them() {
    let world = world();
    let net = &world.router;
    net.add_route("10.7.0.0/16,via=10.2.0.2").unwrap();
    let shown = || net.routes().iter().map(RouteConfig::to_string).collect::<Vec<_>>();
    assert!(shown().contains(&"10.7.0.0/16,via=10.2.0.2,dev=b".to_owned()), "{:?}", shown());
    assert!(shown().contains(&"10.1.0.0/24,dev=a".to_owned()), "{:?}", shown());
    for (wrong, hint) in [
        ("10.7.0.0/16,dev=c", "no device c"),
        ("10.7.0.0/16", "dev=a"),
        ("10.8.0.0/16,via=192.0.2.1", "no device of the stack leads to the router"),
        ("10.7.0.0/16,dev=a", "metric=10"),
        ("10.8.0.0/16,dev=a,src=192.0.2.1", "not an address of the stack"),
        ("somewhere", "10.0.0.0/8"),
    ] {
        let error = net.add_route(wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(hint), "{error}");
    }
    net.remove_route("10.7.0.0/16,via=10.2.0.2").unwrap();
    assert_eq!(net.remove_route("10.7.0.0/16,via=10.2.0.2").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!shown().iter().any(|route| route.starts_with("10.7.")), "{:?}", shown());
    let builder = Net::builder().device(MemoryDevice::pair(1500).unwrap().0).addr("10.9.0.2/24");
    let error = builder.route("10.7.0.0/16,dev=c").start().err().unwrap();
    assert!(error.to_string().contains("only mem0"), "{error}");
}

#[test]
fn applications_get_in_while_the_loop_forwards_at_full_rate() {
    let world = world();
    let stop = AtomicBool::new(false);
    let (client, server) = connect(&world.router, &world.left, "10.1.0.2:0");
    thread::scope(|scope| {
        let flood = UdpSocket::bind(&world.left, "0.0.0.0:0").unwrap();
        let stop = &stop;
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let _ = flood.send_to(&[0; 1000], "10.2.0.2:9");
            }
        });
        eventually("the flood", || world.router.counters().packets_forwarded > 1000);
        let before = world.router.counters().packets_forwarded;
        let mut slowest = Duration::ZERO;
        for _ in 0..200 {
            let began = Instant::now();
            (&client).write_all(b"ping").unwrap();
            slowest = slowest.max(began.elapsed());
            let mut buffer = [0; 4];
            (&server).read_exact(&mut buffer).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(world.router.counters().packets_forwarded > before + 1000, "nothing was forwarded meanwhile");
        assert!(slowest < Duration::from_secs(1), "a write took {slowest:?}");
    });
}

#[test]
fn of_eight_devices_one_that_is_flooded_leaves_the_others_their_turns() {
    let (mut hosts, mut builder) = (Vec::new(), Net::builder().forwarding(true));
    for number in 0..8 {
        let (host, hub) = MemoryDevice::pair(1500).unwrap();
        let address = |last| format!("10.{number}.0.{last}/24");
        builder = builder.device(hub.named(format!("hub{number}"))).addr(address(1));
        hosts.push(Net::builder().device(host).addr(address(2)).route("0.0.0.0/0").start().unwrap());
    }
    let hub = builder.start().unwrap();
    assert_eq!(hub.interfaces().len(), 8);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = UdpSocket::bind(&hosts[0], "0.0.0.0:0").unwrap();
        let stop = &stop;
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let _ = flood.send_to(&[0; 1000], "10.1.0.2:9");
            }
        });
        eventually("the flood", || hub.counters().packets_forwarded > 1000);
        for number in 2..8 {
            let other = if number == 7 { 2 } else { number + 1 };
            let (client, server) = connect(&hosts[number], &hosts[other], format!("10.{other}.0.2:0"));
            check_carried(&client, &server, &bytes(100_000, number as u64));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_route_is_what_it_was_written_as() {
    let text = "10.0.0.0/8,via=10.1.0.2,dev=tun0,metric=5,src=10.1.0.1";
    assert_eq!(text.parse::<RouteConfig>().unwrap().to_string(), text);
}
