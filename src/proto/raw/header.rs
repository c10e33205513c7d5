//! Datagrams that bring an IPv4 header of their own (Linux: IP_HDRINCL).

use core::net::IpAddr;

use super::socket::Socket;
use crate::proto::context::Context;
use crate::proto::error::Error;
use crate::proto::ip;
use crate::proto::sending::{Refusal, SendOptions};
use crate::proto::wire::checksum::Sum;

/// Where fields stand in an IPv4 header (RFC 791 section 3.1).
const TOTAL_LEN_AT: usize = 2;
const IDENT_AT: usize = 4;
const PROTOCOL_AT: usize = 9;
const CHECKSUM_AT: usize = 10;
const SOURCE_AT: usize = 12;
const HEADER_LEN_MIN: usize = 20;

/// Sends a datagram as it is, but for the fields that are filled in. It goes where the call says, whatever
/// destination it names, and is not fragmented.
pub(super) fn send_included(
    ctx: &mut Context,
    socket: &Socket,
    data: &[u8],
    to: IpAddr,
    with: SendOptions,
) -> Result<(), Refusal> {
    let header_len = header_len(data).ok_or(Error::InvalidInput)?;
    let route = socket.options.manner().route(ctx, with.source, socket.local, to)?;
    // As Linux: what has been learnt of the path is not heeded, since only the link's limit is beyond doubt.
    let mtu = ctx.ip.mtu(route.device).unwrap_or(route.mtu);
    if data.len() > mtu.min(usize::from(u16::MAX)) {
        return Err(Refusal::TooLong { mtu });
    }
    if !ctx.outbox.has_room_for_application(route.device, 1, data.len()) {
        return Err(Refusal::NoRoom);
    }
    let mut whole = data.to_vec();
    fill_in(ctx, &mut whole, header_len, route.source, to);
    //= RFC1122 3.2.1.8 send
    ip::send_whole(ctx, &route, whole);
    Ok(())
}

/// How long the header says that it is; `None` if it is none.
fn header_len(data: &[u8]) -> Option<usize> {
    let first = *data.first()?;
    let len = usize::from(first & 0xf) * 4;
    (first >> 4 == 4 && len >= HEADER_LEN_MIN && len <= data.len()).then_some(len)
}

fn fill_in(ctx: &mut Context, whole: &mut [u8], header_len: usize, source: IpAddr, to: IpAddr) {
    let total_len = (whole.len() as u16).to_be_bytes();
    let Some(header) = whole.get_mut(..header_len) else { return };
    put(header, TOTAL_LEN_AT, total_len);
    if let (IpAddr::V4(source), true) = (source, header[SOURCE_AT..SOURCE_AT + 4] == [0; 4]) {
        put(header, SOURCE_AT, source.octets());
    }
    if header[IDENT_AT..IDENT_AT + 2] == [0; 2] {
        let ident = ip::fragmentable(ctx, source, to, header[PROTOCOL_AT]).ident;
        put(header, IDENT_AT, ident.to_be_bytes());
    }
    put(header, CHECKSUM_AT, [0; 2]);
    let mut sum = Sum::new();
    sum.add(header);
    put(header, CHECKSUM_AT, sum.finish().to_be_bytes());
}

fn put<const N: usize>(header: &mut [u8], at: usize, bytes: [u8; N]) {
    header[at..at + N].copy_from_slice(&bytes);
}
