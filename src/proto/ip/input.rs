//! What comes in: validation of IPv4 and IPv6, in the order of the headers.

use super::Datagram;
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::packet::{DeviceId, Packet};

/// Validates a packet. Errors that deserve an ICMP answer have been answered through `ctx`.
pub(crate) fn receive<'p>(ctx: &mut Context<'_>, device: DeviceId, packet: &Packet<'p>) -> Result<Datagram<'p>, DropReason> { todo!() }
