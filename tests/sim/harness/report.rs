//! What runs have seen, added up: a soak's report.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tunstack::proto::{Counters, DropReason};
use tunstack::sim::LinkCounters;

/// What a soak has to take again and again, by its counter: all that recovers from losses and makes the most of long paths.
const MECHANISMS: &[&str] = &[
    "tcp_retransmits",
    "tcp_timeouts",
    "tcp_fast_retransmits",
    "tcp_limited_transmits",
    "tcp_sacks_out",
    "tcp_sacks_in",
    "tcp_dsacks_out",
    "tcp_dsacks_in",
    "tcp_reneged",
    "tcp_loss_probes",
    "tcp_loss_probes_repaired",
    "tcp_reordering_timeouts",
    "tcp_undone_by_timestamp",
    "tcp_undone_by_dsack",
    "tcp_undone_by_frto",
    "tcp_out_of_order",
    "tcp_duplicates",
    "tcp_quick_acks",
    "tcp_recv_buffers_grown",
    "tcp_send_buffers_grown",
    "tcp_window_probes",
    "tcp_black_holes",
    "tcp_path_probes",
    "path_mtus_learnt",
    "path_mtus_refused",
    "tcp_syn_cookies_sent",
    "tcp_syn_cookies_received",
    "dropped: tcp-old-timestamp",
];

/// Sums over runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) scenarios: u64,
    /// Of which smoltcp was a peer.
    pub(crate) with_smoltcp: u64,
    /// Of which ended with smoltcp silent, though there was room for what it had to say.
    pub(crate) stalls_of_smoltcp: u64,
    pub(crate) virtual_time: Duration,
    /// Bytes that applications have read.
    pub(crate) bytes: u64,
    pub(crate) segments: u64,
    pub(crate) retransmitted: u64,
    pub(crate) connections: u64,
    /// Of which failed where they may: a peer that forgot them, time that ran out.
    pub(crate) failed: u64,
    pub(crate) datagrams: u64,
    /// How often each fault has happened.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// How often each branch of the core that counts has been taken.
    pub(crate) branches: BTreeMap<String, u64>,
}

impl Report {
    pub(crate) fn fault(&mut self, name: &'static str, count: u64) {
        *self.faults.entry(name).or_default() += count;
    }

    /// Takes what a link has counted.
    pub(crate) fn link(&mut self, counters: LinkCounters) {
        for (name, count) in [
            ("queue overflow", counters.overflowed),
            ("MTU black hole", counters.too_large),
            ("interruption", counters.interrupted),
            ("duplication", counters.duplicated),
            ("corruption", counters.corrupted),
            ("reordering", counters.reordered),
            ("ECN mark", counters.marked),
        ] {
            self.fault(name, count);
        }
    }

    /// Takes what a stack has counted.
    pub(crate) fn stack(&mut self, counters: &Counters) {
        for (name, count) in counters.named() {
            *self.branches.entry(name.to_owned()).or_default() += count;
        }
        for reason in DropReason::ALL {
            *self.branches.entry(format!("dropped: {reason}")).or_default() += counters.dropped(*reason);
        }
    }

    /// Faults that can happen and never did, and mechanisms that have to be seen at work and never were.
    pub(crate) fn never_happened(&self) -> Vec<&'static str> {
        let faults = self.faults.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name);
        let is_idle = |name: &&&str| self.branches.get(**name).is_none_or(|count| *count == 0);
        faults.chain(MECHANISMS.iter().filter(is_idle).copied()).collect()
    }

    pub(crate) fn add(&mut self, other: Report) {
        self.scenarios += other.scenarios;
        self.with_smoltcp += other.with_smoltcp;
        self.stalls_of_smoltcp += other.stalls_of_smoltcp;
        self.virtual_time += other.virtual_time;
        self.bytes += other.bytes;
        self.segments += other.segments;
        self.retransmitted += other.retransmitted;
        self.connections += other.connections;
        self.failed += other.failed;
        self.datagrams += other.datagrams;
        other.faults.into_iter().for_each(|(name, count)| self.fault(name, count));
        for (name, count) in other.branches {
            *self.branches.entry(name).or_default() += count;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.virtual_time.as_secs_f64() / 3600.0;
        let Report { scenarios, with_smoltcp, stalls_of_smoltcp, .. } = self;
        writeln!(
            f,
            "{scenarios:>14}  scenarios, {with_smoltcp} of them with smoltcp, which stalled in {stalls_of_smoltcp}"
        )?;
        writeln!(f, "{hours:>14.1}  virtual hours")?;
        writeln!(f, "{:>14}  connections, {} of which failed where they may", self.connections, self.failed)?;
        writeln!(f, "{:>14}  bytes read by applications", self.bytes)?;
        writeln!(f, "{:>14}  segments, {} of them sent again", self.segments, self.retransmitted)?;
        writeln!(f, "{:>14}  datagrams of UDP read", self.datagrams)?;
        writeln!(f, "\nFaults")?;
        for (name, count) in &self.faults {
            writeln!(f, "{count:>14}  {name}")?;
        }
        writeln!(f, "\nBranches of the core")?;
        for (name, count) in self.branches.iter().filter(|(_, count)| **count > 0) {
            writeln!(f, "{count:>14}  {name}")?;
        }
        let never: Vec<&str> =
            self.branches.iter().filter(|(_, count)| **count == 0).map(|(name, _)| name.as_str()).collect();
        writeln!(f, "\nNever taken: {}", never.join(", "))
    }
}
