//! Defects that were found by reading, each kept as the smallest script that showed it.

#[expect(dead_code, reason = "the harness serves the scripts of `virtual`, too")]
#[path = "virtual/harness/mod.rs"]
mod harness;

use harness::script::Script;

#[test]
fn answers_to_window_probes_are_no_duplicate_acks() {
    let mut t = Script::new();
    let id = t.open();
    t.peer("A 1 ack 1 win 0");
    t.write(5000);
    for _ in 0..5 {
        while t.take_all().is_empty() {
            t.run(100);
        }
        t.peer("A 1 ack 1 win 0");
    }
    let info = t.stack.tcp_info(id).unwrap();
    assert_eq!(info.ssthresh, u64::MAX);
    assert_eq!(t.stack.counters().tcp_fast_retransmits, 0);
}
