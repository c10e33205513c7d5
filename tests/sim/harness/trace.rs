//! What happens, one line an event. The legend is in docs/simulation.md.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::time::Duration;

use tunstack::sim::Fate;

use crate::support::wire::{self, flags_text};

/// The last lines, for a failure's report, and all of them in a file if `SIM_TRACE` names one.
#[derive(Debug)]
pub(crate) struct Trace {
    tail: VecDeque<String>,
    file: Option<BufWriter<File>>,
}

const TAIL: usize = 60;

impl Trace {
    pub(crate) fn new() -> Trace {
        let file = std::env::var_os("SIM_TRACE").map(|path| {
            let file = File::create(&path).unwrap_or_else(|error| panic!("SIM_TRACE: {path:?}: {error}"));
            BufWriter::new(file)
        });
        Trace { tail: VecDeque::new(), file }
    }

    /// A packet has left a node or come to one, which the mark tells.
    pub(crate) fn packet(&mut self, time: Duration, mark: Mark, node: usize, packet: &[u8]) {
        let mut line = start(time, mark.letters(), node);
        describe(&mut line, packet);
        self.keep(line);
    }

    /// Something else has happened, at a node.
    pub(crate) fn event(&mut self, time: Duration, node: usize, what: &str) {
        let mut line = start(time, "***", node);
        line += what;
        self.keep(line);
    }

    pub(crate) fn tail(&self) -> impl Iterator<Item = &str> {
        self.tail.iter().map(String::as_str)
    }

    fn keep(&mut self, line: String) {
        if let Some(file) = &mut self.file {
            writeln!(file, "{line}").expect("the trace can be written");
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Sent(Fate),
    Arrived,
}

impl Mark {
    pub(crate) fn letters(self) -> &'static str {
        match self {
            Mark::Arrived => "<--",
            Mark::Sent(Fate::Carried) => "-->",
            Mark::Sent(Fate::Lost) => "-x ",
            Mark::Sent(Fate::Overflowed) => "-q ",
            Mark::Sent(Fate::TooLarge) => "-m ",
            Mark::Sent(Fate::Interrupted) => "-/ ",
        }
    }
}

fn start(time: Duration, mark: &str, node: usize) -> String {
    format!("{:>14.6} {node:>2} {mark} ", time.as_secs_f64())
}

/// A packet in a few words.
fn describe(line: &mut String, packet: &[u8]) {
    let Some(tcp) = wire::tcp_if_intact(packet) else {
        let what = match (packet.first().map(|first| first >> 4), packet.get(9), packet.get(6)) {
            (Some(4), Some(protocol), _) | (Some(6), _, Some(protocol)) => format!("protocol {protocol}"),
            _ => "no packet".to_owned(),
        };
        let _ = write!(line, "{what:<45} {:>5} bytes", packet.len());
        return;
    };
    let _ = write!(
        line,
        "{:>22} > {:<22} {:<4} {:>10}:{:<+6} ack {:>10} win {:>5}",
        tcp.src,
        tcp.dst,
        flags_text(tcp.flags),
        tcp.seq,
        tcp.payload.len(),
        tcp.ack,
        tcp.window
    );
}
