//! The devices as the loop sees them: who of them is read next.
//!
//! They take turns: in each round every device that may have something to read is read one batch, so that a busy one
//! doesn't starve the others.

use std::sync::Arc;

use super::singles::Singles;
use crate::device::Device;
use crate::proto::DeviceId;

/// A device that the loop reads.
pub(super) struct Port {
    pub(super) id: DeviceId,
    pub(super) device: Arc<dyn Device>,
    /// As the stack knows it, in bytes.
    pub(super) mtu: usize,
    /// It may have something to read.
    pub(super) readable: bool,
    /// Something waits until it has room.
    pub(super) wants_room: bool,
    pub(super) singles: Singles,
}

/// The devices that are left, and whose turn it is.
pub(super) struct Line {
    ports: Vec<Port>,
    /// Who comes before had their turn in this round.
    next: usize,
}

impl Line {
    /// All of them may have something to read. Their interfaces have the ids from 0 on.
    pub(super) fn new(devices: &[Arc<dyn Device>]) -> Self {
        let port = |(device, id): (&Arc<dyn Device>, DeviceId)| Port {
            id,
            device: Arc::clone(device),
            mtu: device.mtu(),
            readable: true,
            wants_room: false,
            singles: Singles::default(),
        };
        Line { ports: devices.iter().zip((0..).map(DeviceId)).map(port).collect(), next: 0 }
    }

    /// Whose turn it is in this round; `None` when all had theirs.
    pub(super) fn take_next(&mut self) -> Option<usize> {
        let rest = self.ports.get_mut(self.next..)?;
        let ahead = rest.iter().position(|port| port.readable)?;
        rest[ahead].readable = false;
        self.next += ahead + 1;
        Some(self.next - 1)
    }

    /// Whether nobody is left in this round.
    pub(super) fn is_round_over(&self) -> bool {
        self.ports.get(self.next..).is_none_or(|rest| rest.iter().all(|port| !port.readable))
    }

    /// Begins another round.
    pub(super) fn begin_round(&mut self) {
        self.next = 0;
    }

    /// Whether some device may have something to read, in this round or the next.
    pub(super) fn has_readable(&self) -> bool {
        self.ports.iter().any(|port| port.readable)
    }

    /// Whether something waits until a device has room. That it has can't be seen by reading, and a read in vain may even take what
    /// would tell of it.
    pub(super) fn wants_room(&self) -> bool {
        self.ports.iter().any(|port| port.wants_room)
    }

    /// The device at a place that [`take_next`](Self::take_next) gave.
    pub(super) fn at(&mut self, at: usize) -> &mut Port {
        &mut self.ports[at]
    }

    /// All devices.
    pub(super) fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// All devices, to be changed.
    pub(super) fn ports_mut(&mut self) -> &mut [Port] {
        &mut self.ports
    }

    /// Takes a device out.
    pub(super) fn remove(&mut self, at: usize) -> Port {
        self.next = self.next.min(at);
        self.ports.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::MemoryDevice;

    fn line(count: usize) -> Line {
        let device = || Arc::new(MemoryDevice::pair(1500).unwrap().0) as Arc<dyn Device>;
        Line::new(&(0..count).map(|_| device()).collect::<Vec<_>>())
    }

    fn round(line: &mut Line) -> Vec<u16> {
        let mut turns = Vec::new();
        while let Some(at) = line.take_next() {
            turns.push(line.at(at).id.0);
        }
        assert!(line.is_round_over());
        line.begin_round();
        turns
    }

    #[test]
    fn each_readable_device_has_one_turn_a_round_however_much_it_has() {
        let mut line = line(3);
        assert_eq!(round(&mut line), [0, 1, 2]);
        assert!(!line.has_readable() && round(&mut line).is_empty());
        line.at(0).readable = true;
        assert_eq!(line.take_next(), Some(0));
        line.at(0).readable = true;
        line.at(2).readable = true;
        assert_eq!(line.take_next(), Some(2), "the first has more, and waits for the next round");
        assert_eq!(line.take_next(), None);
        assert!(line.has_readable());
    }

    #[test]
    fn the_others_keep_their_turns_when_a_device_goes() {
        let mut line = line(4);
        assert_eq!((line.take_next(), line.take_next()), (Some(0), Some(1)));
        assert_eq!(line.remove(1).id, DeviceId(1));
        assert_eq!(round(&mut line), [2, 3]);
    }
}
