//! The two queues of a listener, and what happens when they are full.

use tunstack::proto::DropReason;
use tunstack::proto::tcp::closing::State;

use crate::harness::script::Script;

#[test]
fn a_backlog_of_five_met_by_eight_clients_lets_six_through() {
    let mut t = Script::new();
    t.listen_with(Some(5));
    for client in 0..8 {
        t.client(client).peer("S 0 <mss 1460>");
        t.expect("SA 0 ack 1");
    }
    for client in 0..8 {
        t.client(client).peer("A 1 ack 1");
        t.expect_none();
    }
    // Full when queued > backlog: six are in, the ACKs of the other two were ignored.
    assert_eq!(t.dropped(DropReason::TcpAcceptQueueFull), 2);
    assert_eq!(t.stack.tcp_census().half_open, 2);
    // Their data too: nothing of it is acknowledged.
    t.client(6).peer("PA 1:6 ack 1");
    t.expect_none();
    // New SYNs are dropped.
    t.client(9).peer("S 0 <mss 1460>");
    t.expect_none();
    assert_eq!(t.dropped(DropReason::TcpBacklogFull), 1);
    for client in 0..6 {
        let id = t.accept();
        assert_eq!(t.stack.tcp_peer_addr(id).unwrap().port(), 40_000 + client, "accepted in order");
    }
    assert!(t.try_accept().is_none());
    // Now there is room: data that comes again ends the handshake and arrives.
    t.client(6).peer("PA 1:6 ack 1");
    t.accept();
    t.read(5);
    t.expect_in(40, "A 1 ack 6");
    t.client(9).peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
}

#[test]
fn a_final_ack_that_was_ignored_is_asked_for_again() {
    let mut t = Script::new();
    t.listen_with(Some(0));
    for client in 0..2 {
        t.client(client).peer("S 0 <mss 1460>");
        t.expect("SA 0 ack 1");
    }
    for client in 0..2 {
        t.client(client).peer("A 1 ack 1");
    }
    // The SYN-ACK's timer runs on, so the client is made to repeat itself.
    t.expect_in(1_000, "SA 0 ack 1");
    t.client(1).peer("A 1 ack 1");
    t.expect_none();
    t.client(0).accept();
    t.client(1).expect_in(2_000, "SA 0 ack 1");
    t.peer("A 1 ack 1");
    t.accept();
    t.expect_state(State::Established);
}

#[test]
fn a_full_syn_queue_drops_and_counts() {
    let mut t = Script::config(|config| {
        config.syn_queue = 4;
        config.syn_cookies = false;
    });
    t.listen();
    for client in 0..4 {
        t.client(client).peer("S 0");
        t.expect("SA 0 ack 1");
    }
    t.client(4).peer("S 0");
    t.expect_none();
    assert_eq!(t.dropped(DropReason::TcpSynQueueFull), 1);
    // Those within go on.
    t.client(2).peer("A 1 ack 1");
    t.accept();
    t.client(4).peer("S 0");
    t.expect("SA 0 ack 1");
}

#[test]
fn a_flood_of_a_hundred_thousand_syns_stays_bounded() {
    let mut t = Script::config(|config| config.syn_cookies = false);
    t.listen();
    let mut syn = t.build("S 0 win 65535 <mss 1460>");
    let mut answers = 0;
    for number in 0..100_000u32 {
        // From 1,000 hosts and 100 ports each.
        syn.src = std::net::SocketAddr::new(
            [10, 9, 0, (3 + number % 250) as u8].into(),
            (1_000 + number / 250) as u16,
        );
        syn.seq = number.wrapping_mul(2_654_435_761);
        let bytes = syn.encode();
        let packet = tunstack::proto::Packet::plain(&bytes, t.now());
        t.stack.receive(t.device, &packet);
        if number % 100 == 99 {
            t.flush();
            answers += t.take_all().len();
        }
    }
    let census = t.stack.tcp_census();
    assert_eq!(census.half_open, t.stack.config().syn_queue);
    assert_eq!((answers, census.pages, census.sockets), (census.half_open, 0, 0));
    assert!(census.timers <= census.half_open + 1);
    assert_eq!(t.dropped(DropReason::TcpSynQueueFull), 100_000 - census.half_open as u64);
    // It passes: after the last SYN-ACK each is forgotten, and the listener serves again.
    t.run(70_000);
    t.take_all();
    assert_eq!(t.stack.tcp_census().half_open, 0);
    t.open();
}

#[test]
fn a_syn_ack_is_repeated_five_times_and_then_forgotten() {
    //= RFC4987 4 retransmitted
    let mut t = Script::new();
    t.listen();
    t.peer("S 0");
    t.expect("SA 0 ack 1");
    for seconds in [1, 2, 4, 8, 16] {
        t.expect_in(seconds * 1_000, "SA 0 ack 1");
    }
    t.expect_state(State::SynReceived);
    t.wait(33_000);
    t.expect_state(State::Listen);
    // Too late: the connection is unknown.
    t.peer("A 1 ack 1");
    t.expect("R 1");
}

#[test]
fn a_connection_that_waits_to_be_accepted_already_receives() {
    let mut t = Script::new();
    t.listen();
    t.peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t.peer("A 1 ack 1");
    t.peer("A 1:1461 ack 1");
    t.expect("A 1 ack 1461");
    t.peer("PA 1461:2921 ack 1");
    t.expect("A 1 ack 2921");
    t.peer("FA 2921 ack 1");
    t.expect("A 1 ack 2922");
    t.accept();
    t.read(2920);
    t.expect_eof();
}

#[test]
fn a_connection_reset_before_it_is_accepted_is_told_so() {
    let mut t = Script::new();
    t.listen();
    t.peer("S 0");
    t.expect("SA 0 ack 1");
    t.peer("A 1 ack 1");
    t.peer("PA 1:4 ack 1");
    t.peer("R 4");
    // As on Linux it is accepted, and the first use says what happened; what came before it is not lost.
    if let Some(id) = t.try_accept() {
        assert_eq!(t.state(), State::Closed);
        t.read(3);
        t.expect_read_error(tunstack::proto::Error::ConnectionReset);
        let _ = id;
    }
    assert_eq!(t.stack.tcp_census().pages, 0);
}
