//! Discard over TCP (RFC 863): throws away what came.

use super::pipe::{Drained, Pipe, Talk, Turn, drain};

/// The discard protocol.
pub(super) struct Discard;

impl Talk for Discard {
    type State = ();

    const NAME: &'static str = "discard";

    fn talk(&mut self, pipe: &mut impl Pipe, _state: &mut (), _ending: bool) -> Turn {
        match drain(pipe) {
            Drained::SoFar => Turn::Idle,
            Drained::EndOfStream | Drained::Failed => Turn::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CHUNK;
    use super::super::pipe::tests::Tube;
    use super::*;
    use crate::proto::Error;

    #[test]
    fn all_that_came_is_thrown_away_until_the_peer_ends() {
        let (mut tube, mut discard) = (Tube { room: 100, ..Tube::default() }, Discard);
        tube.came.extend(vec![7; 3 * CHUNK + 5]);
        assert_eq!(discard.talk(&mut tube, &mut (), false), Turn::Idle);
        assert!(tube.came.is_empty() && tube.went.is_empty());
        tube.their_end = true;
        assert_eq!(discard.talk(&mut tube, &mut (), false), Turn::Done);
    }

    #[test]
    fn a_broken_connection_ends_the_talk() {
        let mut tube = Tube { broken: Some(Error::TimedOut), ..Tube::default() };
        assert_eq!(Discard.talk(&mut tube, &mut (), false), Turn::Done);
    }
}
