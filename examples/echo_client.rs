//! The client of a socket lesson, on a stack of its own: `echo_client ADDR:PORT`.
//!
//! It sends each line that is typed to a server on this machine's kernel and prints what comes back; `q` (or
//! the end of the input) ends it. It makes its own TUN device, so it needs the privilege to: run it with sudo,
//! or in a namespace (see the README).

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::{env, io, process};

use tunstack::ipnet::IpNet;
use tunstack::net::{Net, TcpStream};

fn main() {
    if let Err(error) = talk() {
        eprintln!("echo_client: {error}");
        process::exit(1);
    }
}

fn talk() -> io::Result<()> {
    let server = env::args().nth(1).and_then(|text| text.parse::<SocketAddr>().ok());
    let server = server.ok_or_else(|| io::Error::other("usage: echo_client ADDR:PORT"))?;

    let net = network_that_reaches(server.ip())?;
    let mut client = TcpStream::connect(&net, server)?;
    let mut buffer = [0; 1024];
    loop {
        print!("client ---> server:");
        io::stdout().flush()?;
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 {
            return Ok(());
        }
        let message = line.trim_end_matches('\n');
        if message.is_empty() {
            continue; // nothing is sent, so nothing would come back
        }
        client.write_all(message.as_bytes())?;
        if message == "q" {
            return Ok(());
        }
        let len = client.read(&mut buffer)?;
        if len == 0 {
            return Err(io::Error::other("the server has closed the connection"));
        }
        println!("{}", String::from_utf8_lossy(&buffer[..len]));
    }
}

/// A stack whose packets reach `server`, an address of the kernel's.
fn network_that_reaches(server: IpAddr) -> io::Result<Net> {
    if server.is_loopback() {
        // A loopback address means whoever says it: to this stack it is the stack itself, and the kernel drops
        // packets to it that come from any device but lo.
        return Err(io::Error::other(format!(
            "{server} never leaves the kernel: bind the server to 0.0.0.0 and run `echo_client 10.9.0.1:PORT`"
        )));
    }
    let builder = Net::builder();
    // Who can bind to an address has it.
    let builder = if UdpSocket::bind((server, 0)).is_ok() {
        // On some other interface: the way there leads through the kernel, whatever its address.
        match server {
            IpAddr::V4(_) => builder.addr("10.9.1.2/24").host_addr("10.9.1.1/24").route("0.0.0.0/0"),
            IpAddr::V6(_) => builder.addr("fd09:1::2/64").host_addr("fd09:1::1/64").route("::/0"),
        }
    } else {
        // On none: it becomes the kernel's side of our device, where a server bound to 0.0.0.0 listens, too.
        let kernels = IpNet::new_assert(server, if server.is_ipv4() { 24 } else { 64 });
        let ours =
            kernels.hosts().find(|host| *host != server && *host != kernels.network()).unwrap_or(server);
        builder.addr(IpNet::new_assert(ours, kernels.prefix_len())).host_addr(kernels)
    };
    Ok(builder.start()?)
}
