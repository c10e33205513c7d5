//! TCP headers (RFC 9293 section 3.1).
//!
//! Owns: the fixed header, its checksum, and which control bit rules. Owns not: options (`tcp_options`), and
//! whether a segment is acceptable anywhere; that is `proto::tcp`.
//!
//! Received headers are read through `etherparse`. Those we send are laid out here: its `TcpHeader` carries
//! its own 40-byte option buffer by value and gives out a 60-byte copy, which takes longer than all the rest
//! of a bare acknowledgement.

use core::net::IpAddr;

use etherparse::TcpHeaderSlice;
use etherparse::err::tcp::HeaderSliceError;

use super::HeaderBuf;
use super::checksum::Sum;
use super::ip::PROTOCOL_TCP;
use super::tcp_options::TcpOptions;
use crate::proto::counters::DropReason;
use crate::proto::packet::ChecksumState;

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

/// FIN in the flags octet.
pub const FLAG_FIN: u8 = 0x01;
/// SYN in the flags octet.
pub const FLAG_SYN: u8 = 0x02;
/// RST in the flags octet.
pub const FLAG_RST: u8 = 0x04;
/// PSH in the flags octet.
pub const FLAG_PSH: u8 = 0x08;
/// ACK in the flags octet.
pub const FLAG_ACK: u8 = 0x10;
/// URG in the flags octet.
pub const FLAG_URG: u8 = 0x20;

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

impl Control {
    /// The control bit that rules in a flags octet.
    fn of(flags: u8) -> Control {
        if flags & FLAG_RST != 0 {
            Control::Rst
        } else if flags & FLAG_SYN != 0 {
            Control::Syn
        } else if flags & FLAG_FIN != 0 {
            Control::Fin
        } else {
            Control::None
        }
    }

    /// The bit in the flags octet.
    fn flag(self) -> u8 {
        match self {
            Control::None => 0,
            Control::Syn => FLAG_SYN,
            Control::Fin => FLAG_FIN,
            Control::Rst => FLAG_RST,
        }
    }
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
    /// Reads a segment and verifies its checksum (unless it is trusted). `bytes` is the payload of the IP
    /// datagram; the addresses are those of its header.
    ///
    /// A segment with an option whose length is impossible is dropped: RFC 9293 suggests to reset the
    /// connection, but nothing after such an option can be told from noise, and a reset would be a gift to
    /// whoever forged it.
    ///
    /// # Errors
    /// `Truncated` (shorter than a header), `TcpMalformed` (data offset below 5 or past the end, port 0),
    /// `TcpChecksum` or `TcpOption`.
    pub fn parse(
        bytes: &'a [u8],
        src: IpAddr,
        dst: IpAddr,
        checksum: ChecksumState,
    ) -> Result<Self, DropReason> {
        let header = TcpHeaderSlice::from_slice(bytes).map_err(|error| match error {
            HeaderSliceError::Len(_) if bytes.len() < HEADER_LEN => DropReason::Truncated,
            HeaderSliceError::Len(_) | HeaderSliceError::Content(_) => DropReason::TcpMalformed,
        })?;
        match checksum {
            ChecksumState::Trusted => {}
            ChecksumState::Unverified => {
                //= RFC9293 MUST-3
                let mut sum = Sum::pseudo_header(src, dst, PROTOCOL_TCP, bytes.len());
                sum.add(bytes);
                if !sum.is_valid() {
                    return Err(DropReason::TcpChecksum);
                }
            }
        }
        // `etherparse` takes the octet apart into eight questions; all of them are answered by the octet.
        let (header_bytes, payload) =
            bytes.split_at_checked(header.slice().len()).ok_or(DropReason::TcpMalformed)?;
        let (fixed, option_bytes) =
            header_bytes.split_first_chunk::<HEADER_LEN>().ok_or(DropReason::TcpMalformed)?;
        let flags = fixed[13];
        let (src_port, dst_port) = (header.source_port(), header.destination_port());
        if src_port == 0 || dst_port == 0 {
            return Err(DropReason::TcpMalformed);
        }
        //= RFC9293 MUST-5
        let options = match option_bytes {
            [] => TcpOptions::default(),
            //= RFC9293 MUST-7
            _ => TcpOptions::parse(option_bytes).map_err(|_| DropReason::TcpOption)?,
        };
        let control = Control::of(flags);
        Ok(Segment {
            src_port,
            dst_port,
            seq: SeqNr(header.sequence_number()),
            ack: (flags & FLAG_ACK != 0).then_some(SeqNr(header.acknowledgment_number())),
            control,
            fin_with_syn: control == Control::Syn && flags & FLAG_FIN != 0,
            psh: flags & FLAG_PSH != 0,
            urgent: (flags & FLAG_URG != 0).then_some(header.urgent_pointer()),
            window: header.window_size(),
            flags,
            options,
            payload,
        })
    }

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
    ///
    /// # Panics
    /// If `out` has no room for the header.
    pub fn write(&self, src: IpAddr, dst: IpAddr, payload: &[&[u8]], out: &mut HeaderBuf) {
        let start = out.len();
        let header_len = self.len();
        let [s0, s1] = self.src_port.to_be_bytes();
        let [d0, d1] = self.dst_port.to_be_bytes();
        let [q0, q1, q2, q3] = self.seq.0.to_be_bytes();
        let [a0, a1, a2, a3] = self.ack.unwrap_or_default().0.to_be_bytes();
        let data_offset = (header_len / 4) as u8;
        let [w0, w1] = self.window.to_be_bytes();
        let [u0, u1] = self.urgent.unwrap_or_default().to_be_bytes();
        let fixed = [
            s0,
            s1,
            d0,
            d1,
            q0,
            q1,
            q2,
            q3,
            a0,
            a1,
            a2,
            a3,
            data_offset << 4,
            self.flags(),
            w0,
            w1,
            0,
            0,
            u0,
            u1,
        ];
        out.try_extend_from_slice(&fixed).expect("the header buffer has room for a TCP header");
        if header_len > HEADER_LEN {
            self.options.write(out);
        }
        //= RFC9293 MUST-2
        let payload_len = payload.iter().map(|piece| piece.len()).sum::<usize>();
        let mut sum = Sum::pseudo_header(src, dst, PROTOCOL_TCP, header_len + payload_len);
        sum.add(&out[start..]);
        for piece in payload {
            sum.add(piece);
        }
        out[start + 16..start + 18].copy_from_slice(&sum.finish().to_be_bytes());
    }

    /// Header length in bytes, options included.
    #[allow(clippy::len_without_is_empty)] // A header is never empty.
    pub fn len(&self) -> usize {
        HEADER_LEN + self.options.len()
    }

    /// The flags octet.
    pub fn flags(&self) -> u8 {
        let ack = if self.ack.is_some() { FLAG_ACK } else { 0 };
        let psh = if self.psh { FLAG_PSH } else { 0 };
        let urg = if self.urgent.is_some() { FLAG_URG } else { 0 };
        self.control.flag() | ack | psh | urg
    }
}
