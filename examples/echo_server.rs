//! The server of a socket lesson, on a stack of its own: `echo_server [ADDR:PORT]`, 10.9.0.2:8888 if not named.
//!
//! It takes one client after the other, prints what comes and sends it back, until the client says `q` or
//! closes. Beside `Net::builder()` it reads as it would with the kernel's sockets. It makes its own TUN
//! device, so it needs the privilege to: run it with sudo, or in a namespace (see the README).

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::{env, io, process};

use tunstack::ipnet::IpNet;
use tunstack::net::{Net, TcpListener, TcpStream};

fn main() {
    if let Err(error) = serve() {
        eprintln!("echo_server: {error}");
        process::exit(1);
    }
}

fn serve() -> io::Result<()> {
    let addr = env::args().nth(1).unwrap_or("10.9.0.2:8888".into());
    let addr: SocketAddr = addr.parse().map_err(|_| io::Error::other(format!("{addr} is not ADDR:PORT")))?;
    let (ours, kernels) = addresses(addr.ip());

    let net = Net::builder().addr(ours).host_addr(kernels).start()?;
    let server = TcpListener::bind_with_backlog(&net, addr, 5)?;
    println!("listening on {addr}");
    loop {
        let (conn, addr) = server.accept()?;
        println!("{addr}");
        if let Err(error) = talk(conn) {
            println!("{error}");
        }
    }
}

fn talk(mut conn: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        let len = conn.read(&mut buffer)?;
        let data = &buffer[..len];
        if data.is_empty() || data == b"q" {
            return Ok(());
        }
        println!("{}", String::from_utf8_lossy(data));
        conn.write_all(data)?;
    }
}

/// Our address with a usual prefix length, and the first other address of that network for the kernel's side.
fn addresses(ours: IpAddr) -> (IpNet, IpNet) {
    let net = IpNet::new_assert(ours, if ours.is_ipv4() { 24 } else { 64 });
    let kernels = net.hosts().find(|host| *host != ours && *host != net.network()).unwrap_or(ours);
    (net, IpNet::new_assert(kernels, net.prefix_len()))
}
