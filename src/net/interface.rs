//! The devices of a stack, as its user knows them.

use ipnet::IpNet;

use crate::proto::DeviceId;

/// A device of a stack, and what has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceInfo {
    /// The device's name.
    pub name: String,
    /// The stack's name for it.
    pub id: DeviceId,
    /// The largest datagram that it takes now, in bytes; 0 if it is gone or the stack has stopped.
    pub mtu: usize,
    /// The stack's addresses on it.
    pub addresses: Vec<IpNet>,
    /// The addresses that were given to its kernel side.
    pub host_addresses: Vec<IpNet>,
    /// Datagrams that it lost on its own account, such as those sent while its link was down.
    pub lost: u64,
}

/// What is known of a device from the start.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) id: DeviceId,
    pub(super) addresses: Vec<IpNet>,
    pub(super) host_addresses: Vec<IpNet>,
}
