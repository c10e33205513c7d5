//! Joins two TUN devices and nothing else: `copier A B` writes to each whatever it reads from the other.
//!
//! It is what a router can't be faster than: the measure that `scripts/bench-forward` holds ours against.

use std::{env, io, process};

use rustix::event::{PollFd, PollFlags, poll};
use tunstack::device::{Device, Plain, Received};
use tunstack::proto::{DeviceId, Egress};

/// Packets read from one side before it is the other's turn.
const BATCH: usize = 64;

fn main() {
    let error = copy().err();
    eprintln!("copier: {}", error.map_or_else(|| "a device is gone".to_owned(), |error| error.to_string()));
    process::exit(1);
}

/// Copies until a device is gone.
fn copy() -> io::Result<()> {
    let mut names = env::args().skip(1);
    let (Some(left), Some(right)) = (names.next(), names.next()) else {
        return Err(io::Error::other("name two TUN devices, as in `copier tun0 tun1`"));
    };
    let open = |name: &str| Plain::open(name).map_err(io::Error::other);
    let (left, right) = (open(&left)?, open(&right)?);
    let mut buffer = vec![0; 65_535];
    loop {
        let mut moved = 0;
        for (from, to) in [(&left, &right), (&right, &left)] {
            for _ in 0..BATCH {
                match from.recv(&mut buffer) {
                    Received::Packet { len, .. } => {
                        let _ = to.send(Egress::plain(DeviceId(0), &buffer[..len], &[]));
                        moved += 1;
                    }
                    Received::Empty => break,
                    Received::Gone => return Ok(()),
                }
            }
        }
        if moved == 0 {
            let mut fds =
                [&left, &right].map(|device| PollFd::from_borrowed_fd(device.poll_fd(), PollFlags::IN));
            poll(&mut fds, None)?;
        }
    }
}
