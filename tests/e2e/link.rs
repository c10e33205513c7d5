//! `tunstack link`: two kernels, each in a namespace of its own, with a path of faults between them.

mod offloads;

use std::net::{IpAddr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tunstack::net::Net;

use crate::harness::{
    Daemon, Host, eventually, exchange, in_namespace, make_tun, receive, run, send, sh, tunstack,
};

const LIMIT: Duration = Duration::from_secs(40);

/// `left`, 10.0.0.1 on a device called `one`, and `right`, 10.0.0.2 on `other`.
struct Desk {
    left: Host,
    right: Host,
    link: Daemon,
}

impl Desk {
    /// A link with these options. Nothing but what the test sends is on it: the kernels have no IPv6.
    fn new(options: &str) -> Desk {
        let hosts = [Host::new(), Host::new()];
        for host in &hosts {
            host.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
        }
        Desk::between(hosts, options)
    }

    /// The same where the kernels have IPv6, and what they say by themselves: fd00::1 and fd00::2.
    fn with_ipv6(options: &str) -> Desk {
        let desk = Desk::between([Host::new(), Host::new()], options);
        desk.left.sh("ip -6 addr add fd00::1/64 dev one nodad");
        desk.right.sh("ip -6 addr add fd00::2/64 dev other nodad");
        for (host, address) in [(&desk.left, "fd00::1"), (&desk.right, "fd00::2")] {
            eventually("the kernel has the address for its own", LIMIT, || {
                host.run(&format!("ip route get {address}"), LIMIT).stdout.contains("local")
            });
        }
        desk
    }

    fn between([left, right]: [Host; 2], options: &str) -> Desk {
        let end = |host: &Host, name: &str| format!("/proc/{}/ns/net:{name}", host.id());
        let (one, other) = (end(&left, "one"), end(&right, "other"));
        let mut command = tunstack("link");
        let link = Daemon::start(command.args([&one, &other]).args(options.split_whitespace()));
        let ready = format!("ready: {one} {other} seed ");
        assert!(link.ready_line().starts_with(&ready), "{}", link.ready_line());
        // The link has set its devices up: an address is all that is missing.
        left.sh("ip addr add 10.0.0.1/24 dev one");
        right.sh("ip addr add 10.0.0.2/24 dev other");
        Desk { left, right, link }
    }

    /// Pings from the left; returns what ping said.
    fn ping(&self, options: &str) -> String {
        self.left.run(&format!("ping -n {options} 10.0.0.2"), LIMIT).stdout
    }

    /// A connection from left to right: the ends of the left and of the right.
    fn connect(&self) -> (TcpStream, TcpStream) {
        connect(&self.left, &self.right, "10.0.0.2")
    }

    /// Ends the link; returns what it counted, from left to right and back.
    fn end(mut self) -> [Counted; 2] {
        assert_eq!(self.link.stop_with(Signal::INT).code(), Some(0));
        let said = self.link.process().stdout();
        let lines: Vec<&str> = said.lines().rev().take(2).collect();
        assert_eq!(lines.len(), 2, "{said}");
        [Counted(lines[1].to_owned()), Counted(lines[0].to_owned())]
    }
}

/// A connection from one host to another that has this address: their ends.
fn connect(from: &Host, to: &Host, address: &str) -> (TcpStream, TcpStream) {
    let ip: IpAddr = address.parse().expect("an address");
    let listener = to.within(|| TcpListener::bind((ip, 0)).expect("a port is free"));
    let address = listener.local_addr().expect("a listener has an address");
    let near = from.within(|| TcpStream::connect_timeout(&address, LIMIT)).expect("it accepts");
    let far = listener.accept().expect("one has connected").0;
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(LIMIT)).expect("the timeout is not zero");
        stream.set_write_timeout(Some(LIMIT)).expect("the timeout is not zero");
    }
    (near, far)
}

/// A line of counters: `A -> B: 12 sent (1008 bytes), 11 arrived (924 bytes), 1 lost`.
#[derive(Debug)]
struct Counted(String);

impl Counted {
    /// The number before these words; zero if they are not there.
    fn of(&self, what: &str) -> u64 {
        let (_, counters) = self.0.split_once(": ").expect("the ends stand before a colon");
        let mut parts = counters.split(", ").map(|part| part.split(" (").next().unwrap_or(part));
        let number = parts.find_map(|part| part.strip_suffix(what)?.strip_suffix(' '));
        number.map_or(0, |number| number.parse().unwrap_or_else(|_| panic!("{what} in {self:?}")))
    }

    /// Every packet is under exactly one heading.
    fn adds_up(&self) {
        let dropped = self.of("lost") + self.of("overflowed") + self.of("too large");
        let came = self.of("arrived") + self.of("under way") + dropped;
        assert_eq!(self.of("sent") + self.of("duplicated"), came, "{self:?}");
    }
}

/// The times of the answers, in milliseconds.
fn times(said: &str) -> Vec<f64> {
    let after = |line: &str| Some(line.split_once("time=")?.1.split(' ').next()?.to_owned());
    said.lines().filter_map(after).map(|time| time.parse().expect("a time is a number")).collect()
}

/// Which requests were answered.
fn answered(said: &str) -> Vec<u32> {
    let after = |line: &str| Some(line.split_once("icmp_seq=")?.1.split(' ').next()?.to_owned());
    said.lines().filter_map(after).map(|number| number.parse().expect("it is a number")).collect()
}

/// Packets that a device has sent and received, as its kernel counts them.
fn kernels_count(host: &Host, device: &str) -> [u64; 2] {
    let table = host.sh("cat /proc/net/dev");
    let line = table.lines().find_map(|line| line.trim().strip_prefix(&format!("{device}:")));
    let fields: Vec<u64> =
        line.expect("the device is there").split_whitespace().map(|n| n.parse().expect("numbers")).collect();
    [fields[9], fields[1]]
}

#[test]
fn twenty_milliseconds_each_way_are_forty_there_and_back() {
    in_namespace(|| {
        let desk = Desk::new("--delay 20ms");
        let said = desk.ping("-c 21 -i 0.1 -W 5");
        let mut times = times(&said);
        times.sort_by(f64::total_cmp);
        assert_eq!(times.len(), 21, "{said}");
        // No packet is early, and where the machine lets it run, none is late. (A busy one makes most of them so.)
        assert!(times[0] >= 40.0 && times[5] <= 42.0, "{said}");
        let [there, back] = desk.end();
        assert_eq!((there.of("arrived"), back.of("arrived")), (21, 21));
    });
}

#[test]
fn all_is_lost_where_all_is_to_be_lost() {
    in_namespace(|| {
        let desk = Desk::new("--loss 100%");
        let said = desk.ping("-c 5 -i 0.1 -W 1");
        assert!(said.contains("5 packets transmitted, 0 received, 100% packet loss"), "{said}");
        let [there, back] = desk.end();
        assert_eq!((there.of("sent"), there.of("lost"), there.of("arrived"), back.of("sent")), (5, 5, 0, 0));
    });
}

#[test]
fn a_rate_holds_a_transfer_of_the_kernel_to_it() {
    in_namespace(|| {
        let desk = Desk::new("--rate 10mbit --delay 5ms");
        let (near, far) = desk.connect();
        let size = 4_000_000;
        let begun = Instant::now();
        let took = thread::scope(|scope| {
            let sent = scope.spawn(move || send(near, size, 1));
            let received = receive(far);
            let took = begun.elapsed();
            assert_eq!(received, (size, sent.join().expect("the sender ends")));
            took
        });
        let mbits = size as f64 * 8.0 / 1e6 / took.as_secs_f64();
        assert!((9.0..10.0).contains(&mbits), "{mbits} Mbit/s");
        desk.end().iter().for_each(Counted::adds_up);
    });
}

#[test]
fn what_is_too_large_for_the_path_vanishes_without_a_word() {
    in_namespace(|| {
        let desk = Desk::new("--mtu-blackhole 1000");
        let fits = desk.ping("-c 2 -i 0.1 -W 5 -M do -s 972");
        assert!(fits.contains("2 received"), "{fits}");
        let is_larger = desk.ping("-c 2 -i 0.1 -W 1 -M do -s 973");
        assert!(is_larger.contains("0 received") && !is_larger.contains("errors"), "{is_larger}");
        let [there, back] = desk.end();
        assert_eq!((there.of("too large"), there.of("arrived"), back.of("arrived")), (2, 2, 2));
    });
}

/// A stack behind the left kernel, which forwards; only datagrams of up to 1,400 bytes reach the right.
#[test]
fn a_connection_gets_through_a_path_that_swallows_large_packets_within_seconds() {
    in_namespace(|| {
        let desk = Desk::new("--mtu-blackhole 1400/none --delay 10ms");
        desk.left.sh("sysctl -qw net.ipv4.ip_forward=1");
        desk.right.sh("ip route add 10.9.0.0/24 via 10.0.0.1");
        let net = desk.left.within(|| {
            let net = Net::builder().tun("tun0").addr("10.9.0.2/24").host_addr("10.9.0.1/24");
            net.route("10.0.0.0/24,via=10.9.0.1").start().expect("the stack starts")
        });
        let listener = desk.right.within(|| TcpListener::bind("10.0.0.2:7000").expect("the port is free"));
        let carry = |size: usize| {
            let ours = tunstack::net::TcpStream::connect(&net, "10.0.0.2:7000").expect("it accepts");
            let theirs = listener.accept().expect("one has connected").0;
            let begun = Instant::now();
            thread::scope(|scope| {
                let received = scope.spawn(|| receive(&theirs));
                let sent = send(&ours, size, 1);
                ours.shutdown(Shutdown::Write).expect("the connection stands");
                assert_eq!(received.join().expect("the receiver ends"), (size, sent));
            });
            (begun.elapsed(), ours.tcp_info().expect("it is still held").snd_mss)
        };
        let (took, mss) = carry(20_000_000);
        assert!(took < Duration::from_secs(15), "{took:?}");
        // Less the headers, timestamps among them.
        assert!((1_393 - 52..=1_348).contains(&mss), "{mss}");
        assert_eq!(net.counters().tcp_black_holes, 1);
        // The next knows what gets through.
        let (timeouts, probes) = (net.counters().tcp_timeouts, net.counters().tcp_path_probes);
        let (took, again) = carry(100_000);
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert_eq!((again, net.counters().tcp_timeouts), (mss, timeouts));
        drop(net);
        let [there, _] = desk.end();
        assert!((1..40).contains(&there.of("too large")), "{there:?}, {probes} probes");
    });
}

#[test]
fn two_values_act_one_in_each_direction() {
    in_namespace(|| {
        let desk = Desk::new("--delay 10ms/60ms --mtu-blackhole none/500");
        let bind = |host: &Host, address: &str| host.within(|| UdpSocket::bind(address).expect("it is free"));
        let (left, right) = (bind(&desk.left, "10.0.0.1:7000"), bind(&desk.right, "10.0.0.2:7000"));
        // Both kernels are on one machine, so one clock tells how long one way takes.
        let fastest = |from: &UdpSocket, to: &UdpSocket| {
            let one = || {
                let sent = Instant::now();
                from.send_to(b"x", to.local_addr().expect("it is bound")).expect("it is sent");
                to.set_read_timeout(Some(LIMIT)).expect("the timeout is not zero");
                to.recv(&mut [0; 10]).expect("it arrives");
                sent.elapsed()
            };
            (0..5).map(|_| one()).min().expect("there are five")
        };
        let (there, back) = (fastest(&left, &right), fastest(&right, &left));
        for (took, millis) in [(there, 10), (back, 60)] {
            assert!((millis..millis + 2).contains(&took.as_millis()), "there {there:?}, back {back:?}");
        }
        // Of large requests only the answers are lost.
        let said = desk.ping("-c 3 -i 0.1 -W 1 -s 1000");
        assert!(said.contains("0 received"), "{said}");
        let [there, back] = desk.end();
        assert_eq!((there.of("arrived"), there.of("too large")), (8, 0));
        assert_eq!((back.of("arrived"), back.of("too large")), (5, 3));
    });
}

#[test]
fn the_same_seed_loses_the_same_packets() {
    in_namespace(|| {
        let survivors = |seed: u32| {
            let desk = Desk::new(&format!("--loss 20% --seed {seed}"));
            let answered = answered(&desk.ping("-c 100 -i 0.01 -W 1"));
            let [there, back] = desk.end();
            assert_eq!(there.of("sent"), 100);
            assert_eq!(back.of("arrived"), answered.len() as u64);
            answered
        };
        let first = survivors(11);
        assert!((40..90).contains(&first.len()), "{first:?}");
        assert_eq!(survivors(11), first);
        assert_ne!(survivors(12), first);
    });
}

#[test]
fn at_the_end_the_counters_add_up_and_are_the_kernels() {
    in_namespace(|| {
        let desk = Desk::new("--delay 5ms --loss 5% --duplicate 10% --rate 2mbit/none --queue 20kB");
        let said = desk.ping("-f -c 500 -s 1000 -W 1");
        assert!(said.contains("500 packets transmitted"), "{said}");
        // What was under way when ping ended arrives.
        thread::sleep(Duration::from_millis(500));
        let [left_sent, left_received] = kernels_count(&desk.left, "one");
        let [right_sent, right_received] = kernels_count(&desk.right, "other");
        let [there, back] = desk.end();
        assert_eq!((there.of("sent"), back.of("sent")), (left_sent, right_sent));
        assert_eq!((there.of("arrived"), back.of("arrived")), (right_received, left_received));
        assert!(there.of("lost") > 0 && there.of("duplicated") > 0, "{there:?}");
        for counted in [&there, &back] {
            counted.adds_up();
            assert_eq!(counted.of("under way"), 0, "{counted:?}");
        }
    });
}

#[test]
fn the_end_does_not_wait_for_what_is_under_way_but_counts_it() {
    in_namespace(|| {
        let desk = Desk::new("--delay 60s");
        desk.ping("-c 3 -i 0.1 -W 0.2");
        let [there, _] = desk.end();
        there.adds_up();
        assert_eq!((there.of("sent"), there.of("under way")), (3, 3), "{there:?}");
    });
}

#[test]
fn counters_come_every_second_when_asked_for_and_at_a_signal_at_once() {
    in_namespace(|| {
        let mut desk = Desk::new("-v");
        desk.ping("-c 1 -W 5");
        let said = desk.link.process().wait_for_stdout("1 sent (84 bytes), 1 arrived (84 bytes)\n", LIMIT);
        assert!(said.lines().count() >= 3, "{said}");
        desk.end();
        let mut desk = Desk::new("");
        desk.ping("-c 1 -W 5");
        thread::sleep(Duration::from_millis(1300));
        assert_eq!(desk.link.process().stdout().lines().count(), 1, "nobody has asked");
        desk.link.process().signal(Signal::USR1);
        desk.link.process().wait_for_stdout("one: 1 sent (84 bytes), 1 arrived (84 bytes)\n", LIMIT);
        desk.end();
    });
}

#[test]
fn a_device_that_vanishes_ends_it_with_a_sentence() {
    in_namespace(|| {
        let mut desk = Desk::new("--delay 5ms");
        desk.right.sh("ip link delete other");
        assert_eq!(desk.link.process().wait(LIMIT).code(), Some(1));
        let said = desk.link.process().stderr();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("the device other is gone") && said.contains("tunstack link /proc/"), "{said}");
    });
}

#[test]
fn a_link_that_carries_nothing_uses_no_processor_time() {
    in_namespace(|| {
        let desk = Desk::new("--delay 10s --rate 1mbit");
        // Packets under way are no reason to be awake.
        desk.ping("-c 2 -i 0.1 -W 0.2");
        let before = desk.link.cpu_ticks();
        thread::sleep(Duration::from_secs(2));
        let used = desk.link.cpu_ticks() - before;
        assert!(used <= 1, "{used} ticks of 10 ms in 2 s");
    });
}

#[test]
fn a_device_that_was_there_before_is_left_as_it_was() {
    in_namespace(|| {
        make_tun("mine", 1400);
        let before = sh("ip -o link show dev mine");
        let mut link = Daemon::start(tunstack("link").args(["mine", "made"]));
        let is_up = |device| sh(&format!("ip -o link show dev {device}")).contains(",UP,");
        assert!(is_up("made") && !is_up("mine"));
        assert_eq!(link.stop_with(Signal::TERM).code(), Some(0));
        assert_eq!(sh("ip -o link show dev mine"), before);
        assert!(!sh("ip -o link show").contains(": made:"));
    });
}

#[test]
fn a_namespace_may_have_a_name() {
    in_namespace(|| {
        // `ip netns` keeps names in /run, which is not ours to write to: this one is.
        let binary = env!("CARGO_BIN_EXE_tunstack");
        let script =
            format!("mount -t tmpfs tmpfs /run && ip netns add left && exec {binary} link left:one other");
        let mut link = Daemon::start(Command::new("unshare").args(["-m", "--", "sh", "-c", &script]));
        assert!(link.ready_line().starts_with("ready: left:one other seed "), "{}", link.ready_line());
        let there = format!("nsenter -t {} -m -- ip -n left -o link show dev one", link.process().id());
        assert!(sh(&there).contains(",UP,"), "the device was made there, and set up");
        assert!(!sh("ip -o link show").contains(": one:"));
        assert_eq!(link.stop_with(Signal::TERM).code(), Some(0));
    });
}

#[test]
fn what_cannot_be_linked_is_said_in_one_line_with_the_remedy() {
    in_namespace(|| {
        let dummy = run(Command::new("ip").args(["link", "add", "fake", "type", "dummy"]), LIMIT);
        let mut cases = vec![
            ("a a", 2, "can't be both ends"),
            ("no-such-netns:a b", 1, "`sudo ip netns add no-such-netns`"),
            ("a /proc/self/status:b", 1, "/proc/PID/ns/net"),
            ("a lo", 1, "lo exists and is not a TUN device"),
        ];
        if dummy.status.success() {
            cases.push(("fake b", 1, "fake exists and is not a TUN device"));
        }
        for (ends, status, remedy) in cases {
            let ended = run(tunstack("link").args(ends.split_whitespace()), LIMIT);
            assert_eq!(ended.status.code(), Some(status), "{ends}: {ended:?}");
            assert_eq!(ended.stderr.lines().count(), 1, "{ends}: {ended:?}");
            assert!(ended.stderr.contains(remedy), "{ends}: {ended:?}");
        }
    });
}
