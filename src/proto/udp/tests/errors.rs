//! What sockets are told of errors that their datagrams met with.

use super::*;

//= RFC1122 4.1.3.3 ICMP
#[test]
fn a_refused_connected_socket_is_told_once() {
    for (local, remote, from, kind, code) in
        [("0.0.0.0:7", "10.9.0.1:9", "10.9.0.1", 3, 3), ("[::]:7", "[fd09::1]:9", "fd09::1", 1, 4)]
    {
        let mut host = Host::new();
        let (id, about) = connected(&mut host, local, remote);
        assert_eq!(host.icmp_error(from, kind, code, &about), Ok(()));
        assert_eq!(host.event(id), Some(Readiness::ERROR | Readiness::READABLE | Readiness::WRITABLE));
        assert_eq!(host.recv(id), Err(Error::ConnectionRefused));
        assert_eq!(host.recv(id), Err(Error::WouldBlock));
        assert_eq!(host.icmp_error(from, kind, code, &about), Ok(()));
        assert_eq!(host.send(id, b"again", None), Err(Error::ConnectionRefused));
        assert_eq!(host.send(id, b"again", None), Ok(5));
        assert_eq!(host.icmp_error(from, kind, code, &about), Ok(()));
        assert_eq!(host.sockets.take_error(id), Ok(Some(Error::ConnectionRefused)));
        assert_eq!(host.sockets.take_error(id), Ok(None));
        assert_eq!(host.world.counters.icmp_errors_in, 3);
    }
}

#[test]
fn final_errors_are_told_and_passing_ones_are_not() {
    for (kind, code, told) in [
        (3, 0, None),
        (3, 1, None),
        (3, 2, Some(Error::ProtocolUnreachable)),
        (3, 13, Some(Error::HostUnreachable)),
        (11, 0, None),
        (12, 0, Some(Error::ProtocolError)),
    ] {
        let mut host = Host::new();
        let (id, about) = connected(&mut host, "0.0.0.0:7", "10.9.0.1:9");
        let expected = if told.is_some() { Ok(()) } else { Err(DropReason::IcmpIgnored) };
        assert_eq!(host.icmp_error("10.9.0.1", kind, code, &about), expected, "{kind}/{code}");
        assert_eq!(host.sockets.take_error(id), Ok(told), "{kind}/{code}");
    }
    for (kind, code, told) in [(1, 0, None), (1, 1, Some(Error::PermissionDenied)), (3, 0, None)] {
        let mut host = Host::new();
        let (id, about) = connected(&mut host, "[::]:7", "[fd09::1]:9");
        let _ = host.icmp_error("fd09::1", kind, code, &about);
        assert_eq!(host.sockets.take_error(id), Ok(told), "v6 {kind}/{code}");
    }
}

//= RFC4443 3.2 pass up
//= RFC8200 5 path MTU
//= RFC8504 5.7 path MTU
#[test]
fn that_a_datagram_is_too_big_is_believed_of_one_that_was_sent() {
    let mut host = Host::new();
    let (id, small) = connected(&mut host, "[::]:7", "[fd09::1]:9");
    assert_eq!(host.icmp_error("fd09::1", 2, 0, &small), Err(DropReason::IcmpUnrelated));
    host.send(id, &[0; 1400], None).unwrap();
    let (_, large) = host.world.sent().unwrap();
    assert_eq!(host.icmp_error("fd09::1", 2, 0, &large), Ok(()));
    assert_eq!(host.sockets.take_error(id), Ok(Some(Error::MessageTooLong)));
}

#[test]
fn a_socket_that_is_not_connected_or_has_another_peer_is_told_nothing() {
    let mut host = Host::new();
    let id = host.bind("0.0.0.0:7").unwrap();
    host.send(id, b"text", Some("10.9.0.1:9")).unwrap();
    let (_, about) = host.world.sent().unwrap();
    assert_eq!(host.icmp_error("10.9.0.1", 3, 3, &about), Err(DropReason::IcmpIgnored));
    host.connect(id, "10.9.0.3:9").unwrap();
    assert_eq!(host.icmp_error("10.9.0.1", 3, 3, &about), Err(DropReason::IcmpUnrelated));
    assert_eq!(host.sockets.take_error(id), Ok(None));
    host.sockets.close(host.world.ctx(), id);
    assert_eq!(host.icmp_error("10.9.0.1", 3, 3, &about), Err(DropReason::IcmpUnrelated));
}

//= RFC1122 3.2.2 demultiplex, 3.2.2.4 pass up, 3.2.2.5 pass up, 4.1.3.3 ICMP
//= RFC4443 3.3 pass up, 3.4 pass up
#[test]
fn errors_of_every_type_reach_the_socket_whose_datagram_they_quote() {
    //= RFC1122 3.2.2.1 pass up
    //= RFC4443 2.4 a unknown: (a) an error of unknown type MUST be passed to the upper layer.
    //= RFC4443 3.1 pass up
    for (them, errors) in [
        ("10.9.0.1:9", &[(3, 0), (3, 1), (3, 2), (3, 3), (3, 13), (11, 0), (11, 1), (12, 0)][..]),
        (
            "[fd09::1]:9",
            &[
                (1, 0),
                (1, 1),
                (1, 3),
                (1, 4),
                (2, 0),
                (3, 0),
                (3, 1),
                (4, 0),
                (4, 1),
                (4, 2),
                (1, 77),
                (100, 5),
            ],
        ),
    ] {
        let mut host = Host::new();
        let any = if them.starts_with('[') { "[::]:7" } else { "0.0.0.0:7" };
        let id = host.bind(any).unwrap();
        host.change(id, |options| options.report_errors = true);
        host.send(id, &[7; 1400], Some(them)).unwrap();
        let (_, about) = host.world.sent().unwrap();
        let router = addr(them).ip().to_string();
        for (kind, code) in errors {
            assert_eq!(host.icmp_error(&router, *kind, *code, &about), Ok(()));
            let report = host.sockets.recv_error(id).unwrap().unwrap();
            let ErrorCause::Icmp { type_code, .. } = report.cause else { panic!("{report:?}") };
            assert_eq!((type_code, report.destination), ((*kind, *code), addr(them)));
            assert!(report.quoted.iter().all(|byte| *byte == 7) && report.quoted.len() >= 8);
            let _ = host.sockets.take_error(id);
        }
    }
}

#[test]
fn a_socket_that_asks_is_told_of_every_error_and_of_its_own() {
    let mut host = Host::new();
    let id = host.bind("0.0.0.0:7").unwrap();
    host.change(id, |options| options.report_errors = true);
    host.send(id, b"lost", Some("10.9.0.1:9")).unwrap();
    let (_, about) = host.world.sent().unwrap();
    assert_eq!(host.icmp_error("10.9.0.99", 11, 0, &about), Ok(()));
    assert_eq!(host.icmp_error("10.9.0.98", 3, 1, &about), Ok(()));
    assert_eq!(host.event(id), Some(Readiness::ERROR | Readiness::READABLE | Readiness::WRITABLE));
    assert_eq!(host.send(id, b"", Some("10.9.0.1:9")), Err(Error::HostUnreachable));
    let report = host.sockets.recv_error(id).unwrap().unwrap();
    let expected = ErrorReport {
        error: Error::HostUnreachable,
        cause: ErrorCause::Icmp {
            kind: IcmpErrorKind::TimeExceeded,
            type_code: (11, 0),
            offender: ip("10.9.0.99"),
        },
        destination: addr("10.9.0.1:9"),
        mtu: None,
        quoted: b"lost"[..].try_into().unwrap(),
        at: host.world.now,
    };
    assert_eq!(report, expected);
    assert_eq!(host.recv(id), Err(Error::HostUnreachable));
    host.sockets.recv_error(id).unwrap().unwrap();
    host.change(id, |options| options.mtu_discover = MtuDiscover::Do);
    assert_eq!(host.send(id, &[0; 2000], Some("10.9.0.1:9")), Err(Error::MessageTooLong));
    let report = host.sockets.recv_error(id).unwrap().unwrap();
    assert_eq!((report.cause, report.mtu), (ErrorCause::Local, Some(1500)));
    assert_eq!(host.sockets.recv_error(id), Ok(None));
    assert_eq!(host.recv(id), Err(Error::WouldBlock));
}

#[test]
fn who_asks_no_more_has_nothing_left_to_be_told() {
    let mut host = Host::with(Config { error_reports: 1, ..Config::default() });
    let id = host.bind("0.0.0.0:7").unwrap();
    host.change(id, |options| options.report_errors = true);
    host.send(id, b"lost", Some("10.9.0.1:9")).unwrap();
    let (_, about) = host.world.sent().unwrap();
    assert_eq!(host.icmp_error("10.9.0.99", 11, 0, &about), Ok(()));
    assert_eq!(host.icmp_error("10.9.0.99", 11, 0, &about), Err(DropReason::ErrorQueueFull));
    host.change(id, |options| options.report_errors = false);
    assert_eq!(host.sockets.recv_error(id), Ok(None));
}
