//! The stack's counters as lines: what SIGUSR1 prints.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::net::Net;
use crate::proto::{Counters, DropReason};

/// Prints the counters to standard error. They were asked for, so they are no log record: they come whatever the level.
pub(super) fn print(net: &Net) {
    let text = counters(&net.counters(), net.device_lost());
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Every counter that isn't zero, one a line, in columns; then every reason for which packets were dropped.
fn counters(counters: &Counters, device_lost: u64) -> String {
    let named = counters.named().chain([("device_lost", device_lost)]);
    let mut rows: Vec<(String, u64)> = named.map(|(name, value)| (name.to_owned(), value)).collect();
    rows.push(("dropped".to_owned(), counters.dropped_total()));
    for reason in DropReason::ALL {
        rows.push((format!("dropped: {reason}"), counters.dropped(*reason)));
    }
    rows.retain(|(_, value)| *value != 0);
    let names = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let values = rows.iter().map(|(_, value)| value.to_string().len()).max().unwrap_or_default();
    let mut text = String::from("counters that are not zero:\n");
    for (name, value) in rows {
        // Writing to a string never fails.
        let _ = writeln!(text, "  {name:names$}  {value:>values$}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stand_in_columns_and_reasons_last() {
        let mut counted = Counters::default();
        (counted.packets_in, counted.tcp_resets_out) = (12_345, 7);
        counted.drop(DropReason::IpChecksum);
        counted.drop(DropReason::IpChecksum);
        counted.drop(DropReason::TcpOption);
        insta::assert_snapshot!(counters(&counted, 1), @"
        counters that are not zero:
          packets_in            12345
          tcp_resets_out            7
          device_lost               1
          dropped                   3
          dropped: ip-checksum      2
          dropped: tcp-option       1
        ");
        assert_eq!(counters(&Counters::default(), 0), "counters that are not zero:\n");
    }
}
