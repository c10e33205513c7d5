//! A kernel host on each side of the daemon, and data that has to go through it.
//!
//! 64 MiB go each way over each family by TCP, and as much in all by UDP, unless `TUNSTACK_E2E_TRANSFER_MIB` says how many:
//! `TUNSTACK_E2E_TRANSFER_MIB=1024 cargo test --release --test e2e routed` moves a GiB at a time.

use std::env;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::harness::{Hash, Host, Router, Sides, exchange, fill, in_namespace_for};

const LIMIT: Duration = Duration::from_secs(300);

/// How long a socket may wait for a single thing.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much goes each way of a TCP connection, and in all datagrams together, in bytes.
fn amount() -> usize {
    let mib = env::var("TUNSTACK_E2E_TRANSFER_MIB").map_or(64, |text| text.parse().expect("a number of MiB"));
    mib << 20
}

/// A connection from `client` to `server`, which has the address.
fn connect(client: &Host, server: &Host, address: &str) -> (TcpStream, TcpStream) {
    let address: IpAddr = address.parse().expect("an address");
    let listener = server.within(|| TcpListener::bind((address, 0)).expect("the address is the server's"));
    let address = listener.local_addr().expect("a listener has an address");
    let near = client.within(|| TcpStream::connect_timeout(&address, PATIENCE).expect("the server answers"));
    let (far, _) = listener.accept().expect("one has connected");
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
    }
    (near, far)
}

#[test]
fn tcp_between_two_kernels_goes_through_the_router_unharmed_over_both_families() {
    in_namespace_for(LIMIT, || {
        let mut sides = Sides::new(&Router::Daemon(""), 1500, 1500);
        for (client, server, address) in [
            (&sides.left, &sides.right, "10.2.0.2"),
            (&sides.left, &sides.right, "fd02::2"),
            (&sides.right, &sides.left, "10.1.0.2"),
        ] {
            let (near, far) = connect(client, server, address);
            exchange(&near, &far, amount());
        }
        assert!(sides.daemon.as_mut().expect("it is one").process().is_running());
    });
}

#[test]
fn tcp_finds_its_way_through_a_narrower_link_behind_the_router() {
    in_namespace_for(LIMIT, || {
        let sides = Sides::new(&Router::Daemon(""), 1500, 1280);
        // The far host's maximum segment size fits its own link; this one's has to be learned on the way. It is
        // if the narrow host offers more than its link can take.
        sides.right.sh("ip route replace default via 10.2.0.1 advmss 1460");
        sides.right.sh("ip -6 route replace default via fd02::1 advmss 1440");
        for (address, header) in [("10.2.0.2", 40), ("fd02::2", 60)] {
            let (near, far) = connect(&sides.left, &sides.right, address);
            exchange(&near, &far, 4 << 20);
            let family = if address.contains(':') { "-6" } else { "-4" };
            let cached = sides.left.sh(&format!("ip {family} route get {address}"));
            assert!(cached.contains("mtu 1280"), "{address}, {header} bytes of headers: {cached}");
        }
    });
}

/// One datagram is this many bytes of number and then of content.
const NUMBER: usize = 8;

/// Datagrams of `size` bytes on their way before the sender waits to hear of them: less than any queue on the way
/// holds, of which the receiving socket's is the shortest.
fn window(size: usize) -> u64 {
    (65_536 / size).clamp(1, 32) as u64
}

/// Sends `count` datagrams of `size` bytes, no more than a window ahead of what the receiver has told; what is not
/// told of in time goes again, but since no queue overflows, it should not come to that. Returns the hash of all
/// contents in order, and how often it had to wait in vain.
fn send_datagrams(socket: &UdpSocket, count: u64, size: usize) -> (Hash, u32) {
    let mut hash = Sha256::new();
    let mut datagram = vec![0; size];
    let (mut told, mut state, mut in_vain) = (0, 3, 0);
    let (mut kept, window) = (Vec::new(), window(size));
    for number in 0..count {
        datagram[..NUMBER].copy_from_slice(&number.to_be_bytes());
        fill(&mut datagram[NUMBER..], &mut state);
        hash.update(&datagram[NUMBER..]);
        socket.send(&datagram).expect("the kernel takes it");
        kept.push(datagram.clone());
        while number + 1 - told >= window || (number + 1 == count && told < count) {
            let mut answer = [0; NUMBER];
            match socket.recv(&mut answer) {
                Ok(_) => told = told.max(u64::from_be_bytes(answer)),
                Err(_) => {
                    in_vain += 1;
                    assert!(in_vain < 20, "{told} of {count} datagrams have come; the path loses them");
                    kept.iter().for_each(|datagram| drop(socket.send(datagram)));
                }
            }
            let first_kept = number + 1 - kept.len() as u64;
            kept.drain(..usize::try_from(told.saturating_sub(first_kept)).expect("a few"));
        }
    }
    (hash.finalize().into(), in_vain)
}

/// Receives datagrams until all have come, telling how many have come in order four times a window.
fn receive_datagrams(socket: &UdpSocket, count: u64, size: usize) -> Hash {
    let every = (window(size) / 4).max(1);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 65_536];
    let mut next = 0;
    while next < count {
        let (len, from) = socket.recv_from(&mut buffer).expect("the sender goes on");
        let number = u64::from_be_bytes(buffer[..NUMBER].try_into().expect("eight bytes"));
        if number == next {
            hash.update(&buffer[NUMBER..len]);
            next += 1;
        }
        if next.is_multiple_of(every) || next == count || number != next - 1 {
            socket.send_to(&next.to_be_bytes(), from).expect("the kernel takes it");
        }
    }
    hash.finalize().into()
}

/// Moves about `amount` bytes in datagrams of `size` from `client` to `server`, and compares hashes.
fn move_datagrams(client: &Host, server: &Host, address: &str, size: usize, amount: usize) {
    let address: IpAddr = address.parse().expect("an address");
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let bind = |to: SocketAddr| UdpSocket::bind(to).expect("the address is the server's");
    let far = server.within(|| bind((address, 0).into()));
    let near = client.within(|| bind(any.parse().expect("an address")));
    near.connect(far.local_addr().expect("a socket has an address")).expect("there is a route");
    near.set_read_timeout(Some(Duration::from_secs(2))).expect("the time is not zero");
    far.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
    let count = (amount / size).max(32) as u64;
    thread::scope(|scope| {
        let receiver = scope.spawn(|| receive_datagrams(&far, count, size));
        let (sent, in_vain) = send_datagrams(&near, count, size);
        assert_eq!(receiver.join().expect("the receiver ends"), sent, "{address}, {size} bytes");
        assert!(in_vain <= 2, "{in_vain} times something was lost: {address}, {size} bytes");
    });
}

#[test]
fn udp_between_two_kernels_goes_through_the_router_unharmed_over_both_families() {
    in_namespace_for(LIMIT, || {
        let sides = Sides::new(&Router::Daemon(""), 1500, 1500);
        for size in [1472, 1452, 300] {
            move_datagrams(&sides.left, &sides.right, "10.2.0.2", size.min(1472), amount() / 6);
            move_datagrams(&sides.right, &sides.left, "fd01::2", size.min(1452), amount() / 6);
        }
    });
}

#[test]
fn udp_larger_than_a_link_goes_through_the_router_in_parts_of_the_hosts_or_of_the_routers_making() {
    in_namespace_for(LIMIT, || {
        // The kernel's hosts cut to their own link; for IPv4 without DF the router has to cut again.
        let sides = Sides::new(&Router::Daemon(""), 1500, 1280);
        sides.left.sh("sysctl -qw net.ipv4.ip_no_pmtu_disc=1");
        for size in [1400, 1472, 1473, 9000, 65_507] {
            move_datagrams(&sides.left, &sides.right, "10.2.0.2", size, 2 << 20);
            move_datagrams(&sides.right, &sides.left, "10.1.0.2", size, 2 << 20);
        }
        for size in [1231, 1232, 1233, 9000, 65_507] {
            move_datagrams(&sides.right, &sides.left, "fd01::2", size, 2 << 20);
        }
    });
}
