//! The same four services over UDP: a datagram comes, at most one goes back.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;

use super::super::serve::ServiceKind;
use super::CHUNK;
use super::chargen::{PERIOD, pattern};
use super::daytime;
use crate::proto::{Error, Event, Owner, SocketId, Stack, UdpId};
use crate::rng::Rng;
use crate::runtime::Service;
use crate::time::Instant;

/// The longest answer of the character generator (RFC 864).
const CHARGEN_LEN_MAX: usize = 512;

/// One service on one port.
pub(super) struct UdpService {
    kind: ServiceKind,
    name: String,
    locals: Vec<SocketAddr>,
    sockets: Vec<UdpId>,
    guarded: GuardedPorts,
    scratch: Box<[u8]>,
    answers: Answers,
}

impl UdpService {
    pub(super) fn new(kind: ServiceKind, port: u16, addrs: &[IpAddr], guarded: GuardedPorts) -> Self {
        UdpService {
            kind,
            name: format!("{} on UDP port {port}", kind.name()),
            locals: addrs.iter().map(|addr| SocketAddr::new(*addr, port)).collect(),
            sockets: Vec::new(),
            guarded,
            scratch: vec![0; CHUNK].into_boxed_slice(),
            answers: Answers::new(0),
        }
    }

    fn close_sockets(&mut self, stack: &mut Stack, now: Instant) {
        for socket in self.sockets.drain(..) {
            stack.udp_close(now, socket);
        }
    }

    fn answer_all(&mut self, stack: &mut Stack, socket: UdpId, now: Instant) {
        loop {
            let (len, from) = match stack.udp_recv_from(socket, &mut self.scratch) {
                Ok(received) => received,
                Err(Error::WouldBlock | Error::NoSuchSocket) => return,
                // An ICMP error about an answer given before: the next datagram waits behind it.
                Err(_) => continue,
            };
            if self.guarded.contains(from.port()) {
                log::debug!("{}: no answer to {from}, which is a service's port", self.name);
                continue;
            }
            let datagram = self.scratch.get(..len).unwrap_or_default();
            let Some(answer) = self.answers.to(self.kind, datagram) else { continue };
            // What finds no room is lost, as datagrams may be.
            if let Err(error) = stack.udp_send_to(now, socket, answer, Some(from)) {
                log::debug!("{}: answer to {from}: {error}", self.name);
            }
        }
    }
}

impl Service for UdpService {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(&mut self, stack: &mut Stack, owner: Owner, now: Instant) -> io::Result<()> {
        self.answers = Answers::new(now.as_nanos());
        for local in &self.locals {
            match stack.udp_bind(now, *local, owner) {
                Ok(socket) => self.sockets.push(socket),
                Err(error) => {
                    self.close_sockets(stack, now);
                    return Err(io::Error::from(error));
                }
            }
        }
        Ok(())
    }

    fn on_event(&mut self, stack: &mut Stack, event: Event, now: Instant) {
        match event.socket {
            SocketId::Udp(socket) => self.answer_all(stack, socket, now),
            SocketId::Tcp(_) | SocketId::Listener(_) | SocketId::Ping(_) | SocketId::Raw(_) => {}
        }
    }

    fn on_closing(&mut self, stack: &mut Stack, now: Instant) {
        self.close_sockets(stack, now);
    }
}

/// Ports whose datagrams are not answered. A datagram forged to come from one service to another (or to
/// itself) would otherwise set the two upon each other for ever (CVE-1999-0103).
#[derive(Clone, Debug)]
pub(super) struct GuardedPorts(Arc<[u16]>);

impl GuardedPorts {
    /// Services that are known to answer anything: echo, discard, systat, daytime, netstat, quote of the day,
    /// chargen and time. Port 0 can't be answered at all.
    const WELL_KNOWN: [u16; 9] = [0, 7, 9, 11, 13, 15, 17, 19, 37];

    /// The well-known ones and those that our own services run on.
    pub(super) fn new(own: impl Iterator<Item = u16>) -> Self {
        let mut ports: Vec<u16> = Self::WELL_KNOWN.into_iter().chain(own).collect();
        ports.sort_unstable();
        ports.dedup();
        GuardedPorts(ports.into())
    }

    fn contains(&self, port: u16) -> bool {
        self.0.binary_search(&port).is_ok()
    }
}

/// What the services say.
struct Answers {
    rng: Rng,
    pattern: Box<[u8]>,
    line: daytime::Line,
}

impl Answers {
    /// The seed decides the lengths of the character generator's answers; nobody must be kept from guessing them.
    fn new(seed: u64) -> Self {
        Answers {
            rng: Rng::from_number(seed),
            pattern: pattern(PERIOD + CHARGEN_LEN_MAX),
            line: daytime::Line::new(),
        }
    }

    fn to<'a>(&'a mut self, kind: ServiceKind, datagram: &'a [u8]) -> Option<&'a [u8]> {
        match kind {
            ServiceKind::Echo => Some(datagram),
            ServiceKind::Discard => None,
            ServiceKind::Daytime => {
                self.line = daytime::line(Timestamp::now());
                Some(&self.line)
            }
            ServiceKind::Chargen => {
                let len = self.rng.within(0..=CHARGEN_LEN_MAX as u32) as usize;
                self.pattern.get(..len)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_ports_are_guarded_wherever_they_run() {
        let guarded = GuardedPorts::new([7777, 7].into_iter());
        for port in [0, 7, 9, 13, 19, 7777] {
            assert!(guarded.contains(port), "{port}");
        }
        for port in [1, 8, 53, 40000] {
            assert!(!guarded.contains(port), "{port}");
        }
    }

    #[test]
    fn each_service_answers_in_its_own_manner() {
        let mut answers = Answers::new(1);
        assert_eq!(answers.to(ServiceKind::Echo, b"hello"), Some(&b"hello"[..]));
        assert_eq!(answers.to(ServiceKind::Echo, b""), Some(&b""[..]));
        assert_eq!(answers.to(ServiceKind::Discard, b"hello"), None);
        assert!(answers.to(ServiceKind::Daytime, b"").is_some_and(|line| line.ends_with(b"-UTC\r\n")));
    }

    #[test]
    fn chargens_answers_have_random_lengths_up_to_512() {
        let mut answers = Answers::new(1);
        let lens: Vec<usize> =
            (0..4000).filter_map(|_| answers.to(ServiceKind::Chargen, b"").map(<[u8]>::len)).collect();
        assert_eq!(lens.len(), 4000);
        assert_eq!((lens.iter().min(), lens.iter().max()), (Some(&0), Some(&512)));
        assert_eq!(
            answers.to(ServiceKind::Chargen, b"").map(|answer| answer.starts_with(b" !\"")),
            Some(true)
        );
    }
}
