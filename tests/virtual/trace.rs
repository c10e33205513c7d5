//! What the trace tells of a connection: one record for its beginning, for each change of state, and for its end.

use std::time::Duration;

use tunstack::proto::stack::Shutdown;
use tunstack::proto::tcp::closing::State;
use tunstack::proto::trace::{CloseReason, Record, TraceLevel};

use crate::harness::script::Script;

fn traced() -> Script {
    let mut t = Script::new();
    t.stack.trace().set_level(TraceLevel::Debug);
    t
}

/// Records but for dropped packets.
fn records(t: &mut Script) -> Vec<Record> {
    let (records, lost) = t.stack.trace().take();
    assert_eq!(lost, 0);
    records.into_iter().map(|(_, record)| record).filter(|it| !matches!(it, Record::Dropped { .. })).collect()
}

fn states(records: &[Record]) -> Vec<(State, State)> {
    let change = |record: &Record| match record {
        Record::State { from, to, .. } => Some((*from, *to)),
        _ => None,
    };
    records.iter().filter_map(change).collect()
}

/// Reason, bytes in and out, and how long it was open.
fn end(records: &[Record]) -> Option<(CloseReason, u64, u64, Duration)> {
    let ends: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Closed { reason, bytes_in, bytes_out, duration, .. } => {
                Some((*reason, *bytes_in, *bytes_out, *duration))
            }
            _ => None,
        })
        .collect();
    assert!(ends.len() <= 1, "a connection ends once: {ends:?}");
    ends.first().copied()
}

#[test]
fn a_connection_that_we_close_ends_in_time_wait_and_says_what_it_has_carried() {
    let mut t = traced();
    t.open();
    t.write(100);
    t.expect("PA 1:101 ack 1");
    t.peer("A 1:31 ack 101");
    t.read(30);
    t.run(1_000);
    t.take_all();
    t.shutdown(Shutdown::Write);
    t.expect("FA 101 ack 31");
    t.peer("A 31 ack 102");
    assert_eq!(end(&records(&mut t)), None);
    t.peer("FA 31 ack 102");
    t.expect("A 102 ack 32");
    let records = records(&mut t);
    assert_eq!(states(&records), [(State::FinWait2, State::TimeWait)]);
    assert_eq!(end(&records), Some((CloseReason::Closed, 30, 100, Duration::from_secs(1))));
}

#[test]
fn a_reset_is_the_end_of_a_connection() {
    let mut t = traced();
    t.open();
    records(&mut t);
    t.peer("R 1");
    let records = records(&mut t);
    assert_eq!(states(&records), [(State::Established, State::Closed)]);
    assert_eq!(end(&records), Some((CloseReason::ResetByPeer, 0, 0, Duration::ZERO)));
}
