//! Is anybody there? `ping ADDR` sends one echo request from a stack of its own, and another one with each further
//! argument: `ping 10.9.0.1 10.9.0.77`.
//!
//! It makes its own TUN device, so it needs the privilege to: run it with sudo, or in a namespace (see the README).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use std::{env, io, process};

use tunstack::net::{Net, PingSocket};

fn main() {
    if let Err(error) = ping() {
        eprintln!("ping: {error}");
        process::exit(1);
    }
}

fn ping() -> io::Result<()> {
    let net = Net::builder()
        .addr("10.9.0.2/24")
        .addr("fd09::2/64")
        .host_addr("10.9.0.1/24")
        .host_addr("fd09::1/64")
        .route("0.0.0.0/0")
        .route("::/0")
        .start()?;
    for word in env::args().skip(1) {
        let to: IpAddr = word.parse().map_err(|_| io::Error::other(format!("{word} is not an address")))?;
        match one(&net, to) {
            Ok(hops) => println!("{to} answers, with {hops} hops left"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => println!("{to} is silent"),
            Err(error) => println!("{to}: {error}"),
        }
    }
    Ok(())
}

/// One request, and how many hops its answer had left.
fn one(net: &Net, to: IpAddr) -> io::Result<u8> {
    let any =
        if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = PingSocket::bind(net, any)?;
    socket.connect(to)?;
    // Who can't pass it on says so.
    socket.set_report_errors(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket.send(1, b"anybody there?")?;
    Ok(socket.recv(&mut [0; 64])?.hop_limit)
}
