//! A running stack, and sockets on it in the manner of [`std::net`].
mod builder;
pub use builder::{Builder, IntoCidr, StartError};
use std::{io, time::Duration};
use crate::proto::{Counters, stack::TcpCensus};
use crate::runtime::{Service, ShutdownReport, Stopped};

/// A running stack: a handle that can be cloned. The last handle dropped (sockets count) drains and ends the stack.
#[derive(Clone)]
pub struct Net {}

impl Net {
    /// Says what the stack is to look like.
    pub fn builder() -> Builder { todo!() }
    /// The device's name.
    pub fn name(&self) -> &str { todo!() }
    /// The device's MTU now.
    pub fn mtu(&self) -> usize { todo!() }
    /// The stack's addresses.
    pub fn addresses(&self) -> &[ipnet::IpNet] { todo!() }
    /// The addresses that the kernel's side was given.
    pub fn host_addresses(&self) -> &[ipnet::IpNet] { todo!() }
    /// What the core has counted.
    pub fn counters(&self) -> Counters { todo!() }
    /// How many TCP objects exist.
    pub fn tcp_census(&self) -> TcpCensus { todo!() }
    /// Adds a service that runs inside the loop; the error is what its `start` says.
    pub fn add_service(&self, service: impl Service + 'static) -> io::Result<()> { todo!() }
    /// Ends the stack: closes listeners, lets connections finish until `timeout`, resets the rest.
    pub fn shutdown(&self, timeout: Duration) -> ShutdownReport { todo!() }
    /// Why the stack stopped, if it has.
    pub fn stopped(&self) -> Option<Stopped> { todo!() }
    /// Blocks until the stack stops, and says why.
    pub fn wait_stopped(&self) -> Stopped { todo!() }
}
