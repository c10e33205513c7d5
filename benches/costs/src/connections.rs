//! Requests and responses, and whole connections: what one costs the end that is looked at, when there were many before.

use std::time::Duration;

use tunstack::proto::stack::Shutdown;
use tunstack::proto::{Config, Error, ListenerId, TcpId};
use tunstack::time::Instant;

use crate::Cost;
use crate::meter::Meter;
use crate::pair::{Devices, End, Pair};

pub(crate) const COSTS: &[Cost] = &[
    ("request: answered, 1 connection", |meter| requests(meter, 1)),
    ("request: answered, 64 connections at once", |meter| requests(meter, 64)),
    ("connection: accepted, and the peer closes first", |meter| {
        connections(meter, Looked::Server, Looked::Client)
    }),
    ("connection: accepted, and we close first", |meter| connections(meter, Looked::Server, Looked::Server)),
    ("connection: opened, and the peer closes first", |meter| {
        connections(meter, Looked::Client, Looked::Server)
    }),
    ("connection: opened, and we close first", |meter| connections(meter, Looked::Client, Looked::Client)),
];

const REQUEST: [u8; 64] = [0x5a; 64];

/// Requests of 64 bytes on so many connections at once, and the server's echo.
fn requests(meter: &mut Meter, connections: usize) {
    let mut pair = Pair::new(&Config::default(), Devices::Offload);
    let listener = pair.listen();
    let pairs: Vec<(TcpId, TcpId)> = (0..connections).map(|_| pair.open(listener)).collect();
    let (warm, rounds) = (200, meter.scaled(1_000, 1_000_000) / connections + 1);
    for round in 0..warm + rounds {
        pair.pass(Duration::from_micros(100));
        let Pair { client, server, up, down, now } = &mut pair;
        for (ours, _) in &pairs {
            assert_eq!(client.stack.tcp_write(*now, *ours, &REQUEST), Ok(REQUEST.len()));
        }
        client.transmit(*now, up);
        let mut answer = || {
            up.deliver(server, *now);
            server.take_events();
            for (_, theirs) in &pairs {
                echo(server, *now, *theirs);
            }
            server.transmit(*now, down);
        };
        if round >= warm {
            meter.count(connections, answer);
        } else {
            answer();
        }
        assert_eq!(down.len(), connections, "a request has no response, or more than one");
        down.deliver(client, *now);
        client.take_events();
        for (ours, _) in &pairs {
            assert_eq!(client.stack.tcp_read(*now, *ours, &mut [0; 128]), Ok(REQUEST.len()));
        }
    }
}

/// Reads what has come, and writes it back.
fn echo(end: &mut End, now: Instant, id: TcpId) {
    let mut room = [0; 128];
    let len = end.stack.tcp_read(now, id, &mut room).expect("a request has come");
    assert_eq!(end.stack.tcp_read(now, id, &mut room), Err(Error::WouldBlock));
    assert_eq!(end.stack.tcp_write(now, id, &room[..len]), Ok(len));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looked {
    Client,
    Server,
}

/// A connection a millisecond, each with a request and a response. Those of the last second are in TIME-WAIT at the end that
/// closes first, and each time one of them expires.
fn connections(meter: &mut Meter, counted: Looked, closes_first: Looked) {
    let config = Config { msl: Duration::from_millis(500), ..Config::default() };
    let mut life = Life {
        pair: Pair::new(&config, Devices::Offload),
        listener: ListenerId::default(),
        counted,
        closes_first,
    };
    life.listener = life.pair.listen();
    let (warm, rounds) = (1_200, meter.scaled(300, 100_000));
    for _ in 0..warm {
        life.live(&mut Nobody);
    }
    for _ in 0..rounds {
        life.live(&mut Somebody(meter));
    }
    let (client, server) = (life.pair.client.stack.tcp_census(), life.pair.server.stack.tcp_census());
    assert_eq!(client.sockets + server.sockets, 0, "connections were left behind");
    let (waits, gone) = match closes_first {
        Looked::Client => (client.time_wait, server.time_wait),
        Looked::Server => (server.time_wait, client.time_wait),
    };
    assert!((900..1_100).contains(&waits) && gone == 0, "{waits} and {gone} are in TIME-WAIT");
}

/// Whether what is done is counted.
trait Watch {
    fn watch<T>(&mut self, times: usize, work: impl FnOnce() -> T) -> T;
}

struct Nobody;

impl Watch for Nobody {
    fn watch<T>(&mut self, _: usize, work: impl FnOnce() -> T) -> T {
        work()
    }
}

struct Somebody<'a>(&'a mut Meter);

impl Watch for Somebody<'_> {
    fn watch<T>(&mut self, times: usize, work: impl FnOnce() -> T) -> T {
        self.0.count(times, work)
    }
}

/// Connections, one after another.
struct Life {
    pair: Pair,
    listener: ListenerId,
    counted: Looked,
    closes_first: Looked,
}

impl Life {
    /// One connection, from its SYN to when both have let go of it.
    fn live(&mut self, watch: &mut impl Watch) {
        self.pair.now += Duration::from_millis(1);
        let now = self.pair.now;
        let listener = self.listener;
        let ours = self.client(watch, 1, move |end| {
            let remote = crate::pair::SERVER.parse().unwrap();
            end.stack.advance(now);
            end.stack.tcp_connect(now, None, remote, None, Default::default()).expect("a port is free")
        });
        self.server(watch, 1, move |end| end.stack.advance(now));
        self.client(watch, 0, move |end| {
            assert_eq!(end.stack.tcp_connect_result(ours), Ok(()));
            assert_eq!(end.stack.tcp_write(now, ours, &REQUEST), Ok(REQUEST.len()));
        });
        let theirs = self.server(watch, 0, move |end| {
            let (theirs, _) = end.stack.tcp_accept(now, listener).expect("a connection has come");
            echo(end, now, theirs);
            theirs
        });
        self.client(watch, 0, move |end| {
            assert_eq!(end.stack.tcp_read(now, ours, &mut [0; 128]), Ok(REQUEST.len()));
        });
        let ends = [(Looked::Client, ours), (Looked::Server, theirs)];
        let (first, second) = match self.closes_first {
            Looked::Client => (ends[0], ends[1]),
            Looked::Server => (ends[1], ends[0]),
        };
        self.end(watch, first.0, move |end| {
            end.stack.tcp_shutdown(now, first.1, Shutdown::Write).expect("it is open")
        });
        self.end(watch, second.0, move |end| {
            assert_eq!(end.stack.tcp_read(now, second.1, &mut [0; 128]), Ok(0));
            end.stack.tcp_close(now, second.1);
        });
        self.end(watch, first.0, move |end| {
            assert_eq!(end.stack.tcp_read(now, first.1, &mut [0; 128]), Ok(0));
            end.stack.tcp_close(now, first.1);
        });
        self.end(watch, second.0, |_| ());
    }

    fn end<T>(&mut self, watch: &mut impl Watch, which: Looked, verb: impl FnOnce(&mut End) -> T) -> T {
        match which {
            Looked::Client => self.client(watch, 0, verb),
            Looked::Server => self.server(watch, 0, verb),
        }
    }

    /// What has come reaches the client, the application does something, and what this causes goes out.
    fn client<T>(&mut self, watch: &mut impl Watch, times: usize, verb: impl FnOnce(&mut End) -> T) -> T {
        let is_counted = self.counted == Looked::Client;
        let Pair { client, up, down, now, .. } = &mut self.pair;
        let turn = || {
            down.deliver(client, *now);
            client.take_events();
            let done = verb(client);
            client.transmit(*now, up);
            done
        };
        if is_counted { watch.watch(times, turn) } else { turn() }
    }

    /// The same of the server.
    fn server<T>(&mut self, watch: &mut impl Watch, times: usize, verb: impl FnOnce(&mut End) -> T) -> T {
        let is_counted = self.counted == Looked::Server;
        let Pair { server, up, down, now, .. } = &mut self.pair;
        let turn = || {
            up.deliver(server, *now);
            server.take_events();
            let done = verb(server);
            server.transmit(*now, down);
            done
        };
        if is_counted { watch.watch(times, turn) } else { turn() }
    }
}
