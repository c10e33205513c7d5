//! A stack that looks at its devices for a while before it sleeps: it does all that one does that sleeps at once, and it
//! sleeps in the end.

mod support {
    pub(crate) mod running;
}

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use tunstack::device::{Device, MemoryDevice, Received, Room};
use tunstack::net::{Net, Stopped, TcpStream};
use tunstack::proto::{Config, DeviceId, Egress, Sent};

use support::running::{PATIENCE, connect, eventually, pair_with};

/// A stack that is told to poll for so long polls until the test is over.
const EVER: Duration = Duration::from_secs(100);

fn bell() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

/// A byte there and a byte back.
fn ping(client: &TcpStream, server: &TcpStream) {
    for (mut from, mut to) in [(client, server), (server, client)] {
        from.write_all(b"x").unwrap();
        to.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn stacks_that_poll_move_a_megabyte_each_way_at_once() {
    let (left, right) = pair_with(|builder| builder.busy_poll(Duration::from_micros(200)));
    let (client, server) = connect(&left, &right, ("10.9.0.2", 0));
    let data: Vec<u8> = (0..1 << 20).map(|at: u32| (at / 251) as u8).collect();
    thread::scope(|scope| {
        for stream in [&client, &server] {
            let data = &data;
            scope.spawn(move || {
                (&*stream).write_all(data).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                let mut received = Vec::new();
                (&*stream).read_to_end(&mut received).unwrap();
                assert!(received == *data, "{} bytes, or others", received.len());
            });
        }
    });
}

#[test]
fn of_many_devices_each_is_polled() {
    let (ours, theirs): (Vec<_>, Vec<_>) = (0..6).map(|_| MemoryDevice::pair(1500).unwrap()).unzip();
    let mut builder = Net::builder().busy_poll(EVER);
    for (number, device) in ours.into_iter().enumerate() {
        builder = builder.device(device).addr(format!("10.9.{number}.1/24"));
    }
    let net = builder.start().unwrap();
    for (number, device) in theirs.into_iter().enumerate() {
        let peer = Net::builder().device(device).addr(format!("10.9.{number}.2/24")).start().unwrap();
        let (client, server) = connect(&peer, &net, format!("10.9.{number}.1:0"));
        ping(&client, &server);
    }
}

#[test]
fn a_stack_that_polls_ends_at_once() {
    let (left, right) = pair_with(|builder| builder.busy_poll(EVER));
    let (client, server) = connect(&left, &right, ("10.9.0.2", 0));
    ping(&client, &server);
    drop((client, server));
    for net in [left, right] {
        let began = Instant::now();
        net.shutdown(Duration::from_secs(1));
        assert!(began.elapsed() < PATIENCE, "the end took {:?}", began.elapsed());
    }
}

#[test]
fn a_device_that_vanishes_while_it_is_polled_ends_the_stack() {
    let (left, right) = MemoryDevice::pair(1500).unwrap();
    let switches = left.switches();
    let net = Net::builder().device(left).addr("10.9.0.1/24").busy_poll(EVER).start().unwrap();
    assert_eq!(right.send(Egress::plain(DeviceId(0), b"x", &[])), Sent::Taken);
    eventually("the packet's arrival", || net.counters().packets_in == 1);
    switches.vanish();
    assert_eq!(net.wait_stopped(), Stopped::DeviceGone { name: "mem0".to_owned() });
}

/// A device that brings nothing, tells when something is sent by it, and counts how often it was looked at and how often told
/// that it has changed.
struct Instrument {
    bell: OwnedFd,
    looks: Arc<AtomicU64>,
    change: Arc<OwnedFd>,
    changes: Arc<AtomicU64>,
    sent: mpsc::Sender<()>,
}

impl Instrument {
    fn new(sent: mpsc::Sender<()>) -> Instrument {
        let (looks, changes) = (Arc::default(), Arc::default());
        Instrument { bell: bell(), looks, change: Arc::new(bell()), changes, sent }
    }
}

impl Device for Instrument {
    fn name(&self) -> &str {
        "instrument"
    }

    fn mtu(&self) -> usize {
        1500
    }

    fn recv(&self, _: &mut [u8]) -> Received {
        self.looks.fetch_add(1, Ordering::Relaxed);
        Received::Empty
    }

    fn send(&self, _: Egress<'_>) -> Sent {
        // Not every test listens.
        let _ = self.sent.send(());
        Sent::Taken
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn room(&self) -> Room {
        Room::Readable
    }

    fn control_fd(&self) -> Option<BorrowedFd<'_>> {
        Some((*self.change).as_fd())
    }

    fn control(&self) {
        let _ = rustix::io::read(&*self.change, &mut [0; 8]);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }
}

/// Opens a connection to nobody, for so long.
fn call_in_vain(net: &Net, port: u16, time: Duration) {
    TcpStream::connect_timeout(net, &([10, 9, 0, 9], port).into(), time).unwrap_err();
}

#[test]
fn a_stack_that_polls_looks_again_before_it_sleeps_and_then_no_more() {
    const WAKES: u64 = 5;
    let looks = |busy_poll| {
        let (sender, _sent) = mpsc::channel();
        let device = Instrument::new(sender);
        let looks = Arc::clone(&device.looks);
        let config = Config { rto_initial: Duration::from_millis(20), ..Config::default() };
        let builder = Net::builder().device(device).addr("10.9.0.1/24").config(config);
        let net = builder.busy_poll(busy_poll).start().unwrap();
        for _ in 0..WAKES {
            // A timer that is set wakes the loop. If others needed the processor last time, it sleeps, for 100 ms.
            call_in_vain(&net, 1, Duration::from_millis(1));
            thread::sleep(Duration::from_millis(150));
        }
        let (looked, end) = (looks.load(Ordering::Relaxed), Instant::now() + PATIENCE);
        // The last look may be late on a busy machine, but there is a last.
        let mut last = looked;
        loop {
            thread::sleep(Duration::from_millis(300));
            match looks.load(Ordering::Relaxed) {
                same if same == last => return looked,
                more => last = more,
            }
            assert!(Instant::now() < end, "a loop with nothing to do looks and looks");
        }
    };
    let (sleeping, polling) = (looks(Duration::ZERO), looks(Duration::from_millis(50)));
    assert!(polling >= sleeping + WAKES / 2, "{polling} looks, and {sleeping} without polling");
}

#[test]
fn timers_that_are_set_while_the_stack_polls_fire_while_it_polls() {
    const RTO: Duration = Duration::from_millis(20);
    let (sender, sent) = mpsc::channel();
    let config = Config { rto_initial: RTO, rto_min: RTO, ..Config::default() };
    let builder = Net::builder().device(Instrument::new(sender)).addr("10.9.0.1/24");
    let net = builder.config(config).busy_poll(EVER).start().unwrap();
    // The first wakes the loop, which polls from then on, and leaves no timer behind: of the second it has to hear.
    call_in_vain(&net, 1, Duration::from_millis(1));
    assert_eq!(net.tcp_census().sockets, 0);
    while sent.try_recv().is_ok() {}
    let caller = {
        let net = net.clone();
        thread::spawn(move || call_in_vain(&net, 2, EVER))
    };
    for nth in 1..=5 {
        sent.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the SYN did not go for the {nth}. time"));
    }
    net.shutdown(Duration::ZERO);
    caller.join().unwrap();
}

#[test]
fn a_device_that_changes_while_the_stack_polls_is_heard() {
    let (sender, _sent) = mpsc::channel();
    let device = Instrument::new(sender);
    let (change, changes) = (Arc::clone(&device.change), Arc::clone(&device.changes));
    let net = Net::builder().device(device).addr("10.9.0.1/24").busy_poll(EVER).start().unwrap();
    call_in_vain(&net, 1, Duration::from_millis(1));
    for expected in 1..=3 {
        rustix::io::write(&*change, &1u64.to_ne_bytes()).unwrap();
        eventually("the news of a change", || changes.load(Ordering::Relaxed) == expected);
    }
}
