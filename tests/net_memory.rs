//! Two running stacks in one process, joined by a pair of memory devices: sockets as applications use them.

mod support {
    pub(crate) mod running;
}

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tunstack::device::memory::Switches;
use tunstack::device::{Device, MemoryDevice, Received, Room};
use tunstack::net::{Net, Stopped, TcpListener, TcpStream, UdpSocket};
use tunstack::proto::{Config, Egress, Event, Offloads, Owner, SendOptions, Sent, Stack};
use tunstack::runtime::Service;

use support::running::{PATIENCE, bytes, connect, eventually, exchange};

const LEFT: &str = "10.9.0.1";
const RIGHT: &str = "10.9.0.2";

/// Two stacks, and the switches of their devices.
struct World {
    left: Net,
    right: Net,
    left_switches: Switches,
    right_switches: Switches,
}

fn world() -> World {
    world_with(Config::default())
}

fn world_with(config: Config) -> World {
    let (left, right) = MemoryDevice::pair(1500).unwrap();
    let (left_switches, right_switches) = (left.switches(), right.switches());
    let start = |device, v4: &str, v6: &str| {
        Net::builder().device(device).addr(v4).addr(v6).config(config.clone()).start().unwrap()
    };
    World {
        left: start(left, "10.9.0.1/24", "fd09::1/64"),
        right: start(right, "10.9.0.2/24", "fd09::2/64"),
        left_switches,
        right_switches,
    }
}

/// A connection: the left stack's end and the right stack's.
fn connection(world: &World) -> (TcpStream, TcpStream) {
    connect(&world.left, &world.right, (RIGHT, 0))
}

#[test]
fn four_megabytes_go_each_way_at_once_in_both_families() {
    for address in ["10.9.0.2:0", "[fd09::2]:0"] {
        let world = world();
        let listener = TcpListener::bind(&world.right, address).unwrap();
        let address = listener.local_addr().unwrap();
        let (up, down) = (bytes(4 << 20, 1), bytes(4 << 20, 2));
        thread::scope(|scope| {
            let server = scope.spawn(|| {
                let (stream, _) = listener.accept().unwrap();
                exchange(&stream, &down)
            });
            let stream = TcpStream::connect(&world.left, address).unwrap();
            assert!(exchange(&stream, &up) == down, "the bytes going down changed");
            assert!(server.join().unwrap() == up, "the bytes going up changed");
        });
    }
}

#[test]
fn four_threads_accept_from_one_listener_and_sixteen_clients_are_served() {
    const CLIENTS: usize = 16;
    let world = world();
    let listener = TcpListener::bind(&world.right, (RIGHT, 7)).unwrap();
    let servers: Vec<_> = (0..4)
        .map(|_| {
            let listener = listener.try_clone().unwrap();
            thread::spawn(move || {
                // Ends when the stack does.
                while let Ok((stream, _)) = listener.accept() {
                    io::copy(&mut &stream, &mut &stream).unwrap();
                }
            })
        })
        .collect();
    let start = Barrier::new(CLIENTS);
    thread::scope(|scope| {
        for seed in 0..CLIENTS {
            let (start, net) = (&start, &world.left);
            scope.spawn(move || {
                let data = bytes(100_000, seed as u64);
                start.wait();
                let stream = TcpStream::connect(net, (RIGHT, 7)).unwrap();
                assert!(exchange(&stream, &data) == data);
            });
        }
    });
    drop(listener);
    world.right.shutdown(PATIENCE);
    for server in servers {
        server.join().unwrap();
    }
}

#[test]
fn a_read_gives_up_when_its_time_is_over_and_not_before() {
    let (client, server) = connection(&world());
    let timeout = Duration::from_millis(60);
    client.set_read_timeout(Some(timeout)).unwrap();
    let start = Instant::now();
    assert_eq!((&client).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= timeout, "{:?}", start.elapsed());
    (&server).write_all(b"x").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!((&client).read(&mut [0; 1]).unwrap(), 1);
}

#[test]
fn a_write_that_runs_out_of_time_says_how_much_was_taken() {
    let (client, server) = connection(&world());
    client.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    let data = bytes(4 << 20, 6);
    let mut taken = (&client).write(&data).unwrap();
    assert!(taken > 0 && taken < data.len(), "{taken}");
    loop {
        match (&client).write(&data[taken..]) {
            Ok(more) => taken += more,
            Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    // What was said to be taken was, and in order.
    let mut received = vec![0; taken];
    (&server).read_exact(&mut received).unwrap();
    assert!(received == data[..taken]);
}

#[test]
fn a_socket_that_does_not_block_answers_would_block() {
    let world = world();
    let listener = TcpListener::bind(&world.right, (RIGHT, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);

    let client = TcpStream::connect(&world.left, listener.local_addr().unwrap()).unwrap();
    let mut accepted = None;
    eventually("the connection", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (server, peer) = accepted.unwrap();
    assert_eq!(peer, client.local_addr().unwrap());

    // The mode belongs to the socket, so a second handle has it, too.
    client.try_clone().unwrap().set_nonblocking(true).unwrap();
    assert_eq!((&client).read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut written = 0;
    loop {
        match (&client).write(&[1; 100_000]) {
            Ok(count) => written += count,
            Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(written < 100 << 20, "nothing ever filled up");
    }
    let mut left = vec![0; written];
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    (&server).read_exact(&mut left).unwrap();
}

#[test]
fn shutting_reading_down_wakes_a_blocked_reader() {
    let (client, _server) = connection(&world());
    thread::scope(|scope| {
        let reader = scope.spawn(|| (&client).read(&mut [0; 1]));
        thread::sleep(Duration::from_millis(30));
        client.shutdown(Shutdown::Read).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 0);
    });
}

#[test]
fn a_half_closed_connection_still_carries_the_other_way() {
    let (client, server) = connection(&world());
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!((&server).read(&mut [0; 1]).unwrap(), 0);
    (&server).write_all(b"still here").unwrap();
    let mut buffer = [0; 10];
    (&client).read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"still here");
}

#[test]
fn peeking_leaves_the_bytes_to_be_read() {
    let (client, server) = connection(&world());
    (&server).write_all(b"abc").unwrap();
    let mut buffer = [0; 3];
    eventually("three bytes", || client.peek(&mut buffer).unwrap() == 3);
    assert_eq!(&buffer, b"abc");
    (&client).read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"abc");
}

#[test]
fn dropping_every_handle_sends_what_was_written_first() {
    let World { left, right, .. } = world();
    let listener = TcpListener::bind(&left, (LEFT, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let data = bytes(400_000, 3);
    let sender = {
        let data = data.clone();
        thread::spawn(move || {
            let mut stream = TcpStream::connect(&right, address).unwrap();
            stream.write_all(&data).unwrap();
            // The stream goes first, then the last handle of its stack.
        })
    };
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    assert!(received == data);
    sender.join().unwrap();
}

#[test]
fn a_socket_keeps_its_stack_running() {
    let World { left, right, .. } = world();
    let listener = TcpListener::bind(&right, (RIGHT, 0)).unwrap();
    drop(right);
    let client = TcpStream::connect(&left, listener.local_addr().unwrap()).unwrap();
    drop(left);
    let (server, _) = listener.accept().unwrap();
    drop(listener);
    (&client).write_all(b"x").unwrap();
    assert_eq!((&server).read(&mut [0; 9]).unwrap(), 1);
}

#[test]
fn dropping_the_last_handle_of_a_stack_whose_peer_is_gone_takes_a_bounded_time() {
    let world = world();
    let (client, _server) = connection(&world);
    world.left_switches.set_losing(true);
    (&client).write_all(b"never to be acknowledged").unwrap();
    let World { left, .. } = world;
    let start = Instant::now();
    drop((client, left));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(1500) && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn linger_zero_resets_and_a_longer_linger_waits_for_the_peer() {
    let world = world();
    let (client, server) = connection(&world);
    client.set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!((&server).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);

    let (client, server) = connection(&world);
    client.set_linger(Some(PATIENCE)).unwrap();
    (&client).write_all(b"last words").unwrap();
    let start = Instant::now();
    drop(client);
    assert!(start.elapsed() < PATIENCE / 2, "everything is acknowledged soon");
    let mut words = String::new();
    (&server).read_to_string(&mut words).unwrap();
    assert_eq!(words, "last words");

    let (client, _server) = connection(&world);
    let linger = Duration::from_millis(150);
    client.set_linger(Some(linger)).unwrap();
    world.left_switches.set_losing(true);
    (&client).write_all(b"lost").unwrap();
    let start = Instant::now();
    drop(client);
    let took = start.elapsed();
    assert!(took >= linger && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn unread_data_outlives_the_connection() {
    let world = world();
    let (client, server) = connection(&world);
    (&server).write_all(b"parting gift").unwrap();
    drop(server);
    eventually("the FIN", || client.tcp_info().unwrap().unread == 12);
    client.shutdown(Shutdown::Write).unwrap();
    eventually("the end of the connection", || client.peer_addr().is_err());
    let mut gift = String::new();
    (&client).read_to_string(&mut gift).unwrap();
    assert_eq!(gift, "parting gift");
}

#[test]
fn a_shutdown_waits_for_what_is_queued_and_says_how_it_went() {
    let world = world();
    let (client, server) = connection(&world);
    let data = bytes(100_000, 4);
    (&client).write_all(&data).unwrap();
    drop(client);
    let reader = thread::spawn(move || {
        let mut received = Vec::new();
        (&server).read_to_end(&mut received).map(|_| received)
    });
    let report = world.left.shutdown(PATIENCE);
    assert!(report.drained, "{report:?}");
    assert_eq!((report.finished, report.reset), (1, 0));
    assert!(reader.join().unwrap().unwrap() == data);
    assert_eq!(world.left.stopped(), Some(Stopped::Shutdown(report)));
    assert_eq!(world.left.shutdown(PATIENCE), report, "a second call tells the same");
}

#[test]
fn a_shutdown_resets_what_does_not_finish_in_time() {
    let world = world();
    let (client, server) = connection(&world);
    world.right_switches.set_losing(true);
    (&client).write_all(b"no answer comes").unwrap();
    let report = world.left.shutdown(Duration::from_millis(100));
    assert_eq!((report.finished, report.reset, report.drained), (0, 1, false));
    assert!(report.took >= Duration::from_millis(100) && report.took < Duration::from_secs(5), "{report:?}");
    let mut buffer = [0; 100];
    let first = (&server).read(&mut buffer);
    // The bytes came before the reset.
    assert_eq!(first.unwrap(), 15);
    assert_eq!((&server).read(&mut buffer).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_shutdown_lets_every_blocked_thread_go() {
    let world = world();
    let (client, server) = connection(&world);
    let listener = TcpListener::bind(&world.left, (LEFT, 0)).unwrap();
    let socket = UdpSocket::bind(&world.left, (LEFT, 0)).unwrap();
    client.set_read_timeout(None).unwrap();
    thread::scope(|scope| {
        let blocked = [
            scope.spawn(|| (&client).read(&mut [0; 1]).map(drop)),
            scope.spawn(|| listener.accept().map(drop)),
            scope.spawn(|| socket.recv_from(&mut [0; 1]).map(drop)),
        ];
        thread::sleep(Duration::from_millis(30));
        world.left.shutdown(Duration::from_millis(100));
        for thread in blocked {
            thread.join().unwrap().unwrap_err();
        }
    });
    let again = TcpListener::bind(&world.left, (LEFT, 0)).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NetworkDown);
    assert!(again.to_string().contains("shut down"), "{again}");
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::NetworkDown);
    drop(server);
}

#[test]
fn a_device_that_vanishes_ends_the_stack_and_every_call() {
    let world = world();
    let (client, server) = connection(&world);
    (&server).write_all(b"before").unwrap();
    eventually("the bytes", || client.tcp_info().unwrap().unread == 6);
    let listener = TcpListener::bind(&world.left, (LEFT, 0)).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| world.left.wait_stopped());
        let blocked = scope.spawn(|| listener.accept().map(drop));
        thread::sleep(Duration::from_millis(30));
        world.left_switches.vanish();
        assert_eq!(waiter.join().unwrap(), Stopped::DeviceGone { name: "mem0".to_owned() });
        let error = blocked.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkDown);
        assert!(error.to_string().contains("mem0"), "{error}");
    });
    let mut buffer = [0; 10];
    assert_eq!((&client).read(&mut buffer).unwrap(), 6, "what was received can still be read");
    assert!((&client).read(&mut buffer).is_err());
    assert_eq!((&client).write(b"x").unwrap_err().kind(), ErrorKind::NetworkDown);
}

#[test]
fn a_busy_device_delays_and_loses_nothing() {
    let world = world();
    let (client, server) = connection(&world);
    let sent_before = world.left.counters().packets_out;
    client.set_nodelay(true).unwrap();
    world.left_switches.set_busy(true);
    for part in [&b"pa"[..], b"tien", b"ce"] {
        (&client).write_all(part).unwrap();
    }
    server.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!((&server).read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    // The first is with the loop, which learnt from it that the device has no room.
    assert_eq!(world.left.counters().packets_out, sent_before + 1);
    world.left_switches.set_busy(false);
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 8];
    (&server).read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"patience");
    assert_eq!(world.left.counters().packets_out, sent_before + 2, "what had to wait went together");
    assert_eq!(world.left.counters().tcp_retransmits, 0);
}

#[test]
fn udp_datagrams_keep_their_boundaries_and_their_senders() {
    let world = world();
    let server = UdpSocket::bind(&world.right, "0.0.0.0:53").unwrap();
    let client = UdpSocket::bind(&world.left, (LEFT, 0)).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    client.connect((RIGHT, 53)).unwrap();
    assert_eq!(client.peer_addr().unwrap(), format!("{RIGHT}:53").parse::<SocketAddr>().unwrap());
    client.send(b"one").unwrap();
    client.send(b"three").unwrap();
    let mut buffer = [0; 4];
    assert_eq!(server.peek_from(&mut buffer).unwrap().0, 3);
    let (len, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..len], from), (&b"one"[..], client.local_addr().unwrap()));
    assert_eq!(server.recv(&mut buffer).unwrap(), 4, "what doesn't fit is lost");
    server.send_to(b"back", from).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.recv(&mut buffer).unwrap(), 4);
}

#[test]
fn a_burst_of_datagrams_comes_as_it_would_one_by_one_and_in_one_packet_where_the_device_takes_it() {
    let all = Offloads { checksum: true, tso4: true, tso6: true, uso: true };
    for (offloads, packets) in [(Offloads::default(), 41), (all, 1)] {
        let (left, right) = MemoryDevice::pair(1500).unwrap();
        let start = |device: MemoryDevice, address| {
            Net::builder().device(device.with_offloads(offloads)).addr(address).start().unwrap()
        };
        let (left, right) = (start(left, "10.9.0.1/24"), start(right, "10.9.0.2/24"));
        let server = UdpSocket::bind(&right, "0.0.0.0:443").unwrap();
        let client = UdpSocket::bind(&left, (LEFT, 0)).unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let data = bytes(40_500, 9);
        let with = SendOptions { tos: Some(0b10), ..SendOptions::default() };
        let to = Some(SocketAddr::new(RIGHT.parse().unwrap(), 443));
        assert_eq!(client.send_segments(&data, 1000, to, with).unwrap(), 40_500);
        let mut buffer = [0; 2000];
        for expected in data.chunks(1000) {
            let read = server.recv_msg(&mut buffer).unwrap();
            assert_eq!(
                (&buffer[..read.len], read.from, read.tos),
                (expected, client.local_addr().unwrap(), 0b10)
            );
        }
        assert_eq!(left.counters().packets_out, packets);
        for (len, size, to) in [(65, 1, to), (1, 0, to), (9, 1, None)] {
            let error = client.send_segments(&data[..len], size, to, with).unwrap_err();
            let is_expected = if to.is_some() {
                error.kind() == ErrorKind::InvalidInput
            } else {
                error.raw_os_error() == Some(rustix::io::Errno::DESTADDRREQ.raw_os_error())
            };
            assert!(is_expected, "{len} {size} {error:?}");
        }
        let too_long = client.send_segments(&vec![0; 65_508], 1400, to, with).unwrap_err();
        assert_eq!(too_long.raw_os_error(), Some(rustix::io::Errno::MSGSIZE.raw_os_error()));
    }
}

#[test]
fn a_connection_of_a_stack_with_itself_works() {
    let world = world();
    let listener = TcpListener::bind(&world.left, "127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let data = bytes(1 << 20, 5);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (stream, _) = listener.accept().unwrap();
            exchange(&stream, b"done")
        });
        let stream = TcpStream::connect(&world.left, address).unwrap();
        assert_eq!(exchange(&stream, &data), b"done");
        assert!(server.join().unwrap() == data);
    });
}

#[test]
fn options_can_be_read_back() {
    let (client, _server) = connection(&world());
    client.set_nodelay(true).unwrap();
    client.set_ttl(9).unwrap();
    client.set_tos(0x10).unwrap();
    client.set_linger(Some(Duration::from_secs(3))).unwrap();
    client.set_user_timeout(Some(Duration::from_secs(4))).unwrap();
    client.set_retransmit_limits(5, Duration::from_secs(200)).unwrap();
    assert!(client.nodelay().unwrap());
    assert_eq!((client.ttl().unwrap(), client.tos().unwrap()), (9, 0x10));
    assert_eq!(client.linger().unwrap(), Some(Duration::from_secs(3)));
    assert_eq!(client.user_timeout().unwrap(), Some(Duration::from_secs(4)));
    let options = client.options().unwrap();
    assert_eq!((options.r1_retransmits, options.r2), (5, Duration::from_secs(200)));
    assert_eq!(client.set_ttl(0).unwrap_err().kind(), ErrorKind::InvalidInput);
    client.set_linger(None).unwrap();
}

/// Answers the first event with a panic.
struct Panics;

impl Service for Panics {
    fn start(&mut self, stack: &mut Stack, owner: Owner, now: tunstack::time::Instant) -> io::Result<()> {
        stack.tcp_listen(now, "10.9.0.1:666".parse().unwrap(), None, owner)?;
        Ok(())
    }

    fn on_event(&mut self, _: &mut Stack, _: Event, _: tunstack::time::Instant) {
        panic!("for the test");
    }

    fn on_closing(&mut self, _: &mut Stack, _: tunstack::time::Instant) {}
}

#[test]
fn a_panic_in_the_loop_fails_every_call_and_hangs_none() {
    let world = world();
    world.left.add_service(Panics).unwrap();
    let (client, _server) = connection(&world);
    client.set_read_timeout(None).unwrap();
    thread::scope(|scope| {
        let reader = scope.spawn(|| (&client).read(&mut [0; 1]));
        thread::sleep(Duration::from_millis(30));
        let _ = TcpStream::connect(&world.right, (LEFT, 666));
        reader.join().unwrap().unwrap_err();
    });
    let stopped = world.left.wait_stopped();
    assert!(matches!(&stopped, Stopped::Failed { cause } if cause.contains("for the test")), "{stopped:?}");
    assert_eq!((&client).write(b"x").unwrap_err().kind(), ErrorKind::NetworkDown);
}

/// Sends back what comes, and notes what it is told.
struct Echo {
    log: mpsc::Sender<&'static str>,
    socket: Option<tunstack::proto::UdpId>,
}

impl Service for Echo {
    fn start(&mut self, stack: &mut Stack, owner: Owner, now: tunstack::time::Instant) -> io::Result<()> {
        assert_ne!(owner, Owner::APPLICATION);
        self.socket = Some(stack.udp_bind(now, "10.9.0.1:7".parse().unwrap(), owner)?);
        self.log.send("start").unwrap();
        Ok(())
    }

    fn on_event(&mut self, stack: &mut Stack, _: Event, now: tunstack::time::Instant) {
        let mut buffer = [0; 1500];
        let id = self.socket.unwrap();
        while let Ok((len, from)) = stack.udp_recv_from(id, &mut buffer) {
            stack.udp_send_to(now, id, &buffer[..len], Some(from)).unwrap();
        }
    }

    fn on_closing(&mut self, stack: &mut Stack, now: tunstack::time::Instant) {
        stack.udp_close(now, self.socket.unwrap());
        self.log.send("closing").unwrap();
    }
}

#[test]
fn a_service_runs_in_the_loop_and_hears_of_the_end() {
    let world = world();
    let (log, told) = mpsc::channel();
    world.left.add_service(Echo { log: log.clone(), socket: None }).unwrap();
    let in_use = world.left.add_service(Echo { log, socket: None }).unwrap_err();
    assert_eq!(in_use.kind(), ErrorKind::AddrInUse);
    let client = UdpSocket::bind(&world.right, (RIGHT, 0)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(b"hello", (LEFT, 7)).unwrap();
    let mut buffer = [0; 10];
    assert_eq!(client.recv(&mut buffer).unwrap(), 5);
    world.left.shutdown(PATIENCE);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["start", "closing"]);
}

#[test]
fn an_idle_stack_never_wakes() {
    let (left, right) = MemoryDevice::pair(1500).unwrap();
    let start = |device: MemoryDevice, name, address| {
        Net::builder().device(device.named(name)).addr(address).start().unwrap()
    };
    let (left, right) = (start(left, "idle0", "10.9.0.1/24"), start(right, "idle1", "10.9.0.2/24"));
    let listener = TcpListener::bind(&right, (RIGHT, 0)).unwrap();
    let client = TcpStream::connect(&left, listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (&client).write_all(b"x").unwrap();
    assert_eq!((&server).read(&mut [0; 9]).unwrap(), 1);

    let sleeps = || ["tunstack idle0", "tunstack idle1"].map(voluntary_switches);
    // Until the timers that the conversation started have run out.
    thread::sleep(Duration::from_millis(500));
    let before = sleeps();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(sleeps(), before, "a loop with nothing to do woke");
    (&client).write_all(b"x").unwrap();
    assert_eq!((&server).read(&mut [0; 9]).unwrap(), 1);
    // It is seen to when it goes back to sleep, which may be after the byte was read.
    eventually("the end of a loop's sleep", || sleeps() != before);
}

/// How often the thread called `name` has gone to sleep.
fn voluntary_switches(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let mut statuses = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let status = statuses.find(|status| status.lines().next() == Some(&format!("Name:\t{name}"))).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

/// A device that swallows everything and notes when.
struct Stopwatch {
    bell: std::os::fd::OwnedFd,
    sent: mpsc::Sender<Instant>,
}

impl Device for Stopwatch {
    fn name(&self) -> &str {
        "stopwatch"
    }

    fn mtu(&self) -> usize {
        1500
    }

    fn recv(&self, _: &mut [u8]) -> Received {
        Received::Empty
    }

    fn send(&self, _: Egress<'_>) -> Sent {
        self.sent.send(Instant::now()).unwrap();
        Sent::Taken
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn room(&self) -> Room {
        Room::Readable
    }
}

#[test]
fn a_timer_fires_within_a_hundred_microseconds_of_its_time() {
    const RTO: Duration = Duration::from_millis(20);
    let (sender, sent) = mpsc::channel();
    let bell = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap();
    let config = Config { rto_initial: RTO, rto_min: RTO, rto_max: RTO, ..Config::default() };
    let device = Stopwatch { bell, sent: sender };
    let net = Net::builder().device(device).addr("10.9.0.1/24").config(config).start().unwrap();
    let remote = "10.9.0.2:7".parse().unwrap();
    // What the machine is able to do meanwhile: a thread that only sleeps.
    let sleeper = thread::spawn(|| {
        let sleep = |_| {
            let began = Instant::now();
            thread::sleep(RTO);
            began.elapsed().abs_diff(RTO)
        };
        (0..24).map(sleep).min().unwrap()
    });
    TcpStream::connect_timeout(&net, &remote, Duration::from_millis(500)).unwrap_err();
    let sleeper = sleeper.join().unwrap();
    let times: Vec<Instant> = sent.try_iter().collect();
    // The first pair is the SYN, sent by this thread, and its first repetition. A machine that is busy with
    // other tests may delay any one of them, but none can come early, and the best of twenty tells what the
    // loop is able to do.
    let intervals: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(intervals.len() >= 5, "{intervals:?}");
    let error = intervals.iter().map(|interval| interval.abs_diff(RTO)).min().unwrap();
    let limit = Duration::from_micros(100).max(sleeper + Duration::from_micros(50));
    assert!(error < limit, "the smallest error is {error:?}, a sleeper's {sleeper:?}: {intervals:?}");
}

#[test]
fn many_threads_share_one_stack_and_nothing_is_left_behind() {
    let config = Config { msl: Duration::from_millis(1), ..Config::default() };
    let world = Arc::new(world_with(config));
    let listener = TcpListener::bind(&world.right, (RIGHT, 7)).unwrap();
    let acceptor = {
        let listener = listener.try_clone().unwrap();
        thread::spawn(move || {
            for _ in 0..200 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                stream.read_to_end(&mut request).unwrap();
                stream.write_all(&request).unwrap();
            }
        })
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let stream = TcpStream::connect(&world.left, (RIGHT, 7)).unwrap();
                    assert_eq!(exchange(&stream, b"ping"), b"ping");
                }
            });
        }
    });
    acceptor.join().unwrap();
    drop(listener);
    for net in [&world.left, &world.right] {
        eventually("the end of every connection", || {
            let census = net.tcp_census();
            census.sockets + census.time_wait + census.half_open + census.pages == 0
        });
    }
}
