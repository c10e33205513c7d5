//! Interfaces, addresses and routes.

use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use super::Stack;
use crate::proto::error::Error;
use crate::proto::ip::route::{RouteEntry, RouteSpec};
use crate::proto::packet::{DeviceId, Offloads};

/// An interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceInfo {
    /// Its name in the stack.
    pub device: DeviceId,
    /// The largest datagram that it takes, in bytes.
    pub mtu: usize,
    /// What its device takes off the stack's hands.
    pub offloads: Offloads,
    /// Its addresses with the networks they stand in, in the order they were given.
    pub addresses: Vec<IpNet>,
}

/// Interfaces, addresses and routes.
impl Stack {
    /// Adds an interface whose largest datagram is `mtu` bytes.
    pub fn add_interface(&mut self, mtu: usize) -> DeviceId {
        self.ctx.ip.add_interface(mtu)
    }

    /// Follows a change of an interface's MTU.
    pub fn set_mtu(&mut self, device: DeviceId, mtu: usize) {
        self.ctx.ip.set_mtu(device, mtu);
    }

    /// Gives an interface an address; the network it stands in becomes a connected route.
    ///
    /// # Errors
    /// `InvalidInput` if no host may have the address, there is no such interface or its MTU is below the 1,280
    /// bytes that IPv6 asks for; `AddrInUse` if the stack has it already; `NoBufferSpace` if a limit of
    /// [`Config`](crate::proto::Config) is reached.
    pub fn add_address(&mut self, device: DeviceId, address: IpNet) -> Result<(), Error> {
        self.ctx.ip.add_address(device, address)
    }

    /// Takes an address from its interface, with its connected route (unless another address needs it) and the
    /// routes that name it as their source. Sockets bound to it are left alone: what they send fails.
    ///
    /// # Errors
    /// `AddrNotAvailable` if the stack doesn't have it.
    pub fn remove_address(&mut self, address: IpAddr) -> Result<(), Error> {
        self.ctx.ip.remove_address(address)
    }

    /// All interfaces, in the order they were added.
    pub fn interfaces(&self) -> impl Iterator<Item = InterfaceInfo> + '_ {
        self.ctx.ip.interfaces.devices().filter_map(|device| {
            Some(InterfaceInfo {
                device,
                mtu: self.ctx.ip.mtu(device)?,
                offloads: self.ctx.ip.interfaces.offloads(device),
                addresses: self.ctx.ip.interfaces.addresses_of(device).into(),
            })
        })
    }

    /// Says what an interface's device takes off the stack's hands; nothing unless told.
    pub fn set_offloads(&mut self, device: DeviceId, offloads: Offloads) {
        self.ctx.ip.set_offloads(device, offloads);
        self.ctx.outbox.follow_offloads(device, offloads);
    }

    /// Takes an interface out of use for good: its device is gone. No route leads through it any longer, and what
    /// waited for it is forgotten; its addresses stay the stack's.
    pub fn set_down(&mut self, device: DeviceId) {
        self.ctx.ip.set_down(device);
        self.ctx.outbox.forget(device);
        self.tcp.unpark();
    }

    /// Adds a route; `0.0.0.0/0` and `::/0` are default routes. See [`Layer::add_route`](crate::proto::ip::Layer::add_route).
    ///
    /// ```
    /// use tunstack::proto::ip::route::{RouteSpec, RouteTarget};
    /// use tunstack::proto::{Config, Error, Secrets, Stack};
    /// use tunstack::time::Instant;
    ///
    /// let mut stack = Stack::new(Config::default(), &Secrets::from_number(1), Instant::ZERO);
    /// let device = stack.add_interface(1500);
    /// stack.add_address(device, "10.9.0.2/24".parse().unwrap())?;
    /// let gateway = RouteTarget::Gateway { via: "10.9.0.1".parse().unwrap(), device: None };
    /// stack.add_route(RouteSpec::new("0.0.0.0/0".parse().unwrap(), gateway))?;
    ///
    /// let shown: Vec<_> = stack.routes().map(|entry| entry.route.destination.to_string()).collect();
    /// assert_eq!(shown, ["0.0.0.0/0", "10.9.0.0/24"]);
    ///
    /// let nowhere = RouteTarget::Gateway { via: "10.8.0.1".parse().unwrap(), device: Some(device) };
    /// let route = RouteSpec::new("10.8.8.0/24".parse().unwrap(), nowhere);
    /// assert_eq!(stack.add_route(RouteSpec { metric: 5, ..route }), Err(Error::NetworkUnreachable));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for an interface that doesn't exist, or a source or gateway that can't be;
    /// `NetworkUnreachable` for a gateway that no interface leads to; `AlreadyExists` if there is a route with the
    /// same destination and metric; `NoBufferSpace` if a limit of [`Config`](crate::proto::Config) is reached.
    pub fn add_route(&mut self, route: RouteSpec) -> Result<(), Error> {
        // A connection that waits for a device may have another now.
        self.tcp.unpark();
        self.ctx.ip.add_route(route)
    }

    /// Removes the route with this destination, metric and target. The device of a gateway and the source have
    /// to be the same only if `route` names them.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub fn remove_route(&mut self, route: &RouteSpec) -> Result<(), Error> {
        self.ctx.ip.remove_route(route)
    }

    /// All routes, IPv4's first, in the order of their destinations and metrics.
    pub fn routes(&self) -> impl Iterator<Item = RouteEntry> + '_ {
        self.ctx.ip.routes()
    }

    /// Says what time of day it is: nanoseconds from 1970 (UT) to [`Instant::ZERO`](crate::time::Instant::ZERO), for
    /// those who ask with the timestamp option of IPv4. Until it is said, they are told times that mean nothing to
    /// others, and marked so (RFC 791 section 3.1). It may be said again whenever the clock was set.
    pub fn set_utc_offset(&mut self, epoch_ns: u64) {
        self.ctx.ip.wall_clock.set(epoch_ns);
    }
}
