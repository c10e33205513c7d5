//! TCP options (RFC 9293 section 3.1, RFC 7323, RFC 2018): a codec that skips what it doesn't know.

use arrayvec::ArrayVec;
use super::tcp::SeqNr;

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
    /// Reads all options of a header.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadOption> { todo!() }
    /// Bytes that [`write`](Self::write) appends: a multiple of four, at most 40.
    pub fn len(&self) -> usize { todo!() }
    /// Whether no option is set.
    pub fn is_empty(&self) -> bool { todo!() }
    /// Appends the options, padded to a multiple of four bytes.
    pub fn write(&self, out: &mut super::HeaderBuf) { todo!() }
}
