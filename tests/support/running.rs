//! What tests of running stacks in one process share: how long they wait, connections, bytes to carry.

// Each test uses some of it.
#![allow(dead_code)]

use std::net::ToSocketAddrs;
use std::thread;
use std::time::{Duration, Instant};

use tunstack::net::{Net, TcpListener, TcpStream};

/// Longer than anything here takes on a loaded machine; only a hang reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

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
