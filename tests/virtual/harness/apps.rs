//! What applications do with their connections: write so much in such pieces, read at such a pace, then close.

use std::time::Duration;

use tunstack::rng::Rng;
use tunstack::time::Instant;

use super::host::{Conn, Host, Io};
use super::seeds::pattern_bytes;

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
    pub(crate) host: usize,
    pub(crate) conn: Conn,
    pub(crate) plan: Plan,
    rng: Rng,
    opened: bool,
    written: u64,
    read: u64,
    finished: bool,
    saw_eof: bool,
    released: bool,
    next_write: Instant,
    next_read: Instant,
}

impl End {
    pub(crate) fn new(host: usize, conn: Conn, plan: Plan, opened: bool, seed: u64) -> End {
        End {
            host,
            conn,
            plan,
            rng: Rng::from_number(seed),
            opened,
            written: 0,
            read: 0,
            finished: false,
            saw_eof: false,
            released: false,
            next_write: Instant::ZERO,
            next_read: Instant::ZERO,
        }
    }

    pub(crate) fn done(&self) -> bool {
        self.released
    }

    /// When the application wants to run although nothing has happened.
    pub(crate) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        if self.released {
            return None;
        }
        [self.next_write, self.next_read].into_iter().filter(|at| *at > now).min()
    }

    /// Does what can be done now; `true` if that was anything.
    pub(crate) fn run(&mut self, now: Instant, host: &mut dyn Host) -> bool {
        if self.released {
            return false;
        }
        if !self.opened {
            match host.opened(self.conn) {
                Io::Done(_) => self.opened = true,
                Io::Block => return false,
                Io::Failed(error) => panic!("opening failed: {error}"),
            }
        }
        let read = self.run_reader(now, host);
        let wrote = self.run_writer(now, host);
        if self.saw_eof && self.finished {
            host.release(now, self.conn);
            self.released = true;
            return true;
        }
        read || wrote
    }

    fn run_writer(&mut self, now: Instant, host: &mut dyn Host) -> bool {
        let mut any = false;
        if self.plan.answer_after_eof && !self.saw_eof {
            return false;
        }
        while self.written < self.plan.send && now >= self.next_write {
            let most = u64::from(self.rng.within(1..=self.plan.write_size));
            let len = most.min(self.plan.send - self.written) as usize;
            match host.write(now, self.conn, &pattern_bytes(self.plan.stream, self.written, len)) {
                Io::Done(count) => {
                    assert!((1..=len).contains(&count), "{count} of {len} bytes written");
                    self.written += count as u64;
                    any = true;
                    self.next_write = now + pause(&mut self.rng, self.plan.write_pause);
                }
                Io::Block => return any,
                Io::Failed(error) => panic!("write failed after {} bytes: {error}", self.written),
            }
        }
        if self.written == self.plan.send && !self.finished {
            host.finish(now, self.conn);
            self.finished = true;
            any = true;
        }
        any
    }

    fn run_reader(&mut self, now: Instant, host: &mut dyn Host) -> bool {
        let mut any = false;
        while !self.saw_eof && now >= self.next_read {
            let mut out = vec![0; self.rng.within(1..=self.plan.read_size) as usize];
            match host.read(now, self.conn, &mut out) {
                Io::Done(0) => {
                    assert_eq!(self.read, self.plan.expect, "end of stream, but not all bytes");
                    self.saw_eof = true;
                    any = true;
                }
                Io::Done(count) => {
                    let sent = pattern_bytes(self.plan.expect_stream, self.read, count);
                    assert!(out[..count] == sent, "bytes {}.. are not those that were sent", self.read);
                    self.read += count as u64;
                    assert!(self.read <= self.plan.expect, "more bytes read than written");
                    any = true;
                    self.next_read = now + pause(&mut self.rng, self.plan.read_pause);
                }
                Io::Block => return any,
                Io::Failed(error) => panic!("read failed after {} bytes: {error}", self.read),
            }
        }
        any
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "host {} conn {}: wrote {}/{}{}, read {}/{}{}",
            self.host,
            self.conn,
            self.written,
            self.plan.send,
            if self.finished { " and closed" } else { "" },
            self.read,
            self.plan.expect,
            if self.saw_eof { " and the end" } else { "" },
        )
    }
}

fn pause(rng: &mut Rng, most: Duration) -> Duration {
    Duration::from_micros(u64::from(rng.within(0..=most.as_micros() as u32)))
}
