//! A receiver that reneges (RFC 2018 section 8): it throws away text that it has reported, since it lies ahead of its turn and
//! memory is short.
//!
//! Our stack never does. So this stands before it as a queue of the host's own for what is out of order: some of that it
//! takes, and reports in the stack's name, and the stack never sees it. To the peer both are one TCP.

use std::collections::HashMap;
use std::net::SocketAddr;

use tunstack::rng::Rng;

use crate::support::wire::{self, Opt, Tcp};

/// The host's own end, and its peer's.
type Ends = (SocketAddr, SocketAddr);

/// A quarter of what is out of order.
const FORGETS: u32 = 250_000;

/// The queue, which forgets all that it takes.
pub(crate) struct Forgetful {
    /// What the host has said.
    flows: HashMap<Ends, Flow>,
    /// What is to be reported: where, in which direction, and from where to where.
    reports: Vec<(usize, Ends, (u32, u32))>,
    rng: Rng,
    /// How many segments were reported and thrown away.
    pub(crate) forgotten: u64,
}

/// One direction of a connection, as the host has spoken in it.
#[derive(Default)]
struct Flow {
    peer_wants_reports: bool,
    we_want_reports: bool,
    /// The last segment that acknowledged anything, made one without text behind all that was sent.
    last: Option<Tcp>,
}

impl Forgetful {
    pub(crate) fn new(seed: u64) -> Forgetful {
        Forgetful { flows: HashMap::new(), reports: Vec::new(), rng: Rng::from_number(seed), forgotten: 0 }
    }

    /// A packet has come. `true` if the stack is not to see it.
    pub(crate) fn takes(&mut self, port: usize, packet: &[u8]) -> bool {
        let Some(tcp) = wire::tcp_if_intact(packet) else { return false };
        let ends = (tcp.dst, tcp.src);
        if tcp.has(wire::SYN) {
            let wants = Opt::decode_all(&tcp.options).contains(&Opt::SackPermitted);
            let flow = self.flows.entry(ends).or_default();
            if !tcp.has(wire::ACK) {
                *flow = Flow::default();
            }
            // Of two answers to a SYN (RFC 4987 section 3.6) the one counts that the stack has taken.
            if flow.last.is_none() {
                flow.peer_wants_reports = wants;
            }
            return false;
        }
        let Some(flow) = self.flows.get(&ends).filter(|flow| flow.peer_wants_reports && flow.we_want_reports)
        else {
            return false;
        };
        let Some(last) = &flow.last else { return false };
        let is_plain = tcp.flags & !wire::PSH == wire::ACK && !tcp.payload.is_empty();
        let is_ahead = (1..1 << 24).contains(&tcp.seq.wrapping_sub(last.ack));
        if !is_plain || !is_ahead || !self.rng.chance_ppm(FORGETS) {
            return false;
        }
        let end = tcp.seq.wrapping_add(tcp.payload.len() as u32);
        self.reports.push((port, ends, (tcp.seq, end)));
        self.forgotten += 1;
        true
    }

    /// Adds the reports to what the stack sends.
    pub(crate) fn speak(&mut self, out: &mut Vec<(usize, Vec<u8>)>, from: usize) {
        for (_, packet) in out.iter().skip(from) {
            if let Some(tcp) = wire::tcp_if_intact(packet) {
                self.said(tcp);
            }
        }
        for (port, ends, block) in self.reports.drain(..) {
            let Some(last) = self.flows.get(&ends).and_then(|flow| flow.last.clone()) else { continue };
            let mut report = last;
            report.options.extend([1, 1]);
            Opt::Sack(vec![block]).encode(&mut report.options);
            out.push((port, report.encode()));
        }
    }

    fn said(&mut self, tcp: Tcp) {
        let flow = self.flows.entry((tcp.src, tcp.dst)).or_default();
        let options = Opt::decode_all(&tcp.options);
        if tcp.has(wire::SYN) {
            flow.we_want_reports = options.contains(&Opt::SackPermitted);
            flow.last = None;
            return;
        }
        if !tcp.has(wire::ACK) || tcp.has(wire::RST) {
            flow.last = None;
            return;
        }
        let mut seq = tcp.seq.wrapping_add(tcp.seq_len());
        if let Some(last) = &flow.last {
            // It may have been sent again.
            seq = if (last.seq.wrapping_sub(seq) as i32) > 0 { last.seq } else { seq };
        }
        let mut stamps = Vec::new();
        for stamp in options.iter().filter(|option| matches!(option, Opt::Timestamps(..))) {
            stamps.extend([1, 1]);
            stamp.encode(&mut stamps);
        }
        let bare = Tcp { seq, flags: wire::ACK, urgent: 0, options: stamps, payload: Vec::new(), ..tcp };
        flow.last = Some(bare);
    }
}
