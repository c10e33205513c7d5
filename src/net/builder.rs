//! From wishes to a running stack.

use std::io;
use std::sync::Arc;

use ipnet::IpNet;

use super::Net;
use super::driver::Driver;
use super::interface::Known;
use super::links::{self, Link, Source};
use super::route::{IntoRoute, RouteConfig};
use super::start_error::StartError;
use crate::device::{Device, OffloadMode};
use crate::proto::config::ReversePath;
use crate::proto::{Config, Secrets, Stack};
use crate::runtime::{self, BusyPoll, Runner, Service, Shared};

/// Says what a stack is to look like; made by [`Net::builder`].
///
/// ```no_run
/// use tunstack::net::{Net, TcpListener};
///
/// # fn main() -> std::io::Result<()> {
/// let net = Net::builder().tun("tun0").addr("10.9.0.2/24").host_addr("10.9.0.1/24").start()?;
/// let listener = TcpListener::bind(&net, "10.9.0.2:7")?;
/// # Ok(())
/// # }
/// ```
///
/// A stack may have several devices: the first call of [`tun`](Self::tun), [`new_tun`](Self::new_tun) or
/// [`device`](Self::device) names the first, each later one adds another, and [`addr`](Self::addr),
/// [`host_addr`](Self::host_addr), [`mtu`](Self::mtu) and [`offload`](Self::offload) belong to the device named last. A
/// router:
///
/// ```no_run
/// use tunstack::net::Net;
///
/// # fn main() -> std::io::Result<()> {
/// let router = Net::builder()
///     .tun("tun0")
///     .addr("10.1.0.1/24")
///     .tun("tun1")
///     .addr("10.2.0.1/24")
///     .forwarding(true)
///     .route("10.0.0.0/8,via=10.2.0.2")
///     .start()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Builder {
    /// One at least.
    links: Vec<Link>,
    /// Whether the first link was named.
    is_named: bool,
    routes: Vec<RouteConfig>,
    /// The first text that can't be read.
    unreadable: Option<StartError>,
    ipv6_if_available: bool,
    config: Config,
    forwarding: Option<bool>,
    reverse_path: Option<ReversePath>,
    secrets: Option<Secrets>,
    busy_poll: BusyPoll,
    services: Vec<Box<dyn Service>>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder {
            links: vec![Link::default()],
            is_named: false,
            routes: Vec::new(),
            unreadable: None,
            ipv6_if_available: false,
            config: Config::default(),
            forwarding: None,
            reverse_path: None,
            secrets: None,
            busy_poll: BusyPoll::Auto,
            services: Vec::new(),
        }
    }

    /// Attaches to the TUN device `name`, making it if it doesn't exist.
    pub fn tun(self, name: impl Into<String>) -> Self {
        self.link(Source::Tun(name.into()))
    }

    /// Makes the next free `tunN`, and never attaches to a device that exists. This is the default.
    pub fn new_tun(self) -> Self {
        self.link(Source::NewTun)
    }

    /// Uses a device of another kind, such as a [`MemoryDevice`](crate::device::MemoryDevice).
    pub fn device(self, device: impl Device + 'static) -> Self {
        self.link(Source::Device(Arc::new(device)))
    }

    fn link(mut self, source: Source) -> Self {
        if std::mem::replace(&mut self.is_named, true) {
            self.links.push(Link::default());
        }
        self.last().source = source;
        self
    }

    /// Gives the stack an address (repeatable): `"10.9.0.2/24"`, or an [`IpNet`].
    pub fn addr(mut self, cidr: impl IntoCidr) -> Self {
        let cidr = self.read(cidr);
        self.last().addresses.extend(cidr);
        self
    }

    /// Gives the kernel's side of the TUN device an address (repeatable), and sets its link up. Without any,
    /// neither addresses nor link of the kernel's side are touched.
    pub fn host_addr(mut self, cidr: impl IntoCidr) -> Self {
        let cidr = self.read(cidr);
        self.last().host_addresses.extend(cidr);
        self
    }

    /// If the host has IPv6 switched off, leaves IPv6 host addresses out with a warning in the log instead of
    /// failing; [`Net::host_addresses`] tells which were set.
    pub fn ipv6_if_available(mut self) -> Self {
        self.ipv6_if_available = true;
        self
    }

    /// Adds a route (repeatable): a [`RouteConfig`], or its text, such as `"0.0.0.0/0"` for all by the one device
    /// there is, or `"10.0.0.0/8,via=10.1.0.2,dev=tun0,metric=5"`.
    pub fn route(mut self, route: impl IntoRoute) -> Self {
        match route.into_route() {
            Ok(route) => self.routes.push(route),
            Err(error) => {
                self.unreadable.get_or_insert(StartError::BadRoute(error));
            }
        }
        self
    }

    /// Whether packets for others are sent on: whether the stack is a router. It isn't by default (RFC 1122
    /// section 3.3.1.1).
    pub fn forwarding(mut self, on: bool) -> Self {
        self.forwarding = Some(on);
        self
    }

    /// What is asked of the source address of packets for others (RFC 3704). Nothing by default.
    pub fn reverse_path(mut self, check: ReversePath) -> Self {
        self.reverse_path = Some(check);
        self
    }

    /// Sets the TUN device's MTU in bytes. By default it stays what it is (1,500 on a new device); later
    /// changes by others are followed in any case, also in another network namespace that the device has been moved to
    /// (which takes the right to enter it).
    pub fn mtu(mut self, mtu: usize) -> Self {
        self.last().mtu = Some(mtu);
        self
    }

    /// Whether the TUN device leaves checksums and segmentation to the kernel. By default it does if the kernel can.
    pub fn offload(mut self, mode: OffloadMode) -> Self {
        self.last().offload = Some(mode);
        self
    }

    /// Sets limits and defaults of the core. What [`forwarding`](Self::forwarding) and
    /// [`reverse_path`](Self::reverse_path) say counts for more, whichever is called first.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Uses secrets drawn elsewhere. By default they come from the kernel.
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// For how long the loop goes on looking at its devices before it sleeps, after a packet has come or a thread has rung for
    /// it: a [`Duration`](std::time::Duration), which may be zero, or by default [`BusyPoll::Auto`].
    ///
    /// A packet that comes meanwhile needs nobody to be woken, for which a processor is kept busy until then. Where the next packet
    /// mostly comes within this time (50 microseconds, say) and a processor is to spare, one request after the other has gone
    /// a third faster; on machines that wake slowly for less processor time each, which the default finds out, on others for a
    /// fifth more. Elsewhere it gains nothing. A stack that nobody talks to sleeps all the same, and one whose processor others need
    /// sleeps at once for a while.
    pub fn busy_poll(mut self, poll: impl Into<BusyPoll>) -> Self {
        self.busy_poll = poll.into();
        self
    }

    /// Adds a service that runs inside the loop (repeatable).
    pub fn service(mut self, service: impl Service + 'static) -> Self {
        self.services.push(Box::new(service));
        self
    }

    /// Opens the devices, configures the host's side and starts the loop on a thread of its own.
    ///
    /// # Errors
    /// See [`StartError`], which also turns into an [`io::Error`]. What was made is undone, except for what
    /// was set on a device that existed before.
    pub fn start(self) -> Result<Net, StartError> {
        let made = self.make()?;
        let thread = made.runner.spawn().map_err(StartError::Runtime)?;
        Ok(Net::new(made.shared, Some(thread), made.interfaces))
    }

    /// Does what [`start`](Self::start) does but for the loop, which runs where and when [`Driver::run`] is called.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn build(self) -> Result<(Net, Driver), StartError> {
        let made = self.make()?;
        Ok((Net::new(made.shared, None, made.interfaces), Driver::new(made.runner)))
    }

    fn make(mut self) -> Result<Made, StartError> {
        if let Some(unreadable) = self.unreadable.take() {
            return Err(unreadable);
        }
        if self.links.iter().all(|link| link.addresses.is_empty()) {
            return Err(StartError::NoAddress);
        }
        self.config.forwarding = self.forwarding.unwrap_or(self.config.forwarding);
        self.config.reverse_path = self.reverse_path.unwrap_or(self.config.reverse_path);
        let interfaces = links::open(&self.links, self.ipv6_if_available)?;
        let secrets = self.secrets.take().map_or_else(draw_secrets, Ok).map_err(StartError::Runtime)?;
        let mut stack = Stack::new(self.config, &secrets, runtime::now());
        for interface in &interfaces {
            interface.add_to(&mut stack)?;
        }
        let (devices, interfaces): (Vec<_>, Vec<_>) =
            interfaces.into_iter().map(|interface| (interface.device, interface.info)).unzip();
        for route in &self.routes {
            route.add_to(&mut stack, &interfaces).map_err(StartError::Route)?;
        }
        stack.trace().set_level(runtime::trace_level());
        let shared = Arc::new(Shared::new(stack, &devices).map_err(StartError::Runtime)?);
        for service in self.services {
            let name = service.name().to_owned();
            let refuse = |error| StartError::Service { name, error };
            shared.add_service(service).map_err(refuse)?;
        }
        let runner =
            Runner::new(Arc::clone(&shared), &devices, self.busy_poll).map_err(StartError::Runtime)?;
        // The loop alone holds the devices from now on.
        Ok(Made { shared, runner, interfaces })
    }

    fn last(&mut self) -> &mut Link {
        // There is one from the beginning.
        let last = self.links.len() - 1;
        &mut self.links[last]
    }

    fn read(&mut self, cidr: impl IntoCidr) -> Option<IpNet> {
        match cidr.into_cidr() {
            Ok(cidr) => Some(cidr),
            Err(text) => {
                self.unreadable.get_or_insert(StartError::BadCidr { text });
                None
            }
        }
    }
}

/// A stack whose loop doesn't run yet.
struct Made {
    shared: Arc<Shared>,
    runner: Runner,
    interfaces: Vec<Known>,
}

/// What can be read as an address with a prefix length.
pub trait IntoCidr {
    /// The address; or the text that isn't one, which [`Builder::start`] reports.
    fn into_cidr(self) -> Result<IpNet, String>;
}

impl IntoCidr for IpNet {
    fn into_cidr(self) -> Result<IpNet, String> {
        Ok(self)
    }
}

impl IntoCidr for &str {
    fn into_cidr(self) -> Result<IpNet, String> {
        self.parse().map_err(|_| self.to_owned())
    }
}

impl IntoCidr for String {
    fn into_cidr(self) -> Result<IpNet, String> {
        self.as_str().into_cidr()
    }
}

fn draw_secrets() -> io::Result<Secrets> {
    Ok(Secrets {
        isn: draw()?,
        ports: draw()?,
        tables: draw()?,
        flows: draw()?,
        cookies: draw()?,
        rng: draw()?,
    })
}

fn draw<const N: usize>() -> io::Result<[u8; N]> {
    let (mut bytes, mut drawn) = ([0; N], 0);
    while drawn < N {
        match rustix::rand::getrandom(&mut bytes[drawn..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => drawn += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::MemoryDevice;

    fn start(builder: Builder) -> StartError {
        let (device, _) = MemoryDevice::pair(1500).unwrap();
        builder.device(device).start().err().unwrap()
    }

    #[test]
    fn what_is_no_address_is_reported_with_its_text() {
        let error = start(Net::builder().addr("10.9.0.2/24").addr("10.9.0.256/24").addr("nonsense"));
        assert!(error.to_string().contains("10.9.0.256/24"), "{error}");
        assert!(matches!(start(Net::builder()), StartError::NoAddress));
    }

    #[test]
    fn a_device_without_a_kernel_side_takes_no_host_address() {
        let error = start(Net::builder().addr("10.9.0.2/24").host_addr("10.9.0.1/24"));
        assert!(matches!(error, StartError::NoHostSide { .. }), "{error}");
    }

    #[test]
    fn secrets_differ_from_each_other() {
        let (first, second) = (draw::<16>().unwrap(), draw::<16>().unwrap());
        assert_ne!(first, second);
        assert_ne!(first, [0; 16]);
    }
}
