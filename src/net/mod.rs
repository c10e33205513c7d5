//! A running stack, and sockets on it in the manner of [`std::net`].
//!
//! [`Net`] is a stack with a thread of its own (or on one that you choose: [`Driver`]); [`TcpListener`],
//! [`TcpStream`] and [`UdpSocket`] mirror `std::net` name by name, with `&net` first where `std` would use the kernel. Errors carry the
//! [`io::ErrorKind`] that `std` gives for the same event. Owns handles, time-outs and blocking; what the
//! sockets do is the core's.
//!
//! ```
//! use std::io::{Read, Write};
//! use tunstack::device::MemoryDevice;
//! use tunstack::net::{Net, TcpListener, TcpStream};
//!
//! # fn main() -> std::io::Result<()> {
//! // Two stacks in one process; on a real network, `.tun("tun0")` takes the place of the device.
//! let (left, right) = MemoryDevice::pair(1500)?;
//! let here = Net::builder().device(left).addr("10.9.0.1/24").start()?;
//! let there = Net::builder().device(right).addr("10.9.0.2/24").start()?;
//!
//! let listener = TcpListener::bind(&there, "10.9.0.2:7")?;
//! let echo = std::thread::spawn(move || -> std::io::Result<u64> {
//!     let (stream, _peer) = listener.accept()?;
//!     std::io::copy(&mut &stream, &mut &stream)
//! });
//!
//! let mut stream = TcpStream::connect(&here, "10.9.0.2:7")?;
//! stream.write_all(b"hello")?;
//! stream.shutdown(std::net::Shutdown::Write)?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer)?;
//! assert_eq!(answer, "hello");
//! assert_eq!(echo.join().unwrap()?, 5);
//! # Ok(())
//! # }
//! ```

mod bound;
mod builder;
mod driver;
mod interface;
mod links;
mod modes;
mod ping;
mod raw;
mod route;
mod start_error;
mod tcp;
mod udp;

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ipnet::IpNet;

pub use builder::{Builder, IntoCidr};
pub use driver::Driver;
pub use interface::InterfaceInfo;
pub use ping::PingSocket;
pub use raw::RawSocket;
pub use route::{IntoRoute, RouteConfig, RouteError, RouteKind, RouteSyntaxError};
pub use start_error::StartError;
pub use tcp::{Incoming, IntoIncoming, TcpListener, TcpStream};
pub use udp::UdpSocket;

pub use crate::device::OffloadMode;
pub use crate::proto::config::ReversePath;
pub use crate::proto::raw::{IcmpFilter, RawOptions};
pub use crate::proto::stack::TcpCensus;
pub use crate::proto::tcp::{KeepAlive, SocketOptions, TcpInfo};
pub use crate::proto::{BindOptions, ErrorCause, ErrorReport, MtuDiscover, Received, SendOptions};
pub use crate::runtime::{BusyPoll, ShutdownReport, Stopped};

use crate::proto::ip::route::RouteEntry;
use crate::proto::{Counters, DeviceId};
use crate::runtime::{Service, Shared};
use interface::Known;

/// How long dropping the last handle waits for what is queued to be sent and acknowledged.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// A running stack.
///
/// This is a handle: clones name the same stack, and so do the sockets opened on it. When the last of them is
/// dropped, the stack ends: what is queued still goes, for up to two seconds, and the rest is reset. To
/// choose the time and hear how it went, use [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct Net(Arc<Handle>);

impl Net {
    /// Begins to say what the stack is to look like.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// `thread` is the loop's, if it has one of its own.
    fn new(shared: Arc<Shared>, thread: Option<JoinHandle<()>>, interfaces: Vec<Known>) -> Self {
        let all = |of: fn(&Known) -> &Vec<IpNet>| interfaces.iter().flat_map(of).copied().collect();
        let (addresses, host_addresses) = (all(|known| &known.addresses), all(|known| &known.host_addresses));
        let thread = Mutex::new(thread);
        Net(Arc::new(Handle { shared, thread, interfaces, addresses, host_addresses }))
    }

    /// The first device's name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The first device's MTU now, in bytes; 0 if it is gone or the stack has stopped.
    pub fn mtu(&self) -> usize {
        self.shared().mtu(DeviceId(0))
    }

    /// The stack's addresses, on all devices.
    pub fn addresses(&self) -> &[IpNet] {
        &self.0.addresses
    }

    /// The addresses that were given to the kernel's side of the devices.
    pub fn host_addresses(&self) -> &[IpNet] {
        &self.0.host_addresses
    }

    /// The stack's devices, in the order in which they were named.
    pub fn interfaces(&self) -> Vec<InterfaceInfo> {
        let shared = self.shared();
        let look = |known: &Known| InterfaceInfo {
            name: known.name.clone(),
            id: known.id,
            mtu: shared.mtu(known.id),
            addresses: known.addresses.clone(),
            host_addresses: known.host_addresses.clone(),
            lost: shared.device_lost(known.id),
        };
        self.0.interfaces.iter().map(look).collect()
    }

    /// Adds a route.
    ///
    /// # Errors
    /// `InvalidInput` with a [`RouteSyntaxError`] or [`RouteError`] inside; `NetworkDown` if the stack is ending.
    pub fn add_route(&self, route: impl IntoRoute) -> io::Result<()> {
        let route = route.into_route().map_err(invalid)?;
        self.shared()
            .open(|shard, _| Ok(route.add_to(&mut shard.stack, &self.0.interfaces)))?
            .map_err(invalid)
    }

    /// Takes a route out again: the one with this destination, metric and way.
    ///
    /// # Errors
    /// As [`add_route`](Self::add_route); `NotFound` if there is none.
    pub fn remove_route(&self, route: impl IntoRoute) -> io::Result<()> {
        let route = route.into_route().map_err(invalid)?;
        let spec = route.spec(&self.0.interfaces).map_err(invalid)?;
        self.shared().open(|shard, _| shard.stack.remove_route(&spec))
    }

    /// All routes, IPv4's first: those that were given, and the networks of the addresses.
    pub fn routes(&self) -> Vec<RouteConfig> {
        let route = |entry: RouteEntry| RouteConfig::of(&entry.route, &self.0.interfaces);
        self.shared().look(|shard| shard.stack.routes().map(route).collect())
    }

    /// What the stack has counted so far.
    pub fn counters(&self) -> Counters {
        self.shared().look(|shard| shard.stack.counters().clone())
    }

    /// How many TCP objects exist now.
    pub fn tcp_census(&self) -> TcpCensus {
        self.shared().look(|shard| shard.stack.tcp_census())
    }

    /// How many UDP sockets are open now.
    pub fn udp_sockets(&self) -> usize {
        self.shared().look(|shard| shard.stack.udp_sockets())
    }

    /// Datagrams that the devices lost on their own account, such as those sent while a link was down.
    pub fn device_lost(&self) -> u64 {
        self.0.interfaces.iter().map(|known| self.shared().device_lost(known.id)).sum()
    }

    /// Adds a service that runs inside the loop.
    ///
    /// # Errors
    /// What the service's [`start`](Service::start) says; `NetworkDown` if the stack is ending.
    pub fn add_service(&self, service: impl Service + 'static) -> io::Result<()> {
        self.shared().add_service(Box::new(service))
    }

    /// Ends the stack: closes listeners, lets connections finish what is queued for up to `timeout`, and resets
    /// those that are left. Blocked calls on its sockets return; what was received can still be read.
    ///
    /// A second call, from whichever handle, waits for the same end and can only bring it nearer. If the stack
    /// had stopped for another reason, the report is empty; [`stopped`](Self::stopped) tells the reason.
    pub fn shutdown(&self, timeout: Duration) -> ShutdownReport {
        self.0.shut_down(timeout)
    }

    /// Why the stack stopped, if it has.
    pub fn stopped(&self) -> Option<Stopped> {
        self.shared().look(|shard| shard.stopped().cloned())
    }

    /// Blocks until the stack stops, and says why.
    pub fn wait_stopped(&self) -> Stopped {
        self.shared().wait_stopped()
    }

    fn shared(&self) -> &Shared {
        &self.0.shared
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net")
            .field("name", &self.name())
            .field("addresses", &self.0.addresses)
            .finish_non_exhaustive()
    }
}

/// What all handles share. The loop itself has none (unless what it watches has), so that the last one dropped ends it.
struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    interfaces: Vec<Known>,
    /// Of all interfaces.
    addresses: Vec<IpNet>,
    host_addresses: Vec<IpNet>,
}

impl Handle {
    fn name(&self) -> &str {
        self.interfaces.first().map_or("", |known| &known.name)
    }

    fn shut_down(&self, timeout: Duration) -> ShutdownReport {
        let stopped = self.shared.shut_down(timeout);
        self.join();
        match stopped {
            Stopped::Shutdown(report) => report,
            Stopped::DeviceGone { .. } | Stopped::Failed { .. } => ShutdownReport::default(),
        }
    }

    /// Waits until the loop's thread is over, if it has one of its own.
    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A service may hold the last handle; the loop can't wait for itself.
        if let Some(thread) = thread.filter(|_| !self.shared.is_loop()) {
            // A panic of the loop was caught and told through `stopped`.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.abandon(DROP_TIMEOUT);
        self.join();
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// Tries each address in turn, as `std` does: the first success, or the last failure.
fn each_address<T>(
    addresses: impl ToSocketAddrs,
    mut attempt: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for address in addresses.to_socket_addrs()? {
        match attempt(address) {
            Ok(done) => return Ok(done),
            Err(error) => last = Some(error),
        }
    }
    Err(last
        .unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any addresses")))
}
