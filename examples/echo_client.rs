//! The client of a socket lesson, on a stack of its own: `echo_client ADDR:PORT`.
//!
//! It sends each line that is typed to a server on this machine's kernel and prints what comes back; `q` (or
//! the end of the input) ends it. Its own address is 10.9.1.2 (fd09:1::2), the kernel's side of its TUN
//! device 10.9.1.1 (fd09:1::1). ADDR is any address of this machine that isn't a loopback one; one that the
//! machine doesn't have is given to the kernel's side, so that a server bound to 0.0.0.0 can be reached there.

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

fn network_that_reaches(server: IpAddr) -> io::Result<Net> {
    if server.is_loopback() {
        // Loopback addresses mean "the one who says it": to this stack they are the stack itself, and the
        // kernel drops them when they come from any device but lo.
        return Err(io::Error::other(format!(
            "{server} never leaves the kernel; bind the server to 0.0.0.0 and run `echo_client 10.9.1.1:PORT`"
        )));
    }
    let (ours, kernels, everywhere) = match server {
        IpAddr::V4(_) => ("10.9.1.2/24", "10.9.1.1/24", "0.0.0.0/0"),
        IpAddr::V6(_) => ("fd09:1::2/64", "fd09:1::1/64", "::/0"),
    };
    let mut builder = Net::builder().addr(ours).host_addr(kernels).route(everywhere);
    // Who can bind to an address has it.
    let kernel_has_it = UdpSocket::bind((server, 0)).is_ok();
    if !kernel_has_it && kernels != format!("{server}/{}", if server.is_ipv4() { 24 } else { 64 }) {
        builder = builder.host_addr(IpNet::from(server));
    }
    Ok(builder.start()?)
}
