//! "Packet too big" and "fragmentation needed": who is believed about the MTU of a path (RFC 1191, RFC 5927, RFC 8201).
//!
//! Owns what proof is asked for: the quotation of a packet that we have sent (`ip::sent_log`). TCP asks for a sequence
//! number in flight instead, and then says so here. Owns not what is remembered of it, which is `ip::pmtu`'s.

use core::net::IpAddr;

use super::error::{IcmpError, IcmpErrorKind};
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::wire::ip::PROTOCOL_TCP;

/// Notes that datagrams of more than `mtu` bytes do not reach `destination`. The caller has made sure that who
/// says so has seen a packet of ours (RFC 5927). Returns whether that is news.
pub(crate) fn learn(ctx: &mut Context, destination: IpAddr, mtu: usize) -> bool {
    let known = ctx.ip.route(destination, None).map_or(usize::MAX, |route| route.mtu);
    let expires = ctx.now + ctx.config.path_mtu_expiry;
    let is_news = ctx.ip.path_mtu.lower(destination, mtu, known, expires, &mut ctx.timers);
    let counter =
        if is_news { &mut ctx.counters.path_mtus_learnt } else { &mut ctx.counters.path_mtus_refused };
    *counter += 1;
    is_news
}

/// Deals with an error that says "too big", before its transport hears of it. `quoted` is the quoted packet from
/// its IP header on. Sets the MTU of one that names none, and learns from one that quotes a packet of ours. What
/// TCP's quote is worth, TCP knows.
///
/// # Errors
/// `IcmpUnrelated` if we have sent no such packet lately.
pub(super) fn packet_too_big(
    ctx: &mut Context,
    error: &mut IcmpError<'_>,
    quoted: &[u8],
) -> Result<(), DropReason> {
    let IcmpErrorKind::PacketTooBig(reported) = error.kind else { return Ok(()) };
    let mtu = next_hop_mtu(reported, quoted);
    error.kind = IcmpErrorKind::PacketTooBig(mtu);
    if error.protocol == PROTOCOL_TCP {
        return Ok(());
    }
    let (src, dst) = (error.local.ip(), error.remote.ip());
    //= RFC8201 6 unprotected
    if !ctx.ip.path_mtu.has_sent(src, dst, error.protocol, error.transport) {
        return Err(DropReason::IcmpUnrelated);
    }
    //= RFC8200 5 path MTU
    //= RFC8504 5.7 path MTU
    learn(ctx, dst, mtu as usize);
    Ok(())
}

/// The MTU that a router reports, or what to try if it is older than RFC 1191 and reports none: the next of the
/// sizes that links have, below the size of the packet that was too large (section 7).
//= RFC1191 4 zero, 5 plateau
fn next_hop_mtu(reported: u32, quoted: &[u8]) -> u32 {
    const PLATEAUS: [u16; 10] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];
    match *quoted {
        [first, _, high, low, ..] if reported == 0 && first >> 4 == 4 => {
            let len = u16::from_be_bytes([high, low]);
            PLATEAUS.iter().copied().find(|plateau| *plateau < len).unwrap_or(68).into()
        }
        _ => reported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ip::testing::{TUN, World, datagram, header, icmp_message, ip};
    use crate::proto::ip::{Route, icmp, send};
    use crate::proto::wire::icmp::{ErrorMessage, Message};
    use crate::proto::wire::ip::{PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_UDP};
    use alloc::vec::Vec;

    /// Sends a datagram and returns what left.
    fn sent(world: &mut World, src: &str, dst: &str, protocol: u8, transport: &[u8]) -> Vec<Vec<u8>> {
        let route = Route { device: TUN, source: ip(src), mtu: 1500, link_mtu: 1500 };
        send(world.ctx(), &route, &header(src, dst, protocol), &[transport]);
        core::iter::from_fn(|| world.sent()).map(|(_, bytes)| bytes).collect()
    }

    fn complained(
        world: &mut World,
        from: &str,
        to: &str,
        word: u32,
        quoted: &[u8],
    ) -> Result<(), DropReason> {
        let (kind, code) = if ip(from).is_ipv4() { (3, 4) } else { (2, 0) };
        let bytes = icmp_message(from, to, Message::Error(ErrorMessage { kind, code, word, quoted }));
        let datagram = world.input(&bytes)?;
        icmp::receive(world.ctx(), &datagram).map(|_| ())
    }

    //= RFC5927 section 7.2
    //= RFC8201 6 unprotected
    #[test]
    fn only_who_quotes_what_we_have_sent_is_believed() {
        for (us, them, router, icmp) in [
            ("10.9.0.2", "10.9.0.1", "172.16.0.1", PROTOCOL_ICMP),
            ("fd09::2", "fd09::1", "fd88::1", PROTOCOL_ICMPV6),
        ] {
            for protocol in [PROTOCOL_UDP, icmp, 99] {
                let mut transport = [7; 1400];
                // A length that UDP's could be; an echo request.
                transport[4..6].copy_from_slice(&1400_u16.to_be_bytes());
                let mut world = World::new();
                let mut forged = datagram(&header(us, them, protocol), &transport);
                assert_eq!(complained(&mut world, router, us, 1300, &forged), Err(DropReason::IcmpUnrelated));
                let ours = sent(&mut world, us, them, protocol, &transport);
                // Another port, identifier, first word.
                let at = forged.len() - 1400 + 1;
                forged[at] ^= 1;
                assert_eq!(complained(&mut world, router, us, 1300, &forged), Err(DropReason::IcmpUnrelated));
                assert_eq!(world.ip.path_mtu.get(ip(them)), None);
                let quoted = &ours[0][..forged.len() - 1400 + 8];
                assert_eq!(complained(&mut world, router, us, 1300, quoted), Ok(()));
                assert_eq!(world.ip.path_mtu.get(ip(them)), Some(1300), "{them} {protocol}");
            }
        }
    }

    #[test]
    fn the_first_part_of_what_was_cut_is_proof_enough() {
        let mut world = World::new();
        let parts = sent(&mut world, "fd09::2", "fd09::1", PROTOCOL_UDP, &[7; 4000]);
        assert_eq!(parts.len(), 3);
        let later = complained(&mut world, "fd88::1", "fd09::2", 1300, &parts[1]);
        assert_eq!((later, world.ip.path_mtu.get(ip("fd09::1"))), (Err(DropReason::IcmpUnrelated), None));
        assert_eq!(complained(&mut world, "fd88::1", "fd09::2", 1300, &parts[0]), Ok(()));
        assert_eq!(world.ip.path_mtu.get(ip("fd09::1")), Some(1300));
        assert_eq!(sent(&mut world, "fd09::2", "fd09::1", PROTOCOL_UDP, &[7; 1300]).len(), 1);
    }

    #[test]
    fn small_datagrams_prove_nothing_since_they_never_were_too_big() {
        let mut world = World::new();
        for (us, them, len) in [("10.9.0.2", "10.9.0.1", 552 - 20), ("fd09::2", "fd09::1", 1280 - 40)] {
            let ours = sent(&mut world, us, them, 99, &alloc::vec![1; len]);
            assert_eq!(complained(&mut world, them, us, 1300, &ours[0]), Err(DropReason::IcmpUnrelated));
        }
    }

    //= RFC1191 5 plateau, 4 zero
    #[test]
    fn a_router_that_names_no_mtu_means_the_next_lower_plateau() {
        let quoted = |len: u16| {
            let [high, low] = len.to_be_bytes();
            next_hop_mtu(0, &[0x45, 0, high, low, 0, 0])
        };
        for (len, mtu) in [(65_535, 32_000), (1500, 1492), (1492, 1006), (577, 508), (296, 68), (20, 68)] {
            assert_eq!(quoted(len), mtu, "{len}");
        }
        assert_eq!((next_hop_mtu(1400, &[0x45, 0, 5, 220]), next_hop_mtu(0, &[0x60; 40])), (1400, 0));
        let mut world = World::new();
        let ours = sent(&mut world, "10.9.0.2", "10.9.0.1", 99, &[1; 1480]);
        assert_eq!(complained(&mut world, "10.9.0.1", "10.9.0.2", 0, &ours[0]), Ok(()));
        assert_eq!(world.ip.path_mtu.get(ip("10.9.0.1")), Some(1492));
    }
}
