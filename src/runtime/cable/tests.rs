use std::num::NonZeroU16;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::device::MemoryDevice;
use crate::device::memory::Switches;
use crate::proto::{ChecksumState, Egress, EgressChecksum, wire};
use crate::sim::{LinkConfig, Loss, Ppm};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running cable, with the far ends of its devices in the test's hands.
struct Bench {
    left: MemoryDevice,
    right: MemoryDevice,
    control: Control,
    /// Those of the cable's own ends.
    switches: [Switches; 2],
    running: JoinHandle<(Result<(), Broken>, Duration)>,
}

impl Bench {
    fn new(there: LinkConfig, back: LinkConfig, seed: u64) -> Bench {
        Bench::with_offloads([there, back], seed, Offloads::default())
    }

    /// The cable's device on the right has these.
    fn with_offloads([there, back]: [LinkConfig; 2], seed: u64, offloads: Offloads) -> Bench {
        let (left, one) = MemoryDevice::pair(1500).unwrap();
        let (right, other) = MemoryDevice::pair(1500).unwrap();
        let other = other.with_offloads(offloads);
        let switches = [one.switches(), other.switches()];
        let links = [Link::new(there, seed), Link::new(back, seed + 1)];
        let cable = Cable::new([Arc::new(one.named("one")), Arc::new(other.named("other"))], links).unwrap();
        let control = cable.control();
        let running = thread::spawn(|| {
            let end = cable.run();
            let used = clock_gettime(ClockId::ThreadCPUTime);
            let nanos = used.tv_sec as u64 * 1_000_000_000 + used.tv_nsec as u64;
            (end, Duration::from_nanos(nanos))
        });
        Bench { left, right, control, switches, running }
    }

    /// Unplugs it; tells what had happened, and the processor time it took.
    fn end(self) -> ([Passage; 2], Duration) {
        self.control.unplug();
        let (end, used) = self.running.join().unwrap();
        assert_eq!(end, Ok(()));
        let passages = self.control.counters();
        passages.iter().for_each(adds_up);
        (passages, used)
    }
}

/// Every packet is under exactly one heading.
fn adds_up(passage: &Passage) {
    let link = passage.link;
    let dropped = link.lost + link.overflowed + link.too_large + link.interrupted;
    assert_eq!(link.sent + link.duplicated, dropped + link.arrived + passage.under_way, "{passage:?}");
}

/// Offers a packet until there is room.
fn send(device: &MemoryDevice, packet: &[u8]) {
    let end = now() + PATIENCE;
    while device.send(Egress::plain(DeviceId(0), packet, &[])) != Sent::Taken {
        assert!(now() < end, "the queue stays full");
        thread::sleep(Duration::from_micros(50));
    }
}

fn receive(device: &MemoryDevice) -> Option<Vec<u8>> {
    let mut buffer = [0; 2000];
    match device.recv(&mut buffer) {
        Received::Packet { len, .. } => Some(buffer[..len].to_vec()),
        Received::Empty | Received::Gone => None,
    }
}

/// Waits for the next packet, looking without a pause: the moment matters.
fn await_packet(device: &MemoryDevice) -> Vec<u8> {
    let end = now() + PATIENCE;
    loop {
        if let Some(packet) = receive(device) {
            return packet;
        }
        assert!(now() < end, "nothing comes");
        thread::yield_now();
    }
}

fn eventually(what: &str, done: impl Fn() -> bool) {
    let end = now() + PATIENCE;
    while !done() {
        assert!(now() < end, "{what} never comes true");
        thread::sleep(Duration::from_millis(1));
    }
}

fn numbered(count: u32) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(|number| number.to_be_bytes().to_vec())
}

#[test]
fn what_one_end_is_given_comes_out_of_the_other_in_order() {
    let bench = Bench::new(LinkConfig::default(), LinkConfig::default(), 1);
    let Bench { left, right, .. } = &bench;
    for packet in numbered(3000) {
        send(left, &packet);
        assert_eq!(await_packet(right), packet);
        send(right, &packet);
        assert_eq!(await_packet(left), packet);
    }
    let ([there, back], _) = bench.end();
    assert_eq!((there.link.arrived, back.link.arrived), (3000, 3000));
    assert_eq!((there.under_way, there.held, there.lost_by_device), (0, 0, 0));
}

/// Notes when the loop reads a packet of a device, and when it hands one over.
struct Stamping {
    device: MemoryDevice,
    read: Mutex<Vec<Instant>>,
    written: Mutex<Vec<Instant>>,
}

impl Stamping {
    fn new(device: MemoryDevice) -> Arc<Stamping> {
        Arc::new(Stamping { device, read: Mutex::default(), written: Mutex::default() })
    }
}

impl Device for Stamping {
    fn name(&self) -> &str {
        self.device.name()
    }

    fn mtu(&self) -> usize {
        self.device.mtu()
    }

    fn recv(&self, buffer: &mut [u8]) -> Received {
        let received = self.device.recv(buffer);
        if matches!(received, Received::Packet { .. }) {
            self.read.lock().unwrap().push(now());
        }
        received
    }

    fn send(&self, egress: Egress<'_>) -> Sent {
        self.written.lock().unwrap().push(now());
        self.device.send(egress)
    }

    fn poll_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.device.poll_fd()
    }

    fn room(&self) -> Room {
        self.device.room()
    }
}

#[test]
fn each_direction_has_its_own_delay_kept_to_a_tenth_of_a_millisecond() {
    let slow = |millis| LinkConfig { delay: Duration::from_millis(millis), ..LinkConfig::default() };
    let ((left, one), (right, other)) =
        (MemoryDevice::pair(1500).unwrap(), MemoryDevice::pair(1500).unwrap());
    let (one, other) = (Stamping::new(one), Stamping::new(other));
    let devices: [Arc<dyn Device>; 2] = [Arc::clone(&one) as _, Arc::clone(&other) as _];
    let cable = Cable::new(devices, [Link::new(slow(5), 1), Link::new(slow(12), 2)]).unwrap();
    let control = cable.control();
    let running = thread::spawn(|| cable.run());
    for (from, begins, ends, millis) in [(&left, &one, &other, 5), (&right, &other, &one, 12)] {
        let count = 60;
        for packet in numbered(count) {
            send(from, &packet);
            thread::sleep(Duration::from_millis(2));
        }
        let is_written = || ends.written.lock().unwrap().len() == count as usize;
        eventually("all are handed over", is_written);
        let (read, written) = (begins.read.lock().unwrap(), ends.written.lock().unwrap());
        let took: Vec<Duration> = read.iter().zip(written.iter()).map(|(at, then)| *then - *at).collect();
        let delay = Duration::from_millis(millis);
        assert!(took.iter().all(|took| *took >= delay), "never early: {took:?}");
        // The machine may be busy with something else at any one time, hardly at every time.
        assert!(*took.iter().min().unwrap() < delay + Duration::from_micros(100), "{took:?}");
    }
    control.unplug();
    assert_eq!(running.join().unwrap(), Ok(()));
}

#[test]
fn the_same_seed_loses_the_same_packets() {
    let survivors = |seed| {
        let lossy = LinkConfig { loss: Loss::Random(Ppm::percent(30)), ..LinkConfig::default() };
        let bench = Bench::new(lossy, LinkConfig::default(), seed);
        for packet in numbered(300) {
            send(&bench.left, &packet);
        }
        eventually("all have come or are lost", || {
            let [there, _] = bench.control.counters();
            there.link.sent == 300 && there.under_way == 0
        });
        let came: Vec<Vec<u8>> = std::iter::from_fn(|| receive(&bench.right)).collect();
        let ([there, _], _) = bench.end();
        assert_eq!(there.link.lost as usize + came.len(), 300);
        came
    };
    let first = survivors(7);
    assert!((150..270).contains(&first.len()), "{} of 300", first.len());
    assert_eq!(survivors(7), first);
    assert_ne!(survivors(8), first);
}

#[test]
fn a_device_without_room_keeps_packets_waiting_in_order_and_within_bounds() {
    let narrow = LinkConfig { under_way_max: 4000, ..LinkConfig::default() };
    let bench = Bench::new(narrow, LinkConfig::default(), 1);
    bench.switches[1].set_busy(true);
    for packet in numbered(2000) {
        send(&bench.left, &packet);
    }
    eventually("all are in the cable", || bench.control.counters()[0].link.sent == 2000);
    let [there, _] = bench.control.counters();
    adds_up(&there);
    assert_eq!((there.held, there.under_way), (1, 1000), "4,000 bytes wait, and the one in hand");
    assert_eq!(there.link.overflowed, 999);
    assert_eq!(receive(&bench.right), None);
    // Another packet in the other direction is no concern of the device without room.
    send(&bench.right, b"back");
    assert_eq!(await_packet(&bench.left), b"back");
    bench.switches[1].set_busy(false);
    for packet in numbered(1001) {
        assert_eq!(await_packet(&bench.right), packet);
    }
    bench.end();
}

#[test]
fn what_the_device_loses_is_counted() {
    let bench = Bench::new(LinkConfig::default(), LinkConfig::default(), 1);
    bench.switches[1].set_losing(true);
    for packet in numbered(10) {
        send(&bench.left, &packet);
    }
    eventually("all ten are lost", || bench.control.counters()[0].lost_by_device == 10);
    let ([there, back], _) = bench.end();
    assert_eq!((there.link.arrived, back.lost_by_device), (10, 0));
}

/// Three bytes over UDP, with the pseudo-header's sum alone in the checksum field: sent to a kernel, they would be read.
const UNSUMMED: [u8; 31] = [
    0x45, 0, 0, 31, 0, 7, 0, 0, 64, 17, 0x66, 0xc5, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
    0x30, 0x39, 0, 53, 0, 11, 0x14, 0x1f, b'a', b'b', b'c', // UDP
];
const UDP_CHECKSUM: EgressChecksum = EgressChecksum::Partial { start: 20, offset: 6 };

fn unsummed(gso_size: u16) -> Egress<'static> {
    let gso_size = NonZeroU16::new(gso_size);
    Egress { gso_size, checksum: UDP_CHECKSUM, ..Egress::plain(DeviceId(0), &UNSUMMED, &[]) }
}

/// The next packet, with everything that is said of it.
fn await_received(device: &MemoryDevice) -> (Vec<u8>, ChecksumState, Option<NonZeroU16>) {
    let mut buffer = [0; 2000];
    let end = now() + PATIENCE;
    loop {
        if let Received::Packet { len, checksum, gso_size } = device.recv(&mut buffer) {
            return (buffer[..len].to_vec(), checksum, gso_size);
        }
        assert!(now() < end, "nothing comes");
        thread::yield_now();
    }
}

#[test]
fn a_super_segment_passes_whole_where_there_is_only_delay_to_a_device_that_takes_it() {
    use ChecksumState::{Partial, Unverified};
    let all = Offloads { checksum: true, tso4: true, tso6: true, uso: true };
    let lossy = LinkConfig { loss: Loss::Every(1000), ..LinkConfig::default() };
    let finished = vec![(&b"ab"[..], Unverified, 0), (b"c", Unverified, 0), (b"abc", Unverified, 0)];
    let only_summed_there = vec![(&b"ab"[..], Unverified, 0), (b"c", Unverified, 0), (b"abc", Partial, 0)];
    for (config, offloads, expected) in [
        (LinkConfig::default(), all, vec![(&b"abc"[..], Partial, 2), (b"abc", Partial, 0)]),
        (LinkConfig::default(), Offloads { uso: false, ..all }, only_summed_there),
        (LinkConfig::default(), Offloads::default(), finished.clone()),
        (lossy, all, finished),
    ] {
        let bench = Bench::with_offloads([config, LinkConfig::default()], 1, offloads);
        assert_eq!(bench.left.send(unsummed(2)), Sent::Taken);
        assert_eq!(bench.left.send(unsummed(0)), Sent::Taken);
        for (data, checksum, gso_size) in &expected {
            let (bytes, known, size) = await_received(&bench.right);
            assert_eq!((&bytes[28..], known, size), (*data, *checksum, NonZeroU16::new(*gso_size)));
            let read = wire::ip::parse(&bytes).unwrap();
            assert!(wire::udp::parse(read.payload, read.src, read.dst, known).is_ok(), "{data:?}");
        }
        let ([there, _], _) = bench.end();
        let (whole, cut) = if expected.len() == 2 { (1, 0) } else { (0, 1) };
        assert_eq!((there.link.sent, there.link.whole, there.link.cut), (expected.len() as u64, whole, cut));
    }
}

#[test]
fn super_segments_fill_a_turn_with_what_they_are_cut_into_and_none_of_it_piles_up() {
    let (left, one) = MemoryDevice::pair(1500).unwrap();
    let (right, other) = MemoryDevice::pair(1500).unwrap();
    let lossy = LinkConfig { loss: Loss::Every(1_000_000), ..LinkConfig::default() };
    let links = [Link::new(lossy.clone(), 1), Link::new(lossy, 2)];
    let mut cable = Cable::new([Arc::new(one), Arc::new(other)], links).unwrap();
    for _ in 0..20 {
        assert_eq!(left.send(unsummed(1)), Sent::Taken);
    }
    // Three packets each: eleven of them are enough, and the others follow.
    for sent in [33, 60] {
        cable.take_in().unwrap();
        assert_eq!(cable.ends[0].link.counters().sent, sent);
        cable.deliver();
        assert_eq!(cable.ends[0].link.under_way(), 0);
    }
    // However many one is cut into, they are delivered in the same turn.
    let data = vec![7; 300];
    let mut large = UNSUMMED[..28].to_vec();
    large.extend(&data);
    large[2..4].copy_from_slice(&328_u16.to_be_bytes());
    large[10..12].copy_from_slice(&(0x66c5_u16 - 297).to_be_bytes());
    while receive(&right).is_some() {}
    let egress = Egress { header: &large, ..unsummed(1) };
    assert_eq!(left.send(egress), Sent::Taken);
    cable.ends[0].readable = true;
    cable.take_in().unwrap();
    assert_eq!(cable.ends[0].link.under_way(), 300);
    cable.deliver();
    assert_eq!(cable.ends[0].link.under_way(), 0);
    assert_eq!(std::iter::from_fn(|| receive(&right)).count(), 300);
}

#[test]
fn what_nobody_knows_how_to_finish_goes_no_further_and_is_counted() {
    let bench = Bench::new(LinkConfig::default(), LinkConfig::default(), 1);
    let whole = Egress::plain(DeviceId(0), b"super-segment", &[]);
    let egress = Egress { gso_size: NonZeroU16::new(5), ..whole };
    assert_eq!(bench.left.send(egress), Sent::Taken);
    send(&bench.left, b"plain");
    assert_eq!(await_packet(&bench.right), b"plain");
    let ([there, _], _) = bench.end();
    assert_eq!((there.unfinished, there.link.sent), (1, 1));
}

#[test]
fn a_device_that_vanishes_ends_it_by_name() {
    for (which, name) in ["one", "other"].into_iter().enumerate() {
        let bench = Bench::new(LinkConfig::default(), LinkConfig::default(), 1);
        bench.switches[which].vanish();
        let (end, _) = bench.running.join().unwrap();
        assert_eq!(end, Err(Broken::DeviceGone { name: name.to_owned() }));
    }
}

#[test]
fn a_cable_that_waits_uses_no_processor_time() {
    let slow = LinkConfig { delay: Duration::from_millis(400), ..LinkConfig::default() };
    let bench = Bench::new(slow.clone(), slow, 1);
    // One packet is on the way, another one waits for room: neither is a reason to be awake.
    bench.switches[0].set_busy(true);
    send(&bench.left, b"x");
    send(&bench.right, b"y");
    thread::sleep(Duration::from_millis(1200));
    let ([there, back], used) = bench.end();
    assert_eq!((there.link.arrived, back.held), (1, 1));
    assert!(used < Duration::from_millis(20), "{used:?}");
}
