//! Many datagrams at once, few places and little time: the table against a list, the oldest datagram first.

use super::*;

/// Room for three datagrams, or for two and three of the smallest parts exactly.
const LIMITS: Limits =
    Limits { bytes: 2 * Pending::CHARGE + 3 * (Piece::CHARGE + 8), datagrams: 3, parts: 3 };

/// A fragment that comes.
#[derive(Clone, Debug)]
struct Fragment {
    is_v4: bool,
    /// Whose, of two hosts; of IPv4, which of two protocols.
    src: usize,
    protocol: u8,
    ident: u32,
    ecn: u8,
    start: usize,
    data: Vec<u8>,
    more: bool,
}

impl Fragment {
    fn bytes(&self) -> Vec<u8> {
        let (hosts, us) = if self.is_v4 {
            (["10.9.0.1", "10.9.0.3"], "10.9.0.2")
        } else {
            (["fd09::1", "fd09::3"], "fd09::2")
        };
        let whole = IpHeader { tos: 0x50 | self.ecn, ..header(hosts[self.src], us, self.protocol) };
        Bit { whole, ident: self.ident, start: self.start, data: &self.data, more: self.more }.bytes()
    }

    fn end(&self) -> usize {
        self.start + self.data.len()
    }

    /// RFC 791 section 3.2: source, destination, protocol and identification; RFC 8200 section 4.5: without protocol.
    fn is_of(&self, other: &Fragment) -> bool {
        let name = |it: &Fragment| (it.is_v4, it.src, it.ident, if it.is_v4 { it.protocol } else { 0 });
        name(self) == name(other)
    }

    fn charge(&self) -> usize {
        self.data.len() + Piece::CHARGE
    }
}

fn fragment() -> impl Strategy<Value = Fragment> {
    let name = (
        any::<bool>(),
        prop::sample::select(&[0_usize, 0, 0, 0, 1][..]),
        prop::sample::select(&[PROTOCOL, PROTOCOL, PROTOCOL, PROTOCOL, 98][..]),
        prop::sample::select(&[7_u32, 7, 7, 7, 8][..]),
    );
    let ecn = prop::sample::select(&[0_u8, 2, 2, 2, 2, 1, 3][..]);
    (name, ecn, any_piece()).prop_map(|((is_v4, src, protocol, ident), ecn, (start, data, more))| {
        let protocol = if is_v4 { protocol } else { PROTOCOL };
        // Alone it would be no fragment.
        let more = more || start == 0;
        let data = if more { vec![data[0]; data.len().next_multiple_of(8)] } else { data };
        Fragment { is_v4, src, protocol, ident, ecn, start, data, more }
    })
}

/// A datagram, as the parts that have come.
struct Told {
    first: Fragment,
    until: Instant,
    parts: Vec<Fragment>,
    is_refused: bool,
}

impl Told {
    fn charge(&self) -> usize {
        let parts = if self.is_refused { &[] } else { &self.parts[..] };
        Pending::CHARGE + parts.iter().map(Fragment::charge).sum::<usize>()
    }

    /// Why a part is not kept.
    fn objection(&self, new: &Fragment) -> Option<DropReason> {
        let is_same = |it: &&Fragment| (it.start, &it.data) == (new.start, &new.data);
        if let Some(same) = self.parts.iter().find(is_same) {
            return Some(if same.more == new.more { FragmentDuplicate } else { FragmentContradiction });
        }
        if self.parts.iter().any(|it| it.start < new.end() && new.start < it.end()) {
            return Some(FragmentOverlap);
        }
        let all: Vec<&Fragment> = self.parts.iter().chain([new]).collect();
        let last: Vec<usize> = all.iter().filter(|it| !it.more).map(|it| it.end()).collect();
        let has_two_ends = last.len() > 1;
        let goes_on_behind_its_end = last.iter().any(|end| all.iter().any(|it| it.end() > *end));
        if has_two_ends || goes_on_behind_its_end || ecn(&all).is_none() {
            return Some(FragmentContradiction);
        }
        (all.len() > LIMITS.parts).then_some(FragmentLimit)
    }

    /// The data, and the ECN codepoint, if no octet is missing.
    fn whole(&self) -> Option<(Vec<u8>, u8)> {
        let mut sorted: Vec<&Fragment> = self.parts.iter().collect();
        sorted.sort_by_key(|it| it.start);
        let mut data = vec![];
        for part in &sorted {
            if part.start != data.len() {
                return None;
            }
            data.extend(&part.data);
        }
        (!sorted.last()?.more).then(|| (data, ecn(&sorted).unwrap()))
    }
}

/// RFC 3168 section 5.3.
fn ecn(parts: &[&Fragment]) -> Option<u8> {
    let has = |codepoint: u8| parts.iter().any(|it| it.ecn == codepoint);
    match parts.first()?.ecn {
        first if parts.iter().all(|it| it.ecn == first) => Some(first),
        _ if has(0) => None,
        _ if has(3) => Some(3),
        _ => Some(2),
    }
}

#[derive(Default)]
struct List {
    told: Vec<Told>,
    reassembled: u64,
    evicted: u64,
    timeouts: u64,
}

impl List {
    fn charge(&self) -> usize {
        self.told.iter().map(Told::charge).sum()
    }

    fn give(&mut self, new: &Fragment, now: Instant) -> Result<Option<(Vec<u8>, u8)>, DropReason> {
        if let Some(told) = self.told.iter_mut().find(|it| it.first.is_of(new)) {
            if told.is_refused {
                return Err(FragmentRefused);
            }
            if let Some(objection) = told.objection(new) {
                // RFC 5722 section 4: the whole datagram, and what of it is yet to come.
                told.is_refused = objection != FragmentDuplicate;
                return Err(objection);
            }
        }
        loop {
            let is_new = !self.told.iter().any(|it| it.first.is_of(new));
            let needed = new.charge() + if is_new { Pending::CHARGE } else { 0 };
            let fits = self.charge() + needed <= LIMITS.bytes;
            if fits && self.told.len() + usize::from(is_new) <= LIMITS.datagrams {
                break;
            }
            self.told.remove(0);
            self.evicted += 1;
        }
        let index = self.told.iter().position(|it| it.first.is_of(new)).unwrap_or_else(|| {
            let until = now + Duration::from_secs(if new.is_v4 { 30 } else { 60 });
            self.told.push(Told { first: new.clone(), until, parts: vec![], is_refused: false });
            self.told.len() - 1
        });
        self.told[index].parts.push(new.clone());
        let whole = self.told[index].whole();
        if whole.is_some() {
            self.told.remove(index);
            self.reassembled += 1;
        }
        Ok(whole)
    }

    fn pass(&mut self, now: Instant) {
        self.timeouts += self.told.iter().filter(|it| it.until <= now && !it.is_refused).count() as u64;
        self.told.retain(|it| it.until > now);
    }
}

proptest! {
    #[test]
    fn any_fragments_of_many_datagrams_do_what_a_list_says(
        steps in prop::collection::vec((fragment(), prop_oneof![9 => Just(0_u64), 1 => 1_u64..40_000]), 1..80),
    ) {
        let mut host = Host::with(Config {
            reassembly_bytes: LIMITS.bytes,
            reassembly_datagrams: LIMITS.datagrams,
            reassembly_parts: LIMITS.parts,
            ..Config::default()
        });
        let mut list = List::default();
        for (fragment, ms) in steps {
            host.pass(Duration::from_millis(ms));
            list.pass(host.world.now);
            let verdict = host.give_whole(&fragment.bytes()).map(|whole| {
                whole.map(|whole| {
                    let read = wire::ip::parse(&whole).unwrap();
                    assert_eq!((read.fragment, read.tos & !0b11), (None, 0x50));
                    (read.payload.to_vec(), read.tos & 0b11)
                })
            });
            prop_assert_eq!(verdict, list.give(&fragment, host.world.now));
            prop_assert_eq!(host.reassembly.held(), (list.told.len(), list.charge()));
            let counters = &host.world.counters;
            let counted = (counters.reassembled, counters.reassembly_evicted, counters.reassembly_timeouts);
            prop_assert_eq!(counted, (list.reassembled, list.evicted, list.timeouts));
        }
        host.pass(Duration::from_secs(60));
        list.pass(host.world.now);
        prop_assert_eq!((host.reassembly.held(), list.told.len()), ((0, 0), 0));
        prop_assert!(host.world.timers.is_empty());
    }
}
