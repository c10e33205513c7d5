//! Closing, in every order: RFC 9293 sections 3.6, 3.10.4 and 3.10.7.4; TIME-WAIT by RFC 1337.

use std::net::SocketAddr;
use std::time::Duration;

use tunstack::proto::stack::Shutdown;
use tunstack::proto::tcp::closing::State;
use tunstack::proto::{DropReason, Error, Owner};

use crate::harness::script::Script;

/// Both have closed, we first: the entry waits.
fn in_time_wait() -> Script {
    let mut t = Script::new();
    t.open();
    t.close();
    t.expect("FA 1 ack 1");
    t.peer("FA 1 ack 2");
    t.expect("A 2 ack 2");
    t.expect_state(State::TimeWait);
    t
}

#[test]
fn we_close_first() {
    let mut t = Script::new();
    t.open();
    t.shutdown(Shutdown::Write);
    t.expect("FA 1 ack 1");
    t.expect_state(State::FinWait1);
    assert_eq!(t.write_some(1), Err(Error::BrokenPipe));
    t.peer("A 1 ack 2");
    t.expect_state(State::FinWait2);
    // Half-closed: the peer may still send.
    t.peer("A 1:1461 ack 2");
    t.expect("A 2 ack 1461");
    t.read(1460);
    t.peer("FA 1461 ack 2");
    t.expect("A 2 ack 1462");
    t.expect_state(State::TimeWait);
    t.expect_eof();
    //= RFC9293 MUST-13
    t.wait(59_900);
    t.expect_state(State::TimeWait);
    t.wait(200);
    t.expect_state(State::Closed);
    t.expect_eof();
}

#[test]
fn the_peer_closes_first() {
    let mut t = Script::new();
    t.open();
    t.peer("FA 1:101 ack 1");
    t.expect("A 1 ack 102");
    t.expect_state(State::CloseWait);
    t.read(100);
    t.expect_eof();
    t.expect_eof();
    // Half-closed the other way round: we may still send.
    t.write(2_000);
    t.expect("A 1:1461 ack 102");
    t.peer("A 102 ack 1461");
    t.expect("PA 1461:2001 ack 102");
    t.close();
    t.expect("FA 2001 ack 102");
    t.peer("A 102 ack 2002");
    // No TIME-WAIT for who closed second.
    t.expect_state(State::Listen);
    t.peer("A 102 ack 2002");
    t.expect("R 2002");
}

#[test]
fn last_ack_keeps_sending_fin() {
    let mut t = Script::new();
    t.open();
    t.peer("FA 1 ack 1");
    t.expect("A 1 ack 2");
    t.shutdown(Shutdown::Write);
    t.expect("FA 1 ack 2");
    t.expect_state(State::LastAck);
    for wait in [200, 400, 800] {
        t.expect_in(wait, "FA 1 ack 2");
    }
    // Their FIN again: our ACK was lost.
    t.peer("FA 1 ack 1");
    t.expect("A 2 ack 2");
    t.peer("A 2 ack 2");
    t.expect_state(State::Closed);
}

#[test]
fn both_close_at_once() {
    let mut t = Script::new();
    t.open();
    t.shutdown(Shutdown::Write);
    t.expect("FA 1 ack 1");
    t.peer("FA 1 ack 1");
    t.expect("A 2 ack 2");
    t.expect_state(State::Closing);
    t.expect_eof();
    t.peer("A 2 ack 2");
    t.expect_state(State::TimeWait);
    t.wait(60_100);
    t.expect_state(State::Closed);
}

#[test]
fn closing_keeps_sending_fin() {
    let mut t = Script::new();
    t.open();
    t.shutdown(Shutdown::Write);
    t.expect("FA 1 ack 1");
    t.peer("FA 1 ack 1");
    t.expect("A 2 ack 2");
    t.expect_in(200, "FA 1 ack 2");
    t.expect_in(400, "FA 1 ack 2");
    t.expect_state(State::Closing);
    t.peer("A 2 ack 2");
    t.expect_state(State::TimeWait);
}

#[test]
fn their_fin_may_acknowledge_ours() {
    let mut t = in_time_wait();
    t.wait(60_100);
    t.expect_state(State::Listen);
}

#[test]
fn a_fin_is_repeated_until_acknowledged() {
    let mut t = Script::new();
    t.open();
    t.shutdown(Shutdown::Write);
    t.expect("FA 1 ack 1");
    for wait in [200, 400, 800, 1_600] {
        t.expect_in(wait, "FA 1 ack 1");
    }
    t.peer("A 1 ack 2");
    t.expect_state(State::FinWait2);
    t.wait(10_000);
}

#[test]
fn a_fin_goes_with_the_last_data_and_comes_again_with_it() {
    let mut t = Script::new();
    t.open();
    t.write(1_560);
    t.expect("A 1:1461 ack 1");
    // Nagle's algorithm holds the rest back, until closing makes it the last.
    t.shutdown(Shutdown::Write);
    t.expect("FPA 1461:1561 ack 1");
    t.peer("A 1 ack 1461");
    t.expect_in(200, "FPA 1461:1561 ack 1");
    t.peer("A 1 ack 1561");
    // Text arrived, FIN did not.
    t.expect_state(State::FinWait1);
    t.run(400);
    assert_eq!(
        t.take_all().last().unwrap().split_whitespace().take(4).collect::<Vec<_>>(),
        ["FA", "1561", "ack", "1"]
    );
    t.peer("A 1 ack 1562");
    t.expect_state(State::FinWait2);
}

#[test]
fn a_closed_socket_still_delivers_what_was_written() {
    let mut t = Script::new();
    t.open();
    t.write(100_000);
    t.close();
    assert_eq!(t.stack.tcp_unfinished(), 1);
    let mut acked = 1;
    while acked < 100_001 {
        let lines = t.take_all();
        let last = lines.last().expect("more to come").split_whitespace().nth(1).unwrap();
        acked = last.split(':').nth(1).map_or(acked, |end| end.parse().unwrap());
        let fin = u32::from(lines.last().unwrap().starts_with('F'));
        t.peer(&format!("A 1 ack {}", acked + fin));
    }
    assert_eq!(acked, 100_001);
    t.peer("FA 1 ack 100002");
    t.expect("A 100002 ack 2");
    t.expect_state(State::TimeWait);
    assert_eq!((t.stack.tcp_unfinished(), t.stack.tcp_census().sockets), (0, 0));
}

#[test]
fn an_orphan_in_fin_wait_2_is_given_up_after_a_minute() {
    let mut t = Script::new();
    t.open();
    t.close();
    t.expect("FA 1 ack 1");
    t.peer("A 1 ack 2");
    t.wait(59_900);
    assert_eq!(t.stack.tcp_census().sockets, 1);
    t.wait(200);
    assert_eq!(t.stack.tcp_census().sockets, 0);
    t.peer("FA 1 ack 2");
    t.expect("R 2");
}

#[test]
fn a_held_socket_in_fin_wait_2_is_not() {
    let mut t = Script::new();
    t.open();
    t.shutdown(Shutdown::Write);
    t.expect("FA 1 ack 1");
    t.peer("A 1 ack 2");
    t.wait(1_000_000);
    t.expect_state(State::FinWait2);
    // Its minute begins when it is let go.
    t.close();
    t.wait(59_900);
    assert_eq!(t.stack.tcp_census().sockets, 1);
    t.wait(200);
    assert_eq!(t.stack.tcp_census().sockets, 0);
}

#[test]
fn an_orphan_whose_fin_nobody_acknowledges_is_given_up_after_r2() {
    let mut t = Script::new();
    t.open();
    t.options(|options| options.r2 = Duration::from_secs(30));
    t.close();
    t.expect("FA 1 ack 1");
    t.run(29_000);
    assert_eq!(t.stack.tcp_census().sockets, 1);
    t.run(2_000);
    assert_eq!(
        t.stack.tcp_census(),
        tunstack::proto::stack::TcpCensus { listeners: 1, ..Default::default() }
    );
    t.take_all();
}

#[test]
fn an_orphan_that_faces_a_shut_window_is_given_up_after_r2() {
    let mut t = Script::new();
    t.open();
    t.options(|options| options.r2 = Duration::from_secs(30));
    t.write(10);
    t.expect("PA 1:11 ack 1");
    t.peer("A 1 ack 11 win 0");
    t.write(10);
    t.close();
    // The peer is alive and answers every probe, but nobody here waits for it for ever.
    for _ in 0..40 {
        t.run(1_000);
        if t.stack.tcp_census().sockets == 1 && !t.take_all().is_empty() {
            t.peer("A 1 ack 11 win 0");
        }
    }
    assert_eq!(t.stack.tcp_census().sockets, 0);
    t.take_all();
}

#[test]
fn a_repeated_fin_in_time_wait_is_acknowledged_and_starts_the_wait_anew() {
    let mut t = in_time_wait();
    t.wait(40_000);
    t.peer("FA 1 ack 2");
    t.expect("A 2 ack 2");
    t.wait(59_900);
    t.expect_state(State::TimeWait);
    t.wait(200);
    t.expect_state(State::Listen);
}

#[test]
fn a_fin_that_is_not_theirs_does_not_start_the_wait_anew() {
    // Whoever guesses only the tuple must not be able to hold it for ever.
    let mut t = in_time_wait();
    t.wait(40_000);
    for fin in ["FA 0 ack 2", "FA 2 ack 2", "FA 1:101 ack 2"] {
        t.peer(fin);
        t.expect("A 2 ack 2");
    }
    t.wait(20_100);
    t.expect_state(State::Listen);
}

#[test]
fn a_reset_does_not_end_time_wait() {
    // RFC 1337.
    let mut t = in_time_wait();
    t.peer("R 2");
    t.peer("RA 2 ack 2");
    t.expect_none();
    t.expect_state(State::TimeWait);
    assert_eq!(t.dropped(DropReason::TcpTimeWaitReset), 2);
}

#[test]
fn time_wait_answers_old_duplicates_and_not_itself() {
    let mut t = in_time_wait();
    t.peer("PA 1:1 ack 2");
    t.take_all();
    t.peer("PA 1:101 ack 2");
    t.expect("A 2 ack 2");
    // The ACK we would get from a peer in TIME-WAIT: no answer, no loop.
    t.peer("A 2 ack 2");
    t.expect_none();
}

#[test]
fn a_syn_with_a_higher_number_reopens_time_wait() {
    //= RFC9293 MAY-2
    let mut t = in_time_wait();
    t.wait(100);
    let mut syn = t.build("S 1000 win 65535 <mss 1460>");
    syn.ack = 0;
    let old = t.build("A 2 ack 2").ack;
    t.receive(&syn.encode());
    let answer = t.take();
    assert_eq!((answer.flags, answer.ack), (0x12, syn.seq + 1));
    assert!(answer.seq.wrapping_sub(old) < 1 << 31, "a new number above all old ones");
    assert_eq!(t.stack.counters().tcp_time_wait_reused, 1);
    t.expect_state(State::SynReceived);
    t.peer("A 1001 ack 1");
    t.accept();
    t.expect_state(State::Established);
}

#[test]
fn a_reopened_connection_is_numbered_above_all_the_old_one_sent() {
    // The clock adds 250 bytes a millisecond to initial numbers; this connection was faster.
    let mut t = Script::new();
    t.open_passive("S 0 win 65535 <mss 1460,ws 7>");
    let mut acked = 1;
    while acked < 2_000_000 {
        t.write(100_000);
        while let Some(last) = t.take_all().pop() {
            acked = last.split_whitespace().nth(1).unwrap().split(':').nth(1).unwrap().parse().unwrap();
            t.inject(&format!("A 1 ack {acked}"));
        }
    }
    t.close();
    t.take_all();
    t.peer(&format!("FA 1 ack {}", acked + 1));
    t.take_all();
    t.expect_state(State::TimeWait);
    let old = t.build(&format!("A 2 ack {}", acked + 1)).ack;
    let syn = t.build("S 1000 <mss 1460>");
    t.receive(&syn.encode());
    let answer = t.take();
    assert_eq!(answer.flags, 0x12);
    assert!((1..1 << 31).contains(&answer.seq.wrapping_sub(old)), "{} after {old}", answer.seq);
}

#[test]
fn a_syn_with_an_old_number_does_not_reopen_time_wait() {
    let mut t = in_time_wait();
    t.peer("S 0 win 65535 <mss 1460>");
    t.expect("A 2 ack 2");
    t.peer("S -5000 win 65535 <mss 1460>");
    t.expect("A 2 ack 2");
    // That of their FIN.
    t.peer("S 1 win 65535 <mss 1460>");
    t.expect("A 2 ack 2");
    t.expect_state(State::TimeWait);
    t.peer("S 2 win 65535 <mss 1460>");
    t.expect_state(State::SynReceived);
    t.take_all();
}

#[test]
fn a_port_in_time_wait_is_for_a_listener_if_its_connection_let_it() {
    let mut t = in_time_wait();
    let old = t.listener.take().unwrap();
    t.stack.tcp_close_listener(t.now(), old);
    // Accepted by a listener that reused the address: the next one may.
    t.listen();
    // Opened from here: nobody had asked for that.
    t.open_active("SA 0 ack 1");
    let port = t.stack.tcp_local_addr(t.id()).unwrap().port();
    t.close();
    t.expect("FA 1 ack 1");
    t.peer("FA 1 ack 2");
    t.expect("A 2 ack 2");
    let local = SocketAddr::new(t.stack_ip, port);
    assert_eq!(t.stack.tcp_listen(t.now(), local, None, Owner::APPLICATION), Err(Error::AddrInUse));
    t.wait(60_100);
    let listener = t.stack.tcp_listen(t.now(), local, None, Owner::APPLICATION).unwrap();
    t.stack.tcp_close_listener(t.now(), listener);
}

#[test]
fn a_full_time_wait_table_forgets_the_oldest() {
    let mut t = Script::config(|config| config.time_wait_entries = 3);
    t.listen();
    for client in 0..5 {
        t.client(client);
        t.open();
        t.close();
        t.expect("FA 1 ack 1");
        t.peer("FA 1 ack 2");
        t.expect("A 2 ack 2");
        t.wait(1_000);
    }
    assert_eq!(t.stack.tcp_census().time_wait, 3);
    assert_eq!(t.stack.counters().tcp_time_wait_overflow, 2);
    t.client(0).peer("FA 1 ack 2");
    t.expect("R 2");
    t.client(2).peer("FA 1 ack 2");
    t.expect("A 2 ack 2");
}

#[test]
fn closing_with_unread_data_resets() {
    //= RFC9293 SHLD-3
    let mut t = Script::new();
    t.open();
    t.peer("PA 1:11 ack 1");
    t.close();
    t.expect("RA 1 ack 11");
    t.expect_state(State::Listen);
    assert_eq!(t.stack.tcp_census().pages, 0);
}

#[test]
fn data_for_a_closed_reader_draws_a_reset() {
    //= RFC9293 SHLD-3, MAY-1
    let mut t = Script::new();
    t.open();
    t.close();
    t.expect("FA 1 ack 1");
    t.peer("A 1 ack 2");
    t.peer("PA 1:11 ack 2");
    let reset = t.take();
    assert!(reset.has(4), "a reset");
    t.expect_state(State::Listen);
    assert_eq!(t.stack.tcp_census().pages, 0);
}

#[test]
fn a_shut_reader_discards_and_acknowledges() {
    let mut t = Script::new();
    t.open();
    t.peer("PA 1:11 ack 1");
    t.shutdown(Shutdown::Read);
    // What had come before is still there.
    t.read(10);
    t.expect_eof();
    t.peer("PA 11:2000 ack 1");
    t.expect("A 1 ack 2000");
    t.expect_eof();
    assert_eq!(t.stack.tcp_census().pages, 0);
    // However much comes, the window stays open.
    for _ in 0..100 {
        let next = t.stack.tcp_info(t.id()).unwrap().bytes_received + 1;
        t.inject(&format!("PA {next}:{} ack 1", next + 2_920));
        t.take_all();
    }
    assert!(t.stack.tcp_info(t.id()).unwrap().rcv_wnd > 30_000);
    // And we can still write.
    t.write(5);
    assert_eq!(t.take().payload.len(), 5);
}

#[test]
fn linger_zero_resets() {
    let mut t = Script::new();
    t.open();
    t.write(3_000);
    t.take_all();
    t.options(|options| options.linger = Some(Duration::ZERO));
    t.close();
    t.expect("RA 2921 ack 1");
    t.expect_state(State::Listen);
    assert_eq!(t.stack.tcp_census().pages, 0);
}

#[test]
fn aborting_resets_in_every_synchronised_state() {
    for closes in ["", "ours", "theirs", "both"] {
        let mut t = Script::new();
        t.open();
        if closes == "theirs" || closes == "both" {
            t.peer("FA 1 ack 1");
            t.take_all();
        }
        if closes == "ours" || closes == "both" {
            t.shutdown(Shutdown::Write);
            t.take_all();
        }
        t.abort();
        let reset = t.take();
        assert!(reset.has(4), "{closes}");
        assert_eq!(t.stack.tcp_census().sockets, 0);
        t.expect_none();
    }
}

#[test]
fn closing_in_syn_sent_says_nothing() {
    let mut t = Script::new();
    t.connect();
    t.expect("S 0");
    t.close();
    t.expect_none();
    assert_eq!(t.stack.tcp_census(), Default::default());
    t.peer("SA 0 ack 1");
    t.expect("R 1");
}

#[test]
fn closing_in_syn_received_sends_fin_once_open() {
    let mut t = Script::new();
    t.connect();
    t.expect("S 0");
    t.peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t.close();
    t.expect_none();
    t.peer("A 1 ack 1");
    let lines = t.take_all();
    assert!(lines.last().unwrap().starts_with("FA  1 "), "{lines:?}");
    t.peer("FA 1 ack 2");
    t.expect("A 2 ack 2");
    t.expect_state(State::TimeWait);
}

#[test]
fn a_reset_by_the_peer_is_told_after_what_was_received() {
    //= RFC9293 MUST-12
    let mut t = Script::new();
    t.open();
    t.write(5_000);
    t.take_all();
    t.peer("PA 1:11 ack 1");
    t.peer("R 11");
    t.expect_none();
    t.expect_state(State::Closed);
    t.read(10);
    t.expect_read_error(Error::ConnectionReset);
    t.expect_eof();
    assert_eq!(t.write_some(1), Err(Error::BrokenPipe));
    assert_eq!(t.stack.tcp_census().pages, 0);
    assert_eq!(t.stack.counters().tcp_resets_in, 1);
}

#[test]
fn a_reset_in_last_ack_is_no_error() {
    let mut t = Script::new();
    t.open();
    t.peer("FA 1 ack 1");
    t.expect("A 1 ack 2");
    t.shutdown(Shutdown::Write);
    t.expect("FA 1 ack 2");
    t.peer("R 2");
    t.expect_state(State::Closed);
    t.expect_eof();
}

#[test]
fn unread_data_outlives_the_connection() {
    let mut t = Script::new();
    t.open();
    t.shutdown(Shutdown::Write);
    t.expect("FA 1 ack 1");
    t.peer("FA 1:1001 ack 2");
    t.expect("A 2 ack 1002");
    t.wait(120_000);
    t.expect_state(State::Closed);
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().unread, 1_000);
    t.read(1_000);
    t.expect_eof();
    assert_eq!(t.stack.tcp_census().pages, 0);
}

#[test]
fn a_fin_ahead_of_its_turn_waits_for_the_gap_to_close() {
    let mut t = Script::new();
    t.open();
    t.peer("FA 101:201 ack 1");
    t.expect("A 1 ack 1");
    t.expect_state(State::Established);
    t.peer("A 1:101 ack 1");
    t.expect("A 1 ack 202");
    t.expect_state(State::CloseWait);
    t.read(200);
    t.expect_eof();
}

#[test]
fn nothing_is_taken_past_a_fin() {
    let mut t = Script::new();
    t.open();
    t.peer("FA 1:11 ack 1");
    t.expect("A 1 ack 12");
    t.peer("PA 12:20 ack 1");
    t.run(100);
    for line in t.take_all() {
        assert!(line.contains("ack 12 "), "{line}");
    }
    t.read(10);
    t.expect_eof();
}

#[test]
fn text_past_a_fin_that_waits_is_cut_off() {
    let mut t = Script::new();
    t.open();
    t.peer("FA 51:101 ack 1");
    t.expect("A 1 ack 1");
    t.peer("PA 1:201 ack 1");
    t.expect("A 1 ack 102");
    t.read(100);
    t.expect_eof();
}

#[test]
fn two_closes_are_one() {
    let mut t = Script::new();
    t.open();
    t.shutdown(Shutdown::Write);
    t.expect("FA 1 ack 1");
    t.shutdown(Shutdown::Write);
    t.shutdown(Shutdown::Both);
    t.expect_none();
    t.peer("A 1 ack 2");
    t.close();
    t.expect_none();
}

#[test]
fn the_last_act_of_a_stack_resets_whatever_is_left() {
    let mut t = Script::new();
    t.open();
    t.client(1);
    t.open();
    t.shutdown(Shutdown::Write);
    t.expect("FA 1 ack 1");
    t.stack.tcp_abort_all(t.now());
    t.flush();
    let mut resets = t.take_all();
    resets.sort();
    assert_eq!(resets.len(), 2);
    assert!(resets.iter().all(|line| line.starts_with('R')), "{resets:?}");
    t.client(0).expect_read_error(Error::ConnectionAborted);
}
