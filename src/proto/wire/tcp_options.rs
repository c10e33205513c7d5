//! TCP options (RFC 9293 section 3.1, RFC 7323, RFC 2018): a codec that skips what it doesn't know.
//!
//! Owns: how options lie in a header. Owns not: what they mean to a connection; values are told as they were
//! sent, plausible or not.
//!
//! `etherparse` has such a codec, but its iterator ends at the first option it doesn't know (a Fast Open
//! option would hide the MSS behind it), against MUST-6.

use arrayvec::ArrayVec;

use super::HeaderBuf;
use super::tcp::SeqNr;

const KIND_END: u8 = 0;
const KIND_NOP: u8 = 1;
const KIND_MSS: u8 = 2;
const KIND_WINDOW_SCALE: u8 = 3;
const KIND_SACK_PERMITTED: u8 = 4;
const KIND_SACK: u8 = 5;
const KIND_TIMESTAMPS: u8 = 8;

/// Room for options in a header: the data offset counts up to 15 words, five of them fixed.
pub const OPTIONS_LEN_MAX: usize = 40;

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
    pub sack: ArrayVec<(SeqNr, SeqNr), 4>,
}

/// An option whose length can't be: zero, one, or past the end of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadOption;

impl TcpOptions {
    /// Reads all options of a header. A known option of the wrong length is skipped like an unknown one; of
    /// two of a kind the last counts.
    ///
    /// # Errors
    /// [`BadOption`]: what follows such an option can't be found.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadOption> {
        let mut options = TcpOptions::default();
        // How nearly all segments of a connection with timestamps look (RFC 7323 appendix A).
        if let [KIND_NOP, KIND_NOP, KIND_TIMESTAMPS, 10, body @ ..] = bytes
            && body.len() == 8
        {
            options.take(KIND_TIMESTAMPS, body);
            return Ok(options);
        }
        let mut rest = bytes;
        loop {
            rest = match *rest {
                //= RFC9293 MUST-4
                [] | [KIND_END, ..] => return Ok(options),
                [KIND_NOP, ref rest @ ..] => rest,
                //= RFC9293 MUST-64
                // Options begin at any octet: only the length before tells where.
                [kind, len, ref rest @ ..] => {
                    //= RFC9293 MUST-7
                    let body_len = usize::from(len).checked_sub(2).ok_or(BadOption)?;
                    let (body, rest) = rest.split_at_checked(body_len).ok_or(BadOption)?;
                    options.take(kind, body);
                    rest
                }
                [_] => return Err(BadOption),
            };
        }
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
    pub fn len(&self) -> usize {
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
        //= RFC9293 MUST-69
        // The words come out even, so there is no padding that would have to be zero.
        let mut put = |bytes: &[u8]| {
            out.try_extend_from_slice(bytes).expect("the header buffer has room for TCP options");
        };
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

    fn len_without_sack(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let timestamps_and_sack_permitted = match (self.timestamps.is_some(), self.sack_permitted) {
            (true, _) => 12,
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

fn read_sack_block(block: &[u8; 8]) -> (SeqNr, SeqNr) {
    let [a, b, c, d, e, f, g, h] = *block;
    (SeqNr(u32::from_be_bytes([a, b, c, d])), SeqNr(u32::from_be_bytes([e, f, g, h])))
}
