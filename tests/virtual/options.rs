//! What a socket's options and the interface make of the packets sent.

use tunstack::proto::tcp::SocketOptions;
use tunstack::proto::{Config, Owner};

use crate::harness::script::{Script, Setup};
use crate::support::wire;

#[test]
fn ttl_and_tos_are_as_set_from_the_next_segment_on() {
    //= RFC9293 MUST-48, MUST-49, SHLD-21, SHLD-22
    for ipv6 in [false, true] {
        let mut t = Script::with(Setup { ipv6, ..Setup::default() });
        t.open();
        t.write(1);
        let sent = t.take();
        assert_eq!((sent.ttl, sent.tos), (64, 0));
        t.options(|options| (options.ttl, options.tos) = (9, 0xb8));
        t.write(1_460);
        let sent = t.take();
        assert_eq!((sent.ttl, sent.tos), (9, 0xb8));
        t.peer("PA 1:2 ack 2");
        t.run(40);
        let ack = t.take_all();
        assert!(!ack.is_empty());
        t.abort();
        let reset = t.take();
        assert_eq!((reset.ttl, reset.tos), (9, 0xb8));
    }
}

#[test]
fn a_syn_has_the_options_it_was_opened_with() {
    let mut t = Script::new();
    let options = SocketOptions { ttl: 3, tos: 0x20, ..SocketOptions::new(&Config::default()) };
    t.connect_with(Some(options));
    let syn = t.take();
    assert_eq!((syn.ttl, syn.tos), (3, 0x20));
    t.run(1_000);
    let again = t.take();
    assert_eq!((again.ttl, again.tos), (3, 0x20));
}

//= RFC1122 3.2.1.6 receive
#[test]
fn the_tos_of_what_comes_is_told() {
    //= RFC9293 MAY-9
    let mut t = Script::new();
    t.open();
    t.peer_tos = 0x48;
    t.peer("A 1 ack 1");
    assert_eq!(t.stack.tcp_info(t.id()).unwrap().received_tos, 0x48);
}

#[test]
fn nothing_leaves_with_a_time_to_live_of_zero_whatever_was_asked_for() {
    //= RFC1122 3.2.1.7 send: a host MUST NOT send a datagram with a TTL of zero.
    for ipv6 in [false, true] {
        let config = Config { ttl: 0, ..Config::default() };
        let mut t = Script::with(Setup { ipv6, config, ..Setup::default() });
        t.open();
        t.write(1);
        assert_eq!(t.take().ttl, 1);
        t.options(|options| options.ttl = 0);
        t.write(1_460);
        assert_eq!(t.take().ttl, 1);
        // What belongs to no connection.
        t.aim_at(81).peer("S 0");
        assert_eq!(t.take().ttl, 1);
        let now = t.now();
        let (any, to) = if ipv6 { ("[::]:9", "[fd09::1]:9") } else { ("0.0.0.0:9", "10.9.0.1:9") };
        let id = t.stack.udp_bind(now, any.parse().unwrap(), Owner::APPLICATION).unwrap();
        t.stack.udp_send_to(now, id, b"", Some(to.parse().unwrap())).unwrap();
        t.flush();
        assert_eq!(t.take_other().unwrap().ttl, 1);
    }
}

//= RFC8200 6 labelled flows
//= RFC8504 5.1 flow label
#[test]
fn all_segments_of_a_connection_have_its_flow_label_and_another_connection_s_have_another() {
    //= RFC6437 section 3
    let mut t = Script::v6();
    t.listen();
    let mut labels = Vec::new();
    for client in 0..3 {
        t.client(client).peer("S 0 <mss 1440>");
        let mut seen = vec![t.take().flow_label];
        t.peer("A 1 ack 1");
        t.accept();
        t.write(3_000);
        seen.extend([t.take().flow_label, t.take().flow_label]);
        t.flush();
        // What is sent again, and what is sent by the outbox.
        t.run(2_000);
        seen.push(t.take().flow_label);
        t.take_all();
        t.peer("A 999999999 ack 1");
        seen.push(t.take().flow_label);
        t.abort();
        seen.push(t.take().flow_label);
        assert!(seen.iter().all(|label| *label == seen[0] && *label != 0), "{seen:x?}");
        labels.push(seen[0]);
    }
    assert!(labels[0] != labels[1] && labels[1] != labels[2] && labels[0] != labels[2], "{labels:x?}");
}

//= RFC8200 8.3 larger header
//= RFC9293 MUST-14
#[test]
fn the_mss_we_announce_and_use_follows_the_mtu() {
    //= RFC9293 MUST-67, SHLD-5/v4, SHLD-5/v6, MAY-3
    for (ipv6, mtu, mss) in
        [(false, 1_500, 1_460), (false, 576, 536), (true, 1_280, 1_220), (false, 9_000, 8_960)]
    {
        let mut t = Script::with(Setup { ipv6, mtu, ..Setup::default() });
        t.listen();
        t.peer("S 0 <mss 65535>");
        t.expect(&format!("SA 0 ack 1 <mss {mss}>"));
        t.peer("A 1 ack 1");
        t.accept();
        t.write(20_000);
        t.expect(&format!("A 1:{} ack 1", mss + 1));
        t.take_all();
    }
}

#[test]
fn a_smaller_mtu_is_followed() {
    let mut t = Script::new();
    t.open();
    t.write(3_000);
    t.expect("A 1:1461 ack 1");
    t.expect("A 1461:2921 ack 1");
    t.stack.set_mtu(t.device, 1_000);
    t.peer("A 1 ack 2921");
    t.expect("PA 2921:3001 ack 1");
    t.peer("A 1 ack 3001");
    t.write(2_000);
    let sent = t.take();
    assert!(sent.encode().len() <= 1_000, "{} bytes", sent.encode().len());
    t.take_all();
}

#[test]
fn ip_options_that_nobody_understands_are_passed_over() {
    //= RFC9293 MUST-50
    //= RFC1122 3.2.1.8 unknown, 3.2.1.8 obsolete
    // Unknown, copied and not; a stream identifier; no operation and the end of the list.
    for options in [[0x9e, 4, 1, 2], [0x1e, 4, 1, 2], [0x88, 4, 0, 1], [1, 1, 1, 0]] {
        let mut t = Script::new();
        t.listen();
        t.receive(&with_ip_options(&t.build("S 0").encode(), options));
        t.expect("SA 0 ack 1");
        t.receive(&with_ip_options(&t.build("A 1 ack 1").encode(), options));
        t.accept();
        t.receive(&with_ip_options(&t.build("PA 1:11 ack 1").encode(), options));
        t.read(10);
    }
}

/// The same IPv4 packet with four bytes of options.
fn with_ip_options(packet: &[u8], options: [u8; 4]) -> Vec<u8> {
    let (mut header, rest) = etherparse::Ipv4Header::from_slice(packet).unwrap();
    header.options = options.into();
    header.total_len += 4;
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes()[..], rest].concat()
}

#[test]
fn packets_to_elsewhere_and_garbage_are_dropped_with_a_reason() {
    let mut t = Script::new();
    t.listen();
    let mut foreign = t.build("S 0");
    foreign.dst.set_ip("10.9.0.77".parse().unwrap());
    t.receive(&foreign.encode());
    let good = t.build("S 0").encode();
    for cut in 0..good.len() {
        t.receive(&good[..cut]);
    }
    for bit in 0..good.len() * 8 {
        let mut damaged = good.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        t.receive(&damaged);
        t.take_all();
    }
    while t.take_other().is_some() {}
    // A flag of the IPv4 header that means nothing here, or its identification: harmless. Whatever opened
    // something must have been a whole SYN.
    assert!(t.stack.tcp_census().half_open <= 1);
    assert!(t.stack.counters().dropped_total() > good.len() as u64 * 8);
}

#[test]
fn a_flood_of_random_segments_breaks_nothing() {
    crate::support::seeds::for_each_seed("a_flood_of_random_segments", 60, |seed| {
        let mut rng = tunstack::rng::Rng::from_number(seed);
        let mut t = Script::with(Setup { ipv6: seed % 2 == 1, ..Setup::default() });
        t.open();
        t.write(5_000);
        for _ in 0..400 {
            let mut tcp = t.build("A 1 ack 1");
            tcp.flags = (rng.next_u32() & 0x3f) as u8;
            if !rng.chance_ppm(30_000) {
                // Mostly without reset and SYN, or little would be left to test.
                tcp.flags &= !(wire::RST | wire::SYN);
            }
            tcp.flags |= if rng.chance_ppm(900_000) { wire::ACK } else { 0 };
            tcp.seq = near(&mut rng, tcp.seq);
            tcp.ack = near(&mut rng, tcp.ack);
            tcp.window = rng.next_u32() as u16;
            tcp.urgent = rng.next_u32() as u16;
            tcp.options = (0..4 * rng.within(0..=10)).map(|_| rng.next_u32() as u8).collect();
            if rng.chance_ppm(800_000) {
                tcp.options.clear();
            }
            let len = rng.within(0..=1_460) as usize;
            tcp.payload = crate::support::seeds::text_at(2, tcp.seq.wrapping_sub(1_000_000), len);
            t.receive(&tcp.encode());
            if rng.chance_ppm(100_000) {
                t.run(u64::from(rng.within(0..=500)));
            }
            if rng.chance_ppm(100_000) {
                let _ = t.read_some(1_000);
            }
            if rng.chance_ppm(10_000) {
                let _ = t.write_some(1_000);
            }
            t.take_all();
            while t.take_other().is_some() {}
        }
    });
}

/// Often exactly `value`, mostly near, sometimes anywhere.
fn near(rng: &mut tunstack::rng::Rng, value: u32) -> u32 {
    match rng.within(0..=9) {
        0..=2 => value,
        3..=6 => value.wrapping_add(rng.within(0..=8_000)).wrapping_sub(2_000),
        7 => value.wrapping_add(65_535).wrapping_sub(rng.within(0..=3)),
        8 => value.wrapping_add(0x8000_0000).wrapping_sub(rng.within(0..=3)),
        _ => rng.next_u32(),
    }
}
