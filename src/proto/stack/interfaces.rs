//! Interfaces, addresses and routes.

use ipnet::IpNet;

use super::Stack;
use crate::proto::error::Error;
use crate::proto::ip::route::RouteSpec;
use crate::proto::packet::{DeviceId, Offloads};

/// Interfaces, addresses and routes.
impl Stack {
    /// Adds an interface whose largest datagram is `mtu` bytes.
    pub fn add_interface(&mut self, mtu: usize) -> DeviceId {
        self.ip.add_interface(mtu)
    }

    /// Follows a change of an interface's MTU.
    pub fn set_mtu(&mut self, device: DeviceId, mtu: usize) {
        self.ip.set_mtu(device, mtu);
    }

    /// Gives an interface an address; the network it stands in becomes a connected route.
    ///
    /// # Errors
    /// `InvalidInput` if no host may have the address, `AddrInUse` if the stack has it already.
    pub fn add_address(&mut self, device: DeviceId, address: IpNet) -> Result<(), Error> {
        self.ip.add_address(device, address)
    }

    /// Says what an interface's device takes off the stack's hands; nothing unless told.
    pub fn set_offloads(&mut self, device: DeviceId, offloads: Offloads) {
        self.ip.set_offloads(device, offloads);
    }

    /// Takes an interface out of use for good: its device is gone. No route leads through it any longer, and what
    /// waited for it is forgotten; its addresses stay the stack's.
    pub fn set_down(&mut self, device: DeviceId) {
        self.ip.set_down(device);
        self.outbox.forget(device);
        self.tcp.unpark();
    }

    /// Adds a route; `0.0.0.0/0` and `::/0` are default routes.
    ///
    /// # Errors
    /// `InvalidInput` for an interface that doesn't exist, or a metric, source or gateway that can't be;
    /// `NetworkUnreachable` for a gateway that no interface leads to.
    pub fn add_route(&mut self, route: RouteSpec) -> Result<(), Error> {
        // A connection that waits for a device may have another now.
        self.tcp.unpark();
        self.ip.add_route(route)
    }
}
