//! The lines that `tunstack link` prints: what has become of the packets, a line for each direction.

use std::fmt::Write as _;

use crate::runtime::cable::Passage;

/// A line for each direction, from one end to the other and back.
pub(super) fn counters(ends: [&str; 2], passages: &[Passage; 2]) -> String {
    let [a, b] = ends;
    let mut text = String::new();
    for ((from, to), passage) in [(a, b), (b, a)].into_iter().zip(passages) {
        // Writing to a string never fails.
        let _ = writeln!(text, "{from} -> {to}: {}", direction(passage));
    }
    text
}

/// How many packets were sent and have arrived, and whatever else befell some.
fn direction(passage: &Passage) -> String {
    let link = &passage.link;
    let mut text = format!(
        "{} sent ({} bytes), {} arrived ({} bytes)",
        link.sent, link.sent_bytes, link.arrived, link.arrived_bytes
    );
    for (count, what) in [
        (passage.under_way, "under way"),
        (passage.held, "waiting for room"),
        (link.lost, "lost"),
        (link.overflowed, "overflowed"),
        (link.too_large, "too large"),
        (link.interrupted, "interrupted"),
        (link.duplicated, "duplicated"),
        (link.corrupted, "corrupted"),
        (link.reordered, "reordered"),
        (link.marked, "marked"),
        (link.whole, "super-segments whole"),
        (link.cut, "super-segments cut"),
        (passage.lost_by_device, "lost by the device"),
        (passage.unfinished, "unfinished"),
    ] {
        if count != 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_direction_has_a_line_with_whatever_happened() {
        let mut passages = [Passage::default(); 2];
        let [there, back] = &mut passages;
        (there.link.sent, there.link.sent_bytes, there.link.lost) = (3, 252, 2);
        (there.link.arrived, there.link.arrived_bytes) = (1, 84);
        (back.link.marked, back.under_way, back.held, back.lost_by_device) = (1, 4, 1, 7);
        (there.link.whole, back.link.cut) = (1, 2);
        insta::assert_snapshot!(counters(["tun0", "left:tun1"], &passages), @"
        tun0 -> left:tun1: 3 sent (252 bytes), 1 arrived (84 bytes), 2 lost, 1 super-segments whole
        left:tun1 -> tun0: 0 sent (0 bytes), 0 arrived (0 bytes), 4 under way, 1 waiting for room, 1 marked, 2 super-segments cut, 7 lost by the device
        ");
    }
}
