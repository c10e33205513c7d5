//! The library's sockets beside the kernel's: for the same event, the same answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener as KernelListener, UdpSocket as KernelUdp};
use std::thread;
use std::time::{Duration, Instant};

use tunstack::net::{TcpListener, TcpStream, UdpSocket};
use tunstack::proto::Config;

use crate::harness::{Opener, all_gone, in_namespace, net, pair, short_time_wait};

const ANSWER: Duration = Duration::from_secs(5);

#[test]
fn a_kernel_port_that_is_closed_refuses_at_once() {
    in_namespace(|| {
        let net = net(short_time_wait());
        for address in ["10.9.0.1:4", "[fd09::1]:4"] {
            let started = Instant::now();
            let error = TcpStream::connect(&net, address).expect_err("nobody listens there");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{address}: {error}");
            assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
        }
        all_gone(&net, Duration::from_secs(2));
    });
}

#[test]
fn binding_fails_as_it_does_on_the_kernels_sockets() {
    in_namespace(|| {
        let net = net(Config::default());
        let _ours = TcpListener::bind(&net, "10.9.0.2:80").expect("the port is free");
        let _theirs = KernelListener::bind("10.9.0.1:80").expect("the port is free");
        let ours = TcpListener::bind(&net, "10.9.0.2:80").map(drop);
        let theirs = KernelListener::bind("10.9.0.1:80").map(drop);
        assert_eq!(ours.map_err(|e| e.kind()), theirs.map_err(|e| e.kind()));
        let ours = TcpListener::bind(&net, "192.0.2.1:80").map(drop);
        let theirs = KernelListener::bind("192.0.2.1:80").map(drop);
        assert_eq!(ours.map_err(|e| e.kind()), theirs.map_err(|e| e.kind()));
        let ours = UdpSocket::bind(&net, "192.0.2.1:80").map(drop);
        let theirs = KernelUdp::bind("192.0.2.1:80").map(drop);
        assert_eq!(ours.map_err(|e| e.kind()), theirs.map_err(|e| e.kind()));
    });
}

#[test]
fn a_destination_without_a_route_is_unreachable_as_it_is_for_the_kernel() {
    in_namespace(|| {
        let net = net(Config::default());
        let ours = TcpStream::connect(&net, "192.0.2.1:80").map(drop);
        let theirs = std::net::TcpStream::connect("192.0.2.1:80").map(drop);
        assert_eq!(ours.map_err(|e| e.kind()), theirs.map_err(|e| e.kind()));
    });
}

#[test]
fn reads_time_out_or_would_block_as_they_do_on_the_kernels_sockets() {
    in_namespace(|| {
        let net = net(short_time_wait());
        let (mut ours, mut theirs) = pair(&net, Opener::Kernel);
        let short = Some(Duration::from_millis(120));
        ours.set_read_timeout(short).expect("the timeout is not zero");
        theirs.set_read_timeout(short).expect("the timeout is not zero");
        let started = Instant::now();
        let our_error = ours.read(&mut [0]).expect_err("nothing was sent");
        let took = started.elapsed();
        assert_eq!(our_error.kind(), theirs.read(&mut [0]).expect_err("nothing was sent").kind());
        assert!((Duration::from_millis(119)..Duration::from_millis(600)).contains(&took), "{took:?}");
        assert_eq!(ours.read_timeout().expect("the socket is open"), short);

        ours.set_nonblocking(true).expect("the socket is open");
        assert_eq!(ours.read(&mut [0]).expect_err("nothing was sent").kind(), ErrorKind::WouldBlock);
        let zero = ours.set_read_timeout(Some(Duration::ZERO)).map_err(|e| e.kind());
        assert_eq!(zero, theirs.set_read_timeout(Some(Duration::ZERO)).map_err(|e| e.kind()));
    });
}

#[test]
fn both_ends_agree_on_their_addresses() {
    in_namespace(|| {
        let net = net(short_time_wait());
        for opener in [Opener::Kernel, Opener::Stack] {
            let (ours, theirs) = pair(&net, opener);
            assert_eq!(ours.local_addr().ok(), theirs.peer_addr().ok());
            assert_eq!(ours.peer_addr().ok(), theirs.local_addr().ok());
        }
    });
}

#[test]
fn peeking_leaves_the_data_and_a_clone_shares_the_stream() {
    in_namespace(|| {
        let net = net(short_time_wait());
        let (mut ours, mut theirs) = pair(&net, Opener::Kernel);
        theirs.write_all(b"abc").expect("the connection stands");
        let mut buffer = [0; 3];
        while ours.peek(&mut buffer).expect("the connection stands") < 3 {}
        assert_eq!(&buffer, b"abc");
        let mut clone = ours.try_clone().expect("a clone is another handle");
        let mut one = [0];
        clone.read_exact(&mut one).expect("the data is still there");
        ours.read_exact(&mut buffer[1..]).expect("the rest is there for the other handle");
        assert_eq!((one[0], &buffer[1..]), (b'a', &b"bc"[..]));
        drop(ours);
        clone.write_all(b"still open").expect("one handle is left");
        theirs.read_exact(&mut [0; 10]).expect("one handle is left");
    });
}

#[test]
fn tcp_info_tells_what_has_happened() {
    in_namespace(|| {
        let net = net(short_time_wait());
        let (mut ours, mut theirs) = pair(&net, Opener::Kernel);
        ours.write_all(&[5; 10_000]).expect("the connection stands");
        theirs.read_exact(&mut [0; 10_000]).expect("the connection stands");
        theirs.write_all(&[6; 3000]).expect("the connection stands");
        ours.read_exact(&mut [0; 3000]).expect("the connection stands");
        crate::harness::eventually("everything is acknowledged", ANSWER, || {
            ours.tcp_info().is_ok_and(|info| info.bytes_acked == 10_000)
        });
        let info = ours.tcp_info().expect("the socket is open");
        assert_eq!(info.state.to_string(), "ESTABLISHED");
        assert_eq!((info.bytes_acked, info.bytes_received), (10_000, 3000));
        assert_eq!((info.unsent, info.unacknowledged, info.unread), (0, 0, 0));
        assert!(info.srtt.is_some_and(|srtt| srtt < Duration::from_millis(500)), "{info:?}");
        assert!((500..=1460).contains(&info.snd_mss), "{info:?}");
    });
}

#[test]
fn threads_share_one_stack_and_one_listener() {
    in_namespace(|| {
        let net = net(short_time_wait());
        let listener = TcpListener::bind(&net, "10.9.0.2:7").expect("the port is free");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let (mut stream, _) = listener.accept().expect("a client comes");
                        let mut question = [0; 8];
                        stream.read_exact(&mut question).expect("the client asks");
                        stream.write_all(&question).expect("the client listens");
                    }
                });
            }
            for client in 0..4_u32 {
                scope.spawn(move || {
                    for round in 0..25_u32 {
                        let mut stream =
                            std::net::TcpStream::connect("10.9.0.2:7").expect("the stack accepts");
                        let question = [client.to_le_bytes(), round.to_le_bytes()].concat();
                        stream.write_all(&question).expect("the connection stands");
                        let mut answer = [0; 8];
                        stream.read_exact(&mut answer).expect("the server answers");
                        assert_eq!(answer, *question);
                    }
                });
            }
        });
        drop(listener);
        all_gone(&net, Duration::from_secs(5));
    });
}

#[test]
fn udp_sockets_exchange_datagrams_with_the_kernels() {
    in_namespace(|| {
        let net = net(Config::default());
        let ours = UdpSocket::bind(&net, "10.9.0.2:5000").expect("the port is free");
        let theirs = KernelUdp::bind("10.9.0.1:6000").expect("the port is free");
        ours.set_read_timeout(Some(ANSWER)).expect("the timeout is not zero");
        theirs.set_read_timeout(Some(ANSWER)).expect("the timeout is not zero");
        let mut buffer = [0; 2000];
        for size in [0, 1, 700, 1472] {
            assert_eq!(theirs.send_to(&vec![1; size], "10.9.0.2:5000").expect("it is sent"), size);
            let (len, from) = ours.recv_from(&mut buffer).expect("it arrives");
            assert_eq!((len, from.to_string().as_str()), (size, "10.9.0.1:6000"));
            assert_eq!(ours.send_to(&vec![2; size], from).expect("it is sent"), size);
            let (len, from) = theirs.recv_from(&mut buffer).expect("it arrives");
            assert_eq!((len, from.to_string().as_str()), (size, "10.9.0.2:5000"));
        }
    });
}

#[test]
fn a_connected_udp_socket_hears_that_the_kernels_port_is_closed() {
    in_namespace(|| {
        let net = net(Config::default());
        for (local, remote) in [("10.9.0.2:0", "10.9.0.1:4"), ("[fd09::2]:0", "[fd09::1]:4")] {
            let socket = UdpSocket::bind(&net, local).expect("a port is free");
            socket.set_read_timeout(Some(ANSWER)).expect("the timeout is not zero");
            socket.connect(remote).expect("there is a route");
            socket.send(b"anybody?").expect("the datagram is sent");
            let error = socket.recv(&mut [0; 16]).expect_err("nobody listens there");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{remote}: {error}");
        }
    });
}
