//! A router in a few lines: `router A 10.1.0.1/24 B 10.2.0.1/24 ...` gives the stack an address on each of these TUN
//! devices and sends packets from one to the other. The kernel's side of the devices is left alone.

use std::{env, io, process};

use tunstack::net::Net;

fn main() {
    if let Err(error) = route() {
        eprintln!("router: {error}");
        process::exit(1);
    }
}

fn route() -> io::Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    if words.len() < 4 || !words.len().is_multiple_of(2) {
        return Err(io::Error::other(
            "name devices and addresses, as in `router tun0 10.1.0.1/24 tun1 10.2.0.1/24`",
        ));
    }
    let mut builder = Net::builder().forwarding(true);
    for link in words.chunks_exact(2) {
        builder = builder.tun(&link[0]).addr(link[1].as_str());
    }
    let net = builder.start()?;
    for interface in net.interfaces() {
        println!("{}: {:?}, MTU {}", interface.name, interface.addresses, interface.mtu);
    }
    Err(io::Error::other(net.wait_stopped()))
}
