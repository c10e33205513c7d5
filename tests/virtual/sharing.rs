//! Text that is shared with the application, among text that is copied.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tunstack::proto::stack::Progress;
use tunstack::proto::tcp::closing::State;
use tunstack::proto::{
    ChecksumState, Config, DeviceId, Egress, EgressChecksum, Error, Offloads, Owner, Packet, Readiness,
    Secrets, Sent, SocketId, SpliceError, Stack, TcpId,
};
use tunstack::rng::Rng;
use tunstack::time::Instant;

use crate::harness::script::{OUT, Script};
use crate::support::seeds::{for_each_seed, pattern_bytes};

/// A send buffer in which there may be room for less than is worth waking anybody for.
const BUFFER: usize = 60_000;

/// An open connection that has refused shared bytes though there was room for some, and its events so far are taken.
fn refused() -> Script {
    let mut t = Script::config(|config| (config.send_buffer_initial, config.send_buffer) = (BUFFER, BUFFER));
    t.open();
    t.write(BUFFER - 10_000);
    let mut shared = Bytes::from(vec![1; 20_000]);
    assert_eq!(t.stack.tcp_write_bytes(t.now(), t.id(), &mut shared), Err(Error::WouldBlock));
    assert_eq!(shared.len(), 20_000);
    t.readiness();
    t
}

/// Everything that was written is acknowledged, and the application has to hear of it.
fn is_told(t: &mut Script) -> bool {
    let mut told = Readiness::empty();
    for _ in 0..100 {
        t.take_all();
        let info = t.stack.tcp_info(t.id()).unwrap();
        if info.unacknowledged == 0 {
            break;
        }
        t.peer(&format!("A 1 ack {}", info.bytes_acked + info.unacknowledged + 1));
        told |= t.readiness();
    }
    told.contains(Readiness::WRITABLE)
}

#[test]
fn who_shares_and_is_refused_hears_of_room() {
    assert!(is_told(&mut refused()));
}

#[test]
fn who_is_refused_hears_of_room_whatever_else_is_written_meanwhile() {
    let next = pattern_bytes(OUT, BUFFER as u64 - 10_000, 3);
    let mut t = refused();
    assert_eq!(t.stack.tcp_write(t.now(), t.id(), &next), Ok(3));
    assert!(is_told(&mut t), "copied");
    let mut t = refused();
    let fill = |room: &mut [u8]| {
        room[..3].copy_from_slice(&next);
        3
    };
    assert_eq!(t.stack.tcp_write_in_place(t.now(), t.id(), fill), Ok(3));
    assert!(is_told(&mut t), "in place");
    let mut t = refused();
    assert_eq!(t.stack.tcp_write_bytes(t.now(), t.id(), &mut Bytes::copy_from_slice(&next)), Ok(3));
    assert!(is_told(&mut t), "few");
}

#[test]
fn sharing_nothing_changes_nothing() {
    let mut t = refused();
    assert_eq!(t.stack.tcp_write_bytes(t.now(), t.id(), &mut Bytes::new()), Ok(0));
    assert!(is_told(&mut t));
}

/// Bytes that tell of their end.
struct Owned {
    bytes: Vec<u8>,
    is_over: Arc<AtomicBool>,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

thread_local! {
    /// Somebody is inside a stack that keeps what it releases: no owner may come to its end there.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Drop for Owned {
    fn drop(&mut self) {
        assert!(!INSIDE.get(), "dropped inside the stack");
        assert!(!self.is_over.swap(true, Ordering::Relaxed), "dropped twice");
    }
}

/// What the sender shared, up to which byte of the stream.
struct Shared {
    end: u64,
    is_over: Arc<AtomicBool>,
}

/// A packet on its way to one of the two.
type Carried = (usize, Vec<u8>, Option<NonZeroU16>, ChecksumState);

/// A stack that shares, and writes in all other ways; one that reads, and says something, too; and a path between them.
struct Mixed {
    stacks: [Stack; 2],
    now: Instant,
    rng: Rng,
    /// Not more than so many bytes are sent than take a moment.
    most: u32,
    /// One in twice as many packets is lost, and another is late; none if it is 0.
    lose_each: u32,
    late: VecDeque<Carried>,
    client: TcpId,
    server: TcpId,
    /// All that the client has sent, and which of it is shared.
    stream: Vec<u8>,
    shared: Vec<Shared>,
    /// The client was told of room, and not since of none.
    is_writable: bool,
    /// What the server has said, and how much of that the client has sent back.
    said: u64,
    echoed: u64,
    received: Vec<u8>,
}

const ECHO: u64 = 77;

fn below(rng: &mut Rng, end: u32) -> u32 {
    rng.within(0..=end - 1)
}

fn one_in(rng: &mut Rng, many: u32) -> bool {
    below(rng, many) == 0
}

/// Does something with the stack that shares.
fn inside<T>(work: impl FnOnce() -> T) -> T {
    INSIDE.set(true);
    let done = work();
    INSIDE.set(false);
    done
}

impl Mixed {
    fn new(seed: u64) -> Mixed {
        let mut rng = Rng::from_number(seed);
        let mut config = Config::default();
        (config.send_buffer_initial, config.send_buffer) =
            [(1_000, 1_000), (20_000, 40_000), (BUFFER, BUFFER), (64 << 10, 6 << 20)]
                [below(&mut rng, 4) as usize];
        let most = 20 * config.send_buffer.min(100_000) as u32;
        if one_in(&mut rng, 4) {
            // What it has not read leaves some to write in.
            (config.pages, config.recv_buffer) = (8, 8_000);
        }
        let offloads = Offloads { checksum: true, tso4: true, tso6: true, uso: true };
        let offloads = if one_in(&mut rng, 2) { offloads } else { Offloads::default() };
        let stacks = [0, 1].map(|side: u8| {
            let config = if side == 0 { config.clone() } else { Config::default() };
            let mut stack = Stack::new(config, &Secrets::from_number(seed + u64::from(side)), Instant::ZERO);
            let device = stack.add_interface(1500);
            stack.set_offloads(device, offloads);
            stack.add_address(device, format!("10.9.0.{}/24", side + 1).parse().unwrap()).unwrap();
            stack
        });
        let mut mixed = Mixed {
            stacks,
            now: Instant::ZERO,
            most,
            lose_each: [0, 100, 20, 5][below(&mut rng, 4) as usize],
            rng,
            late: VecDeque::new(),
            client: TcpId::default(),
            server: TcpId::default(),
            stream: Vec::new(),
            shared: Vec::new(),
            is_writable: true,
            said: 0,
            echoed: 0,
            received: Vec::new(),
        };
        mixed.stacks[0].keep_released();
        mixed.open();
        mixed
    }

    fn open(&mut self) {
        let at = SocketAddr::from(([10, 9, 0, 2], 7));
        let listener = self.stacks[1].tcp_listen(self.now, at, None, Owner::APPLICATION).unwrap();
        self.client = self.stacks[0].tcp_connect(self.now, None, at, None, Owner::APPLICATION).unwrap();
        let mut accepted = None;
        while accepted.is_none() || self.stacks[0].tcp_connect_result(self.client).is_err() {
            self.turn();
            accepted = accepted.or(self.stacks[1].tcp_accept(self.now, listener).ok());
        }
        self.server = accepted.unwrap().0;
        self.stacks[1].tcp_close_listener(self.now, listener);
        if one_in(&mut self.rng, 3) {
            let mut options = self.stacks[0].tcp_options(self.client).unwrap();
            options.notsent_lowat = Some([300, 3_000, 20_000, 100_000][below(&mut self.rng, 4) as usize]);
            self.stacks[0].tcp_set_options(self.now, self.client, options).unwrap();
        }
    }

    /// What each has to send goes to the other; then a millisecond passes, or as long as nothing would happen.
    fn turn(&mut self) {
        let mut is_quiet = true;
        for from in [0, 1] {
            let mut wire = VecDeque::new();
            let mut sink = |egress: Egress<'_>| {
                let checksum = match egress.checksum {
                    EgressChecksum::Complete => ChecksumState::Unverified,
                    EgressChecksum::Partial { .. } => ChecksumState::Partial,
                };
                wire.push_back((
                    1 - from,
                    [&[egress.header], egress.payload].concat().concat(),
                    egress.gso_size,
                    checksum,
                ));
                Sent::Taken
            };
            let now = self.now;
            inside(|| while self.stacks[from].transmit(now, &mut sink) == Progress::More {});
            is_quiet &= wire.is_empty();
            let mut late = std::mem::take(&mut self.late);
            for packet in wire {
                match below(&mut self.rng, 2 * self.lose_each.max(1)) {
                    0 if self.lose_each > 0 => {}
                    1 if self.lose_each > 0 => self.late.push_back(packet),
                    _ => self.deliver(packet),
                }
            }
            late.drain(..).for_each(|packet| self.deliver(packet));
        }
        self.now += Duration::from_millis(1);
        if is_quiet && let Some(then) = self.stacks.iter_mut().filter_map(|stack| stack.deadline()).min() {
            self.now = self.now.max(then);
        }
        let now = self.now;
        inside(|| self.stacks.iter_mut().for_each(|stack| stack.advance(now)));
        self.take_released();
    }

    fn deliver(&mut self, (to, bytes, gso_size, checksum): Carried) {
        let packet = Packet { bytes: &bytes, at: self.now, checksum, gso_size };
        inside(|| self.stacks[to].receive(DeviceId(0), &packet));
    }

    /// Lets go of what the stack has released, which is what is acknowledged, all of it.
    fn take_released(&mut self) {
        let mut released = Vec::new();
        inside(|| self.stacks[0].take_released(&mut released));
        drop(released);
        let Ok(info) = self.stacks[0].tcp_info(self.client) else { return };
        for shared in &self.shared {
            // What is over needs nothing any more.
            let is_acked = shared.end <= info.bytes_acked || info.state == State::Closed;
            assert_eq!(shared.is_over.load(Ordering::Relaxed), is_acked, "shared up to {}", shared.end);
        }
        self.shared.retain(|shared| shared.end > info.bytes_acked);
    }

    fn hear(&mut self) {
        while let Some(event) = self.stacks[0].next_event() {
            if event.socket == SocketId::Tcp(self.client) && event.readiness.contains(Readiness::WRITABLE) {
                self.is_writable = true;
            }
        }
        while self.stacks[1].next_event().is_some() {}
    }

    /// Writes something in some way.
    fn write(&mut self) {
        let len = [1, 100, 3_000, 20_000, 200_000][below(&mut self.rng, 5) as usize];
        let len = 1 + below(&mut self.rng, len) as usize;
        let data = pattern_bytes(3, self.stream.len() as u64, len);
        let (now, client, most) = (self.now, self.client, 1 + below(&mut self.rng, 5_000) as usize);
        let stack = &mut self.stacks[0];
        let (asked, done) = match below(&mut self.rng, 4) {
            0 => (len, inside(|| stack.tcp_write(now, client, &data))),
            1 => (
                1,
                inside(|| {
                    stack.tcp_write_in_place(now, client, |room| {
                        let len = room.len().min(data.len());
                        room[..len].copy_from_slice(&data[..len]);
                        len
                    })
                }),
            ),
            2 => {
                let is_over = Arc::new(AtomicBool::new(false));
                let mut bytes =
                    Bytes::from_owner(Owned { bytes: data.clone(), is_over: Arc::clone(&is_over) });
                let done = inside(|| stack.tcp_write_bytes(now, client, &mut bytes));
                if let Ok(count) = done {
                    assert_eq!(bytes, data[count..]);
                    if count >= 16 << 10 {
                        self.shared.push(Shared { end: (self.stream.len() + count) as u64, is_over });
                    }
                } else {
                    assert_eq!(bytes, data);
                }
                (len, done)
            }
            _ => match inside(|| stack.tcp_splice(now, client, client, most)) {
                Ok(count) => {
                    self.stream.extend(pattern_bytes(ECHO, self.echoed, count));
                    self.echoed += count as u64;
                    return;
                }
                Err(SpliceError::Read(error)) => return assert_eq!(error, Error::WouldBlock),
                Err(SpliceError::Write(error)) => (1, Err(error)),
            },
        };
        match done {
            Ok(count) => {
                self.stream.extend(&data[..count]);
                self.is_writable &= count >= asked;
            }
            Err(error) => {
                assert_eq!(error, Error::WouldBlock);
                self.is_writable = false;
            }
        }
    }

    fn read(&mut self) {
        let mut room = vec![0; 1 + below(&mut self.rng, 300_000) as usize];
        match self.stacks[1].tcp_read(self.now, self.server, &mut room) {
            Ok(count) => self.received.extend(&room[..count]),
            Err(error) => assert_eq!(error, Error::WouldBlock),
        }
        if one_in(&mut self.rng, 8) {
            let data = pattern_bytes(ECHO, self.said, 2_000);
            self.said += self.stacks[1].tcp_write(self.now, self.server, &data).unwrap_or(0) as u64;
        }
    }
}

#[test]
fn text_that_is_shared_copied_and_carried_on_arrives_and_every_owner_ends_once_it_is_acknowledged() {
    for_each_seed("text_that_is_shared_copied_and_carried_on", 60, |seed| {
        let mut t = Mixed::new(seed);
        let (all, breaks) = (100_000 + below(&mut t.rng, t.most) as usize, one_in(&mut t.rng, 4));
        let mut waits = 0;
        while t.received.len() < all {
            let was_writable = t.is_writable;
            for _ in 0..below(&mut t.rng, 10) {
                // Who hears of no room may try another way, but then waits until told of some.
                let tries = t.is_writable || one_in(&mut t.rng, 2);
                if was_writable && tries && t.stream.len() < all {
                    t.write();
                }
            }
            if !one_in(&mut t.rng, 4) {
                t.read();
            }
            let before = t.received.len();
            t.turn();
            t.hear();
            waits = if t.received.len() == before && !t.is_writable { waits + 1 } else { 0 };
            assert!(waits < 300, "nobody is told of room: {:?}", t.stacks[0].tcp_info(t.client));
            if breaks && t.received.len() > all / 2 {
                break;
            }
            if t.stream.len() >= all && t.received.len() == t.stream.len() {
                break;
            }
        }
        assert!(t.received == t.stream[..t.received.len()], "other bytes than were sent");
        t.end(breaks);
    });
}

impl Mixed {
    /// Whichever way the connection ends, all owners have come to theirs.
    fn end(&mut self, breaks: bool) {
        let (now, client, server) = (self.now, self.client, self.server);
        match (breaks, below(&mut self.rng, 3)) {
            // What is not read resets the connection.
            (false, _) | (true, 0) => {
                inside(|| self.stacks[0].tcp_close(now, client));
                self.stacks[1].tcp_abort(now, server);
            }
            (true, 1) => inside(|| self.stacks[0].tcp_abort(now, client)),
            (true, _) => inside(|| self.stacks[0].tcp_abort_all(now)),
        }
        for _ in 0..200 {
            self.turn();
        }
        inside(|| self.stacks[0].tcp_abort(now, client));
        self.take_released();
        assert!(self.shared.iter().all(|shared| shared.is_over.load(Ordering::Relaxed)), "an owner is left");
        assert_eq!(self.stacks[0].tcp_census().pages, 0);
        inside(|| self.stacks[1].tcp_abort(now, server));
    }
}
