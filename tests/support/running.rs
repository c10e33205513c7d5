//! What tests of running stacks in one process share: how long they wait, two stacks, connections, bytes to carry.

// Each test uses some of it.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{Shutdown, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use tunstack::device::MemoryDevice;
use tunstack::net::{Builder, Net, TcpListener, TcpStream};

/// Longer than anything here takes on a loaded machine; only a hang reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Two stacks that are joined: 10.9.0.1 and fd09::1 here, 10.9.0.2 and fd09::2 there.
pub(crate) fn pair() -> (Net, Net) {
    pair_with(|builder| builder)
}

/// The same with a change to both.
pub(crate) fn pair_with(change: impl Fn(Builder) -> Builder) -> (Net, Net) {
    let (left, right) = MemoryDevice::pair(1500).unwrap();
    let start =
        |device, v4: &str, v6: &str| change(Net::builder().device(device).addr(v4).addr(v6)).start().unwrap();
    (start(left, "10.9.0.1/24", "fd09::1/64"), start(right, "10.9.0.2/24", "fd09::2/64"))
}

/// A connection from one stack to the other, which listens at `address`: each one's end.
pub(crate) fn connect(from: &Net, to: &Net, address: impl ToSocketAddrs) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(to, address).unwrap();
    let client = TcpStream::connect(from, listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (client, server)
}

/// Sends `data` and FIN while receiving up to the other's FIN.
pub(crate) fn exchange(stream: &TcpStream, data: &[u8]) -> Vec<u8> {
    carry(stream, stream, data)
}

/// Sends `data` and FIN by `from` while receiving at `to` up to a FIN.
pub(crate) fn carry(from: &TcpStream, to: &TcpStream, data: &[u8]) -> Vec<u8> {
    thread::scope(|scope| {
        scope.spawn(|| {
            (&*from).write_all(data).unwrap();
            from.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        (&*to).read_to_end(&mut received).unwrap();
        received
    })
}

/// Bytes that look like none others with another seed.
pub(crate) fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = tunstack::rng::Rng::from_number(seed);
    (0..len).map(|_| (rng.next_u32() >> 24) as u8).collect()
}

/// Waits until it is done.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        thread::sleep(Duration::from_millis(1));
    }
}
