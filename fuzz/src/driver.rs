//! A stack with its clock, as a run loop would drive it, and what must hold after every step.

use std::net::IpAddr;
use std::time::Duration;

use tunstack::ipnet::IpNet;
use tunstack::proto::packet::Progress;
use tunstack::proto::{Config, DeviceId, Egress, Packet, Secrets, Sent, Stack};
use tunstack::time::Instant;

use super::packets::judged;

/// More packets than any input can ask for at one instant.
const FLOOD: usize = 20_000;
/// More deadlines than any timer needs to come to its end.
const DEADLINES: usize = 20_000;

/// A stack, its clock, and the packets that it has sent.
pub(crate) struct Driver {
    pub(crate) stack: Stack,
    pub(crate) now: Instant,
    pub(crate) sent: Vec<(DeviceId, Vec<u8>)>,
    /// The devices have no room.
    pub(crate) is_busy: bool,
    /// The largest datagram that each device has ever taken.
    mtus: Vec<usize>,
    ours: Vec<IpAddr>,
}

impl Driver {
    pub(crate) fn new(config: Config, seed: u64, now: Instant) -> Driver {
        Driver {
            stack: Stack::new(config, &Secrets::from_number(seed), now),
            now,
            sent: Vec::new(),
            is_busy: false,
            mtus: Vec::new(),
            ours: Vec::new(),
        }
    }

    /// Adds an interface with addresses.
    pub(crate) fn add_interface(&mut self, mtu: usize, addresses: &[&str]) -> DeviceId {
        let device = self.stack.add_interface(mtu);
        for address in addresses {
            let address: IpNet = address.parse().expect("an address with its prefix");
            self.stack.add_address(device, address).expect("an address that nobody has");
            self.ours.push(address.addr());
        }
        self.mtus.push(mtu);
        device
    }

    /// Changes an interface's MTU.
    pub(crate) fn set_mtu(&mut self, device: DeviceId, mtu: usize) {
        self.stack.set_mtu(device, mtu);
        let largest = &mut self.mtus[usize::from(device.0)];
        *largest = mtu.max(*largest);
    }

    /// A packet comes in, and what it causes goes out.
    pub(crate) fn receive(&mut self, device: DeviceId, packet: &Packet<'_>) {
        self.stack.receive(device, packet);
        self.flush();
    }

    /// Sends all there is, unless the devices are busy.
    pub(crate) fn flush(&mut self) {
        let Driver { stack, sent, mtus, ours, .. } = self;
        let (is_busy, before) = (self.is_busy, sent.len());
        loop {
            let progress = stack.transmit(self.now, &mut |egress: Egress<'_>| {
                let bytes = judged(&egress, mtus[usize::from(egress.device.0)], ours);
                if is_busy {
                    return Sent::Busy;
                }
                sent.push((egress.device, bytes));
                Sent::Taken
            });
            assert!(sent.len() - before < FLOOD, "a flood at one instant");
            if progress != Progress::More {
                break;
            }
        }
        assert!(is_busy || !stack.wants_transmit(), "something to send after transmit came to Idle");
    }

    /// Every packet that came in has had one fate.
    pub(crate) fn check_counters(&self) {
        let counters = self.stack.counters();
        let told = counters.packets_delivered + counters.packets_forwarded + counters.dropped_total();
        assert_eq!(counters.packets_in, told, "a packet without a fate");
    }

    /// Goes on to the next deadline, but not past `until`.
    pub(crate) fn step(&mut self, until: Instant) {
        let next = self.stack.deadline().map_or(until, |deadline| deadline.min(until));
        self.now = next.max(self.now);
        self.stack.advance(self.now);
        if let Some(deadline) = self.stack.deadline() {
            assert!(deadline > self.now, "a deadline that has passed: {deadline:?} at {:?}", self.now);
        }
        self.flush();
    }

    /// Time passes.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        for steps in 0.. {
            assert!(steps < DEADLINES, "{steps} deadlines within {time:?}");
            self.step(until);
            if self.now == until {
                break;
            }
        }
    }

    /// Time passes until no timer is left, and then nothing may be.
    pub(crate) fn run_out(&mut self) {
        self.is_busy = false;
        self.flush();
        for steps in 0.. {
            assert!(steps < DEADLINES, "timers that never end: {:?}", self.stack.tcp_census());
            let Some(deadline) = self.stack.deadline() else { break };
            self.step(deadline);
        }
        self.check_counters();
        assert_eq!(self.stack.tcp_census(), Default::default(), "left behind");
    }
}
