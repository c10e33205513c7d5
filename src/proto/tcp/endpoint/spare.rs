//! Memory of what is over, for what comes next.
//!
//! Owns boxes, and no more of them than [`Spare::MOST`] of a kind: a stack that opens and closes connections all day asks
//! its allocator for none, and one that a crowd has left keeps little of what the crowd took.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Connection, Handshake, Settled, SocketOptions};
use crate::proto::buf::pages::Pool;
use crate::proto::config::Config;
use crate::proto::context::Context;
use crate::proto::events::Readiness;
use crate::time::Instant;

/// Boxes that nobody uses.
#[derive(Debug, Default)]
pub(super) struct Spare {
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    connections: Vec<Box<Connection>>,
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    handshakes: Vec<Box<Handshake>>,
}

impl Spare {
    /// Boxes of a kind that are kept: 160 KiB at most, with what connections have of memory beside their pages. As many
    /// connections may end before another begins.
    const MOST: usize = 64;

    /// A connection that is open now, and can be written to.
    pub(super) fn connection(
        &mut self,
        ctx: &mut Context,
        settled: &Settled,
        options: &SocketOptions,
    ) -> Box<Connection> {
        let mut connection = self.begun(&ctx.config, settled, ctx.now);
        connection.signals |= Readiness::WRITABLE;
        connection.limit_unsent(options.notsent_lowat);
        connection.rcv.follow_memory(&mut ctx.pool);
        connection
    }

    /// One that begins.
    fn begun(&mut self, config: &Config, settled: &Settled, now: Instant) -> Box<Connection> {
        match self.connections.pop() {
            Some(mut connection) => {
                connection.renew(config, settled, now);
                connection
            }
            None => made(config, settled, now),
        }
    }

    /// Takes back a connection that is over.
    pub(super) fn take_connection(&mut self, mut connection: Box<Connection>, pool: &mut Pool) {
        connection.retire(pool);
        if self.connections.len() < Self::MOST {
            self.connections.push(connection);
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

/// One in memory that nobody had before.
// Apart, since that is seldom, and long.
#[cold]
#[inline(never)]
fn made(config: &Config, settled: &Settled, now: Instant) -> Box<Connection> {
    Box::new(Connection::new(config, settled, now))
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::proto::error::Error;
    use crate::proto::ip::testing::World;
    use crate::proto::tcp::recv::Text;
    use crate::proto::tcp::send::SendStart;
    use crate::proto::tcp::send::acked::Acknowledgement;
    use crate::proto::tcp::seq::{RcvPos, SndPos};
    use crate::proto::tcp::timestamps::{TimestampClock, Timestamps};
    use crate::proto::wire::tcp::SeqNr;

    /// What a handshake has settled; all of it follows from the number.
    fn settled(number: u32, now: Instant) -> Settled {
        let (syn, is_odd) = (RcvPos::of_syn(SeqNr(7 * number)), number % 2 == 1);
        let clock = TimestampClock::ahead_by(number << 20);
        Settled {
            snd: SendStart {
                syn: SndPos::of_syn(SeqNr(number)),
                mss: 1_000 + u64::from(number),
                wnd: 10_000 + u64::from(number),
                scale: number as u8,
                wl1: syn,
                rtt: is_odd.then(|| 1_000_000 * u64::from(number)),
                sack: is_odd,
                clock: is_odd.then_some(clock),
            },
            rcv_first: syn.plus(1),
            rcv_offered: 20_000 + number as u16,
            rcv_scale: number as u8,
            peer_mss: 1_100 + u64::from(number),
            timestamps: is_odd.then(|| Timestamps::new(clock, number, now)),
        }
    }

    /// It sends: of four segments one is acknowledged, and with SACK one is lost, one reported, and one on its way. It hears
    /// what comes next, which is read, and what comes too early.
    fn live(connection: &mut Connection, first: RcvPos, world: &mut World) {
        connection.rcv.follow_memory(&mut world.pool);
        let mut ends = Vec::new();
        for text in ["text", "another text", "a third one", "more"] {
            assert_eq!(connection.snd.write(text.as_bytes(), &mut world.pool, world.now), text.len());
            let plan = connection.snd.plan(true, 0, u64::MAX).unwrap();
            connection.snd.commit(&plan, world.now);
            ends.push(plan.end());
            world.now += Duration::from_millis(1);
        }
        let ctx = world.ctx();
        let said = Acknowledgement {
            ack: ends[0],
            seq: first,
            wnd: 5_000,
            is_bare: true,
            at: ctx.now,
            sack: core::iter::once(ends[1].get()..ends[2].get()).collect(),
            echo: None,
        };
        connection.snd.acknowledge(&said, &mut ctx.pool, &mut ctx.counters);
        assert_eq!(connection.snd.outstanding(), 27);
        assert_eq!(connection.rcv.segment(ctx, first, b"heard", false, 5), Text::InOrder);
        assert_eq!(connection.rcv.segment(ctx, first.plus(9), b"early", false, 5), Text::Ahead);
        assert_eq!(connection.rcv.consume(9, &mut ctx.pool, ctx.now), 5);
    }

    #[test]
    fn a_connection_that_is_over_tells_what_it_told_when_it_ended() {
        let mut world = World::new();
        let settled = settled(3, world.now);
        let mut connection = Connection::new(&world.config, &settled, world.now);
        live(&mut connection, settled.rcv_first, &mut world);
        let options = SocketOptions::new(&world.config);
        let told = |connection: &Connection| {
            let info = connection.info(&options);
            (info.unacknowledged, info.lost, info.sacked)
        };
        let before = told(&connection);
        assert!(before.2 > 0);
        connection.release(world.ctx());
        assert_eq!(told(&connection), before);
        connection.retire(&mut world.pool);
    }

    #[test]
    fn a_spare_connection_keeps_nothing_that_its_peer_has_made_grow() {
        let (mut world, mut spare) = (World::new(), Spare::default());
        let settled = settled(3, world.now);
        let mut connection = Box::new(Connection::new(&world.config, &settled, world.now));
        live(&mut connection, settled.rcv_first, &mut world);
        // What is lost goes again, in as many pieces as the peer has reported holes.
        let again = connection.snd.plan(true, 0, u64::MAX).unwrap();
        connection.snd.commit(&again, world.now);
        assert!(format!("{connection:?}").contains("unexplained: Some(Ranges { ranges: [429"));
        connection.close(world.ctx(), None);
        connection.release(world.ctx());
        spare.take_connection(connection, &mut world.pool);
        let kept = format!("{:?}", spare.connections);
        // Positions here are all of ten digits, and begin with a 4.
        assert!(!kept.contains("ranges: [4") && !kept.contains("latest: [4"), "{kept}");
    }

    #[test]
    fn a_connection_in_the_memory_of_another_is_as_if_there_had_been_none() {
        let mut world = World::new();
        let mut spare = Spare::default();
        for (old, new) in [(2, 3), (3, 4), (4, 6), (5, 7)] {
            let before = settled(old, world.now);
            let mut connection = Box::new(Connection::new(&world.config, &before, world.now));
            live(&mut connection, before.rcv_first, &mut world);
            connection.soft_error = Some(Error::TimedOut);
            connection.signals = Readiness::ERROR;
            connection.received_tos = 8;
            assert_eq!(connection.close(world.ctx(), None), None);
            connection.release(world.ctx());
            let place = &raw const *connection;
            spare.take_connection(connection, &mut world.pool);
            assert_eq!(spare.connections.len(), 1);

            world.now += Duration::from_secs(1);
            let after = settled(new, world.now);
            let renewed = spare.begun(&world.config, &after, world.now);
            assert!(spare.connections.is_empty());
            assert_eq!(&raw const *renewed, place);
            let fresh = Connection::new(&world.config, &after, world.now);
            assert_eq!(format!("{renewed:?}"), format!("{fresh:?}"));
        }
    }
}
