//! The daemon's UDP services and closed UDP ports, by kernel sockets.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Daemon, in_namespace, run_with_input};

/// Long enough for an answer on a loaded machine.
const ANSWER: Duration = Duration::from_secs(5);

/// Long enough to believe that there will be no answer.
const SILENCE: Duration = Duration::from_millis(400);

/// A kernel socket bound to `local` and connected to `remote`.
fn socket(local: &str, remote: &str) -> UdpSocket {
    let socket = UdpSocket::bind(local).expect("the local port is free");
    socket.connect(remote).expect("there is a route");
    socket.set_read_timeout(Some(ANSWER)).expect("the timeout is not zero");
    socket
}

fn ask(socket: &UdpSocket, question: &[u8]) -> Vec<u8> {
    socket.send(question).expect("the datagram is sent");
    let mut answer = vec![0; 65_536];
    let len = socket.recv(&mut answer).expect("an answer comes");
    answer.truncate(len);
    answer
}

fn stays_silent(socket: &UdpSocket, question: &[u8]) {
    socket.set_read_timeout(Some(SILENCE)).expect("the timeout is not zero");
    socket.send(question).expect("the datagram is sent");
    let error = socket.recv(&mut [0; 2048]).expect_err("no answer may come");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
}

#[test]
fn udp_echo_returns_datagrams_of_every_size_up_to_the_mtu() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let four = socket("0.0.0.0:0", "10.9.0.2:7");
        let six = socket("[::]:0", "[fd09::2]:7");
        for size in [0, 1, 2, 3, 511, 512, 1023, 1400, 1452] {
            let question: Vec<u8> = (0..size).map(|i: u32| i.to_le_bytes()[0]).collect();
            assert_eq!(ask(&four, &question), question);
            assert_eq!(ask(&six, &question), question);
        }
        let question = [0xff; 1472];
        assert_eq!(ask(&four, &question), question);
    });
}

#[test]
fn netcat_over_udp_gets_its_hello_back() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let arguments = ["-u", "-W", "1", "-w", "5", "10.9.0.2", "7"];
        let ended = run_with_input(Command::new("nc").args(arguments), "hello\n", Duration::from_secs(10));
        assert_eq!(ended.stdout, "hello\n", "{ended:?}");
    });
}

#[test]
fn udp_daytime_answers_any_datagram_with_one_line() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let answer = ask(&socket("0.0.0.0:0", "10.9.0.2:13"), b"");
        let text = String::from_utf8(answer).expect("daytime is text");
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(text.contains(crate::harness::sh("date +%Y").trim()), "{text:?}");
    });
}

#[test]
fn udp_chargen_answers_with_at_most_512_characters() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let answer = ask(&socket("0.0.0.0:0", "10.9.0.2:19"), b"?");
        assert!(answer.len() <= 512, "RFC 864 allows 512 characters, got {}", answer.len());
        assert!(answer.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n')), "{answer:?}");
    });
}

#[test]
fn udp_discard_says_nothing() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        stays_silent(&socket("0.0.0.0:0", "10.9.0.2:9"), b"into the void");
    });
}

#[test]
fn a_datagram_from_a_services_port_is_not_answered_so_that_no_two_can_loop() {
    in_namespace(|| {
        let _daemon = Daemon::up("--serve echo:7,chargen:19,daytime:13,echo:2007");
        for from in [7, 13, 19, 2007] {
            for to in [7, 13, 19, 2007] {
                stays_silent(&socket(&format!("10.9.0.1:{from}"), &format!("10.9.0.2:{to}")), b"ping-pong");
            }
        }
        assert_eq!(ask(&socket("0.0.0.0:0", "10.9.0.2:7"), b"still there"), b"still there");
    });
}

#[test]
fn a_closed_udp_port_is_reported_to_the_kernels_socket() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        for (local, remote) in [("0.0.0.0:0", "10.9.0.2:4"), ("[::]:0", "[fd09::2]:4")] {
            let socket = socket(local, remote);
            socket.send(b"anybody?").expect("the datagram is sent");
            let error = socket.recv(&mut [0; 16]).expect_err("nobody listens there");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{remote}: {error}");
        }
    });
}
