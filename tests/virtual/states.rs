//! The eleven states of RFC 9293, derived from two halves: every state meets every event, and the outcome is one
//! reviewed table. Figure 5's transitions are named in it, and each of them must be there.

use std::fmt::Write as _;

use tunstack::proto::stack::Shutdown;
use tunstack::proto::tcp::closing::State;
use tunstack::proto::trace::{Record, TraceLevel};

use crate::harness::script::{Script, snapshot};

/// Where a row of the table begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Closed,
    Listen,
    SynSent,
    SynReceivedPassive,
    SynReceivedActive,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
}

const STARTS: [Start; 12] = [
    Start::Closed,
    Start::Listen,
    Start::SynSent,
    Start::SynReceivedPassive,
    Start::SynReceivedActive,
    Start::Established,
    Start::FinWait1,
    Start::FinWait2,
    Start::CloseWait,
    Start::Closing,
    Start::LastAck,
    Start::TimeWait,
];

impl Start {
    fn label(self) -> &'static str {
        match self {
            Start::Closed => "CLOSED",
            Start::Listen => "LISTEN",
            Start::SynSent => "SYN-SENT",
            Start::SynReceivedPassive => "SYN-RECEIVED (passive)",
            Start::SynReceivedActive => "SYN-RECEIVED (active)",
            Start::Established => "ESTABLISHED",
            Start::FinWait1 => "FIN-WAIT-1",
            Start::FinWait2 => "FIN-WAIT-2",
            Start::CloseWait => "CLOSE-WAIT",
            Start::Closing => "CLOSING",
            Start::LastAck => "LAST-ACK",
            Start::TimeWait => "TIME-WAIT",
        }
    }

    /// Our next sequence number, the peer's, and how much of ours the peer has acknowledged.
    fn numbers(self) -> (u32, u32, u32) {
        match self {
            Start::Closed | Start::Listen => (0, 0, 0),
            Start::SynSent => (1, 0, 0),
            Start::SynReceivedPassive | Start::SynReceivedActive => (1, 1, 0),
            Start::Established => (1, 1, 1),
            Start::FinWait1 => (2, 1, 1),
            Start::FinWait2 => (2, 1, 2),
            Start::CloseWait => (1, 2, 1),
            Start::Closing | Start::LastAck => (2, 2, 1),
            Start::TimeWait => (2, 2, 2),
        }
    }

    /// A connection in this state. Its handle is held wherever there is one.
    fn reach(self) -> Script {
        let mut t = Script::new();
        t.stack.trace().set_level(TraceLevel::Debug);
        let closes: &[&str] = match self {
            Start::Closed => {
                t.aim_at(9);
                return t;
            }
            Start::Listen | Start::SynReceivedPassive => {
                t.listen();
                if self == Start::SynReceivedPassive {
                    t.peer("S 0 <mss 1460>");
                }
                t.take_all();
                return t;
            }
            Start::SynSent | Start::SynReceivedActive => {
                t.connect();
                t.expect("S 0");
                if self == Start::SynReceivedActive {
                    t.peer("S 0 <mss 1460>");
                }
                t.take_all();
                return t;
            }
            Start::Established => &[],
            Start::FinWait1 => &["ours"],
            Start::FinWait2 => &["ours", "A 1 ack 2"],
            Start::CloseWait => &["FA 1 ack 1"],
            Start::Closing => &["ours", "FA 1 ack 1"],
            Start::LastAck => &["FA 1 ack 1", "ours"],
            Start::TimeWait => &["ours", "FA 1 ack 2"],
        };
        t.open();
        let listener = t.listener.take().unwrap();
        t.stack.tcp_close_listener(t.now(), listener);
        for close in closes {
            if *close == "ours" {
                t.shutdown(Shutdown::Write);
            } else {
                t.inject(close);
            }
            t.take_all();
        }
        t
    }
}

/// What happens in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happens {
    PassiveOpen,
    ActiveOpen,
    Send,
    Shutdown,
    CloseHandle,
    Abort,
    Syn,
    SynAck,
    Ack,
    Text,
    Fin,
    FinAck,
    Reset,
    ResetInWindow,
    TwoMsl,
}

const EVENTS: [Happens; 15] = [
    Happens::PassiveOpen,
    Happens::ActiveOpen,
    Happens::Send,
    Happens::Shutdown,
    Happens::CloseHandle,
    Happens::Abort,
    Happens::Syn,
    Happens::SynAck,
    Happens::Ack,
    Happens::Text,
    Happens::Fin,
    Happens::FinAck,
    Happens::Reset,
    Happens::ResetInWindow,
    Happens::TwoMsl,
];

impl Happens {
    fn label(self) -> &'static str {
        match self {
            Happens::PassiveOpen => "passive OPEN",
            Happens::ActiveOpen => "active OPEN",
            Happens::Send => "SEND",
            Happens::Shutdown => "CLOSE",
            Happens::CloseHandle => "CLOSE, handle let go",
            Happens::Abort => "ABORT",
            Happens::Syn => "rcv SYN",
            Happens::SynAck => "rcv SYN,ACK",
            Happens::Ack => "rcv ACK of all",
            Happens::Text => "rcv text",
            Happens::Fin => "rcv FIN",
            Happens::FinAck => "rcv FIN,ACK of all",
            Happens::Reset => "rcv RST",
            Happens::ResetInWindow => "rcv RST ahead",
            Happens::TwoMsl => "2 MSL pass",
        }
    }

    /// Makes it happen; `false` if it can't in this state (there is no handle to use).
    fn apply(self, start: Start, t: &mut Script) -> bool {
        let (ours, theirs, acked) = start.numbers();
        let has_handle = !matches!(start, Start::Closed | Start::Listen | Start::SynReceivedPassive);
        match self {
            Happens::PassiveOpen if start == Start::Closed => drop(t.aim_at(7).listen()),
            Happens::ActiveOpen if start == Start::Closed => drop(t.connect()),
            Happens::Send if has_handle => drop(t.write_some(10)),
            Happens::Shutdown if has_handle => {
                // CLOSE in TIME-WAIT is an error, and changes nothing.
                let result = t.stack.tcp_shutdown(t.now(), t.id(), Shutdown::Write);
                assert_eq!(result.is_err(), start == Start::TimeWait);
                t.flush();
            }
            Happens::CloseHandle if has_handle => t.close(),
            Happens::CloseHandle if start != Start::Closed => {
                let listener = t.listener.take().unwrap();
                t.stack.tcp_close_listener(t.now(), listener);
                t.flush();
            }
            Happens::Abort if has_handle => t.abort(),
            Happens::PassiveOpen
            | Happens::ActiveOpen
            | Happens::Send
            | Happens::Shutdown
            | Happens::CloseHandle
            | Happens::Abort => return false,
            Happens::Syn => t.inject("S 0"),
            Happens::SynAck => t.inject("SA 0 ack 1"),
            Happens::Ack => t.inject(&format!("A {theirs} ack {ours}")),
            Happens::Text => t.inject(&format!("PA {theirs}:{} ack {acked}", theirs + 10)),
            Happens::Fin => t.inject(&format!("FA {} ack {acked}", fin_place(start))),
            Happens::FinAck => t.inject(&format!("FA {} ack {ours}", fin_place(start))),
            Happens::Reset => t.inject(&format!("RA {theirs} ack {ours}")),
            Happens::ResetInWindow => t.inject(&format!("RA {} ack {ours}", theirs + 5)),
            Happens::TwoMsl => {
                if start != Start::TimeWait {
                    return false;
                }
                t.run(60_001);
            }
        }
        true
    }
}

/// Where the peer's FIN stands, the first time or again.
fn fin_place(start: Start) -> u32 {
    let (_, theirs, _) = start.numbers();
    match start {
        Start::CloseWait | Start::Closing | Start::LastAck | Start::TimeWait => theirs - 1,
        _ => theirs,
    }
}

/// The state now, as the handle, the census and the trace tell it. They must agree.
fn state_of(t: &mut Script, before: &str) -> String {
    let (records, _) = t.stack.trace().take();
    let traced = records.iter().rev().find_map(|(_, record)| match record {
        Record::State { to, .. } => Some(*to),
        _ => None,
    });
    let census = t.stack.tcp_census();
    if t.has_socket() {
        let state = t.state();
        if let Some(traced) = traced {
            assert_eq!(traced, state, "the trace tells the same as the handle");
        }
        return state.to_string();
    }
    if census.sockets > 0 && t.listener.is_some() {
        // It waits to be accepted.
        t.accept();
        return format!("{}", t.state());
    }
    if census.sockets > 0 {
        return traced.map_or(before.to_string(), |state| state.to_string());
    }
    t.state().to_string()
}

fn row(start: Start, event: Happens) -> Option<(String, String, Vec<String>)> {
    let mut t = start.reach();
    let from = state_of(&mut t, "");
    assert!(start.label().starts_with(&from), "{} is {from}", start.label());
    if !event.apply(start, &mut t) {
        return None;
    }
    let sent = t.take_all().iter().map(|line| short(line)).collect();
    let to = state_of(&mut t, &from);
    Some((from, to, sent))
}

/// Flags and numbers only.
fn short(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ack = words.iter().position(|word| *word == "ack").map(|at| format!(" ack {}", words[at + 1]));
    format!("{} {}{}", words[0], words[1], ack.unwrap_or_default())
}

/// Figure 5 of RFC 9293: from, event, to, and the flags of what is sent. One arrow is left out: a socket that
/// listens can't SEND (that would turn LISTEN into SYN-SENT); no socket interface has that.
const FIGURE_5: [(Start, Happens, &str, &[&str]); 20] = [
    (Start::Closed, Happens::PassiveOpen, "LISTEN", &[]),
    (Start::Closed, Happens::ActiveOpen, "SYN-SENT", &["S"]),
    (Start::Listen, Happens::CloseHandle, "CLOSED", &[]),
    (Start::Listen, Happens::Syn, "SYN-RECEIVED", &["SA"]),
    (Start::SynSent, Happens::CloseHandle, "CLOSED", &[]),
    (Start::SynSent, Happens::Syn, "SYN-RECEIVED", &["SA"]),
    (Start::SynSent, Happens::SynAck, "ESTABLISHED", &["A"]),
    (Start::SynReceivedPassive, Happens::Ack, "ESTABLISHED", &[]),
    (Start::SynReceivedActive, Happens::Ack, "ESTABLISHED", &[]),
    (Start::SynReceivedPassive, Happens::Reset, "LISTEN", &[]),
    (Start::Established, Happens::Shutdown, "FIN-WAIT-1", &["FA"]),
    (Start::Established, Happens::Fin, "CLOSE-WAIT", &["A"]),
    (Start::FinWait1, Happens::Ack, "FIN-WAIT-2", &[]),
    (Start::FinWait1, Happens::Fin, "CLOSING", &["A"]),
    (Start::FinWait1, Happens::FinAck, "TIME-WAIT", &["A"]),
    (Start::FinWait2, Happens::Fin, "TIME-WAIT", &["A"]),
    (Start::CloseWait, Happens::Shutdown, "LAST-ACK", &["FA"]),
    (Start::Closing, Happens::Ack, "TIME-WAIT", &[]),
    (Start::LastAck, Happens::Ack, "CLOSED", &[]),
    (Start::TimeWait, Happens::TwoMsl, "CLOSED", &[]),
];

#[test]
fn every_transition_of_figure_5_happens() {
    for (start, event, to, flags) in FIGURE_5 {
        let what = format!("{} on {}", start.label(), event.label());
        let (_, reached, sent) = row(start, event).expect(&what);
        assert_eq!(reached, to, "{what}");
        let sent: Vec<&str> = sent.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(sent, flags, "{what}");
    }
}

/// SYN-RECEIVED may close before it is established (figure 5's arrow to FIN-WAIT-1); RFC 9293 section 3.10.4
/// lets the FIN wait until the connection is open, and so do we.
#[test]
fn closing_in_syn_received_leads_to_fin_wait_1() {
    let mut t = Start::SynReceivedActive.reach();
    t.shutdown(Shutdown::Write);
    t.expect_none();
    t.inject("A 1 ack 1");
    t.expect_state(State::FinWait1);
    t.expect("FA 1 ack 1");
}

#[test]
fn every_state_meets_every_event() {
    let mut table = format!("{:<24}{:<24}{:<14}{}\n", "from", "event", "to", "sent");
    for start in STARTS {
        table.push('\n');
        for event in EVENTS {
            let Some((_, to, sent)) = row(start, event) else { continue };
            let _ =
                writeln!(table, "{:<24}{:<24}{:<14}{}", start.label(), event.label(), to, sent.join(", "));
        }
    }
    table += "\nour side \\ their side    open                     closed\n";
    for (ours, starts) in [
        ("open", [vec![Start::Established], vec![Start::CloseWait]]),
        ("closing", [vec![Start::FinWait1], vec![Start::Closing, Start::LastAck]]),
        ("closed", [vec![Start::FinWait2], vec![Start::TimeWait]]),
    ] {
        let cells = starts.map(|starts| {
            let names: Vec<String> =
                starts.into_iter().map(|start| state_of(&mut start.reach(), "")).collect();
            names.join(" or ")
        });
        let _ = writeln!(table, "{ours:<25}{:<25}{}", cells[0], cells[1]);
    }
    let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
    snapshot("states", &lines.join("\n"));
}
