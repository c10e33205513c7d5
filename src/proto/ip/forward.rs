//! Forwarding: datagrams on their way to somebody else (RFC 1812 section 5, RFC 8200).

use super::datagram::Transit;
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::packet::PacketSink;

/// Sends a datagram on its way: by `sink` at once, or if that takes nothing by the outbox.
pub(crate) fn forward(
    ctx: &mut Context<'_>,
    transit: &Transit<'_>,
    sink: &mut dyn PacketSink,
) -> Result<(), DropReason> {
    let _ = (ctx, transit, sink);
    Err(DropReason::NotOurs)
}
