//! Bytes to types that can't be wrong, and back.
//!
//! Everything a peer sent is parsed here once; past this border no raw header is looked at again. Fixed
//! headers are read with `etherparse`; the TCP option codec and the Internet checksum are our own, because
//! `etherparse` stops at the first unknown option and sums chunks of odd length wrongly.

pub mod checksum;
pub mod icmp;
pub mod ip;
pub mod tcp;
pub mod tcp_options;
pub mod udp;

/// Room for the headers of one packet: IPv6 (40) and TCP with all options (60), and some to spare.
pub type HeaderBuf = arrayvec::ArrayVec<u8, 128>;
