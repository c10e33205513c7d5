//! What kernels leave to their devices, on a link: super-segments and unfinished checksums.

use std::sync::Arc;

use tunstack::device::{OffloadMode, OpenTun};
use tunstack::runtime::cable::Cable;
use tunstack::sim::{Link, LinkConfig};

use super::*;
use crate::harness::{Process, cable, in_namespace_for};

/// What a segment holds over links of 1,500 bytes, with the option of time stamps.
const MSS: usize = 1448;

/// A counter of a kernel, as `nstat` calls it.
fn count(host: &Host, name: &str) -> u64 {
    let table = host.sh(&format!("nstat -asz {name}"));
    let line =
        table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {table}"));
    line.split_whitespace().nth(1).and_then(|value| value.parse().ok()).expect("it has a value")
}

/// Segments and datagrams whose checksum was wrong when they reached this kernel.
fn wrong_checksums(host: &Host) -> u64 {
    ["TcpInCsumErrors", "UdpInCsumErrors", "Udp6InCsumErrors"].map(|name| count(host, name)).iter().sum()
}

/// Datagrams of some lengths go to a host that has this address, and come back.
fn exchange_datagrams(from: &Host, to: &Host, address: &str) {
    let ip: IpAddr = address.parse().expect("an address");
    let any = if ip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let far = to.within(|| UdpSocket::bind((ip, 0)).expect("a port is free"));
    let near = from.within(|| UdpSocket::bind(any).expect("a port is free"));
    for socket in [&near, &far] {
        socket.set_read_timeout(Some(LIMIT)).expect("the timeout is not zero");
    }
    for size in [0, 1, 500, 1451] {
        let mut datagram = [0; 2000];
        near.send_to(&vec![7; size], far.local_addr().expect("it is bound")).expect("there is a route");
        let (len, back) = far.recv_from(&mut datagram).expect("it comes");
        far.send_to(&datagram[..len], back).expect("there is a route");
        let len = near.recv(&mut datagram).expect("it comes back");
        assert_eq!(datagram[..len], vec![7; size], "{address}");
    }
}

/// Moves bytes and datagrams over both families, to and fro.
fn exchange_all(left: &Host, right: &Host, addresses: [&str; 2], size: usize) {
    for address in addresses {
        let (near, far) = connect(left, right, address);
        exchange(&near, &far, size);
        exchange_datagrams(left, right, address);
    }
}

#[test]
fn where_nothing_but_time_passes_super_segments_pass_whole() {
    in_namespace(|| {
        let size = 8_000_000;
        for (mode, passes_whole) in [("on", true), ("auto", true), ("off", false)] {
            let desk = Desk::with_ipv6(&format!("--delay 2ms --offload {mode}"));
            exchange_all(&desk.left, &desk.right, ["10.0.0.2", "fd00::2"], size);
            assert_eq!([&desk.left, &desk.right].map(wrong_checksums), [0, 0]);
            for counted in desk.end() {
                counted.adds_up();
                let packets = (2 * size / MSS) as u64;
                assert_eq!(counted.of("super-segments cut"), 0, "{counted:?}");
                if passes_whole {
                    assert!(counted.of("sent") < packets / 4, "{counted:?}");
                    assert!(counted.of("super-segments whole") > packets / 45 / 2, "{counted:?}");
                } else {
                    assert!(counted.of("sent") > packets, "{counted:?}");
                    assert_eq!(counted.of("super-segments whole"), 0, "{counted:?}");
                }
            }
        }
    });
}

/// A kernel takes what comes whole at its word; only the next one sums.
#[test]
fn what_has_passed_whole_is_right_beyond_the_next_router() {
    in_namespace(|| {
        let (router, beyond) = (Host::router(), Host::new());
        cable("near", "far");
        router.adopt("near", 1500, &["10.1.0.1/24", "fd01::1/64"]);
        beyond.adopt("far", 1500, &["10.1.0.2/24", "fd01::2/64"]);
        let left = Host::new();
        let mut link = Daemon::start(tunstack("link").args([
            &format!("/proc/{}/ns/net:one", left.id()),
            &format!("/proc/{}/ns/net:other", router.id()),
            "--offload=on",
        ]));
        for (host, device, number) in [(&left, "one", 1), (&router, "other", 2)] {
            host.sh(&format!("ip addr add 10.0.0.{number}/24 dev {device}"));
            host.sh(&format!("ip -6 addr add fd00::{number}/64 dev {device} nodad"));
        }
        for (host, via4, via6) in [(&left, "10.0.0.2", "fd00::2"), (&beyond, "10.1.0.1", "fd01::1")] {
            host.sh(&format!("ip route add default via {via4}"));
            host.sh(&format!("ip -6 route add default via {via6}"));
        }
        exchange_all(&left, &beyond, ["10.1.0.2", "fd01::2"], 4_000_000);
        assert_eq!([&left, &beyond].map(wrong_checksums), [0, 0]);
        assert_eq!(link.stop_with(Signal::INT).code(), Some(0));
        let said = link.process().stdout();
        let there = Counted(said.lines().nth(1).expect("it has counted").to_owned());
        assert!(there.of("super-segments whole") > 50, "{said}");
    });
}

#[test]
fn a_transfer_over_every_fault_ends_with_the_same_hash() {
    in_namespace_for(2 * LIMIT, || {
        for mode in ["on", "off"] {
            let faults =
                "--delay 2ms --jitter 1ms --loss 1% --reorder 1%,by=5ms --duplicate 1% --corrupt 0.5%";
            let desk = Desk::new(&format!("{faults} --offload {mode}"));
            let (near, far) = desk.connect();
            let size = 4_000_000;
            exchange(&near, &far, size);
            // What was changed on the way was noticed: its checksum was complete before.
            assert!([&desk.left, &desk.right].map(wrong_checksums).iter().all(|wrong| *wrong > 0));
            for counted in desk.end() {
                counted.adds_up();
                for fault in ["lost", "reordered", "duplicated", "corrupted"] {
                    assert!(counted.of(fault) > 0, "{fault}: {counted:?}");
                }
                assert_eq!(counted.of("super-segments cut") > 0, mode == "on", "{counted:?}");
                assert_eq!(counted.of("super-segments whole"), 0, "{counted:?}");
                assert!(counted.of("sent") > (size / MSS) as u64, "{counted:?}");
            }
        }
    });
}

/// Prints how many packets it has heard a device receive (of many at once, not all), and the length of the longest, when none
/// has come for a second.
const LISTEN: &str = "import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
s.bind((sys.argv[1], 0))
print('listening', flush=True)
count = longest = 0
s.settimeout(30)
try:
    while True:
        packet, (_, _, kind, _, _) = s.recvfrom(65536)
        if kind == 0:  # PACKET_HOST
            count, longest = count + 1, max(longest, len(packet))
            s.settimeout(1)
except TimeoutError:
    print('heard', count, longest, flush=True)
";

/// Listens on a device; the numbers are those of `LISTEN`.
fn listen(host: &Host, device: &str) -> Process {
    let mut listener = Process::start(host.command("python3").args(["-c", LISTEN, device]));
    listener.wait_for_stdout("listening\n", LIMIT);
    listener
}

fn heard(mut listener: Process) -> [u64; 2] {
    assert!(listener.wait(LIMIT).success(), "{}", listener.stderr());
    let said = listener.stdout();
    let numbers = said.lines().last().and_then(|line| line.strip_prefix("heard ")).expect("it has heard");
    let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().expect("a number")).collect();
    [numbers[0], numbers[1]]
}

#[test]
fn a_rate_and_its_queue_act_on_packets_of_the_wire() {
    in_namespace(|| {
        let desk = Desk::new("--rate 100mbit --queue 200kB --delay 2ms --offload on");
        let listener = listen(&desk.right, "other");
        let (size, mut rates) = (6_000_000, Vec::new());
        // The machine may be busy with something else at any one time, hardly at every time.
        while rates.len() < 5 && !rates.iter().any(|mbits| *mbits > 85.0) {
            let (near, far) = desk.connect();
            let begun = Instant::now();
            thread::scope(|scope| {
                let sent = scope.spawn(move || send(near, size, 1));
                let received = receive(far);
                rates.push(size as f64 * 8.0 / 1e6 / begun.elapsed().as_secs_f64());
                assert_eq!(received, (size, sent.join().expect("the sender ends")));
            });
        }
        // Of 1,500 bytes 1,448 are the transfer's.
        assert!(rates.iter().all(|mbits| *mbits < 96.6) && *rates.last().expect("one") > 85.0, "{rates:?}");
        let [packets, longest] = heard(listener);
        assert!(packets > 1000 && longest == 1500, "{packets} packets, of {longest} bytes at most");
        let [_, received] = kernels_count(&desk.right, "other");
        let [there, back] = desk.end();
        assert_eq!(there.of("arrived"), received, "{there:?}");
        assert!(there.of("super-segments cut") > 0, "{there:?}");
        assert!(there.of("sent") >= (rates.len() * size / MSS) as u64, "{there:?}");
        assert_eq!(there.of("super-segments whole"), 0, "{there:?}");
        [there, back].iter().for_each(Counted::adds_up);
    });
}

#[test]
fn a_mark_is_made_on_each_packet_of_the_wire_that_finds_a_long_queue() {
    in_namespace(|| {
        let desk =
            Desk::new("--rate 50mbit/none --queue 300kB --ecn-threshold 20kB --delay 2ms --offload on");
        for host in [&desk.left, &desk.right] {
            host.sh("sysctl -qw net.ipv4.tcp_ecn=1");
        }
        let (near, far) = desk.connect();
        exchange(&near, &far, 5_000_000);
        let marks_seen = count(&desk.right, "IpExtInCEPkts");
        assert_eq!(wrong_checksums(&desk.right), 0);
        let [there, _] = desk.end();
        assert!(there.of("super-segments cut") > 0, "{there:?}");
        assert!(marks_seen > 0, "{there:?}");
        // What was marked after the last byte had been read may not have been seen.
        assert!((marks_seen..marks_seen + 20).contains(&there.of("marked")), "{marks_seen}: {there:?}");
    });
}

#[test]
fn a_black_hole_swallows_packets_of_the_wire() {
    in_namespace(|| {
        let desk = Desk::new("--mtu-blackhole 1000 --offload on");
        let far = desk.right.within(|| UdpSocket::bind("10.0.0.2:7000").expect("a port is free"));
        far.set_read_timeout(Some(LIMIT)).expect("the timeout is not zero");
        // UDP_SEGMENT is 103, of level IPPROTO_UDP, 17: datagrams of 973 bytes are a byte too long.
        for (size, count) in [(972, 10), (973, 1)] {
            let program = format!(
                "import socket as s\n\
                 u = s.socket(s.AF_INET, s.SOCK_DGRAM)\n\
                 u.setsockopt(17, 103, {size})\n\
                 u.sendto(bytes(i // {size} for i in range({size} * 9 + 5)), ('10.0.0.2', 7000))"
            );
            let sent = run(desk.left.command("python3").args(["-c", &program]), LIMIT);
            assert!(sent.status.success(), "{sent:?}");
            for number in 10 - count..10 {
                let mut datagram = [0; 2000];
                let len = far.recv(&mut datagram).expect("it comes");
                assert_eq!(datagram[..len], vec![number; if number == 9 { 5 } else { size }]);
            }
        }
        let [there, _] = desk.end();
        assert_eq!((there.of("sent"), there.of("arrived"), there.of("too large")), (20, 11, 9), "{there:?}");
    });
}

#[test]
fn a_plain_device_and_one_with_offloads_understand_each_other() {
    in_namespace(|| {
        let open = |name, mode| OpenTun::open(Some(name), mode).expect("the device can be made").device;
        let devices = [open("one", OffloadMode::On), open("other", OffloadMode::Off)];
        let links = [1, 2].map(|seed| Link::new(LinkConfig::default(), seed));
        let cable = Cable::new(devices.map(Arc::from), links).expect("there are descriptors");
        let control = cable.control();
        let running = thread::spawn(|| cable.run());
        let (left, right) = (Host::new(), Host::new());
        left.adopt("one", 1500, &["10.0.0.1/24", "fd00::1/64"]);
        right.adopt("other", 1500, &["10.0.0.2/24", "fd00::2/64"]);
        exchange_all(&left, &right, ["10.0.0.2", "fd00::2"], 4_000_000);
        assert_eq!([&left, &right].map(wrong_checksums), [0, 0]);
        control.unplug();
        assert_eq!(running.join().expect("the loop ends"), Ok(()));
        let [there, back] = control.counters();
        assert!(there.link.cut > 50 && there.link.sent > (2 * 4_000_000 / MSS) as u64, "{there:?}");
        assert_eq!((there.link.whole, there.unfinished, back.link.whole, back.link.cut), (0, 0, 0, 0));
    });
}

/// Prints how many times as fast a transfer is with offloads as without; run it with
/// `cargo test --release --test e2e -- --ignored --nocapture how_much_offloads_gain_on_a_link`.
#[test]
#[ignore = "it measures; whatever it finds is right"]
fn how_much_offloads_gain_on_a_link() {
    in_namespace_for(10 * LIMIT, || {
        let size = 1 << 30;
        let gbit = |options: &str| {
            let desk = Desk::new(options);
            let (near, far) = desk.connect();
            let begun = Instant::now();
            let took = thread::scope(|scope| {
                scope.spawn(move || pour(near, size));
                assert_eq!(drain(far), size);
                begun.elapsed()
            });
            desk.end();
            size as f64 * 8e-9 / took.as_secs_f64()
        };
        // Where something may be lost, all is cut.
        for (name, path) in
            [("delay 0", ""), ("delay 1 ms", "--delay 1ms"), ("one in a million lost", "--loss 0.0001%")]
        {
            for round in 0..3 {
                let [on, off] = ["on", "off"].map(|mode| gbit(&format!("{path} --offload {mode}")));
                println!("{name}, round {round}: {on:.2} and {off:.2} Gbit/s, {:.2} times", on / off);
            }
        }
    });
}

/// Sends so many zeros.
fn pour(mut to: impl std::io::Write, size: usize) {
    let chunk = vec![0; 256 << 10];
    (0..size / chunk.len()).for_each(|_| to.write_all(&chunk).expect("the connection stands"));
}

/// Reads to the end without a look at it; returns how much came.
fn drain(mut from: impl std::io::Read) -> usize {
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        match from.read(&mut buffer).expect("the connection stands") {
            0 => return total,
            read => total += read,
        }
    }
}
