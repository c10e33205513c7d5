//! A slow and obvious model of the variables of RFC 9293 section 3.3.1, beside which the two halves of a connection run.
//!
//! Each octet of sequence space is an element of its own, each rule is the sentence of the RFC that it comes from, and
//! nothing of what is tested is called to find out what is right. What the halves tell is compared after every step.
//! Where they depart from the RFC on purpose, the model says so by itself.
//!
//! `send` has SND.UNA, SND.NXT, SND.WND, SND.WL1 and SND.WL2 with what follows from them: what may be sent, and what the
//! timer is for. `recv` has RCV.NXT and RCV.WND: what is kept, read and acknowledged. `segment` has the table of what is
//! acceptable, in 32-bit numbers that wrap. Congestion control is not modelled: its window is taken as given.

mod recv;
mod segment;
mod send;

/// The octet at `offset` of a stream: neighbours differ, and so do places that are a page or a power of two apart.
fn octet(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// The octets from `start` to `end`.
fn octets(start: u64, end: u64) -> alloc::vec::Vec<u8> {
    (start..end).map(octet).collect()
}
