//! Reassembly: parts of datagrams until they are whole (RFC 791 section 3.2, RFC 815, RFC 1122 section 3.3.2,
//! RFC 8200 section 4.5, RFC 5722).
//!
//! Owns the parts and how long they are kept. Owns not whether a part's own headers hold together, which
//! [`wire::ip`](crate::proto::wire::ip) has seen to, nor what the whole datagram is then good for.
//!
//! Everybody can send fragments, so all that is done here is bounded. Parts lie in a tree by their offsets:
//! looking a part's neighbours up costs O(log n) and nothing is ever walked but once, when the datagram is whole
//! (FragmentSmack, CVE-2018-5391, was a walk for every part). What a part is charged for includes what keeping
//! it costs; beyond the limits of [`Config`] the oldest datagram goes.
//!
//! A datagram whose parts contradict each other is given up, and the name it has is refused until its time is
//! over, so that the rest of an attack does not become a datagram (RFC 5722 section 4; we ask the same of IPv4,
//! where teardrop came from). One exception: an exact copy of a part is a copy, made by the network, and
//! dropped alone, as RFC 8200 section 4.5 allows.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use hashbrown::HashMap;

use super::datagram::{Cast, Part};
use super::icmp::{self, Complaint, Subject};
use super::{address, fragment};
use crate::proto::config::Config;
use crate::proto::context::Context;
use crate::proto::counters::{Counters, DropReason};
use crate::proto::hash::Keyed;
use crate::proto::ids::TimerKey;
use crate::proto::packet::DeviceId;
use crate::proto::timer_wheel::TimerId;
use crate::proto::wire::ip::FragmentInfo;
use crate::time::Instant;

/// Datagrams of which parts have come.
#[derive(Debug)]
pub(crate) struct Reassembly {
    pending: HashMap<Name, Pending, Keyed>,
    /// The pending datagrams of IPv4 and of IPv6 by the order in which their first part came, which within
    /// a family is the order of their deadlines.
    by_age: [BTreeMap<u64, Name>; 2],
    /// The age of the next datagram.
    next_age: u64,
    /// What all parts together are charged for.
    bytes: usize,
    timer: Option<TimerId>,
    limits: Limits,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    bytes: usize,
    datagrams: usize,
    parts: usize,
}

impl Reassembly {
    /// No parts. `table_key` keys the table of names, which peers choose.
    pub(crate) fn new(config: &Config, table_key: [u8; 16]) -> Self {
        Reassembly {
            pending: HashMap::with_hasher(Keyed::new(table_key)),
            by_age: [BTreeMap::new(), BTreeMap::new()],
            next_age: 0,
            bytes: 0,
            timer: None,
            limits: Limits {
                bytes: config.reassembly_bytes,
                datagrams: config.reassembly_datagrams,
                parts: config.reassembly_parts,
            },
        }
    }

    /// Takes a part. Returns the datagram, with a header that knows nothing of fragments, once it is whole.
    pub(crate) fn add(&mut self, ctx: &mut Context, part: &Part<'_>) -> Result<Option<Vec<u8>>, DropReason> {
        let Some(info) = part.parsed.fragment else { return Ok(Some(part.parsed.whole.to_vec())) };
        check(ctx, part, info)?;
        let name = Name::of(part, info);
        let piece = Piece::of(part, info);
        let judged = match self.pending.get(&name) {
            None => Ok(()),
            Some(Pending { parts: None, .. }) => return Err(DropReason::FragmentRefused),
            Some(Pending { parts: Some(parts), .. }) => parts.judge(&piece, self.limits.parts),
        };
        if let Err(trouble) = judged {
            //= RFC791 3.2 duplicates
            if trouble != Trouble::Copy {
                self.refuse(&name);
            }
            return Err(trouble.note(&mut ctx.counters));
        }
        self.make_room(&mut ctx.counters, &name, piece.charge())?;
        self.keep(ctx, name, part, &piece);
        let whole = self.finish(&mut ctx.counters, &name);
        self.arm(ctx);
        whole
    }

    /// Gives up datagrams whose parts have not come in time.
    pub(crate) fn timer(&mut self, ctx: &mut Context) {
        self.timer = None;
        for family in 0..self.by_age.len() {
            while let Some((_, name)) = self.by_age[family].first_key_value() {
                let name = *name;
                if self.pending.get(&name).is_none_or(|pending| pending.deadline > ctx.now) {
                    break;
                }
                let Some(pending) = self.remove(&name) else { break };
                if pending.parts.is_some() {
                    ctx.counters.reassembly_timeouts += 1;
                }
                tell_of_timeout(ctx, &name, &pending);
            }
        }
        self.arm(ctx);
    }

    /// How many datagrams are pending, and what their parts are charged for.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.pending.len(), self.bytes)
    }
}

/// How the table changes.
impl Reassembly {
    /// Lets the oldest go until a part that is charged for `charge` bytes finds room. It may be the part's own
    /// datagram.
    fn make_room(&mut self, counters: &mut Counters, name: &Name, charge: usize) -> Result<(), DropReason> {
        loop {
            let (new, fixed) = if self.pending.contains_key(name) { (0, 0) } else { (1, Pending::CHARGE) };
            //= RFC1122 3.3.2 reassembly
            //= RFC791 3.1 datagrams of 576 octets
            //= RFC8200 5 packets of 1500 octets
            let fits = self.bytes + charge + fixed <= self.limits.bytes
                && self.pending.len() + new <= self.limits.datagrams;
            if fits {
                return Ok(());
            }
            let oldest = self.oldest().ok_or(DropReason::FragmentLimit)?;
            self.remove(&oldest);
            counters.reassembly_evicted += 1;
        }
    }

    fn oldest(&self) -> Option<Name> {
        self.by_age
            .iter()
            .filter_map(BTreeMap::first_key_value)
            .min_by_key(|(age, _)| **age)
            .map(|(_, it)| *it)
    }

    fn keep(&mut self, ctx: &Context, name: Name, part: &Part<'_>, piece: &Piece<'_>) {
        let age = self.next_age;
        let pending = self.pending.entry(name).or_insert_with(|| {
            let timeout = match part.parsed.src {
                IpAddr::V4(_) => ctx.config.reassembly_timeout_v4,
                //= RFC8200 4.5 timeout
                IpAddr::V6(_) => ctx.config.reassembly_timeout_v6,
            };
            self.by_age[name.family()].insert(age, name);
            self.next_age += 1;
            self.bytes += Pending::CHARGE;
            Pending {
                age,
                //= RFC1122 3.3.2 not put off
                deadline: ctx.now + timeout,
                device: part.device,
                cast: part.cast,
                parts: Some(Parts::default()),
            }
        });
        if let Some(parts) = &mut pending.parts {
            parts.keep(piece);
            self.bytes += piece.charge();
        }
    }

    /// Takes the datagram out if it is whole.
    fn finish(&mut self, counters: &mut Counters, name: &Name) -> Result<Option<Vec<u8>>, DropReason> {
        let parts = self.pending.get(name).and_then(|pending| pending.parts.as_ref());
        let Some(parts) = parts.filter(|parts| parts.is_complete()) else { return Ok(None) };
        let Some(whole) = parts.join() else {
            self.refuse(name);
            return Err(Trouble::Contradiction.note(counters));
        };
        self.remove(name);
        counters.reassembled += 1;
        Ok(Some(whole))
    }

    /// Frees a datagram's parts, but remembers its name: what comes of it until its time is over is refused.
    fn refuse(&mut self, name: &Name) {
        let Some(pending) = self.pending.get_mut(name) else { return };
        if let Some(parts) = pending.parts.take() {
            self.bytes -= parts.charge;
        }
    }

    fn remove(&mut self, name: &Name) -> Option<Pending> {
        let pending = self.pending.remove(name)?;
        self.by_age[name.family()].remove(&pending.age);
        self.bytes -= Pending::CHARGE + pending.parts.as_ref().map_or(0, |parts| parts.charge);
        Some(pending)
    }

    /// Sees to it that the timer fires no later than the first deadline. One that fires earlier is armed again
    /// then: datagrams come and go faster than that.
    fn arm(&mut self, ctx: &mut Context) {
        let oldest = self.by_age.iter().filter_map(|family| family.first_key_value());
        let first = oldest.filter_map(|(_, name)| Some(self.pending.get(name)?.deadline)).min();
        match (first, self.timer) {
            (Some(first), None) => self.timer = Some(ctx.timers.insert(TimerKey::Reassembly, first)),
            (Some(first), Some(timer)) if first < ctx.timers.deadline_of(timer) => {
                ctx.timers.reschedule(timer, first);
            }
            (Some(_), Some(_)) | (None, None) => {}
            (None, Some(timer)) => {
                ctx.timers.remove(timer);
                self.timer = None;
            }
        }
    }
}

/// What joins parts: RFC 791 names four fields, RFC 8200 three, since fragments of IPv6 may differ in what they
/// say comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name {
    src: IpAddr,
    dst: IpAddr,
    /// IPv4 only.
    protocol: u8,
    ident: u32,
    /// Where a link-local source is: there may be one of that address on every link.
    device: Option<DeviceId>,
}

impl Name {
    fn of(part: &Part<'_>, info: FragmentInfo) -> Self {
        let (src, dst) = (part.parsed.src, part.parsed.dst);
        Name {
            src,
            dst,
            //= RFC791 3.2 identification
            protocol: if src.is_ipv4() { part.parsed.protocol } else { 0 },
            //= RFC8200 4.5 identification
            ident: info.ident,
            device: address::is_link_scoped(src).then_some(part.device),
        }
    }

    fn family(&self) -> usize {
        usize::from(self.src.is_ipv6())
    }
}

/// A datagram of which not all has come.
#[derive(Debug)]
struct Pending {
    age: u64,
    deadline: Instant,
    device: DeviceId,
    cast: Cast,
    /// `None` if the datagram is refused.
    parts: Option<Parts>,
}

impl Pending {
    /// What a pending datagram costs beside its parts: its places in the tables, and the first part's header.
    const CHARGE: usize = 512;
}

/// The parts of one datagram.
#[derive(Debug, Default)]
struct Parts {
    /// By offset, none empty, none overlapping.
    by_offset: BTreeMap<usize, Box<[u8]>>,
    /// Bytes of data that have come.
    received: usize,
    /// Where the datagram's data ends, once the last part has told.
    end: Option<usize>,
    /// The headers before the first part, as they came.
    headers: Option<Box<[u8]>>,
    /// Which of the four ECN codepoints have been seen: one bit each.
    ecn_seen: u8,
    charge: usize,
}

/// A part in the terms that matter here.
#[derive(Clone, Copy, Debug)]
struct Piece<'a> {
    start: usize,
    data: &'a [u8],
    is_last: bool,
    ecn: u8,
    headers: &'a [u8],
}

impl<'a> Piece<'a> {
    /// What a part costs beside its bytes: its node in the tree and the allocator's.
    const CHARGE: usize = 96;

    fn of(part: &Part<'a>, info: FragmentInfo) -> Self {
        let parsed = &part.parsed;
        Piece {
            start: info.offset_bytes,
            data: parsed.payload,
            is_last: !info.more,
            ecn: parsed.tos & 0b11,
            headers: parsed.whole.get(..parsed.header_len).unwrap_or_default(),
        }
    }

    fn end(&self) -> usize {
        self.start + self.data.len()
    }

    fn charge(&self) -> usize {
        self.data.len() + Self::CHARGE
    }
}

/// Why a part is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// It is here already. The others stay.
    Copy,
    /// It overlaps another.
    Overlap,
    /// It and others disagree about the datagram's end, or about ECN.
    Contradiction,
    /// The datagram comes in too many parts.
    TooMany,
}

impl Trouble {
    fn note(self, counters: &mut Counters) -> DropReason {
        match self {
            Trouble::Copy => DropReason::FragmentDuplicate,
            Trouble::Overlap => {
                counters.reassembly_overlaps += 1;
                DropReason::FragmentOverlap
            }
            Trouble::Contradiction => {
                counters.reassembly_contradictions += 1;
                DropReason::FragmentContradiction
            }
            Trouble::TooMany => {
                counters.reassembly_too_many += 1;
                DropReason::FragmentLimit
            }
        }
    }
}

impl Parts {
    /// Whether a part goes with those that are here.
    fn judge(&self, piece: &Piece<'_>, parts_max: usize) -> Result<(), Trouble> {
        let (start, end) = (piece.start, piece.end());
        if self.by_offset.get(&start).is_some_and(|data| **data == *piece.data) {
            let was_last = self.end == Some(end);
            return Err(if was_last == piece.is_last { Trouble::Copy } else { Trouble::Contradiction });
        }
        //= RFC5722 section 4: if any of a datagram's fragments overlap, the whole MUST be silently discarded,
        //# those not yet received included.
        let before = self.by_offset.range(..end).next_back();
        //= RFC8200 4.5 overlap
        //= RFC8504 5.1 overlap
        if before.is_some_and(|(at, data)| at + data.len() > start) {
            return Err(Trouble::Overlap);
        }
        let furthest = self.by_offset.last_key_value().map_or(0, |(at, data)| at + data.len());
        let agrees = match self.end {
            Some(known) => !piece.is_last && end <= known,
            None => !piece.is_last || furthest <= end,
        };
        if !agrees || combined_ecn(self.ecn_seen | 1 << piece.ecn).is_none() {
            return Err(Trouble::Contradiction);
        }
        if self.by_offset.len() >= parts_max { Err(Trouble::TooMany) } else { Ok(()) }
    }

    fn keep(&mut self, piece: &Piece<'_>) {
        if piece.is_last {
            self.end = Some(piece.end());
        }
        //= RFC8200 4.5 first header
        if piece.start == 0 {
            self.headers = Some(piece.headers.into());
        }
        self.by_offset.insert(piece.start, piece.data.into());
        self.received += piece.data.len();
        self.ecn_seen |= 1 << piece.ecn;
        self.charge += piece.charge();
    }

    /// None overlap, so all have come if their lengths add up.
    fn is_complete(&self) -> bool {
        //= RFC791 3.2 reassembly
        //= RFC8200 4.5 reassembly
        self.end == Some(self.received)
    }

    /// The whole datagram: the first part's headers, and all parts' data. `None` if it would be too large.
    fn join(&self) -> Option<Vec<u8>> {
        let ecn = combined_ecn(self.ecn_seen)?;
        let mut whole = fragment::header_of_whole(self.headers.as_ref()?, self.received, ecn)?;
        //= RFC1122 3.2.1.4 reassembly
        //= RFC1812 4.2.2.8 reassembly
        for data in self.by_offset.values() {
            whole.extend_from_slice(data);
        }
        Some(whole)
    }
}

/// What can be said of a part alone.
fn check(ctx: &mut Context, part: &Part<'_>, info: FragmentInfo) -> Result<(), DropReason> {
    let parsed = &part.parsed;
    //= RFC791 3.2 fragment size
    let is_uneven = info.more && !parsed.payload.len().is_multiple_of(8);
    // Of a fragment header that came by IPv6, `wire` has seen to the rest.
    let is_too_long = parsed.src.is_ipv4()
        //= RFC791 3.1 largest datagram
        && parsed.header_len + info.offset_bytes + parsed.payload.len() > usize::from(u16::MAX);
    if parsed.payload.is_empty() || is_uneven || is_too_long {
        return Err(DropReason::FragmentMalformed);
    }
    let is_first = info.offset_bytes == 0;
    //= RFC8200 4.5 all headers
    //= RFC8504 5.2 headers missing
    if is_first && parsed.src.is_ipv6() && !fragment::has_all_headers(parsed.protocol, parsed.payload) {
        // RFC 8200 section 4.5: a first fragment that does not include all headers through the upper-layer header
        // should be discarded and draw a parameter problem, code 3, with a pointer of zero.
        let complaint = Complaint::ParameterProblem { code: 3, pointer: 0 };
        icmp::complain(ctx, &part.datagram(), complaint);
        return Err(DropReason::FragmentHeaders);
    }
    Ok(())
}

/// The ECN codepoint of a datagram whose parts had those of which the bits are set; `None` if it must be dropped.
//= RFC3168 section 5.3: a datagram is marked CE if any of its fragments is; those with fragments that are
//# not ECN-capable among others that are, are dropped.
fn combined_ecn(seen: u8) -> Option<u8> {
    const NOT_ECT: u8 = 1 << 0b00;
    const ECT_1: u8 = 1 << 0b01;
    const ECT_0: u8 = 1 << 0b10;
    const CE: u8 = 1 << 0b11;
    match seen {
        0 | NOT_ECT => Some(0b00),
        _ if seen & NOT_ECT != 0 => None,
        _ if seen & CE != 0 => Some(0b11),
        _ if seen & ECT_0 != 0 => Some(0b10),
        ECT_1 => Some(0b01),
        _ => None,
    }
}

/// Tells the source that not all has come, if its first part has (else the error could name no transport).
// RFC 1122 section 3.3.2: if fragment zero has been received, a time exceeded message with code 1 MUST be sent.
// RFC 8200 section 4.5: if the first fragment has been received, a time exceeded message should be sent.
fn tell_of_timeout(ctx: &mut Context, name: &Name, pending: &Pending) {
    let Some(parts) = &pending.parts else { return };
    let (Some(headers), Some(data)) = (&parts.headers, parts.by_offset.get(&0)) else { return };
    let whole = [&headers[..], &data[..]].concat();
    let about = Subject {
        device: pending.device,
        src: name.src,
        dst: name.dst,
        cast: Some(pending.cast),
        tos: fragment::tos(&whole),
        whole: &whole,
    };
    //= RFC1122 3.3.2 timeout
    //= RFC1812 4.3.3.4 reassembly
    //= RFC8200 4.5 timeout
    icmp::complain(ctx, about, Complaint::ReassemblyTimeExceeded);
}

#[cfg(test)]
mod tests;
