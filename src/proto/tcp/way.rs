//! The way that a connection's segments take.
//!
//! Owns what was found out about it last. Who may ask, and what it means to have none, is for the asker to know.

use super::demux::FourTuple;
use crate::proto::context::Context;
use crate::proto::ip::Route;
use crate::proto::packet::DeviceId;

/// The way that a connection's segments took last, which they take until something changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownWay {
    /// What it was found among, see [`Layer::changes`](crate::proto::ip::Layer::changes).
    changes: u64,
    device: DeviceId,
    mtu: u32,
    link_mtu: u32,
}

impl KnownWay {
    /// None is known.
    pub(crate) const NONE: KnownWay =
        KnownWay { changes: u64::MAX, device: DeviceId::LOOPBACK, mtu: 0, link_mtu: 0 };

    /// The way by a route that has just been found.
    pub(crate) fn by(ctx: &Context<'_>, route: &Route) -> Self {
        let (mtu, link_mtu) = (route.mtu as u32, route.link_mtu as u32);
        KnownWay { changes: ctx.ip.changes(), device: route.device, mtu, link_mtu }
    }

    /// The way now, if there is one.
    pub(crate) fn find(&mut self, ctx: &Context<'_>, tuple: &FourTuple) -> Option<Route> {
        if self.changes != ctx.ip.changes() {
            let Ok(route) = ctx.ip.route(tuple.remote, Some(tuple.local)) else {
                *self = KnownWay::NONE;
                return None;
            };
            *self = KnownWay::by(ctx, &route);
        }
        let (mtu, link_mtu) = (self.mtu as usize, self.link_mtu as usize);
        let route = Route { device: self.device, source: tuple.local, mtu, link_mtu };
        let is_so = || ctx.ip.route(tuple.remote, Some(tuple.local)) == Ok(route);
        debug_assert!(is_so(), "whatever changes routes counts as a change");
        Some(route)
    }

    /// The path's MTU when it was found.
    pub(crate) fn mtu(&self) -> usize {
        self.mtu as usize
    }
}
