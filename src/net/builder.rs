//! From wishes to a running stack.

use std::io;
use std::sync::Arc;

use ipnet::IpNet;

use super::Net;
use crate::device::host::{self, HostSide};
use crate::device::{Device, HostError, OpenError, Plain};
use crate::proto::ip::route::{RouteSpec, RouteTarget};
use crate::proto::{Config, Error, Secrets, Stack};
use crate::runtime::{self, Runner, Service, Shared};

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
#[must_use]
pub struct Builder {
    link: Link,
    addresses: Vec<IpNet>,
    host_addresses: Vec<IpNet>,
    routes: Vec<IpNet>,
    /// The first text that was to be an address and isn't.
    unreadable: Option<String>,
    ipv6_if_available: bool,
    mtu: Option<usize>,
    config: Config,
    secrets: Option<Secrets>,
    services: Vec<Box<dyn Service>>,
}

enum Link {
    NewTun,
    Tun(String),
    Device(Arc<dyn Device>),
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder {
            link: Link::NewTun,
            addresses: Vec::new(),
            host_addresses: Vec::new(),
            routes: Vec::new(),
            unreadable: None,
            ipv6_if_available: false,
            mtu: None,
            config: Config::default(),
            secrets: None,
            services: Vec::new(),
        }
    }

    /// Attaches to the TUN device `name`, making it if it doesn't exist.
    pub fn tun(mut self, name: impl Into<String>) -> Self {
        self.link = Link::Tun(name.into());
        self
    }

    /// Makes the next free `tunN`, and never attaches to a device that exists. This is the default.
    pub fn new_tun(mut self) -> Self {
        self.link = Link::NewTun;
        self
    }

    /// Uses a device of another kind, such as a [`MemoryDevice`](crate::device::MemoryDevice).
    pub fn device(mut self, device: impl Device + 'static) -> Self {
        self.link = Link::Device(Arc::new(device));
        self
    }

    /// Gives the stack an address (repeatable): `"10.9.0.2/24"`, or an [`IpNet`].
    pub fn addr(mut self, cidr: impl IntoCidr) -> Self {
        let cidr = self.read(cidr);
        self.addresses.extend(cidr);
        self
    }

    /// Gives the kernel's side of the TUN device an address (repeatable), and sets its link up. Without any,
    /// neither addresses nor link of the kernel's side are touched.
    pub fn host_addr(mut self, cidr: impl IntoCidr) -> Self {
        let cidr = self.read(cidr);
        self.host_addresses.extend(cidr);
        self
    }

    /// If the host has IPv6 switched off, leaves IPv6 host addresses out with a warning in the log instead of
    /// failing; [`Net::host_addresses`] tells which were set.
    pub fn ipv6_if_available(mut self) -> Self {
        self.ipv6_if_available = true;
        self
    }

    /// Routes a destination through the device (repeatable): `"0.0.0.0/0"` for all.
    pub fn route(mut self, destination: impl IntoCidr) -> Self {
        let cidr = self.read(destination);
        self.routes.extend(cidr);
        self
    }

    /// Sets the TUN device's MTU in bytes. By default it stays what it is (1,500 on a new device); later
    /// changes by others are followed in any case.
    pub fn mtu(mut self, mtu: usize) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Sets limits and defaults of the core.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Uses secrets drawn elsewhere. By default they come from the kernel.
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// Adds a service that runs inside the loop (repeatable).
    pub fn service(mut self, service: impl Service + 'static) -> Self {
        self.services.push(Box::new(service));
        self
    }

    /// Opens the device, configures the host's side and starts the loop on a thread of its own.
    ///
    /// # Errors
    /// See [`StartError`], which also turns into an [`io::Error`]. What was made is undone, except for what
    /// was set on a device that existed before.
    pub fn start(mut self) -> Result<Net, StartError> {
        if let Some(text) = self.unreadable {
            return Err(StartError::BadCidr { text });
        }
        if self.addresses.is_empty() {
            return Err(StartError::NoAddress);
        }
        let (device, host_addresses) = open(&self)?;
        let secrets = self.secrets.take().map_or_else(draw_secrets, Ok).map_err(StartError::Runtime)?;
        let mut stack = Stack::new(self.config, &secrets, runtime::now());
        let id = stack.add_interface(device.mtu());
        for &address in &self.addresses {
            let refuse = |error| StartError::AddressRefused { address, error };
            stack.add_address(id, address).map_err(refuse)?;
        }
        for &destination in &self.routes {
            let refuse = |error| StartError::RouteRefused { destination, error };
            stack.add_route(RouteSpec::new(destination, RouteTarget::Interface(id))).map_err(refuse)?;
        }
        stack.trace().set_level(runtime::trace_level());
        let shared = Arc::new(Shared::new(stack, id, Arc::clone(&device)).map_err(StartError::Runtime)?);
        for service in self.services {
            let name = service.name().to_owned();
            let refuse = |error| StartError::Service { name, error };
            shared.add_service(service).map_err(refuse)?;
        }
        let name = device.name().to_owned();
        let runner = Runner::new(Arc::clone(&shared), device).map_err(StartError::Runtime)?;
        let thread = runner.spawn().map_err(StartError::Runtime)?;
        Ok(Net::new(shared, thread, name, self.addresses, host_addresses))
    }

    fn read(&mut self, cidr: impl IntoCidr) -> Option<IpNet> {
        match cidr.into_cidr() {
            Ok(cidr) => Some(cidr),
            Err(text) => {
                self.unreadable.get_or_insert(text);
                None
            }
        }
    }
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

/// Why a stack could not be started: one line that says what is wrong and, where there is one, the command
/// that mends it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Not an address with a prefix length.
    #[error("{text:?} is not an address with a prefix length: write it like 10.9.0.2/24 or fd09::2/64")]
    BadCidr {
        /// What was given.
        text: String,
    },
    /// A stack without an address can't be reached.
    #[error("the stack has no address: give it one, such as 10.9.0.2/24")]
    NoAddress,
    /// The stack and the host can't both have an address.
    #[error("{address} can't be the address of both the stack and the host: give one of them another")]
    AddressShared {
        /// The address.
        address: IpNet,
    },
    /// The stack can't have this address.
    #[error("the stack can't have the address {address}: {error}")]
    AddressRefused {
        /// The address.
        address: IpNet,
        /// What the stack said.
        error: Error,
    },
    /// The stack can't have this route.
    #[error("the stack can't have a route to {destination}: {error}")]
    RouteRefused {
        /// The destination.
        destination: IpNet,
        /// What the stack said.
        error: Error,
    },
    /// A host address was given for a device that has no kernel side.
    #[error("{name} is not a TUN device: it has no host side to be given an address or MTU")]
    NoHostSide {
        /// The device.
        name: String,
    },
    /// The device can't be opened.
    #[error(transparent)]
    Device(#[from] OpenError),
    /// The kernel's side of the device can't be configured.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A service could not start.
    #[error("can't start {name}: {error}")]
    Service {
        /// The service's name.
        name: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The process lacks what every process has: file descriptors, threads, randomness.
    #[error("can't start the stack: {0}")]
    Runtime(#[source] io::Error),
}

impl From<StartError> for io::Error {
    /// An error whose text is the same one line.
    fn from(error: StartError) -> Self {
        let kind = match &error {
            StartError::BadCidr { .. }
            | StartError::NoAddress
            | StartError::AddressShared { .. }
            | StartError::AddressRefused { .. }
            | StartError::RouteRefused { .. }
            | StartError::NoHostSide { .. } => io::ErrorKind::InvalidInput,
            StartError::Device(_) | StartError::Host(_) => io::ErrorKind::Other,
            StartError::Service { error, .. } | StartError::Runtime(error) => error.kind(),
        };
        io::Error::new(kind, error)
    }
}

fn open(wanted: &Builder) -> Result<(Arc<dyn Device>, Vec<IpNet>), StartError> {
    let tun = match &wanted.link {
        Link::NewTun => Plain::create()?,
        Link::Tun(name) => Plain::open(name)?,
        Link::Device(device) if wanted.host_addresses.is_empty() && wanted.mtu.is_none() => {
            return Ok((Arc::clone(device), Vec::new()));
        }
        Link::Device(device) => return Err(StartError::NoHostSide { name: device.name().to_owned() }),
    };
    let is_shared = |address: &&IpNet| wanted.host_addresses.iter().any(|host| host.addr() == address.addr());
    if let Some(&address) = wanted.addresses.iter().find(is_shared) {
        return Err(StartError::AddressShared { address });
    }
    host::check_conflicts(tun.index(), &wanted.addresses, &wanted.host_addresses)?;
    let side = HostSide {
        name: tun.name(),
        index: tun.index(),
        addresses: &wanted.host_addresses,
        mtu: wanted.mtu,
        ipv6_if_available: wanted.ipv6_if_available,
    };
    let set = side.configure()?;
    // The MTU may have been set just now.
    tun.control();
    Ok((Arc::new(tun), set))
}

fn draw_secrets() -> io::Result<Secrets> {
    Ok(Secrets { isn: draw()?, ports: draw()?, tables: draw()?, rng: draw()? })
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
