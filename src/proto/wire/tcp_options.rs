//! TCP options (RFC 9293 section 3.1, RFC 7323, RFC 2018): a codec that skips what it doesn't know.
//!
//! Owns: how options lie in a header. Owns not: what they mean to a connection; values are told as they were
//! sent, plausible or not.
//!
//! `etherparse` has such a codec, but its iterator ends at the first option it doesn't know (a Fast Open
//! option would hide the MSS behind it), against MUST-6.

use arrayvec::ArrayVec;

use super::HeaderBuf;
use super::seq_nr::SeqNr;

const KIND_END: u8 = 0;
const KIND_NOP: u8 = 1;
const KIND_MSS: u8 = 2;
const KIND_WINDOW_SCALE: u8 = 3;
const KIND_SACK_PERMITTED: u8 = 4;
const KIND_SACK: u8 = 5;
const KIND_TIMESTAMPS: u8 = 8;

/// Room for options in a header: the data offset counts up to 15 words, five of them fixed.
pub const OPTIONS_LEN_MAX: usize = 40;

/// What stands before timestamps and their echo where there is nothing else.
const TIMESTAMPS_HEAD: [u8; 4] = [KIND_NOP, KIND_NOP, KIND_TIMESTAMPS, 10];

/// What timestamps take, brought to whole words.
pub(crate) const TIMESTAMPS_LEN: usize = 12;

/// The options of one segment, those that we know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Maximum segment size (kind 2).
    pub mss: Option<u16>,
    /// Window scale shift as sent, not yet capped at 14 (kind 3).
    pub window_scale: Option<u8>,
    /// SACK permitted (kind 4).
    pub sack_permitted: bool,
    /// Timestamp value and echo reply (kind 8).
    pub timestamps: Option<(u32, u32)>,
    /// SACK blocks (kind 5), left and right edge.
    pub sack: SackOption,
}

/// SACK blocks, as many as fit into a header.
pub type SackOption = ArrayVec<(SeqNr, SeqNr), 4>;

/// An option whose length can't be: zero, one, or past the end of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadOption;

impl TcpOptions {
    /// No options.
    pub const NONE: TcpOptions = TcpOptions {
        mss: None,
        window_scale: None,
        sack_permitted: false,
        timestamps: None,
        sack: ArrayVec::new_const(),
    };

    /// Reads all options of a header. A known option of the wrong length is skipped like an unknown one; of
    /// two of a kind the last counts.
    ///
    /// # Errors
    /// [`BadOption`]: what follows such an option can't be found.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadOption> {
        let mut options = TcpOptions::NONE;
        options.read(bytes)?;
        Ok(options)
    }

    /// The same where they are to stand: [`NONE`](Self::NONE) becomes what `bytes` says.
    #[inline]
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), BadOption> {
        match bytes.split_first_chunk() {
            // How nearly all segments of a connection with timestamps look (RFC 7323 appendix A).
            Some((head, &[a, b, c, d, e, f, g, h])) if *head == TIMESTAMPS_HEAD => {
                self.timestamps = Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])));
                Ok(())
            }
            None if bytes.is_empty() => Ok(()),
            _ => self.read_each(bytes),
        }
    }

    #[inline(never)]
    fn read_each(&mut self, bytes: &[u8]) -> Result<(), BadOption> {
        if self.read_usual_syn(bytes) {
            return Ok(());
        }
        let mut rest = bytes;
        loop {
            rest = match *rest {
                //= RFC9293 MUST-4
                [] | [KIND_END, ..] => return Ok(()),
                [KIND_NOP, ref rest @ ..] => rest,
                //= RFC9293 MUST-64
                // Options begin at any octet: only the length before tells where.
                [kind, len, ref rest @ ..] => {
                    //= RFC9293 MUST-7
                    let body_len = usize::from(len).checked_sub(2).ok_or(BadOption)?;
                    let (body, rest) = rest.split_at_checked(body_len).ok_or(BadOption)?;
                    self.take(kind, body);
                    rest
                }
                //= RFC9293 MUST-68: what is neither END nor NOP has a length.
                [_] => return Err(BadOption),
            };
        }
    }

    /// Takes over what stands in the SYNs of most peers, and in ours, if it stands as it does there.
    #[rustfmt::skip]
    fn read_usual_syn(&mut self, bytes: &[u8]) -> bool {
        let [
            KIND_MSS, 4, m, n, KIND_SACK_PERMITTED, 2, KIND_TIMESTAMPS, 10, a, b, c, d, e, f, g, h,
            KIND_NOP, KIND_WINDOW_SCALE, 3, shift,
        ] = *bytes else { return false };
        self.mss = Some(u16::from_be_bytes([m, n]));
        self.sack_permitted = true;
        self.timestamps = Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])));
        self.window_scale = Some(shift);
        true
    }

    /// Takes over one option, if it is known and of the right length.
    fn take(&mut self, kind: u8, body: &[u8]) {
        match (kind, body) {
            (KIND_MSS, &[a, b]) => self.mss = Some(u16::from_be_bytes([a, b])),
            (KIND_WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift),
            (KIND_SACK_PERMITTED, []) => self.sack_permitted = true,
            (KIND_TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => {
                self.timestamps = Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])));
            }
            (KIND_SACK, blocks) => {
                if let (blocks, []) = blocks.as_chunks::<8>() {
                    self.sack.clear();
                    self.sack.extend(blocks.iter().map(read_sack_block).take(self.sack.capacity()));
                }
            }
            //= RFC9293 MUST-6
            // Not ours to understand (or not as long as it must be), and no error.
            (_, _) => {}
        }
    }

    /// Bytes that [`write`](Self::write) appends: a multiple of four, at most 40.
    #[inline]
    pub fn len(&self) -> usize {
        if self.timestamps_alone().is_some() { TIMESTAMPS_LEN } else { self.len_of_any() }
    }

    fn len_of_any(&self) -> usize {
        let sack = match self.sack_blocks_that_fit() {
            0 => 0,
            blocks => 4 + 8 * blocks,
        };
        self.len_without_sack() + sack
    }

    /// Whether no option is set.
    pub fn is_empty(&self) -> bool {
        let TcpOptions { mss, window_scale, sack_permitted, timestamps, sack } = self;
        mss.is_none() && window_scale.is_none() && !sack_permitted && timestamps.is_none() && sack.is_empty()
    }

    /// Appends the options: MSS, SACK permitted, timestamps, window scale, SACK blocks, as many of these as
    /// still fit. Each is brought to a multiple of four bytes by no-operations before it (or shares a word
    /// with another), as RFC 7323 appendix A and RFC 2018 advise and receivers' fast paths expect.
    ///
    /// # Panics
    /// If `out` has no room for them.
    pub fn write(&self, out: &mut HeaderBuf) {
        match self.timestamps_alone() {
            Some(timestamps) => append(&timestamps_bytes(timestamps), out),
            None => self.write_any(out),
        }
    }

    /// What stands in our SYNs to most peers, as [`read_usual_syn`](Self::read_usual_syn) reads it, if it is just that.
    #[rustfmt::skip]
    #[inline]
    pub(crate) fn usual_syn(&self) -> Option<[u8; 20]> {
        let TcpOptions {
            mss: Some(mss), window_scale: Some(shift), sack_permitted: true, timestamps: Some((value, echo)), ref sack,
        } = *self else { return None };
        let ([m, n], [a, b, c, d], [e, f, g, h]) = (mss.to_be_bytes(), value.to_be_bytes(), echo.to_be_bytes());
        sack.is_empty().then_some([
            KIND_MSS, 4, m, n, KIND_SACK_PERMITTED, 2, KIND_TIMESTAMPS, 10, a, b, c, d, e, f, g, h,
            KIND_NOP, KIND_WINDOW_SCALE, 3, shift,
        ])
    }

    #[inline(never)]
    fn write_any(&self, out: &mut HeaderBuf) {
        match self.usual_syn() {
            Some(bytes) => append(&bytes, out),
            None => self.write_each(out),
        }
    }

    #[inline(never)]
    fn write_each(&self, out: &mut HeaderBuf) {
        //= RFC9293 MUST-69
        // The words come out even, so there is no padding that would have to be zero.
        let mut put = |bytes: &[u8]| append(bytes, out);
        if let Some(mss) = self.mss {
            let [a, b] = mss.to_be_bytes();
            put(&[KIND_MSS, 4, a, b]);
        }
        match (self.sack_permitted, self.timestamps.is_some()) {
            (true, true) => put(&[KIND_SACK_PERMITTED, 2]),
            (true, false) => put(&[KIND_NOP, KIND_NOP, KIND_SACK_PERMITTED, 2]),
            (false, true) => put(&[KIND_NOP, KIND_NOP]),
            (false, false) => {}
        }
        if let Some((value, echo)) = self.timestamps {
            let ([a, b, c, d], [e, f, g, h]) = (value.to_be_bytes(), echo.to_be_bytes());
            put(&[KIND_TIMESTAMPS, 10, a, b, c, d, e, f, g, h]);
        }
        if let Some(shift) = self.window_scale {
            put(&[KIND_NOP, KIND_WINDOW_SCALE, 3, shift]);
        }
        let blocks = self.sack_blocks_that_fit();
        if blocks > 0 {
            put(&[KIND_NOP, KIND_NOP, KIND_SACK, 2 + 8 * blocks as u8]);
            for (left, right) in self.sack.iter().take(blocks) {
                put(&left.0.to_be_bytes());
                put(&right.0.to_be_bytes());
            }
        }
    }

    /// Timestamps, if there is nothing else: so nearly all segments of a connection are.
    #[inline]
    pub(crate) fn timestamps_alone(&self) -> Option<(u32, u32)> {
        let TcpOptions { mss, window_scale, sack_permitted, timestamps, sack } = self;
        let others = mss.is_some() | window_scale.is_some() | sack_permitted | !sack.is_empty();
        timestamps.filter(|_| !others)
    }

    fn len_without_sack(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let timestamps_and_sack_permitted = match (self.timestamps.is_some(), self.sack_permitted) {
            (true, _) => TIMESTAMPS_LEN,
            (false, true) => 4,
            (false, false) => 0,
        };
        let window_scale = if self.window_scale.is_some() { 4 } else { 0 };
        mss + timestamps_and_sack_permitted + window_scale
    }

    /// How many SACK blocks the other options leave room for.
    fn sack_blocks_that_fit(&self) -> usize {
        if self.sack.is_empty() {
            return 0;
        }
        // The others take 20 bytes at most.
        let room = OPTIONS_LEN_MAX - self.len_without_sack() - 4;
        self.sack.len().min(room / 8)
    }
}

/// What [`TcpOptions::write`] appends if there is nothing else.
#[inline]
pub(crate) fn timestamps_bytes((value, echo): (u32, u32)) -> [u8; TIMESTAMPS_LEN] {
    let [nop, nop_too, kind, len] = TIMESTAMPS_HEAD;
    let ([a, b, c, d], [e, f, g, h]) = (value.to_be_bytes(), echo.to_be_bytes());
    [nop, nop_too, kind, len, a, b, c, d, e, f, g, h]
}

/// Appends options as they are written.
#[inline]
pub(super) fn append(bytes: &[u8], out: &mut HeaderBuf) {
    out.try_extend_from_slice(bytes).expect("the header buffer has room for TCP options");
}

fn read_sack_block(block: &[u8; 8]) -> (SeqNr, SeqNr) {
    let [a, b, c, d, e, f, g, h] = *block;
    (SeqNr(u32::from_be_bytes([a, b, c, d])), SeqNr(u32::from_be_bytes([e, f, g, h])))
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::proto::wire::testing::hex;

    fn parsed(bytes: &str) -> TcpOptions {
        TcpOptions::parse(&hex(bytes)).unwrap()
    }

    fn written(options: &TcpOptions) -> Vec<u8> {
        let mut out = HeaderBuf::new();
        options.write(&mut out);
        out.to_vec()
    }

    fn any_block() -> impl Strategy<Value = (SeqNr, SeqNr)> {
        any::<(u32, u32)>().prop_map(|(left, right)| (SeqNr(left), SeqNr(right)))
    }

    fn any_options() -> impl Strategy<Value = TcpOptions> {
        let sack = prop::collection::vec(any_block(), 0..=4);
        let scalars = any::<(Option<u16>, Option<u8>, bool, Option<(u32, u32)>)>();
        (scalars, sack).prop_map(|((mss, window_scale, sack_permitted, timestamps), sack)| TcpOptions {
            mss,
            window_scale,
            sack_permitted,
            timestamps,
            sack: sack.into_iter().collect(),
        })
    }

    //= RFC9293 MUST-4
    #[test]
    fn the_options_of_a_kernel_s_syn_are_read_and_written_byte_by_byte() {
        let bytes = "020404d8 0402080a d14704e6 00000000 0103030a";
        let options = TcpOptions {
            mss: Some(1240),
            window_scale: Some(10),
            sack_permitted: true,
            timestamps: Some((0xd147_04e6, 0)),
            ..TcpOptions::default()
        };
        assert_eq!(parsed(bytes), options);
        assert_eq!(written(&options), hex(bytes));
    }

    //= RFC9293 MUST-6
    #[test]
    fn an_unknown_option_hides_none_that_stands_behind_it() {
        // Fast Open (34), experimental (254) and MD5 (19) before, between and after.
        assert_eq!(parsed("220a0102030405060708 020405b4 fe04f989").mss, Some(1460));
        let options = parsed("2202 020405b4 fe06f9890001 030307 1312000102030405060708090a0b0c0d0e0f 0402");
        assert_eq!((options.mss, options.window_scale, options.sack_permitted), (Some(1460), Some(7), true));
    }

    //= RFC9293 MUST-64
    #[test]
    fn options_may_begin_at_any_octet() {
        for nops in 0..8 {
            let mut bytes = alloc::vec![KIND_NOP; nops];
            bytes.extend(hex("080a0000000100000002 020405b4"));
            let options = TcpOptions::parse(&bytes).unwrap();
            assert_eq!((options.mss, options.timestamps), (Some(1460), Some((1, 2))), "after {nops}");
        }
    }

    #[test]
    fn nothing_is_read_behind_the_end_of_the_list() {
        assert_eq!(parsed("00 020405b4"), TcpOptions::default());
        assert_eq!(parsed("030302 00 0200"), TcpOptions { window_scale: Some(2), ..TcpOptions::default() });
    }

    #[test]
    fn a_known_option_of_the_wrong_length_is_passed_over() {
        assert_eq!(parsed("020305 030307").window_scale, Some(7));
        assert_eq!(parsed("020305 030307").mss, None);
        assert_eq!(parsed("0403ff 080b000000010000000200 050a0000000000000001 0306aabbccdd").sack.len(), 1);
        for wrong in [
            "0202",
            "02050000 00",
            "0302",
            "030400 00",
            "040300",
            "0802",
            "080901020304050607",
            "0509ffffffffffffff",
        ] {
            assert_eq!(parsed(wrong), TcpOptions::default(), "{wrong}");
        }
        assert_eq!(parsed("0502"), TcpOptions::default());
    }

    //= RFC9293 MUST-7, MUST-68
    #[test]
    fn an_impossible_length_is_an_error() {
        for bad in ["0200", "0201", "6300", "02", "0205 0102", "080a00000001000000", "0101 08", "01 22ff00"] {
            assert_eq!(TcpOptions::parse(&hex(bad)), Err(BadOption), "{bad}");
        }
        assert_eq!(TcpOptions::parse(&hex("0101080b0000000100000002")), Err(BadOption));
    }

    #[test]
    fn values_are_told_as_sent_however_odd() {
        assert_eq!(parsed("0303ff").window_scale, Some(255));
        assert_eq!(parsed("02040000").mss, Some(0));
        assert_eq!(parsed("02040001 02040002").mss, Some(2));
    }

    #[test]
    fn timestamps_leave_room_for_three_sack_blocks() {
        let block = (SeqNr(1), SeqNr(2));
        let mut options = TcpOptions { timestamps: Some((3, 4)), ..TcpOptions::default() };
        options.sack.extend([block; 4]);
        assert_eq!(options.len(), 40);
        assert_eq!(TcpOptions::parse(&written(&options)).unwrap().sack.as_slice(), [block; 3]);
        options.timestamps = None;
        assert_eq!(options.len(), 36);
        assert_eq!(TcpOptions::parse(&written(&options)).unwrap().sack.as_slice(), [block; 4]);
    }

    #[test]
    fn every_string_of_up_to_three_bytes_is_read_without_panic() {
        let mut read = 0u32;
        for a in 0..=255 {
            read += u32::from(TcpOptions::parse(&[a]).is_ok());
            for b in 0..=255 {
                read += u32::from(TcpOptions::parse(&[a, b]).is_ok());
                for c in 0..=255 {
                    read += u32::from(TcpOptions::parse(&[a, b, c]).is_ok());
                }
            }
        }
        // One byte: END, NOP. Two: END and any, NOP and either, 254 kinds of length 2. Three: END and any two,
        // NOP and any good two, 254 kinds of length 2 and END or NOP, of length 3 and any.
        let two = 256 + 2 + 254;
        assert_eq!(read, 2 + two + 65_536 + two + 254 * (2 + 256));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(options in any_options()) {
            let bytes = written(&options);
            prop_assert_eq!(bytes.len(), options.len());
            prop_assert_eq!(bytes.is_empty(), options.is_empty());
            prop_assert!(bytes.len() <= OPTIONS_LEN_MAX);
            //= RFC9293 MUST-69
            prop_assert_eq!(bytes.len() % 4, 0);
            let mut expected = options.clone();
            let room = OPTIONS_LEN_MAX - TcpOptions { sack: ArrayVec::new(), ..options }.len();
            expected.sack.truncate((room - 4) / 8);
            prop_assert_eq!(TcpOptions::parse(&bytes), Ok(expected));
        }

        #[test]
        fn etherparse_reads_what_is_written(options in any_options()) {
            use etherparse::TcpOptionElement as Theirs;
            let bytes = written(&options);
            let mut theirs = TcpOptions::default();
            for option in etherparse::TcpOptionsIterator::from_slice(&bytes) {
                match option.unwrap() {
                    Theirs::Noop => {}
                    Theirs::MaximumSegmentSize(mss) => theirs.mss = Some(mss),
                    Theirs::WindowScale(shift) => theirs.window_scale = Some(shift),
                    Theirs::SelectiveAcknowledgementPermitted => theirs.sack_permitted = true,
                    Theirs::SelectiveAcknowledgement(first, more) => theirs.sack.extend(
                        [Some(first)].into_iter().chain(more).flatten().map(|(l, r)| (SeqNr(l), SeqNr(r))),
                    ),
                    Theirs::Timestamp(value, echo) => theirs.timestamps = Some((value, echo)),
                }
            }
            prop_assert_eq!(TcpOptions::parse(&bytes), Ok(theirs));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..=40)) {
            let _ = TcpOptions::parse(&bytes);
        }

        #[test]
        fn the_usual_options_of_a_syn_are_written_as_any_others(
            timestamps: (u32, u32), mss: u16, shift: u8, block in any_block(),
        ) {
            let usual = TcpOptions {
                mss: Some(mss),
                window_scale: Some(shift),
                sack_permitted: true,
                timestamps: Some(timestamps),
                ..TcpOptions::NONE
            };
            let mut each = HeaderBuf::new();
            usual.write_each(&mut each);
            prop_assert_eq!(usual.usual_syn().map(Vec::from), Some(each.to_vec()));
            let others = [
                TcpOptions { mss: None, ..usual.clone() },
                TcpOptions { window_scale: None, ..usual.clone() },
                TcpOptions { sack_permitted: false, ..usual.clone() },
                TcpOptions { timestamps: None, ..usual.clone() },
                TcpOptions { sack: [block].into_iter().collect(), ..usual },
            ];
            prop_assert!(others.iter().all(|other| other.usual_syn().is_none()));
        }

        #[test]
        fn any_bytes_like_options_are_read_without_panic(
            options in prop::collection::vec((0u8..10, 0u8..12, any::<[u8; 8]>()), 0..=10)
        ) {
            let bytes: Vec<u8> = options
                .iter()
                .flat_map(|(kind, len, body)| {
                    let body = body[..usize::from(len.saturating_sub(2)).min(8)].to_vec();
                    [alloc::vec![*kind, *len], body].concat()
                })
                .take(OPTIONS_LEN_MAX)
                .collect();
            if let Ok(options) = TcpOptions::parse(&bytes) {
                prop_assert_eq!(TcpOptions::parse(&written(&options)).unwrap().mss, options.mss);
            }
        }
    }
}
