//! TCP headers (RFC 9293 section 3.1).
//!
//! Owns: the fixed header, its checksum, and which control bit rules. Owns not: options (`tcp_options`), and
//! whether a segment is acceptable anywhere; that is `proto::tcp`.
//!
//! Fixed headers are read through `etherparse`, and written here.

use core::net::IpAddr;

use etherparse::TcpHeaderSlice;
use etherparse::err::tcp::HeaderSliceError;

use super::HeaderBuf;
use super::checksum::Sum;
use super::ip::PROTOCOL_TCP;
pub use super::seq_nr::SeqNr;
use super::tcp_options::{TcpOptions, append};
use crate::proto::counters::DropReason;
use crate::proto::packet::{ChecksumState, len_of};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

/// Where the checksum lies in the header.
pub const CHECKSUM_AT: u16 = 16;

/// The same as a range.
const CHECKSUM: core::ops::Range<usize> = CHECKSUM_AT as usize..CHECKSUM_AT as usize + 2;

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
        const SYN_AND_FIN: u8 = FLAG_SYN | FLAG_FIN;
        match flags & (FLAG_RST | SYN_AND_FIN) {
            0 => Control::None,
            FLAG_FIN => Control::Fin,
            FLAG_SYN | SYN_AND_FIN => Control::Syn,
            _ => Control::Rst,
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

#[cfg(test)]
impl Segment<'static> {
    /// A segment from port 1 to port 7 in which nothing is said: tests say what matters to them.
    pub(crate) const BARE: Self = Segment {
        src_port: 1,
        dst_port: 7,
        seq: SeqNr(0),
        ack: None,
        control: Control::None,
        fin_with_syn: false,
        psh: false,
        urgent: None,
        window: 0,
        flags: 0,
        options: TcpOptions::NONE,
        payload: &[],
    };
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
        Segment::parse_into(&mut None, bytes, [&src, &dst], checksum).cloned()
    }

    /// As [`parse`](Self::parse), in the place where the segment is to stay: to move one costs a third of what it costs to
    /// read it.
    #[inline(always)]
    pub(crate) fn parse_into<'p>(
        place: &'p mut Option<Self>,
        bytes: &'a [u8],
        [src, dst]: [&IpAddr; 2],
        checksum: ChecksumState,
    ) -> Result<&'p mut Self, DropReason> {
        let intact = Intact::check(bytes, src, dst, checksum)?;
        let segment = place.insert(intact.segment());
        intact.read_options(&mut segment.options)?;
        Ok(segment)
    }

    /// SEG.LEN: octets of sequence space, with SYN and FIN counted.
    pub fn len(&self) -> u32 {
        let control = matches!(self.control, Control::Syn | Control::Fin);
        self.payload.len() as u32 + u32::from(control) + u32::from(self.fin_with_syn)
    }

    /// Whether the segment occupies no sequence space.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A segment that is intact as far as its options.
struct Intact<'a> {
    header: TcpHeaderSlice<'a>,
    flags: u8,
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Intact<'a> {
    #[inline(always)]
    fn check(
        bytes: &'a [u8],
        src: &IpAddr,
        dst: &IpAddr,
        checksum: ChecksumState,
    ) -> Result<Self, DropReason> {
        let header = TcpHeaderSlice::from_slice(bytes).map_err(|error| match error {
            HeaderSliceError::Len(_) if bytes.len() < HEADER_LEN => DropReason::Truncated,
            HeaderSliceError::Len(_) | HeaderSliceError::Content(_) => DropReason::TcpMalformed,
        })?;
        match checksum {
            ChecksumState::Trusted | ChecksumState::Partial => {}
            ChecksumState::Unverified => {
                //= RFC9293 MUST-3
                let mut sum = Sum::pseudo_header(*src, *dst, PROTOCOL_TCP, bytes.len());
                sum.add(bytes);
                if !sum.is_valid() {
                    return Err(DropReason::TcpChecksum);
                }
            }
        }
        // `etherparse` takes the octet apart into eight questions; all of them are answered by the octet.
        let (header_bytes, payload) =
            bytes.split_at_checked(header.slice().len()).ok_or(DropReason::TcpMalformed)?;
        let (fixed, options) =
            header_bytes.split_first_chunk::<HEADER_LEN>().ok_or(DropReason::TcpMalformed)?;
        if header.source_port() == 0 || header.destination_port() == 0 {
            return Err(DropReason::TcpMalformed);
        }
        Ok(Intact { header, flags: fixed[13], options, payload })
    }

    /// All but the options.
    #[inline]
    fn segment(&self) -> Segment<'a> {
        let Intact { ref header, flags, payload, .. } = *self;
        let control = Control::of(flags);
        Segment {
            src_port: header.source_port(),
            dst_port: header.destination_port(),
            seq: SeqNr(header.sequence_number()),
            ack: (flags & FLAG_ACK != 0).then_some(SeqNr(header.acknowledgment_number())),
            control,
            fin_with_syn: flags & (FLAG_RST | FLAG_SYN | FLAG_FIN) == FLAG_SYN | FLAG_FIN,
            psh: flags & FLAG_PSH != 0,
            urgent: (flags & FLAG_URG != 0).then_some(header.urgent_pointer()),
            window: header.window_size(),
            flags,
            options: TcpOptions::NONE,
            payload,
        }
    }

    /// The options, for a segment that has none yet.
    #[inline]
    fn read_options(&self, options: &mut TcpOptions) -> Result<(), DropReason> {
        //= RFC9293 MUST-5
        //= RFC9293 MUST-7
        options.read(self.options).map_err(|_| DropReason::TcpOption)
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
        self.write_unsummed(self.len(), 0, out);
        let header = &mut out[start..];
        let mut sum = Sum::pseudo_header(src, dst, PROTOCOL_TCP, header.len() + len_of(payload));
        sum.add(header);
        for piece in payload {
            sum.add(piece);
        }
        //= RFC9293 MUST-2
        header[CHECKSUM].copy_from_slice(&sum.finish().to_be_bytes());
    }

    /// Appends the header for a device that completes the checksum, which is to cover `payload_len` bytes of payload: its
    /// field holds the pseudo-header's sum.
    ///
    /// # Panics
    /// If `out` has no room for the header.
    #[inline]
    pub fn write_seeded(&self, src: IpAddr, dst: IpAddr, payload_len: usize, out: &mut HeaderBuf) {
        self.write_seeded_of(self.len(), src, dst, payload_len, out);
    }

    /// The same where its length is known.
    #[inline(always)]
    pub(crate) fn write_seeded_of(
        &self,
        header_len: usize,
        src: IpAddr,
        dst: IpAddr,
        payload_len: usize,
        out: &mut HeaderBuf,
    ) {
        debug_assert_eq!(header_len, self.len());
        let seed = Sum::pseudo_header(src, dst, PROTOCOL_TCP, header_len + payload_len);
        //= RFC9293 MUST-2: the device does the rest.
        self.write_unsummed(header_len, !seed.finish(), out);
    }

    /// The same of a header whose options are known to be written as `options`.
    #[inline(always)]
    pub(crate) fn write_seeded_with<const N: usize>(
        &self,
        options: &[u8; N],
        src: IpAddr,
        dst: IpAddr,
        payload_len: usize,
        out: &mut HeaderBuf,
    ) {
        debug_assert_eq!(self.len(), HEADER_LEN + N);
        let header_len = HEADER_LEN + N;
        let seed = Sum::pseudo_header(src, dst, PROTOCOL_TCP, header_len + payload_len);
        //= RFC9293 MUST-2: the device does the rest.
        self.write_fixed(header_len, !seed.finish(), out);
        append(options, out);
    }

    /// Appends the header, of `header_len` bytes, with what its checksum's field is to hold.
    // As with `IpHeader::write`.
    #[inline(always)]
    fn write_unsummed(&self, header_len: usize, checksum: u16, out: &mut HeaderBuf) {
        self.write_fixed(header_len, checksum, out);
        if header_len > HEADER_LEN {
            self.options.write(out);
        }
    }

    /// The same without options.
    #[inline(always)]
    fn write_fixed(&self, header_len: usize, checksum: u16, out: &mut HeaderBuf) {
        let mut fixed = [0; HEADER_LEN];
        fixed[..2].copy_from_slice(&self.src_port.to_be_bytes());
        fixed[2..4].copy_from_slice(&self.dst_port.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.seq.0.to_be_bytes());
        fixed[8..12].copy_from_slice(&self.ack.unwrap_or_default().0.to_be_bytes());
        fixed[12] = (header_len / 4) as u8 * 16;
        fixed[13] = self.flags();
        fixed[14..16].copy_from_slice(&self.window.to_be_bytes());
        fixed[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        fixed[18..].copy_from_slice(&self.urgent.unwrap_or_default().to_be_bytes());
        out.try_extend_from_slice(&fixed).expect("the header buffer has room for a TCP header");
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::proto::wire::testing::{any_ends, for_each_bit_turned, hex, ip};

    const UNVERIFIED: ChecksumState = ChecksumState::Unverified;

    /// SYNs of the Linux kernel from 10.9.0.1 and fd09::1 to 10.9.0.2 and fd09::2, port 7.
    const KERNEL_SYN_V4: &str =
        "922e00072c48e98100000000a002fbe0bab60000020404d80402080ad14704e6000000000103030a";
    const KERNEL_SYN_V6: &str =
        "a71800079e26d73500000000a002fc94ede80000020404c40402080a58baef22000000000103030a";

    fn kernel_syns() -> [(Vec<u8>, IpAddr, IpAddr); 2] {
        [
            (hex(KERNEL_SYN_V4), ip("10.9.0.1"), ip("10.9.0.2")),
            (hex(KERNEL_SYN_V6), ip("fd09::1"), ip("fd09::2")),
        ]
    }

    fn header<'a>(options: &'a TcpOptions) -> TcpHeader<'a> {
        TcpHeader {
            src_port: 7,
            dst_port: 40_000,
            seq: SeqNr(0xffff_fff0),
            ack: Some(SeqNr(9)),
            control: Control::None,
            psh: false,
            urgent: None,
            window: 512,
            options,
        }
    }

    /// The segment's bytes with a right checksum, whatever they say.
    fn resealed(mut bytes: Vec<u8>, src: IpAddr, dst: IpAddr) -> Vec<u8> {
        bytes[16..18].fill(0);
        let mut sum = Sum::pseudo_header(src, dst, PROTOCOL_TCP, bytes.len());
        sum.add(&bytes);
        bytes[16..18].copy_from_slice(&sum.finish().to_be_bytes());
        bytes
    }

    fn v4_ends() -> (IpAddr, IpAddr) {
        (ip("10.9.0.1"), ip("10.9.0.2"))
    }

    fn with_flags(flags: u8) -> (Control, bool) {
        let (src, dst) = v4_ends();
        let mut bytes = hex(KERNEL_SYN_V4);
        bytes[13] = flags;
        let bytes = resealed(bytes, src, dst);
        let segment = Segment::parse(&bytes, src, dst, UNVERIFIED).unwrap();
        assert_eq!(segment.flags, flags);
        (segment.control, segment.fin_with_syn)
    }

    #[test]
    fn a_kernel_s_syn_is_read() {
        let (bytes, src, dst) = &kernel_syns()[0];
        let syn = Segment::parse(bytes, *src, *dst, UNVERIFIED).unwrap();
        assert_eq!((syn.src_port, syn.dst_port), (37_422, 7));
        assert_eq!((syn.seq, syn.ack, syn.control), (SeqNr(0x2c48_e981), None, Control::Syn));
        assert_eq!((syn.window, syn.psh, syn.urgent, syn.flags), (64_480, false, None, FLAG_SYN));
        assert_eq!((syn.options.mss, syn.options.window_scale), (Some(1240), Some(10)));
        assert_eq!((syn.len(), syn.is_empty(), syn.payload), (1, false, &[][..]));
    }

    #[test]
    fn a_kernel_s_syn_written_anew_is_the_same_bytes() {
        for (bytes, src, dst) in kernel_syns() {
            let syn = Segment::parse(&bytes, src, dst, UNVERIFIED).unwrap();
            let mut out = HeaderBuf::new();
            let header = TcpHeader {
                src_port: syn.src_port,
                dst_port: syn.dst_port,
                seq: syn.seq,
                ack: syn.ack,
                control: syn.control,
                psh: syn.psh,
                urgent: syn.urgent,
                window: syn.window,
                options: &syn.options,
            };
            header.write(src, dst, &[], &mut out);
            assert_eq!(out.as_slice(), bytes);
        }
    }

    //= RFC9293 MUST-3
    #[test]
    fn no_single_bit_turned_on_the_way_goes_unnoticed() {
        for (bytes, src, dst) in kernel_syns() {
            for_each_bit_turned(&bytes, |at, turned| {
                assert!(Segment::parse(turned, src, dst, UNVERIFIED).is_err(), "octet {at}");
            });
            let elsewhere = if src.is_ipv4() { ip("10.9.0.3") } else { ip("fd09::3") };
            let misdelivered = Segment::parse(&bytes, src, elsewhere, UNVERIFIED);
            assert_eq!(misdelivered.unwrap_err(), DropReason::TcpChecksum);
        }
    }

    #[test]
    fn a_trusted_segment_needs_no_checksum() {
        let (src, dst) = v4_ends();
        let mut bytes = hex(KERNEL_SYN_V4);
        bytes[16] ^= 0x55;
        assert_eq!(Segment::parse(&bytes, src, dst, UNVERIFIED).unwrap_err(), DropReason::TcpChecksum);
        assert!(Segment::parse(&bytes, src, dst, ChecksumState::Trusted).is_ok());
    }

    #[test]
    fn reset_outranks_syn_and_syn_outranks_fin() {
        assert_eq!(with_flags(0), (Control::None, false));
        assert_eq!(with_flags(FLAG_ACK | FLAG_FIN), (Control::Fin, false));
        assert_eq!(with_flags(FLAG_SYN | FLAG_FIN), (Control::Syn, true));
        assert_eq!(with_flags(FLAG_SYN | FLAG_ACK), (Control::Syn, false));
        for flags in 0..=255 {
            if flags & FLAG_RST != 0 {
                assert_eq!(with_flags(flags), (Control::Rst, false));
            }
        }
    }

    #[test]
    fn a_header_that_contradicts_itself_is_refused() {
        let (src, dst) = v4_ends();
        let parse = |bytes: Vec<u8>| Segment::parse(&bytes, src, dst, UNVERIFIED).map(|_| ()).unwrap_err();
        let good = hex(KERNEL_SYN_V4);
        for len in 0..HEADER_LEN {
            assert_eq!(parse(good[..len].to_vec()), DropReason::Truncated);
        }
        for len in HEADER_LEN..good.len() {
            assert_eq!(parse(resealed(good[..len].to_vec(), src, dst)), DropReason::TcpMalformed);
        }
        for data_offset in [0, 1, 4, 11, 15] {
            let mut bytes = good.clone();
            bytes[12] = data_offset << 4;
            assert_eq!(parse(resealed(bytes, src, dst)), DropReason::TcpMalformed, "offset {data_offset}");
        }
        for port in [0, 2] {
            let mut bytes = good.clone();
            bytes[port..port + 2].fill(0);
            assert_eq!(parse(resealed(bytes, src, dst)), DropReason::TcpMalformed);
        }
    }

    //= RFC9293 MUST-7
    #[test]
    fn a_segment_with_an_impossible_option_length_is_dropped() {
        let (src, dst) = v4_ends();
        for len in [0, 1, 41, 255] {
            let mut bytes = hex(KERNEL_SYN_V4);
            bytes[21] = len;
            let bytes = resealed(bytes, src, dst);
            let dropped = Segment::parse(&bytes, src, dst, UNVERIFIED).unwrap_err();
            assert_eq!(dropped, DropReason::TcpOption, "length {len}");
        }
    }

    //= RFC9293 MUST-5
    #[test]
    fn options_are_read_in_any_segment() {
        let (src, dst) = v4_ends();
        let mut bytes = hex(KERNEL_SYN_V4);
        bytes[13] = FLAG_ACK | FLAG_PSH;
        bytes.extend(b"text");
        let bytes = resealed(bytes, src, dst);
        let segment = Segment::parse(&bytes, src, dst, UNVERIFIED).unwrap();
        assert_eq!((segment.options.mss, segment.payload), (Some(1240), &b"text"[..]));
    }

    #[test]
    fn the_urgent_pointer_counts_only_beside_urg() {
        let (src, dst) = v4_ends();
        let mut bytes = hex(KERNEL_SYN_V4);
        bytes[18..20].copy_from_slice(&[1, 2]);
        let without = resealed(bytes.clone(), src, dst);
        assert_eq!(Segment::parse(&without, src, dst, UNVERIFIED).unwrap().urgent, None);
        bytes[13] |= FLAG_URG;
        let with = resealed(bytes, src, dst);
        assert_eq!(Segment::parse(&with, src, dst, UNVERIFIED).unwrap().urgent, Some(0x0102));
    }

    #[test]
    fn bits_of_the_future_are_ignored() {
        let (src, dst) = v4_ends();
        let mut bytes = hex(KERNEL_SYN_V4);
        bytes[12] |= 0x0f;
        bytes[13] |= 0xc0;
        let bytes = resealed(bytes, src, dst);
        let segment = Segment::parse(&bytes, src, dst, UNVERIFIED).unwrap();
        assert_eq!((segment.control, segment.flags), (Control::Syn, 0xc2));
    }

    #[test]
    fn sequence_numbers_wrap() {
        assert_eq!(SeqNr(u32::MAX).plus(2), SeqNr(1));
        assert_eq!(SeqNr(1).minus(SeqNr(u32::MAX)), 2);
        assert_eq!(SeqNr(u32::MAX).minus(SeqNr(1)), -2);
    }

    proptest! {
        //= RFC9293 MUST-2
        #[test]
        fn what_is_written_is_read_again(
            (src, dst) in any_ends(),
            ports in (1u16.., 1u16..),
            (seq, ack, psh, urgent, window) in any::<(u32, Option<u32>, bool, Option<u16>, u16)>(),
            control in prop::sample::select(alloc::vec![Control::None, Control::Syn, Control::Fin, Control::Rst]),
            (mss, timestamps) in any::<(Option<u16>, Option<(u32, u32)>)>(),
            text in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..5),
            before in prop::collection::vec(any::<u8>(), 0..=40),
        ) {
            let options = TcpOptions { mss, timestamps, ..TcpOptions::default() };
            let ack = ack.map(SeqNr);
            let header = TcpHeader {
                src_port: ports.0, dst_port: ports.1, seq: SeqNr(seq), ack, control, psh, urgent, window,
                options: &options,
            };
            let mut out: HeaderBuf = before.iter().copied().collect();
            let pieces: Vec<&[u8]> = text.iter().map(Vec::as_slice).collect();
            header.write(src, dst, &pieces, &mut out);
            prop_assert_eq!(out.len(), before.len() + header.len());
            let bytes = [&out[before.len()..], &text.concat()].concat();

            // A device that sums all from the header on comes to the same.
            let mut seeded: HeaderBuf = before.iter().copied().collect();
            header.write_seeded(src, dst, text.concat().len(), &mut seeded);
            let mut completed = [&seeded[before.len()..], &text.concat()].concat();
            let mut sum = Sum::new();
            sum.add(&completed);
            completed[16..18].copy_from_slice(&sum.finish().to_be_bytes());
            prop_assert_eq!(&completed, &bytes);

            let segment = Segment::parse(&bytes, src, dst, UNVERIFIED).unwrap();
            prop_assert_eq!((segment.src_port, segment.dst_port), ports);
            prop_assert_eq!((segment.seq, segment.ack, segment.control), (SeqNr(seq), ack, control));
            prop_assert_eq!((segment.psh, segment.urgent, segment.window), (psh, urgent, window));
            prop_assert_eq!(segment.flags, header.flags());
            prop_assert!(!segment.fin_with_syn);
            prop_assert_eq!(segment.payload, &text.concat()[..]);
            prop_assert_eq!(segment.options, options.clone());

            let (theirs, payload) = etherparse::TcpHeader::from_slice(&bytes).unwrap();
            let sealed = match (src, dst) {
                (IpAddr::V4(a), IpAddr::V4(b)) => {
                    theirs.calc_checksum_ipv4_raw(a.octets(), b.octets(), payload).unwrap()
                }
                (IpAddr::V6(a), IpAddr::V6(b)) => {
                    theirs.calc_checksum_ipv6_raw(a.octets(), b.octets(), payload).unwrap()
                }
                _ => unreachable!(),
            };
            // Zero and its complement are the same sum; one of them is found when the other is written.
            prop_assert_eq!(theirs.checksum % 0xffff, sealed % 0xffff);
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            (src, dst) in any_ends(), bytes in prop::collection::vec(any::<u8>(), 0..120)
        ) {
            for checksum in [UNVERIFIED, ChecksumState::Trusted] {
                if let Ok(segment) = Segment::parse(&bytes, src, dst, checksum) {
                    prop_assert!(segment.payload.len() + HEADER_LEN <= bytes.len());
                }
            }
        }

        #[test]
        fn a_valid_segment_spoilt_anywhere_is_read_without_panic(
            spoilt in prop::collection::vec((0..40usize, any::<u8>()), 1..6), len in 0..=40usize
        ) {
            let (src, dst) = v4_ends();
            let mut bytes = hex(KERNEL_SYN_V4);
            spoilt.iter().for_each(|(at, to)| bytes[*at] = *to);
            let _ = Segment::parse(&bytes[..len], src, dst, ChecksumState::Trusted);
        }
    }

    #[test]
    fn a_bare_acknowledgement_is_a_header_of_twenty_bytes() {
        let options = TcpOptions::default();
        let mut out = HeaderBuf::new();
        header(&options).write(ip("10.9.0.2"), ip("10.9.0.1"), &[], &mut out);
        assert_eq!(out.len(), HEADER_LEN);
        let segment = Segment::parse(&out, ip("10.9.0.2"), ip("10.9.0.1"), UNVERIFIED).unwrap();
        assert!(segment.is_empty() && segment.options.is_empty());
    }
}
