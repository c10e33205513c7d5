//! Datagrams that are left to the device to finish, and sent many at once.

use alloc::vec;
use core::num::NonZeroU16;

use proptest::prelude::*;

use super::*;
use crate::proto::ip::icmp::learn;
use crate::proto::ip::segment::Unfinished;
use crate::proto::packet::{EgressChecksum, Offloads};

const USO: Offloads = Offloads { checksum: true, tso4: false, tso6: false, uso: true };
const CHECKSUM: Offloads = Offloads { uso: false, ..USO };
const ANY: [Offloads; 3] =
    [Offloads { checksum: false, tso4: false, tso6: false, uso: false }, CHECKSUM, USO];
const ENDS: [(&str, &str, usize); 2] =
    [("10.9.0.2:5000", "10.9.0.1:53", 20), ("[fd09::2]:5000", "[fd09::1]:53", 40)];

/// A datagram as a device gets it.
#[derive(Debug)]
struct Left {
    bytes: Vec<u8>,
    checksum: EgressChecksum,
    gso_size: Option<NonZeroU16>,
}

impl Left {
    fn packet(&self) -> Packet<'_> {
        let checksum = match self.checksum {
            EgressChecksum::Partial { .. } => ChecksumState::Partial,
            EgressChecksum::Complete => ChecksumState::Unverified,
        };
        Packet { checksum, gso_size: self.gso_size, ..Packet::plain(&self.bytes, Instant::ZERO) }
    }

    /// The datagrams that come of it on a wire, with good checksums: identification and data of each.
    fn on_the_wire(&self) -> Vec<(u16, Vec<u8>)> {
        let mut all = Vec::new();
        let mut add = |bytes: &[u8]| {
            let parsed = wire_ip::parse(bytes).unwrap();
            assert!(parsed.fragment.is_none());
            let read = wire::parse(parsed.payload, parsed.src, parsed.dst, ChecksumState::Unverified);
            all.push((parsed.ident, read.unwrap().payload.to_vec()));
        };
        match Unfinished::of(&self.packet()).unwrap() {
            Some(unfinished) => unfinished.finish(|headers, data| add(&[headers, data].concat())),
            None => add(&self.bytes),
        }
        all
    }
}

impl Host {
    fn offloading(offloads: Offloads) -> Self {
        let mut host = Host::new();
        host.world.ip.set_offloads(TUN, offloads);
        host
    }

    fn send_segments(&mut self, id: UdpId, data: &[u8], size: usize, to: &str) -> Result<usize, Error> {
        let ctx = self.world.ctx();
        self.sockets.send_segments(ctx, id, data, size, Some(addr(to)), SendOptions::default())
    }

    fn left(&mut self) -> Vec<Left> {
        let mut left = Vec::new();
        let progress = self.world.outbox.drain(&mut |egress: Egress<'_>| {
            let mut bytes = Vec::new();
            egress.copy_to(&mut bytes);
            left.push(Left { bytes, checksum: egress.checksum, gso_size: egress.gso_size });
            Sent::Taken
        });
        assert_eq!(progress, Progress::Idle);
        left
    }
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 256) as u8).collect()
}

#[test]
fn a_device_that_completes_checksums_gets_them_to_complete_unless_the_datagram_is_cut() {
    for (local, remote, ip_header) in ENDS {
        for offloads in [Offloads::default(), CHECKSUM] {
            let mut host = Host::offloading(offloads);
            let id = host.bind(local).unwrap();
            for len in [0, 1, 1500 - 8 - ip_header] {
                let data = text(len);
                assert_eq!(host.send(id, &data, Some(remote)), Ok(len));
                let [left] = &host.left()[..] else { panic!("one datagram") };
                let start = ip_header as u16;
                let expected = match offloads.checksum {
                    true => EgressChecksum::Partial { start, offset: 6 },
                    false => EgressChecksum::Complete,
                };
                assert_eq!((left.checksum, left.gso_size), (expected, None));
                assert_eq!(left.on_the_wire(), [(0, data)]);
            }
            assert_eq!(host.send(id, &text(1500), Some(remote)), Ok(1500));
            let parts = host.left();
            assert!(parts.len() == 2 && parts.iter().all(|part| part.checksum == EgressChecksum::Complete));
        }
    }
}

#[test]
fn what_goes_to_the_stack_itself_has_its_checksum() {
    let mut host = Host::offloading(USO);
    let id = host.bind("10.9.0.2:5000").unwrap();
    assert_eq!(host.send_segments(id, &text(2500), 1000, "10.9.0.2:53"), Ok(2500));
    let left = host.left();
    assert!(left.iter().all(|left| left.checksum == EgressChecksum::Complete && left.gso_size.is_none()));
    assert_eq!(left.len(), 3);
}

#[test]
fn a_path_that_has_become_narrower_is_heeded_by_the_next_datagram() {
    for (local, remote, ip_header) in ENDS {
        let mut host = Host::offloading(USO);
        let id = host.bind(local).unwrap();
        let size = 1500 - 8 - ip_header;
        assert_eq!(host.send_segments(id, &text(3 * size), size, remote), Ok(3 * size));
        let [left] = &host.left()[..] else { panic!("one super-datagram") };
        assert_eq!(left.on_the_wire().len(), 3);
        assert!(learn(host.world.ctx(), addr(remote).ip(), 1400));
        assert_eq!(host.send_segments(id, &text(3 * size), size, remote), Ok(3 * size));
        let left = host.left();
        assert!(
            left.iter().all(|part| part.checksum == EgressChecksum::Complete && part.bytes.len() <= 1400)
        );
        assert_eq!((left.len(), host.world.counters.fragmented), (6, 3));
    }
}

#[test]
fn who_complains_of_a_super_datagram_or_one_of_its_parts_is_believed() {
    let (local, remote, _) = ENDS[0];
    let mut host = Host::offloading(USO);
    let id = host.bind(local).unwrap();
    assert_eq!(host.send_segments(id, &text(2500), 1000, remote), Ok(2500));
    let (src, dst) = (addr(local).ip(), addr(remote).ip());
    let quoted = |len: usize| {
        let mut written = HeaderBuf::new();
        UdpHeader { src_port: 5000, dst_port: 53 }.write_seeded(src, dst, len, &mut written);
        written
    };
    for (len, is_known) in [(1000, true), (2500, true), (1001, false), (2000, false)] {
        let has_sent = host.world.ip.path_mtu.has_sent(src, dst, PROTOCOL_UDP, &quoted(len));
        assert_eq!(has_sent, is_known, "{len}");
    }
}

#[test]
fn what_cannot_be_a_burst_is_refused() {
    let (local, remote, _) = ENDS[0];
    for offloads in [Offloads::default(), USO] {
        let mut host = Host::offloading(offloads);
        let id = host.bind(local).unwrap();
        assert_eq!(host.send_segments(id, &text(65), 1, remote), Err(Error::InvalidInput));
        assert_eq!(host.send_segments(id, &text(1), 0, remote), Err(Error::InvalidInput));
        assert_eq!(host.send_segments(id, &text(65_508), 1400, remote), Err(Error::MessageTooLong));
        assert!(host.left().is_empty());
        assert_eq!(host.send_segments(id, &text(64), 1, remote), Ok(64));
        assert_eq!(host.send_segments(id, &text(65_507), 1400, remote), Ok(65_507));
        assert_eq!(host.send_segments(id, &[], 0, remote), Ok(0));
        let wire: Vec<_> = host.left().iter().flat_map(Left::on_the_wire).collect();
        assert_eq!(wire.len(), 64 + 47 + 1);
    }
}

#[test]
fn a_burst_finds_room_for_all_of_it_or_waits() {
    let (local, remote, _) = ENDS[0];
    for (offloads, taken) in [(Offloads::default(), 1), (USO, 12)] {
        let mut host = Host::with(Config { outbox_packets: 16, ..Config::default() });
        host.world.ip.set_offloads(TUN, offloads);
        let id = host.bind(local).unwrap();
        let mut sent = 0;
        while host.send_segments(id, &text(8000), 1000, remote) == Ok(8000) {
            sent += 1;
        }
        assert_eq!(sent, taken);
        assert_eq!(host.send_segments(id, &text(8000), 1000, remote), Err(Error::WouldBlock));
        assert_eq!(host.left().iter().flat_map(Left::on_the_wire).count(), 8 * sent);
        host.relieve();
        assert_eq!(host.event(id), Some(Readiness::WRITABLE));
        assert_eq!(host.world.counters.udp_out as usize, 8 * sent);
    }
}

#[test]
fn datagrams_that_wait_behind_others_of_their_kind_leave_with_them() {
    for (local, remote, _) in ENDS {
        let mut host = Host::offloading(USO);
        let id = host.bind(local).unwrap();
        let other = remote.replace(":53", ":54");
        let full = [vec![100; 64], vec![100; 6]].concat();
        for (to, lens, expected) in [
            (remote, &[100, 100, 100][..], &[3][..]),
            (remote, &[100, 100, 50, 100, 100][..], &[3, 2][..]),
            (remote, &[100, 101, 0, 101, 101][..], &[1, 1, 1, 2][..]),
            (&other, &full, &[64, 6]),
            (remote, &[1400; 50], &[46, 4]),
        ] {
            for (number, len) in lens.iter().enumerate() {
                assert_eq!(host.send(id, &vec![number as u8; *len], Some(to)), Ok(*len));
            }
            let wire: Vec<Vec<_>> = host.left().iter().map(Left::on_the_wire).collect();
            assert_eq!(wire.iter().map(Vec::len).collect::<Vec<_>>(), expected);
            let sent: Vec<Vec<u8>> =
                lens.iter().enumerate().map(|(number, len)| vec![number as u8; *len]).collect();
            assert_eq!(wire.into_iter().flatten().map(|(_, data)| data).collect::<Vec<_>>(), sent);
        }
        // One for somebody else ends it, or one that is marked otherwise.
        for (to, tos) in [(remote, 0), (remote, 0), (&other, 0), (remote, 0), (remote, 1), (remote, 1)] {
            let with = SendOptions { tos: Some(tos), ..SendOptions::default() };
            host.sockets.send_to(host.world.ctx(), id, b"x", Some(addr(to)), with).unwrap();
        }
        let counts: Vec<usize> = host.left().iter().map(|left| left.on_the_wire().len()).collect();
        assert_eq!(counts, [2, 1, 1, 2]);
        // What is quoted of the whole, and of each that comes of it, is believed.
        assert_eq!(
            (host.send(id, &[0; 1300], Some(remote)), host.send(id, &[0; 1300], Some(remote))),
            (Ok(1300), Ok(1300))
        );
        let (src, dst) = (addr(local).ip(), addr(remote).ip());
        for (len, is_known) in [(1300, true), (2600, true), (1301, false)] {
            let mut quoted = HeaderBuf::new();
            UdpHeader { src_port: 5000, dst_port: 53 }.write_seeded(src, dst, len, &mut quoted);
            assert_eq!(host.world.ip.path_mtu.has_sent(src, dst, PROTOCOL_UDP, &quoted), is_known, "{len}");
        }
    }
}

#[test]
fn datagrams_that_routers_may_cut_each_have_a_name_of_their_own() {
    let (local, remote, _) = ENDS[0];
    let mut host = Host::offloading(USO);
    let id = host.bind(local).unwrap();
    host.change(id, |options| options.mtu_discover = MtuDiscover::Dont);
    assert_eq!(host.send_segments(id, &text(5000), 1000, remote), Ok(5000));
    let mut idents: Vec<u16> =
        host.left().iter().flat_map(Left::on_the_wire).map(|(ident, _)| ident).collect();
    assert_eq!(idents.len(), 5);
    idents.sort_unstable();
    idents.dedup();
    assert_eq!(idents.len(), 5);
}

proptest! {
    #[test]
    fn a_burst_is_what_its_datagrams_would_be(
        is_ipv6: bool, offloads in prop::sample::select(&ANY[..]),
        then in prop::sample::select(&ANY[..]),
        count in 1..=64_usize, size in 1..=1000_usize, last in 0..1000_usize,
    ) {
        let (local, remote, _) = ENDS[usize::from(is_ipv6)];
        let mut host = Host::offloading(offloads);
        let id = host.bind(local).unwrap();
        let data = text((count - 1) * size + 1 + last % size);
        prop_assert_eq!(host.send_segments(id, &data, size, remote), Ok(data.len()));
        // The device may have become another while it waits.
        host.world.ip.set_offloads(TUN, then);
        host.world.outbox.follow_offloads(TUN, then);
        let left = host.left();
        let is_one = offloads.uso && then.uso;
        prop_assert_eq!(left.len(), if is_one { 1 } else { count });
        let is_taken = |left: &Left| match left.checksum {
            EgressChecksum::Complete => left.gso_size.is_none(),
            EgressChecksum::Partial { .. } => then.checksum && (left.gso_size.is_none() || then.uso),
        };
        prop_assert!(left.iter().all(is_taken));
        let wire: Vec<Vec<u8>> = left.iter().flat_map(Left::on_the_wire).map(|(_, data)| data).collect();
        let expected: Vec<Vec<u8>> = data.chunks(size).map(<[u8]>::to_vec).collect();
        prop_assert_eq!(wire, expected);
        prop_assert_eq!(host.world.counters.udp_out, count as u64);
    }
}
