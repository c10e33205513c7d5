//! Loss recovery on real devices: the kernel and our stack at the two ends of a bad path, in both directions.
//!
//! ```text
//! the kernel of a host, 10.0.0.1 on near -- tunstack link -- far, our namespace's kernel routes, tun0 -- 10.9.0.2
//! ```
//! A small version of `scripts/recovery`, which also compares with the kernel and looks for what is sent again without need:
//! here, everything arrives and there is no long time in which nothing does.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream as KernelStream};
use std::thread;
use std::time::{Duration, Instant};

use tunstack::net::{Net, TcpListener, TcpStream};

use crate::harness::{Daemon, Host, in_namespace_for, receive, send, sh, tunstack};

/// For a whole test: what takes so long has failed.
const LIMIT: Duration = Duration::from_secs(120);

/// How long a read or a write may wait before the test is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What no recovery takes that does its work: a time-out and its double are through within that, at these round trips and on
/// a machine that has other things to do.
const STALL: Duration = Duration::from_secs(3);

/// A black hole is found by time-outs: four of them at the kernel.
const STALL_IN_BLACK_HOLE: Duration = Duration::from_secs(10);

/// Who sends.
#[derive(Clone, Copy, Debug)]
enum Way {
    FromStack,
    FromKernel,
}

const BOTH: [Way; 2] = [Way::FromStack, Way::FromKernel];

/// A kernel at one end of a path, our stack at the other.
struct Desk {
    host: Host,
    net: Net,
    _link: Daemon,
}

impl Desk {
    fn new(faults: &str) -> Desk {
        let host = Host::new();
        // Nothing but the transfer is to meet faults. Probing is what a kernel has against black holes, if it is told.
        host.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 net.ipv4.tcp_mtu_probing=1");
        sh("sysctl -qw net.ipv4.ip_forward=1");
        let mut command = tunstack("link");
        command.args([&format!("/proc/{}/ns/net:near", host.id()), "far", "--seed", "7"]);
        let link = Daemon::start(command.args(faults.split_whitespace()));
        host.sh("ip addr add 10.0.0.1/24 dev near");
        host.sh("ip route add 10.9.0.0/24 via 10.0.0.2");
        sh("ip addr add 10.0.0.2/24 dev far");
        let net = Net::builder()
            .tun("tun0")
            .addr("10.9.0.2/24")
            .host_addr("10.9.0.1/24")
            .route("0.0.0.0/0")
            .start()
            .expect("the stack starts");
        // No queue but that of the path is to overflow.
        host.sh("ip link set near txqueuelen 10000");
        sh("ip link set far txqueuelen 10000");
        sh("ip link set tun0 txqueuelen 10000");
        Desk { host, net, _link: link }
    }

    /// Sends so many bytes over a new connection; the longest time in which the reader got none.
    fn carry(&self, way: Way, size: usize) -> Duration {
        let address: SocketAddr = "10.9.0.2:7777".parse().expect("an address");
        let listener = TcpListener::bind(&self.net, address).expect("the port is free");
        let connect = || KernelStream::connect_timeout(&address, LIMIT).expect("the stack accepts");
        let theirs = self.host.within(connect);
        let ours = listener.accept().expect("one has connected").0;
        for timeout in [KernelStream::set_read_timeout, KernelStream::set_write_timeout] {
            timeout(&theirs, Some(PATIENCE)).expect("the timeout is not zero");
        }
        for timeout in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            timeout(&ours, Some(PATIENCE)).expect("the timeout is not zero");
        }
        thread::scope(|scope| {
            let (sent, received, stall) = match way {
                Way::FromStack => {
                    let sent = scope.spawn(move || send(ours, size, 1));
                    let mut reader = Timed::new(theirs);
                    (sent, receive(&mut reader), reader.longest)
                }
                Way::FromKernel => {
                    let sent = scope.spawn(move || send(theirs, size, 2));
                    let mut reader = Timed::new(ours);
                    (sent, receive(&mut reader), reader.longest)
                }
            };
            assert_eq!(received, (size, sent.join().expect("the sender ends")), "{way:?}");
            stall
        })
    }
}

/// A reader that knows how long it has waited at the most.
struct Timed<R> {
    inner: R,
    longest: Duration,
}

impl<R> Timed<R> {
    fn new(inner: R) -> Timed<R> {
        Timed { inner, longest: Duration::ZERO }
    }
}

impl<R: Read> Read for Timed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let read = self.inner.read(buffer);
        self.longest = self.longest.max(begun.elapsed());
        read
    }
}

/// Carries so many bytes in these ways, each over a path of its own, without a stall.
fn is_carried(faults: &str, ways: &[Way], size: usize, limit: Duration) {
    for way in ways {
        let stall = Desk::new(faults).carry(*way, size);
        assert!(stall < limit, "{way:?} over {faults}: nothing came for {stall:?}");
    }
}

#[test]
fn where_one_packet_in_a_thousand_is_overtaken_all_arrives_without_a_stall() {
    let faults = "--delay 33ms --rate 100mbit --reorder 0.1%";
    in_namespace_for(LIMIT, || is_carried(faults, &BOTH, 4 << 20, STALL));
}

#[test]
fn where_three_packets_in_a_hundred_are_overtaken_all_arrives_without_a_stall() {
    let faults = "--delay 33ms --rate 100mbit --reorder 3%";
    in_namespace_for(LIMIT, || is_carried(faults, &BOTH, 1 << 20, STALL));
}

#[test]
fn where_one_packet_in_a_hundred_is_lost_all_arrives_without_a_stall() {
    let faults = "--delay 33ms --rate 50mbit --loss 1%";
    in_namespace_for(LIMIT, || is_carried(faults, &BOTH, 1 << 20, STALL));
}

#[test]
fn where_packets_are_lost_in_bursts_all_arrives_without_a_stall() {
    let faults = "--delay 15ms --rate 20mbit --loss 1%,burst=4";
    in_namespace_for(LIMIT, || is_carried(faults, &BOTH, 2 << 20, STALL));
}

#[test]
fn where_one_acknowledgement_in_ten_is_lost_all_arrives_without_a_stall() {
    in_namespace_for(LIMIT, || {
        // The path's first end is the kernel's.
        for (way, loss) in [(Way::FromStack, "10%/0"), (Way::FromKernel, "0/10%")] {
            is_carried(&format!("--delay 33ms --rate 50mbit --loss {loss}"), &[way], 4 << 20, STALL);
        }
    });
}

#[test]
fn a_kernel_that_finds_a_black_hole_is_followed() {
    let faults = "--delay 15ms --rate 20mbit --mtu-blackhole 1400";
    in_namespace_for(LIMIT, || is_carried(faults, &[Way::FromKernel], 1 << 20, STALL_IN_BLACK_HOLE));
}

#[test]
fn a_black_hole_for_large_packets_is_found_and_all_arrives() {
    let faults = "--delay 15ms --rate 20mbit --mtu-blackhole 1400";
    in_namespace_for(LIMIT, || is_carried(faults, &[Way::FromStack], 1 << 20, STALL_IN_BLACK_HOLE));
}
