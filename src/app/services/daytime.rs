//! Daytime over TCP (RFC 867): says what time it is, in one line, and closes.

use arrayvec::ArrayVec;
use jiff::Timestamp;

use super::pipe::{Drained, Pipe, Talk, Turn, drain};
use crate::proto::Error;

/// The daytime protocol.
pub(super) struct Daytime;

/// What is left to say.
#[derive(Debug, Default)]
pub(super) enum Speech {
    /// Everything.
    #[default]
    Unbegun,
    /// The rest of the line.
    Begun(Line),
    /// Nothing: the peer's end is awaited, since closing with its bytes unread would reset the connection and
    /// might cost it the line.
    Ended,
}

impl Talk for Daytime {
    type State = Speech;

    const NAME: &'static str = "daytime";

    /// A peer that never closes would keep its connection for ever: after this many others, it is closed.
    const CONNECTIONS_MAX: Option<usize> = Some(1024);

    fn talk(&mut self, pipe: &mut impl Pipe, speech: &mut Speech, _ending: bool) -> Turn {
        let drained = drain(pipe);
        if let Speech::Unbegun = speech {
            *speech = Speech::Begun(line(Timestamp::now()));
        }
        if let Speech::Begun(line) = speech {
            match pipe.write(line) {
                Ok(len) => drop(line.drain(..len.min(line.len()))),
                Err(Error::WouldBlock) => {}
                Err(_) => return Turn::Done,
            }
            if !line.is_empty() {
                return Turn::Blocked;
            }
            if pipe.shutdown_write().is_err() {
                return Turn::Done;
            }
            *speech = Speech::Ended;
        }
        match drained {
            Drained::SoFar => Turn::Idle,
            Drained::EndOfStream | Drained::Failed => Turn::Done,
        }
    }
}

/// A line of text, CR LF included.
pub(super) type Line = ArrayVec<u8, 64>;

/// The time in the first of RFC 867's syntaxes: `Weekday, Month Day, Year Time-Zone`.
pub(super) fn line(at: Timestamp) -> Line {
    let text = at.strftime("%A, %B %-d, %Y %H:%M:%S-UTC\r\n").to_string();
    text.bytes().take(Line::new().capacity()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::pipe::tests::Tube;
    use super::*;

    #[test]
    fn the_line_has_the_syntax_of_rfc_867() {
        let at: Timestamp = "1982-02-22T17:37:43-00:00".parse().unwrap();
        assert_eq!(line(at).as_slice(), b"Monday, February 22, 1982 17:37:43-UTC\r\n");
        let longest: Timestamp = "2026-09-30T00:00:00Z".parse().unwrap();
        assert_eq!(line(longest).as_slice(), b"Wednesday, September 30, 2026 00:00:00-UTC\r\n");
    }

    #[test]
    fn the_line_is_said_once_and_the_peers_end_is_awaited() {
        let (mut tube, mut daytime, mut speech) = (Tube::default(), Daytime, Speech::default());
        tube.came.extend(b"what time is it?");
        assert_eq!(daytime.talk(&mut tube, &mut speech, false), Turn::Blocked);
        tube.room = 10;
        assert_eq!(daytime.talk(&mut tube, &mut speech, false), Turn::Blocked);
        tube.room = 100;
        assert_eq!(daytime.talk(&mut tube, &mut speech, false), Turn::Idle);
        assert!(tube.our_end && tube.came.is_empty());
        let text = String::from_utf8(tube.went.clone()).unwrap();
        assert!(text.ends_with("-UTC\r\n") && text.matches('\n').count() == 1, "{text}");
        tube.came.extend(b"thank you");
        tube.their_end = true;
        assert_eq!(daytime.talk(&mut tube, &mut speech, false), Turn::Done);
        assert_eq!(tube.went, text.into_bytes());
    }

    #[test]
    fn a_peer_that_has_ended_first_still_gets_the_line() {
        let (mut tube, mut daytime, mut speech) = (Tube::default(), Daytime, Speech::default());
        (tube.room, tube.their_end) = (100, true);
        assert_eq!(daytime.talk(&mut tube, &mut speech, false), Turn::Done);
        assert!(tube.our_end && tube.went.ends_with(b"\r\n"));
    }
}
