use crate::proto::{Config, Secrets};
use super::{Net};
use crate::runtime::Service;
use crate::device::{Device, OpenError};

/// Says what a stack is to look like; made by [`Net::builder`].
pub struct Builder {}

impl Builder {
    /// Attaches to the TUN device `name`, making it if it doesn't exist.
    pub fn tun(self, name: impl Into<String>) -> Self { todo!() }
    /// Makes the next free `tunN`, and never attaches to a device that exists. The default.
    pub fn new_tun(self) -> Self { todo!() }
    /// Uses a device of another kind, such as [`memory`](crate::device::memory).
    pub fn device(self, device: impl Device + 'static) -> Self { todo!() }
    /// Gives the stack an address (repeatable): `"10.9.0.2/24"`, or an [`IpNet`](ipnet::IpNet).
    pub fn addr(self, cidr: impl IntoCidr) -> Self { todo!() }
    /// Gives the kernel's side of the TUN device an address (repeatable), sets the link up and its MTU. Without this,
    /// neither address, MTU nor link of the kernel's side are touched.
    pub fn host_addr(self, cidr: impl IntoCidr) -> Self { todo!() }
    /// If the host has IPv6 switched off, leaves IPv6 host addresses out with a warning in the log instead of failing;
    /// [`Net::host_addresses`] tells.
    pub fn ipv6_if_available(self) -> Self { todo!() }
    /// Routes a destination through the device (repeatable): `"0.0.0.0/0"`.
    pub fn route(self, destination: impl IntoCidr) -> Self { todo!() }
    /// Sets the device's MTU. Default: 1500 for a device whose kernel side is ours, else what the device has.
    pub fn mtu(self, mtu: usize) -> Self { todo!() }
    /// Limits and defaults of the core.
    pub fn config(self, config: Config) -> Self { todo!() }
    /// Secrets drawn elsewhere (default: from the kernel).
    pub fn secrets(self, secrets: Secrets) -> Self { todo!() }
    /// Adds a service that runs inside the loop (repeatable).
    pub fn service(self, service: impl Service + 'static) -> Self { todo!() }
    /// Opens the device, configures the host's side and starts the loop.
    pub fn start(self) -> Result<Net, StartError> { todo!() }
}

/// What can be read as an address with a prefix length; what can't be parsed is reported by [`Builder::start`].
pub trait IntoCidr {
    /// The address, or the text that isn't one.
    fn into_cidr(self) -> Result<ipnet::IpNet, String>;
}
impl IntoCidr for ipnet::IpNet { fn into_cidr(self) -> Result<ipnet::IpNet, String> { Ok(self) } }
impl IntoCidr for &str { fn into_cidr(self) -> Result<ipnet::IpNet, String> { self.parse().map_err(|_| self.to_owned()) } }

/// Why a stack could not be started: Display is one line that says what is wrong and the command that mends it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The device.
    #[error(transparent)]
    Device(#[from] OpenError),
}

impl From<StartError> for std::io::Error {
    fn from(error: StartError) -> Self { std::io::Error::other(error) }
}
