//! Defects that were found by reading, each kept as the smallest script that showed it.

#[expect(dead_code, reason = "the harness serves the scripts of `virtual`, too")]
#[path = "virtual/harness/mod.rs"]
mod harness;

mod support {
    pub(crate) mod seeds;
    pub(crate) mod wire;
}

use tunstack::proto::counters::DropReason;
use tunstack::proto::stack::Shutdown;
use tunstack::proto::tcp::closing::State;
use tunstack::proto::{Config, Error, Owner, Readiness};

use harness::script::{Script, Setup};

#[test]
fn answers_to_window_probes_are_no_duplicate_acks() {
    let mut t = Script::new();
    let id = t.open();
    t.peer("A 1 ack 1 win 0");
    t.write(5000);
    for _ in 0..5 {
        while t.take_all().is_empty() {
            t.run(100);
        }
        t.peer("A 1 ack 1 win 0");
    }
    let info = t.stack.tcp_info(id).unwrap();
    assert_eq!(info.ssthresh, u64::MAX);
    assert_eq!(t.stack.counters().tcp_fast_retransmits, 0);
}

#[test]
fn a_window_that_opens_after_probes_is_used_in_full_segments() {
    let mut t = Script::new();
    t.open();
    t.peer("A 1 ack 1 win 0");
    t.write(5000);
    t.expect_in(200, "A 1:2 ack 1");
    t.peer("A 1 ack 1 win 0");
    t.peer("A 1 ack 1 win 65535");
    t.expect("A 1:1461 ack 1");
    t.expect("A 1461:2921 ack 1");
    t.expect("A 2921:4381 ack 1");
    t.peer("A 1 ack 4381");
    t.expect("PA 4381:5001 ack 1");
}

#[test]
fn new_text_waits_for_lost_text() {
    let mut t = Script::new();
    t.open();
    t.options(|options| options.nodelay = true);
    t.write(2920);
    t.take_all();
    t.peer("A 1 ack 1 win 1000");
    t.expect_in(200, "A 1:1001 ack 1");
    t.peer("A 1 ack 1 win 65535");
    // 460 bytes of the congestion window are left: too few for what is lost, enough for ten new ones.
    t.write(10);
    t.expect_none();
    // Then whether the rest is lost is asked with something new (RFC 5682), and a duplicate says that it is.
    t.peer("A 1 ack 1001");
    t.expect("PA 2921:2931 ack 1");
    t.peer("A 1 ack 1001");
    t.expect("A 1001:2461 ack 1");
}

#[test]
fn what_was_unread_when_reading_was_shut_stays_readable() {
    let mut t = Script::new();
    t.open();
    t.peer("A 1:101 ack 1");
    t.shutdown(Shutdown::Read);
    t.peer("A 101:201 ack 1");
    t.run(100);
    t.take_all();
    t.read(100);
    t.expect_eof();
    assert_eq!(t.stack.tcp_census().pages, 0);
}

#[test]
fn text_out_of_order_when_reading_is_shut_gives_its_pages_back() {
    let mut t = Script::new();
    t.open();
    t.peer("A 101:201 ack 1");
    t.expect("A 1 ack 1");
    t.shutdown(Shutdown::Read);
    assert_eq!(t.stack.tcp_census().pages, 0);
    t.peer("A 1:101 ack 1");
    t.expect("A 1 ack 201");
    t.expect_eof();
}

#[test]
fn shutting_the_reading_side_opens_a_shut_window() {
    let mut t = Script::config(|config| config.recv_buffer = 4000);
    t.open();
    t.peer("A 1:4001 ack 1");
    t.expect("A 1 ack 4001 win 0");
    t.shutdown(Shutdown::Read);
    t.expect("A 1 ack 4001 win 4000");
}

#[test]
fn reading_draws_no_acks_from_a_peer_that_does_not_scale() {
    let mut t = Script::config(|config| config.recv_buffer = 1 << 20);
    t.open();
    t.peer("A 1:1001 ack 1");
    t.run(100);
    t.take_all();
    t.read(500);
    t.expect_none();
    t.read(500);
    t.expect_none();
}

#[test]
fn a_syn_outside_the_window_is_challenged_within_the_limit() {
    let mut t = Script::new();
    t.open();
    for _ in 0..100 {
        t.inject("S 200000");
    }
    let limit = Config::default().challenge_acks as usize;
    assert_eq!(t.take_all().len(), limit);
    assert_eq!(t.dropped(DropReason::TcpChallenged), 100);
}

#[test]
fn text_for_an_orphan_is_dropped_by_its_name() {
    let mut t = Script::new();
    t.open();
    t.close();
    t.expect("FA 1 ack 1");
    t.peer("A 1:11 ack 2");
    t.expect("RA 2 ack 1");
    assert_eq!(t.dropped(DropReason::TcpDataAfterClose), 1);
}

#[test]
fn who_uses_up_the_challenges_leaves_keep_alive_probes_answered() {
    let mut t = Script::config(|config| config.challenge_acks_global = 2);
    t.open();
    t.client(1).open();
    for _ in 0..10 {
        t.inject("R 100");
    }
    t.take_all();
    t.client(0);
    t.peer("A 0 ack 1");
    t.expect("A 1 ack 1");
}

#[test]
fn the_syn_ack_that_ends_a_simultaneous_open_is_of_use() {
    let mut t = Script::new();
    t.connect();
    t.take();
    t.peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t.peer("SA 0 ack 1 <mss 1460>");
    t.expect_state(State::Established);
    t.expect("A 1 ack 1");
    assert_eq!(t.stack.counters().dropped_total(), 0);
}

#[test]
fn a_syn_ack_sent_twice_measures_nothing() {
    let mut t = Script::new();
    t.listen();
    t.peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t.wait(900);
    t.peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t.peer("A 1 ack 1");
    let id = t.accept();
    assert_eq!(t.stack.tcp_info(id).unwrap().srtt, None);
}

#[test]
fn an_abort_in_syn_received_resets_the_peer() {
    let mut t = Script::new();
    t.connect();
    t.take();
    t.peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t.abort();
    t.expect("RA 1 ack 1");
}

#[test]
fn a_syn_that_cannot_reopen_a_time_wait_entry_is_acknowledged() {
    let mut t = Script::new();
    t.open();
    t.close();
    t.expect("FA 1 ack 1");
    t.peer("FA 1 ack 2");
    t.take_all();
    let listener = t.listener.take().unwrap();
    let now = t.now();
    t.stack.tcp_close_listener(now, listener);
    t.peer("S 100000 <mss 1460>");
    t.expect("A 2 ack 2");
}

#[test]
fn a_keep_alive_probe_that_the_device_held_back_gives_way_to_text() {
    let mut t = Script::new();
    t.open();
    t.options(|options| {
        options.keepalive = Some(tunstack::proto::tcp::KeepAlive {
            idle: std::time::Duration::from_secs(10),
            interval: std::time::Duration::from_secs(1),
            probes: 3,
        });
    });
    t.busy = true;
    t.run(10_001);
    assert_eq!(t.write_some(10), Ok(10));
    t.busy = false;
    t.run(1);
    t.expect("PA 1:11 ack 1");
    t.expect_none();
}

#[test]
fn an_orphan_behind_a_window_that_takes_one_probe_is_given_up() {
    let mut t = Script::new();
    t.open();
    t.peer("A 1 ack 1 win 0");
    t.write(5000);
    t.close();
    t.expect_in(200, "A 1:2 ack 1");
    // The probe's octet is taken; then the window stays shut for ever, and the peer stays alive.
    t.peer("A 1 ack 2 win 0");
    let mut una = 2;
    for _ in 0..40 {
        t.run(30_000);
        if !t.take_all().is_empty() {
            t.inject(&format!("A 1 ack {una} win 0"));
            una = 2;
        }
    }
    assert_eq!(t.stack.tcp_census().sockets, 0);
}

#[test]
fn the_user_time_out_runs_from_the_last_octet_that_was_taken() {
    let mut t = Script::new();
    let id = t.open();
    t.options(|options| options.user_timeout = Some(std::time::Duration::from_secs(10)));
    t.peer("A 1 ack 1 win 0");
    t.write(5000);
    t.expect_in(200, "A 1:2 ack 1");
    t.peer("A 1 ack 2 win 0");
    t.run(9_990);
    assert_eq!(t.stack.tcp_info(id).unwrap().state, State::Established);
    t.run(20);
    assert_eq!(t.stack.tcp_info(id).unwrap().state, State::Closed);
    t.take_all();
    t.expect_read_error(Error::TimedOut);
}

#[test]
fn a_writer_without_memory_hears_of_pages_that_reading_frees() {
    let mut t = Script::config(|config| config.pages = 1);
    t.open();
    t.peer("A 1:101 ack 1");
    t.expect_in(40, "A 1 ack 101");
    let reader = t.id();
    t.client(1).open();
    let writer = t.id();
    assert_eq!(t.write_some(10), Err(Error::WouldBlock));
    t.readiness();
    let now = t.now();
    assert!(!t.stack.wants_transmit());
    assert_eq!(t.stack.tcp_read(now, reader, &mut [0; 200]), Ok(100));
    assert!(t.stack.wants_transmit());
    t.flush();
    assert_eq!(t.readiness(), Readiness::WRITABLE);
    assert_eq!(t.id(), writer);
    t.write(10);
    t.expect("PA 1:11 ack 1");
}

#[test]
fn acks_and_resets_stay_inside_a_window_that_was_probed() {
    let mut t = Script::new();
    t.open();
    t.peer("A 1 ack 1 win 0");
    t.write(5000);
    t.expect_in(200, "A 1:2 ack 1");
    t.peer("A 1 ack 1 win 0");
    // The peer has thrown the probe away: it takes only what stands at 1.
    t.peer("A 1:101 ack 1 win 0");
    t.expect_in(40, "A 1 ack 101");
    t.abort();
    t.expect("RA 1 ack 101");
}

#[test]
fn a_socket_may_connect_to_itself() {
    let mut t = Script::new();
    let here = std::net::SocketAddr::new(t.stack_ip, 5000);
    let now = t.now();
    let id = t.stack.tcp_connect(now, Some(here), here, None, Owner::APPLICATION).unwrap();
    t.flush();
    assert_eq!(t.stack.tcp_info(id).unwrap().state, State::Established);
    assert_eq!(t.stack.tcp_write(now, id, b"to myself"), Ok(9));
    t.flush();
    let mut out = [0; 20];
    assert_eq!(t.stack.tcp_read(now, id, &mut out), Ok(9));
    assert_eq!(&out[..9], b"to myself");
    t.stack.tcp_shutdown(now, id, Shutdown::Write).unwrap();
    t.run(100);
    assert_eq!(t.stack.tcp_read(now, id, &mut out), Ok(0));
    t.stack.tcp_close(t.now(), id);
    t.run(1000);
    assert_eq!(t.stack.tcp_census().sockets, 0);
}

#[test]
fn counters_count_what_their_names_say() {
    let mut t = Script::config(|config| config.reassembly_ranges = 1);
    t.open();
    t.peer("A 101:201 ack 1");
    t.expect("A 1 ack 1");
    t.peer("A 301:401 ack 1");
    t.expect("A 1 ack 1");
    assert_eq!((t.stack.counters().tcp_out_of_order, t.dropped(DropReason::NoMemory)), (1, 1));
    t.close();
    t.expect("FA 1 ack 1");
    t.peer("A 1 ack 2");
    t.run(70_000);
    assert_eq!(t.stack.tcp_census().sockets, 0, "an orphan in FIN-WAIT-2 goes after a minute");
    assert_eq!(t.stack.counters().tcp_given_up, 0);
    t.client(1).peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t.peer("R 1");
    assert_eq!(t.stack.counters().tcp_attempts_failed, 1);
}

#[test]
fn peers_that_read_nothing_leave_memory_for_the_others() {
    let mut t = Script::config(|config| config.pages = 1024);
    // Far more than the pool could give if each had what it asks for: 128 pages.
    for client in 0..100 {
        t.client(client).open();
        t.inject("A 1 ack 1 win 0");
        while t.write_some(64 << 10).is_ok() {}
        t.take_all();
    }
    t.client(100).open();
    t.write(1_000);
    t.expect("PA 1:1001 ack 1");
    t.peer("A 1:1001 ack 1001");
    t.read(1_000);
}

#[test]
fn text_out_of_order_does_not_keep_text_in_order_out() {
    let mut t = Script::config(|config| config.pages = 4);
    t.open();
    for page in 1..=4 {
        t.inject(&format!("A {}:{} ack 1", page * 4_096 + 1, page * 4_096 + 1_001));
    }
    // Three pages of the four were offered, and all that was offered is taken.
    for segment in 0..12 {
        t.inject(&format!("A {}:{} ack 1", segment * 1_000 + 1, segment * 1_000 + 1_001));
    }
    t.take_all();
    t.read(12_000);
}

#[test]
fn text_that_leads_up_to_a_fin_ahead_of_its_turn_is_acknowledged_at_once() {
    //= RFC5681 3.2 gap
    let mut t = Script::new();
    t.open();
    t.inject("FA 6 ack 1");
    t.expect("A 1 ack 1");
    t.inject("PA 1:6 ack 1");
    t.expect("A 1 ack 7");
}

#[test]
fn a_syn_ack_that_answers_a_late_syn_is_given_its_time() {
    let mut t = Script::new();
    t.listen();
    t.peer("S 0 <mss 1460>");
    let syn_ack = t.take().flags;
    t.run(62_500);
    t.take_all();
    t.peer("S 0 <mss 1460>");
    assert_eq!(t.take().flags, syn_ack);
    // 63 s after the first SYN, the half-open connection was forgotten, whatever had just been answered.
    t.run(1_000);
    t.peer("A 1 ack 1");
    t.expect_none();
    t.accept();
    t.expect_state(State::Established);
}

#[test]
fn window_probes_that_cross_do_not_shut_both_ends_out_for_ever() {
    let mut t = Script::new();
    t.open();
    t.peer("A 1 ack 1 win 0");
    t.write(5000);
    t.expect_in(200, "A 1:2 ack 1");
    // The peer has taken the octet, and probes a window of ours that it believes to be shut. What it says from now on
    // stands before what we expect, as our answers stand before what it expects.
    t.peer("A 1:2 ack 1 win 0");
    t.expect_in(40, "A 1 ack 2");
    t.peer("A 1 ack 2 win 65535");
    t.expect("A 2:1462 ack 2");
    t.expect("A 1462:2922 ack 2");
}

#[test]
fn a_router_may_find_a_packet_too_big_for_less_than_our_own_small_link_takes() {
    let mut t = Script::with(Setup { mtu: 300, ..Setup::default() });
    t.open();
    t.write(260);
    t.expect("PA 1:261 ack 1");
    // It names no MTU: the next of those that links have is 296, below the least that is believed, and so is ours.
    t.icmp(3, 4, "PA 1:261 ack 1");
    t.expect("PA 1:261 ack 1");
    t.peer("A 1 ack 261");
}
