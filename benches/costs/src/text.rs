//! Text in bulk, at the end that receives it and at the one that sends it, and what acknowledgements cost that.

use std::time::Duration;

use bytes::Bytes;
use tunstack::proto::{Config, Egress, Error, Sent, TcpId};

use crate::Cost;
use crate::meter::Meter;
use crate::pair::{Devices, End, Pair};

pub(crate) const COSTS: &[Cost] = &[
    ("text: segment of 1,448 bytes received", |meter| transfer(meter, Devices::Plain, Counted::Receiver)),
    ("text: segment of 1,448 bytes sent", |meter| transfer(meter, Devices::Plain, Counted::Sender)),
    ("text: super-segment of 64 KiB received", |meter| transfer(meter, Devices::Offload, Counted::Receiver)),
    ("text: super-segment of 64 KiB sent", |meter| transfer(meter, Devices::Offload, Counted::Sender)),
    ("text: super-segment of 64 KiB shared and sent", |meter| {
        transfer(meter, Devices::Offload, Counted::Sharer)
    }),
    ("text: acknowledgement of segments taken", |meter| {
        transfer(meter, Devices::Plain, Counted::Acknowledgements)
    }),
    ("text: acknowledgement of super-segments taken", |meter| {
        transfer(meter, Devices::Offload, Counted::Acknowledgements);
    }),
    ("text: plan that a busy device refuses", plan),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    /// Its device, its stack, and its application that reads; acknowledgements sent included.
    Receiver,
    /// Its application that writes, its stack and its device; acknowledgements received included.
    Sender,
    /// The same where the application shares what it writes.
    Sharer,
    /// Each acknowledgement that the sender receives, alone.
    Acknowledgements,
}

/// What is on the wire at a time, in segments: a batch as a device gives it.
const BATCH_SEGMENTS: usize = 16;
const SEGMENT: usize = 1448;
/// Super-segments on the wire at a time, each of 45 segments, which fill a datagram.
const BATCH_SUPERS: usize = 4;
const SUPER: usize = 45 * SEGMENT;

/// A transfer in which neither window holds anybody up, after the congestion window and the buffers have grown.
fn transfer(meter: &mut Meter, devices: Devices, counted: Counted) {
    let mut pair = Pair::new(&Config::default(), devices);
    let listener = pair.listen();
    let (sender, receiver) = pair.open(listener);
    let (batch, packets) = match devices {
        Devices::Plain => (BATCH_SEGMENTS * SEGMENT, BATCH_SEGMENTS),
        Devices::Offload => (BATCH_SUPERS * SUPER, BATCH_SUPERS),
    };
    let text = Bytes::from(vec![0x5a; batch]);
    let mut room = vec![0; batch];
    let (warm, rounds) = (100, meter.scaled(100, 10_000));
    for round in 0..warm + rounds {
        let is_counted = |part| round >= warm && part == counted;
        pair.pass(Duration::from_micros(100));
        let Pair { client, server, up, down, now } = &mut pair;
        let write = |client: &mut End, up: &mut _| {
            let wrote = match counted {
                Counted::Sharer => client.stack.tcp_write_bytes(*now, sender, &mut text.clone()),
                _ => client.stack.tcp_write(*now, sender, &text),
            };
            client.transmit(*now, up);
            wrote
        };
        let is_sender_counted = is_counted(Counted::Sender) || is_counted(Counted::Sharer);
        let wrote = if is_sender_counted { meter.count(0, || write(client, up)) } else { write(client, up) };
        if round >= warm {
            assert_eq!((wrote, up.len()), (Ok(batch), packets), "the sender was held up");
        }
        let mut read = |server: &mut End, up: &mut crate::pair::Wire, down: &mut _| {
            up.deliver(server, *now);
            server.take_events();
            let read = read_all(server, *now, receiver, &mut room);
            server.transmit(*now, down);
            read
        };
        let came = up.len();
        let was_read = if is_counted(Counted::Receiver) {
            meter.count(came, || read(server, up, down))
        } else {
            read(server, up, down)
        };
        if round >= warm {
            assert_eq!(was_read, batch, "not all arrived");
        }
        let acks = down.len();
        if is_sender_counted || is_counted(Counted::Acknowledgements) {
            let times = if is_sender_counted { came } else { acks };
            meter.count(times, || down.deliver(client, *now));
        } else {
            down.deliver(client, *now);
        }
        client.take_events();
    }
}

fn read_all(end: &mut End, now: tunstack::time::Instant, id: TcpId, room: &mut [u8]) -> usize {
    let mut total = 0;
    loop {
        match end.stack.tcp_read(now, id, room) {
            Ok(len) => total += len,
            Err(Error::WouldBlock) => return total,
            Err(error) => panic!("reading failed: {error}"),
        }
    }
}

/// The plan of a segment, and the segment with its header and checksum, offered to a device that has no room; so nothing changes, and
/// it is planned again.
fn plan(meter: &mut Meter) {
    let mut pair = Pair::new(&Config::default(), Devices::Offload);
    let listener = pair.listen();
    let (sender, _) = pair.open(listener);
    pair.client.stack.tcp_write(pair.now, sender, &[0x5a; 16 << 10]).expect("there is room");
    let mut offered = 0_usize;
    let mut busy = |_: Egress<'_>| {
        offered += 1;
        Sent::Busy
    };
    let times = meter.scaled(1_000, 1_000_000);
    meter.count(times, || {
        for _ in 0..times {
            let _ = pair.client.stack.transmit(pair.now, &mut busy);
        }
    });
    assert_eq!(offered, times, "a plan was not offered");
}
