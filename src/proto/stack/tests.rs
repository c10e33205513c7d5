//! What becomes of text on its way through two stacks: how often it is copied.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::num::NonZeroU16;
use core::time::Duration;

use super::*;
use crate::proto::buf::copies;
use crate::proto::buf::pages::PAGE_SIZE;
use crate::proto::buf::text::Text;
use crate::proto::ip::route::{RouteSpec, RouteTarget};
use crate::proto::packet::{EgressChecksum, Offloads};
use crate::proto::{Error, ListenerId, Owner, TcpId};

const ALL: Offloads = Offloads { checksum: true, tso4: true, tso6: true, uso: true };
const PORT: u16 = 7;

/// How text is written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Copied,
    /// Made and looked at where it lies.
    InPlace,
    /// Shared with the sender, and copied by the receiver.
    Shared,
}

/// A packet on its way, and how much text is in it.
struct Carried {
    bytes: Vec<u8>,
    text: usize,
    gso_size: Option<NonZeroU16>,
    checksum: ChecksumState,
}

/// Two stacks, a connection between them, and what was copied for its text.
struct Pair {
    stacks: [Stack; 2],
    now: Instant,
    /// Packets with text that the wire has carried, and how many of them were super-segments.
    carried: usize,
    supers: usize,
    /// Each n-th packet with text is lost; none if it is 0.
    lose_each: usize,
    how: How,
    copied: Copied,
    /// Bytes that found room only for so few at a time that they are not worth sharing.
    few: u64,
}

/// Bytes that were copied by...
#[derive(Debug, Default, PartialEq, Eq)]
struct Copied {
    writing: u64,
    sending: u64,
    receiving: u64,
    reading: u64,
}

/// Does the work, and adds what was copied by it.
fn counting<T>(to: &mut u64, work: impl FnOnce() -> T) -> T {
    let before = copies::counted();
    let done = work();
    *to += copies::counted() - before;
    done
}

fn address(side: usize) -> SocketAddr {
    SocketAddr::from(([10, 9, 0, side as u8 + 1], PORT))
}

/// Takes a packet as a device does, which copies it in the end, whatever the core does.
fn take(egress: &Egress<'_>) -> Carried {
    let checksum = match egress.checksum {
        EgressChecksum::Complete => ChecksumState::Unverified,
        EgressChecksum::Partial { .. } => ChecksumState::Partial,
    };
    let bytes = [&[egress.header], egress.payload].concat().concat();
    Carried { text: egress.payload.concat().len(), bytes, gso_size: egress.gso_size, checksum }
}

/// Looks whether text lies as it does in the pages of the ring: nobody has put it together.
fn check_pages(egress: &Egress<'_>) {
    assert!(egress.payload.iter().all(|piece| piece.len() <= PAGE_SIZE), "a piece of more than a page");
    if let [_, inner @ .., _] = egress.payload {
        assert!(
            inner.iter().all(|piece| piece.len() == PAGE_SIZE),
            "a piece that is not the page it lies in"
        );
    }
}

impl Pair {
    fn new(offloads: Offloads, lose_each: usize, how: How) -> Pair {
        let stack = |side: usize| {
            let secrets = Secrets::from_number(side as u64);
            let mut stack = Stack::new(Config::default(), &secrets, Instant::ZERO);
            let device = stack.add_interface(1500);
            stack.set_offloads(device, offloads);
            stack.add_address(device, format!("{}/24", address(side).ip()).parse().unwrap()).unwrap();
            stack
        };
        let stacks = [stack(0), stack(1)];
        Pair {
            stacks,
            now: Instant::ZERO,
            carried: 0,
            supers: 0,
            lose_each,
            how,
            copied: Copied::default(),
            few: 0,
        }
    }

    /// Opens a connection from the first to the second.
    fn open(&mut self) -> (TcpId, TcpId) {
        let listener: ListenerId =
            self.stacks[1].tcp_listen(self.now, address(1), None, Owner::APPLICATION).unwrap();
        let client =
            self.stacks[0].tcp_connect(self.now, None, address(1), None, Owner::APPLICATION).unwrap();
        loop {
            self.turn();
            if let Ok((server, _)) = self.stacks[1].tcp_accept(self.now, listener) {
                return (client, server);
            }
        }
    }

    /// What each has to send goes to the other; then a millisecond passes.
    fn turn(&mut self) {
        for from in [0, 1] {
            let mut wire = Vec::new();
            let mut sink = |egress: Egress<'_>| {
                if self.how != How::Shared {
                    check_pages(&egress);
                }
                wire.push(take(&egress));
                Sent::Taken
            };
            let sender = &mut self.stacks[from];
            counting(&mut self.copied.sending, || {
                while sender.transmit(self.now, &mut sink) == Progress::More {}
            });
            for carried in wire {
                self.carry(carried, 1 - from);
            }
        }
        self.now += Duration::from_millis(1);
        self.stacks.iter_mut().for_each(|stack| stack.advance(self.now));
    }

    fn carry(&mut self, carried: Carried, to: usize) {
        let Carried { bytes, text, gso_size, checksum } = carried;
        if text > 0 {
            self.carried += 1;
            self.supers += usize::from(gso_size.is_some());
            if self.lose_each > 0 && self.carried.is_multiple_of(self.lose_each) {
                return;
            }
        }
        let packet = Packet { bytes: &bytes, at: self.now, checksum, gso_size };
        counting(&mut self.copied.receiving, || self.stacks[to].receive(DeviceId(0), &packet));
    }

    /// Moves so many bytes from the first to the second, which must get what the first has sent.
    fn transfer(&mut self, total: usize) {
        let (client, server) = self.open();
        let data: Vec<u8> = (0..total).map(|at| (at / 257) as u8).collect();
        let (mut written, mut read) = (0, Vec::new());
        let shared = Bytes::copy_from_slice(&data);
        let mut buffer = vec![0; 100_000];
        while read.len() < total {
            let chunk = &data[written..total.min(written + 60_000)];
            let [sender, receiver] = &mut self.stacks;
            let write = || match self.how {
                How::InPlace => sender.tcp_write_in_place(self.now, client, |room| {
                    let len = room.len().min(chunk.len());
                    room[..len].copy_from_slice(&chunk[..len]);
                    len
                }),
                How::Copied => sender.tcp_write(self.now, client, chunk),
                How::Shared => {
                    sender.tcp_write_bytes(self.now, client, &mut shared.slice_ref(&shared[written..]))
                }
            };
            match counting(&mut self.copied.writing, write) {
                Ok(count) => {
                    written += count;
                    self.few += if count < Text::SHARE_MIN { count as u64 } else { 0 };
                }
                Err(error) => assert_eq!(error, Error::WouldBlock),
            }
            let take = || match self.how {
                How::InPlace => receiver.tcp_read_in_place(self.now, server, |pieces| {
                    pieces.iter().for_each(|piece| read.extend_from_slice(piece));
                    pieces.iter().map(|piece| piece.len()).sum()
                }),
                How::Copied | How::Shared => {
                    let count = receiver.tcp_read(self.now, server, &mut buffer)?;
                    read.extend_from_slice(&buffer[..count]);
                    Ok(count)
                }
            };
            match counting(&mut self.copied.reading, take) {
                Ok(_) => {}
                Err(error) => assert_eq!(error, Error::WouldBlock),
            }
            self.turn();
            assert!(self.now < Instant::ZERO + Duration::from_secs(600), "{} of {total}", read.len());
        }
        assert!(read == data, "other bytes than were sent");
    }
}

#[test]
fn text_is_copied_when_it_is_written_received_and_read_and_never_else() {
    const TOTAL: usize = 4 << 20;
    let once = TOTAL as u64;
    for offloads in [ALL, Offloads::default()] {
        let mut pair = Pair::new(offloads, 0, How::Copied);
        pair.transfer(TOTAL);
        let expected = Copied { writing: once, sending: 0, receiving: once, reading: once };
        assert_eq!(pair.copied, expected, "{offloads:?}");
        assert_eq!(pair.supers > pair.carried / 2, offloads == ALL, "{} of {}", pair.supers, pair.carried);
    }
}

#[test]
fn text_that_is_sent_again_is_copied_no_more_often() {
    const TOTAL: usize = 4 << 20;
    let once = TOTAL as u64;
    for (offloads, lose_each) in [(ALL, 9), (Offloads::default(), 50)] {
        let mut pair = Pair::new(offloads, lose_each, How::Copied);
        pair.transfer(TOTAL);
        assert!(pair.stacks[0].counters().tcp_retransmits > 0);
        let expected = Copied { writing: once, sending: 0, receiving: once, reading: once };
        assert_eq!(pair.copied, expected, "{offloads:?}");
    }
}

#[test]
fn text_that_is_made_and_looked_at_in_place_is_copied_from_packets_and_never_else() {
    const TOTAL: usize = 1 << 20;
    let mut pair = Pair::new(ALL, 9, How::InPlace);
    pair.transfer(TOTAL);
    assert_eq!(pair.copied, Copied { receiving: TOTAL as u64, ..Copied::default() });
}

#[test]
fn text_that_is_shared_is_copied_from_packets_and_by_the_reader_and_never_else() {
    const TOTAL: usize = 4 << 20;
    let once = TOTAL as u64;
    for (offloads, lose_each) in [(ALL, 0), (ALL, 9), (Offloads::default(), 50)] {
        let mut pair = Pair::new(offloads, lose_each, How::Shared);
        pair.transfer(TOTAL);
        assert_eq!(pair.stacks[0].counters().tcp_retransmits > 0, lose_each > 0);
        let expected = Copied { writing: pair.few, sending: 0, receiving: once, reading: once };
        assert_eq!(pair.copied, expected, "{offloads:?}");
        assert!(pair.few < once / 50, "{} bytes were copied", pair.few);
        assert_eq!(pair.supers > pair.carried / 2, offloads == ALL, "{} of {}", pair.supers, pair.carried);
    }
}

#[test]
fn who_is_lent_bytes_or_room_and_takes_none_changes_nothing() {
    let mut pair = Pair::new(ALL, 0, How::InPlace);
    let (client, server) = pair.open();
    let none = |pair: &Pair| pair.stacks.iter().all(|stack| stack.tcp_census().pages == 0);
    let [sender, receiver] = &mut pair.stacks;
    assert_eq!(sender.tcp_write_in_place(pair.now, client, |_| 0), Ok(0));
    let mut asked = 0;
    let mut look = |_: &[&[u8]]| {
        asked += 1;
        0
    };
    assert_eq!(receiver.tcp_read_in_place(pair.now, server, &mut look), Err(Error::WouldBlock));
    assert!(none(&pair));
    assert_eq!(pair.stacks[0].tcp_write(pair.now, client, b"lent"), Ok(4));
    pair.turn();
    let receiver = &mut pair.stacks[1];
    assert_eq!(receiver.tcp_read_in_place(pair.now, server, &mut look), Ok(0));
    // More than there is can't be read.
    let read = receiver.tcp_read_in_place(pair.now, server, |pieces| {
        assert_eq!(pieces, [b"lent"]);
        100
    });
    assert_eq!((read, asked), (Ok(4), 1));
    pair.stacks[0].tcp_shutdown(pair.now, client, Shutdown::Write).unwrap();
    pair.turn();
    let end = pair.stacks[1].tcp_read_in_place(pair.now, server, |_| panic!("there is nothing to lend"));
    assert_eq!(end, Ok(0));
    let written = pair.stacks[0].tcp_write_in_place(pair.now, client, |_| panic!("it is closed"));
    assert_eq!(written, Err(Error::BrokenPipe));
    assert!(none(&pair));
}

#[test]
fn a_connection_to_a_link_local_address_leaves_where_its_source_lives_whatever_a_route_says() {
    let mut stack = Stack::new(Config::default(), &Secrets::from_number(1), Instant::ZERO);
    let (here, there) = (stack.add_interface(1500), stack.add_interface(1500));
    stack.add_address(here, "fe80::1/64".parse().unwrap()).unwrap();
    stack.add_address(there, "fe80::2/64".parse().unwrap()).unwrap();
    let target = RouteTarget::Interface(here);
    let source = Some("fe80::2".parse().unwrap());
    stack.add_route(RouteSpec { source, ..RouteSpec::new("fe80::/96".parse().unwrap(), target) }).unwrap();
    let remote = "[fe80::9]:7".parse().unwrap();
    let client = stack.tcp_connect(Instant::ZERO, None, remote, None, Owner::APPLICATION).unwrap();
    assert_eq!(stack.tcp_local_addr(client).unwrap().ip(), "fe80::2".parse::<IpAddr>().unwrap());
    let mut isn = None;
    let mut syn = |egress: Egress<'_>| {
        assert_eq!(egress.device, there);
        isn = egress.header[44..48].try_into().ok().map(u32::from_be_bytes);
        Sent::Taken
    };
    while stack.transmit(Instant::ZERO, &mut syn) == Progress::More {}
    let isn = isn.expect("a SYN has gone");
    let port = stack.tcp_local_addr(client).unwrap().port();
    let answer = syn_ack(port, isn.wrapping_add(1));
    let packet = Packet { checksum: ChecksumState::Trusted, ..Packet::plain(&answer, Instant::ZERO) };
    stack.receive(there, &packet);
    assert_eq!(stack.tcp_write(Instant::ZERO, client, b"text"), Ok(4));
    let mut sent = 0;
    let mut text = |egress: Egress<'_>| {
        assert_eq!(egress.device, there, "text has gone another way than the SYN");
        sent += egress.payload.concat().len();
        Sent::Taken
    };
    while stack.transmit(Instant::ZERO, &mut text) == Progress::More {}
    assert_eq!(sent, 4);
}

/// What fe80::9 port 7 answers to a SYN from fe80::2.
fn syn_ack(port: u16, ack: u32) -> Vec<u8> {
    let (from, to) = ("fe80::9".parse::<Ipv6Addr>().unwrap(), "fe80::2".parse::<Ipv6Addr>().unwrap());
    let mut tcp = etherparse::TcpHeader::new(7, port, 1, 1000);
    (tcp.syn, tcp.ack, tcp.acknowledgment_number) = (true, true, ack);
    let ip = etherparse::Ipv6Header {
        payload_length: tcp.header_len() as u16,
        next_header: etherparse::IpNumber::TCP,
        hop_limit: 64,
        source: from.octets(),
        destination: to.octets(),
        ..etherparse::Ipv6Header::default()
    };
    [&ip.to_bytes()[..], &tcp.to_bytes()[..]].concat()
}
