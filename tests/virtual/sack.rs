//! Selective acknowledgements (RFC 2018, RFC 2883): what the stack reports.

use tunstack::proto::Packet;

use crate::harness::script::Script;

/// A connection whose peer understands selective acknowledgements.
fn open() -> Script {
    let mut t = Script::new();
    t.open_passive("S 0 win 65535 <mss 1000,sackok>");
    t
}

#[test]
fn only_a_peer_that_has_said_so_is_sent_selective_acknowledgements() {
    //= RFC2018 2 permitted
    let mut t = Script::new();
    t.listen();
    t.peer("S 0 win 65535 <mss 1000>");
    t.expect("SA 0 ack 1 <mss 1460>");
    t.peer("A 1 ack 1");
    t.accept();
    t.peer("A 101:201 ack 1");
    t.expect("A 1 ack 1 <>");

    let mut t = Script::config(|config| config.sack = false);
    t.listen();
    t.peer("S 0 win 65535 <mss 1000,sackok>");
    t.expect("SA 0 ack 1 <mss 1460>");
    t.peer("A 1 ack 1");
    t.accept();
    t.peer("A 101:201 ack 1");
    t.expect("A 1 ack 1 <>");
}

#[test]
fn what_is_out_of_order_is_reported_the_latest_first() {
    //= RFC2018 3 block, 3 room, 4 first, 4 repeated, 4 as many, 4 reported, 4 each segment
    let mut t = open();
    t.peer("A 101:201 ack 1");
    t.expect("A 1 ack 1 <sack 101:201>");
    t.peer("A 501:601 ack 1");
    t.expect("A 1 ack 1 <sack 501:601 101:201>");
    t.peer("A 301:401 ack 1");
    t.expect("A 1 ack 1 <sack 301:401 501:601 101:201>");
    t.peer("A 201:301 ack 1");
    t.expect("A 1 ack 1 <sack 101:401 501:601>");
    for (from, blocks) in [(701, "701:801 101:401 501:601"), (901, "901:1001 701:801 101:401 501:601")] {
        t.peer(&format!("A {from}:{} ack 1", from + 100));
        t.expect(&format!("A 1 ack 1 <sack {blocks}>"));
    }
    // Four fit. What is in order does not end the report.
    t.peer("A 1101:1201 ack 1");
    t.expect("A 1 ack 1 <sack 1101:1201 901:1001 701:801 101:401>");
    t.peer("A 1:101 ack 1");
    t.expect("A 1 ack 401 <sack 1101:1201 901:1001 701:801 501:601>");
    t.peer("A 401:1101 ack 1");
    t.expect("A 1 ack 1201 <sack 501:601>");
    t.snapshot("sack");
}

#[test]
fn text_carries_the_report_and_leaves_room_for_it() {
    //= RFC2018 4 all circumstances, 4 reported
    let mut t = open();
    t.peer("A 101:201 ack 1");
    t.expect("A 1 ack 1 <sack 101:201>");
    t.write(1_976);
    t.expect("A 1:989 ack 1 <sack 101:201>");
    t.expect("PA 989:1977 ack 1 <sack 101:201>");
}

#[test]
fn what_comes_twice_is_reported_once() {
    //= RFC2883 4 duplicate, 4 once, 4 edges
    let mut t = open();
    t.peer("A 1:101 ack 1");
    t.peer("A 101:201 ack 1");
    t.run(100);
    t.take_all();
    // All of it, a part of it, and a part of what is out of order.
    t.peer("A 1:101 ack 1");
    t.expect("A 1 ack 201 <sack 1:101>");
    t.peer("A 151:301 ack 1");
    t.run(100);
    assert_eq!(t.take_all().pop().unwrap(), "A   1               ack 301      win 65235 <sack 151:201>");
    t.peer("A 401:501 ack 1");
    t.expect("A 1 ack 301 <sack 401:501>");
    t.peer("A 451:481 ack 1");
    t.expect("A 1 ack 301 <sack 451:481 401:501>");
    t.peer("A 601:701 ack 1");
    t.expect("A 1 ack 301 <sack 601:701 401:501>");
    // The gap is filled by more than was missing.
    t.peer("A 301:451 ack 1");
    t.expect("A 1 ack 501 <sack 401:451 601:701>");
    t.snapshot("dsack");
}

#[test]
fn blocks_leave_room_for_timestamps() {
    //= RFC2018 3 room, 4 as many
    //= RFC7323 3.2 every segment
    let mut t = Script::new();
    t.listen();
    t.peer("S 0 win 65535 <mss 1000,sackok,ts 70 0>");
    t.expect("SA 0 ack 1 <mss 1460,sackok,ts 0 70>");
    t.peer("A 1 ack 1 <ts 71 0>");
    t.accept();
    for from in [101, 301, 501, 701] {
        t.inject(&format!("A {from}:{} ack 1 <ts 72 0>", from + 100));
    }
    t.expect("A 1 ack 1 <ts 0 71,sack 101:201>");
    t.take_all();
    t.peer("A 901:1001 ack 1 <ts 73 0>");
    t.expect("A 1 ack 1 <ts 0 71,sack 901:1001 701:801 501:601>");
    // A full segment has them, too, and less text.
    t.write(960);
    t.expect("PA 1:961 ack 1 <ts 0 71,sack 901:1001 701:801 501:601>");
}

/// The examples of RFC 2883 sections 4 and 5, with its numbers.
#[test]
fn the_examples_of_rfc_2883() {
    //= RFC2883 4 duplicate, 4 edges, 4 second block, 4 others, 4.2 partial
    // What has come in order; what has come ahead of its turn; what comes; what is reported.
    let examples: [(u32, &[&str], &str, &str); 6] = [
        (4000, &[], "3000:3500", "ack 4000 <sack 3000:3500>"),
        (4000, &["4500:5000"], "3000:3500", "ack 4000 <sack 3000:3500 4500:5000>"),
        (4000, &["4500:5500"], "5000:5500", "ack 4000 <sack 5000:5500 4500:5500>"),
        (1500, &["2000:2500"], "1000:2000", "ack 2500 <sack 1000:1500>"),
        (1500, &["2000:2500", "3000:3500"], "1000:2500", "ack 2500 <sack 1000:1500 3000:3500>"),
        (
            1000,
            &["1500:2000", "2500:3000", "3500:4000"],
            "1500:3000",
            "ack 1000 <sack 1500:2000 1500:3000 3500:4000>",
        ),
    ];
    for (in_order, ahead, comes, reported) in examples {
        let mut t = open();
        for from in (1..in_order).step_by(1000) {
            t.inject(&format!("A {from}:{} ack 1", in_order.min(from + 1000)));
        }
        for range in ahead {
            t.inject(&format!("A {range} ack 1"));
        }
        t.run(100);
        t.take_all();
        t.peer(&format!("A {comes} ack 1"));
        t.expect(&format!("A 1 {reported}"));
    }
}

#[test]
fn each_of_a_batch_of_segments_for_one_stretch_is_reported_by_the_stretch_that_it_came_for() {
    //= RFC2018 4 first
    let mut t = open();
    for from in [201, 401, 601, 801, 1_001] {
        t.peer(&format!("A {from}:{} ack 1", from + 100));
        t.take();
    }
    // More acknowledgements than there are stretches; and in the end what was lost first, which acknowledges for them all. What came
    // with it and goes unreported would seem to have been overtaken by it, and so to be lost.
    let batch = [
        (1_101, 1_201),
        (1_201, 1_301),
        (1_301, 1_401),
        (501, 601),
        (1_401, 1_501),
        (1_501, 1_601),
        (1, 101),
    ];
    for (from, to) in batch {
        let bytes = t.build(&format!("A {from}:{to} ack 1")).encode();
        t.stack.receive(t.device, &Packet::plain(&bytes, t.now()));
    }
    t.inject("A 1601:1701 ack 1");
    let top = "1001:1701 401:701 801:901 201:301";
    for blocks in [top, top, top, "401:701 801:901 201:301 1001:1701", top, top, top] {
        t.expect(&format!("A 1 ack 101 <sack {blocks}>"));
    }
    t.expect_none();
}

#[test]
fn each_of_a_batch_of_segments_is_reported() {
    //= RFC2018 4 first
    // Every other segment of a flight was lost. All come in one batch, and draw an acknowledgement each.
    let mut t = open();
    for from in [101, 301, 501, 701, 901] {
        let bytes = t.build(&format!("A {from}:{} ack 1", from + 100)).encode();
        t.stack.receive(t.device, &Packet::plain(&bytes, t.now()));
    }
    t.inject("A 1101:1201 ack 1");
    for blocks in [
        "101:201 301:401 501:601 701:801",
        "301:401 101:201 501:601 701:801",
        "501:601 301:401 101:201 701:801",
        "701:801 501:601 301:401 101:201",
        "901:1001 701:801 501:601 301:401",
        "1101:1201 901:1001 701:801 501:601",
    ] {
        t.expect(&format!("A 1 ack 1 <sack {blocks}>"));
    }
}
