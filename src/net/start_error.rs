//! Why a stack could not be started.

use std::io;

use ipnet::IpNet;

use super::route::{RouteError, RouteSyntaxError};
use crate::device::{HostError, OpenError};
use crate::proto::Error;

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
    /// Not a route.
    #[error(transparent)]
    BadRoute(RouteSyntaxError),
    /// The stack can't have this route.
    #[error(transparent)]
    Route(RouteError),
    /// A device was named twice.
    #[error("{name} is named twice: give all its addresses at once")]
    SameDevice {
        /// The device.
        name: String,
    },
    /// Two devices of the stack lead to the same network, as the host sees it.
    #[error(
        "{network} on {name} overlaps {other_network} on {other}, and the host would reach only one of them: choose \
         another network for one"
    )]
    NetworkShared {
        /// One device.
        name: String,
        /// Its network.
        network: IpNet,
        /// The other device.
        other: String,
        /// The other's network.
        other_network: IpNet,
    },
    /// A host address, an MTU or offloads were asked for on a device that has no kernel side.
    #[error("{name} is not a TUN device: it has no host side to be given an address or MTU, nor offloads")]
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
            | StartError::BadRoute(_)
            | StartError::Route(_)
            | StartError::SameDevice { .. }
            | StartError::NetworkShared { .. }
            | StartError::NoHostSide { .. } => io::ErrorKind::InvalidInput,
            StartError::Device(_) | StartError::Host(_) => io::ErrorKind::Other,
            StartError::Service { error, .. } | StartError::Runtime(error) => error.kind(),
        };
        io::Error::new(kind, error)
    }
}
