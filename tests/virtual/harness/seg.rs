//! How tests write a segment, and how a recorded one is printed: the same short line both ways.
//!
//! ```text
//! FLAGS SEQ[:END[/SIZE]] [ack N] [win N] [urg N] [<option,...>]
//! ```
//!
//! `FLAGS` is `-` or letters of `S F R P U A E C`. Sequence numbers are relative to the sender's initial one, so
//! that a SYN stands at 0 and the first byte of text at 1; they may be negative. `END` is past the last byte
//! of text (SYN and FIN not counted). `SIZE` marks a super-segment: it stands for segments of so much text. `win` is the field as it stands on the wire. Options: `mss N`, `ws N`, `sackok`,
//! `sack FROM:TO ...`, `ts VALUE ECHO`, `nop`, `eol`, `opt KIND HEX`, `raw HEX`; `<>` says that there are none. Blocks are in
//! the receiver's sequence numbers, relative like its ACK number; the stack's timestamps are told from the first that it
//! sends on, the peer's as they are.
//!
//! What an expectation leaves out is not compared, but for the ACK number and the length.

use std::fmt::Write as _;

use crate::support::wire::{self, LETTERS, Opt, Tcp, flags_text};

/// The numbers that a side began with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) iss: u32,
    /// Its first timestamp.
    pub(crate) stamp: u32,
}

/// An option with the numbers moved by what `by` makes of the origins. An echo of zero is none.
fn renumbered(option: Opt, by: impl Fn(u32) -> u32, sender: Origin, receiver: Origin) -> Opt {
    let move_by = |number: u32, origin: u32| number.wrapping_add(by(origin));
    match option {
        Opt::Sack(blocks) => {
            let moved = |(left, right)| (move_by(left, receiver.iss), move_by(right, receiver.iss));
            Opt::Sack(blocks.into_iter().map(moved).collect())
        }
        Opt::Timestamps(value, echo) => {
            Opt::Timestamps(move_by(value, sender.stamp), move_by(echo, receiver.stamp))
        }
        other => other,
    }
}

/// A segment in relative numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seg {
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) len: usize,
    pub(crate) size: Option<usize>,
    pub(crate) ack: Option<u32>,
    pub(crate) win: Option<u16>,
    pub(crate) urg: Option<u16>,
    pub(crate) options: Option<Vec<Opt>>,
}

impl Seg {
    /// Reads the line described above.
    pub(crate) fn parse(line: &str) -> Seg {
        try_parse(line).unwrap_or_else(|| panic!("not a segment: {line:?}"))
    }

    /// A recorded segment, in numbers relative to those that its sender and its receiver began with.
    pub(crate) fn of(tcp: &Tcp, sender: Origin, receiver: Origin) -> Seg {
        let options = Opt::decode_all(&tcp.options).into_iter();
        let relative = |option| renumbered(option, |iss| iss.wrapping_neg(), sender, receiver);
        Seg {
            flags: tcp.flags,
            seq: tcp.seq.wrapping_sub(sender.iss),
            len: tcp.payload.len(),
            size: tcp.gso_size,
            ack: tcp.has(wire::ACK).then(|| tcp.ack.wrapping_sub(receiver.iss)),
            win: Some(tcp.window),
            urg: tcp.has(wire::URG).then_some(tcp.urgent),
            options: Some(options.map(relative).collect()),
        }
    }

    /// The options as they stand on the wire.
    pub(crate) fn options_on_wire(&self, sender: Origin, receiver: Origin) -> Vec<Opt> {
        let options = self.options.iter().flatten().cloned();
        options.map(|option| renumbered(option, |iss| iss, sender, receiver)).collect()
    }

    /// Whether `actual` is as this expectation says.
    pub(crate) fn matches(&self, actual: &Seg) -> bool {
        self.flags == actual.flags
            && self.seq == actual.seq
            && self.len == actual.len
            && self.size == actual.size
            && self.ack == actual.ack
            && (self.win.is_none() || self.win == actual.win)
            && (self.urg.is_none() || self.urg == actual.urg)
            && (self.options.is_none() || self.options == actual.options)
    }

    /// The line, in columns.
    pub(crate) fn line(&self) -> String {
        let flags = flags_text(self.flags);
        let seq = self.seq as i32;
        let mut line = match self.len {
            0 => format!("{flags:<3} {seq}"),
            len => format!("{flags:<3} {seq}:{}", i64::from(seq) + len as i64),
        };
        if let Some(size) = self.size {
            let _ = write!(line, "/{size}");
        }
        if let Some(ack) = self.ack {
            let _ = write!(line, "{:pad$} ack {}", "", ack as i32, pad = 19usize.saturating_sub(line.len()));
        }
        if let Some(win) = self.win {
            let _ = write!(line, "{:pad$} win {win}", "", pad = 32usize.saturating_sub(line.len()));
        }
        if let Some(urg) = self.urg {
            let _ = write!(line, " urg {urg}");
        }
        if let Some(options) = self.options.as_ref().filter(|options| !options.is_empty()) {
            let texts: Vec<String> = options.iter().map(option_text).collect();
            let _ = write!(line, " <{}>", texts.join(","));
        }
        line
    }
}

fn option_text(option: &Opt) -> String {
    match option {
        Opt::End => "eol".into(),
        Opt::Nop => "nop".into(),
        Opt::Mss(mss) => format!("mss {mss}"),
        Opt::WindowScale(shift) => format!("ws {shift}"),
        Opt::SackPermitted => "sackok".into(),
        Opt::Sack(blocks) => blocks
            .iter()
            .fold("sack".into(), |text, (left, right)| format!("{text} {}:{}", *left as i32, *right as i32)),
        Opt::Timestamps(value, echo) => format!("ts {} {}", *value as i32, *echo as i32),
        Opt::Other { kind, body } => format!("opt {kind} {}", hex(body)),
        Opt::Raw(bytes) => format!("raw {}", hex(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn try_parse(line: &str) -> Option<Seg> {
    let (head, options) = match line.split_once('<') {
        Some((head, rest)) => (head, Some(parse_options(rest.trim().strip_suffix('>')?)?)),
        None => (line, None),
    };
    let mut words = head.split_whitespace();
    let mut flags = 0;
    for letter in words.next()?.chars().filter(|letter| *letter != '-') {
        flags |= LETTERS.iter().find(|(name, _)| *name == letter)?.1;
    }
    let (place, size) = match words.next()?.split_once('/') {
        Some((place, size)) => (place, Some(size.parse().ok()?)),
        None => (head.split_whitespace().nth(1)?, None),
    };
    let (seq, len) = match place.split_once(':') {
        Some((from, to)) => {
            let from: i64 = from.parse().ok()?;
            (from, usize::try_from(to.parse::<i64>().ok()? - from).ok()?)
        }
        None => (0, 0),
    };
    let seq = if len == 0 { head.split_whitespace().nth(1)?.split(':').next()?.parse().ok()? } else { seq };
    let mut seg = Seg { flags, seq: seq as u32, len, size, ack: None, win: None, urg: None, options };
    while let Some(word) = words.next() {
        let value: i64 = words.next()?.parse().ok()?;
        match word {
            "ack" => seg.ack = Some(value as u32),
            "win" => seg.win = Some(value.try_into().ok()?),
            "urg" => seg.urg = Some(value.try_into().ok()?),
            _ => return None,
        }
    }
    Some(seg)
}

fn parse_options(text: &str) -> Option<Vec<Opt>> {
    let mut options = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let mut words = item.split_whitespace();
        options.push(match words.next()? {
            "mss" => Opt::Mss(words.next()?.parse().ok()?),
            "ws" => Opt::WindowScale(words.next()?.parse().ok()?),
            "sackok" => Opt::SackPermitted,
            "sack" => {
                let edge = |text: &str| text.parse::<i64>().ok().map(|edge| edge as u32);
                let block = |(left, right)| Some((edge(left)?, edge(right)?));
                Opt::Sack(
                    words.by_ref().map(|text| text.split_once(':').and_then(block)).collect::<Option<_>>()?,
                )
            }
            "ts" => {
                let mut stamp = || words.next()?.parse::<i64>().ok().map(|stamp| stamp as u32);
                Opt::Timestamps(stamp()?, stamp()?)
            }
            "nop" => Opt::Nop,
            "eol" => Opt::End,
            "opt" => Opt::Other {
                kind: words.next()?.parse().ok()?,
                body: words.next().map_or(Some(Vec::new()), parse_hex)?,
            },
            "raw" => Opt::Raw(parse_hex(words.next()?)?),
            _ => return None,
        });
    }
    Some(options)
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[test]
fn a_line_reads_back_as_it_was_written() {
    for line in [
        "SA  0               ack 1       win 65535 <mss 1460,nop,ws 7>",
        "PA  1:1461          ack -3      win 12",
        "A   1:14601/1460    ack 1       win 12",
        "R   5",
        "UA  1:3             ack 1       win 0 urg 2 <opt 254 abcd>",
        "A   1               ack 1 <nop,nop,ts 5 -3,sack 1001:2001 -5:-2>",
        "-   -1:4",
    ] {
        assert_eq!(
            Seg::parse(line).line().split_whitespace().collect::<Vec<_>>(),
            line.split_whitespace().collect::<Vec<_>>()
        );
    }
}
