//! What came on one connection is sent on another without a buffer in between.

use proptest::prelude::*;
use tunstack::proto::stack::Shutdown;
use tunstack::proto::{Error, Owner, Readiness, SpliceError, TcpId};

use crate::harness::script::Script;
use crate::support::seeds::pattern_bytes;

const NOTHING_CAME: Result<usize, SpliceError> = Err(SpliceError::Read(Error::WouldBlock));
const NO_ROOM: Result<usize, SpliceError> = Err(SpliceError::Write(Error::WouldBlock));

/// A connection from the stack to itself; both ends.
fn connected(t: &mut Script, port: u16) -> (TcpId, TcpId) {
    let to = format!("127.0.0.1:{port}").parse().unwrap();
    let listener = t.stack.tcp_listen(t.now(), to, None, Owner::APPLICATION).unwrap();
    let client = t.stack.tcp_connect(t.now(), None, to, None, Owner::APPLICATION).unwrap();
    t.flush();
    let (server, _) = t.stack.tcp_accept(t.now(), listener).unwrap();
    t.stack.tcp_close_listener(t.now(), listener);
    (client, server)
}

fn splice(t: &mut Script, from: TcpId, to: TcpId) -> Result<usize, SpliceError> {
    t.stack.tcp_splice(t.now(), from, to, usize::MAX)
}

fn end<const N: usize>(t: &mut Script, ids: [TcpId; N]) {
    for id in ids {
        t.stack.tcp_abort(t.now(), id);
    }
    t.flush();
}

#[test]
fn what_came_goes_back_in_the_next_segment_and_an_end_is_told_after_it() {
    let mut t = Script::new();
    let (client, echo) = connected(&mut t, 7);
    assert_eq!(splice(&mut t, echo, echo), NOTHING_CAME);
    t.stack.tcp_write(t.now(), client, b"0123456789").unwrap();
    t.stack.tcp_shutdown(t.now(), client, Shutdown::Write).unwrap();
    t.flush();
    assert_eq!(t.stack.tcp_splice(t.now(), echo, echo, 4), Ok(4));
    assert_eq!(splice(&mut t, echo, echo), Ok(6));
    assert_eq!(splice(&mut t, echo, echo), Ok(0), "the end of the stream");
    let segments = t.stack.counters().tcp_segments_out;
    t.flush();
    assert_eq!(t.stack.counters().tcp_segments_out, segments + 1, "text and acknowledgement in one");
    let mut out = [0; 20];
    assert_eq!(t.stack.tcp_read(t.now(), client, &mut out), Ok(10));
    assert_eq!(&out[..10], b"0123456789");
    end(&mut t, [client, echo]);
}

#[test]
fn what_finds_no_room_stays_unread_and_an_event_tells_of_room() {
    let mut t = Script::config(|config| (config.send_buffer_initial, config.send_buffer) = (1_000, 1_000));
    let (client, echo) = connected(&mut t, 7);
    assert_eq!(t.stack.tcp_write(t.now(), client, &[7; 1_000]), Ok(1_000));
    t.flush();
    assert_eq!(t.stack.tcp_write(t.now(), client, &[8; 400]), Ok(400));
    t.run(100);
    assert_eq!(splice(&mut t, echo, echo), Ok(1_000));
    assert_eq!(splice(&mut t, echo, echo), NO_ROOM);
    assert_eq!(t.stack.tcp_info(echo).unwrap().unread, 400);
    t.readiness_of(echo);
    t.flush();
    t.run(100);
    assert!(t.readiness_of(echo).contains(Readiness::WRITABLE));
    assert_eq!(splice(&mut t, echo, echo), Ok(400));
    end(&mut t, [client, echo]);
}

#[test]
fn an_error_says_which_of_the_two_it_is() {
    let mut t = Script::new();
    let ((one, other), (third, fourth)) = (connected(&mut t, 7), connected(&mut t, 8));
    let gone = TcpId::default();
    assert_eq!(splice(&mut t, gone, one), Err(SpliceError::Read(Error::NoSuchSocket)));
    t.stack.tcp_write(t.now(), one, b"hello").unwrap();
    t.flush();
    assert_eq!(splice(&mut t, other, gone), Err(SpliceError::Write(Error::NoSuchSocket)));
    t.stack.tcp_shutdown(t.now(), third, Shutdown::Write).unwrap();
    t.flush();
    assert_eq!(splice(&mut t, other, third), Err(SpliceError::Write(Error::BrokenPipe)));
    assert_eq!(t.stack.tcp_splice(t.now(), other, third, 0), Ok(0));
    // Nothing of it was lost.
    assert_eq!(splice(&mut t, other, fourth), Ok(5));
    t.flush();
    let mut out = [0; 9];
    assert_eq!(t.stack.tcp_read(t.now(), third, &mut out), Ok(5));
    assert_eq!(&out[..5], b"hello");
    // What had come before a reset is carried on, and the reset is told after it.
    t.run(100);
    t.stack.tcp_write(t.now(), one, b"last").unwrap();
    t.flush();
    t.stack.tcp_abort(t.now(), one);
    t.flush();
    assert_eq!(splice(&mut t, other, fourth), Ok(4));
    assert_eq!(splice(&mut t, other, fourth), Err(SpliceError::Read(Error::ConnectionReset)));
    end(&mut t, [one, other, third, fourth]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_proxy_carries_any_stream_whatever_room_there_is_on_the_way(
        len in 1usize..200_000,
        chunk in 1usize..30_000,
        most in 1usize..30_000,
        buffers in (2_000usize..40_000, 2_000usize..40_000),
    ) {
        let mut t = Script::config(|config| {
            (config.send_buffer_initial, config.send_buffer) = (buffers.0, buffers.0);
            (config.recv_buffer_initial, config.recv_buffer) = (buffers.1, buffers.1);
        });
        let ((client, inner), (outer, server)) = (connected(&mut t, 7), connected(&mut t, 8));
        let data = pattern_bytes(3, 0, len);
        let (mut written, mut received) = (0, Vec::new());
        let mut out = vec![0; chunk];
        // Whatever waits for a timer goes on within seconds. How many rounds there are in all depends on the chunks.
        let mut stalled_ms = 0;
        while received.len() < len && stalled_ms < 10_000 {
            let before = (written, received.len());
            let end = len.min(written + chunk);
            written += t.stack.tcp_write(t.now(), client, &data[written..end]).unwrap_or(0);
            t.flush();
            while let Ok(moved @ 1..) = t.stack.tcp_splice(t.now(), inner, outer, most) {
                assert!(moved <= most);
            }
            t.flush();
            while let Ok(count @ 1..) = t.stack.tcp_read(t.now(), server, &mut out) {
                received.extend_from_slice(&out[..count]);
            }
            t.run(1);
            stalled_ms = if (written, received.len()) == before { stalled_ms + 1 } else { 0 };
        }
        end(&mut t, [client, inner, outer, server]);
        prop_assert!(received == data, "{} of {len} came", received.len());
    }
}
