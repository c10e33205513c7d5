//! The small services of the 1980s, inside the run loop: echo (RFC 862), discard (RFC 863), daytime
//! (RFC 867) and character generator (RFC 864), each over TCP and UDP.
//!
//! They are non-blocking state machines on the core's verbs: an event wakes one, it uses its socket until
//! the socket answers `WouldBlock`, and keeps no bytes of its own. That bounds the work of one event, too,
//! since nothing arrives and nothing leaves while it runs: reading ends with the receive buffer, writing
//! with the send buffer, accepting with the backlog.

mod chargen;
mod daytime;
mod discard;
mod echo;
mod pipe;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::net::IpAddr;

use self::chargen::Chargen;
use self::daytime::Daytime;
use self::discard::Discard;
use self::echo::Echo;
use self::tcp::TcpService;
use self::udp::{GuardedPorts, UdpService};
use super::serve::{ServeList, ServiceKind};
use crate::net::Builder;

/// Bytes moved by one call of a socket verb: large enough that the call is nothing beside the copy, small
/// enough that the copy stays in the second-level cache.
const CHUNK: usize = 64 << 10;

/// Adds all services of the list to a stack that has these addresses.
pub(crate) fn add_all(mut builder: Builder, list: &ServeList, addrs: &[IpAddr]) -> Builder {
    let guarded = GuardedPorts::new(list.entries().iter().map(|entry| entry.port));
    for entry in list.entries() {
        let port = entry.port;
        builder = match entry.kind {
            ServiceKind::Echo => builder.service(TcpService::new(Echo, port, addrs)),
            ServiceKind::Discard => builder.service(TcpService::new(Discard, port, addrs)),
            ServiceKind::Daytime => builder.service(TcpService::new(Daytime, port, addrs)),
            ServiceKind::Chargen => builder.service(TcpService::new(Chargen::new(), port, addrs)),
        };
        builder = builder.service(UdpService::new(entry.kind, port, addrs, guarded.clone()));
    }
    builder
}
