//! What applications do with their connections: write so much in such pieces, read at such a pace, then close.

use std::time::Duration;

use tunstack::rng::Rng;
use tunstack::sim::NodeId;
use tunstack::time::Instant;

use super::host::{Conn, Host, Io};
use crate::support::seeds::pattern_bytes;

/// What one end of a connection is to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Bytes to write, as stream `stream` of the pattern.
    pub(crate) send: u64,
    pub(crate) stream: u64,
    /// Bytes that will be read, and their stream.
    pub(crate) expect: u64,
    pub(crate) expect_stream: u64,
    /// Largest single write and read.
    pub(crate) write_size: u32,
    pub(crate) read_size: u32,
    /// Longest pause after a write or read; zero for none.
    pub(crate) write_pause: Duration,
    pub(crate) read_pause: Duration,
    /// Begin to write only after the peer's end of stream has been read (half-close the other way round).
    pub(crate) answer_after_eof: bool,
}

/// One end of a connection at work.
pub(crate) struct End {
    pub(crate) host: NodeId,
    pub(crate) peer: NodeId,
    pub(crate) conn: Conn,
    pub(crate) plan: Plan,
    /// Something has happened after which the connection may fail: a peer has forgotten it, or time has run out.
    pub(crate) may_fail: bool,
    rng: Rng,
    opened: bool,
    written: u64,
    read: u64,
    finished: bool,
    saw_eof: bool,
    over: Option<Over>,
    next_write: Instant,
    next_read: Instant,
}

/// How an application came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// All was written, read and closed.
    Done,
    /// The connection failed, or was thrown away, where it may.
    Failed(String),
    /// Its host is no more.
    Gone,
}

impl End {
    pub(crate) fn new(host: NodeId, peer: NodeId, conn: Conn, plan: Plan, opened: bool, seed: u64) -> End {
        End {
            host,
            peer,
            conn,
            plan,
            may_fail: false,
            rng: Rng::from_number(seed),
            opened,
            written: 0,
            read: 0,
            finished: false,
            saw_eof: false,
            over: None,
            next_write: Instant::ZERO,
            next_read: Instant::ZERO,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Whether the connection was open at both ends, as far as this one can know.
    pub(crate) fn has_heard(&self) -> bool {
        self.opened && self.read > 0
    }

    /// Whether it ended without having written and read all.
    pub(crate) fn failed(&self) -> bool {
        self.over.as_ref().is_some_and(|over| *over != Over::Done)
    }

    /// Bytes read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read
    }

    /// The host is no more, and with it the application.
    pub(crate) fn host_is_gone(&mut self) {
        self.over.get_or_insert(Over::Gone);
    }

    /// Throws the connection away: nothing will come of it.
    pub(crate) fn give_up(&mut self, host_now: Instant, host: &mut dyn Host) {
        if self.over.is_none() {
            host.abort(host_now, self.conn);
            self.over = Some(Over::Failed("given up".to_owned()));
        }
    }

    /// When the application wants to run although nothing has happened.
    pub(crate) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        [self.next_write, self.next_read].into_iter().filter(|at| *at > now).min()
    }

    /// Does what can be done at `now`, which is `host_now` to the host; `true` if that was anything.
    pub(crate) fn run(&mut self, now: Instant, host_now: Instant, host: &mut dyn Host) -> bool {
        if self.is_over() {
            return false;
        }
        let mut any = false;
        let tried = self.try_to_run(now, host_now, host, &mut any);
        if let Err(what) = tried {
            assert!(self.may_fail, "{what}: {}", self.describe());
            host.release(host_now, self.conn);
            self.over = Some(Over::Failed(what));
            return true;
        }
        if self.saw_eof && self.finished {
            host.release(host_now, self.conn);
            self.over = Some(Over::Done);
            return true;
        }
        any
    }

    fn try_to_run(
        &mut self,
        now: Instant,
        host_now: Instant,
        host: &mut dyn Host,
        any: &mut bool,
    ) -> Result<(), String> {
        if !self.opened {
            match host.opened(self.conn) {
                Io::Done(_) => self.opened = true,
                Io::Block => return Ok(()),
                Io::Failed(error) => return Err(format!("opening failed: {error}")),
            }
        }
        self.run_reader(now, host_now, host, any)?;
        self.run_writer(now, host_now, host, any)
    }

    fn run_writer(
        &mut self,
        now: Instant,
        host_now: Instant,
        host: &mut dyn Host,
        any: &mut bool,
    ) -> Result<(), String> {
        if self.plan.answer_after_eof && !self.saw_eof {
            return Ok(());
        }
        while self.written < self.plan.send && now >= self.next_write {
            let most = u64::from(self.rng.within(1..=self.plan.write_size));
            let len = most.min(self.plan.send - self.written) as usize;
            match host.write(host_now, self.conn, &pattern_bytes(self.plan.stream, self.written, len)) {
                Io::Done(count) => {
                    assert!((1..=len).contains(&count), "{count} of {len} bytes written");
                    self.written += count as u64;
                    *any = true;
                    self.next_write = now + pause(&mut self.rng, self.plan.write_pause);
                }
                Io::Block => return Ok(()),
                Io::Failed(error) => return Err(format!("write failed: {error}")),
            }
        }
        if self.written == self.plan.send && !self.finished {
            if !host.finish(host_now, self.conn) {
                return Err("there was nothing left to close".to_owned());
            }
            self.finished = true;
            *any = true;
        }
        Ok(())
    }

    fn run_reader(
        &mut self,
        now: Instant,
        host_now: Instant,
        host: &mut dyn Host,
        any: &mut bool,
    ) -> Result<(), String> {
        while !self.saw_eof && now >= self.next_read {
            let mut out = vec![0; self.rng.within(1..=self.plan.read_size) as usize];
            match host.read(host_now, self.conn, &mut out) {
                Io::Done(0) => {
                    assert_eq!(self.read, self.plan.expect, "end of stream, but not all bytes");
                    self.saw_eof = true;
                    *any = true;
                }
                Io::Done(count) => {
                    let sent = pattern_bytes(self.plan.expect_stream, self.read, count);
                    assert!(out[..count] == sent, "bytes {}.. are not those that were sent", self.read);
                    self.read += count as u64;
                    assert!(self.read <= self.plan.expect, "more bytes read than written");
                    *any = true;
                    self.next_read = now + pause(&mut self.rng, self.plan.read_pause);
                }
                Io::Block => return Ok(()),
                Io::Failed(error) => return Err(format!("read failed: {error}")),
            }
        }
        Ok(())
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "node {} conn {}: wrote {}/{}{}, read {}/{}{}{}",
            self.host.0,
            self.conn,
            self.written,
            self.plan.send,
            if self.finished { " and closed" } else { "" },
            self.read,
            self.plan.expect,
            if self.saw_eof { " and the end" } else { "" },
            self.over.as_ref().map_or(String::new(), |over| format!(": {over:?}")),
        )
    }
}

fn pause(rng: &mut Rng, most: Duration) -> Duration {
    Duration::from_micros(u64::from(rng.within(0..=most.as_micros() as u32)))
}
