//! The way that a connection's segments take.
//!
//! Owns what was found out about it last, for a connection and for those that are being opened. Who may ask, and what it means to have none, is for the asker to know.

use core::net::IpAddr;

use super::demux::FourTuple;
use crate::proto::context::Context;
use crate::proto::error::Error;
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

/// The route that was asked for last, for a connection that is being opened: mostly the next one has the same ends.
#[derive(Debug, Default)]
pub(crate) struct LatestRoute {
    known: Option<Known>,
}

/// An answer, and what it answers.
#[derive(Clone, Copy, Debug)]
struct Known {
    remote: IpAddr,
    source: Option<IpAddr>,
    /// What it was found among, see [`Layer::changes`](crate::proto::ip::Layer::changes).
    changes: u64,
    route: Route,
}

impl LatestRoute {
    /// The route to `remote`, as [`Layer::route`](crate::proto::ip::Layer::route) tells it.
    pub(crate) fn ask(
        &mut self,
        ctx: &Context<'_>,
        remote: IpAddr,
        source: Option<IpAddr>,
    ) -> Result<Route, Error> {
        let changes = ctx.ip.changes();
        if let Some(known) = &self.known
            && known.remote == remote
            && known.source == source
            && known.changes == changes
        {
            debug_assert_eq!(
                ctx.ip.route(remote, source),
                Ok(known.route),
                "whatever changes routes counts as a change"
            );
            return Ok(known.route);
        }
        let route = ctx.ip.route(remote, source)?;
        self.known = Some(Known { remote, source, changes, route });
        Ok(route)
    }
}
