//! Packets that no honest host sends, of every kind that `python/malformed.py` names: each is counted under a reason
//! that fits, and nobody else notices.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener as KernelListener, TcpStream as KernelStream};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tunstack::net::{Net, TcpListener, TcpStream, UdpSocket};
use tunstack::proto::{Config, DropReason};

use crate::harness::{Router, Sides, in_namespace_for, net, python, receive, send, sh};

const LIMIT: Duration = Duration::from_secs(150);

/// Packets of each kind for which the counters are compared one by one.
const OF_EACH_KIND: u64 = 100;

/// Packets of all kinds while a transfer goes on.
const OF_ALL_KINDS: u64 = 100_000;

/// What the stack may need for whatever peers send in parts or half-open, in KiB: its own limits are a fraction of it.
const GROWTH_MAX_KIB: u64 = 64 << 10;

/// `malformed.py`, sending by `tun0`.
struct Nuisance {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The kinds it knows, each with what may become of its packets.
    kinds: BTreeMap<String, Vec<String>>,
}

impl Nuisance {
    /// Starts it: it is to send by `device` of the namespace of process `pid` (or "self") to `targets`, one address of each
    /// family, and to ask the stack at `stack` whether it has seen everything.
    fn start(pid: &str, device: &str, targets: [&str; 2], stack: &str) -> Nuisance {
        let mut command = python("malformed.py");
        command.args([pid, device, targets[0], targets[1], stack]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python can be started");
        let input = child.stdin.take().expect("it is a pipe");
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut nuisance = Nuisance { child, input, output, kinds: BTreeMap::new() };
        loop {
            let line = nuisance.line();
            let mut words = line.split_whitespace().map(str::to_owned);
            let name = words.next().expect("a line has words");
            if name == "ready" {
                return nuisance;
            }
            nuisance.kinds.insert(name, words.collect());
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.output.read_line(&mut line).expect("its output is text");
        assert!(read > 0, "malformed.py has ended: {:?}", self.child.wait());
        line
    }

    /// Sends so many packets of a kind, and waits until the stack has seen them; returns how many honest pings it has
    /// sent beside them.
    fn send(&mut self, kind: &str, count: u64, seed: u64) -> u64 {
        writeln!(self.input, "{kind} {count} {seed}").expect("it reads");
        let line = self.line();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..2], ["sent", &count.to_string()], "{kind}: {line}");
        words[3].parse().expect("a number of pings")
    }
}

impl Drop for Nuisance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stack behind `tun0`, on which the kernel says nothing of its own accord: every packet counts.
fn quiet_net() -> Net {
    sh("ip tuntap add dev tun0 mode tun");
    sh("ip link set tun0 multicast off");
    sh("sysctl -qw net.ipv6.conf.tun0.addr_gen_mode=1");
    net(Config::default())
}

/// Keeps the doors open that the packets knock at: port 7 for both transports.
fn open_doors(net: &Net) -> (UdpSocket, TcpListener) {
    let udp = UdpSocket::bind(net, "0.0.0.0:7").expect("the port is free");
    (udp, TcpListener::bind(net, "0.0.0.0:7").expect("the port is free"))
}

/// What has become of packets so far, by name.
fn fates(net: &Net) -> BTreeMap<&'static str, u64> {
    let counters = net.counters();
    let dropped = DropReason::ALL.iter().map(|&reason| (reason.as_str(), counters.dropped(reason)));
    dropped
        .chain([("delivered", counters.packets_delivered), ("forwarded", counters.packets_forwarded)])
        .collect()
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a process has a status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has a size");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("in KiB")
}

#[test]
fn malformed_packets_of_every_kind_are_counted_under_a_reason_that_fits() {
    in_namespace_for(LIMIT, || {
        let net = quiet_net();
        let doors = open_doors(&net);
        let mut nuisance = Nuisance::start("self", "tun0", ["10.9.0.2", "fd09::2"], "10.9.0.2");
        assert!(nuisance.kinds.len() > 90, "only {} kinds", nuisance.kinds.len());
        let mut wrong = String::new();
        for (kind, reasons) in nuisance.kinds.clone() {
            let (before, received) = (fates(&net), net.counters().packets_in);
            let pings = nuisance.send(&kind, OF_EACH_KIND, 1);
            let (after, received) = (fates(&net), net.counters().packets_in - received);
            let mut became: BTreeMap<_, _> =
                after.iter().map(|(fate, count)| (*fate, count - before[fate])).collect();
            // The pings were delivered.
            became.entry("delivered").and_modify(|count| *count -= pings);
            became.retain(|_, count| *count > 0);
            let all: u64 = became.values().sum();
            let fits = |fate: &&str| reasons.iter().any(|reason| reason == fate || reason == "any");
            if received != OF_EACH_KIND + pings || all != OF_EACH_KIND || !became.keys().all(fits) {
                wrong += &format!("{kind}: {received} received, {became:?}, expected {reasons:?}\n");
            }
            drain(&doors.0);
        }
        assert!(wrong.is_empty(), "\n{wrong}");
    });
}

/// Takes away what has come, so that no queue fills.
fn drain(socket: &UdpSocket) {
    socket.set_nonblocking(true).expect("it can be");
    while socket.recv_from(&mut [0; 2048]).is_ok() {}
}

/// Moves data both ways over a new connection between the kernel and the stack; returns how long it took.
fn transfer(net: &Net) -> Duration {
    const SIZE: usize = 16 << 20;
    let listener = KernelListener::bind("10.9.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    let started = Instant::now();
    let ours = TcpStream::connect(net, address).expect("the kernel accepts");
    let (theirs, _): (KernelStream, _) = listener.accept().expect("one has connected");
    ours.set_read_timeout(Some(Duration::from_secs(10))).expect("the time is not zero");
    theirs.set_read_timeout(Some(Duration::from_secs(10))).expect("the time is not zero");
    thread::scope(|scope| {
        let up = scope.spawn(|| {
            let hash = send(&theirs, SIZE, 5);
            theirs.shutdown(Shutdown::Write).expect("the connection stands");
            hash
        });
        let down = scope.spawn(|| {
            let hash = send(&ours, SIZE, 6);
            ours.shutdown(Shutdown::Write).expect("the connection stands");
            hash
        });
        let at_kernel = scope.spawn(|| receive(&theirs));
        assert_eq!(receive(&ours), (SIZE, up.join().expect("the sender ends")));
        let at_kernel = at_kernel.join().expect("the receiver ends");
        assert_eq!(at_kernel, (SIZE, down.join().expect("the sender ends")));
    });
    started.elapsed()
}

#[test]
fn a_hundred_thousand_malformed_packets_disturb_no_transfer_and_cost_no_memory() {
    in_namespace_for(LIMIT, || {
        let net = quiet_net();
        let _doors = open_doors(&net);
        let mut nuisance = Nuisance::start("self", "tun0", ["10.9.0.2", "fd09::2"], "10.9.0.2");
        let quiet = transfer(&net).max(transfer(&net));
        let before = resident_kib();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                nuisance.send("all", OF_ALL_KINDS, 2);
                done.store(true, Ordering::Release);
            });
            let mut rounds = 0;
            while rounds == 0 || !done.load(Ordering::Acquire) {
                let noisy = transfer(&net);
                // The machine's two processors now also make and judge packets; a connection that waited for a
                // retransmission time-out again and again would take far longer.
                assert!(noisy < quiet * 8 + Duration::from_secs(2), "{noisy:?}, and {quiet:?} without noise");
                rounds += 1;
                // Who makes the packets needs a processor, too.
                thread::sleep(Duration::from_millis(100));
            }
        });
        let grown = resident_kib().saturating_sub(before);
        assert!(grown < GROWTH_MAX_KIB, "the process has grown by {grown} KiB");
        let counters = net.counters();
        assert!(counters.packets_in > OF_ALL_KINDS);
        assert_eq!(
            counters.packets_in,
            counters.packets_delivered + counters.packets_forwarded + counters.dropped_total(),
            "every packet is counted once"
        );
        transfer(&net);
    });
}

#[test]
fn malformed_packets_for_others_are_counted_once_and_leave_the_router_at_work() {
    in_namespace_for(LIMIT, || {
        let sides = Sides::new(&Router::Library(|builder| builder), 1500, 1500);
        let net = sides.net.as_ref().expect("it is one of this process");
        let left = sides.left.id().to_string();
        let mut nuisance = Nuisance::start(&left, "left", ["10.2.0.2", "fd02::2"], "10.1.0.1");
        let before = resident_kib();
        nuisance.send("all", OF_ALL_KINDS / 5, 3);
        let counters = net.counters();
        assert_eq!(
            counters.packets_in,
            counters.packets_delivered + counters.packets_forwarded + counters.dropped_total(),
            "every packet is counted once"
        );
        assert!(counters.packets_forwarded > 1000, "some are good enough to go on: {counters:?}");
        assert!(counters.dropped_total() > 1000, "and others are not: {counters:?}");
        let grown = resident_kib().saturating_sub(before);
        assert!(grown < GROWTH_MAX_KIB, "the process has grown by {grown} KiB");
        for address in ["10.2.0.2", "fd02::2"] {
            let ended = sides.left.run(&format!("ping -n -c 1 -W 5 -s 4000 {address}"), LIMIT);
            assert!(ended.stdout.contains("1 received"), "{ended:?}");
        }
    });
}
