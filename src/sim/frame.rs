//! A packet as devices know it, on a link: super-segments with what belongs to them.

use alloc::vec::Vec;
use core::num::NonZeroU16;

use super::link::Link;
use crate::proto::ip::segment::{Unfinishable, Unfinished};
use crate::proto::packet::{DeviceId, Egress, EgressChecksum, Offloads, Packet};

/// A packet with what a device has to be told of it, as [`Egress`] has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    bytes: Vec<u8>,
    gso_size: Option<NonZeroU16>,
    checksum: EgressChecksum,
}

impl Frame {
    /// Keeps it whole, for a device that takes it so.
    pub fn whole(unfinished: &Unfinished<'_>) -> Self {
        Frame {
            bytes: unfinished.whole(),
            gso_size: unfinished.gso_size(),
            checksum: unfinished.egress_checksum(),
        }
    }

    /// To be handed to a device.
    pub fn egress(&self, device: DeviceId) -> Egress<'_> {
        let Frame { bytes, gso_size, checksum } = self;
        Egress { gso_size: *gso_size, checksum: *checksum, ..Egress::plain(device, bytes, &[]) }
    }
}

/// A packet of a wire.
impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Frame { bytes, gso_size: None, checksum: EgressChecksum::Complete }
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for Frame {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Link<Frame> {
    /// A packet enters as a device gave it, on its way to a device with these offloads.
    ///
    /// Whatever can happen here happens to packets of a wire. So a super-segment is cut, and a checksum completed, before
    /// anything meets it; it passes whole where [nothing but time](super::LinkConfig::is_only_delay) passes, and only to a
    /// device that takes it.
    ///
    /// # Errors
    /// [`Unfinishable`]: it goes nowhere, and is not counted here.
    pub fn take(&mut self, packet: &Packet<'_>, taken: Offloads) -> Result<(), Unfinishable> {
        let Some(unfinished) = Unfinished::of(packet)? else {
            self.send(packet.at, packet.bytes.to_vec().into());
            return Ok(());
        };
        let one_if_super = u64::from(unfinished.is_super());
        if self.config().is_only_delay() && unfinished.is_taken_by(taken) {
            self.counters.whole += one_if_super;
            self.send(packet.at, Frame::whole(&unfinished));
        } else {
            self.counters.cut += one_if_super;
            unfinished.finish(|headers, data| self.send(packet.at, [headers, data].concat().into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
