//! A listener's backlog, as the kernel's clients see it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as KernelStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tunstack::net::{TcpListener, TcpStream};

use crate::harness::{all_gone, eventually, in_namespace, net, short_time_wait};

/// Starts `count` clients at once; each sends its stream, or why there is none, when that is known.
fn clients(
    count: usize,
    address: SocketAddr,
    limit: Duration,
) -> mpsc::Receiver<std::io::Result<KernelStream>> {
    let (sender, receiver) = mpsc::channel();
    for _ in 0..count {
        let sender = sender.clone();
        thread::spawn(move || {
            let _ = sender.send(KernelStream::connect_timeout(&address, limit));
        });
    }
    receiver
}

/// What each client says arrives once, at whichever connection is its own.
fn all_are_heard(streams: &mut [KernelStream], accepted: &mut [TcpStream]) {
    for (i, stream) in streams.iter_mut().enumerate() {
        write!(stream, "{i}").expect("the connection stands");
        stream.shutdown(std::net::Shutdown::Write).expect("the connection stands");
    }
    let mut heard: Vec<String> = accepted
        .iter_mut()
        .map(|stream| {
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("the connection stands");
            text
        })
        .collect();
    heard.sort();
    assert_eq!(heard, (0..streams.len()).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[test]
fn of_eight_clients_a_backlog_of_five_lets_in_six_and_the_rest_when_these_are_accepted() {
    in_namespace(|| {
        let net = net(short_time_wait());
        let listener = TcpListener::bind_with_backlog(&net, "10.9.0.2:8888", 5).expect("the port is free");
        let address = listener.local_addr().expect("a listener has an address");
        // One after the other: a SYN is turned away only when the queue is full as it comes.
        let mut streams: Vec<_> = (0..6)
            .map(|_| {
                let stream =
                    KernelStream::connect_timeout(&address, Duration::from_secs(3)).expect("six connect");
                eventually("the handshake is over", Duration::from_secs(1), || {
                    net.tcp_census().half_open == 0
                });
                stream
            })
            .collect();
        let late = clients(2, address, Duration::from_secs(20));
        // The kernel sends its SYN again after 1 s and again after 2 s more: neither lets a seventh in.
        assert!(late.recv_timeout(Duration::from_millis(3500)).is_err(), "a seventh client was let in");
        assert_eq!(net.tcp_census().half_open, 0, "a SYN that is turned away leaves nothing");
        let mut accepted: Vec<_> = (0..6).map(|_| listener.accept().expect("six wait").0).collect();
        for _ in 0..2 {
            let stream = late.recv_timeout(Duration::from_secs(10)).unwrap_or_else(|_| {
                panic!("there is room, and no client comes: {:?} {:?}", net.tcp_census(), net.counters())
            });
            streams.push(stream.expect("a late client connects well"));
            accepted.push(listener.accept().expect("one waits").0);
        }
        all_are_heard(&mut streams, &mut accepted);
        drop((accepted, streams, listener));
        all_gone(&net, Duration::from_secs(5));
    });
}

#[test]
fn eight_clients_that_come_at_once_are_all_served_in_the_end() {
    in_namespace(|| {
        let net = net(short_time_wait());
        let listener = TcpListener::bind_with_backlog(&net, "10.9.0.2:8888", 5).expect("the port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let connected = clients(8, address, Duration::from_secs(20));
        thread::sleep(Duration::from_millis(500));
        let mut accepted: Vec<_> =
            (0..8).map(|_| listener.accept().expect("all come in the end").0).collect();
        let mut streams: Vec<_> =
            connected.iter().take(8).map(|one| one.expect("all come in the end")).collect();
        all_are_heard(&mut streams, &mut accepted);
        drop((accepted, streams, listener));
        all_gone(&net, Duration::from_secs(5));
    });
}

#[test]
fn a_client_that_is_never_let_in_gives_up_by_itself_and_nothing_stays() {
    in_namespace(|| {
        let net = net(short_time_wait());
        let listener = TcpListener::bind_with_backlog(&net, "10.9.0.2:8888", 0).expect("the port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let first = KernelStream::connect(address).expect("a backlog of 0 lets one wait");
        eventually("the handshake is over", Duration::from_secs(1), || net.tcp_census().half_open == 0);
        for result in clients(2, address, Duration::from_secs(2)).iter().take(2) {
            assert_eq!(result.expect_err("there is no room").kind(), ErrorKind::TimedOut);
        }
        drop((first, listener));
        all_gone(&net, Duration::from_secs(5));
    });
}

#[test]
fn closing_a_listener_resets_those_that_wait_and_refuses_those_that_come() {
    in_namespace(|| {
        let net = net(short_time_wait());
        let listener = TcpListener::bind(&net, "10.9.0.2:8888").expect("the port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let mut waiting = KernelStream::connect(address).expect("the backlog has room");
        waiting.set_read_timeout(Some(Duration::from_secs(5))).expect("the timeout is not zero");
        drop(listener);
        assert_eq!(waiting.read(&mut [0]).expect_err("nobody accepts it").kind(), ErrorKind::ConnectionReset);
        let refused =
            KernelStream::connect_timeout(&address, Duration::from_secs(5)).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        all_gone(&net, Duration::from_secs(5));
    });
}

#[test]
fn the_default_backlog_takes_a_hundred_clients_before_the_first_is_accepted() {
    in_namespace(|| {
        let net = net(short_time_wait());
        let listener = TcpListener::bind(&net, "10.9.0.2:8888").expect("the port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let connected = clients(100, address, Duration::from_secs(10));
        let streams: Vec<_> =
            connected.iter().take(100).map(|one| one.expect("the backlog is 128")).collect();
        for _ in 0..100 {
            listener.accept().expect("a hundred wait");
        }
        drop((streams, listener));
        all_gone(&net, Duration::from_secs(5));
    });
}
