//! TCP headers (RFC 9293 section 3.1).

use core::net::IpAddr;

use super::HeaderBuf;
use super::tcp_options::TcpOptions;
use crate::proto::counters::DropReason;
use crate::proto::packet::ChecksumState;

/// A sequence number as it stands on the wire. It has no order; see `tcp::seq` for positions that have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNr(pub u32);

impl SeqNr {
    /// The number `count` further on, modulo 2^32.
    pub fn plus(self, count: u32) -> SeqNr {
        SeqNr(self.0.wrapping_add(count))
    }

    /// The signed distance from `earlier` to here: negative if `earlier` is in fact later.
    pub fn minus(self, earlier: SeqNr) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }
}

impl core::fmt::Debug for SeqNr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// The control bit that rules a segment. RST outranks SYN, SYN outranks FIN (RFC 9293 section 3.10.7
/// looks at them in this order); [`Segment::fin_with_syn`] keeps the one combination that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// None of the three.
    None,
    /// Synchronise sequence numbers.
    Syn,
    /// No more data from the sender.
    Fin,
    /// Reset the connection.
    Rst,
}

/// A received segment, checked and read.
#[derive(Clone, Debug)]
pub struct Segment<'a> {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: SeqNr,
    /// Acknowledgement number, if the ACK bit is set.
    pub ack: Option<SeqNr>,
    /// The ruling control bit.
    pub control: Control,
    /// FIN was set beside SYN.
    pub fin_with_syn: bool,
    /// PSH.
    pub psh: bool,
    /// Urgent pointer, if the URG bit is set.
    pub urgent: Option<u16>,
    /// Window field, not scaled.
    pub window: u16,
    /// Flags octet as received (for traces).
    pub flags: u8,
    /// Options.
    pub options: TcpOptions,
    /// Text.
    pub payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads a segment and verifies its checksum (unless it is trusted).
    ///
    /// # Errors
    /// `Truncated`, `TcpMalformed`, `TcpChecksum` or `TcpOption`.
    pub fn parse(bytes: &'a [u8], src: IpAddr, dst: IpAddr, checksum: ChecksumState) -> Result<Self, DropReason> { todo!() }

    /// SEG.LEN: octets of sequence space, with SYN and FIN counted.
    pub fn len(&self) -> u32 {
        let control = match self.control {
            Control::Syn => 1 + u32::from(self.fin_with_syn),
            Control::Fin => 1,
            Control::None | Control::Rst => 0,
        };
        self.payload.len() as u32 + control
    }

    /// Whether the segment occupies no sequence space.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A header to be sent.
#[derive(Clone, Debug)]
pub struct TcpHeader<'a> {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: SeqNr,
    /// Acknowledgement number; sets the ACK bit.
    pub ack: Option<SeqNr>,
    /// Control bit.
    pub control: Control,
    /// PSH.
    pub psh: bool,
    /// Urgent pointer; sets the URG bit.
    pub urgent: Option<u16>,
    /// Window field, already scaled.
    pub window: u16,
    /// Options.
    pub options: &'a TcpOptions,
}

impl TcpHeader<'_> {
    /// Appends the header with its checksum, which covers `payload`.
    pub fn write(&self, src: IpAddr, dst: IpAddr, payload: &[&[u8]], out: &mut HeaderBuf) { todo!() }
    /// Header length in bytes, options included.
    pub fn len(&self) -> usize { 20 + self.options.len() }
    /// The flags octet.
    pub fn flags(&self) -> u8 { todo!() }
}
