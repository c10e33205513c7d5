//! Devices whose checksums and segmentation are the kernel's: super-segments come and go whole, and what leaves is right.
//!
//! A kernel that is given an unfinished checksum asks no more of it, as long as the packet stays with it: only when it
//! completes the checksum, for a link without offloads, does a wrong seed do harm. So behind the device there is a kernel
//! that forwards, and behind it, over a plain link, one that verifies.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tunstack::device::{Device as _, EgressMeta, HEADROOM, Offload, Received};
use tunstack::net::{self, Net, OffloadMode};
use tunstack::proto::{ChecksumState, DeviceId, DropReason, EgressChecksum, SendOptions, Sent};

use crate::harness::{
    Daemon, Host, Opener, cable, exchange, in_namespace, in_namespace_for, make_tun, pair_over,
};
use crate::harness::{receive, send, sh, short_time_wait};

const LIMIT: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(30);

/// What a long transfer moves, in bytes.
const SIZE: usize = 64 << 20;
/// The largest payload of a packet over these links, which have an MTU of 1,500.
const MSS: usize = 1460;

/// A stack at 10.9.0.2 and fd09::2 on tun0, the kernel at 10.9.0.1 and fd09::1.
fn stack(mode: OffloadMode) -> Net {
    let builder = Net::builder().tun("tun0").offload(mode).config(short_time_wait());
    let builder =
        builder.addr("10.9.0.2/24").addr("fd09::2/64").host_addr("10.9.0.1/24").host_addr("fd09::1/64");
    builder.start().expect("the stack starts")
}

/// Packets that came in while `work` was done.
fn packets_in(net: &Net, work: impl FnOnce()) -> u64 {
    let before = net.counters().packets_in;
    work();
    net.counters().packets_in - before
}

/// Packets that went out while `work` was done.
fn packets_out(net: &Net, work: impl FnOnce()) -> u64 {
    let before = net.counters().packets_out;
    work();
    net.counters().packets_out - before
}

/// Sends so much from the kernel to the stack, and compares hashes.
fn upload(net: &Net, ip: &str, size: usize) {
    let (ours, theirs) = pair_over(net, Opener::Kernel, ip);
    let receiver = thread::spawn(move || receive(&ours));
    let sent = send(&theirs, size, 1);
    drop(theirs);
    assert_eq!(receiver.join().expect("the receiver ends"), (size, sent), "{ip}");
}

/// Sends so much from the stack to the kernel, and compares hashes.
fn download(net: &Net, ip: &str, size: usize) {
    let (ours, theirs) = pair_over(net, Opener::Stack, ip);
    let receiver = thread::spawn(move || receive(&theirs));
    let sent = send(&ours, size, 2);
    drop(ours);
    assert_eq!(receiver.join().expect("the receiver ends"), (size, sent), "{ip}");
}

#[test]
fn bulk_goes_both_ways_over_both_families_in_super_segments() {
    in_namespace_for(LIMIT, || {
        let net = stack(OffloadMode::On);
        for (ours, theirs) in [("10.9.0.2", "10.9.0.1"), ("fd09::2", "fd09::1")] {
            let came = packets_in(&net, || upload(&net, ours, SIZE));
            assert!(came < (SIZE / MSS / 4) as u64, "{came} packets for {SIZE} bytes, to {ours}");
            let segments = net.counters().tcp_segments_out;
            let went = packets_out(&net, || download(&net, theirs, SIZE));
            assert!(went < (SIZE / MSS / 4) as u64, "{went} packets for {SIZE} bytes, to {theirs}");
            let segments = net.counters().tcp_segments_out - segments;
            assert!(segments >= (SIZE / MSS) as u64, "{segments} segments for {SIZE} bytes, to {theirs}");
        }
        let counters = net.counters();
        // The kernel looks for IPv6's routers and listeners, which the stack is none of.
        let dropped = counters.dropped_total() - counters.dropped(DropReason::NotOurs);
        // Where our acknowledgement is late, the kernel probes with what it sent last (RFC 8985): that has come already.
        let probes = counters.dropped(DropReason::TcpOutOfWindow).min(counters.tcp_duplicates);
        assert_eq!((dropped - probes, net.device_lost()), (0, 0), "{counters:?}");
    });
}

#[test]
fn without_offloads_bulk_goes_both_ways_and_no_super_segment_comes() {
    in_namespace_for(LIMIT, || {
        let net = stack(OffloadMode::Off);
        for (ours, theirs) in [("10.9.0.2", "10.9.0.1"), ("fd09::2", "fd09::1")] {
            let came = packets_in(&net, || upload(&net, ours, SIZE));
            assert!(came > (SIZE / MSS) as u64, "{came} packets for {SIZE} bytes, to {ours}");
            download(&net, theirs, SIZE);
        }
    });
}

#[test]
fn ping_and_datagrams_of_every_size_are_answered() {
    in_namespace(|| {
        let mut daemon = Daemon::up("--offload on");
        for to in ["10.9.0.2", "fd09::2"] {
            for size in [0, 56, 1400, 1472, 8000, 60_000] {
                sh(&format!("ping -c 1 -W 2 -s {size} {to}"));
            }
            let to: IpAddr = to.parse().expect("an address");
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).expect("a port is free");
            socket.connect((to, 7)).expect("there is a route");
            socket.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
            for size in [0, 1, 2, 999, 1472, 1473, 9000] {
                let sent: Vec<u8> = (0..size).map(|at: u32| at as u8).collect();
                socket.send(&sent).expect("the kernel takes it");
                let mut answer = vec![0; 65_536];
                let len = socket.recv(&mut answer).expect("the stack answers");
                assert_eq!(answer[..len], sent, "{to}, {size} bytes");
            }
        }
        daemon.process().signal(Signal::USR1);
        let report = daemon.process().wait_for_stderr("packets_in", PATIENCE);
        assert!(!report.contains("lost") && !report.contains("checksum"), "{report}");
    });
}

/// A device, and a socket of the kernel's on the other side, at 10.9.0.1 port 9. Nothing else goes there.
fn device_and_kernel() -> (Offload, UdpSocket) {
    let device = Offload::open("tun0").expect("the kernel has offloads");
    sh("ip addr add 10.9.0.1/24 dev tun0");
    sh("sysctl -qw net.ipv6.conf.tun0.disable_ipv6=1");
    sh("ip link set tun0 up");
    let socket = UdpSocket::bind("10.9.0.1:9").expect("the port is free");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    (device, socket)
}

#[test]
fn a_datagram_is_the_same_however_it_is_received() {
    in_namespace(|| {
        let (device, socket) = device_and_kernel();
        let mut buffer = vec![0; 70_000];
        let mut received = |with_headroom: bool| {
            socket.send_to(b"a datagram", "10.9.0.2:9").expect("the kernel takes it");
            let (what, start) = match with_headroom {
                true => (device.recv_with_headroom(&mut buffer), HEADROOM),
                false => (device.recv(&mut buffer), 0),
            };
            let Received::Packet { len, checksum, gso_size } = what else { panic!("{what:?}") };
            assert_eq!((checksum, gso_size), (ChecksumState::Partial, None));
            // Its identification and the checksum of its header differ.
            let datagram = &buffer[start..start + len];
            [&datagram[..4], &datagram[6..10], &datagram[12..]].concat()
        };
        let (plain, with_headroom) = (received(false), received(true));
        assert_eq!(plain, with_headroom);
        assert!(plain.ends_with(b"a datagram"), "{plain:?}");
        assert_eq!(device.recv_with_headroom(&mut vec![0; 70_000]), Received::Empty);
    });
}

#[test]
fn a_datagram_is_the_same_however_it_is_sent() {
    in_namespace(|| {
        let (device, socket) = device_and_kernel();
        socket.send_to(b"a datagram", "10.9.0.2:9").expect("the kernel takes it");
        let mut buffer = vec![0xee; HEADROOM + 70_000];
        let Received::Packet { len, .. } = device.recv_with_headroom(&mut buffer) else {
            panic!("nothing came")
        };
        buffer.truncate(HEADROOM + len);
        // From the other end, to the same port: neither sum changes.
        buffer[HEADROOM + 12..HEADROOM + 20].rotate_left(4);
        let checksum = EgressChecksum::Partial { start: 20, offset: 6 };
        let meta = EgressMeta { device: DeviceId(0), checksum };
        for with_headroom in [false, true] {
            let sent = match with_headroom {
                true => device.send_with_headroom(&mut buffer, meta),
                false => device.send(meta.egress(&buffer[HEADROOM..])),
            };
            assert_eq!(sent, Sent::Taken);
            let mut answer = [0; 100];
            let (len, from) = socket.recv_from(&mut answer).expect("the kernel takes it for one of its own");
            assert_eq!((&answer[..len], from.to_string().as_str()), (&b"a datagram"[..], "10.9.0.2:9"));
        }
        assert_eq!(device.lost(), 0);
    });
}

#[test]
fn what_is_too_short_to_hold_a_datagram_is_lost_and_counted() {
    in_namespace(|| {
        let (device, _socket) = device_and_kernel();
        let meta = EgressMeta { device: DeviceId(0), checksum: EgressChecksum::Complete };
        for len in 0..=HEADROOM {
            assert_eq!(device.send_with_headroom(&mut vec![0; len], meta), Sent::Taken);
            assert_eq!(device.lost(), len as u64 + 1, "{len} bytes");
        }
    });
}

#[test]
fn a_super_datagram_of_udp_is_as_many_datagrams() {
    in_namespace(|| {
        let net = stack(OffloadMode::On);
        for ip in ["10.9.0.2", "fd09::2"] {
            let ours = net::UdpSocket::bind(&net, format!("{}:0", bracketed(ip))).expect("a port is free");
            ours.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
            let port = ours.local_addr().expect("a socket has an address").port();
            // UDP_SEGMENT is 103, of level IPPROTO_UDP, 17.
            let program = format!(
                "import socket as s\n\
                 u = s.socket(s.AF_INET6 if ':' in '{ip}' else s.AF_INET, s.SOCK_DGRAM)\n\
                 u.setsockopt(17, 103, 1000)\n\
                 u.sendto(bytes(i // 1000 for i in range(9500)), ('{ip}', {port}))"
            );
            let came = packets_in(&net, || {
                let sent = Command::new("python3").args(["-c", &program]).status().expect("python3 starts");
                assert!(sent.success());
                for number in 0..10 {
                    let mut datagram = [0; 2000];
                    let (len, _) = ours.recv_from(&mut datagram).expect("it comes");
                    let expected = if number == 9 { 500 } else { 1000 };
                    assert_eq!(datagram[..len], vec![number; expected], "{ip}");
                }
            });
            // One, and what the kernel has to say of itself.
            assert!(came < 10, "{came} packets, {ip}");
        }
    });
}

/// Left, the stack, a kernel that forwards, and right, which verifies:
///
/// ```text
/// left 10.1.0.2 -- 10.1.0.1 stack 10.2.0.1 -- 10.2.0.2 middle 10.3.0.1 ==plain== 10.3.0.2 right
/// ```
/// (and fd01::2 to fd03::2 in the same way).
struct Way {
    net: Net,
    left: Host,
    _middle: Host,
    right: Host,
}

impl Way {
    fn new(at_left: OffloadMode, at_middle: OffloadMode) -> Way {
        let (left, middle, right) = (Host::new(), Host::router(), Host::new());
        let net = Net::builder()
            .tun("left")
            .offload(at_left)
            .addr("10.1.0.1/24")
            .addr("fd01::1/64")
            .tun("middle")
            .offload(at_middle)
            .addr("10.2.0.1/24")
            .addr("fd02::1/64")
            .forwarding(true)
            .route("10.3.0.0/24,via=10.2.0.2")
            .route("fd03::/64,via=fd02::2")
            .start()
            .expect("the stack starts");
        cable("m-right", "right");
        left.adopt("left", 1500, &["10.1.0.2/24", "fd01::2/64"]);
        middle.adopt("middle", 1500, &["10.2.0.2/24", "fd02::2/64"]);
        middle.adopt("m-right", 1500, &["10.3.0.1/24", "fd03::1/64"]);
        right.adopt("right", 1500, &["10.3.0.2/24", "fd03::2/64"]);
        for (host, via4, via6) in [
            (&left, "10.1.0.1", "fd01::1"),
            (&middle, "10.2.0.1", "fd02::1"),
            (&right, "10.3.0.1", "fd03::1"),
        ] {
            host.sh(&format!("ip route add default via {via4}"));
            host.sh(&format!("ip -6 route add default via {via6}"));
        }
        Way { net, left, _middle: middle, right }
    }

    /// Moves `size` bytes each way over both families, by connections from left to right; returns how many packets the
    /// stack has forwarded.
    fn move_all(&self, size: usize) -> u64 {
        let before = self.net.counters().packets_in;
        for ip in ["10.3.0.2", "fd03::2"] {
            let ip: IpAddr = ip.parse().expect("an address");
            let listener = self.right.within(|| TcpListener::bind((ip, 0)).expect("the address is right's"));
            let address = listener.local_addr().expect("a listener has an address");
            let near =
                self.left.within(|| TcpStream::connect_timeout(&address, PATIENCE).expect("it answers"));
            let (far, _) = listener.accept().expect("one has connected");
            for stream in [&near, &far] {
                stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
                stream.set_write_timeout(Some(PATIENCE)).expect("the time is not zero");
            }
            exchange(&near, &far, size);
            self.move_datagrams(ip);
        }
        self.net.counters().packets_in - before
    }

    /// Moves so much text of the stack's own to right over both families; returns how many packets have gone out.
    fn send_own(&self, size: usize) -> u64 {
        packets_out(&self.net, || {
            for ip in ["10.3.0.2", "fd03::2"] {
                let ip: IpAddr = ip.parse().expect("an address");
                let listener =
                    self.right.within(|| TcpListener::bind((ip, 0)).expect("the address is right's"));
                let address = listener.local_addr().expect("a listener has an address");
                let near = net::TcpStream::connect(&self.net, address).expect("it answers");
                let (far, _) = listener.accept().expect("one has connected");
                let receiver = thread::spawn(move || receive(&far));
                let sent = send(&near, size, 3);
                drop(near);
                assert_eq!(receiver.join().expect("the receiver ends"), (size, sent), "{ip}");
            }
        })
    }

    /// Sends right bursts of datagrams of the stack's own over both families; returns how many packets have gone out.
    fn burst_own(&self) -> u64 {
        packets_out(&self.net, || {
            for (ours, theirs) in [("10.2.0.1:0", "10.3.0.2:0"), ("[fd02::1]:0", "[fd03::2]:0")] {
                let far = self.right.within(|| UdpSocket::bind(theirs).expect("the address is right's"));
                far.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
                let near = net::UdpSocket::bind(&self.net, ours).expect("a port is free");
                near.connect(far.local_addr().expect("a socket has an address")).expect("there is a route");
                for (len, size) in
                    [(1, 1), (64, 1), (3 * 1452, 1452), (30_001, 1000), (10_000, 999), (1000, 1452)]
                {
                    let data: Vec<u8> = (0..len).map(|at: usize| (at * 7 + at / 256) as u8).collect();
                    let sent = near.send_segments(&data, size, None, SendOptions::default());
                    assert_eq!(sent.expect("there is room"), len);
                    for expected in data.chunks(size) {
                        let mut datagram = [0; 2000];
                        let got = far.recv(&mut datagram).expect("each comes alone");
                        assert!(datagram[..got] == *expected, "{got} bytes for {} of {len}", expected.len());
                    }
                }
            }
        })
    }

    /// Datagrams have their checksums, too, of odd lengths as well.
    fn move_datagrams(&self, ip: IpAddr) {
        let any = if ip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let far = self.right.within(|| UdpSocket::bind((ip, 0)).expect("the address is right's"));
        let near = self.left.within(|| UdpSocket::bind(any).expect("a port is free"));
        for socket in [&near, &far] {
            socket.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
        }
        let to = far.local_addr().expect("a socket has an address");
        for size in [0, 1, 500, 1451] {
            near.send_to(&vec![7; size], to).expect("there is a route");
            let mut datagram = [0; 2000];
            let (len, from) = far.recv_from(&mut datagram).expect("it comes");
            far.send_to(&datagram[..len], from).expect("there is a route");
            let len = near.recv(&mut datagram).expect("it comes back");
            assert_eq!(datagram[..len], vec![7; size], "{ip}");
        }
    }

    /// Whoever got a segment with a wrong checksum has counted it.
    fn check(&self) {
        for (host, what) in [(&self.left, "left"), (&self.right, "right")] {
            let counted =
                host.sh("nstat -asz TcpInCsumErrors UdpInCsumErrors Udp6InCsumErrors IpInHdrErrors");
            let values: Vec<&str> =
                counted.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
            let wrong = values.iter().any(|value| value.parse::<u64>().is_ok_and(|count| count != 0));
            assert!(values.len() > 3 && !wrong, "{what} has seen wrong checksums: {counted}");
        }
        assert_eq!(self.net.counters().dropped(DropReason::ForwardOffload), 0);
        assert_eq!(self.net.device_lost(), 0);
    }
}

#[test]
fn between_two_devices_with_offloads_super_segments_pass_whole_with_seeds_that_are_right() {
    in_namespace_for(LIMIT, || {
        let way = Way::new(OffloadMode::On, OffloadMode::On);
        let forwarded = way.move_all(SIZE / 2);
        // Those from left are whole; those from right come as the plain link has them.
        let all = (2 * SIZE / MSS) as u64;
        assert!(forwarded < all * 3 / 4, "{forwarded} packets for what fits into {all}");
        way.check();
    });
}

#[test]
fn our_own_super_segments_are_right_when_somebody_else_cuts_them() {
    in_namespace_for(LIMIT, || {
        let all = (2 * (SIZE / 4) / MSS) as u64;
        for at_middle in [OffloadMode::On, OffloadMode::Off] {
            let way = Way::new(OffloadMode::Off, at_middle);
            let went = way.send_own(SIZE / 4);
            assert_eq!(
                went < all / 2,
                at_middle == OffloadMode::On,
                "{went} packets for what fits into {all}"
            );
            way.check();
        }
    });
}

#[test]
fn a_burst_arrives_as_the_datagrams_that_it_is_made_of_whoever_cuts_it() {
    in_namespace_for(LIMIT, || {
        let all = 2 * (1 + 64 + 3 + 31 + 11 + 1);
        for at_middle in [OffloadMode::On, OffloadMode::Off] {
            let way = Way::new(OffloadMode::Off, at_middle);
            let went = way.burst_own();
            // A kernel before Linux 6.2 knows no super-datagrams.
            let is_whole = at_middle == OffloadMode::On && kernel_cuts_datagrams();
            let expected = if is_whole { 2 * 6 } else { all };
            // Neighbours are looked for, and the like.
            assert!((expected..expected + 10).contains(&went), "{went} packets for {expected}");
            way.check();
        }
    });
}

/// Whether TUN devices take super-datagrams (TUN_F_USO4).
fn kernel_cuts_datagrams() -> bool {
    let release = sh("uname -r");
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(2))
}

#[test]
fn from_a_device_with_offloads_to_a_plain_one_super_segments_are_cut_and_summed() {
    in_namespace_for(LIMIT, || {
        for (at_left, at_middle) in [(OffloadMode::On, OffloadMode::Off), (OffloadMode::Off, OffloadMode::On)]
        {
            let way = Way::new(at_left, at_middle);
            way.move_all(SIZE / 4);
            way.check();
            drop(way);
        }
    });
}

/// Attaches to the persistent device `mytun` as another program does (IFF_TUN, IFF_NO_PI, IFF_VNET_HDR), with a header of 12
/// bytes (TUNSETVNETHDRSZ) and offloads (TUNSETOFFLOAD), and leaves all this behind.
const OTHER_USER: &str = "import fcntl, os, struct
tun = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', b'mytun', 0x5001))
fcntl.ioctl(tun, 0x400454d8, struct.pack('i', 12))
fcntl.ioctl(tun, 0x400454d0, 3)
";

#[test]
fn a_persistent_device_is_opened_either_way_whoever_had_it_before() {
    in_namespace(|| {
        // Made without a header.
        sh("ip tuntap add dev mytun mode tun");
        for mode in ["on", "off", "auto", "off", "other", "on", "other", "off"] {
            if mode == "other" {
                let left = Command::new("python3").args(["-c", OTHER_USER]).status().expect("python3 starts");
                assert!(left.success());
                continue;
            }
            let mut daemon = Daemon::up(&format!("--tun mytun --offload {mode}"));
            let mut stream = TcpStream::connect("10.9.0.2:7").expect("the stack accepts");
            stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
            stream.write_all(&[7; 3000]).expect("the connection stands");
            stream.shutdown(Shutdown::Write).expect("the connection stands");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("the stack answers");
            assert_eq!(answer, [7; 3000], "{mode}");
            assert_eq!(daemon.stop_with(Signal::TERM).code(), Some(0));
        }
    });
}

#[test]
fn offloads_end_with_the_one_who_switched_them_on() {
    /// Whether the kernel leaves checksums unfinished for who reads the device (SIOCETHTOOL, ETHTOOL_GTXCSUM).
    const LOOK: &str = "import array, fcntl, socket, struct
value = array.array('I', [0x16, 9])
request = struct.pack('16sP16x', b'mytun', value.buffer_info()[0])
fcntl.ioctl(socket.socket(), 0x8946, request)
print(value[1])
";
    fn leaves_checksums_unfinished() -> bool {
        let said = Command::new("python3").args(["-c", LOOK]).output().expect("python3 starts");
        match String::from_utf8_lossy(&said.stdout).trim() {
            "0" => false,
            "1" => true,
            _ => panic!("{said:?}"),
        }
    }
    in_namespace(|| {
        make_tun("mytun", 1500);
        let mut daemon = Daemon::up("--tun mytun --offload on");
        assert!(leaves_checksums_unfinished());
        assert_eq!(daemon.stop_with(Signal::TERM).code(), Some(0));
        assert!(!leaves_checksums_unfinished());
    });
}

#[test]
fn what_the_kernel_gave_is_said_in_the_log() {
    in_namespace(|| {
        let mut command = crate::harness::tunstack("-v");
        let mut daemon = Daemon::start(command.args(["up", "--offload", "auto"]));
        let said = daemon.process().stderr();
        assert!(
            said.contains("tun0: the kernel's offloads are in use: checksums, TCP/IPv4, TCP/IPv6"),
            "{said}"
        );
    });
}

/// Prints how many times as fast an upload and a download are with offloads as without; run it with
/// `cargo test --release --test e2e -- --ignored --nocapture how_much_offloads_gain`.
#[test]
#[ignore = "it measures; whatever it finds is right"]
fn how_much_offloads_gain() {
    in_namespace_for(LIMIT, || {
        let size = 1 << 30;
        for round in 0..3 {
            let [on, off] = [OffloadMode::On, OffloadMode::Off].map(|mode| {
                let net = stack(mode);
                [Opener::Kernel, Opener::Stack].map(|opener| time(&net, opener, size))
            });
            let gbit = |took: Duration| size as f64 * 8e-9 / took.as_secs_f64();
            println!(
                "round {round}: up {:.2} and {:.2} Gbit/s, {:.2} times; down {:.2} and {:.2} Gbit/s, {:.2} times",
                gbit(on[0]),
                gbit(off[0]),
                gbit(on[0]) / gbit(off[0]),
                gbit(on[1]),
                gbit(off[1]),
                gbit(on[1]) / gbit(off[1]),
            );
        }
    });
}

/// How long it takes to move so many zeros from who opens the connection to the other, who looks at none of them.
fn time(net: &Net, opener: Opener, size: usize) -> Duration {
    fn pour(mut to: impl std::io::Write, size: usize) {
        let chunk = vec![0; 256 << 10];
        (0..size / chunk.len()).for_each(|_| to.write_all(&chunk).expect("the connection stands"));
    }
    fn drain(mut from: impl std::io::Read) -> usize {
        let mut buffer = vec![0; 256 << 10];
        std::iter::repeat_with(|| from.read(&mut buffer).expect("the connection stands"))
            .take_while(|read| *read > 0)
            .sum()
    }
    let ip = if opener == Opener::Kernel { "10.9.0.2" } else { "10.9.0.1" };
    let (ours, theirs) = pair_over(net, opener, ip);
    let begun = Instant::now();
    let came = match opener {
        Opener::Kernel => {
            let drained = thread::spawn(move || drain(&ours));
            pour(&theirs, size);
            drop(theirs);
            drained.join()
        }
        Opener::Stack => {
            let drained = thread::spawn(move || drain(&theirs));
            pour(&ours, size);
            drop(ours);
            drained.join()
        }
    };
    assert_eq!(came.expect("the receiver ends"), size);
    begun.elapsed()
}

fn bracketed(ip: &str) -> String {
    if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() }
}
