//! How many ICMP errors may be sent: token buckets (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 f).
//!
//! Every error takes a token from the bucket of the one who is told, so that nobody gets many, and one from the
//! bucket of all, so that many who are told (or one who forges many sources) don't get many together. As on Linux,
//! "packet too big" and "fragmentation needed" don't count among them: who doesn't get those can't use the path at
//! all. But RFC 4443 lets no error go unlimited, so they have a bucket of their own, which nothing else empties.

use core::net::IpAddr;
use core::time::Duration;

use hashbrown::HashMap;

use crate::proto::config::Config;
use crate::proto::hash::Keyed;
use crate::rng::Rng;
use crate::time::Instant;

/// The buckets of a stack.
#[derive(Debug)]
pub(crate) struct Limiter {
    all: Bucket,
    too_big: Bucket,
    peers: Peers,
}

/// Which bucket of the stack an error is paid from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Price {
    /// That of errors in general, and that of the one who is told.
    Ordinary,
    /// That of errors about packets too big for a link.
    TooBig,
}

impl Limiter {
    /// Full buckets.
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        //= RFC4443 2.4 f configurable
        let bucket = || Bucket::new(config.icmp_errors_per_second, config.icmp_errors_burst, now);
        Limiter { all: bucket(), too_big: bucket(), peers: Peers::new(config) }
    }

    /// Whether one more error may be sent to `peer` now; takes its tokens.
    pub(crate) fn allow(&mut self, now: Instant, rng: &mut Rng, peer: IpAddr, price: Price) -> bool {
        match price {
            // A peer that is refused takes nothing from what the others have in common.
            Price::Ordinary => {
                self.peers.may(now, peer) && self.all.allow(now, rng) && self.peers.charge(now, rng, peer)
            }
            Price::TooBig => self.too_big.allow(now, rng),
        }
    }
}

/// A token bucket whose tokens differ in price at random.
///
/// One bucket for the whole stack is a side channel when it can be counted: an attacker who empties it with
/// forged sources learns from the errors that he himself still gets which ports are open (CVE-2020-25705).
/// So each permission costs between nothing and two tokens, one on average.
#[derive(Debug)]
struct Bucket {
    /// Nanotokens in the bucket; below zero when the last permission cost more than there was.
    credit: i64,
    /// Nanotokens that fit.
    capacity: i64,
    /// Tokens per second, which is nanotokens per nanosecond.
    rate: i64,
    filled_at: Instant,
}

/// Nanotokens in one token.
const TOKEN: i64 = 1_000_000_000;

impl Bucket {
    /// A full bucket of `burst` tokens that gains `per_second` of them.
    fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let capacity = i64::from(burst) * TOKEN;
        Bucket { credit: capacity, capacity, rate: i64::from(per_second), filled_at: now }
    }

    /// Whether one more may be sent now; takes its price.
    fn allow(&mut self, now: Instant, rng: &mut Rng) -> bool {
        self.fill(now);
        if self.credit < TOKEN {
            return false;
        }
        self.credit -= i64::from(rng.within(0..=2_000_000)) * (TOKEN / 1_000_000);
        true
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = i64::try_from(now.since(self.filled_at).as_nanos()).unwrap_or(i64::MAX);
        self.credit = self.credit.saturating_add(elapsed.saturating_mul(self.rate)).min(self.capacity);
        self.filled_at = self.filled_at.max(now);
    }
}

/// A bucket for each peer that was told of an error not long ago.
///
/// A bucket is one number: when it will be full again. Full ones are as good as none, and are thrown out when the
/// table is; as all the others together are bounded by the bucket of all, that makes room (and if it doesn't, since
/// the table was made small, new peers are told nothing for a while).
#[derive(Debug)]
struct Peers {
    /// When each bucket is full. Made when the first is needed: the source of randomness comes with a call.
    full_at: Option<HashMap<IpAddr, Instant, Keyed>>,
    limit: usize,
    /// How long a token takes to come, in nanoseconds; 0: never.
    token_ns: u64,
    /// How long an empty bucket takes to be full.
    fill_ns: u64,
}

impl Peers {
    fn new(config: &Config) -> Self {
        let token_ns =
            TOKEN.unsigned_abs().checked_div(config.icmp_peer_errors_per_second.into()).unwrap_or(0);
        let fill_ns = token_ns.saturating_mul(config.icmp_peer_errors_burst.into());
        Peers { full_at: None, limit: config.icmp_error_peers, token_ns, fill_ns }
    }

    /// Whether there is a token for the peer.
    fn may(&self, now: Instant, peer: IpAddr) -> bool {
        let full_at = self.full_at.as_ref().and_then(|table| table.get(&peer)).copied();
        self.token_ns > 0 && self.after(now, full_at) <= now + Duration::from_nanos(self.fill_ns)
    }

    /// Takes a token, if there is a place to note it.
    fn charge(&mut self, now: Instant, rng: &mut Rng, peer: IpAddr) -> bool {
        let table = self.full_at.get_or_insert_with(|| HashMap::with_hasher(key(rng)));
        let before = table.get(&peer).copied();
        if before.is_none() && table.len() >= self.limit {
            table.retain(|_, full_at| *full_at > now);
            if table.len() >= self.limit {
                return false;
            }
        }
        let after = self.after(now, before);
        if let Some(table) = &mut self.full_at {
            table.insert(peer, after);
        }
        true
    }

    /// When a bucket is full after one token more was taken.
    fn after(&self, now: Instant, full_at: Option<Instant>) -> Instant {
        full_at.unwrap_or(now).max(now) + Duration::from_nanos(self.token_ns)
    }
}

fn key(rng: &mut Rng) -> Keyed {
    let key = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
    Keyed::new(key.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;

    fn allowed(bucket: &mut Bucket, rng: &mut Rng, now: Instant, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(bucket.allow(now, rng))).sum()
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let mut rng = Rng::from_number(1);
        let mut now = Instant::from_millis(5);
        let mut bucket = Bucket::new(100, 50, now);
        let burst = allowed(&mut bucket, &mut rng, now, 1000);
        assert!((30..=75).contains(&burst), "{burst}");
        let mut later = 0;
        for _ in 0..1000 {
            now += Duration::from_millis(10);
            later += allowed(&mut bucket, &mut rng, now, 5);
        }
        assert!((950..=1050).contains(&later), "{later}");
    }

    #[test]
    fn a_long_silence_fills_the_bucket_but_no_more() {
        let mut rng = Rng::from_number(2);
        let mut bucket = Bucket::new(u32::MAX, 10, Instant::ZERO);
        let count = allowed(&mut bucket, &mut rng, Instant::MAX, 1000);
        assert!((5..=25).contains(&count), "{count}");
    }

    #[test]
    fn time_that_runs_backwards_earns_nothing() {
        let mut rng = Rng::from_number(3);
        let mut bucket = Bucket::new(1000, 1, Instant::from_millis(1000));
        while bucket.allow(Instant::from_millis(1000), &mut rng) {}
        assert!(!bucket.allow(Instant::ZERO, &mut rng));
        assert!(!bucket.allow(Instant::from_millis(1000), &mut rng));
    }

    #[test]
    fn a_bucket_of_no_size_allows_nothing() {
        let mut rng = Rng::from_number(4);
        assert!(!Bucket::new(1000, 0, Instant::ZERO).allow(Instant::from_millis(9), &mut rng));
    }

    fn peer(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    fn config(per_second: u32, burst: u32, peers: usize) -> Config {
        Config {
            icmp_peer_errors_per_second: per_second,
            icmp_peer_errors_burst: burst,
            icmp_error_peers: peers,
            icmp_errors_per_second: 1_000_000,
            icmp_errors_burst: 1_000_000,
            ..Config::default()
        }
    }

    #[test]
    fn one_peer_s_errors_leave_the_others_theirs() {
        let mut rng = Rng::from_number(5);
        let now = Instant::from_millis(9);
        let mut limiter = Limiter::new(&config(10, 6, 100), now);
        let mut told =
            |number, price| (0..20).filter(|_| limiter.allow(now, &mut rng, peer(number), price)).count();
        assert_eq!((told(1, Price::Ordinary), told(2, Price::Ordinary)), (6, 6));
        assert_eq!((told(1, Price::Ordinary), told(1, Price::TooBig)), (0, 20));
    }

    #[test]
    fn a_peer_that_is_refused_takes_nothing_from_the_others() {
        let mut rng = Rng::from_number(6);
        let now = Instant::from_millis(9);
        let limits = Config { icmp_errors_per_second: 1, icmp_errors_burst: 100, ..config(1, 6, 100) };
        let mut limiter = Limiter::new(&limits, now);
        for _ in 0..10_000 {
            limiter.allow(now, &mut rng, peer(1), Price::Ordinary);
        }
        assert!(limiter.allow(now, &mut rng, peer(2), Price::Ordinary));
    }

    #[test]
    fn many_peers_together_are_limited_and_take_bounded_room() {
        let mut rng = Rng::from_number(7);
        let limits = Config { icmp_errors_per_second: 1000, icmp_errors_burst: 50, ..config(10, 10, 2048) };
        let mut now = Instant::from_millis(9);
        let mut limiter = Limiter::new(&limits, now);
        let mut told = 0_u32;
        for number in 0..1_000_000 {
            now += Duration::from_micros(10);
            told += u32::from(limiter.allow(now, &mut rng, peer(number), Price::Ordinary));
        }
        // Ten seconds.
        assert!((9_000..11_500).contains(&told), "{told}");
        assert!(limiter.peers.full_at.as_ref().is_some_and(|table| table.len() <= 2048));
    }

    #[test]
    fn rates_of_nothing_allow_nothing_and_no_room_is_no_permission() {
        let mut rng = Rng::from_number(8);
        let now = Instant::from_millis(9);
        for limits in [config(0, 10, 10), config(10, 0, 10), config(10, 10, 0)] {
            assert!(!Limiter::new(&limits, now).allow(now, &mut rng, peer(1), Price::Ordinary));
        }
    }

    proptest! {
        /// The naive model counts tokens, in nanotokens.
        #[test]
        fn the_buckets_of_peers_agree_with_counted_tokens(
            steps in prop::collection::vec((0_u32..5, 0_u64..400), 1..300),
            per_second in prop::sample::select(alloc::vec![1_u32, 4, 10, 100]),
            burst in 1_u32..8,
        ) {
            let mut rng = Rng::from_number(9);
            let mut now = Instant::from_millis(1);
            let mut peers = Peers::new(&config(per_second, burst, 100));
            let full = i64::from(burst) * TOKEN;
            let mut model: BTreeMap<u32, (i64, Instant)> = BTreeMap::new();
            for (number, wait_ms) in steps {
                now += Duration::from_millis(wait_ms);
                let (tokens, at) = model.get(&number).copied().unwrap_or((full, now));
                let earned = now.since(at).as_nanos() as i64 * i64::from(per_second);
                let tokens = (tokens + earned).min(full);
                let may = peers.may(now, peer(number));
                prop_assert_eq!(may, tokens >= TOKEN);
                if may {
                    prop_assert!(peers.charge(now, &mut rng, peer(number)));
                }
                model.insert(number, (if may { tokens - TOKEN } else { tokens }, now));
            }
            let known: Vec<IpAddr> = peers.full_at.iter().flat_map(|table| table.keys().copied()).collect();
            prop_assert!(known.len() <= model.len());
        }
    }
}
