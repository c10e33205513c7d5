//! The library under test: a stack in this process, the kernel on the other side of `tun0`.

use std::net::{IpAddr, TcpListener as KernelListener, TcpStream as KernelStream};
use std::time::Duration;

use tunstack::net::{Net, TcpListener, TcpStream};
use tunstack::proto::Config;

/// How long any single read of a test may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stack at 10.9.0.2 and fd09::2, the kernel at 10.9.0.1 and fd09::1.
pub(crate) fn net(config: Config) -> Net {
    Net::builder()
        .tun("tun0")
        .addr("10.9.0.2/24")
        .addr("fd09::2/64")
        .host_addr("10.9.0.1/24")
        .host_addr("fd09::1/64")
        .config(config)
        .start()
        .expect("the stack starts")
}

/// A configuration whose TIME-WAIT is over in a tenth of a second.
pub(crate) fn short_time_wait() -> Config {
    Config { msl: Duration::from_millis(50), ..Config::default() }
}

/// Who opens a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opener {
    /// The kernel connects, the stack accepts.
    Kernel,
    /// The stack connects, the kernel accepts.
    Stack,
}

/// An established connection between the two over IPv4, whoever opened it.
pub(crate) fn pair(net: &Net, opener: Opener) -> (TcpStream, KernelStream) {
    match opener {
        Opener::Kernel => pair_over(net, opener, "10.9.0.2"),
        Opener::Stack => pair_over(net, opener, "10.9.0.1"),
    }
}

/// An established connection between the two, whoever opened it; the address is that of the other.
pub(crate) fn pair_over(net: &Net, opener: Opener, ip: &str) -> (TcpStream, KernelStream) {
    let ip: IpAddr = ip.parse().expect("an address");
    let (ours, theirs) = match opener {
        Opener::Kernel => {
            let listener = TcpListener::bind(net, (ip, 0)).expect("a port is free");
            let address = listener.local_addr().expect("a listener has an address");
            let theirs = KernelStream::connect_timeout(&address, PATIENCE).expect("the stack accepts");
            (listener.accept().expect("one has connected").0, theirs)
        }
        Opener::Stack => {
            let listener = KernelListener::bind((ip, 0)).expect("a port is free");
            let address = listener.local_addr().expect("a listener has an address");
            let ours = TcpStream::connect(net, address).expect("the kernel accepts");
            (ours, listener.accept().expect("one has connected").0)
        }
    };
    ours.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
    theirs.set_read_timeout(Some(PATIENCE)).expect("the timeout is not zero");
    (ours, theirs)
}

/// Waits until every connection, TIME-WAIT entry, timer and page is gone.
pub(crate) fn all_gone(net: &Net, limit: Duration) {
    super::eventually("every socket, timer and page is given back", limit, || {
        let census = net.tcp_census();
        (census.sockets, census.half_open, census.time_wait, census.timers, census.pages) == (0, 0, 0, 0, 0)
    });
}
