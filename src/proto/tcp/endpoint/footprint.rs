//! What is kept of a connection, phase by phase, is no more than docs/ARCHITECTURE.md says: no field is added unnoticed.

use alloc::sync::Weak;

use super::*;
use crate::proto::buf::ranges::Ranges;
use crate::proto::ids::TimerKey;
use crate::proto::tcp::demux::Known;
use crate::proto::tcp::time_wait::Waiting;
use crate::proto::timer_wheel::TimerWheel;

/// The number in the row of the page's table that begins with `what`.
fn documented(what: &str) -> usize {
    let page = include_str!("../../../../docs/ARCHITECTURE.md");
    let row = page.lines().find_map(|line| line.strip_prefix(&format!("| {what} | ")));
    let number = row.and_then(|row| row.split(' ').next()?.replace(',', "").parse().ok());
    number.unwrap_or_else(|| panic!("there is no row for {what}"))
}

#[test]
fn what_is_kept_of_a_connection_is_no_more_than_the_page_says() {
    // Debug builds keep a record of what was written to each ring.
    let audit = if cfg!(debug_assertions) { size_of::<(Ranges, Weak<()>)>() } else { 0 };
    for (what, size) in [
        // The table has an octet of its own for each.
        ("tuple", size_of::<Known>() + 1),
        ("timer", TimerWheel::<TimerKey>::ENTRY_SIZE),
        ("half-open", size_of::<HalfOpen>()),
        ("attempt", size_of::<Handshake>()),
        ("socket", size_of::<Socket>()),
        ("open", size_of::<Connection>() - 2 * audit),
        ("TIME-WAIT", size_of::<Waiting>()),
    ] {
        let most = documented(what);
        assert!(size <= most, "{what}: {size} bytes, and {most} are allowed");
        assert!(2 * size > most, "{what}: {size} bytes, and the page says {most}");
    }
}
