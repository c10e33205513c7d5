//! Echo over TCP (RFC 862): sends back what came, and an end of stream for an end of stream.

use super::pipe::{Pipe, Talk, Turn};
use crate::proto::tcp::SocketOptions;
use crate::proto::{Error, SpliceError};

/// The echo protocol. Bytes stay in the receive buffer until they are in the send buffer, so that a peer
/// that doesn't read fills its own window and nothing of ours.
pub(super) struct Echo;

impl Talk for Echo {
    type State = ();

    const NAME: &'static str = "echo";

    fn adjust(&self, options: &mut SocketOptions) {
        // An echo is waited for: Nagle's algorithm would hold the second of two small ones back for a round trip.
        options.nodelay = true;
    }

    fn talk(&mut self, pipe: &mut impl Pipe, _state: &mut (), _ending: bool) -> Turn {
        loop {
            match pipe.send_back() {
                // Closing sends what is queued, and then our FIN for theirs.
                Ok((0, _)) => return Turn::Done,
                Ok((_, has_more)) if has_more => {}
                Ok(_) => return Turn::Idle,
                Err(SpliceError::Read(Error::WouldBlock)) => return Turn::Idle,
                Err(SpliceError::Write(Error::WouldBlock)) => return Turn::Blocked,
                Err(SpliceError::Read(_) | SpliceError::Write(_)) => return Turn::Done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pipe::tests::Tube;
    use super::*;

    #[test]
    fn what_came_goes_back_and_the_end_of_stream_ends_the_talk() {
        let mut tube = Tube { room: 100, ..Tube::default() };
        let mut echo = Echo;
        assert_eq!(echo.talk(&mut tube, &mut (), false), Turn::Idle);
        tube.came.extend(b"hello");
        tube.their_end = true;
        assert_eq!(echo.talk(&mut tube, &mut (), false), Turn::Done);
        assert_eq!(tube.went, b"hello");
    }

    #[test]
    fn a_peer_that_does_not_read_leaves_its_own_bytes_unread() {
        let mut tube = Tube { room: 3, ..Tube::default() };
        tube.came.extend(b"hello");
        tube.their_end = true;
        let mut echo = Echo;
        assert_eq!(echo.talk(&mut tube, &mut (), false), Turn::Blocked);
        assert_eq!((tube.went.as_slice(), tube.came.len()), (&b"hel"[..], 2));
        assert_eq!(echo.talk(&mut tube, &mut (), true), Turn::Blocked);
        tube.room = 3;
        assert_eq!(echo.talk(&mut tube, &mut (), true), Turn::Done);
        assert_eq!(tube.went, b"hello");
    }

    #[test]
    fn a_broken_connection_ends_the_talk() {
        let mut tube = Tube { broken: Some(Error::ConnectionReset), ..Tube::default() };
        assert_eq!(Echo.talk(&mut tube, &mut (), false), Turn::Done);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Come(Vec<u8>),
        Room(usize),
        End,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(Step::Come),
            8 => (0_usize..300).prop_map(Step::Room),
            1 => Just(Step::End),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        #[test]
        fn whatever_the_order_of_bytes_and_room_nothing_is_lost_or_made_up(steps in steps()) {
            let (mut tube, mut echo, mut sent) = (Tube::default(), Echo, Vec::new());
            for step in steps {
                match step {
                    Step::Come(bytes) if !tube.their_end => {
                        tube.came.extend(&bytes);
                        sent.extend(bytes);
                    }
                    Step::Come(_) => {}
                    Step::Room(room) => tube.room += room,
                    Step::End => tube.their_end = true,
                }
                let turn = echo.talk(&mut tube, &mut (), false);
                prop_assert_eq!(&sent[..tube.went.len()], &tube.went[..]);
                prop_assert_eq!(sent.len(), tube.went.len() + tube.came.len());
                match turn {
                    Turn::Idle => prop_assert!(tube.came.is_empty() && !tube.their_end),
                    Turn::Blocked => prop_assert!(!tube.came.is_empty() && tube.room == 0),
                    Turn::Done => {
                        prop_assert!(tube.came.is_empty() && tube.their_end);
                        return Ok(());
                    }
                }
            }
        }
    }
}
