//! Buffers that grow with their use, readers that stop, and acknowledgements that come quickly where a sender waits for them.

use bytes::Bytes;
use tunstack::proto::{Config, Error, Readiness};

use crate::harness::script::Script;

/// A stack with the defaults, of which no other script has the buffers.
fn default() -> Script {
    Script::config(|config| *config = Config::default())
}

/// A connection whose peer scales its windows, and whose handshake took 100 ms.
fn opened(t: &mut Script) {
    t.listen();
    t.peer("S 0 win 65535 <mss 1000,ws 7>");
    // 6 MiB are the largest window, whatever the first is.
    t.expect("SA 0 ack 1 win 65535 <mss 1460,ws 7>");
    t.run(100);
    t.peer("A 1 ack 1 win 65535");
    t.accept();
}

/// The peer sends so many segments of 1000 bytes, and the application reads each of them.
fn flight(t: &mut Script, from: u32, segments: u32) -> u32 {
    for nth in 0..segments {
        let seq = from + 1_000 * nth;
        t.inject(&format!("A {seq}:{} ack 1", seq + 1_000));
        t.read(1_000);
    }
    from + 1_000 * segments
}

fn window(t: &Script) -> u32 {
    t.stack.tcp_info(t.id()).unwrap().rcv_wnd
}

#[test]
fn the_window_grows_from_64_kib_ahead_of_a_sender_that_doubles_and_stays_for_one_that_does_not() {
    let mut t = default();
    opened(&mut t);
    let mut seq = 1;
    let mut offered = vec![window(&t)];
    for round in 0..9 {
        seq = flight(&mut t, seq, 10 << round);
        t.take_all();
        offered.push(window(&t));
        t.run(100);
    }
    // 64 KiB, then four times what came in a round trip; the last segments were read after they were acknowledged.
    let expected =
        [65_535, 65_536, 80_000, 160_000, 320_000, 640_000, 1_280_000, 2_560_000, 5_120_000, 6 << 20];
    for (offered, expected) in offered.iter().zip(expected) {
        assert!((expected - 8_000..=expected + 128).contains(offered), "{offered} where {expected} are due");
    }

    let mut steady = default();
    opened(&mut steady);
    let mut seq = 1;
    for _ in 0..20 {
        seq = flight(&mut steady, seq, 30);
        steady.take_all();
        steady.run(100);
    }
    // Once, when it began.
    assert!((112_000..=120_128).contains(&window(&steady)), "{}", window(&steady));
}

#[test]
fn where_there_is_no_scaling_the_window_is_what_the_field_can_say() {
    let mut t = default();
    t.open_passive("S 0 win 65535 <mss 1000>");
    let mut seq = 1;
    for round in 0..8 {
        seq = flight(&mut t, seq, 10 << round);
        t.take_all();
        t.run(100);
    }
    assert_eq!(window(&t), 65_535);
}

#[test]
fn a_fixed_buffer_does_not_grow() {
    let mut t = Script::config(|config| {
        *config = Config { recv_buffer: 100_000, recv_buffer_initial: usize::MAX, ..Config::default() };
    });
    t.listen();
    t.peer("S 0 win 65535 <mss 1000,ws 7>");
    t.expect("SA 0 ack 1 win 65535 <mss 1460,ws 1>");
    t.run(100);
    t.peer("A 1 ack 1 win 65535");
    t.accept();
    let mut seq = 1;
    for _ in 0..8 {
        seq = flight(&mut t, seq, 50);
        t.take_all();
        assert!((98_000..=100_001).contains(&window(&t)), "{}", window(&t));
        t.run(100);
    }
}

#[test]
fn a_receiver_that_stops_reading_grows_no_further_shuts_its_window_and_opens_it_at_once_when_it_reads() {
    let mut t = default();
    opened(&mut t);
    let mut seq = 1;
    for round in 0..5 {
        seq = flight(&mut t, seq, 10 << round);
        t.take_all();
        t.run(100);
    }
    let offered = window(&t);
    assert!((632_000..=640_128).contains(&offered), "{offered}");
    // It stops. What was offered is taken, to the last byte.
    while window(&t) > 0 {
        let len = window(&t).min(1_000);
        t.inject(&format!("A {seq}:{} ack 1", seq + len));
        t.run(40);
        seq += len;
    }
    let end = seq;
    let last = t.take_all().pop().unwrap();
    assert!(last.contains(&format!("ack {end} ")) && last.contains("win 0"), "{last}");
    let unread = t.stack.tcp_info(t.id()).unwrap().unread as usize;
    assert!((640_000..=640_128).contains(&unread), "what is read in a round trip, four times");
    // Probes are answered, for as long as it takes, and nothing is kept of them.
    for _ in 0..5 {
        t.run(60_000);
        t.peer(&format!("A {end}:{} ack 1", end + 1));
        t.expect(&format!("A 1 ack {end} win 0"));
    }
    // A bite of less than a segment opens nothing; a segment's worth does, and draws an update that no probe asked for.
    let rounded = unread - 640_000;
    t.read(rounded + 999);
    t.expect_none();
    t.read(1);
    t.expect(&format!("A 1 ack {end} win 7"));
    // So does all the rest, in one go.
    t.read(640_000 - 1_000);
    let update = t.take();
    assert!(u32::from(update.window) << 7 >= 640_000 - 128, "{update:?}");
    t.peer(&format!("A {end}:{} ack 1", end + 1_000));
    t.take_all();
    t.read(1_000);
    t.run(40);
    t.take_all();
}

#[test]
fn what_may_be_written_follows_the_congestion_window_and_the_writer_is_woken() {
    let mut t = default();
    opened(&mut t);
    assert_eq!(t.write_some(1 << 20), Ok(64 << 10));
    t.readiness();
    let (mut acked, mut written) = (0, 64 << 10);
    let mut ahead = vec![];
    for _ in 0..8 {
        let segments = t.take_all().len() as u32;
        t.run(100);
        // All of the flight is acknowledged, and the window has doubled.
        acked += 1_000 * segments;
        t.inject(&format!("A 1 ack {} win 65535", acked + 1));
        if t.readiness().contains(Readiness::WRITABLE) {
            written += t.write_some(8 << 20).unwrap() as u32;
        }
        let cwnd = t.stack.tcp_info(t.id()).unwrap().cwnd;
        assert!(u64::from(written - acked) >= cwnd, "{written} {acked} {cwnd}");
        ahead.push(written - acked);
    }
    // Twice the window, which doubles.
    assert_eq!(ahead[2..], [160_000, 320_000, 640_000, 1_280_000, 2_560_000, 5_120_000]);
    t.take_all();
    t.abort();
    t.take_all();
}

#[test]
fn a_peer_that_shrinks_its_window_under_a_grown_buffer_gets_no_byte_beyond_it() {
    let mut t = default();
    opened(&mut t);
    assert_eq!(t.write_some(1 << 20), Ok(64 << 10));
    assert_eq!(t.take_all().len(), 10);
    // Five of ten segments have come, and the edge has moved back to the seventh.
    t.peer("A 1 ack 5001 win 15");
    t.expect_none();
    t.run(150);
    assert_eq!(t.take_all(), Vec::<String>::new(), "1,920 bytes of window, 5,000 in flight");
    // What lies in the window is sent again when it is due, and nothing else.
    t.run(1_000);
    let again = t.take_all();
    assert!(
        !again.is_empty() && again.iter().all(|line| line.contains("5001:6001") || line.contains("6001:"))
    );
    assert!(again.iter().all(|line| !line.contains("7001")), "{again:?}");
    t.peer("A 1 ack 10001 win 65535");
    assert!(t.take_all().len() >= 2, "it goes on");
    t.abort();
    t.take_all();
}

//= RFC9293 SHLD-19
#[test]
fn the_first_flights_of_a_peer_are_acknowledged_segment_by_segment_and_what_follows_by_every_second() {
    let mut t = Script::new();
    t.open();
    for nth in 0..16 {
        let seq = 1 + nth * 1_460;
        t.peer(&format!("A {seq}:{} ack 1", seq + 1_460));
        t.expect(&format!("A 1 ack {}", seq + 1_460));
    }
    for nth in [16, 18] {
        let seq = 1 + nth * 1_460;
        t.peer(&format!("A {seq}:{} ack 1", seq + 1_460));
        t.expect_none();
        t.peer(&format!("A {}:{} ack 1", seq + 1_460, seq + 2_920));
        t.expect(&format!("A 1 ack {}", seq + 2_920));
    }
    let next = 1 + 20 * 1_460;
    t.peer(&format!("A {next}:{} ack 1", next + 1_460));
    t.expect_in(40, &format!("A 1 ack {}", next + 1_460));
    // After a pause the peer begins with a small window again.
    t.run(241);
    let next = next + 1_460;
    t.peer(&format!("A {next}:{} ack 1", next + 1_460));
    t.expect(&format!("A 1 ack {}", next + 1_460));
}

#[test]
fn after_a_loss_segments_are_acknowledged_one_by_one() {
    let mut t = Script::config(|config| config.quick_acks = 2);
    t.open();
    t.peer("A 1:1461 ack 1");
    t.expect("A 1 ack 1461");
    t.peer("A 1461:2921 ack 1");
    t.expect("A 1 ack 2921");
    t.peer("A 4381:5841 ack 1");
    t.expect("A 1 ack 2921");
    t.peer("A 2921:4381 ack 1");
    t.expect("A 1 ack 5841");
    for seq in [5_841, 7_301] {
        t.peer(&format!("A {seq}:{} ack 1", seq + 1_460));
        t.expect(&format!("A 1 ack {}", seq + 1_460));
    }
    t.peer("A 8761:10221 ack 1");
    t.expect_in(40, "A 1 ack 10221");
}

#[test]
fn a_small_request_is_acknowledged_by_its_answer_from_the_first_on() {
    let mut t = Script::new();
    t.open();
    for nth in 0..3 {
        let (request, answer) = (1 + nth * 100, 1 + nth * 10);
        t.peer(&format!("PA {request}:{} ack {answer}", request + 100));
        t.run(10);
        t.expect_none();
        t.read(100);
        t.write(10);
        t.expect(&format!("PA {answer}:{} ack {}", answer + 10, request + 100));
    }
}

#[test]
fn requests_of_full_segments_are_acknowledged_by_their_answers_once_answers_have_come_in_time() {
    let mut t = Script::new();
    t.open();
    for nth in 0..4 {
        let (request, answer) = (1 + nth * 1_460, 1 + nth * 10);
        t.peer(&format!("PA {request}:{} ack {answer}", request + 1_460));
        if nth == 0 {
            // Nobody knows yet that it will be answered.
            t.expect(&format!("A {answer} ack {}", request + 1_460));
        }
        t.wait(10);
        t.write(10);
        t.expect(&format!("PA {answer}:{} ack {}", answer + 10, request + 1_460));
        t.peer(&format!("A {} ack {}", request + 1_460, answer + 10));
        // However long the next request takes.
        t.wait(1_000);
    }
    t.peer("A 5841:7301 ack 41");
    t.expect_in(40, "A 41 ack 7301");
    // This one was not, and the next is taken for the first of a flight.
    t.wait(1_000);
    t.peer("A 7301:8761 ack 41");
    t.expect("A 41 ack 8761");
}

#[test]
fn a_writer_who_wants_little_to_wait_is_woken_when_something_was_sent() {
    let mut t = default();
    opened(&mut t);
    t.options(|options| (options.nodelay, options.notsent_lowat) = (true, Some(8_000)));
    t.readiness();
    assert_eq!(t.write_some(20_000), Ok(8_000));
    assert_eq!(t.readiness(), Readiness::WRITABLE, "it has gone, though nothing is acknowledged");
    assert_eq!(t.write_some(20_000), Ok(8_000));
    // The congestion window holds ten segments of 1,000 bytes.
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().unsent, 6_000);
    assert_eq!(t.readiness(), Readiness::empty());
    assert_eq!(t.write_some(20_000), Ok(2_000));
    assert_eq!(t.write_some(20_000), Err(Error::WouldBlock));
    t.take_all();
    t.peer("A 1 ack 10001 win 65535");
    assert_eq!(t.readiness(), Readiness::WRITABLE);
    // Without a limit all is taken for which there is room.
    t.options(|options| options.notsent_lowat = None);
    assert_eq!(t.write_some(20_000), Ok(20_000));
    t.take_all();
}

#[test]
fn a_send_buffer_without_a_limit_has_one() {
    let mut t = Script::config(|config| {
        (config.send_buffer_initial, config.send_buffer) = (usize::MAX, usize::MAX);
    });
    t.open();
    let much = Bytes::from(vec![0; 64 << 20]);
    let mut shared: u64 = 0;
    while let Ok(count) = t.stack.tcp_write_bytes(t.now(), t.id(), &mut much.clone()) {
        shared += count as u64;
        // Whatever there is room for can be copied behind it.
        match t.stack.tcp_write(t.now(), t.id(), b"copied") {
            Ok(count) => shared += count as u64,
            Err(error) => assert_eq!(error, Error::WouldBlock),
        }
    }
    assert_eq!(shared, 1 << 30);
    t.stack.tcp_abort(t.now(), t.id());
    t.flush();
    t.take_all();
}
