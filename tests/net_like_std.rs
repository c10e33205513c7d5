//! The same story told to the kernel's sockets and to ours: what each call answers must be the same.
//!
//! The kernel's run on its loopback, ours on one stack's own. A story is written once, against a module that
//! has `std::net`'s names; the answers compared are values and, of errors, kind and errno.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::Duration;

/// Longer than anything here takes on a loaded machine; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a call answered, in a form that can be compared.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Count(usize),
    Failed(ErrorKind, Option<i32>),
}

trait IntoAnswer {
    fn answer(self) -> Answer;
}

impl IntoAnswer for io::Result<usize> {
    fn answer(self) -> Answer {
        self.map_or_else(failed, Answer::Count)
    }
}

impl IntoAnswer for io::Result<()> {
    fn answer(self) -> Answer {
        self.map_or_else(failed, |()| Answer::Done)
    }
}

fn failed(error: io::Error) -> Answer {
    Answer::Failed(error.kind(), error.raw_os_error())
}

/// The kernel's sockets.
mod kernel {
    use super::*;

    pub(crate) use std::net::{TcpListener, TcpStream, UdpSocket};

    pub(crate) struct World;

    impl World {
        pub(crate) fn new() -> World {
            World
        }

        pub(crate) fn listen(&self, address: &str) -> io::Result<TcpListener> {
            TcpListener::bind(address)
        }

        pub(crate) fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
            TcpStream::connect(address)
        }

        pub(crate) fn connect_timeout(&self, address: SocketAddr, time: Duration) -> io::Result<TcpStream> {
            TcpStream::connect_timeout(&address, time)
        }

        pub(crate) fn udp(&self, address: &str) -> io::Result<UdpSocket> {
            UdpSocket::bind(address)
        }
    }
}

/// Ours.
mod ours {
    use super::*;

    pub(crate) use tunstack::net::{TcpListener, TcpStream, UdpSocket};

    pub(crate) struct World(tunstack::net::Net);

    impl World {
        pub(crate) fn new() -> World {
            let (device, _other_end) = tunstack::device::MemoryDevice::pair(1500).unwrap();
            World(tunstack::net::Net::builder().device(device).addr("10.9.0.2/24").start().unwrap())
        }

        pub(crate) fn listen(&self, address: &str) -> io::Result<TcpListener> {
            TcpListener::bind(&self.0, address)
        }

        pub(crate) fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
            TcpStream::connect(&self.0, address)
        }

        pub(crate) fn connect_timeout(&self, address: SocketAddr, time: Duration) -> io::Result<TcpStream> {
            TcpStream::connect_timeout(&self.0, &address, time)
        }

        pub(crate) fn udp(&self, address: &str) -> io::Result<UdpSocket> {
            UdpSocket::bind(&self.0, address)
        }
    }
}

/// Defines a test that tells a story twice and compares the answers.
macro_rules! story {
    ($name:ident, |$world:ident, $answers:ident| $body:block) => {
        #[test]
        fn $name() {
            let of_the_kernel = {
                use kernel::*;
                story!(@tell World, TcpStream, TcpListener, UdpSocket, $world, $answers, $body)
            };
            let of_ours = {
                use ours::*;
                story!(@tell World, TcpStream, TcpListener, UdpSocket, $world, $answers, $body)
            };
            assert_eq!(of_ours, of_the_kernel, "ours on the left, the kernel's on the right");
        }
    };
    (@tell $World:ident, $Stream:ident, $Listener:ident, $Udp:ident, $world:ident, $answers:ident, $body:block) => {{
        let $world = $World::new();
        let mut $answers: Vec<(&str, Answer)> = Vec::new();
        /// A connection: client and server.
        #[allow(dead_code, reason = "not every story needs one")]
        fn pair(world: &$World) -> ($Stream, $Stream) {
            let listener: $Listener = world.listen("127.0.0.1:0").unwrap();
            let client = world.connect(listener.local_addr().unwrap()).unwrap();
            let (server, _) = listener.accept().unwrap();
            for stream in [&client, &server] {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
            }
            (client, server)
        }
        #[allow(dead_code, reason = "not every story needs one")]
        fn udp(world: &$World) -> $Udp {
            let socket = world.udp("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        }
        $body
        $answers
    }};
}

/// Until something that was sent has arrived: loopback is quick, but not at once.
fn settle() {
    thread::sleep(Duration::from_millis(20));
}

story!(opening_fails_as_it_does_for_the_kernel, |world, answers| {
    let listener = world.listen("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    answers.push(("a port in use", world.listen(&address.to_string()).map(drop).answer()));
    answers.push(("an address of others", world.listen("192.0.2.7:80").map(drop).answer()));
    drop(listener);
    answers.push(("nobody listens", world.connect(address).map(drop).answer()));
    answers.push(("no time", world.connect_timeout(address, Duration::ZERO).map(drop).answer()));
    answers.push(("refused in time", world.connect_timeout(address, PATIENCE).map(drop).answer()));
    answers.push(("nowhere", world.listen("").map(drop).answer()));
    answers.push(("a UDP port in use", {
        let first = world.udp("127.0.0.1:0").unwrap();
        world.udp(&first.local_addr().unwrap().to_string()).map(drop).answer()
    }));
});

story!(what_is_not_there_would_block, |world, answers| {
    let (client, _server) = pair(&world);
    client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    answers.push(("timed out", (&client).read(&mut [0; 1]).answer()));
    answers.push(("peek timed out", client.peek(&mut [0; 1]).answer()));
    client.set_nonblocking(true).unwrap();
    answers.push(("not blocking", (&client).read(&mut [0; 1]).answer()));
    answers.push(("nothing written", (&client).write(&[]).answer()));
    answers.push(("a zero time-out", client.set_read_timeout(Some(Duration::ZERO)).answer()));
    let listener = world.listen("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    answers.push(("nobody came", listener.accept().map(drop).answer()));
    let socket = udp(&world);
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    answers.push(("no datagram", socket.recv(&mut [0; 1]).answer()));
});

story!(after_a_peer_closed_in_order, |world, answers| {
    let (client, server) = pair(&world);
    (&server).write_all(b"bye").unwrap();
    drop(server);
    settle();
    answers.push(("what was sent", (&client).read(&mut [0; 10]).answer()));
    answers.push(("the end", (&client).read(&mut [0; 10]).answer()));
    answers.push(("the end again", (&client).read(&mut [0; 10]).answer()));
    answers.push(("a write that draws a reset", (&client).write(b"x").answer()));
    settle();
    answers.push(("a write after the reset", (&client).write(b"x").answer()));
    answers.push(("and another", (&client).write(b"x").answer()));
    answers.push(("the end remains", (&client).read(&mut [0; 10]).answer()));
    answers.push(("shutdown", client.shutdown(Shutdown::Both).answer()));
    answers.push(("nobody there", client.peer_addr().map(drop).answer()));
});

story!(the_end_of_a_stream_remains_though_a_reset_follows, |world, answers| {
    let (client, server) = pair(&world);
    (&server).write_all(b"bye").unwrap();
    drop(server);
    settle();
    answers.push(("a write that draws a reset", (&client).write(b"x").answer()));
    settle();
    answers.push(("what was sent", (&client).read(&mut [0; 10]).answer()));
    answers.push(("the end", (&client).read(&mut [0; 10]).answer()));
    answers.push(("the error is pending", {
        let pending = client.take_error().unwrap();
        pending.map_or(Answer::Done, failed)
    }));
    answers.push(("a write", (&client).write(b"x").answer()));
});

story!(after_a_reset, |world, answers| {
    let (client, server) = pair(&world);
    (&client).write_all(b"never read").unwrap();
    (&server).write_all(b"in time").unwrap();
    settle();
    // Unread data makes the close a reset.
    drop(server);
    settle();
    answers.push(("what came before", (&client).read(&mut [0; 10]).answer()));
    answers.push(("the reset", (&client).read(&mut [0; 10]).answer()));
    answers.push(("told once", (&client).read(&mut [0; 10]).answer()));
    answers.push(("a write", (&client).write(b"x").answer()));
    answers.push(("shutdown", client.shutdown(Shutdown::Write).answer()));
    answers.push(("no error is left", client.take_error().map(drop).answer()));
});

story!(a_write_finds_the_reset_first, |world, answers| {
    let (client, server) = pair(&world);
    (&client).write_all(b"never read").unwrap();
    settle();
    drop(server);
    settle();
    answers.push(("the write", (&client).write(b"x").answer()));
    answers.push(("the next write", (&client).write(b"x").answer()));
    answers.push(("a read", (&client).read(&mut [0; 10]).answer()));
});

story!(after_this_side_shut_down, |world, answers| {
    let (client, server) = pair(&world);
    answers.push(("write side", client.shutdown(Shutdown::Write).answer()));
    answers.push(("a write", (&client).write(b"x").answer()));
    answers.push(("the write side again", client.shutdown(Shutdown::Write).answer()));
    (&server).write_all(b"still").unwrap();
    settle();
    answers.push(("a read", (&client).read(&mut [0; 10]).answer()));
    answers.push(("read side", client.shutdown(Shutdown::Read).answer()));
    answers.push(("a read after that", (&client).read(&mut [0; 10]).answer()));
    drop(server);
    settle();
    answers.push(("a write after all", (&client).write(b"x").answer()));
});

story!(a_reader_who_shut_down_still_reads_what_was_there, |world, answers| {
    let (client, server) = pair(&world);
    (&server).write_all(b"there").unwrap();
    settle();
    client.shutdown(Shutdown::Read).unwrap();
    answers.push(("what was there", (&client).read(&mut [0; 10]).answer()));
    answers.push(("the end", (&client).read(&mut [0; 10]).answer()));
});

story!(options_refuse_what_the_kernel_refuses, |world, answers| {
    let (client, _server) = pair(&world);
    for ttl in [0, 1, 255, 256] {
        answers.push(("ttl", client.set_ttl(ttl).answer()));
    }
    answers.push(("nodelay", client.set_nodelay(true).answer()));
    assert!(client.nodelay().unwrap());
    answers.push(("ttl read back", client.ttl().map(|ttl| ttl as usize).answer()));
});

story!(udp_sockets_answer_alike, |world, answers| {
    let (one, two) = (udp(&world), udp(&world));
    answers.push(("no peer", one.send(b"x").answer()));
    answers.push(("no peer to tell", one.peer_addr().map(drop).answer()));
    let address = two.local_addr().unwrap();
    answers.push(("a datagram", one.send_to(b"datagram", address).answer()));
    answers.push(("peeked at", two.peek(&mut [0; 100]).answer()));
    answers.push(("cut short", two.recv(&mut [0; 4]).answer()));
    answers.push(("an empty one", one.send_to(b"", address).answer()));
    answers.push(("received empty", two.recv(&mut [0; 4]).answer()));
    answers.push(("too long", one.send_to(&[0; 65_508], address).answer()));
    answers.push(("another family", one.send_to(b"x", "[::1]:9").answer()));
    drop(two);
    one.connect(address).unwrap();
    answers.push(("to nobody", one.send(b"x").answer()));
    settle();
    answers.push(("who said so", one.recv(&mut [0; 4]).answer()));
    one.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    answers.push(("said once", one.recv(&mut [0; 4]).answer()));
});
