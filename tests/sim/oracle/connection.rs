//! What a connection says of itself: its congestion window, and its timers.

use std::collections::HashMap;

use tunstack::proto::TcpId;
use tunstack::proto::tcp::closing::State;
use tunstack::proto::tcp::{TcpInfo, Timers};

use crate::harness::ours::OurHost;

/// Remembers how each connection of a host stood when it was last looked at.
#[derive(Default)]
pub(crate) struct Connections {
    last: HashMap<TcpId, TcpInfo>,
}

impl Connections {
    /// Looks at all connections of a host after it has run.
    pub(crate) fn check(&mut self, host: &OurHost) {
        for id in host.held() {
            let Ok(info) = host.node.stack.tcp_info(id) else {
                self.last.remove(&id);
                continue;
            };
            let keeps_alive =
                host.node.stack.tcp_options(id).is_ok_and(|options| options.keepalive.is_some());
            check_timers(&info, keeps_alive);
            if let Some(before) = self.last.get(&id) {
                check_congestion(before, &info);
            }
            self.last.insert(id, info);
        }
    }
}

/// The table of timers, by state and by what there is to wait for:
///
/// | state | nothing unfinished | window of zero | bytes in flight | bytes waiting only | ACK owed |
/// |---|---|---|---|---|---|
/// | SYN-SENT, SYN-RECEIVED | retransmit | | | | |
/// | ESTABLISHED, FIN-WAIT-1, FIN-WAIT-2 | keep-alive, if on | persist | retransmit | override | delayed ACK |
/// | CLOSE-WAIT, CLOSING, LAST-ACK | keep-alive, if on | persist | retransmit | override | |
/// | TIME-WAIT, CLOSED | none | | | | |
///
/// Unfinished is what was written, a FIN included, and isn't acknowledged.
fn check_timers(info: &TcpInfo, keeps_alive: bool) {
    let may_have_ack = match info.state {
        State::SynSent | State::SynReceived => {
            assert_eq!(info.timers, Timers::RETRANSMIT, "in {:?}", info.state);
            return;
        }
        State::Listen | State::TimeWait | State::Closed => {
            assert_eq!(info.timers, Timers::empty(), "in {:?}", info.state);
            return;
        }
        State::Established | State::FinWait1 | State::FinWait2 => true,
        State::CloseWait | State::Closing | State::LastAck => false,
    };
    let fin_unacknowledged = matches!(info.state, State::FinWait1 | State::Closing | State::LastAck);
    let is_unfinished = info.unsent > 0 || info.unacknowledged > 0 || fin_unacknowledged;
    let sending = match (is_unfinished, info.snd_wnd, info.unacknowledged) {
        (false, ..) => Timers::empty(),
        (true, 0, _) => Timers::PERSIST,
        (true, _, 0) => Timers::OVERRIDE,
        (true, ..) => Timers::RETRANSMIT,
    };
    let keep_alive = if keeps_alive && !is_unfinished { Timers::KEEP_ALIVE } else { Timers::empty() };
    let delayed_ack = info.timers & Timers::DELAYED_ACK;
    assert!(may_have_ack || delayed_ack.is_empty(), "an ACK is delayed in {:?}: {info:?}", info.state);
    assert_eq!(info.timers, sending | keep_alive | delayed_ack, "{info:?}");
}

/// The rules of RFC 5681 and 6582, as far as two looks at a connection tell.
fn check_congestion(before: &TcpInfo, info: &TcpInfo) {
    let synchronised = |info: &TcpInfo| {
        !matches!(info.state, State::SynSent | State::SynReceived | State::TimeWait | State::Closed)
    };
    if !synchronised(before) || !synchronised(info) {
        return;
    }
    let mss = u64::from(info.snd_mss);
    //= RFC5681 3.1 loss window
    assert!(info.cwnd >= mss, "a window of {} bytes, and segments of {mss}", info.cwnd);
    let floor = 2 * mss.min(u64::from(before.snd_mss));
    assert!(info.ssthresh == before.ssthresh || info.ssthresh >= floor, "ssthresh {}", info.ssthresh);
    assert!(info.lost <= info.unacknowledged, "{} of {} bytes lost", info.lost, info.unacknowledged);
    let acked = info.bytes_acked - before.bytes_acked;
    if !before.in_recovery && !info.in_recovery && before.snd_mss == info.snd_mss {
        check_growth(before, info, acked);
    }
    if info.backoff > before.backoff {
        // A segment as it was when time ran out.
        let segment = [mss, u64::from(before.snd_mss)];
        assert!(segment.contains(&info.cwnd), "the window after a time-out: {info:?}");
    }
    check_flight(before, info);
}

/// What was sent for the first time kept to the window, which counts what is believed to be in the network.
fn check_flight(before: &TcpInfo, info: &TcpInfo) {
    let mss = u64::from(info.snd_mss);
    let nxt = |info: &TcpInfo| info.bytes_acked + info.unacknowledged;
    let is_probe = info.timers.contains(Timers::PERSIST) || before.timers.contains(Timers::PERSIST);
    // The retransmission that begins fast recovery goes whatever the window says, filled up where nothing follows it.
    let fills_up = info.retransmits > before.retransmits && nxt(info) <= nxt(before) + mss;
    // A FIN takes up no room.
    let is_fin = info.unsent == 0 && nxt(info) == nxt(before) + 1 && info.state != State::Established;
    if nxt(info) > nxt(before) && !is_probe && !fills_up && !is_fin {
        let flight = info.unacknowledged - info.lost;
        assert!(flight <= info.cwnd + 1, "{flight} bytes in flight:\n{before:?}\n{info:?}");
    }
}

/// Outside of recovery, the window grows by no more than what was acknowledged, and past `ssthresh` by a segment per
/// window.
fn check_growth(before: &TcpInfo, info: &TcpInfo, acked: u64) {
    let growth = info.cwnd.saturating_sub(before.cwnd);
    let mss = u64::from(info.snd_mss);
    if before.cwnd >= before.ssthresh {
        //= RFC5681 3.1 congestion avoidance
        let windows = acked / before.cwnd.max(1) + 1;
        assert!(growth <= windows * mss, "{windows} windows acknowledged, and the window grew by {growth}");
        return;
    }
    //= RFC5681 3.1 slow start
    // A FIN counts as the octet that it is, and what goes past ssthresh is congestion avoidance's.
    let past = if info.cwnd >= info.ssthresh { mss } else { 0 };
    assert!(growth <= acked + 1 + past, "{acked} bytes acknowledged, and the window grew by {growth}");
}
