//! Demultiplexing: from the addresses and ports of a segment to whom it concerns.
//!
//! Owns the table of connections in any phase and the table of listeners. Keyed hashing keeps a peer from
//! choosing addresses that collide, or one listener of several that share a port (SO_REUSEPORT).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, SocketAddr};

use hashbrown::HashTable;
use siphasher::sip::SipHasher24;

use crate::proto::hash::Keyed;
use crate::proto::ids::{HalfOpenId, ListenerId, TcpId, TimeWaitId};
use crate::proto::reuse::share;
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

    /// A number that nobody foretells who doesn't know the key (SipHash-2-4).
    #[inline(never)]
    pub(crate) fn secret_number(&self, key: &[u8; 16]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(key);
        self.hash(&mut hasher);
        hasher.finish()
    }
}

impl Hash for FourTuple {
    // Inlined, a hasher knows what it has got before and what comes: that is a third of the instructions.
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Fewer and wider writes than the derived implementation: this runs once a segment. All are of whole words, so that the
        // hasher knows in advance, for either family, which fill its block.
        match (self.local, self.remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                state.write_u64(u64::from(local.to_bits()) << 32 | u64::from(remote.to_bits()));
            }
            (local, remote) => {
                for bits in [local, remote].map(wide) {
                    state.write_u64((bits >> 64) as u64);
                    state.write_u64(bits as u64);
                }
            }
        }
        state.write_u32(u32::from(self.local_port) << 16 | u32::from(self.remote_port));
    }
}

/// An address as a number of IPv6.
#[inline(always)]
fn wide(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
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

/// A tuple, and where in the table of connections it belongs: found out once, for all that a segment asks of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located {
    pub(crate) tuple: FourTuple,
    pub(crate) place: Place,
}

impl Located {
    /// One that is yet to be [placed](Demux::place).
    #[inline]
    pub(crate) fn nowhere(tuple: FourTuple) -> Self {
        Located { tuple, place: Place(0) }
    }
}

/// Where in the table of connections a tuple belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(u64);

/// A place in the table of connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    tuple: FourTuple,
    target: Target,
}

/// Both tables.
#[derive(Debug)]
pub(crate) struct Demux {
    connections: HashTable<Known>,
    keyed: Keyed,
    /// By local port: how many of the connections have it. Most ports that somebody wants to listen on have none, and
    /// then the table need not be searched.
    on_port: Box<[u32]>,
    /// By port and address. They are few, and none of a peer's making: to compare is cheaper than to hash.
    listeners: BTreeMap<(u16, IpAddr), Group>,
    /// The address and port that a SYN went to last, and who listens there: mostly the next one goes there, too. Not where
    /// several do.
    latest: Option<((u16, IpAddr), ListenerId)>,
}

/// Listeners on one address and port: one, or several that all reuse the port.
#[derive(Debug)]
struct Group {
    reuse_port: bool,
    ids: Vec<ListenerId>,
}

impl Demux {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Demux {
            connections: HashTable::new(),
            keyed: Keyed::new(key),
            on_port: alloc::vec![0; 1 << 16].into_boxed_slice(),
            listeners: BTreeMap::new(),
            latest: None,
        }
    }

    fn hash(&self, tuple: &FourTuple) -> u64 {
        hash_with(self.keyed, tuple)
    }

    /// Where the tuple belongs.
    #[inline(always)]
    pub(crate) fn locate(&self, tuple: FourTuple) -> Located {
        let mut at = Located::nowhere(tuple);
        self.place(&mut at);
        at
    }

    /// The same for one that stays where it is: to move it costs as much as a round of the hash.
    #[inline]
    pub(crate) fn place(&self, at: &mut Located) {
        at.place = Place(self.hash(&at.tuple));
    }

    pub(crate) fn find(&self, tuple: &FourTuple) -> Option<Target> {
        self.find_at(&self.locate(*tuple))
    }

    #[inline]
    pub(crate) fn find_at(&self, at: &Located) -> Option<Target> {
        self.connections.find(at.place.0, |known| known.tuple == at.tuple).map(|known| known.target)
    }

    /// Points the tuple at `target`, whatever it pointed at before.
    pub(crate) fn point(&mut self, at: &Located, target: Target) {
        match self.connections.find_mut(at.place.0, |known| known.tuple == at.tuple) {
            Some(known) => known.target = target,
            None => self.add(at, target),
        }
    }

    /// The same of a tuple that points nowhere yet.
    pub(crate) fn add(&mut self, at: &Located, target: Target) {
        debug_assert_eq!(self.find_at(at), None, "it would stand there twice");
        let Located { tuple, place: Place(hash) } = *at;
        let keyed = self.keyed;
        let known = Known { tuple, target };
        self.connections.insert_unique(hash, known, |known| hash_with(keyed, &known.tuple));
        self.on_port[usize::from(tuple.local_port)] += 1;
    }

    /// Forgets the tuple, if it still points at `target`.
    pub(crate) fn forget_at(&mut self, at: &Located, target: Target) {
        let is_it = |known: &Known| known.tuple == at.tuple && known.target == target;
        if let Ok(known) = self.connections.find_entry(at.place.0, is_it) {
            known.remove();
            self.on_port[usize::from(at.tuple.local_port)] -= 1;
        }
    }

    /// Whether any connection has the port on this side, whatever its family and address.
    pub(crate) fn is_in_use(&self, port: u16) -> bool {
        self.on_port[usize::from(port)] > 0
    }

    /// All connections that have `local` on this side, or its port if its address is unspecified. As long as there is
    /// none on the port, it costs nothing; else the whole table is searched.
    pub(crate) fn connections_at(&self, local: SocketAddr) -> impl Iterator<Item = Target> + '_ {
        let (address, port) = (local.ip(), local.port());
        let here = move |tuple: &FourTuple| {
            let is_same = tuple.local == address;
            let is_any = address.is_unspecified() && tuple.local.is_ipv4() == address.is_ipv4();
            tuple.local_port == port && (is_same || is_any)
        };
        let table = self.is_in_use(port).then_some(&self.connections);
        table.into_iter().flatten().filter(move |known| here(&known.tuple)).map(|known| known.target)
    }

    /// The listener for a SYN: one bound to the address before one bound to all; of several, the one that the
    /// four-tuple falls to.
    #[inline]
    pub(crate) fn find_listener(&mut self, tuple: &FourTuple) -> Option<ListenerId> {
        match self.latest {
            Some((asked, id)) if asked == (tuple.local_port, tuple.local) => Some(id),
            Some(_) | None => self.look_for_listener(tuple),
        }
    }

    #[inline(never)]
    fn look_for_listener(&mut self, tuple: &FourTuple) -> Option<ListenerId> {
        let group = self.group(tuple.local, tuple.local_port)?;
        match group.ids.as_slice() {
            [only] => {
                let only = *only;
                self.latest = Some(((tuple.local_port, tuple.local), only));
                Some(only)
            }
            ids => ids.get(share(self.hash(tuple), ids.len())).copied(),
        }
    }

    /// Whether a listener on `local` (or on all addresses, or any if `local` is unspecified) has the port.
    pub(crate) fn is_listened(&self, local: IpAddr, port: u16) -> bool {
        !self.may_listen(local, port, false)
    }

    /// Whether the listeners that there are let another one listen there: there is none, or all reuse the port.
    pub(crate) fn may_listen(&self, local: IpAddr, port: u16, reuse_port: bool) -> bool {
        let agrees = |group: &Group| group.reuse_port && reuse_port;
        if local.is_unspecified() {
            // In the order of addresses "all addresses" are the first of their family.
            let on_port = self.listeners.range((port, local)..).take_while(|((used, _), _)| *used == port);
            let family = on_port.take_while(|((_, address), _)| address.is_ipv4() == local.is_ipv4());
            return family.map(|(_, group)| group).all(agrees);
        }
        [local, unspecified(local)].into_iter().all(|at| self.listeners.get(&(port, at)).is_none_or(agrees))
    }

    pub(crate) fn add_listener(&mut self, local: SocketAddr, id: ListenerId, reuse_port: bool) {
        self.latest = None;
        let new = || Group { reuse_port, ids: Vec::new() };
        self.listeners.entry((local.port(), local.ip())).or_insert_with(new).ids.push(id);
    }

    pub(crate) fn remove_listener(&mut self, local: SocketAddr, id: ListenerId) {
        self.latest = None;
        if let Entry::Occupied(mut group) = self.listeners.entry((local.port(), local.ip())) {
            group.get_mut().ids.retain(|it| *it != id);
            if group.get().ids.is_empty() {
                group.remove();
            }
        }
    }

    fn group(&self, local: IpAddr, port: u16) -> Option<&Group> {
        let exact = self.listeners.get(&(port, local));
        exact.or_else(|| self.listeners.get(&(port, unspecified(local))))
    }
}

#[inline(never)]
fn hash_with(keyed: Keyed, tuple: &FourTuple) -> u64 {
    keyed.hash(tuple)
}

/// "All addresses" of the same family.
fn unspecified(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod model;
