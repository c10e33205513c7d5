//! Character generator over TCP (RFC 864): lines of 72 characters, each begun one further along the ring of
//! the 95 printing characters, until the peer is gone.

use bytes::Bytes;

use super::CHUNK;
use super::pipe::{Drained, Pipe, Talk, Turn, drain};
use crate::proto::Error;

/// Characters of a line, its CR LF not counted.
const LINE: usize = 72;
/// The printing characters of ASCII, the space among them.
const RING: usize = 95;
/// Bytes after which the pattern repeats.
pub(super) const PERIOD: usize = RING * (LINE + 2);

/// The character generator protocol.
pub(super) struct Chargen {
    /// The pattern, long enough that a whole chunk can be taken from any phase in one piece. All connections share it: it is sent from
    /// where it stands.
    pattern: Bytes,
}

impl Chargen {
    pub(super) fn new() -> Self {
        Chargen { pattern: pattern(PERIOD + CHUNK).into() }
    }
}

impl Talk for Chargen {
    type State = Phase;

    const NAME: &'static str = "chargen";

    fn talk(&mut self, pipe: &mut impl Pipe, phase: &mut Phase, ending: bool) -> Turn {
        // A peer that has ended its side may still want to read; one that is gone answers with a reset.
        match drain(pipe) {
            Drained::SoFar | Drained::EndOfStream => {}
            Drained::Failed => return Turn::Done,
        }
        if ending {
            return Turn::Done;
        }
        loop {
            let from = usize::from(phase.0);
            match pipe.write_bytes(&mut self.pattern.slice(from..from + CHUNK)) {
                Ok(0) | Err(Error::WouldBlock) => return Turn::Blocked,
                Ok(len) => phase.advance(len),
                Err(_) => return Turn::Done,
            }
        }
    }
}

/// A place in the pattern, below [`PERIOD`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Phase(u16);

impl Phase {
    fn advance(&mut self, len: usize) {
        let next = (usize::from(self.0) + len) % PERIOD;
        self.0 = u16::try_from(next).unwrap_or(0);
    }
}

/// The first `len` bytes of the pattern.
pub(super) fn pattern(len: usize) -> Box<[u8]> {
    (0..len).map(pattern_byte).collect()
}

fn pattern_byte(at: usize) -> u8 {
    let (line, column) = (at / (LINE + 2), at % (LINE + 2));
    match column {
        LINE => b'\r',
        column if column > LINE => b'\n',
        column => b' ' + u8::try_from((line + column) % RING).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pipe::tests::Tube;
    use super::*;

    #[test]
    fn the_pattern_is_the_one_printed_in_rfc_864() {
        let text = String::from_utf8(pattern(PERIOD + 74).to_vec()).unwrap();
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines[0], " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg");
        assert_eq!(lines[1], "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh");
        assert!(lines[24].ends_with("|}~ "), "{}", lines[24]);
        assert!(lines.iter().all(|line| line.len() == LINE));
        assert_eq!(lines[95], lines[0]);
    }

    #[test]
    fn what_the_peer_says_is_thrown_away_and_its_end_does_not_stop_the_characters() {
        let (mut tube, mut chargen, mut progress) = (Tube::default(), Chargen::new(), Phase::default());
        tube.came.extend(b"stop!");
        tube.their_end = true;
        tube.room = 10;
        assert_eq!(chargen.talk(&mut tube, &mut progress, false), Turn::Blocked);
        assert!(tube.came.is_empty());
        assert_eq!(tube.went, b" !\"#$%&'()");
        assert_eq!(chargen.talk(&mut tube, &mut progress, true), Turn::Done);
    }

    proptest! {
        #[test]
        fn however_the_room_comes_the_lines_go_on_where_they_stopped(
            rooms in proptest::collection::vec(1_usize..200_000, 1..8)
        ) {
            let (mut tube, mut chargen, mut progress) = (Tube::default(), Chargen::new(), Phase::default());
            for room in rooms {
                tube.room = room;
                prop_assert_eq!(chargen.talk(&mut tube, &mut progress, false), Turn::Blocked);
            }
            prop_assert_eq!(&tube.went[..], &pattern(tube.went.len())[..]);
        }
    }
}
