//! Retransmission (RFC 6298, RFC 9293 section 3.8.1), giving up (3.8.3), keep-alive (3.8.4) and the user time-out.

use std::time::Duration;

use tunstack::proto::tcp::KeepAlive;
use tunstack::proto::tcp::closing::State;
use tunstack::proto::{Error, Readiness};

use crate::harness::script::Script;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An active open whose SYN-ACK takes `rtt`.
fn opened_after(rtt: u64) -> Script {
    let mut t = Script::new();
    t.connect();
    t.expect("S 0");
    t.wait(rtt);
    t.peer("SA 0 ack 1 <mss 1460>");
    t.expect("A 1 ack 1");
    t
}

#[test]
fn a_syn_is_sent_again_after_one_second_and_then_ever_later() {
    //= RFC6298 2.1 first
    let mut t = Script::new();
    let id = t.connect();
    t.expect("S 0 win 65535 <mss 1460,sackok,ts 0 0,ws 0>");
    let mut stamp = 0;
    for seconds in [1, 2, 4, 8, 16, 32, 64] {
        stamp += seconds * 1_000;
        t.expect_in(seconds * 1_000, &format!("S 0 win 65535 <mss 1460,sackok,ts {stamp} 0,ws 0>"));
    }
    // 127 s so far. R2 of a SYN is 180 s.
    //= RFC9293 MUST-22, MUST-23
    t.wait(52_900);
    t.expect_state(State::SynSent);
    t.wait(200);
    t.expect_state(State::Closed);
    assert_eq!(t.stack.tcp_connect_result(id), Err(Error::TimedOut));
    assert_eq!(t.stack.counters().tcp_given_up, 1);
}

#[test]
fn r2_of_a_syn_can_be_chosen() {
    let mut t = Script::new();
    let mut options = tunstack::proto::tcp::SocketOptions::new(t.stack.config());
    options.r2_syn = Duration::from_secs(5);
    let id = t.connect_with(Some(options));
    t.expect("S 0");
    t.expect_in(1_000, "S 0");
    t.expect_in(2_000, "S 0");
    t.wait(2_100);
    assert_eq!(t.stack.tcp_connect_result(id), Err(Error::TimedOut));
}

#[test]
fn the_first_measurement_makes_three_times_the_round_trip() {
    //= RFC6298 2.2 measured, 5.1 start, 5.4 earliest, 5.5 doubling
    // SRTT = R, RTTVAR = R/2, RTO = SRTT + 4 RTTVAR.
    let mut t = opened_after(100);
    t.write(100);
    t.expect("PA 1:101 ack 1");
    for wait in [300, 600, 1_200, 2_400] {
        t.expect_in(wait, "PA 1:101 ack 1");
    }
}

#[test]
fn the_second_measurement_is_smoothed() {
    //= RFC6298 2.3 smoothed, 3 each round trip
    // RTTVAR = 3/4 50 + 1/4 |100 - 200| = 62.5, SRTT = 7/8 100 + 1/8 200 = 112.5, RTO = 362.5 ms.
    let mut t = opened_after(100);
    t.write(100);
    t.expect("PA 1:101 ack 1");
    t.wait(200);
    t.peer("A 1 ack 101");
    let info = t.stack.tcp_info(t.id()).unwrap();
    assert_eq!(
        (info.srtt, info.rttvar),
        (Some(Duration::from_micros(112_500)), Duration::from_micros(62_500))
    );
    t.write(100);
    t.expect("PA 101:201 ack 1");
    t.expect_at(t.now() + Duration::from_micros(362_500), "PA 101:201 ack 1");
}

#[test]
fn the_timeout_is_never_below_200_ms() {
    let mut t = opened_after(10);
    t.write(100);
    t.expect("PA 1:101 ack 1");
    t.expect_in(200, "PA 1:101 ack 1");
    t.expect_in(400, "PA 1:101 ack 1");
}

#[test]
fn the_timeout_is_never_above_rto_max() {
    //= RFC6298 2.5 upper bound
    let mut t = opened_after(10);
    t.options(|options| options.r2 = Duration::from_secs(100_000));
    t.write(100);
    t.expect("PA 1:101 ack 1");
    let mut wait = 200;
    for _ in 0..14 {
        t.expect_in(wait, "PA 1:101 ack 1");
        wait = (2 * wait).min(120_000);
    }
}

#[test]
fn what_was_sent_twice_measures_nothing() {
    //= RFC9293 MUST-18 (Karn)
    //= RFC6298 3 Karn, 5 backed off
    let mut t = opened_after(100);
    t.write(100);
    t.expect("PA 1:101 ack 1");
    t.expect_in(300, "PA 1:101 ack 1");
    t.wait(10);
    t.peer("A 1 ack 101");
    let info = t.stack.tcp_info(t.id()).unwrap();
    assert_eq!(info.srtt, Some(ms(100)), "neither 310 nor 10 ms");
    // The back-off stays in force until something is measured.
    t.write(100);
    t.expect("PA 101:201 ack 1");
    t.expect_in(600, "PA 101:201 ack 1");
    t.peer("A 1 ack 201");
    t.write(100);
    t.expect("PA 201:301 ack 1");
    t.wait(100);
    t.peer("A 1 ack 301");
    assert!(t.stack.tcp_info(t.id()).unwrap().rto < ms(300));
}

#[test]
fn a_syn_that_was_sent_twice_measures_nothing() {
    //= RFC6298 5.7 after a SYN
    //= RFC5681 3.1 lost SYN
    // Then the time-out begins at 3 s, and the window at one segment.
    let mut t = Script::new();
    t.connect();
    t.expect("S 0");
    t.expect_in(1_000, "S 0");
    t.wait(50);
    t.peer("SA 0 ack 1 <mss 1000>");
    t.expect("A 1 ack 1");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().srtt, None);
    t.write(3_000);
    t.expect("A 1:1001 ack 1");
    t.expect_in(3_000, "A 1:1001 ack 1");
}

#[test]
fn a_syn_ack_that_was_sent_twice_measures_nothing() {
    let mut t = Script::new();
    t.listen();
    t.peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t.expect_in(1_000, "SA 0 ack 1");
    t.wait(10);
    t.peer("A 1 ack 1");
    let id = t.accept();
    assert_eq!(t.stack.tcp_info(id).unwrap().srtt, None);
    // One that was sent once does.
    t.client(1).peer("S 0 <mss 1460>");
    t.expect("SA 0 ack 1");
    t.wait(70);
    t.peer("A 1 ack 1");
    let id = t.accept();
    assert_eq!(t.stack.tcp_info(id).unwrap().srtt, Some(ms(70)));
}

#[test]
fn an_acknowledgement_of_new_data_restarts_the_timer() {
    //= RFC6298 5.3 restart
    let mut t = opened_after(50);
    t.write(2 * 1460);
    t.expect("A 1:1461 ack 1");
    t.expect("PA 1461:2921 ack 1");
    t.wait(150);
    t.peer("A 1 ack 1461");
    // Not at 200 ms after sending, but an RTO after the acknowledgement.
    let rto = t.stack.tcp_info(t.id()).unwrap().rto;
    t.expect_at(t.now() + rto, "PA 1461:2921 ack 1");
}

#[test]
fn a_timeout_sends_one_segment_and_slow_start_the_rest() {
    //= RFC6298 5.2 all acknowledged, 5.4 earliest
    let mut t = opened_after(100);
    t.write(10 * 1460);
    t.run(0);
    assert_eq!(t.take_all().len(), 10);
    t.expect_in(300, "A 1:1461 ack 1");
    t.expect_none();
    t.wait(100);
    t.peer("A 1 ack 1461");
    t.expect("A 1461:2921 ack 1");
    t.expect("A 2921:4381 ack 1");
    t.expect_none();
    // The rest had arrived after all: nothing of it is sent again, and no timer runs.
    t.peer("A 1 ack 14601");
    t.expect_none();
    t.wait(5_000);
    assert_eq!(t.stack.tcp_census().timers, 0);
}

#[test]
fn a_peer_that_vanishes_is_given_up_after_r2_and_everything_is_freed() {
    //= RFC9293 MUST-20/r2, MUST-21
    let mut t = opened_after(100);
    t.options(|options| options.r2 = Duration::from_secs(100));
    t.write(50_000);
    t.run(99_000);
    t.expect_state(State::Established);
    let sent = t.take_all().len();
    assert!((10..30).contains(&sent), "{sent} segments");
    t.run(1_100);
    t.expect_state(State::Closed);
    assert_eq!(t.stack.tcp_census().pages, 0);
    assert_eq!(t.stack.tcp_census().timers, 0);
    assert!(t.readiness().contains(Readiness::ERROR));
    t.expect_read_error(Error::TimedOut);
    assert_eq!(t.write_some(1), Err(Error::BrokenPipe));
    assert_eq!(t.stack.counters().tcp_given_up, 1);
    t.expect_none();
}

#[test]
fn by_default_a_connection_is_given_up_after_fifteen_minutes() {
    //= RFC9293 SHLD-11
    let mut t = opened_after(10);
    t.write(10);
    t.run(923_000);
    t.expect_state(State::Established);
    t.run(2_000);
    t.expect_read_error(Error::TimedOut);
    // After 0.2, 0.6, 1.4 ... 204.6 s, then every 120 s: as many as Linux's 15 retries.
    assert_eq!(t.take_all().len(), 1 + 15);
}

#[test]
fn r1_is_three_retransmissions_and_is_reported() {
    //= RFC9293 MUST-20/r1, SHLD-9, SHLD-10
    let mut t = opened_after(100);
    t.write(10);
    t.expect("PA 1:11 ack 1");
    t.readiness();
    for wait in [300, 600] {
        t.expect_in(wait, "PA 1:11 ack 1");
    }
    assert_eq!(t.stack.counters().negative_advice, 0);
    t.expect_in(1_200, "PA 1:11 ack 1");
    assert_eq!(t.stack.counters().negative_advice, 1);
    assert!(t.readiness().contains(Readiness::SOFT_ERROR));
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().soft_error, Some(Error::TimedOut));
    // All is well again.
    t.peer("A 1 ack 11");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().soft_error, None);
}

#[test]
fn r1_can_be_chosen_and_its_report_switched_off() {
    //= RFC9293 SHLD-20
    let mut t = opened_after(100);
    t.options(|options| (options.r1_retransmits, options.report_soft_errors) = (1, false));
    t.write(10);
    t.expect("PA 1:11 ack 1");
    t.readiness();
    t.expect_in(300, "PA 1:11 ack 1");
    assert_eq!(t.stack.counters().negative_advice, 1);
    assert!(!t.readiness().contains(Readiness::SOFT_ERROR));
}

#[test]
fn a_user_timeout_replaces_r2() {
    let mut t = opened_after(100);
    t.options(|options| options.user_timeout = Some(Duration::from_secs(2)));
    t.write(10);
    t.expect("PA 1:11 ack 1");
    t.expect_in(300, "PA 1:11 ack 1");
    t.expect_in(600, "PA 1:11 ack 1");
    t.wait(1_200);
    t.expect_read_error(Error::TimedOut);
}

#[test]
fn a_user_timeout_does_not_end_a_connection_with_nothing_to_say() {
    let mut t = opened_after(100);
    t.options(|options| options.user_timeout = Some(Duration::from_secs(2)));
    t.wait(100_000);
    t.write(10);
    t.expect("PA 1:11 ack 1");
    t.wait(100);
    t.peer("A 1 ack 11");
    t.wait(100_000);
    t.expect_state(State::Established);
}

#[test]
fn a_busy_device_does_not_count_as_sent() {
    let mut t = opened_after(100);
    t.busy = true;
    t.write(1_000);
    t.run(10_000);
    t.busy = false;
    t.expect_none();
    t.flush();
    t.expect("PA 1:1001 ack 1");
    t.wait(100);
    t.peer("A 1 ack 1001");
    assert_eq!(t.stack.counters().tcp_retransmits, 0);
}

const KEEPALIVE: KeepAlive =
    KeepAlive { idle: Duration::from_secs(60), interval: Duration::from_secs(10), probes: 3 };

#[test]
fn keep_alive_is_off_by_default() {
    //= RFC9293 MUST-25
    let mut t = Script::new();
    t.open();
    t.wait(1_000_000_000);
    t.expect_state(State::Established);
}

#[test]
fn keep_alive_probes_an_idle_peer_and_gives_up_after_several() {
    //= RFC9293 MAY-5, MUST-24, MUST-27, MUST-29, SHLD-12
    let mut t = Script::new();
    t.open();
    t.options(|options| options.keepalive = Some(KEEPALIVE));
    t.expect_in(60_000, "A 0 ack 1");
    t.expect_in(10_000, "A 0 ack 1");
    t.expect_in(10_000, "A 0 ack 1");
    t.expect_in(10_000, "RA 1 ack 1");
    t.expect_state(State::Closed);
    t.expect_read_error(Error::TimedOut);
    assert_eq!(t.stack.counters().tcp_keepalives, 3);
    assert_eq!(t.stack.counters().tcp_given_up, 1);
}

#[test]
fn an_answered_keep_alive_begins_the_silence_anew() {
    let mut t = Script::new();
    t.open();
    t.options(|options| options.keepalive = Some(KEEPALIVE));
    for _ in 0..5 {
        t.expect_in(60_000, "A 0 ack 1");
        t.expect_in(10_000, "A 0 ack 1");
        t.peer("A 1 ack 1");
    }
    // Data is a sign of life, too.
    t.wait(30_000);
    t.peer("PA 1:2 ack 1");
    t.expect_in(40, "A 1 ack 2");
    t.expect_in(59_960, "A 0 ack 2");
}

#[test]
fn keep_alive_waits_while_something_is_outstanding() {
    //= RFC9293 MUST-26
    let mut t = Script::new();
    t.open();
    let settings = KeepAlive { idle: Duration::from_secs(1), ..KEEPALIVE };
    t.options(|options| options.keepalive = Some(settings));
    t.write(10);
    t.expect("PA 1:11 ack 1");
    for wait in [200, 400, 800, 1_600, 3_200] {
        t.expect_in(wait, "PA 1:11 ack 1");
    }
    t.peer("A 1 ack 11");
    t.expect_in(1_000, "A 10 ack 1");
}

#[test]
fn keep_alive_can_be_switched_off_again() {
    let mut t = Script::new();
    t.open();
    t.options(|options| options.keepalive = Some(KEEPALIVE));
    t.expect_in(60_000, "A 0 ack 1");
    t.options(|options| options.keepalive = None);
    t.wait(1_000_000);
    t.expect_state(State::Established);
}

#[test]
fn a_keep_alive_probe_is_answered() {
    let mut t = Script::new();
    t.open();
    t.peer("A 0 ack 1");
    t.expect("A 1 ack 1");
    // The old kind, with one octet of garbage.
    t.peer("A 0:1 ack 1");
    t.expect("A 1 ack 1");
    t.expect_no_data();
}
