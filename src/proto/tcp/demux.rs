//! Demultiplexing: from the addresses and ports of a segment to whom it concerns.
//!
//! Owns the table of connections in any phase and the table of listeners. Keyed hashing keeps a peer from
//! choosing addresses that collide.

use core::hash::{Hash, Hasher};
use core::net::{IpAddr, SocketAddr};

use hashbrown::HashMap;

use crate::proto::hash::Keyed;
use crate::proto::ids::{HalfOpenId, ListenerId, TcpId, TimeWaitId};
use crate::proto::trace::Ends;

/// The four numbers that name a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FourTuple {
    pub(crate) local: IpAddr,
    pub(crate) remote: IpAddr,
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
}

impl FourTuple {
    pub(crate) fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        FourTuple {
            local: local.ip(),
            remote: remote.ip(),
            local_port: local.port(),
            remote_port: remote.port(),
        }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        SocketAddr::new(self.local, self.local_port)
    }

    pub(crate) fn remote_addr(&self) -> SocketAddr {
        SocketAddr::new(self.remote, self.remote_port)
    }

    pub(crate) fn ends(&self) -> Ends {
        Ends { local: self.local_addr(), remote: self.remote_addr() }
    }
}

impl Hash for FourTuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Fewer and wider writes than the derived implementation: this runs once a segment.
        match (self.local, self.remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                state.write_u64(u64::from(local.to_bits()) << 32 | u64::from(remote.to_bits()));
            }
            (local, remote) => {
                for address in [local, remote] {
                    match address {
                        IpAddr::V4(v4) => state.write_u32(v4.to_bits()),
                        IpAddr::V6(v6) => state.write(&v6.octets()),
                    }
                }
            }
        }
        state.write_u32(u32::from(self.local_port) << 16 | u32::from(self.remote_port));
    }
}

/// Whom a segment concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A connection, or an active attempt at one.
    Socket(TcpId),
    /// A half-open connection of a listener.
    HalfOpen(HalfOpenId),
    /// An entry in TIME-WAIT.
    TimeWait(TimeWaitId),
}

/// Both tables.
#[derive(Debug)]
pub(crate) struct Demux {
    connections: HashMap<FourTuple, Target, Keyed>,
    listeners: HashMap<(IpAddr, u16), ListenerId, Keyed>,
}

impl Demux {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Demux {
            connections: HashMap::with_hasher(Keyed::new(key)),
            listeners: HashMap::with_hasher(Keyed::new(key)),
        }
    }

    pub(crate) fn find(&self, tuple: &FourTuple) -> Option<Target> {
        self.connections.get(tuple).copied()
    }

    /// Points the tuple at `target`, whatever it pointed at before.
    pub(crate) fn point(&mut self, tuple: FourTuple, target: Target) {
        self.connections.insert(tuple, target);
    }

    /// Forgets the tuple, if it still points at `target`.
    pub(crate) fn forget(&mut self, tuple: &FourTuple, target: Target) {
        if self.find(tuple) == Some(target) {
            self.connections.remove(tuple);
        }
    }

    /// The listener for a SYN to `local`: one bound to the address before one bound to all.
    pub(crate) fn find_listener(&self, local: IpAddr, port: u16) -> Option<ListenerId> {
        let exact = self.listeners.get(&(local, port));
        exact.or_else(|| self.listeners.get(&(unspecified(local), port))).copied()
    }

    /// Whether a listener on `local` (or on all addresses, or any if `local` is unspecified) has the port.
    pub(crate) fn is_listened(&self, local: IpAddr, port: u16) -> bool {
        if local.is_unspecified() {
            let family = local.is_ipv4();
            return self.listeners.keys().any(|(addr, used)| *used == port && addr.is_ipv4() == family);
        }
        self.find_listener(local, port).is_some()
    }

    pub(crate) fn add_listener(&mut self, local: SocketAddr, id: ListenerId) {
        self.listeners.insert((local.ip(), local.port()), id);
    }

    pub(crate) fn remove_listener(&mut self, local: SocketAddr) {
        self.listeners.remove(&(local.ip(), local.port()));
    }
}

/// "All addresses" of the same family.
fn unspecified(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED),
    }
}
