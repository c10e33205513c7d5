//! Flow labels of IPv6 (RFC 6437): routers that spread load over several ways keep together what has one label.
//!
//! Packets of one flow have one label, for as long as there is the stack, and a secret keeps others from telling flows'
//! labels beforehand. What belongs to no flow, such as ICMP, has label 0, and what is forwarded keeps its own.

use core::net::{SocketAddr, SocketAddrV6};

use crate::proto::hash::Keyed;

/// Gives flows their labels. It remembers none of them: a label is a keyed hash of what names the flow.
#[derive(Debug)]
pub(crate) struct FlowLabels(Keyed);

impl FlowLabels {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        FlowLabels(Keyed::new(key))
    }

    /// The label of what goes from one socket to another: 20 bits; 0 over IPv4, which has none.
    //= RFC6437 section 3: source nodes SHOULD assign each unrelated transport connection and application data
    //# stream to a new flow, and set each flow label to a value that is unlikely to be guessed, from a uniform
    //# distribution.
    #[inline]
    pub(crate) fn label(&self, from: SocketAddr, to: SocketAddr, protocol: u8) -> u32 {
        match (from, to) {
            (SocketAddr::V6(from), SocketAddr::V6(to)) => self.label_v6(&from, &to, protocol),
            (SocketAddr::V4(_), _) | (_, SocketAddr::V4(_)) => 0,
        }
    }

    fn label_v6(&self, from: &SocketAddrV6, to: &SocketAddrV6, protocol: u8) -> u32 {
        let hash = self.0.hash((from.ip().to_bits(), to.ip().to_bits(), from.port(), to.port(), protocol));
        // A label of zero says that there is none.
        //= RFC8200 6 labelled flows
        //= RFC8504 5.1 flow label
        (hash as u32 & LABEL_MAX).max(1)
    }
}

/// All bits of a label.
const LABEL_MAX: u32 = 0xf_ffff;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    const KEY: [u8; 16] = [7; 16];

    fn label(key: [u8; 16], from: &str, to: &str, protocol: u8) -> u32 {
        FlowLabels::new(key).label(from.parse().unwrap(), to.parse().unwrap(), protocol)
    }

    //= RFC8504 5.1 flow label
    #[test]
    fn a_flow_keeps_its_label_and_whatever_names_another_flow_changes_it() {
        let flow = label(KEY, "[fd09::2]:80", "[fd09::1]:1000", 6);
        assert_eq!(label(KEY, "[fd09::2]:80", "[fd09::1]:1000", 6), flow);
        let others = [
            label([8; 16], "[fd09::2]:80", "[fd09::1]:1000", 6),
            label(KEY, "[fd09::3]:80", "[fd09::1]:1000", 6),
            label(KEY, "[fd09::2]:80", "[fd09::4]:1000", 6),
            label(KEY, "[fd09::2]:81", "[fd09::1]:1000", 6),
            label(KEY, "[fd09::2]:80", "[fd09::1]:1001", 6),
            label(KEY, "[fd09::2]:80", "[fd09::1]:1000", 17),
        ];
        assert!(others.iter().all(|other| *other != flow), "{flow:#x} {others:#x?}");
        assert_eq!(label(KEY, "10.9.0.2:80", "10.9.0.1:1000", 6), 0);
    }

    #[test]
    fn labels_have_20_bits_all_of_which_are_used_and_none_is_zero() {
        let labels = FlowLabels::new(KEY);
        let from = "[fd09::2]:80".parse().unwrap();
        let to = |port| SocketAddr::new("fd09::1".parse().unwrap(), port);
        let drawn: BTreeSet<u32> = (1..=10_000).map(|port| labels.label(from, to(port), 6)).collect();
        assert!(drawn.iter().all(|label| (1..=0xf_ffff).contains(label)));
        // Of 10,000 drawn from 2^20, about 48 are expected to be the same as another.
        assert!(drawn.len() > 9_900, "{}", drawn.len());
        for bit in 0..20 {
            let set = drawn.iter().filter(|label| *label >> bit & 1 == 1).count();
            assert!((4_500..5_500).contains(&set), "bit {bit}: {set}");
        }
    }
}
