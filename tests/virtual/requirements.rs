//! Requirements that no other test proves: what a stack makes of a packet, or of none, seen from outside.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tunstack::proto::ip::route::{RouteSpec, RouteTarget};
use tunstack::proto::tcp::KeepAlive;
use tunstack::proto::{
    BindOptions, Config, DeviceId, DropReason, Egress, Error, Owner, Packet, Secrets, Sent, Stack,
};
use tunstack::time::Instant;

use crate::harness::script::Script;
use crate::support::wire::{self, Ip};

const NOW: Instant = Instant::ZERO;
const LEFT: DeviceId = DeviceId(0);
const RIGHT: DeviceId = DeviceId(1);

const DESTINATION_OPTIONS: u8 = 60;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const NO_NEXT_HEADER: u8 = 59;

/// Us and the peer in each family.
const ENDS: [(&str, &str); 2] = [("10.9.0.2", "10.9.0.1"), ("fd09::2", "fd09::1")];

/// A stack that is 10.9.0.2 and fd09::2 on the left, 10.8.0.2 and fd08::2 on the right.
fn stack(config: Config) -> Stack {
    let mut stack = Stack::new(config, &Secrets::from_number(1), NOW);
    for (device, net) in [(LEFT, 9), (RIGHT, 8)] {
        assert_eq!(stack.add_interface(1500), device);
        stack.add_address(device, format!("10.{net}.0.2/24").parse().unwrap()).unwrap();
        stack.add_address(device, format!("fd0{net}::2/64").parse().unwrap()).unwrap();
    }
    stack
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What the stack sends by the left interface when it is given a packet there.
fn answers(stack: &mut Stack, bytes: &[u8]) -> Vec<Ip> {
    stack.receive(LEFT, &Packet::plain(bytes, NOW));
    let mut sent = Vec::new();
    let _ = stack.transmit(NOW, &mut |egress: Egress<'_>| {
        if egress.device != LEFT {
            return Sent::Busy;
        }
        let mut bytes = Vec::new();
        egress.copy_to(&mut bytes);
        sent.push(Ip::decode(&bytes));
        Sent::Taken
    });
    sent
}

/// Type, code and second word of the only ICMP error that the stack answers with.
fn complaint(stack: &mut Stack, bytes: &[u8]) -> Option<(u8, u8, u32)> {
    let mut sent = answers(stack, bytes);
    assert!(sent.len() <= 1);
    let error = sent.pop()?.payload;
    Some((error[0], error[1], u32::from_be_bytes(error[4..8].try_into().unwrap())))
}

//= RFC1122 3.2.1.7 configurable
#[test]
fn what_no_socket_sends_has_the_configured_time_to_live() {
    let mut stack = stack(Config { ttl: 33, ..Config::default() });
    for ((us, them), request) in ENDS.into_iter().zip([8, 128]) {
        let ping = wire::icmp(ip(them), ip(us), vec![request, 0, 0, 0, 0, 7, 0, 1]);
        let nobody = wire::udp(SocketAddr::new(ip(them), 9), SocketAddr::new(ip(us), 9), b"text");
        for bytes in [ping, nobody] {
            let ttls: Vec<u8> = answers(&mut stack, &bytes).iter().map(|answer| answer.ttl).collect();
            assert_eq!(ttls, [33]);
        }
    }
}

//= RFC768 source port
#[test]
fn a_datagram_without_a_source_port_is_received() {
    let mut stack = stack(Config::default());
    for (us, them) in ENDS {
        let local = SocketAddr::new(ip(us), 7);
        let id = stack.udp_bind(NOW, local, Default::default()).unwrap();
        let bytes = wire::udp(SocketAddr::new(ip(them), 0), local, b"text");
        assert_eq!(answers(&mut stack, &bytes), []);
        let mut out = [0; 9];
        let received = stack.udp_recv_msg(id, &mut out).unwrap();
        assert_eq!((received.from, &out[..received.len]), (SocketAddr::new(ip(them), 0), &b"text"[..]));
    }
}

//= RFC4443 2.4 f configurable
#[test]
fn as_many_errors_are_sent_at_once_as_is_configured() {
    let told = |burst| {
        let config = Config { icmp_errors_burst: burst, icmp_errors_per_second: 1, ..Config::default() };
        let mut stack = stack(config);
        // Each peer has a limit of its own: here none asks twice.
        let peers = (1..=200).map(|host| format!("fd09::1:{host}").parse().unwrap());
        let errors = peers.map(|them| {
            let bytes = wire::udp(SocketAddr::new(them, 9), SocketAddr::new(ip("fd09::2"), 9), b"text");
            answers(&mut stack, &bytes).len()
        });
        errors.sum::<usize>()
    };
    // An error costs between nothing and two tokens, one on average.
    assert!((3..=20).contains(&told(5)), "{}", told(5));
    assert!((50..=150).contains(&told(100)), "{}", told(100));
}

//= RFC8504 5.1 unpredictable
//= RFC8200 4.5 identification sent
#[test]
fn no_host_can_tell_from_its_own_fragments_how_those_of_others_are_identified() {
    let mut stack = stack(Config::default());
    let id = stack.udp_bind(NOW, "[fd09::2]:7".parse().unwrap(), Default::default()).unwrap();
    let mut idents = Vec::new();
    // More hosts than there are counters: many share one.
    for host in 1..=1_500 {
        let to = SocketAddr::new(format!("fd09::1:{host}").parse().unwrap(), 9);
        stack.udp_send_to(NOW, id, &[0; 2_000], Some(to)).unwrap();
        let _ = stack.transmit(NOW, &mut |egress: Egress<'_>| {
            let mut bytes = Vec::new();
            egress.copy_to(&mut bytes);
            assert_eq!(bytes[6], FRAGMENT);
            idents.push(u32::from_be_bytes(bytes[44..48].try_into().unwrap()));
            Sent::Taken
        });
    }
    assert_eq!(idents.len(), 3_000);
    idents.dedup();
    idents.sort_unstable();
    let close = idents.windows(2).filter(|pair| pair[1] - pair[0] < 16).count();
    assert!((idents.len(), close) == (1_500, 0), "{} names, {close} of them next to another", idents.len());
}

//= RFC4443 3.1 congestion
#[test]
fn a_queue_that_is_full_draws_no_error() {
    let mut stack = stack(Config { forwarding: true, transit_packets: 4, ..Config::default() });
    for (family, (_, them)) in ENDS.into_iter().enumerate() {
        let beyond = ip(["10.8.0.1", "fd08::1"][family]);
        let bytes = wire::udp(SocketAddr::new(ip(them), 9), SocketAddr::new(beyond, 9), b"text");
        for _ in 0..16 {
            assert_eq!(answers(&mut stack, &bytes), []);
        }
    }
    assert!(stack.counters().dropped(DropReason::ForwardQueueFull) >= 16);
}

/// A packet with these extension headers, each with its kind, and nothing behind.
fn chain(headers: &[(u8, &[u8])]) -> Vec<u8> {
    let kinds = headers.iter().map(|(kind, _)| *kind).chain([NO_NEXT_HEADER]);
    let payload = kinds.clone().skip(1).zip(headers).flat_map(|(next, (_, behind))| {
        let len = u8::try_from((behind.len() + 2) / 8 - 1).unwrap();
        [&[next, len], *behind].concat()
    });
    let first = kinds.clone().next().unwrap();
    Ip::new(ip("fd09::1"), ip("fd09::2"), first, payload.collect()).encode()
}

/// Options that nobody knows: to be discarded silently, and with an error.
const SILENT: [u8; 2] = [0x5e, 0];
const TELLING: [u8; 2] = [0x9e, 0];
const PADDING: [u8; 2] = [1, 0];

//= RFC8200 4 strictly in order
#[test]
fn headers_count_in_the_order_in_which_they_stand() {
    let mut stack = stack(Config::default());
    let silent = [SILENT, PADDING, PADDING].concat();
    // A routing header of a type that nobody knows, with a segment left.
    let telling = [200, 1, 0, 0, 0, 0];
    let headers = [(DESTINATION_OPTIONS, &silent[..]), (ROUTING, &telling[..])];
    assert_eq!(complaint(&mut stack, &chain(&headers)), None);
    let headers = [headers[1], headers[0]];
    assert_eq!(complaint(&mut stack, &chain(&headers)), Some((4, 0, 42)));
}

//= RFC8200 4.2 padding
#[test]
fn one_octet_of_padding_is_an_option_without_a_length() {
    let mut stack = stack(Config::default());
    for (pad, pointer) in [(&[0][..], 43), (&[0, 0, 0], 45), (&[0, 1, 0], 45), (&[0, 1, 1, 0], 46)] {
        let mut options = [pad, &TELLING].concat();
        options.resize(6, 0);
        let bytes = chain(&[(DESTINATION_OPTIONS, &options)]);
        assert_eq!(complaint(&mut stack, &bytes), Some((4, 2, pointer)), "{pad:?}");
    }
}

//= RFC8200 4.2 order
#[test]
fn options_count_in_the_order_in_which_they_stand() {
    let mut stack = stack(Config::default());
    let options = [PADDING, SILENT, TELLING].concat();
    assert_eq!(complaint(&mut stack, &chain(&[(DESTINATION_OPTIONS, &options)])), None);
    let options = [PADDING, TELLING, SILENT].concat();
    assert_eq!(complaint(&mut stack, &chain(&[(DESTINATION_OPTIONS, &options)])), Some((4, 2, 44)));
}

//= RFC5681 4.2 out of order
#[test]
fn acknowledgements_and_windows_draw_no_acknowledgement() {
    let mut t = Script::new();
    t.open();
    for line in ["A 1 ack 1", "A 1 ack 1", "A 1 ack 1 win 100", "A 1 ack 1 win 60000"] {
        t.peer(line);
        t.expect_none();
    }
    t.write(10);
    t.expect("PA 1:11 ack 1");
    t.peer("A 1 ack 11");
    t.wait(1_000);
    t.expect_none();
}

//= RFC6298 5.2 all acknowledged
#[test]
fn no_timer_runs_once_all_is_acknowledged() {
    for window in [65_535, 0] {
        let mut t = Script::new();
        t.open();
        assert_eq!(t.stack.tcp_census().timers, 0);
        t.write(10);
        t.expect("PA 1:11 ack 1");
        assert_eq!(t.stack.tcp_census().timers, 1);
        t.peer(&format!("A 1 ack 11 win {window}"));
        // The entry in the wheel may stay for as long as the timer was to run; then it is gone, and has caused nothing.
        t.wait(2_000);
        t.expect_none();
        assert_eq!(t.stack.tcp_census().timers, 0);
        // What comes next is timed from when it is sent, not from then.
        t.peer("A 1 ack 11 win 65535");
        let rto = t.stack.tcp_info(t.id()).unwrap().rto;
        t.write(10);
        t.expect("PA 11:21 ack 1");
        t.expect_at(t.now() + rto, "PA 11:21 ack 1");
        t.take_all();
    }
}

//= RFC9293 MUST-28
#[test]
fn keep_alive_waits_for_two_hours_unless_told_otherwise() {
    let Config { keepalive_idle: idle, keepalive_interval: interval, keepalive_probes: probes, .. } =
        Config::default();
    let mut t = Script::new();
    t.open();
    t.options(|options| options.keepalive = Some(KeepAlive { idle, interval, probes }));
    t.wait(2 * 60 * 60 * 1_000 - 1);
    t.expect_none();
    assert!(idle >= Duration::from_secs(2 * 60 * 60));
}

//= RFC9293 MUST-41, MUST-42
#[test]
fn a_listener_comes_beside_connections_on_its_port_and_leaves_them_alone() {
    let options = BindOptions { reuse_port: true, ..BindOptions::NONE };
    let mut t = Script::new();
    let local = SocketAddr::new(t.stack_ip, 7);
    t.listener = Some(t.stack.tcp_listen_with(t.now(), local, options, None, Owner::APPLICATION).unwrap());
    t.open();
    t.client(1).peer("S 0 win 65535 <mss 1460>");
    t.expect("SA 0 ack 1");
    let second = t.stack.tcp_listen_with(t.now(), local, options, None, Owner::APPLICATION).unwrap();
    // The one that is open goes on, and the half-open one opens.
    t.client(0).peer("PA 1:11 ack 1");
    t.read(10);
    t.write(10);
    t.expect("PA 1:11 ack 11");
    t.peer("A 11 ack 11");
    t.client(1).peer("A 1 ack 1");
    t.accept();
    t.write(10);
    t.expect("PA 1:11 ack 1");
    t.stack.tcp_close_listener(t.now(), second);
}

//= RFC9293 MUST-57/opening, MUST-57/validation
#[test]
fn a_listener_on_all_addresses_opens_nothing_to_many() {
    let mut stack = stack(Config::default());
    for (all, them, groups) in [
        ("0.0.0.0:7", "10.9.0.1:9", &["10.9.0.255:7", "255.255.255.255:7", "224.0.0.1:7"][..]),
        ("[::]:7", "[fd09::1]:9", &["[ff02::1]:7"]),
    ] {
        stack.tcp_listen(NOW, all.parse().unwrap(), None, Owner::APPLICATION).unwrap();
        for group in groups {
            let mut syn = wire::Tcp::new(them.parse().unwrap(), group.parse().unwrap());
            syn.flags = wire::SYN;
            assert_eq!(answers(&mut stack, &syn.encode()), [], "{group}");
        }
    }
    assert_eq!((stack.tcp_census().half_open, stack.counters().dropped(DropReason::NotUnicast)), (0, 4));
}

//= RFC9293 MUST-59
#[test]
fn an_acknowledgement_waits_for_the_segments_that_have_come_with_it() {
    let mut t = Script::new();
    t.open();
    let mut acks = Vec::new();
    for batch in 0..4 {
        for number in [2 * batch, 2 * batch + 1] {
            let (from, to) = (1 + number * 1_460, 1 + (number + 1) * 1_460);
            let bytes = t.build(&format!("A {from}:{to} ack 1")).encode();
            t.stack.receive(t.device, &Packet::plain(&bytes, t.now()));
        }
        let now = t.now();
        let mut sink = |egress: Egress<'_>| {
            let mut bytes = Vec::new();
            egress.copy_to(&mut bytes);
            acks.push(wire::Tcp::decode(&bytes).unwrap());
            Sent::Taken
        };
        let _ = match batch {
            3 => t.stack.transmit(now, &mut sink),
            _ => t.stack.transmit_mid_batch(now, &mut sink),
        };
    }
    let bytes: Vec<u32> = acks.iter().map(|ack| ack.ack.wrapping_sub(acks[0].ack)).collect();
    assert_eq!(bytes, [0], "one for all");
    t.read(8 * 1_460);
    t.take_all();
}

/// The parts of a UDP datagram from the peer to port 7: what its fragment header says, its data and its traffic class.
fn parts(classes: [u8; 2]) -> [Vec<u8>; 2] {
    let (them, us) = ("[fd09::1]:9".parse().unwrap(), "[fd09::2]:7".parse().unwrap());
    let datagram = &wire::udp(them, us, &[7; 24])[40..];
    let part = |at: usize, end: usize, more: u8, tos: u8| {
        let header = [17, 0, 0, at as u8 | more, 0, 0, 0, 1];
        Ip { tos, ..Ip::new(them.ip(), us.ip(), FRAGMENT, [&header, &datagram[at..end]].concat()) }.encode()
    };
    [part(0, 16, 1, classes[0]), part(16, 32, 0, classes[1])]
}

//= RFC8200 4.5 first header
#[test]
fn the_first_part_s_header_counts_though_it_came_first() {
    for order in [[0, 1], [1, 0]] {
        let mut stack = stack(Config::default());
        let id = stack.udp_bind(NOW, "[fd09::2]:7".parse().unwrap(), Default::default()).unwrap();
        let parts = parts([0xb8, 0x20]);
        for part in order {
            assert_eq!(answers(&mut stack, &parts[part]), []);
        }
        let received = stack.udp_recv_msg(id, &mut [0; 99]).unwrap();
        assert_eq!((received.len, received.tos), (24, 0xb8), "{order:?}");
    }
}

//= RFC1122 3.3.2 not put off
#[test]
fn parts_that_keep_coming_do_not_put_off_the_end() {
    let mut stack = stack(Config::default());
    let [first, _] = parts([0, 0]);
    stack.receive(LEFT, &Packet::plain(&first, NOW));
    // Another piece, with a gap before it, a moment before the time is over.
    let mut piece = first;
    piece[43] = 64 | 1;
    let late = Instant::from_millis(59_999);
    stack.advance(late);
    stack.receive(LEFT, &Packet::plain(&piece, late));
    assert_eq!(stack.counters().reassembly_timeouts, 0);
    stack.advance(Instant::from_millis(60_001));
    assert_eq!(stack.counters().reassembly_timeouts, 1);
}

//= RFC9293 MUST-43
#[test]
fn a_connection_comes_from_the_address_that_was_asked_for() {
    let mut stack = stack(Config::default());
    stack.add_address(LEFT, "10.9.0.5/24".parse().unwrap()).unwrap();
    for local in ["10.9.0.2:0", "10.9.0.5:0"] {
        let local: SocketAddr = local.parse().unwrap();
        let remote = "10.9.0.1:80".parse().unwrap();
        let id = stack.tcp_connect(NOW, Some(local), remote, None, Owner::APPLICATION).unwrap();
        assert_eq!(stack.tcp_local_addr(id).unwrap().ip(), local.ip());
        stack.tcp_abort(NOW, id);
    }
}

//= RFC5681 3.1 congestion avoidance
#[test]
fn the_window_grows_no_earlier_than_all_of_it_is_acknowledged() {
    let mut t = Script::new();
    t.open_passive("S 0 win 65535 <mss 1000,ws 7>");
    t.write(500_000);
    t.take_all();
    // A loss halves the window; then congestion avoidance begins.
    for _ in 0..3 {
        t.inject("A 1 ack 1");
    }
    t.inject("A 1 ack 10001");
    let window = |t: &Script| t.stack.tcp_info(t.id()).unwrap().cwnd;
    let (mut acked, mut since_growth, mut grown) = (10_001_u64, None, 0);
    for _ in 0..60 {
        let before = window(&t);
        acked += 1_000;
        t.inject(&format!("A 1 ack {acked}"));
        since_growth = since_growth.map(|bytes: u64| bytes + 1_000);
        // Below half of what was in flight it is slow start.
        if window(&t) > before && before >= 5_000 {
            assert!(since_growth.is_none_or(|bytes| bytes >= before), "{before} after {since_growth:?}");
            (since_growth, grown) = (Some(0), grown + 1);
        }
    }
    assert!(grown > 3, "{grown}");
    t.take_all();
}

//= RFC9293 SHLD-14
#[test]
fn the_right_edge_stays_where_it_is_although_the_field_is_coarse() {
    let mut t = Script::config(|config| config.recv_buffer = 1 << 20);
    t.open_passive("S 0 win 65535 <mss 1460,ws 7>");
    let mut edge = 0;
    for number in 1..=100 {
        t.inject(&format!("PA {number}:{} ack 1", number + 1));
        t.read(1);
        t.run(50);
        let ack = t.take();
        let (wire_ack, window) = (u64::from(ack.ack), u64::from(ack.window) << 5);
        assert!(wire_ack + window >= edge, "{number}: {} less", edge - wire_ack - window);
        edge = wire_ack + window;
    }
}

//= RFC9293 MUST-46/invalid
#[test]
fn no_route_leads_to_what_is_no_host() {
    let mut stack = stack(Config::default());
    for (default, nobody) in [("0.0.0.0/0", "0.0.0.0:80"), ("0.0.0.0/0", "0.1.2.3:80"), ("::/0", "[::]:80")] {
        let _ = stack.add_route(RouteSpec::new(default.parse().unwrap(), RouteTarget::Interface(LEFT)));
        let connected = stack.tcp_connect(NOW, None, nobody.parse().unwrap(), None, Owner::APPLICATION);
        assert_eq!(connected, Err(Error::NetworkUnreachable), "{nobody}");
    }
}
