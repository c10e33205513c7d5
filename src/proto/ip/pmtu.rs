//! What is known of the MTU of paths to other hosts (RFC 1191, RFC 8201).

use core::net::IpAddr;

use crate::proto::config::Config;
use crate::proto::context::{Context, TimerKey};
use crate::proto::timer_wheel::TimerWheel;
use crate::time::Instant;

/// Path MTUs that are smaller than their first link's.
#[derive(Debug)]
pub(crate) struct PathMtu {}

impl PathMtu {
    /// Nothing is known.
    pub(crate) fn new(config: &Config) -> Self {
        let _ = config;
        PathMtu {}
    }

    /// The MTU of the path to `destination` in bytes, if it is known to be smaller than its first link's.
    pub(crate) fn get(&self, destination: IpAddr) -> Option<usize> {
        let _ = destination;
        None
    }

    /// Forgets what is known of the path to `destination`.
    pub(crate) fn forget(&mut self, destination: IpAddr) {
        let _ = destination;
    }

    /// Forgets what was learnt too long ago.
    pub(crate) fn expire(&mut self, now: Instant, timers: &mut TimerWheel<TimerKey>) {
        let _ = (now, timers);
    }
}

/// Notes that datagrams of more than `mtu` bytes do not reach `destination`. The caller has made sure that who
/// says so has seen a packet of ours (RFC 5927).
pub(crate) fn learn(ctx: &mut Context<'_>, destination: IpAddr, mtu: usize) {
    let _ = (ctx, destination, mtu);
}
