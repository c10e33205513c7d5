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
    pub(crate) fn by(ctx: &Context, route: &Route) -> Self {
        let (mtu, link_mtu) = (route.mtu as u32, route.link_mtu as u32);
        KnownWay { changes: ctx.ip.changes(), device: route.device, mtu, link_mtu }
    }

    /// Whether something has changed since it was found: then [`find`](Self::find) looks for it once more.
    #[inline]
    pub(crate) fn is_outdated(&self, ctx: &Context) -> bool {
        self.changes != ctx.ip.changes()
    }

    /// The way now, if there is one.
    pub(crate) fn find(&mut self, ctx: &Context, tuple: &FourTuple) -> Option<Route> {
        if self.is_outdated(ctx) {
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

    /// The MTU of the path and of its first link, if nothing has changed since it was found.
    #[inline]
    pub(crate) fn mtus(&self, ctx: &Context) -> Option<(u32, u32)> {
        (!self.is_outdated(ctx)).then_some((self.mtu, self.link_mtu))
    }

    /// The path's MTU when it was found.
    pub(crate) fn mtu(&self) -> usize {
        self.mtu as usize
    }
}

/// The routes that were asked for last, for connections that are being opened: mostly the next one has the ends of one of them.
#[derive(Debug, Default)]
pub(crate) struct LatestRoutes {
    /// Each in the place that the last bits of its remote address name.
    known: [Option<Known>; Self::PLACES],
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

impl LatestRoutes {
    const PLACES: usize = 16;

    /// The route to `remote`, as [`Layer::route`](crate::proto::ip::Layer::route) tells it.
    pub(crate) fn ask(
        &mut self,
        ctx: &Context,
        remote: IpAddr,
        source: Option<IpAddr>,
    ) -> Result<Route, Error> {
        let changes = ctx.ip.changes();
        let last_bits = match remote {
            IpAddr::V4(v4) => v4.to_bits() as usize,
            IpAddr::V6(v6) => v6.to_bits() as usize,
        };
        let place = &mut self.known[last_bits % Self::PLACES];
        if let Some(known) = place
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
        *place = Some(Known { remote, source, changes, route });
        Ok(route)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::proto::config::MtuProbing;
    use crate::proto::ip::pmtu::Searched;
    use crate::proto::ip::testing::{TUN, World};
    use crate::proto::tcp::connection::{Connection, mss_for};
    use crate::proto::tcp::handshake::PeerSyn;
    use crate::proto::tcp::timestamps::TimestampClock;
    use crate::proto::wire::tcp::SeqNr;

    /// Whether a connection that begins to follow its path when it is opened is the same after it has followed it, and whether
    /// there was nothing left to be followed.
    fn begins_as_it_goes_on(world: &mut World, peer: PeerSyn, ends: (IpAddr, IpAddr)) -> bool {
        let ctx = world.ctx();
        let (remote, local) = ends;
        let route = ctx.ip.route(remote, Some(local)).unwrap();
        let way = KnownWay::by(ctx, &route);
        let mss_max = mss_for(way.mtu().min(u16::MAX.into()), local.is_ipv4());
        let settled = peer.settle(ctx, SeqNr(7), None, TimestampClock::ahead_by(1), mss_max);
        let mut late = Connection::new(&ctx.config, &settled, ctx.now);
        let mut early = Connection::new(&ctx.config, &settled, ctx.now);
        early.begin_path(ctx, &way, &remote);
        let is_done = early.has_followed_path(&route);
        early.follow_path(ctx, &route, remote);
        late.follow_path(ctx, &route, remote);
        assert_eq!(format!("{early:?}"), format!("{late:?}"));
        is_done
    }

    #[test]
    fn a_path_that_is_followed_from_the_beginning_is_followed_as_at_the_first_turn() {
        let ends = |remote: &str, local: &str| (remote.parse().unwrap(), local.parse().unwrap());
        let (ipv4, ipv6) = (ends("10.9.0.1", "10.9.0.2"), ends("fd09::1", "fd09::2"));
        // With the smallest that an interface may have, hardly any text fits beside the headers.
        let ways = [68, 576].map(|mtu| (ipv4, mtu)).into_iter();
        let ways =
            ways.chain([1_280, 1_500, 9_000, 65_535].into_iter().flat_map(|mtu| [(ipv4, mtu), (ipv6, mtu)]));
        for (ends, mtu) in ways {
            for (mss, timestamp) in
                [1, 48, 536, 1_460, u16::MAX].into_iter().flat_map(|mss| [None, Some(5)].map(|at| (mss, at)))
            {
                let (irs, sack) = (SeqNr(9), true);
                let peer = PeerSyn { irs, mss, scale: Some(3), window: 500, offered: 1_000, sack, timestamp };
                for mode in [MtuProbing::Off, MtuProbing::AfterBlackHole, MtuProbing::Always] {
                    let mut world = World::new();
                    world.config.mtu_probing = mode;
                    world.ip.set_mtu(TUN, mtu);
                    let is_done = begins_as_it_goes_on(&mut world, peer, ends);
                    assert_eq!(is_done, mode != MtuProbing::Always, "{mtu}, {mode:?}");
                    let found = Searched { low: mtu - 20, high: mtu - 10, is_proven: false };
                    let expires = world.now + Duration::from_secs(600);
                    world.ip.path_mtu.found(ends.0, found, mtu, expires, &mut world.timers);
                    assert!(!begins_as_it_goes_on(&mut world, peer, ends));
                }
            }
        }
    }

    #[test]
    fn a_path_that_has_changed_since_the_handshake_is_followed_at_the_first_turn() {
        let (remote, local): (IpAddr, IpAddr) = ("10.9.0.1".parse().unwrap(), "10.9.0.2".parse().unwrap());
        let mut world = World::new();
        let route = world.ip.route(remote, Some(local)).unwrap();
        let way = KnownWay::by(world.ctx(), &route);
        let peer = PeerSyn {
            irs: SeqNr(9),
            mss: 1_460,
            scale: None,
            window: 500,
            offered: 1_000,
            sack: true,
            timestamp: None,
        };
        let mss_max = mss_for(way.mtu(), true);
        let settled = peer.settle(world.ctx(), SeqNr(7), None, TimestampClock::ahead_by(1), mss_max);
        for change in [
            |world: &mut World| world.ip.set_mtu(TUN, 576),
            |world: &mut World| {
                let (remote, expires) = ("10.9.0.1".parse().unwrap(), world.now + Duration::from_secs(600));
                assert!(world.ip.path_mtu.lower(remote, 560, 576, expires, &mut world.timers));
            },
        ] {
            change(&mut world);
            let ctx = world.ctx();
            let mut connection = Connection::new(&ctx.config, &settled, ctx.now);
            connection.begin_path(ctx, &way, &remote);
            let route = ctx.ip.route(remote, Some(local)).unwrap();
            assert!(route.mtu < 1_500 && !connection.has_followed_path(&route));
            connection.follow_path(ctx, &route, remote);
            assert_eq!(connection.snd.mss(), route.mtu as u64 - 40);
        }
    }

    /// Asks for routes that differ in each part of the question, and each twice.
    fn ask_all(latest: &mut LatestRoutes, world: &mut World) {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for remote in ["10.9.0.1", "10.9.0.17", "10.9.0.3", "10.9.0.2", "192.0.2.1", "fd09::1"].map(ip) {
            for source in [None, Some("10.9.0.2"), Some("10.9.0.4"), Some("fd09::2"), None] {
                let source = source.map(ip);
                for _ in 0..2 {
                    let ctx = world.ctx();
                    assert_eq!(latest.ask(ctx, remote, source), ctx.ip.route(remote, source));
                }
            }
        }
    }

    #[test]
    fn a_route_that_was_asked_for_before_is_no_other_than_the_route_now() {
        let (mut world, mut latest) = (World::new(), LatestRoutes::default());
        let remote: IpAddr = "10.9.0.1".parse().unwrap();
        ask_all(&mut latest, &mut world);
        assert_eq!(latest.ask(world.ctx(), remote, None).map(|route| route.mtu), Ok(1500));
        world.ip.set_mtu(TUN, 1400);
        assert_eq!(latest.ask(world.ctx(), remote, None).map(|route| route.mtu), Ok(1400));
        ask_all(&mut latest, &mut world);
        world.ip.add_address(TUN, "10.9.0.4/24".parse().unwrap()).unwrap();
        ask_all(&mut latest, &mut world);
    }
}
