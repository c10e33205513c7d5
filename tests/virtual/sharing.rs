//! Text that is shared with the application, among text that is copied.

use bytes::Bytes;
use tunstack::proto::{Error, Readiness};

use crate::harness::script::{OUT, Script};
use crate::support::seeds::pattern_bytes;

/// A send buffer in which there may be room for less than is worth waking anybody for.
const BUFFER: usize = 60_000;

/// An open connection that has refused shared bytes though there was room for some, and its events so far are taken.
fn refused() -> Script {
    let mut t = Script::config(|config| (config.send_buffer_initial, config.send_buffer) = (BUFFER, BUFFER));
    t.open();
    t.write(BUFFER - 10_000);
    let mut shared = Bytes::from(vec![1; 20_000]);
    assert_eq!(t.stack.tcp_write_bytes(t.now(), t.id(), &mut shared), Err(Error::WouldBlock));
    assert_eq!(shared.len(), 20_000);
    t.readiness();
    t
}

/// Everything that was written is acknowledged, and the application has to hear of it.
fn is_told(t: &mut Script) -> bool {
    let mut told = Readiness::empty();
    for _ in 0..100 {
        t.take_all();
        let info = t.stack.tcp_info(t.id()).unwrap();
        if info.unacknowledged == 0 {
            break;
        }
        t.peer(&format!("A 1 ack {}", info.bytes_acked + info.unacknowledged + 1));
        told |= t.readiness();
    }
    told.contains(Readiness::WRITABLE)
}

#[test]
fn who_shares_and_is_refused_hears_of_room() {
    assert!(is_told(&mut refused()));
}

#[test]
fn who_is_refused_hears_of_room_whatever_else_is_written_meanwhile() {
    let next = pattern_bytes(OUT, BUFFER as u64 - 10_000, 3);
    let mut t = refused();
    assert_eq!(t.stack.tcp_write(t.now(), t.id(), &next), Ok(3));
    assert!(is_told(&mut t), "copied");
    let mut t = refused();
    let fill = |room: &mut [u8]| {
        room[..3].copy_from_slice(&next);
        3
    };
    assert_eq!(t.stack.tcp_write_in_place(t.now(), t.id(), fill), Ok(3));
    assert!(is_told(&mut t), "in place");
    let mut t = refused();
    assert_eq!(t.stack.tcp_write_bytes(t.now(), t.id(), &mut Bytes::copy_from_slice(&next)), Ok(3));
    assert!(is_told(&mut t), "few");
}

#[test]
fn sharing_nothing_changes_nothing() {
    let mut t = refused();
    assert_eq!(t.stack.tcp_write_bytes(t.now(), t.id(), &mut Bytes::new()), Ok(0));
    assert!(is_told(&mut t));
}
