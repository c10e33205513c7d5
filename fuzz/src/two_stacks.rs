//! Two stacks and a path between them, on which anything may happen.
//!
//! The input begins with how the stacks and the path are set up; then come operations: what applications do, what becomes
//! of packets, and time. Whatever they are, what is read is what was written, from the beginning; and once the path is
//! sound everything arrives and both sides end, unless somebody has thrown a connection away or was left without an
//! answer for long. At the end nothing is left.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU64};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use tunstack::proto::stack::Shutdown;
use tunstack::proto::tcp::closing::State;
use tunstack::proto::{ChecksumState, Config, DeviceId, Error, ListenerId, Owner, Packet, TcpId};
use tunstack::sim::{Link, LinkConfig, Loss, Ppm};
use tunstack::time::Instant;

use super::driver::Driver;
use super::packets;
use super::text::text;

/// Operations of one input, and connections.
const OPERATIONS: usize = 48;
const CONNECTIONS: usize = 3;
const LISTENING: u16 = 7;
const ENDS: [[&str; 2]; 2] = [["10.9.0.1/24", "10.9.0.2/24"], ["fd09::1/64", "fd09::2/64"]];
/// The most that is read at once.
const SCRATCH: usize = 8 << 10;
/// More steps than any input needs.
const STEPS: usize = 100_000;
/// What a sound path is given for everything to arrive: time-outs have backed off before it became sound.
const PATIENCE: Duration = Duration::from_secs(600);
/// Who has been left without an answer for so long may give up.
const GIVES_UP: Duration = Duration::from_secs(30);

/// See the module.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let _ = play(&mut input);
}

/// The end of the input ends the operations wherever it is.
fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let mut world = World::new(input)?;
    let played = world.operations(input);
    world.heal();
    world.end();
    played
}

/// What becomes of a packet on its way into the path.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Pass,
    Lose,
    Double,
    Hold(Duration),
    /// One octet is changed: the Internet checksum finds that.
    Spoil(u8, u8),
}

/// A connection, as the applications at both of its ends see it.
#[derive(Debug)]
struct Pair {
    client: usize,
    client_port: u16,
    ends: [Option<TcpId>; 2],
    written: [u32; 2],
    read: [u32; 2],
    is_over: [bool; 2],
    /// No more will be written.
    is_finished: [bool; 2],
    /// Somebody has thrown it away, so that not all has to arrive.
    is_excused: bool,
}

struct World {
    now: Instant,
    start: Instant,
    drivers: [Driver; 2],
    devices: [DeviceId; 2],
    listeners: [Option<ListenerId>; 2],
    addresses: [IpAddr; 2],
    /// From each side.
    links: [Link; 2],
    faults: [VecDeque<Fault>; 2],
    /// Packets that others overtake: when they go on, and whose they are.
    held: Vec<(Instant, usize, Vec<u8>)>,
    pairs: Vec<Pair>,
    /// Where to read to.
    scratch: Vec<u8>,
    /// What arrives together and belongs together arrives as one.
    merges: bool,
}

impl World {
    fn new(input: &mut Unstructured<'_>) -> Result<World> {
        let shape: u8 = input.arbitrary()?;
        let start = Instant::from_millis(1_000_000);
        let nets = ENDS[usize::from(shape & 1)];
        let shapes: [u8; 2] = input.arbitrary()?;
        let mut drivers = [0, 1].map(|side| Driver::new(config(shapes[side]), side as u64, start));
        let mut devices = [DeviceId::LOOPBACK; 2];
        let mut listeners = [None; 2];
        let addresses = nets.map(|net| net.parse::<tunstack::ipnet::IpNet>().expect("an address").addr());
        for side in 0..2 {
            let mtu = [1500, 1280, 4000, 9000][usize::from(shape >> (2 + 2 * side) & 3)];
            devices[side] = drivers[side].add_interface(mtu, &[nets[side]]);
            let local = SocketAddr::new(addresses[side], LISTENING);
            let listener = drivers[side].stack.tcp_listen(start, local, None, Owner::APPLICATION);
            listeners[side] = Some(listener.expect("a free port"));
        }
        let seeds: [u8; 2] = input.arbitrary()?;
        let links = seeds.map(|seed| Link::new(LinkConfig::default(), seed.into()));
        let mut world = World {
            now: start,
            start,
            drivers,
            devices,
            listeners,
            addresses,
            links,
            faults: [VecDeque::new(), VecDeque::new()],
            held: Vec::new(),
            pairs: Vec::new(),
            scratch: vec![0; SCRATCH],
            merges: shape & 2 != 0,
        };
        world.configure(0, input)?;
        world.configure(1, input)?;
        world.connect(usize::from(shape >> 7));
        Ok(world)
    }

    fn operations(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        for _ in 0..OPERATIONS {
            if input.is_empty() {
                break;
            }
            self.operate(input)?;
        }
        Ok(())
    }

    fn operate(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let (kind, which): (u8, u8) = input.arbitrary()?;
        let (side, pair) = (usize::from(which & 1), usize::from(which >> 1) % self.pairs.len());
        match kind % 32 {
            0..6 => self.write(pair, side, usize::from(input.arbitrary::<u16>()? % 6_000)),
            6..10 => self.read(pair, side, usize::from(input.arbitrary::<u16>()? % 6_000)),
            10 | 11 => self.connect(side),
            12 => self.finish(pair, side),
            13 => self.release(pair, side, false),
            14 => self.release(pair, side, true),
            15 => self.configure(side, input)?,
            16 => self.links[side].set_up(input.arbitrary()?),
            17 => self.drivers[side].is_busy = input.arbitrary()?,
            18 => {
                let mtu = usize::from(input.arbitrary::<u16>()? % 9_000).max(1280);
                self.drivers[side].set_mtu(self.devices[side], mtu);
            }
            19 => self.set_nodelay(pair, side, input.arbitrary()?),
            20..24 => {
                let fault = match input.arbitrary::<u8>()? % 8 {
                    0..2 => Fault::Lose,
                    2..4 => Fault::Double,
                    4..6 => Fault::Hold(Duration::from_millis(input.arbitrary::<u8>()?.into())),
                    6 => Fault::Spoil(input.arbitrary()?, input.arbitrary()?),
                    _ => Fault::Pass,
                };
                self.faults[side].push_back(fault);
            }
            24..26 => {
                // To whatever happens next.
                self.step(self.now + Duration::from_secs(60));
            }
            26..31 => self.run(Duration::from_millis(input.arbitrary::<u8>()?.into())),
            _ => self.run(Duration::from_millis(input.arbitrary::<u16>()?.into())),
        }
        self.settle();
        Ok(())
    }

    /// One direction of the path becomes another one.
    fn configure(&mut self, side: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let (how, much): (u8, u8) = input.arbitrary()?;
        let chance = |bit: u8| if how & bit == 0 { Ppm::NEVER } else { Ppm::percent(u32::from(much) / 4) };
        self.links[side].configure(LinkConfig {
            delay: Duration::from_millis([0, 1, 20, 150][usize::from(how & 3)]),
            jitter: Duration::from_millis(if how & 4 == 0 { 0 } else { much.into() }),
            rate: NonZeroU64::new(if how & 8 == 0 { 0 } else { 100_000 * (1 + u64::from(much)) }),
            queue: 20_000,
            loss: if how & 16 == 0 { Loss::None } else { Loss::Random(chance(16)) },
            duplicate: chance(32),
            reorder: chance(64),
            ecn_threshold: (how & 128 != 0).then_some(5_000),
            ..LinkConfig::default()
        });
        Ok(())
    }

    fn connect(&mut self, client: usize) {
        if self.pairs.len() == CONNECTIONS {
            return;
        }
        let remote = SocketAddr::new(self.addresses[1 - client], LISTENING);
        let stack = &mut self.drivers[client].stack;
        let id = stack.tcp_connect(self.now, None, remote, None, Owner::APPLICATION).expect("a free port");
        let client_port = stack.tcp_local_addr(id).expect("just opened").port();
        let mut ends = [None; 2];
        ends[client] = Some(id);
        self.pairs.push(Pair {
            client,
            client_port,
            ends,
            written: [0; 2],
            read: [0; 2],
            is_over: [false; 2],
            is_finished: [false; 2],
            is_excused: false,
        });
        self.settle();
    }

    fn write(&mut self, pair: usize, side: usize, len: usize) {
        let pair = &mut self.pairs[pair];
        let Some(id) = pair.ends[side] else { return };
        let from = pair.written[side];
        match self.drivers[side].stack.tcp_write(self.now, id, &text(side, from, len)) {
            Ok(taken) => pair.written[side] += taken as u32,
            Err(Error::WouldBlock | Error::BrokenPipe) => {}
            Err(error) => self.failed(self.index_of(side, id), error),
        }
    }

    fn read(&mut self, pair: usize, side: usize, len: usize) {
        let Some(id) = self.pairs[pair].ends[side] else { return };
        let out = &mut self.scratch[..len];
        match self.drivers[side].stack.tcp_read(self.now, id, out) {
            Ok(0) if len > 0 => self.pairs[pair].is_over[side] = true,
            Ok(done) => {
                let pair = &mut self.pairs[pair];
                let from = pair.read[side];
                assert!(
                    out[..done] == text(1 - side, from, done),
                    "{done} octets at {from} are not what was written: {pair:?}"
                );
                pair.read[side] += done as u32;
                assert!(pair.read[side] <= pair.written[1 - side], "more than was written: {pair:?}");
            }
            Err(Error::WouldBlock) => {}
            Err(error) => self.failed(pair, error),
        }
    }

    fn read_all(&mut self, pair: usize, side: usize) {
        let Some(id) = self.pairs[pair].ends[side] else { return };
        // Who has read the end of the stream hears of what came afterwards in no other way.
        if let Ok(Some(error)) = self.drivers[side].stack.tcp_take_error(id) {
            self.failed(pair, error);
        }
        loop {
            let before = self.pairs[pair].read[side];
            self.read(pair, side, SCRATCH);
            if self.pairs[pair].read[side] == before {
                break;
            }
            // What has been read makes room.
            self.settle();
        }
    }

    fn index_of(&self, side: usize, id: TcpId) -> usize {
        self.pairs.iter().position(|pair| pair.ends[side] == Some(id)).expect("a known connection")
    }

    /// A connection that nobody threw away ends badly only if somebody was left without an answer.
    fn failed(&mut self, pair: usize, error: Error) {
        let pair = &mut self.pairs[pair];
        let is_long = self.now - self.start > GIVES_UP;
        assert!(pair.is_excused || is_long, "{error:?} after {:?}: {pair:?}", self.now - self.start);
        pair.is_excused = true;
    }

    /// No more will be written. While a connection is being opened that means to give it up (as on Linux).
    fn finish(&mut self, pair: usize, side: usize) {
        let Some(id) = self.pairs[pair].ends[side] else { return };
        self.pairs[pair].is_excused |= self.is_opening(side, id);
        self.pairs[pair].is_finished[side] = true;
        let _ = self.drivers[side].stack.tcp_shutdown(self.now, id, Shutdown::Write);
    }

    fn is_opening(&self, side: usize, id: TcpId) -> bool {
        let info = self.drivers[side].stack.tcp_info(id);
        info.is_ok_and(|info| matches!(info.state, State::SynSent | State::SynReceived))
    }

    fn release(&mut self, pair: usize, side: usize, abort: bool) {
        let Some(id) = self.pairs[pair].ends[side].take() else { return };
        self.pairs[pair].is_excused = true;
        match abort {
            true => self.drivers[side].stack.tcp_abort(self.now, id),
            false => self.drivers[side].stack.tcp_close(self.now, id),
        }
    }

    fn set_nodelay(&mut self, pair: usize, side: usize, nodelay: bool) {
        let Some(id) = self.pairs[pair].ends[side] else { return };
        let stack = &mut self.drivers[side].stack;
        let Ok(mut options) = stack.tcp_options(id) else { return };
        options.nodelay = nodelay;
        let _ = stack.tcp_set_options(self.now, id, options);
    }

    /// Takes connections that wait to be accepted.
    fn accept(&mut self) {
        for side in 0..2 {
            let stack = &mut self.drivers[side].stack;
            while stack.next_event().is_some() {}
            let Some(listener) = self.listeners[side] else { continue };
            while let Ok((id, from)) = stack.tcp_accept(self.now, listener) {
                let is_this = |pair: &&mut Pair| (pair.client, pair.client_port) == (1 - side, from.port());
                match self.pairs.iter_mut().find(is_this) {
                    Some(pair) if pair.ends[side].is_none() && !pair.is_excused => pair.ends[side] = Some(id),
                    // The client has gone meanwhile.
                    Some(pair) if pair.is_excused => stack.tcp_close(self.now, id),
                    other => panic!("a connection that nobody opened: {other:?}"),
                }
            }
        }
    }

    /// What was sent enters the path, until nothing more is sent at this instant.
    fn settle(&mut self) {
        for side in 0..2 {
            self.drivers[side].now = self.now;
            if self.drivers[side].stack.wants_transmit() {
                self.drivers[side].flush();
            }
            for (_, bytes) in std::mem::take(&mut self.drivers[side].sent) {
                self.enter(side, bytes);
            }
        }
        self.accept();
    }

    fn enter(&mut self, side: usize, mut bytes: Vec<u8>) {
        match self.faults[side].pop_front().unwrap_or(Fault::Pass) {
            Fault::Pass => {}
            Fault::Lose => return,
            Fault::Double => self.links[side].send(self.now, bytes.clone()),
            Fault::Hold(time) => {
                self.held.push((self.now + time, side, bytes));
                return;
            }
            Fault::Spoil(at, change) => {
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= change;
            }
        }
        self.links[side].send(self.now, bytes);
    }

    /// Goes on to the next thing that happens, but not past `until`. `false` if that came first.
    fn step(&mut self, until: Instant) -> bool {
        let deadlines = self.drivers.iter().filter_map(|driver| driver.stack.deadline());
        let arrivals = self.links.iter().filter_map(Link::deadline);
        let held = self.held.iter().map(|(at, ..)| *at);
        let next = deadlines.chain(arrivals).chain(held).min();
        self.now = next.map_or(until, |next| next.min(until)).max(self.now);
        let mut at = 0;
        while at < self.held.len() {
            if self.held[at].0 > self.now {
                at += 1;
                continue;
            }
            let (_, side, bytes) = self.held.remove(at);
            self.links[side].send(self.now, bytes);
        }
        for side in 0..2 {
            self.drivers[side].now = self.now;
            let link = &mut self.links[1 - side];
            let arrived: Vec<_> = std::iter::from_fn(|| link.receive(self.now)).collect();
            self.deliver(side, arrived);
            self.drivers[side].step(self.now);
        }
        self.settle();
        next.is_some_and(|next| next <= until)
    }

    fn deliver(&mut self, side: usize, arrived: Vec<Vec<u8>>) {
        let mut arrived = arrived.into_iter().peekable();
        while let Some(mut bytes) = arrived.next() {
            let (mut gso_size, mut checksum) = (None, ChecksumState::Unverified);
            while let Some((size, merged)) = arrived.peek().and_then(|next| merged(&bytes, gso_size, next)) {
                if !self.merges {
                    break;
                }
                (bytes, gso_size, checksum) = (merged, Some(size), ChecksumState::Trusted);
                arrived.next();
            }
            let gso_size = gso_size.and_then(NonZeroU16::new);
            let packet = Packet { bytes: &bytes, at: self.now, checksum, gso_size };
            self.drivers[side].receive(self.devices[side], &packet);
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        for steps in 0.. {
            assert!(steps < STEPS, "a busy loop");
            if !self.step(until) || self.now == until {
                break;
            }
        }
    }

    /// Nothing goes wrong on the path any more: everything arrives.
    fn heal(&mut self) {
        for side in 0..2 {
            self.links[side]
                .configure(LinkConfig { delay: Duration::from_millis(5), ..LinkConfig::default() });
            self.links[side].set_up(true);
            self.faults[side].clear();
            self.drivers[side].is_busy = false;
        }
        self.settle();
        let until = self.now + PATIENCE;
        for steps in 0.. {
            for pair in 0..self.pairs.len() {
                for side in 0..2 {
                    self.read_all(pair, side);
                    let Pair { ends, is_finished, .. } = &self.pairs[pair];
                    if !is_finished[side] && ends[side].is_some_and(|id| !self.is_opening(side, id)) {
                        self.finish(pair, side);
                    }
                }
            }
            self.settle();
            if self.pairs.iter().all(|pair| pair.is_excused || pair.is_over == [true; 2]) {
                break;
            }
            let goes_on = steps < STEPS && self.step(until);
            assert!(goes_on, "it does not end:\n{}", self.described());
        }
        for pair in self.pairs.iter().filter(|pair| !pair.is_excused) {
            assert_eq!(pair.read, [pair.written[1], pair.written[0]], "not all that was written");
        }
    }

    /// How things stand, for a finding.
    fn described(&self) -> String {
        let mut text = String::new();
        for pair in &self.pairs {
            text += &format!("{pair:?}\n");
            for (driver, end) in self.drivers.iter().zip(pair.ends) {
                let info = end.and_then(|id| driver.stack.tcp_info(id).ok());
                text += &format!("    {info:?}\n");
            }
        }
        text
    }

    /// The applications let go of everything, and time does the rest.
    fn end(&mut self) {
        for side in 0..2 {
            for pair in 0..self.pairs.len() {
                self.release(pair, side, false);
            }
            if let Some(listener) = self.listeners[side].take() {
                self.drivers[side].stack.tcp_close_listener(self.now, listener);
            }
        }
        self.settle();
        for steps in 0.. {
            assert!(steps < STEPS, "it never ends");
            let is_quiet = self.drivers.iter().all(|driver| driver.stack.deadline().is_none())
                && self.held.is_empty()
                && self.links.iter().all(|link| link.under_way() == 0);
            if is_quiet {
                break;
            }
            self.step(Instant::MAX);
        }
        for driver in &self.drivers {
            driver.check_counters();
            assert_eq!(driver.stack.tcp_census(), Default::default(), "left behind");
        }
    }
}

/// What a stack may be like.
fn config(shape: u8) -> Config {
    Config {
        recv_buffer: [65_535, 3_000, 1 << 20, 500][usize::from(shape & 3)],
        send_buffer: [64 << 10, 2_000, 10_000, 512 << 10][usize::from(shape >> 2 & 3)],
        pages: [1_000, 64, 32, 16][usize::from(shape >> 4 & 3)],
        reassembly_ranges: if shape & 64 == 0 { 64 } else { 2 },
        sent_log: 64,
        initial_window_segments: if shape & 128 == 0 { 10 } else { 2 },
        ..Config::default()
    }
}

/// Two segments of one stream as one, with the size of its parts, as a receiving offload puts them together: the first is
/// made of full parts, both are intact, and all but the lengths is the same.
fn merged(first: &[u8], size: Option<u16>, second: &[u8]) -> Option<(u16, Vec<u8>)> {
    let (one, two) = (packets::tcp(first)?, packets::tcp(second)?);
    let size = size.unwrap_or(one.text.len() as u16);
    let long = |at: usize, bytes: &[u8]| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four"));
    let is_plain = |header: &[u8]| header[13] & !0x08 == packets::ACK;
    let follows = long(4, one.header).wrapping_add(one.text.len() as u32) == long(4, two.header);
    let is_full = size > 0 && one.text.len() % usize::from(size) == 0;
    let fits =
        !two.text.is_empty() && two.text.len() <= usize::from(size) && first.len() + two.text.len() <= 65_000;
    let is_same = one.network == two.network
        && one.header[..4] == two.header[..4]
        && one.header[8..13] == two.header[8..13]
        && one.header[14..16] == two.header[14..16]
        && one.header[20..] == two.header[20..];
    if !(is_plain(one.header) && one.header[13] == packets::ACK && is_plain(two.header)) {
        return None;
    }
    (follows && is_full && fits && is_same).then(|| {
        let at = first.len() - one.text.len() - one.header.len();
        let mut bytes = [first, two.text].concat();
        bytes[at + 13] = two.header[13];
        packets::seal(&mut bytes);
        (size, bytes)
    })
}
