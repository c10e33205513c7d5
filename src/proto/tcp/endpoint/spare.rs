//! Memory of what is over, for what comes next.
//!
//! Owns boxes, and no more of them than [`Spare::MOST`] of a kind: a stack that opens and closes connections all day asks
//! its allocator for none, and one that a crowd has left keeps little of what the crowd took.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Connection, Handshake, Settled};
use crate::proto::buf::pages::Pool;
use crate::proto::config::Config;
use crate::proto::tcp::send::Room;
use crate::time::Instant;

/// Boxes that nobody uses.
#[derive(Debug, Default)]
pub(super) struct Spare {
    /// Each with what it has of memory beside.
    connections: Vec<(Box<Connection>, Room)>,
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    handshakes: Vec<Box<Handshake>>,
}

impl Spare {
    /// Boxes of a kind that are kept: 160 KiB at most, with what connections have of memory beside their pages. As many
    /// connections may end before another begins.
    const MOST: usize = 64;

    /// A connection that begins.
    pub(super) fn connection(&mut self, config: &Config, settled: &Settled, now: Instant) -> Box<Connection> {
        match self.connections.pop() {
            Some((mut connection, room)) => {
                connection.renew(config, settled, now, room);
                connection
            }
            None => Box::new(Connection::new(config, settled, now)),
        }
    }

    /// Takes back a connection that is over.
    pub(super) fn take_connection(&mut self, mut connection: Box<Connection>, pool: &mut Pool) {
        let room = connection.retire(pool);
        if self.connections.len() < Self::MOST {
            self.connections.push((connection, room));
        }
    }

    /// A box for a handshake.
    pub(super) fn handshake(&mut self, handshake: Handshake) -> Box<Handshake> {
        match self.handshakes.pop() {
            Some(mut place) => {
                *place = handshake;
                place
            }
            None => Box::new(handshake),
        }
    }

    /// Takes back the box of a handshake that has come to its end.
    pub(super) fn take_handshake(&mut self, handshake: Box<Handshake>) {
        if self.handshakes.len() < Self::MOST {
            self.handshakes.push(handshake);
        }
    }
}
