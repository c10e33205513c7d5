//! Datagram sockets on two running stacks with a link between them: what threads wait for, and what they are told.

mod support {
    pub(crate) mod running;
}

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use support::running::{PATIENCE, pair};
use tunstack::net::{
    BindOptions, ErrorCause, IcmpFilter, MtuDiscover, Net, RawOptions, RawSocket, SendOptions, UdpSocket,
};

/// For experiments (RFC 3692).
const EXPERIMENT: u8 = 253;
const PROTOCOL_ICMP: u8 = 1;
const BOTH: [[&str; 3]; 2] = [["0.0.0.0", "10.9.0.1", "10.9.0.2"], ["::", "fd09::1", "fd09::2"]];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn raw(net: &Net, at: &str, protocol: u8) -> RawSocket {
    let socket = RawSocket::bind(net, ip(at), protocol).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn udp(net: &Net, at: &str) -> UdpSocket {
    let socket = UdpSocket::bind(net, SocketAddr::new(ip(at), 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[test]
fn a_thread_that_waits_on_a_raw_socket_is_woken_by_what_comes() {
    let (here, there) = pair();
    for [wildcard, us, them] in BOTH {
        let ours = raw(&here, wildcard, EXPERIMENT);
        let waiting = ours.try_clone().unwrap();
        let reader = thread::spawn(move || {
            let mut data = [0; 100];
            let received = waiting.recv_msg(&mut data).unwrap();
            (data[..received.len].to_vec(), received)
        });
        let theirs = raw(&there, wildcard, EXPERIMENT);
        theirs.connect(ip(us)).unwrap();
        let with = SendOptions { ttl: Some(7), tos: Some(0x2f), ..SendOptions::default() };
        theirs.send_msg(b"experiment", None, with).unwrap();
        let (data, received) = reader.join().unwrap();
        assert!(data.ends_with(b"experiment"));
        assert_eq!(data.len(), if ip(us).is_ipv4() { 30 } else { 10 });
        assert_eq!((received.from.ip(), received.to), (ip(them), ip(us)));
        assert_eq!((received.hop_limit, received.tos), (7, 0x2f));
        assert_eq!(theirs.path_mtu().unwrap(), 1500);
        assert_eq!((theirs.peer_addr().unwrap(), theirs.local_addr().unwrap()), (ip(us), ip(them)));
    }
}

#[test]
fn a_raw_socket_waits_as_long_as_it_is_told_to() {
    let (here, _there) = pair();
    let socket = raw(&here, "0.0.0.0", EXPERIMENT);
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let began = Instant::now();
    assert_eq!(socket.recv_from(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(began.elapsed() >= Duration::from_millis(20));
    socket.set_nonblocking(true).unwrap();
    assert_eq!(socket.recv_from(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(socket.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn the_end_of_the_stack_wakes_who_waits_on_a_raw_socket() {
    let (here, _there) = pair();
    let socket = RawSocket::bind(&here, ip("0.0.0.0"), EXPERIMENT).unwrap();
    let reader = thread::spawn(move || socket.recv_from(&mut [0; 9]).unwrap_err().kind());
    thread::sleep(Duration::from_millis(20));
    here.shutdown(Duration::ZERO);
    assert_eq!(reader.join().unwrap(), ErrorKind::NetworkDown);
}

#[test]
fn a_ping_can_be_made_of_a_raw_socket() {
    let (here, _there) = pair();
    let socket = raw(&here, "0.0.0.0", PROTOCOL_ICMP);
    let filter = IcmpFilter::BLOCK_ALL.pass(0);
    socket.set_options(RawOptions { filter, ..socket.options().unwrap() }).unwrap();
    // Type 8, code 0, the checksum, identifier 1, number 2.
    socket.send_to(&[8, 0, 0xf7, 0xfc, 0, 1, 0, 2], ip("10.9.0.2")).unwrap();
    let mut data = [0; 100];
    let (len, from) = socket.recv_from(&mut data).unwrap();
    assert_eq!((&data[20..len], from), (&[0, 0, 0xff, 0xfc, 0, 1, 0, 2][..], ip("10.9.0.2")));
}

#[test]
fn a_datagram_larger_than_the_link_arrives_in_fragments_as_one() {
    let (here, there) = pair();
    for [wildcard, _, them] in BOTH {
        let theirs = raw(&there, wildcard, EXPERIMENT);
        let data: Vec<u8> = (0..20_000_u32).map(|at| (at % 251) as u8).collect();
        raw(&here, wildcard, EXPERIMENT).send_to(&data, ip(them)).unwrap();
        let mut buffer = vec![0; 30_000];
        let (len, _) = theirs.recv_from(&mut buffer).unwrap();
        assert!(buffer[..len].ends_with(&data));
        let server = udp(&there, wildcard);
        let to = SocketAddr::new(ip(them), server.local_addr().unwrap().port());
        let client = udp(&here, wildcard);
        client.send_to(&data, to).unwrap();
        assert_eq!(server.recv_msg(&mut buffer).unwrap().sent_len, data.len());
        client.set_mtu_discover(MtuDiscover::Do).unwrap();
        // EMSGSIZE.
        assert_eq!(client.send_to(&data, to).unwrap_err().raw_os_error(), Some(90));
    }
}

#[test]
fn who_asks_for_reports_is_told_who_refused_a_datagram() {
    let (here, _there) = pair();
    for [wildcard, _, them] in BOTH {
        let socket = udp(&here, wildcard);
        socket.set_report_errors(true).unwrap();
        assert!(socket.report_errors().unwrap());
        assert_eq!(socket.recv_error().unwrap(), None);
        let waiting = socket.try_clone().unwrap();
        let reader = thread::spawn(move || waiting.recv_from(&mut [0; 9]).unwrap_err().kind());
        let to = SocketAddr::new(ip(them), 9);
        socket.send_to(b"anybody?", to).unwrap();
        assert_eq!(reader.join().unwrap(), ErrorKind::ConnectionRefused);
        let report = socket.recv_error().unwrap().unwrap();
        assert_eq!((report.destination, &report.quoted[..]), (to, &b"anybody?"[..]));
        let ErrorCause::Icmp { offender, .. } = report.cause else { panic!("{report:?}") };
        assert_eq!(offender, ip(them));
        assert_eq!(socket.recv_error().unwrap(), None);
        assert!(socket.take_error().unwrap().is_none());
    }
}

//= RFC1122 3.2.1.6 receive
//= RFC8200 7 traffic class
//= RFC8504 5.12 ECN
#[test]
fn a_server_on_all_addresses_answers_from_the_one_that_was_asked_with_the_mark_that_came() {
    let (here, there) = pair();
    for [wildcard, _, them] in BOTH {
        let server = udp(&there, wildcard);
        let to = SocketAddr::new(ip(them), server.local_addr().unwrap().port());
        let client = udp(&here, wildcard);
        client.connect(to).unwrap();
        assert_eq!(client.path_mtu().unwrap(), 1500);
        // ECN's CE (RFC 3168).
        client.send_msg(b"question", None, SendOptions { tos: Some(3), ..SendOptions::default() }).unwrap();
        let mut data = [0; 3];
        let asked = server.recv_msg(&mut data).unwrap();
        assert_eq!((asked.len, asked.sent_len, asked.tos, asked.to), (3, 8, 3, ip(them)));
        let with = SendOptions { source: Some(asked.to), ..SendOptions::default() };
        server.send_msg(b"answer", Some(asked.from), with).unwrap();
        assert_eq!(client.recv(&mut [0; 9]).unwrap(), 6);
        let foreign = SendOptions { source: Some(asked.from.ip()), ..SendOptions::default() };
        let refused = server.send_msg(b"", Some(asked.from), foreign).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrNotAvailable);
    }
}

#[test]
fn a_broadcast_wakes_everybody_who_listens() {
    let (here, there) = pair();
    let share = BindOptions { reuse_port: true, ..BindOptions::NONE };
    let first = UdpSocket::bind_with(&there, "0.0.0.0:0", share).unwrap();
    let port = first.local_addr().unwrap().port();
    let second = UdpSocket::bind_with(&there, ("0.0.0.0", port), share).unwrap();
    let readers = [first, second].map(|socket| {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        thread::spawn(move || socket.recv_msg(&mut [0; 9]).map(|received| received.to))
    });
    let sender = udp(&here, "0.0.0.0");
    sender.set_broadcast(true).unwrap();
    sender.send_to(b"all", ("10.9.0.255", port)).unwrap();
    for reader in readers {
        assert_eq!(reader.join().unwrap().unwrap(), ip("10.9.0.255"));
    }
}
