use super::*;
use crate::proto::config::Config;
use crate::proto::config::Secrets;
use crate::proto::events::Event;
use crate::proto::ip::icmp::IcmpErrorKind;
use crate::proto::ip::testing::{TUN, World, icmp_message, ip, udp};
use crate::proto::packet::{ChecksumState, DeviceId, Egress, Packet, Sent};
use crate::proto::socket_errors::ErrorCause;
use crate::proto::stack::{Progress, Stack};
use crate::proto::wire::icmp::{ErrorMessage, Message};
use crate::proto::wire::ip as wire_ip;
use crate::time::Instant;

mod errors;
mod unfinished;

/// A world with sockets in it.
struct Host {
    world: World,
    sockets: Sockets,
}

const OWNER: Owner = Owner(3);

impl Host {
    /// As the stack does after sending.
    fn relieve(&mut self) {
        if self.world.outbox.take_relief() {
            self.sockets.outbox_relieved(self.world.ctx());
        }
    }

    fn new() -> Self {
        Host::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Host { world: World::with(config), sockets: Sockets::new([5; 16]) }
    }

    fn bind(&mut self, local: &str) -> Result<UdpId, Error> {
        self.bind_with(local, BindOptions::NONE)
    }

    fn bind_with(&mut self, local: &str, options: BindOptions) -> Result<UdpId, Error> {
        self.sockets.bind(self.world.ctx(), addr(local), options, OWNER)
    }

    fn change(&mut self, id: UdpId, change: impl FnOnce(&mut UdpOptions)) {
        let mut options = self.sockets.options(id).unwrap();
        change(&mut options);
        self.sockets.set_options(id, options).unwrap();
    }

    fn connect(&mut self, id: UdpId, remote: &str) -> Result<(), Error> {
        self.sockets.connect(self.world.ctx(), id, addr(remote))
    }

    fn send(&mut self, id: UdpId, data: &[u8], to: Option<&str>) -> Result<usize, Error> {
        self.sockets.send_to(self.world.ctx(), id, data, to.map(addr), SendOptions::default())
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), DropReason> {
        let packet = Packet::plain(bytes, self.world.now);
        self.world.receive(&mut self.sockets, TUN, &packet)
    }

    fn recv(&mut self, id: UdpId) -> Result<(Vec<u8>, SocketAddr), Error> {
        let mut out = [0; 2000];
        self.sockets.recv_from(id, &mut out, false).map(|read| (out[..read.len].to_vec(), read.from))
    }

    /// Tells the socket's host that `about`, sent by it, met with an error.
    fn icmp_error(&mut self, from: &str, kind: u8, code: u8, about: &[u8]) -> Result<(), DropReason> {
        let us = wire_ip::parse(about).unwrap().src.to_string();
        let message = Message::Error(ErrorMessage { kind, code, word: 1300, quoted: about });
        self.receive(&icmp_message(from, &us, message))
    }

    fn event(&mut self, id: UdpId) -> Option<Readiness> {
        let Event { socket, owner, readiness } = self.world.event()?;
        assert_eq!((socket, owner), (SocketId::Udp(id), OWNER));
        Some(readiness)
    }
}

use alloc::string::ToString;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

//= RFC768 data
#[test]
fn a_datagram_goes_out_and_its_answer_comes_in() {
    for (local, remote) in [("10.9.0.2:5000", "10.9.0.1:53"), ("[fd09::2]:5000", "[fd09::1]:53")] {
        let mut host = Host::new();
        let id = host.bind(local).unwrap();
        assert_eq!(host.send(id, b"question", Some(remote)), Ok(8));
        let (device, bytes) = host.world.sent().unwrap();
        assert_eq!(device, TUN);
        let parsed = wire_ip::parse(&bytes).unwrap();
        let read = wire::parse(parsed.payload, parsed.src, parsed.dst, ChecksumState::Unverified).unwrap();
        assert_eq!(SocketAddr::new(parsed.src, read.src_port), addr(local));
        assert_eq!(SocketAddr::new(parsed.dst, read.dst_port), addr(remote));
        assert_eq!((read.payload, parsed.hop_limit), (&b"question"[..], 64));
        assert_eq!(host.receive(&udp(remote, local, b"answer")), Ok(()));
        assert_eq!(host.event(id), Some(Readiness::READABLE));
        assert_eq!(host.recv(id), Ok((b"answer".to_vec(), addr(remote))));
        assert_eq!(host.recv(id), Err(Error::WouldBlock));
        assert_eq!((host.world.counters.udp_in, host.world.counters.udp_out), (1, 1));
    }
}

#[test]
fn places_conflict_as_without_reuse_of_addresses() {
    let mut host = Host::new();
    host.bind("10.9.0.2:7").unwrap();
    assert_eq!(host.bind("10.9.0.2:7"), Err(Error::AddrInUse));
    assert_eq!(host.bind("0.0.0.0:7"), Err(Error::AddrInUse));
    host.bind("127.0.0.9:7").unwrap();
    host.bind("[::]:7").unwrap();
    host.bind("0.0.0.0:8").unwrap();
    assert_eq!(host.bind("10.9.0.2:8"), Err(Error::AddrInUse));
    assert_eq!(host.sockets.len(), 4);
}

#[test]
fn only_addresses_of_ours_can_be_bound_to() {
    let mut host = Host::new();
    for local in ["10.9.0.1:7", "10.8.0.255:7", "[fd09::1]:7"] {
        assert_eq!(host.bind(local), Err(Error::AddrNotAvailable), "{local}");
    }
    for local in ["127.4.4.4:7", "10.9.0.2:7", "[::1]:7", "[fd09::2%3]:7"] {
        assert!(host.bind(local).is_ok(), "{local}");
    }
}

#[test]
fn port_zero_is_a_port_of_the_range() {
    let mut host = Host::with(Config { ephemeral_ports: 40_000..=40_001, ..Config::default() });
    let ids = [host.bind("0.0.0.0:0").unwrap(), host.bind("0.0.0.0:0").unwrap()];
    let mut ports = ids.map(|id| host.sockets.local_addr(id).unwrap().port());
    ports.sort_unstable();
    assert_eq!(ports, [40_000, 40_001]);
    assert_eq!(host.bind("0.0.0.0:0"), Err(Error::AddrInUse));
    assert!(host.bind("[::]:0").is_ok());
}

#[test]
fn there_is_a_limit_to_sockets() {
    let mut host = Host::with(Config { udp_sockets: 1, ..Config::default() });
    let id = host.bind("0.0.0.0:7").unwrap();
    assert_eq!(host.bind("0.0.0.0:8"), Err(Error::NoBufferSpace));
    host.sockets.close(host.world.ctx(), id);
    assert!(host.bind("0.0.0.0:7").is_ok());
}

#[test]
fn a_specific_socket_hears_its_address_alone() {
    let mut host = Host::new();
    host.world.ip.add_address(TUN, "10.9.0.5/24".parse().unwrap()).unwrap();
    let id = host.bind("10.9.0.2:7").unwrap();
    assert_eq!(host.receive(&udp("10.9.0.1:9", "10.9.0.2:7", b"")), Ok(()));
    assert_eq!(host.receive(&udp("10.9.0.1:9", "10.9.0.5:7", b"")), Err(DropReason::UdpNoSocket));
    assert_eq!(host.receive(&udp("10.9.0.1:9", "10.9.0.2:8", b"")), Err(DropReason::UdpNoSocket));
    assert!(host.recv(id).is_ok());
}

#[test]
fn broadcasts_and_groups_reach_the_wildcard_alone() {
    let mut host = Host::new();
    let wildcard = host.bind("0.0.0.0:67").unwrap();
    host.bind("10.9.0.2:7").unwrap();
    for dst in ["255.255.255.255", "10.9.0.255", "224.0.0.1"] {
        assert_eq!(host.receive(&udp("10.9.0.1:68", &alloc::format!("{dst}:67"), b"all")), Ok(()));
        assert!(host.recv(wildcard).is_ok());
        let specific = host.receive(&udp("10.9.0.1:68", &alloc::format!("{dst}:7"), b"all"));
        assert_eq!(specific, Err(DropReason::UdpNoSocket));
    }
    assert_eq!(host.receive(&udp("0.0.0.0:68", "255.255.255.255:67", b"who am I")), Ok(()));
    assert_eq!(host.recv(wildcard), Ok((b"who am I".to_vec(), addr("0.0.0.0:68"))));
    assert!(host.world.sent().is_none());
}

//= RFC1122 4.1.3.5 choice
#[test]
fn a_wildcard_socket_sends_from_the_address_that_leads_there() {
    let mut host = Host::new();
    host.world.ip.add_address(TUN, "192.168.1.2/24".parse().unwrap()).unwrap();
    let id = host.bind("0.0.0.0:7").unwrap();
    for (to, from, device) in [
        ("192.168.1.9:1", "192.168.1.2", TUN),
        ("10.9.0.1:1", "10.9.0.2", TUN),
        ("127.0.0.1:1", "127.0.0.1", DeviceId::LOOPBACK),
        ("10.9.0.2:1", "10.9.0.2", DeviceId::LOOPBACK),
    ] {
        host.send(id, b"", Some(to)).unwrap();
        let (by, bytes) = host.world.sent().unwrap();
        assert_eq!((by, wire_ip::parse(&bytes).unwrap().src), (device, ip(from)), "{to}");
    }
}

//= RFC1122 3.3.4.2 choice
#[test]
fn a_server_on_the_wildcard_can_answer_from_the_address_it_was_asked_at() {
    //= RFC1122 4.1.3.5 pass up, 4.1.3.5 choice: the specific-destination address MUST be passed up, and an
    //# application MUST be able to specify the source address.
    let mut host = Host::new();
    host.world.ip.add_address(TUN, "10.9.0.5/24".parse().unwrap()).unwrap();
    let id = host.bind("0.0.0.0:7").unwrap();
    host.receive(&udp("10.9.0.1:9", "10.9.0.5:7", b"who")).unwrap();
    let asked = host.sockets.recv_from(id, &mut [0; 9], false).unwrap();
    assert_eq!(asked.to, ip("10.9.0.5"));
    let mut answer_from = |source| {
        let ctx = host.world.ctx();
        let with = SendOptions { source: Some(source), ..SendOptions::default() };
        host.sockets.send_to(ctx, id, b"me", Some(asked.from), with)?;
        Ok(host.world.sent().map(|(_, bytes)| wire_ip::parse(&bytes).unwrap().src))
    };
    assert_eq!(answer_from(asked.to), Ok(Some(asked.to)));
    assert_eq!(answer_from(ip("10.9.0.2")), Ok(Some(ip("10.9.0.2"))));
    assert_eq!(answer_from(ip("10.9.0.255")), Err(Error::AddrNotAvailable));
    assert_eq!(answer_from(ip("10.9.0.77")), Err(Error::AddrNotAvailable));
}

#[test]
fn a_connected_socket_hears_its_peer_alone() {
    let mut host = Host::new();
    let id = host.bind("0.0.0.0:7").unwrap();
    host.connect(id, "10.9.0.1:9").unwrap();
    assert_eq!(host.sockets.local_addr(id), Ok(addr("10.9.0.2:7")));
    assert_eq!(host.sockets.peer_addr(id), Ok(addr("10.9.0.1:9")));
    assert_eq!(host.receive(&udp("10.9.0.1:9", "10.9.0.2:7", b"peer")), Ok(()));
    for stranger in ["10.9.0.1:8", "10.9.0.3:9"] {
        assert_eq!(host.receive(&udp(stranger, "10.9.0.2:7", b"")), Err(DropReason::UdpNoSocket));
        assert!(host.world.sent().is_some(), "a stranger is told that the port is unreachable");
    }
    assert_eq!(host.recv(id), Ok((b"peer".to_vec(), addr("10.9.0.1:9"))));
    assert_eq!(host.send(id, b"back", None), Ok(4));
    assert_eq!(host.send(id, b"aside", Some("10.9.0.3:5")), Ok(5));
}

#[test]
fn a_socket_can_be_connected_again_and_chooses_its_source_again() {
    let mut host = Host::new();
    let id = host.bind("0.0.0.0:7").unwrap();
    host.connect(id, "127.0.0.1:9").unwrap();
    assert_eq!(host.sockets.local_addr(id), Ok(addr("127.0.0.1:7")));
    // The address it left is free for others, the one it comes to must be.
    let other = host.bind("10.9.0.2:7").unwrap();
    assert_eq!(host.connect(id, "10.9.0.1:9"), Err(Error::AddrInUse));
    assert_eq!(host.sockets.local_addr(id), Ok(addr("127.0.0.1:7")));
    assert_eq!(host.sockets.peer_addr(id), Ok(addr("127.0.0.1:9")));
    host.sockets.close(host.world.ctx(), other);
    assert_eq!(host.connect(id, "10.9.0.1:9"), Ok(()));
    assert_eq!(host.receive(&udp("10.9.0.1:9", "10.9.0.2:7", b"")), Ok(()));
}

#[test]
fn what_cannot_be_a_peer_is_refused() {
    let mut host = Host::new();
    let id = host.bind("0.0.0.0:7").unwrap();
    assert_eq!(host.connect(id, "[fd09::1]:9"), Err(Error::InvalidInput));
    assert_eq!(host.connect(id, "10.9.0.1:0"), Err(Error::InvalidInput));
    assert_eq!(host.connect(id, "0.0.0.0:9"), Err(Error::NetworkUnreachable));
    assert_eq!(host.connect(id, "8.8.8.8:9"), Err(Error::NetworkUnreachable));
    assert_eq!(host.connect(id, "10.9.0.255:9"), Err(Error::PermissionDenied));
    assert_eq!(host.sockets.peer_addr(id), Err(Error::NotConnected));
    assert_eq!(host.send(id, b"", None), Err(Error::DestinationRequired));
    assert_eq!(host.send(id, b"", Some("8.8.8.8:9")), Err(Error::NetworkUnreachable));
    let inside = host.bind("127.0.0.1:8").unwrap();
    assert_eq!(host.send(inside, b"", Some("10.9.0.1:9")), Err(Error::InvalidInput));
}

#[test]
fn broadcasts_are_sent_on_purpose_only() {
    let mut host = Host::new();
    let id = host.bind("0.0.0.0:7").unwrap();
    for to in ["10.9.0.255:9", "255.255.255.255:9"] {
        assert_eq!(host.send(id, b"all", Some(to)), Err(Error::PermissionDenied));
    }
    host.change(id, |options| *options = UdpOptions { ttl: 9, tos: 0x10, broadcast: true, ..*options });
    for to in ["10.9.0.255:9", "255.255.255.255:9"] {
        assert_eq!(host.send(id, b"all", Some(to)), Ok(3));
        let (_, bytes) = host.world.sent().unwrap();
        let sent = wire_ip::parse(&bytes).unwrap();
        assert_eq!((sent.hop_limit, sent.tos, sent.src), (9, 0x10, ip("10.9.0.2")));
    }
}

#[test]
fn datagrams_to_groups_stay_on_the_link() {
    let mut host = Host::new();
    let id = host.bind("[::]:7").unwrap();
    host.send(id, b"", Some("[ff02::fb]:5353")).unwrap();
    let (device, bytes) = host.world.sent().unwrap();
    assert_eq!((device, wire_ip::parse(&bytes).unwrap().hop_limit), (TUN, 1));
}

//= RFC1122 3.2.1.7 send
#[test]
fn a_time_to_live_of_zero_is_refused() {
    let mut host = Host::new();
    let id = host.bind("0.0.0.0:7").unwrap();
    let options = host.sockets.options(id).unwrap();
    assert_eq!(host.sockets.set_options(id, UdpOptions { ttl: 0, ..options }), Err(Error::InvalidInput));
    let with = SendOptions { ttl: Some(0), ..SendOptions::default() };
    let to = Some(addr("10.9.0.1:9"));
    let sent = host.sockets.send_to(host.world.ctx(), id, b"", to, with);
    assert_eq!(sent, Err(Error::InvalidInput));
    assert_eq!(host.sockets.options(id), Ok(options));
}

//= RFC8200 6 labelled flows
#[test]
fn datagrams_between_two_sockets_have_one_flow_label_and_so_have_their_parts() {
    //= RFC6437 section 3, RFC8200 section 4.5: the fragments' headers are those of the original packet.
    let mut host = Host::new();
    let id = host.bind("[::]:5000").unwrap();
    let mut labels = |to: &str, len: usize| -> Vec<u32> {
        host.send(id, &vec![0; len], Some(to)).unwrap();
        let packets = core::iter::from_fn(|| host.world.sent());
        packets.map(|(_, bytes)| u32::from_be_bytes([0, bytes[1] & 0xf, bytes[2], bytes[3]])).collect()
    };
    let flow = labels("[fd09::1]:53", 1)[0];
    assert_ne!(flow, 0);
    assert_eq!(labels("[fd09::1]:53", 4000), [flow; 3]);
    for other in ["[fd09::1]:54", "[fd09::3]:53"] {
        assert_ne!(labels(other, 1), [flow], "{other}");
    }
}

//= RFC768 data
#[test]
fn a_datagram_may_be_as_long_as_its_length_field_can_tell() {
    let mut host = Host::new();
    let id = host.bind("0.0.0.0:7").unwrap();
    assert_eq!(host.send(id, &[0; 1472], Some("10.9.0.1:9")), Ok(1472));
    assert_eq!(host.send(id, &[0; 65_507], Some("10.9.0.1:9")), Ok(65_507));
    assert_eq!(host.send(id, &[0; 65_507], Some("127.0.0.1:9")), Ok(65_507));
    assert_eq!(host.send(id, &[0; 65_508], Some("127.0.0.1:9")), Err(Error::MessageTooLong));
    let id = host.bind("[::]:7").unwrap();
    assert_eq!(host.send(id, &[0; 1452], Some("[fd09::1]:9")), Ok(1452));
    assert_eq!(host.send(id, &[0; 65_527], Some("[fd09::1]:9")), Ok(65_527));
    assert_eq!(host.send(id, &[0; 70_000], Some("[::1]:9")), Err(Error::MessageTooLong));
}

//= RFC768 data
#[test]
fn an_empty_datagram_is_a_datagram() {
    let mut host = Host::new();
    let id = host.bind("0.0.0.0:7").unwrap();
    assert_eq!(host.receive(&udp("10.9.0.1:9", "10.9.0.2:7", b"")), Ok(()));
    assert_eq!(host.event(id), Some(Readiness::READABLE));
    assert_eq!(host.recv(id), Ok((Vec::new(), addr("10.9.0.1:9"))));
    assert_eq!(host.send(id, b"", Some("10.9.0.1:9")), Ok(0));
    assert_eq!(host.world.sent().map(|(_, bytes)| bytes.len()), Some(28));
}

#[test]
fn peeking_leaves_the_datagram_and_reading_drops_what_does_not_fit() {
    let mut host = Host::new();
    let id = host.bind("0.0.0.0:7").unwrap();
    for text in [&b"first"[..], b"second"] {
        host.receive(&udp("10.9.0.1:9", "10.9.0.2:7", text)).unwrap();
    }
    let mut out = [0; 3];
    let from = addr("10.9.0.1:9");
    let read = host.sockets.recv_from(id, &mut out, true).unwrap();
    assert_eq!((read.len, read.sent_len, read.from, read.to), (3, 5, from, ip("10.9.0.2")));
    assert_eq!((read.device, read.hop_limit, read.at), (TUN, 64, host.world.now));
    assert_eq!(host.sockets.recv_from(id, &mut out, false), Ok(read));
    assert_eq!(&out, b"fir");
    assert_eq!(host.recv(id), Ok((b"second".to_vec(), from)));
}

#[test]
fn only_the_first_datagram_of_a_queue_is_an_event() {
    let mut host = Host::new();
    let id = host.bind("0.0.0.0:7").unwrap();
    let bytes = udp("10.9.0.1:9", "10.9.0.2:7", b"x");
    host.receive(&bytes).unwrap();
    assert_eq!(host.event(id), Some(Readiness::READABLE));
    host.receive(&bytes).unwrap();
    assert_eq!(host.event(id), None);
    while host.recv(id).is_ok() {}
    host.receive(&bytes).unwrap();
    assert_eq!(host.event(id), Some(Readiness::READABLE));
}

#[test]
fn a_full_queue_drops_the_newest() {
    let mut host = Host::with(Config { udp_recv_buffer: 3000, ..Config::default() });
    let id = host.bind("0.0.0.0:7").unwrap();
    let bytes = udp("10.9.0.1:9", "10.9.0.2:7", &[0; 1000]);
    assert_eq!([host.receive(&bytes), host.receive(&bytes)], [Ok(()); 2]);
    assert_eq!(host.receive(&bytes), Err(DropReason::UdpQueueFull));
    host.recv(id).unwrap();
    assert_eq!(host.receive(&bytes), Ok(()));
}

#[test]
fn a_super_datagram_is_as_many_messages_as_it_stands_for() {
    let mut host = Host::new();
    let id = host.bind("0.0.0.0:7").unwrap();
    let bytes = udp("10.9.0.1:9", "10.9.0.2:7", b"aabbc");
    let packet = Packet { gso_size: core::num::NonZeroU16::new(2), ..Packet::plain(&bytes, host.world.now) };
    assert_eq!(host.world.receive(&mut host.sockets, TUN, &packet), Ok(()));
    for text in [&b"aa"[..], b"bb", b"c"] {
        assert_eq!(host.recv(id).map(|(data, _)| data), Ok(text.to_vec()));
    }
    assert_eq!(host.recv(id), Err(Error::WouldBlock));
}

//= RFC1122 4.1.3.4 verify
#[test]
fn damaged_datagrams_reach_nobody() {
    let mut host = Host::new();
    host.bind("0.0.0.0:7").unwrap();
    let mut bytes = udp("10.9.0.1:9", "10.9.0.2:7", b"text");
    bytes[31] ^= 1;
    assert_eq!(host.receive(&bytes), Err(DropReason::UdpChecksum));
    bytes[25] = 7;
    assert_eq!(host.receive(&bytes), Err(DropReason::UdpMalformed));
    assert!(host.world.sent().is_none());
}

/// A socket connected to 10.9.0.1:9 or its likeness, and a datagram that it has sent.
fn connected(host: &mut Host, local: &str, remote: &str) -> (UdpId, Vec<u8>) {
    let id = host.bind(local).unwrap();
    host.connect(id, remote).unwrap();
    host.send(id, b"text", None).unwrap();
    let (_, bytes) = host.world.sent().unwrap();
    (id, bytes)
}

#[test]
fn a_send_without_room_is_refused_and_told_when_there_is_some() {
    let mut host = Host::with(Config { outbox_packets: 8, ..Config::default() });
    let id = host.bind("0.0.0.0:7").unwrap();
    let closed = host.bind("0.0.0.0:8").unwrap();
    let mut sent = 0;
    while host.send(id, b"x", Some("10.9.0.1:9")).is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 6);
    for id in [id, id, closed] {
        assert_eq!(host.send(id, b"x", Some("10.9.0.1:9")), Err(Error::WouldBlock));
    }
    assert_eq!(host.sockets.refused.waiting().len(), 2, "each waits once");
    host.sockets.close(host.world.ctx(), closed);
    assert_eq!(host.sockets.refused.waiting(), [id]);
    host.relieve();
    assert_eq!(host.event(id), None, "there is no room yet");
    for _ in 0..2 {
        while host.world.sent().is_some() {}
        host.relieve();
        assert_eq!(host.event(id), Some(Readiness::WRITABLE));
        host.relieve();
        assert_eq!(host.event(id), None, "told once");
        while host.send(id, b"x", Some("10.9.0.1:9")).is_ok() {}
    }
}

#[test]
fn a_closed_socket_is_nobody() {
    let mut host = Host::new();
    let id = host.bind("0.0.0.0:7").unwrap();
    host.receive(&udp("10.9.0.1:9", "10.9.0.2:7", b"x")).unwrap();
    host.sockets.close(host.world.ctx(), id);
    assert_eq!(host.event(id), None);
    assert_eq!(host.receive(&udp("10.9.0.1:9", "10.9.0.2:7", b"x")), Err(DropReason::UdpNoSocket));
    assert_eq!(host.recv(id), Err(Error::NoSuchSocket));
    assert_eq!(host.send(id, b"", None), Err(Error::NoSuchSocket));
    assert_eq!(host.connect(id, "10.9.0.1:9"), Err(Error::NoSuchSocket));
    assert_eq!(host.sockets.local_addr(id), Err(Error::NoSuchSocket));
    assert_eq!(host.sockets.take_error(id), Err(Error::NoSuchSocket));
    host.sockets.close(host.world.ctx(), id);
    assert!(host.bind("10.9.0.2:7").is_ok());
}

/// Two sockets of one stack, which talks to itself.
fn stack() -> (Stack, DeviceId) {
    let mut stack = Stack::new(Config::default(), &Secrets::from_number(2), Instant::ZERO);
    let tun = stack.add_interface(1500);
    stack.add_address(tun, "10.9.0.2/24".parse().unwrap()).unwrap();
    (stack, tun)
}

fn run(stack: &mut Stack) {
    let progress = stack.transmit(Instant::ZERO, &mut |_egress: Egress<'_>| Sent::Taken);
    assert_eq!(progress, Progress::Idle);
}

#[test]
fn sockets_of_one_stack_talk_to_one_another() {
    let (mut stack, _) = stack();
    let now = Instant::ZERO;
    for at in ["127.0.0.1:7", "10.9.0.2:7", "[::1]:7"] {
        let server = stack.udp_bind(now, addr(at), OWNER).unwrap();
        let wildcard = if addr(at).is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let client = stack.udp_bind(now, addr(wildcard), OWNER).unwrap();
        stack.udp_connect(now, client, addr(at)).unwrap();
        stack.udp_send_to(now, client, b"hello", None).unwrap();
        run(&mut stack);
        let read = stack.udp_recv_msg(server, &mut [0; 9]).unwrap();
        let from = stack.udp_local_addr(client).unwrap();
        assert_eq!((read.len, read.from, read.to), (5, from, addr(at).ip()));
        assert_eq!(read.device, DeviceId::LOOPBACK);
    }
}

#[test]
fn a_port_of_ours_without_a_listener_refuses() {
    let (mut stack, _) = stack();
    let now = Instant::ZERO;
    let client = stack.udp_bind(now, addr("0.0.0.0:0"), OWNER).unwrap();
    stack.udp_connect(now, client, addr("127.0.0.1:9")).unwrap();
    stack.udp_send_to(now, client, b"hello", None).unwrap();
    run(&mut stack);
    assert_eq!(stack.udp_recv_from(client, &mut [0; 9]), Err(Error::ConnectionRefused));
}

#[test]
fn a_refused_sender_hears_from_the_stack_when_the_device_goes_on() {
    let (mut stack, _) = stack();
    let now = Instant::ZERO;
    let id = stack.udp_bind(now, addr("0.0.0.0:7"), OWNER).unwrap();
    while stack.udp_send_to(now, id, &[0; 1400], Some(addr("10.9.0.1:9"))).is_ok() {}
    assert!(stack.next_event().is_none());
    run(&mut stack);
    let event = stack.next_event().unwrap();
    assert_eq!((event.socket, event.readiness), (SocketId::Udp(id), Readiness::WRITABLE));
}

const REUSE_ADDR: BindOptions = BindOptions { reuse_addr: true, reuse_port: false };
const REUSE_PORT: BindOptions = BindOptions { reuse_addr: false, reuse_port: true };

#[test]
fn who_reuses_the_address_and_came_last_takes_what_is_sent_to_one_host() {
    let mut host = Host::new();
    let first = host.bind_with("10.9.0.2:7", REUSE_ADDR).unwrap();
    let second = host.bind_with("10.9.0.2:7", REUSE_ADDR).unwrap();
    let wildcard = host.bind_with("0.0.0.0:7", REUSE_ADDR).unwrap();
    assert_eq!(host.bind("10.9.0.2:7"), Err(Error::AddrInUse));
    assert_eq!(host.bind_with("10.9.0.2:7", REUSE_PORT), Err(Error::AddrInUse));
    let bytes = udp("10.9.0.1:9", "10.9.0.2:7", b"x");
    for (taker, gone) in [(second, second), (first, first), (wildcard, wildcard)] {
        host.receive(&bytes).unwrap();
        for id in [first, second, wildcard] {
            let expected = if id == taker { Ok(()) } else { Err(Error::WouldBlock) };
            let read = host.recv(id).map(|_| ());
            assert!(read == expected || read == Err(Error::NoSuchSocket), "{id:?}");
        }
        host.sockets.close(host.world.ctx(), gone);
    }
    assert_eq!(host.receive(&bytes), Err(DropReason::UdpNoSocket));
}

#[test]
fn a_connected_socket_takes_its_peer_s_datagrams_from_those_it_shares_the_port_with() {
    let mut host = Host::new();
    let connected = host.bind_with("10.9.0.2:7", REUSE_ADDR).unwrap();
    host.connect(connected, "10.9.0.1:9").unwrap();
    let open = host.bind_with("10.9.0.2:7", REUSE_ADDR).unwrap();
    host.receive(&udp("10.9.0.1:9", "10.9.0.2:7", b"peer")).unwrap();
    host.receive(&udp("10.9.0.1:8", "10.9.0.2:7", b"stranger")).unwrap();
    assert_eq!(host.recv(connected).map(|(data, _)| data), Ok(b"peer".to_vec()));
    assert_eq!(host.recv(open).map(|(data, _)| data), Ok(b"stranger".to_vec()));
}

#[test]
fn broadcasts_reach_every_socket_that_listens() {
    let mut host = Host::new();
    let ids = ["0.0.0.0:7", "0.0.0.0:7", "10.9.0.255:7"].map(|at| host.bind_with(at, REUSE_PORT).unwrap());
    let specific = host.bind_with("10.9.0.2:7", REUSE_PORT).unwrap();
    host.receive(&udp("10.9.0.1:9", "10.9.0.255:7", b"all")).unwrap();
    for id in ids {
        assert_eq!(host.recv(id).map(|(data, _)| data), Ok(b"all".to_vec()));
    }
    assert_eq!(host.recv(specific), Err(Error::WouldBlock));
    // One bound to the broadcast address hears that alone, and sends from an address of ours.
    host.receive(&udp("10.9.0.1:9", "10.9.0.2:7", b"one")).unwrap();
    assert_eq!(host.recv(ids[2]), Err(Error::WouldBlock));
    host.send(ids[2], b"x", Some("10.9.0.1:9")).unwrap();
    assert_eq!(host.world.sent().map(|(_, bytes)| wire_ip::parse(&bytes).unwrap().src), Some(ip("10.9.0.2")));
}

#[test]
fn one_full_queue_does_not_keep_a_broadcast_from_the_others() {
    let mut host = Host::with(Config { udp_recv_buffer: 10, ..Config::default() });
    let ids = [(); 2].map(|()| host.bind_with("0.0.0.0:7", REUSE_ADDR).unwrap());
    let bytes = udp("10.9.0.1:9", "10.9.0.255:7", b"all");
    host.receive(&bytes).unwrap();
    host.recv(ids[1]).unwrap();
    assert_eq!(host.receive(&bytes), Ok(()));
    assert_eq!(host.receive(&bytes), Err(DropReason::UdpQueueFull));
    assert!(host.recv(ids[1]).is_ok());
}

#[test]
fn a_port_that_is_not_named_is_nobody_else_s_whatever_they_agree_to() {
    let mut host = Host::with(Config { ephemeral_ports: 40_000..=40_000, ..Config::default() });
    host.bind_with("0.0.0.0:0", REUSE_PORT).unwrap();
    assert_eq!(host.bind_with("0.0.0.0:0", REUSE_PORT), Err(Error::AddrInUse));
}

//= RFC1122 3.3.3 no larger, 4.1.4 interface
#[test]
fn what_fits_the_path_is_sent_whole_and_what_does_not_as_the_socket_wants_it() {
    for (local, to, fits) in [("0.0.0.0:7", "10.9.0.1:9", 1472_usize), ("[::]:7", "[fd09::1]:9", 1452)] {
        for mode in [MtuDiscover::Want, MtuDiscover::Do, MtuDiscover::Dont, MtuDiscover::Probe] {
            let mut host = Host::new();
            let id = host.bind(local).unwrap();
            host.change(id, |options| options.mtu_discover = mode);
            host.send(id, &alloc::vec![1; fits], Some(to)).unwrap();
            let (_, bytes) = host.world.sent().unwrap();
            let whole = wire_ip::parse(&bytes).unwrap();
            assert_eq!(whole.fragment, None);
            if whole.src.is_ipv4() {
                assert_eq!(whole.dont_fragment, mode != MtuDiscover::Dont, "{mode:?}");
            }
            let sent = host.send(id, &alloc::vec![1; fits + 1], Some(to));
            if matches!(mode, MtuDiscover::Do | MtuDiscover::Probe) {
                assert_eq!(sent, Err(Error::MessageTooLong));
                assert!(host.world.sent().is_none());
                continue;
            }
            assert_eq!(sent, Ok(fits + 1));
            for part in 0..2 {
                let (_, bytes) = host.world.sent().unwrap();
                let part_of = wire_ip::parse(&bytes).unwrap().fragment.unwrap();
                assert_eq!((part_of.offset_bytes == 0, part_of.more), (part == 0, part == 0));
            }
        }
    }
}

//= RFC1122 3.2.1.6 set, 3.2.1.7 set
//= RFC8200 7 traffic class
//= RFC8504 5.12 ECN
#[test]
fn one_datagram_may_be_sent_otherwise_than_the_others() {
    let mut host = Host::new();
    let with = SendOptions { ttl: Some(3), tos: Some(0x02), source: None };
    for (local, to, ttl) in [("0.0.0.0:7", "10.9.0.1:9", 64), ("[::]:7", "[ff02::fb]:9", 1)] {
        let id = host.bind(local).unwrap();
        host.sockets.send_to(host.world.ctx(), id, b"", Some(addr(to)), with).unwrap();
        host.send(id, b"", Some(to)).unwrap();
        for expected in [(3, 2), (ttl, 0)] {
            let (_, bytes) = host.world.sent().unwrap();
            let parsed = wire_ip::parse(&bytes).unwrap();
            assert_eq!((parsed.hop_limit, parsed.tos), expected);
        }
    }
}

#[test]
fn the_path_s_mtu_is_that_of_a_connected_socket() {
    let mut host = Host::new();
    let id = host.bind("0.0.0.0:7").unwrap();
    assert_eq!(host.sockets.path_mtu(&host.world.ip, id), Err(Error::NotConnected));
    host.connect(id, "10.9.0.1:9").unwrap();
    assert_eq!(host.sockets.path_mtu(&host.world.ip, id), Ok(1500));
    host.connect(id, "127.0.0.1:9").unwrap();
    assert_eq!(host.sockets.path_mtu(&host.world.ip, id), Ok(65_535));
}
