//! Parts of the core by themselves: parsing, checksums, timers, and finding out whom a segment concerns.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use tunstack::proto::timer_wheel::{TimerId, TimerWheel};
use tunstack::proto::wire::HeaderBuf;
use tunstack::proto::wire::checksum::Sum;
use tunstack::proto::wire::ip::{self, IpHeader, PROTOCOL_TCP};
use tunstack::proto::wire::seq_nr::SeqNr;
use tunstack::proto::wire::tcp::{Control, Segment, TcpHeader};
use tunstack::proto::wire::tcp_options::TcpOptions;
use tunstack::proto::{ChecksumState, Config, Egress, Owner, Packet, Secrets, Sent, Stack};
use tunstack::rng::Rng;
use tunstack::time::Instant;

use crate::Cost;
use crate::meter::Meter;

pub(crate) const COSTS: &[Cost] = &[
    ("part: headers of TCP over IPv4 with timestamps parsed", parse),
    ("part: checksum of 1,024 bytes", checksum),
    ("part: timer armed", |meter| timers(meter, Timers::Armed)),
    ("part: timer moved", |meter| timers(meter, Timers::Moved)),
    ("part: timer expired", |meter| timers(meter, Timers::Expired)),
    ("part: reset that is nobody's", reset),
];

const US: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));

/// A segment without text, from any host and port to our port 7.
fn segment(src: Ipv4Addr, src_port: u16, control: Control, options: &TcpOptions) -> HeaderBuf {
    let src = IpAddr::V4(src);
    let ack = (control == Control::None).then_some(SeqNr(7));
    let tcp = TcpHeader {
        src_port,
        dst_port: 7,
        seq: SeqNr(9),
        ack,
        control,
        psh: false,
        urgent: None,
        window: 1024,
        options,
    };
    let (protocol, hop_limit, dont_fragment) = (PROTOCOL_TCP, 64, true);
    let ip = IpHeader { src, dst: US, protocol, hop_limit, tos: 0, ident: 1, dont_fragment, flow_label: 0 };
    let mut bytes = HeaderBuf::new();
    ip.write(tcp.len(), &mut bytes);
    tcp.write(src, US, &[], &mut bytes);
    bytes
}

fn parse(meter: &mut Meter) {
    let options = TcpOptions { timestamps: Some((1, 2)), ..TcpOptions::NONE };
    let bytes = segment(Ipv4Addr::new(10, 9, 0, 1), 5000, Control::None, &options);
    let times = meter.scaled(1_000, 10_000_000);
    meter.count(times, || {
        for _ in 0..times {
            let datagram = ip::parse(black_box(&bytes)).expect("it is well-formed");
            let segment =
                Segment::parse(datagram.payload, datagram.src, datagram.dst, ChecksumState::Partial);
            black_box(&segment.expect("it is well-formed"));
        }
    });
}

fn checksum(meter: &mut Meter) {
    let bytes = [0x5a; 1024];
    let times = meter.scaled(1_000, 10_000_000);
    meter.count(times, || {
        for _ in 0..times {
            let mut sum = Sum::new();
            sum.add(black_box(&bytes));
            black_box(sum.finish());
        }
    });
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timers {
    Armed,
    Moved,
    Expired,
}

/// Timers that are due within two hours, in no order, among a million others.
fn timers(meter: &mut Meter, counted: Timers) {
    const OTHERS: u32 = 1_000_000;
    const HORIZON_MS: u32 = 7_200_000;
    let mut rng = Rng::from_number(4);
    let mut when = || Instant::from_nanos(u64::from(rng.within(1..=HORIZON_MS)) * 1_000_000 + 17);
    let mut wheel = TimerWheel::new(Instant::ZERO);
    let others: Vec<TimerId> = (0..OTHERS).map(|key| wheel.insert(key, when())).collect();
    let times = meter.scaled(100_000, 1_000_000);
    let (whens, moved): (Vec<Instant>, Vec<TimerId>) =
        others.iter().take(times).map(|id| (when(), *id)).unzip();
    match counted {
        Timers::Armed => {
            meter.count(times, || {
                for at in &whens {
                    black_box(wheel.insert(0, *at));
                }
            });
            assert_eq!(wheel.len(), OTHERS as usize + times);
        }
        Timers::Moved => {
            meter.count(times, || moved.iter().zip(&whens).for_each(|(id, at)| wheel.reschedule(*id, *at)));
            assert_eq!(wheel.len(), OTHERS as usize);
        }
        // All of them, as time goes by: how often one is sorted again depends on how far away it was.
        Timers::Expired => {
            meter.count(OTHERS as usize, || {
                while let Some(at) = wheel.next_deadline() {
                    while wheel.pop_due(at).is_some() {}
                }
            });
            assert!(wheel.is_empty());
        }
    }
}

/// Finding out that a segment concerns nobody, and that nothing is to be said of it, among many half-open connections, which the
/// same table holds as open ones.
fn reset(meter: &mut Meter) {
    let others = meter.scaled(1 << 15, 1_000_000);
    let config = Config { syn_queue: others, outbox_packets: 2 * others, ..Config::default() };
    let mut stack = Stack::new(config, &Secrets::from_number(2), Instant::ZERO);
    let device = stack.add_interface(1500);
    stack.add_address(device, "10.0.0.2/8".parse().unwrap()).unwrap();
    stack.add_address(device, "10.9.0.2/8".parse().unwrap()).unwrap();
    let local = "10.9.0.2:7".parse().unwrap();
    stack.tcp_listen(Instant::ZERO, local, None, Owner::default()).unwrap();
    let options = TcpOptions { mss: Some(1460), ..TcpOptions::NONE };
    let host = |number: usize| Ipv4Addr::from_bits(0x0a10_0000 + number as u32);
    for number in 0..others {
        let syn = segment(host(number), 5000, Control::Syn, &options);
        stack.receive(device, &Packet::plain(&syn, Instant::ZERO));
        let _ = stack.transmit(Instant::ZERO, &mut |_: Egress<'_>| Sent::Taken);
    }
    assert_eq!(stack.tcp_census().half_open, others);
    let times = meter.scaled(1_000, 1_000_000);
    let resets: Vec<HeaderBuf> =
        (0..times).map(|number| segment(host(number), 5001, Control::Rst, &TcpOptions::NONE)).collect();
    meter.count(times, || {
        for reset in &resets {
            stack.receive(device, &Packet::plain(reset, Instant::ZERO));
        }
    });
    assert_eq!(stack.counters().dropped_total(), times as u64);
}
