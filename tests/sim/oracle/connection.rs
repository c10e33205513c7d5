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
/// | ESTABLISHED, FIN-WAIT-1, FIN-WAIT-2 | keep-alive, if on | persist | retransmit, and one that comes before it | override | delayed ACK |
/// | CLOSE-WAIT, CLOSING, LAST-ACK | keep-alive, if on | persist | retransmit, and one that comes before it | override | |
/// | TIME-WAIT, CLOSED | none | | | | |
///
/// Unfinished is what was written, a FIN included, and isn't acknowledged. With SACK a loss probe may come before the
/// retransmission time-out while nothing is known to be lost, or a second look at what may be.
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
    let early = info.timers & (Timers::LOSS_PROBE | Timers::REORDERING);
    assert!(early != Timers::LOSS_PROBE | Timers::REORDERING, "two at once: {info:?}");
    let knows_of_losses = info.in_recovery || info.sacked > 0 || info.lost > 0;
    assert!(!early.contains(Timers::LOSS_PROBE) || !knows_of_losses, "a probe that tells nothing: {info:?}");
    let sending = match (is_unfinished, info.snd_wnd, info.unacknowledged) {
        (false, ..) => Timers::empty(),
        (true, 0, _) => Timers::PERSIST,
        (true, _, 0) => Timers::OVERRIDE,
        // One of the two, or neither, before it.
        (true, ..) => Timers::RETRANSMIT | early,
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
    // RFC 9937's window follows what is in flight.
    assert!(info.cwnd >= mss || info.in_recovery, "a window of {} bytes, and segments of {mss}", info.cwnd);
    let floor = 2 * mss.min(u64::from(before.snd_mss));
    // What an undo puts back was set when segments may have been smaller.
    let put_back = info.undone > before.undone && info.ssthresh > before.ssthresh;
    let is_enough = info.ssthresh == before.ssthresh || info.ssthresh >= floor || put_back;
    assert!(is_enough, "ssthresh {}:\n{before:?}\n{info:?}", info.ssthresh);
    assert!(info.lost + info.sacked <= info.unacknowledged, "more is lost or there than was sent: {info:?}");
    let acked = info.bytes_acked - before.bytes_acked;
    let calm = !before.in_recovery && !info.in_recovery && before.undone == info.undone;
    if calm && before.snd_mss == info.snd_mss {
        check_growth(before, info, acked);
    }
    if info.backoff > before.backoff {
        // A segment as it was when time ran out: what is learnt of the path may have changed it since, more than once.
        let sizes = mss.min(before.snd_mss.into())..=mss.max(before.snd_mss.into());
        assert!(sizes.contains(&info.cwnd), "the window after a time-out: {info:?}");
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
    //= RFC8985 7.3 new data
    // A loss probe is one segment whatever the window, which a needless time-out may have left below what is in flight.
    let probed = before.timers.contains(Timers::LOSS_PROBE) && !info.timers.contains(Timers::LOSS_PROBE);
    let is_loss_probe = probed && nxt(info) <= nxt(before) + mss;
    // A FIN takes up no room.
    let is_fin = info.unsent == 0 && nxt(info) == nxt(before) + 1 && info.state != State::Established;
    if nxt(info) > nxt(before) && !is_probe && !fills_up && !is_loss_probe && !is_fin {
        let flight = info.unacknowledged - info.lost - info.sacked;
        //= RFC3042 2 limited transmit
        // With SACK, RFC 8985's probe; and RFC 9937 lets a segment go while less than the window is in flight.
        let more = if info.in_recovery { mss } else { 2 * mss };
        assert!(flight <= info.cwnd + more + 1, "{flight} bytes in flight:\n{before:?}\n{info:?}");
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

mod this_oracle {
    //! What the rules forbid is noticed.

    use super::*;

    /// A connection as it may stand: 3,000 of 10,000 bytes in flight.
    fn info() -> TcpInfo {
        let Some(mut info) = established() else { panic!("the connection is open") };
        (info.cwnd, info.ssthresh, info.snd_mss, info.snd_wnd) = (10_000, 20_000, 1_000, 50_000);
        (info.unacknowledged, info.unsent, info.timers) = (3_000, 0, Timers::RETRANSMIT);
        info
    }

    /// What a real connection tells, since nothing else makes a `TcpInfo`.
    fn established() -> Option<TcpInfo> {
        use crate::harness::host::Host;
        use crate::harness::world::{PORT, World};
        use tunstack::sim::NodeId;
        use tunstack::time::Instant;

        let start = Instant::from_millis(1);
        let host = |seed, net| -> Box<dyn Host> {
            Box::new(OurHost::new(Default::default(), seed, start, net, 1500))
        };
        let hosts = [host(1, "10.9.0.1/24"), host(2, "10.9.0.2/24")];
        let mut world = World::pair(hosts, Default::default(), 1500, 1, start);
        world.accepts = false;
        world.at(NodeId(1), |host, now| host.listen(now, PORT));
        let to = std::net::SocketAddr::new(world.host(NodeId(1)).ip(), PORT);
        world.at(NodeId(0), |host, now| host.connect(now, to));
        world.run_for(std::time::Duration::from_millis(1));
        let host = world.network.node(NodeId(0)).ours()?;
        host.held().next().and_then(|id| host.node.stack.tcp_info(id).ok())
    }

    #[test]
    fn what_the_rules_allow_passes() {
        check_timers(&info(), false);
        check_congestion(
            &info(),
            &TcpInfo { bytes_acked: info().bytes_acked + 3_000, cwnd: 13_000, ..info() },
        );
    }

    #[test]
    #[should_panic(expected = "the window grew by 3002")]
    fn a_window_that_grows_by_more_than_was_acknowledged_is_noticed() {
        let after = TcpInfo { bytes_acked: info().bytes_acked + 3_000, cwnd: 13_002, ..info() };
        check_congestion(&info(), &after);
    }

    #[test]
    #[should_panic(expected = "1 windows acknowledged, and the window grew by 2000")]
    fn a_window_that_grows_too_fast_in_congestion_avoidance_is_noticed() {
        let before = TcpInfo { ssthresh: 5_000, ..info() };
        let after = TcpInfo { bytes_acked: before.bytes_acked + 3_000, cwnd: 12_000, ..before.clone() };
        check_congestion(&before, &after);
    }

    #[test]
    #[should_panic(expected = "bytes in flight")]
    fn new_text_beyond_the_congestion_window_is_noticed() {
        check_congestion(&info(), &TcpInfo { unacknowledged: 12_002, ..info() });
    }

    #[test]
    #[should_panic(expected = "the window after a time-out")]
    fn a_window_that_a_time_out_leaves_open_is_noticed() {
        check_congestion(&info(), &TcpInfo { backoff: 1, in_recovery: true, ..info() });
    }

    #[test]
    #[should_panic(expected = "left == right")]
    fn text_in_flight_without_a_timer_is_noticed() {
        check_timers(&TcpInfo { timers: Timers::empty(), ..info() }, false);
    }

    #[test]
    #[should_panic(expected = "left == right")]
    fn a_window_of_zero_that_is_not_probed_is_noticed() {
        check_timers(&TcpInfo { snd_wnd: 0, ..info() }, false);
    }
}
