//! Any packet into a stack in any state.
//!
//! The input begins with how the stack is set up and which state a first connection is brought to; then come steps: what
//! a peer sends (segments near what the stack expects, ICMP errors about what it has sent, bytes as they are), what the
//! application does, and time. Whatever it is, nothing panics, no text is mixed up, no deadline stands still, and at the
//! end nothing is left.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use tunstack::proto::stack::Shutdown;
use tunstack::proto::tcp::KeepAlive;
use tunstack::proto::{ChecksumState, Config, DeviceId, ListenerId, Owner, Packet, TcpId};
use tunstack::time::Instant;

use super::driver::Driver;
use super::packets::{self, ACK, FIN, RST, SYN, Segment};
use super::text::text;

/// Steps of one input.
const STEPS: usize = 64;
const LISTENING: u16 = 7;
const SERVING: u16 = 80;
const KNOCKING: u16 = 40_000;
/// The streams of peers, by sequence numbers, and those of the stack.
const IN: usize = 0;
const OUT: usize = 1;

/// See the module.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let _ = play(&mut input);
}

/// The end of the input ends the story wherever it is.
fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let mut scene = Scene::new(input)?;
    let played = scene.acts(input);
    scene.end();
    played
}

/// What one pair of ports has seen.
#[derive(Clone, Debug)]
struct Flow {
    local_port: u16,
    peer_port: u16,
    /// The stack's initial sequence number, and what follows the last octet that it has sent.
    iss: Option<u32>,
    snd_nxt: u32,
    /// The peer's initial sequence number as the stack has acknowledged it, what the stack expects next, and the edge
    /// of the window that it offers.
    irs: Option<u32>,
    /// The peer's last SYN.
    syn: Option<u32>,
    rcv_nxt: u32,
    edge: u32,
    /// The last timestamp that the stack has sent.
    shown: u32,
    /// There has been more than one connection, so that nobody can tell whose an octet is.
    is_mixed: bool,
}

impl Flow {
    fn new(local_port: u16, peer_port: u16, peer_iss: u32) -> Flow {
        Flow {
            local_port,
            peer_port,
            iss: None,
            snd_nxt: 0,
            irs: None,
            syn: None,
            rcv_nxt: peer_iss,
            edge: peer_iss,
            shown: 0,
            is_mixed: false,
        }
    }

    /// The stack has sent a segment.
    fn sent(&mut self, segment: &[u8]) {
        let long = |at: usize| u32::from_be_bytes(segment[at..at + 4].try_into().expect("four"));
        let (seq, ack, flags) = (long(4), long(8), segment[13]);
        let body = &segment[usize::from(segment[12] >> 4) * 4..];
        let options = &segment[20..usize::from(segment[12] >> 4) * 4];
        if let Some(at) = options.windows(2).position(|option| option == [8, 10]).filter(|at| at % 4 == 2) {
            self.shown = long(20 + at + 2);
        }
        if flags & SYN != 0 {
            self.is_mixed |= self.iss.is_some_and(|iss| iss != seq);
            self.iss = Some(seq);
            self.snd_nxt = seq;
        }
        // What acknowledges a SYN alone tells which; what acknowledges text with it does not.
        let irs = match flags & (SYN | RST | ACK) {
            packets::SYN_ACK => Some(ack.wrapping_sub(1)),
            ACK => self.irs.or(self.syn),
            _ => self.irs,
        };
        self.is_mixed |= self.irs.is_some() && self.irs != irs;
        self.irs = irs;
        if flags & RST != 0 || self.iss.is_none() {
            return;
        }
        let end =
            seq.wrapping_add(body.len() as u32 + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0));
        if end.wrapping_sub(self.snd_nxt) < 1 << 31 {
            self.snd_nxt = end;
        }
        if flags & ACK != 0 {
            self.rcv_nxt = ack;
            self.edge = ack.wrapping_add(u32::from(u16::from_be_bytes([segment[14], segment[15]])));
        }
        if let (Some(iss), false) = (self.iss, self.is_mixed) {
            let from = seq.wrapping_sub(iss).wrapping_sub(1);
            assert!(body == text(OUT, from, body.len()), "text at {from} is not what was written");
        }
    }
}

/// A connection that the application holds.
#[derive(Debug)]
struct Held {
    id: TcpId,
    flow: usize,
    written: u32,
    read: u32,
}

/// Everything that is on stage.
struct Scene {
    driver: Driver,
    device: DeviceId,
    listener: Option<ListenerId>,
    here: IpAddr,
    there: IpAddr,
    flows: Vec<Flow>,
    held: Vec<Held>,
    /// The last datagrams that the stack has sent, for errors about them.
    seen: Vec<Vec<u8>>,
    /// A peer has sent what isn't its stream's text.
    is_poisoned: bool,
    /// The first connection's peer offers timestamps.
    is_stamped: bool,
    /// What the peers' clocks show.
    ticks: u32,
}

/// The timestamps option, brought to a whole number of words.
fn stamps(value: u32, echo: u32) -> [u8; 12] {
    let mut option = [1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0];
    option[4..8].copy_from_slice(&value.to_be_bytes());
    option[8..].copy_from_slice(&echo.to_be_bytes());
    option
}

impl Scene {
    fn new(input: &mut Unstructured<'_>) -> Result<Scene> {
        let shape: u8 = input.arbitrary()?;
        let is_v6 = shape & 1 != 0;
        let config = Config {
            recv_buffer: [65_535, 3_000, 1 << 20, 500][usize::from(shape >> 1 & 3)],
            send_buffer: if shape & 8 == 0 { 64 << 10 } else { 2_000 },
            pages: [1_000, 1, 3, 64][usize::from(shape >> 4 & 3)],
            reassembly_ranges: if shape & 64 == 0 { 4 } else { 64 },
            sack_ranges: if shape & 64 == 0 { 1024 } else { 3 },
            syn_queue: 4,
            sent_log: 64,
            time_wait_entries: if shape & 128 == 0 { 16 } else { 1 },
            ..Config::default()
        };
        let mtu = [1500, 1280, 576, 9000][usize::from(input.arbitrary::<u8>()? & 3)];
        let mut driver = Driver::new(config, 7, Instant::from_millis(1_000_000));
        let (net, there) = if is_v6 { ("fd09::2/64", "fd09::1") } else { ("10.9.0.2/24", "10.9.0.1") };
        let mtu = if is_v6 { mtu.max(1280) } else { mtu };
        let device = driver.add_interface(mtu, &[net]);
        let net: tunstack::ipnet::IpNet = net.parse().expect("an address with its prefix");
        let local = SocketAddr::new(net.addr(), LISTENING);
        let now = driver.now;
        let listener = driver.stack.tcp_listen(now, local, Some(2), Owner::APPLICATION).expect("a free port");
        let mut scene = Scene {
            driver,
            device,
            listener: Some(listener),
            here: net.addr(),
            there: there.parse().expect("an address"),
            flows: Vec::new(),
            held: Vec::new(),
            seen: Vec::new(),
            is_poisoned: false,
            is_stamped: false,
            ticks: 1_000,
        };
        let iss = input.arbitrary()?;
        scene.flows.push(Flow::new(LISTENING, KNOCKING, iss));
        scene.prologue(input)?;
        Ok(scene)
    }

    /// Brings a first connection into one of the states of RFC 9293.
    fn prologue(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let (state, options): (u8, u8) = (input.arbitrary()?, input.arbitrary()?);
        let is_active = state & 0x80 != 0;
        let mut offer = vec![3, 3, options & 15, 1];
        if options & 16 == 0 {
            offer.extend([2, 4, 5, 0xb4]);
        }
        if options & 32 != 0 {
            offer.extend([1, 1, 4, 2]);
        }
        self.is_stamped = options & 64 != 0;
        if self.is_stamped {
            offer.extend(stamps(self.ticks, 0));
        }
        let options = &offer[..];
        let stage = state & 0x0f;
        if stage == 0 {
            return Ok(());
        }
        if is_active {
            self.connect();
        } else {
            self.segment(0, SYN, 0, 0, 65_535, options, 0);
        }
        if stage == 1 {
            return Ok(());
        }
        let flow = self.flows.len() - 1;
        let flags = if is_active { SYN | ACK } else { ACK };
        self.segment(flow, flags, 0, 0, 65_535, if is_active { options } else { &[] }, 0);
        self.accept();
        let fin = |scene: &mut Scene| scene.segment(flow, FIN | ACK, 0, 0, 65_535, &[], 0);
        let answer = |scene: &mut Scene| scene.segment(flow, ACK, 0, 0, 65_535, &[], 0);
        match stage {
            2..=5 => {}
            // FIN-WAIT-1, FIN-WAIT-2, CLOSING, TIME-WAIT.
            6 => self.shutdown(0, Shutdown::Write),
            7 => {
                self.shutdown(0, Shutdown::Write);
                answer(self);
            }
            8 => {
                self.shutdown(0, Shutdown::Write);
                // Their FIN without an acknowledgement of ours.
                self.segment(flow, FIN | ACK, 0, -1, 65_535, &[], 0);
            }
            9 => {
                self.shutdown(0, Shutdown::Write);
                answer(self);
                fin(self);
            }
            // CLOSE-WAIT, LAST-ACK.
            10 => fin(self),
            11 => {
                fin(self);
                self.shutdown(0, Shutdown::Write);
            }
            // With something under way, unread, and out of order.
            12 => self.write(0, 5_000),
            13 => self.segment(flow, ACK, 0, 0, 0, &[], 700),
            14 => self.segment(flow, ACK, 1_000, 0, 65_535, &[], 700),
            _ => {
                self.write(0, 20_000);
                self.segment(flow, ACK, 0, -10_000, 5_000, &[], 100);
            }
        }
        Ok(())
    }

    fn acts(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        for _ in 0..STEPS {
            if input.is_empty() {
                break;
            }
            self.act(input)?;
            self.watch();
        }
        Ok(())
    }

    fn act(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        match input.arbitrary::<u8>()? % 32 {
            0..10 => self.act_segment(input)?,
            10 | 11 => self.act_bytes(input)?,
            12 => self.act_error(input)?,
            13..16 => self.write(input.arbitrary()?, input.arbitrary::<u16>()?.into()),
            16..19 => self.read(input.arbitrary()?, input.arbitrary::<u16>()?.into(), input.arbitrary()?),
            19 => {
                let how = [Shutdown::Read, Shutdown::Write, Shutdown::Both];
                self.shutdown(input.arbitrary()?, *input.choose(&how)?);
            }
            20 => self.release(input.arbitrary()?, false),
            21 => self.release(input.arbitrary()?, true),
            22 => self.accept(),
            23 => self.connect(),
            24 => self.act_options(input)?,
            25 => {
                self.driver.is_busy = input.arbitrary()?;
                self.driver.flush();
            }
            26 => {
                let mtu = usize::from(input.arbitrary::<u16>()?);
                let least = if self.here.is_ipv6() { 1280 } else { 68 };
                self.driver.set_mtu(self.device, mtu.max(least));
            }
            27 => {
                // To the next deadline.
                let until = self.driver.now + Duration::from_secs(60);
                self.driver.step(until);
            }
            28 | 29 => self.driver.run(Duration::from_millis(input.arbitrary::<u8>()?.into())),
            30 => self.driver.run(Duration::from_millis(input.arbitrary::<u16>()?.into())),
            _ => self.driver.run(Duration::from_secs(input.arbitrary::<u8>()?.into())),
        }
        Ok(())
    }

    /// A segment near what the stack expects, with the right checksum, perhaps as a super-segment.
    fn act_segment(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let how: u8 = input.arbitrary()?;
        let flags: u8 = input.arbitrary()?;
        // Most segments are acknowledgements.
        let flags = if how & 1 == 0 { ACK | flags & 0x29 } else { flags };
        let near = |input: &mut Unstructured<'_>, bits: u8| -> Result<i32> {
            Ok(match bits & 3 {
                0 => 0,
                1 => i32::from(input.arbitrary::<i8>()?),
                2 => i32::from(input.arbitrary::<i16>()?),
                _ => input.arbitrary()?,
            })
        };
        let (seq, ack) = (near(input, how >> 1)?, near(input, how >> 3)?);
        let window = if how & 32 == 0 { 65_535 } else { input.arbitrary()? };
        let len = if how & 64 == 0 { 0 } else { usize::from(input.arbitrary::<u16>()? % 8_192) };
        let options = if how & 128 == 0 {
            Vec::new()
        } else {
            match input.arbitrary::<u8>()? {
                count @ 0..128 => {
                    let count = usize::from(count % 41).min(input.len());
                    input.bytes(count)?.to_vec()
                }
                blocks @ 128.. => self.reports(usize::from(blocks % 4) + 1, input)?,
            }
        };
        let flow = usize::from(input.arbitrary::<u8>().unwrap_or(0)) % self.flows.len();
        self.segment(flow, flags, seq, ack, window, &options, len);
        Ok(())
    }

    /// SACK blocks near what the stack has sent, with timestamps before them that the stack has shown of late, or never.
    fn reports(&mut self, blocks: usize, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let Some(Flow { snd_nxt, shown, .. }) = self.flows.last() else { return Ok(Vec::new()) };
        let (snd_nxt, shown) = (*snd_nxt, *shown);
        let mut options = Vec::new();
        let blocks = if self.is_stamped { blocks.min(3) } else { blocks };
        if self.is_stamped {
            let (ticks, echo): (u8, i16) = (input.arbitrary()?, input.arbitrary()?);
            self.ticks = self.ticks.wrapping_add(ticks.into());
            options.extend(stamps(self.ticks, shown.wrapping_add_signed(echo.into())));
        }
        options.extend([1, 1, 5, 2 + 8 * blocks as u8]);
        for _ in 0..blocks {
            let (back, len): (u16, i16) = (input.arbitrary()?, input.arbitrary()?);
            let left = snd_nxt.wrapping_sub(back.into());
            options.extend(left.to_be_bytes());
            options.extend(left.wrapping_add_signed(len.into()).to_be_bytes());
        }
        Ok(options)
    }

    /// Bytes as they are, or in a datagram that is right up to where they begin.
    fn act_bytes(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let how: u8 = input.arbitrary()?;
        let count = usize::from(input.arbitrary::<u8>()?).min(input.len());
        let body = input.bytes(count)?;
        let protocol = [packets::TCP, packets::UDP, 1, 58][usize::from(how >> 2 & 3)];
        let mut bytes = match how & 3 {
            0 => body.to_vec(),
            1 => packets::datagram(self.there, self.here, protocol, body),
            // The last datagram turned round, or what the stack has sent itself, with octets changed.
            _ => {
                let mut bytes = self.seen.last().cloned().unwrap_or_default();
                for change in body.chunks_exact(2) {
                    if let Some(octet) = bytes.get_mut(usize::from(change[0])) {
                        *octet ^= change[1];
                    }
                }
                if how & 3 == 2 { turned_round(&bytes) } else { bytes }
            }
        };
        if how & 16 != 0 {
            packets::seal(&mut bytes);
        }
        self.is_poisoned = true;
        let trust = if how & 32 == 0 { ChecksumState::Unverified } else { ChecksumState::Trusted };
        self.arrive(&bytes, trust, None);
        Ok(())
    }

    /// An ICMP error about one of the last datagrams, or nearly.
    fn act_error(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let (kind, code, which, low): (u8, u8, u8, u16) = input.arbitrary()?;
        let Some(quoted) = self.seen.iter().rev().nth(usize::from(which & 7)) else { return Ok(()) };
        let mut message = vec![kind, code, 0, 0, 0, 0];
        message.extend(low.to_be_bytes());
        let most = if which & 8 == 0 { 576 } else { 28 };
        message.extend_from_slice(&quoted[..quoted.len().min(most)]);
        if which & 16 != 0 {
            let (at, to): (u8, u8) = input.arbitrary()?;
            let len = message.len();
            message[8 + usize::from(at) % (len - 8)] = to;
        }
        let protocol = if self.here.is_ipv4() { 1 } else { 58 };
        let bytes = packets::datagram(self.there, self.here, protocol, &message);
        self.arrive(&bytes, ChecksumState::Unverified, None);
        Ok(())
    }

    fn act_options(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let (which, how): (u8, u8) = input.arbitrary()?;
        let Some(Held { id, .. }) = self.find(which) else { return Ok(()) };
        let (id, now, stack) = (*id, self.driver.now, &mut self.driver.stack);
        let Ok(mut options) = stack.tcp_options(id) else { return Ok(()) };
        let seconds = |seconds: u8| Duration::from_secs(seconds.into());
        options.nodelay = how & 1 != 0;
        let (idle, interval, probes) = (seconds(how >> 4), seconds(how >> 5), u32::from(how >> 6));
        options.keepalive = (how & 2 != 0).then_some(KeepAlive { idle, interval, probes });
        options.user_timeout = (how & 4 != 0).then_some(seconds(how >> 3));
        options.linger = (how & 8 != 0).then_some(Duration::ZERO);
        let _ = stack.tcp_set_options(now, id, options);
        self.driver.flush();
        Ok(())
    }

    /// The peer of a flow sends a segment: `seq` and `ack` count from what the stack expects, and has sent.
    #[allow(clippy::too_many_arguments)] // As many as a segment has fields.
    fn segment(
        &mut self,
        flow: usize,
        flags: u8,
        seq: i32,
        ack: i32,
        window: u16,
        options: &[u8],
        len: usize,
    ) {
        let flow = &mut self.flows[flow];
        let stamps = stamps(self.ticks, flow.shown);
        // Without it nothing is taken where timestamps are in use.
        let options = if self.is_stamped && options.is_empty() { &stamps[..] } else { options };
        let seq = flow.rcv_nxt.wrapping_add_signed(seq);
        if flags & SYN != 0 && flow.irs.is_none() {
            flow.is_mixed |= flow.syn.replace(seq).is_some_and(|before| before != seq);
        }
        let ack = if flags & ACK == 0 { 0 } else { flow.snd_nxt.wrapping_add_signed(ack) };
        let from = if flags & SYN == 0 { seq } else { seq.wrapping_add(1) };
        let segment = Segment {
            src_port: flow.peer_port,
            dst_port: flow.local_port,
            seq,
            ack,
            flags,
            window,
            urgent: window,
            options,
            text: &text(IN, from, len),
        };
        let bytes = packets::datagram(self.there, self.here, packets::TCP, &segment.to_bytes());
        let gso_size = NonZeroU16::new(1_400).filter(|size| len > usize::from(size.get()));
        self.arrive(&bytes, ChecksumState::Unverified, gso_size);
    }

    fn arrive(&mut self, bytes: &[u8], checksum: ChecksumState, gso_size: Option<NonZeroU16>) {
        let at = self.driver.now;
        self.driver.receive(self.device, &Packet { bytes, at, checksum, gso_size });
        self.watch();
    }

    /// Looks at what the stack has sent.
    fn watch(&mut self) {
        for (_, bytes) in std::mem::take(&mut self.driver.sent) {
            if let Some(layout) = packets::layout(&bytes).filter(|it| it.protocol == packets::TCP) {
                let segment = &bytes[layout.payload_at..];
                let port = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
                let ports = (port(0), port(2));
                let flow = self.flows.iter_mut().find(|flow| (flow.local_port, flow.peer_port) == ports);
                if let Some(flow) = flow.filter(|_| layout.dst == self.there) {
                    flow.sent(segment);
                }
            }
            if self.seen.len() == 8 {
                self.seen.remove(0);
            }
            self.seen.push(bytes);
        }
        while self.driver.stack.next_event().is_some() {}
    }

    fn find(&mut self, which: u8) -> Option<&mut Held> {
        let count = self.held.len().max(1);
        self.held.get_mut(usize::from(which) % count)
    }

    fn write(&mut self, which: u8, len: usize) {
        let Some(Held { id, written, .. }) = self.find(which) else { return };
        let (id, from) = (*id, *written);
        let data = text(OUT, from, len);
        let taken = self.driver.stack.tcp_write(self.driver.now, id, &data).unwrap_or(0);
        assert!(taken <= len);
        self.find(which).expect("just found").written += taken as u32;
        self.driver.flush();
        self.watch();
    }

    fn read(&mut self, which: u8, len: usize, how: u8) {
        let Some(Held { id, flow, read, .. }) = self.find(which) else { return };
        let (id, flow, from) = (*id, *flow, *read);
        let (now, stack) = (self.driver.now, &mut self.driver.stack);
        let mut out = vec![0; len];
        let done = match how & 3 {
            0 => stack.tcp_peek(now, id, &mut out),
            1 => stack.tcp_skip(now, id, len),
            _ => stack.tcp_read(now, id, &mut out),
        };
        let done = done.unwrap_or(0);
        assert!(done <= len);
        let Flow { irs, is_mixed, .. } = self.flows[flow];
        if let (Some(irs), false, false, true) = (irs, is_mixed, self.is_poisoned, how & 3 != 1) {
            assert!(
                out[..done] == text(IN, irs.wrapping_add(1).wrapping_add(from), done),
                "text at {from} is mixed up"
            );
        }
        if how & 3 != 0 {
            self.find(which).expect("just found").read += done as u32;
        }
        self.driver.flush();
        self.watch();
    }

    fn shutdown(&mut self, which: u8, how: Shutdown) {
        let Some(Held { id, .. }) = self.find(which) else { return };
        let id = *id;
        let _ = self.driver.stack.tcp_shutdown(self.driver.now, id, how);
        self.driver.flush();
        self.watch();
    }

    fn release(&mut self, which: u8, abort: bool) {
        if self.held.is_empty() {
            return;
        }
        let Held { id, .. } = self.held.remove(usize::from(which) % self.held.len());
        match abort {
            true => self.driver.stack.tcp_abort(self.driver.now, id),
            false => self.driver.stack.tcp_close(self.driver.now, id),
        }
        self.driver.flush();
        self.watch();
    }

    fn accept(&mut self) {
        let Some(listener) = self.listener else { return };
        let Ok((id, from)) = self.driver.stack.tcp_accept(self.driver.now, listener) else { return };
        let flow =
            self.flows.iter().position(|flow| (flow.local_port, flow.peer_port) == (LISTENING, from.port()));
        // A packet of any bytes may have knocked from any port.
        let flow = flow.unwrap_or_else(|| {
            self.is_poisoned = true;
            0
        });
        self.held.push(Held { id, flow, written: 0, read: 0 });
        self.driver.flush();
        self.watch();
    }

    fn connect(&mut self) {
        if self.flows.len() == 4 {
            return;
        }
        let remote = SocketAddr::new(self.there, SERVING);
        let now = self.driver.now;
        let Ok(id) = self.driver.stack.tcp_connect(now, None, remote, None, Owner::APPLICATION) else {
            return;
        };
        let port = self.driver.stack.tcp_local_addr(id).expect("just opened").port();
        self.flows.push(Flow::new(port, SERVING, 1_000_000 * self.flows.len() as u32));
        self.held.push(Held { id, flow: self.flows.len() - 1, written: 0, read: 0 });
        self.driver.flush();
        self.watch();
    }

    /// The application lets go of everything, and time does the rest.
    fn end(&mut self) {
        let now = self.driver.now;
        if let Some(listener) = self.listener.take() {
            self.driver.stack.tcp_close_listener(now, listener);
        }
        // Half of them in order, so that what is left of those ends by itself.
        for (at, Held { id, .. }) in self.held.drain(..).enumerate() {
            match at % 2 {
                0 => self.driver.stack.tcp_close(now, id),
                _ => self.driver.stack.tcp_abort(now, id),
            }
        }
        self.driver.run_out();
        self.watch();
    }
}

/// A datagram with both ends exchanged.
fn turned_round(bytes: &[u8]) -> Vec<u8> {
    let mut turned = bytes.to_vec();
    let Some(packets::Layout { src, payload_at, .. }) = packets::layout(bytes) else { return turned };
    let (from, len) = if src.is_ipv4() { (12, 4) } else { (8, 16) };
    for (at, len) in [(from, len), (payload_at, 2)] {
        if let Some(ends) = turned.get_mut(at..at + 2 * len) {
            ends.rotate_left(len);
        }
    }
    turned
}
