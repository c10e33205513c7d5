//! Who may have the ends of a connection in TIME-WAIT: RFC 6191, and PAWS meanwhile.

use tunstack::proto::tcp::closing::State;
use tunstack::proto::{DropReason, Error};

use crate::harness::script::{Script, Setup};

/// Both have closed, we first. What the peer sent last was its FIN: number 1, with TSval 100 if there are timestamps.
fn in_time_wait(has_timestamps: bool) -> Script {
    let mut t = Script::new();
    if has_timestamps {
        t.open_passive("S 0 win 65535 <mss 1460,ts 70 0>");
    } else {
        t.open();
    }
    let stamp = if has_timestamps { " <ts 100 0>" } else { "" };
    t.close();
    t.expect("FA 1 ack 1");
    t.peer(&format!("FA 1 ack 2{stamp}"));
    t.expect("A 2 ack 2");
    t.expect_state(State::TimeWait);
    t
}

/// Whether a SYN opens the connection anew; otherwise it must have drawn an ACK of the old.
fn reopens(mut t: Script, syn: &str) -> bool {
    let old_nxt = t.build("A 2 ack 2").ack;
    let tcp = t.build(syn);
    t.receive(&tcp.encode());
    let answer = t.take();
    t.expect_none();
    match answer.flags {
        0x12 => {
            assert_eq!(answer.ack, tcp.seq.wrapping_add(1));
            assert!(answer.seq.wrapping_sub(old_nxt) < 1 << 31, "a new number above all old ones");
            assert_eq!(t.stack.counters().tcp_time_wait_reused, 1);
            t.expect_state(State::SynReceived);
            true
        }
        0x10 => {
            assert_eq!((answer.seq, answer.ack), (old_nxt, t.build("A 2 ack 2").seq));
            t.expect_state(State::TimeWait);
            // It goes on, and not anew.
            t.wait(59_900);
            t.expect_state(State::TimeWait);
            t.wait(200);
            t.expect_state(State::Listen);
            false
        }
        flags => panic!("{flags:#x}"),
    }
}

#[test]
fn a_later_timestamp_opens_whatever_the_sequence_number() {
    //= RFC6191 2 newer timestamp
    //= RFC9293 SHLD-4
    for seq in [-5_000, 0, 1, 2, 5_000, 1 << 30] {
        assert!(reopens(in_time_wait(true), &format!("S {seq} <mss 1460,ts 101 0>")), "{seq}");
    }
}

#[test]
fn the_same_timestamp_opens_if_the_number_is_beyond_the_fin() {
    //= RFC6191 2 same timestamp, 2 last number
    for (seq, opens) in [(-5_000, false), (1, false), (2, true), (5_000, true)] {
        assert_eq!(reopens(in_time_wait(true), &format!("S {seq} <mss 1460,ts 100 0>")), opens, "{seq}");
    }
}

#[test]
fn an_earlier_timestamp_never_opens() {
    for seq in [-5_000, 2, 5_000] {
        assert!(!reopens(in_time_wait(true), &format!("S {seq} <mss 1460,ts 99 0>")), "{seq}");
    }
}

#[test]
fn where_only_one_of_both_has_timestamps_the_number_decides_or_the_timestamp_is_enough() {
    //= RFC6191 2 no longer timestamps
    for (seq, opens) in [(-5_000, false), (1, false), (2, true), (5_000, true)] {
        assert_eq!(reopens(in_time_wait(true), &format!("S {seq} <mss 1460>")), opens, "{seq}");
        //= RFC6191 2 never timestamps
        assert_eq!(reopens(in_time_wait(false), &format!("S {seq} <mss 1460>")), opens, "{seq}");
    }
    //= RFC6191 2 first timestamps
    for seq in [-5_000, 1, 2, 5_000] {
        assert!(reopens(in_time_wait(false), &format!("S {seq} <mss 1460,ts 7 0>")), "{seq}");
    }
}

#[test]
fn only_a_syn_alone_opens() {
    for flags in ["SA 5000 ack 2", "SF 5000", "SFA 5000 ack 2"] {
        assert!(!reopens(in_time_wait(true), &format!("{flags} <mss 1460,ts 200 0>")), "{flags}");
    }
}

#[test]
fn the_past_is_answered_and_does_not_start_the_wait_anew() {
    //= RFC7323 5.3 PAWS
    let mut t = in_time_wait(true);
    t.wait(40_000);
    for line in ["FA 1 ack 2", "PA 1:101 ack 2"] {
        t.peer(&format!("{line} <ts 99 0>"));
        t.expect("A 2 ack 2 <ts 40000 100>");
    }
    assert_eq!(t.dropped(DropReason::TcpOldTimestamp), 2);
    //= RFC7323 3.2 missing
    t.peer("FA 1 ack 2");
    t.expect_none();
    t.wait(19_900);
    t.expect_state(State::TimeWait);
    // Their FIN, of today.
    t.peer("FA 1 ack 2 <ts 59000 0>");
    t.expect("A 2 ack 2 <ts 59900 100>");
    t.wait(59_900);
    t.expect_state(State::TimeWait);
    t.wait(200);
    t.expect_state(State::Listen);
}

#[test]
fn a_segment_in_sequence_moves_the_timestamp_and_one_that_acknowledges_nonsense_does_not() {
    let mut t = in_time_wait(true);
    t.peer("A 2 ack 2 <ts 150 0>");
    t.expect_none();
    t.peer("A 2 ack 999 <ts 1000 0>");
    t.expect_none();
    assert!(!reopens(t, "S 5000 <mss 1460,ts 149 0>"));
    let mut t = in_time_wait(true);
    t.peer("A 2 ack 2 <ts 150 0>");
    t.peer("A 2 ack 999 <ts 1000 0>");
    assert!(reopens(t, "S 5000 <mss 1460,ts 151 0>"));
}

/// Two ports of our own, of which connections to the peer are in TIME-WAIT.
fn used_up(has_timestamps: bool) -> (Script, [u16; 2]) {
    let mut setup = Setup::default();
    setup.config.ephemeral_ports = 50_000..=50_001;
    let mut t = Script::with(setup);
    let mut ports = [0; 2];
    for port in &mut ports {
        let stamp = |value| if has_timestamps { format!(" <ts {value} 0>") } else { String::new() };
        let id = t.open_active(&format!("SA 0 ack 1{}", stamp(70)));
        *port = t.stack.tcp_local_addr(id).unwrap().port();
        t.close();
        t.expect("FA 1 ack 1");
        t.peer(&format!("FA 1 ack 2{}", stamp(71)));
        t.expect("A 2 ack 2");
    }
    (t, ports)
}

#[test]
fn when_ports_run_out_one_in_time_wait_is_used_again_after_a_second() {
    //= RFC6191 3 increasing
    let (mut t, _) = used_up(true);
    t.wait(999);
    assert_eq!(t.try_connect(0, None).unwrap_err(), Error::AddrNotAvailable);
    t.wait(1);
    t.connect();
    let syn = t.take();
    assert_eq!((syn.flags, syn.src.port() / 2), (0x02, 25_000));
    assert_eq!((t.stack.counters().tcp_time_wait_reused, t.stack.tcp_census().time_wait), (1, 1));
    // Without timestamps they wait.
    let (mut t, _) = used_up(false);
    t.wait(30_000);
    assert_eq!(t.try_connect(0, None).unwrap_err(), Error::AddrNotAvailable);
    t.wait(31_000);
    t.connect();
    t.take();
}

#[test]
fn a_port_asked_for_is_taken_out_of_time_wait_with_later_timestamps_and_higher_numbers() {
    //= RFC6191 3 increasing
    let (mut t, [port, _]) = used_up(true);
    assert_eq!(t.try_connect(port, None).unwrap_err(), Error::AddrInUse);
    t.wait(1_000);
    let old = t.build("A 2 ack 2");
    assert_eq!(t.try_connect(50_005, None).map(|_| t.take().flags), Ok(0x02));
    t.try_connect(port, None).unwrap();
    let syn = t.take();
    assert_eq!(syn.src.port(), port);
    assert!(old.dst.port() != port || syn.seq.wrapping_sub(old.ack) < 1 << 31);
    // The peer, which remembers nothing, answers; so does one that does, until we reset what it remembers.
    t.peer("A 5 ack -1000");
    assert!(t.take().flags & 0x04 != 0);
    t.peer("SA 0 ack 1 <mss 1460,ts 2000 0>");
    t.expect("A 1 ack 1 <ts 0 2000>");
    t.expect_state(State::Established);
    // A duplicate of the old connection is from the past.
    t.peer("PA 1:101 ack 1 <ts 71 0>");
    t.expect("A 1 ack 1");
    assert_eq!(t.dropped(DropReason::TcpOldTimestamp), 1);
    t.expect_no_data();
}
