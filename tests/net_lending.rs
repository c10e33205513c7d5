//! Bytes of running stacks that go on without a copy of the application's.

mod support {
    pub(crate) mod running;
}

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use support::running::{PATIENCE, bytes, connect, eventually, exchange, pair};
use tunstack::device::{Device, MemoryDevice, Received, Room};
use tunstack::net::{Net, TcpStream};
use tunstack::proto::{Egress, Sent};

/// A proxy's work: what `client` says to the proxy goes on to `server`, and back. Each pair is a connection, the proxy's end second.
struct Proxied {
    client: (TcpStream, TcpStream),
    server: (TcpStream, TcpStream),
    _nets: (Net, Net),
}

fn proxied() -> Proxied {
    let (outside, net) = pair();
    let client = connect(&outside, &net, "10.9.0.2:0");
    let (proxy, server) = connect(&net, &outside, "10.9.0.1:0");
    Proxied { client, server: (server, proxy), _nets: (outside, net) }
}

/// Carries on to the end what `from` says; returns how many bytes.
fn carry(from: &TcpStream, to: &TcpStream) -> usize {
    let mut total = 0;
    loop {
        match from.splice(to, 100_000).unwrap() {
            0 => break,
            count => total += count,
        }
    }
    to.shutdown(Shutdown::Write).unwrap();
    total
}

#[test]
fn megabytes_go_through_a_proxy_each_way_at_once() {
    let Proxied { client, server, _nets } = proxied();
    let (up, down) = (bytes(4 << 20, 1), bytes(3 << 20, 2));
    thread::scope(|scope| {
        let carried = scope.spawn(|| carry(&client.1, &server.1));
        let carried_back = scope.spawn(|| carry(&server.1, &client.1));
        let at_server = scope.spawn(|| exchange(&server.0, &down));
        assert!(exchange(&client.0, &up) == down, "the bytes changed on the way");
        assert!(at_server.join().unwrap() == up, "the bytes changed on the way");
        assert_eq!((carried.join().unwrap(), carried_back.join().unwrap()), (up.len(), down.len()));
    });
}

#[test]
fn no_more_is_carried_than_was_asked_for_and_the_rest_can_be_read() {
    let Proxied { client, server, _nets } = proxied();
    (&client.0).write_all(b"a line\nand more").unwrap();
    // All of it has come.
    while client.1.peek(&mut [0; 100]).unwrap() < 15 {}
    assert_eq!(client.1.splice(&server.1, 0).unwrap(), 0);
    assert_eq!(client.1.splice(&server.1, 7).unwrap(), 7);
    let mut rest = [0; 8];
    (&client.1).read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"and more");
    let mut line = [0; 7];
    (&server.0).read_exact(&mut line).unwrap();
    assert_eq!(&line, b"a line\n");
}

#[test]
fn who_does_not_block_is_told_whichever_of_the_two_has_to_wait() {
    let Proxied { client, server, _nets } = proxied();
    for stream in [&client.1, &server.1] {
        stream.set_nonblocking(true).unwrap();
    }
    assert_eq!(client.1.splice(&server.1, 10).unwrap_err().kind(), ErrorKind::WouldBlock);
    // Until neither the proxy's send buffer nor the server, who reads nothing, takes any more.
    client.0.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut carried = 0;
    loop {
        let written = (&client.0).write(&[0; 60_000]);
        match client.1.splice(&server.1, usize::MAX) {
            Ok(count) => carried += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        if written.is_err() {
            break;
        }
    }
    assert!(carried > 0 && client.1.peek(&mut [0]).unwrap() == 1, "it is the reading that waits");
    assert_eq!(client.1.splice(&server.1, 10).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn times_are_those_of_a_read_and_of_a_write() {
    let Proxied { client, server, _nets } = proxied();
    let soon = Some(Duration::from_millis(20));
    client.1.set_read_timeout(soon).unwrap();
    assert_eq!(client.1.splice(&server.1, 10).unwrap_err().kind(), ErrorKind::WouldBlock);
    (&client.0).write_all(b"late").unwrap();
    assert_eq!(client.1.splice(&server.1, 10).unwrap(), 4);
    // There is something to read, and for ever no room: for longer than the last acknowledgement may be delayed.
    server.1.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    while (&server.1).write(&[0; 60_000]).is_ok() {}
    server.1.set_write_timeout(soon).unwrap();
    (&client.0).write_all(b"late").unwrap();
    assert_eq!(client.1.peek(&mut [0]).unwrap(), 1);
    client.1.set_read_timeout(None).unwrap();
    assert_eq!(client.1.splice(&server.1, 10).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn what_is_broken_is_told_and_loses_nothing() {
    let Proxied { client, server, _nets } = proxied();
    (&client.0).write_all(b"to be kept").unwrap();
    server.1.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.1.splice(&server.1, 10).unwrap_err().kind(), ErrorKind::BrokenPipe);
    let mut kept = [0; 10];
    (&client.1).read_exact(&mut kept).unwrap();
    assert_eq!(&kept, b"to be kept");
    drop(client.0);
    assert_eq!(client.1.splice(&client.1, 10).unwrap(), 0);
}

#[test]
fn connections_of_different_stacks_are_refused() {
    let Proxied { client, .. } = proxied();
    assert_eq!(client.0.splice(&client.1, 10).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn text_that_is_made_in_place_is_looked_at_in_place() {
    let Proxied { client, .. } = proxied();
    let data = bytes(300_000, 3);
    let (sent, got) = thread::scope(|scope| {
        let sent = scope.spawn(|| {
            let mut sent = 0;
            while sent < data.len() {
                // An odd number each time, so that pieces begin and end anywhere.
                let most = 1_999.min(data.len() - sent);
                let count = client.0.write_in_place(|room| {
                    let len = room.len().min(most);
                    room[..len].copy_from_slice(&data[sent..sent + len]);
                    len
                });
                sent += count.unwrap();
            }
            client.0.shutdown(Shutdown::Write).unwrap();
            sent
        });
        let (mut got, mut most) = (Vec::new(), 0);
        // A little more each time.
        while client
            .1
            .read_in_place(|pieces| {
                most += 1;
                let all = pieces.concat();
                got.extend_from_slice(&all[..most.min(all.len())]);
                most
            })
            .unwrap()
            > 0
        {}
        (sent.join().unwrap(), got)
    });
    assert_eq!(sent, data.len());
    assert!(got == data, "the bytes changed on the way");
}

#[test]
fn whoever_panics_with_lent_bytes_in_hand_harms_nobody_else() {
    let Proxied { client, .. } = proxied();
    (&client.0).write_all(b"still there").unwrap();
    let panics = [
        catch_unwind(AssertUnwindSafe(|| client.1.read_in_place(|_| panic!("no")))),
        catch_unwind(AssertUnwindSafe(|| client.1.write_in_place(|_| panic!("no")))),
    ];
    for panic in panics {
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"no"));
    }
    let mut kept = [0; 11];
    (&client.1).read_exact(&mut kept).unwrap();
    assert_eq!(&kept, b"still there");
}

#[test]
fn who_does_not_block_is_lent_nothing_where_there_is_nothing() {
    let Proxied { client, .. } = proxied();
    client.1.set_nonblocking(true).unwrap();
    let nothing = client.1.read_in_place(|_| panic!("there is nothing to lend"));
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut total = 0;
    let full = loop {
        match client.1.write_in_place(|room| room.len()) {
            Ok(count) => total += count,
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    assert!(total >= 65_536, "{total}");
}

#[test]
fn a_thread_that_writes_beside_a_splice_to_the_same_connection_is_not_forgotten() {
    let Proxied { client, server, .. } = proxied();
    let (server, proxy) = (server.0, server.1);
    let (total, aside) = (4 << 20, 100);
    thread::scope(|scope| {
        scope.spawn(|| (&proxy).write_all(&vec![1; total]).unwrap());
        // Until neither the server's buffer nor the proxy's has any more room.
        let mut unsent = 0;
        eventually("a full buffer", || {
            thread::sleep(Duration::from_millis(20));
            let before = std::mem::replace(&mut unsent, proxy.tcp_info().unwrap().unsent);
            unsent > 0 && unsent == before
        });
        (&client.0).write_all(&vec![1; aside]).unwrap();
        client.1.peek(&mut [0]).unwrap();
        proxy.set_nonblocking(true).unwrap();
        // Little by little, until there is room, though not so much that a writer would be woken.
        let mut read = 0;
        while let Err(error) = client.1.splice(&proxy, usize::MAX) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            read += (&server).read(&mut [0; 500]).unwrap();
        }
        let mut rest = vec![0; total + aside - read];
        (&server).read_exact(&mut rest).unwrap();
    });
}

/// A device that panics when it is told to.
struct Fuse(MemoryDevice, Arc<AtomicBool>);

impl Device for Fuse {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn mtu(&self) -> usize {
        self.0.mtu()
    }

    fn recv(&self, buffer: &mut [u8]) -> Received {
        assert!(!self.1.load(Ordering::Relaxed), "the fuse has blown");
        self.0.recv(buffer)
    }

    fn send(&self, egress: Egress<'_>) -> Sent {
        self.0.send(egress)
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.0.poll_fd()
    }

    fn room(&self) -> Room {
        self.0.room()
    }
}

#[test]
fn a_stack_that_has_failed_carries_nothing_on_and_keeps_what_has_come() {
    let (left, right) = MemoryDevice::pair(1500).unwrap();
    let blown = Arc::new(AtomicBool::new(false));
    let outside = Net::builder().device(left).addr("10.9.0.1/24").start().unwrap();
    let net = Net::builder().device(Fuse(right, Arc::clone(&blown))).addr("10.9.0.2/24").start().unwrap();
    let (client, proxy) = connect(&outside, &net, "10.9.0.2:0");
    (&client).write_all(b"to be kept").unwrap();
    while proxy.peek(&mut [0; 20]).unwrap() < 10 {}
    blown.store(true, Ordering::Relaxed);
    (&client).write_all(b"x").unwrap();
    net.wait_stopped();
    assert_eq!(proxy.splice(&proxy, 10).unwrap_err().kind(), ErrorKind::NetworkDown);
    let mut kept = [0; 10];
    (&proxy).read_exact(&mut kept).unwrap();
    assert_eq!(&kept, b"to be kept");
}

/// Bytes that tell when nobody needs them any more, and do something then.
struct Owned<F: Fn()> {
    bytes: Vec<u8>,
    end: F,
}

impl<F: Fn()> AsRef<[u8]> for Owned<F> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<F: Fn()> Drop for Owned<F> {
    fn drop(&mut self) {
        (self.end)();
    }
}

/// Shared bytes, and whether nobody needs them any more. Before that is said, `end` is done.
fn owned(bytes: Vec<u8>, end: impl Fn() + Send + 'static) -> (Bytes, Arc<AtomicBool>) {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let end = move || {
        over.store(true, Ordering::Release);
        end();
    };
    (Bytes::from_owner(Owned { bytes, end }), is_over)
}

#[test]
fn shared_bytes_arrive_and_are_let_go_when_they_are_acknowledged() {
    let Proxied { client, .. } = proxied();
    let data = bytes(4 << 20, 4);
    let (mut shared, is_over) = owned(data.clone(), || {});
    let got = thread::scope(|scope| {
        scope.spawn(|| {
            // What is little is copied, and goes between.
            (&client.0).write_all(b"before").unwrap();
            assert_eq!(client.0.write_bytes(&mut shared).unwrap(), data.len());
            assert!(shared.is_empty());
            assert_eq!(client.0.write_bytes(&mut Bytes::from_static(b"after")).unwrap(), 5);
            assert_eq!(client.0.write_bytes(&mut Bytes::new()).unwrap(), 0);
            client.0.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        (&client.1).read_to_end(&mut got).unwrap();
        got
    });
    assert!(got == [b"before", &data[..], b"after"].concat(), "the bytes changed on the way");
    drop(shared);
    eventually("the end of what was shared", || is_over.load(Ordering::Acquire));
}

#[test]
fn who_does_not_block_keeps_what_found_no_room() {
    let Proxied { client, .. } = proxied();
    let data = bytes(8 << 20, 5);
    let mut rest = Bytes::from(data.clone());
    client.0.set_nonblocking(true).unwrap();
    let mut written = 0;
    let full = loop {
        match client.0.write_bytes(&mut rest) {
            Ok(count) => written += count,
            Err(error) => break error,
        }
        assert_eq!(rest, data[written..]);
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    assert!(written >= 16 << 10 && rest.len() == data.len() - written, "{written}");
    client.0.set_nonblocking(false).unwrap();
    let got = thread::scope(|scope| {
        scope.spawn(|| {
            client.0.write_bytes(&mut rest).unwrap();
            client.0.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        (&client.1).read_to_end(&mut got).unwrap();
        got
    });
    assert!(got == data, "the bytes changed on the way");
}

#[test]
fn a_writer_of_shared_bytes_sleeps_until_there_is_room_and_no_longer_than_it_may() {
    let Proxied { client, .. } = proxied();
    client.0.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut shared = Bytes::from(vec![7; 32 << 20]);
    let all = shared.len();
    let written = client.0.write_bytes(&mut shared).unwrap();
    assert!(written > 0 && shared.len() == all - written, "{written}");
    assert_eq!(client.0.write_bytes(&mut shared).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(shared.len(), all - written);
}

#[test]
fn a_broken_connection_lets_go_of_shared_bytes_and_takes_no_more() {
    let Proxied { client, .. } = proxied();
    let (mut shared, is_over) = owned(vec![1; 100_000], || {});
    client.0.set_nonblocking(true).unwrap();
    while client.0.write_bytes(&mut shared.clone()).is_ok() {}
    assert!(!is_over.load(Ordering::Acquire));
    drop(client.1);
    eventually("a reset", || {
        client.0.write_bytes(&mut shared).is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
    });
    assert_eq!(shared.len(), 100_000);
    drop(shared);
    eventually("the end of what was shared", || is_over.load(Ordering::Acquire));
}

#[test]
fn the_owner_of_shared_bytes_may_use_the_stack_when_they_are_let_go_and_its_panic_is_its_own() {
    let Proxied { client, server, .. } = proxied();
    let one_more = server.0.try_clone().unwrap();
    let (shared, is_over) = owned(vec![1; 50_000], move || {
        // Would wait for ever if the stack were locked.
        (&one_more).write_all(b"sent").unwrap();
        panic!("an owner's own fault");
    });
    assert_eq!(client.0.write_bytes(&mut { shared }).unwrap(), 50_000);
    (&client.1).read_exact(&mut vec![0; 50_000]).unwrap();
    eventually("the end of what was shared", || is_over.load(Ordering::Acquire));
    let mut told = [0; 4];
    (&server.1).read_exact(&mut told).unwrap();
    assert_eq!(&told, b"sent");
    // Both stacks still live.
    (&client.1).write_all(b"well?").unwrap();
    (&client.0).read_exact(&mut [0; 5]).unwrap();
}

#[test]
fn an_owner_that_would_have_to_wait_for_the_stack_is_told_so_instead_of_stopping_it() {
    let Proxied { client, server, .. } = proxied();
    let silent = server.0.try_clone().unwrap();
    silent.set_read_timeout(None).unwrap();
    let (told, hears) = std::sync::mpsc::channel();
    let (shared, _) = owned(vec![1; 50_000], move || {
        let read = (&silent).read(&mut [0]);
        told.send(read.map_err(|error| error.kind())).unwrap();
    });
    assert_eq!(client.0.write_bytes(&mut { shared }).unwrap(), 50_000);
    (&client.1).read_exact(&mut vec![0; 50_000]).unwrap();
    assert_eq!(hears.recv_timeout(PATIENCE).expect("an answer"), Err(ErrorKind::WouldBlock));
    (&client.1).write_all(b"well?").unwrap();
    (&client.0).read_exact(&mut [0; 5]).unwrap();
}
