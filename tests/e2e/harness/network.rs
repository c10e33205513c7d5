//! Kernel hosts in network namespaces of their own, and the cables between them.
//!
//! A TUN device may be moved to another namespace while a daemon holds it: the daemon then has a neighbour that
//! is a host of its own, with its own addresses and routes, and no way to it but through the daemon.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tun_tap::{Iface, Mode};
use tunstack::net::{Builder, Net};

use super::daemon::{Daemon, tunstack};
use super::process::{Ended, Process, eventually, run, sh};

/// How long setting something up in a namespace may take.
const SETUP: Duration = Duration::from_secs(10);

/// A network namespace beside the test's own, with `lo` up.
pub(crate) struct Host {
    holder: Process,
}

impl Host {
    /// A kernel that has no device yet but `lo`.
    pub(crate) fn new() -> Host {
        // The namespace lives as long as a process in it; `cat` ends with the pipe to its standard input.
        let arguments = ["-n", "--", "sh", "-c", "ip link set lo up && echo up && exec cat"];
        let mut holder = Process::start(Command::new("unshare").args(arguments));
        holder.wait_for_stdout("up\n", SETUP);
        Host { holder }
    }

    /// A kernel that forwards what is not its own, as far as its defaults let it.
    pub(crate) fn router() -> Host {
        let router = Host::new();
        router.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        router
    }

    /// The process that stands for the namespace.
    pub(crate) fn id(&self) -> u32 {
        self.holder.id()
    }

    /// A program to be run in the namespace.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.id().to_string(), "-n", "--", program]);
        command
    }

    /// Runs a command line in the namespace, words parted by blanks, and returns what came of it.
    pub(crate) fn run(&self, line: &str, limit: Duration) -> Ended {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a command line has a program");
        run(self.command(program).args(words), limit)
    }

    /// Runs a command line in the namespace that has to succeed; returns its standard output.
    pub(crate) fn sh(&self, line: &str) -> String {
        sh(&format!("nsenter -t {} -n -- {line}", self.id()))
    }

    /// Moves a device out of the test's namespace into this one, sets it up and gives it addresses.
    pub(crate) fn adopt(&self, device: &str, mtu: u32, addresses: &[&str]) {
        sh(&format!("ip link set {device} netns {}", self.id()));
        self.sh(&format!("ip link set {device} mtu {mtu} txqueuelen 1000 up"));
        for address in addresses {
            let family = if address.contains(':') { "-6 addr add nodad" } else { "-4 addr add" };
            self.sh(&format!("ip {family} {address} dev {device}"));
        }
        for address in addresses {
            let address = address.split('/').next().unwrap_or_default();
            // The kernel finishes an IPv6 address some time after it was added.
            eventually("the kernel has the address for its own", SETUP, || {
                self.run(&format!("ip route get {address}"), SETUP).stdout.contains("local")
            });
        }
    }

    /// Runs `work` on a thread in the namespace: the sockets it opens are of this host.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.id())).expect("the namespace lives");
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("the namespace is ours");
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Makes a TUN device that waits for a daemon to attach, in the test's namespace.
pub(crate) fn make_tun(name: &str, mtu: u32) {
    sh(&format!("ip tuntap add dev {name} mode tun"));
    sh(&format!("ip link set {name} mtu {mtu}"));
}

/// Joins two kernels by a pair of TUN devices, each fed with what the other is given. The devices appear in the
/// test's namespace, for [`Host::adopt`] to take.
pub(crate) fn cable(one: &str, other: &str) {
    let end = |name| Arc::new(Iface::without_packet_info(name, Mode::Tun).expect("a TUN device can be made"));
    let (one, other) = (end(one), end(other));
    for (from, to) in [(Arc::clone(&one), Arc::clone(&other)), (other, one)] {
        // Ends with the process.
        thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            loop {
                match from.recv(&mut buffer) {
                    // A link that is down loses what it is given.
                    Ok(len) => drop(to.send(&buffer[..len])),
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            }
        });
    }
}

/// What stands between two hosts.
#[derive(Clone, Debug)]
pub(crate) enum Router {
    /// The kernel of a third namespace.
    Kernel,
    /// `tunstack up`, with these arguments besides the devices, their addresses and `--forward`.
    Daemon(&'static str),
    /// A stack in the test's own process, with what is wanted besides the same.
    Library(fn(Builder) -> Builder),
}

/// Two kernel hosts with a router between them: `left`, 10.1.0.2 and fd01::2, and `right`, 10.2.0.2 and fd02::2,
/// each on a device of its own name. The router is 10.1.0.1 and fd01::1, 10.2.0.1 and fd02::1.
pub(crate) struct Sides {
    pub(crate) left: Host,
    pub(crate) right: Host,
    /// The kernel between them, if it is one.
    pub(crate) kernel: Option<Host>,
    /// The daemon between them, if it is one.
    pub(crate) daemon: Option<Daemon>,
    /// The stack between them, if it is one of this process.
    pub(crate) net: Option<Net>,
}

impl Sides {
    /// Puts `router` between two new hosts; the links' MTUs are given.
    pub(crate) fn new(router: &Router, left_mtu: u32, right_mtu: u32) -> Sides {
        let (left, right) = (Host::new(), Host::new());
        let (mut kernel, mut daemon, mut net) = (None, None, None);
        match router {
            Router::Kernel => {
                let router = Host::router();
                cable("left", "r-left");
                cable("right", "r-right");
                router.adopt("r-left", left_mtu, &["10.1.0.1/24", "fd01::1/64"]);
                router.adopt("r-right", right_mtu, &["10.2.0.1/24", "fd02::1/64"]);
                kernel = Some(router);
            }
            Router::Daemon(arguments) => {
                let mut command = tunstack("up");
                make_tun("left", left_mtu);
                make_tun("right", right_mtu);
                let devices = "--tun left --addr 10.1.0.1/24 --addr fd01::1/64 --host-addr none \
                               --tun right --addr 10.2.0.1/24 --addr fd02::1/64 --host-addr none --forward";
                command.args(devices.split_whitespace()).args(arguments.split_whitespace());
                daemon = Some(Daemon::start(&mut command));
            }
            Router::Library(wishes) => {
                let builder = Net::builder()
                    .tun("left")
                    .addr("10.1.0.1/24")
                    .addr("fd01::1/64")
                    .mtu(left_mtu as usize)
                    .tun("right")
                    .addr("10.2.0.1/24")
                    .addr("fd02::1/64")
                    .mtu(right_mtu as usize)
                    .forwarding(true);
                net = Some(wishes(builder).start().expect("the stack starts"));
            }
        }
        left.adopt("left", left_mtu, &["10.1.0.2/24", "fd01::2/64"]);
        right.adopt("right", right_mtu, &["10.2.0.2/24", "fd02::2/64"]);
        for (host, via) in [(&left, 1), (&right, 2)] {
            host.sh(&format!("ip route add default via 10.{via}.0.1"));
            host.sh(&format!("ip -6 route add default via fd0{via}::1"));
        }
        Sides { left, right, kernel, daemon, net }
    }
}
