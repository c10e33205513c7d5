//! Peers that vanish without a word: given up, reported, freed.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use tunstack::net::{Net, TcpStream};
use tunstack::proto::Config;

use crate::harness::{Opener, all_gone, in_namespace, net, pair, sh};

/// A stack that gives a byte up after two seconds, and a SYN too.
fn impatient() -> Net {
    let r2 = Duration::from_secs(2);
    net(Config { r2, r2_syn: r2, msl: Duration::from_millis(50), ..Config::default() })
}

/// Writes until it fails, and returns how.
fn write_until_error(stream: &mut TcpStream) -> ErrorKind {
    let chunk = vec![7; 1 << 16];
    loop {
        if let Err(error) = stream.write(&chunk) {
            return error.kind();
        }
    }
}

/// Makes the kernel deaf in mid-transfer in the given way; the writer must be told in time.
fn vanishes(command: &str) {
    let net = impatient();
    let (mut ours, theirs) = pair(&net, Opener::Kernel);
    let reader = theirs.try_clone().expect("descriptors are left");
    thread::spawn(move || {
        let mut reader = reader;
        while reader.read(&mut [0; 1 << 16]).is_ok_and(|read| read > 0) {}
    });
    let writer = thread::spawn(move || {
        let kind = write_until_error(&mut ours);
        (kind, Instant::now(), ours)
    });
    thread::sleep(Duration::from_millis(300));
    assert!(!writer.is_finished(), "nothing is wrong yet");
    let vanished = Instant::now();
    sh(command);
    let (kind, told, mut ours) = writer.join().expect("the writer ends");
    assert_eq!(kind, ErrorKind::TimedOut);
    let took = told - vanished;
    assert!((Duration::from_millis(1500)..Duration::from_secs(8)).contains(&took), "told after {took:?}");
    assert_eq!(ours.read(&mut [0; 16]).expect("an error is reported once"), 0);
    drop(ours);
    all_gone(&net, Duration::from_secs(5));
    drop(theirs);
}

#[test]
fn a_peer_whose_address_vanishes_in_mid_transfer_is_given_up_reported_and_freed() {
    in_namespace(|| vanishes("ip address del 10.9.0.1/24 dev tun0"));
}

#[test]
fn a_peer_behind_a_link_that_goes_down_for_good_is_given_up_reported_and_freed() {
    in_namespace(|| vanishes("ip link set tun0 down"));
}

#[test]
fn a_blocked_reader_is_told_when_what_was_written_is_given_up() {
    in_namespace(|| {
        let net = impatient();
        let (mut ours, theirs) = pair(&net, Opener::Stack);
        sh("ip address del 10.9.0.1/24 dev tun0");
        ours.write_all(b"anybody?").expect("it is only queued");
        assert_eq!(ours.read(&mut [0; 16]).expect_err("nobody answers").kind(), ErrorKind::TimedOut);
        drop((ours, theirs));
        all_gone(&net, Duration::from_secs(5));
    });
}

#[test]
fn a_dropped_socket_whose_peer_has_vanished_is_freed_all_the_same() {
    in_namespace(|| {
        let net = impatient();
        let (mut ours, theirs) = pair(&net, Opener::Stack);
        sh("ip address del 10.9.0.1/24 dev tun0");
        ours.write_all(&[1; 60_000]).expect("it is only queued");
        drop(ours);
        assert!(net.tcp_census().sockets > 0 || net.tcp_census().pages > 0, "it still tries");
        all_gone(&net, Duration::from_secs(10));
        drop(theirs);
    });
}

#[test]
fn a_connection_attempt_that_nobody_answers_times_out() {
    in_namespace(|| {
        let net = impatient();
        sh("ip address del 10.9.0.1/24 dev tun0");
        let started = Instant::now();
        let error = TcpStream::connect(&net, "10.9.0.1:8888").expect_err("nobody is there");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());

        let address = "10.9.0.1:8888".parse().expect("a literal address");
        let started = Instant::now();
        let error =
            TcpStream::connect_timeout(&net, &address, Duration::from_millis(300)).expect_err("nobody");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        all_gone(&net, Duration::from_secs(5));
    });
}

#[test]
fn a_user_timeout_is_kept() {
    in_namespace(|| {
        let net = net(Config::default());
        let (mut ours, theirs) = pair(&net, Opener::Stack);
        ours.set_user_timeout(Some(Duration::from_secs(1))).expect("the socket is open");
        sh("ip address del 10.9.0.1/24 dev tun0");
        let started = Instant::now();
        ours.write_all(b"anybody?").expect("it is only queued");
        assert_eq!(ours.read(&mut [0; 16]).expect_err("nobody answers").kind(), ErrorKind::TimedOut);
        let took = started.elapsed();
        assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&took), "told after {took:?}");
        drop((ours, theirs));
        all_gone(&net, Duration::from_secs(5));
    });
}
