//! The device of a script: what it is given, and what it makes of that on the wire.

use tunstack::proto::ip::segment::Unfinished;
use tunstack::proto::{ChecksumState, Egress, EgressChecksum, Offloads, Packet};
use tunstack::time::Instant;

use crate::support::wire::{self, Tcp};

/// What kernels are asked for.
pub(crate) const ALL: Offloads = Offloads { checksum: true, tso4: true, tso6: true, uso: true };

/// A packet that the device has taken.
pub(crate) struct Given {
    /// What goes on the wire: all headers and checksums are there.
    pub(crate) pieces: Vec<Vec<u8>>,
    /// Set if there are several.
    size: Option<usize>,
}

impl Given {
    /// As a device with these offloads takes it, which must not be asked for more.
    pub(crate) fn of(egress: &Egress<'_>, offloads: Offloads) -> Given {
        let mut bytes = Vec::new();
        egress.copy_to(&mut bytes);
        if egress.checksum == EgressChecksum::Complete {
            assert_eq!(egress.gso_size, None, "no super-segment has its checksum already");
            return Given { pieces: vec![bytes], size: None };
        }
        let checksum = ChecksumState::Partial;
        let packet = Packet { bytes: &bytes, at: Instant::ZERO, checksum, gso_size: egress.gso_size };
        let unfinished = Unfinished::of(&packet).expect("TCP or UDP").expect("something to be done");
        assert!(unfinished.is_taken_by(offloads), "{offloads:?}");
        assert_eq!(unfinished.egress_checksum(), egress.checksum);
        assert_eq!(unfinished.gso_size(), egress.gso_size, "a super-segment of one");
        let mut pieces = Vec::new();
        unfinished.finish(|headers, data| pieces.push([headers, data].concat()));
        Given { pieces, size: egress.gso_size.map(|size| size.get().into()) }
    }

    /// The segment or super-segment, each piece of which must be right by itself; `None` if it isn't TCP.
    pub(crate) fn tcp(&self) -> Option<Tcp> {
        let pieces: Vec<Tcp> = self.pieces.iter().map(|piece| Tcp::decode(piece)).collect::<Option<_>>()?;
        let (first, last) = (pieces.first()?.clone(), pieces.last()?.clone());
        let mut whole = Tcp { payload: Vec::new(), flags: last.flags, gso_size: self.size, ..first.clone() };
        for piece in &pieces {
            assert_eq!(piece.seq, first.seq.wrapping_add(whole.payload.len() as u32));
            let at_the_end = wire::PSH | wire::FIN;
            assert_eq!(piece.flags & !at_the_end, last.flags & !at_the_end);
            assert_eq!(piece.options, first.options);
            whole.payload.extend(&piece.payload);
        }
        Some(whole)
    }
}
