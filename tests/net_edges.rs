//! The edges of a running stack: what services inside the loop may do, when a device is let go, and what options
//! and handles promise.

mod support {
    pub(crate) mod running;
}

use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use support::running::{PATIENCE, pair};
use tunstack::device::{Device, MemoryDevice, Received, Room};
use tunstack::net::{
    Incoming, IntoIncoming, KeepAlive, Net, SocketOptions, TcpListener, TcpStream, UdpSocket,
};
use tunstack::proto::{Config, Egress, Event, Owner, Sent, SocketId, Stack};
use tunstack::runtime::Service;
use tunstack::time::Instant;

const LEFT: &str = "10.9.0.1";
const RIGHT: &str = "10.9.0.2";

/// Sends itself a datagram for every datagram that it gets: there is always something to do.
struct Soliloquy;

impl Service for Soliloquy {
    fn start(&mut self, stack: &mut Stack, owner: Owner, now: Instant) -> io::Result<()> {
        let local = "10.9.0.1:5000".parse().unwrap();
        let socket = stack.udp_bind(now, local, owner)?;
        stack.udp_send_to(now, socket, b"to be", Some(local))?;
        Ok(())
    }

    fn on_event(&mut self, stack: &mut Stack, event: Event, now: Instant) {
        let SocketId::Udp(socket) = event.socket else { return };
        let mut buffer = [0; 9];
        while let Ok((len, from)) = stack.udp_recv_from(socket, &mut buffer) {
            let _ = stack.udp_send_to(now, socket, &buffer[..len], Some(from));
        }
    }

    fn on_closing(&mut self, _: &mut Stack, _: Instant) {}
}

#[test]
fn a_service_that_talks_to_itself_does_not_keep_the_loop_from_its_device() {
    let (left, right) = pair();
    left.add_service(Soliloquy).unwrap();
    let listener = TcpListener::bind(&left, (LEFT, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    TcpStream::connect_timeout(&right, &address, Duration::from_secs(5)).unwrap();
}

/// Lets go of a stack when a datagram comes.
struct LastWord {
    net: Arc<Mutex<Option<Net>>>,
    // Hangs up when the service is dropped.
    _alive: mpsc::Sender<()>,
}

impl Service for LastWord {
    fn start(&mut self, stack: &mut Stack, owner: Owner, now: Instant) -> io::Result<()> {
        stack.udp_bind(now, "10.9.0.1:5000".parse().unwrap(), owner)?;
        Ok(())
    }

    fn on_event(&mut self, _: &mut Stack, _: Event, _: Instant) {
        drop(self.net.lock().unwrap().take());
    }

    fn on_closing(&mut self, _: &mut Stack, _: Instant) {}
}

#[test]
fn a_service_may_drop_the_last_handle_of_its_own_stack() {
    let (left, right) = pair();
    let slot = Arc::new(Mutex::new(None));
    let (alive, end) = mpsc::channel();
    left.add_service(LastWord { net: Arc::clone(&slot), _alive: alive }).unwrap();
    *slot.lock().unwrap() = Some(left);
    UdpSocket::bind(&right, (RIGHT, 0)).unwrap().send_to(b"go", (LEFT, 5000)).unwrap();
    assert_eq!(
        end.recv_timeout(PATIENCE),
        Err(mpsc::RecvTimeoutError::Disconnected),
        "the stack never ended"
    );
}

/// A device that takes its time to be let go.
struct Clinging {
    inner: MemoryDevice,
    gone: Arc<AtomicBool>,
}

impl Drop for Clinging {
    fn drop(&mut self) {
        thread::sleep(Duration::from_millis(100));
        self.gone.store(true, Ordering::SeqCst);
    }
}

impl Device for Clinging {
    fn name(&self) -> &str {
        "clinging"
    }

    fn mtu(&self) -> usize {
        self.inner.mtu()
    }

    fn recv(&self, buffer: &mut [u8]) -> Received {
        self.inner.recv(buffer)
    }

    fn send(&self, egress: Egress<'_>) -> Sent {
        self.inner.send(egress)
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.inner.poll_fd()
    }

    fn room(&self) -> Room {
        self.inner.room()
    }
}

#[test]
fn whoever_hears_of_the_end_finds_the_device_free() {
    let (inner, _other_end) = MemoryDevice::pair(1500).unwrap();
    let gone = Arc::new(AtomicBool::new(false));
    let device = Clinging { inner, gone: Arc::clone(&gone) };
    let net = Net::builder().device(device).addr("10.9.0.1/24").start().unwrap();
    let waiter = {
        let net = net.clone();
        thread::spawn(move || {
            net.wait_stopped();
            gone.load(Ordering::SeqCst)
        })
    };
    net.shutdown(Duration::ZERO);
    assert!(waiter.join().unwrap(), "the device was still there");
}

#[test]
fn times_of_nothing_are_refused_where_they_mean_nothing() {
    let (left, right) = pair();
    let listener = TcpListener::bind(&right, (RIGHT, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(&left, address).unwrap();
    let good = SocketOptions::new(&Config::default());
    let (second, zero) = (Duration::from_secs(1), Duration::ZERO);
    let keepalive = |idle, interval, probes| SocketOptions {
        keepalive: Some(KeepAlive { idle, interval, probes }),
        ..good
    };
    client.set_options(keepalive(second, second, 1)).unwrap();
    let before = client.options().unwrap();
    let bad = [
        keepalive(zero, second, 1),
        keepalive(second, zero, 1),
        keepalive(second, second, 0),
        SocketOptions { user_timeout: Some(zero), ..good },
        SocketOptions { r2: zero, ..good },
        SocketOptions { r2_syn: zero, ..good },
        SocketOptions { ttl: 0, ..good },
    ];
    for options in bad {
        for refused in [
            client.set_options(options).err(),
            listener.set_options(options).err(),
            TcpStream::connect_with(&left, None, address, options).err(),
        ] {
            assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::InvalidInput), "{options:?}");
        }
    }
    let keepalive = KeepAlive { idle: zero, interval: second, probes: 3 };
    assert_eq!(client.set_keepalive(Some(keepalive)).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(client.set_user_timeout(Some(zero)).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(client.set_retransmit_limits(3, zero).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(client.options().unwrap(), before, "what is refused changes nothing");
    assert_eq!(left.tcp_census().sockets, 1, "what is refused opens nothing");
}

#[test]
fn handles_go_wherever_stds_go() {
    fn free<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>() {}
    free::<Net>();
    free::<TcpListener>();
    free::<TcpStream>();
    free::<UdpSocket>();
    free::<Incoming<'_>>();
    free::<IntoIncoming>();
}
