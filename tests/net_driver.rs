//! A stack that runs on a thread of the program's choosing: who waits for it, what else it hears of, and how it ends.

use std::io::{Read, Write};
use std::ops::ControlFlow::{Break, Continue};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use tunstack::device::{Device, MemoryDevice, Received, Room};
use tunstack::net::{Builder, Driver, Net, Stopped, TcpListener, TcpStream};
use tunstack::proto::{ChecksumState, DeviceId, Egress, Event, Owner, Sent, Stack};
use tunstack::runtime::Service;
use tunstack::time::Instant;

/// In which all that follows has happened, or never will.
const SOON: Duration = Duration::from_secs(20);

fn builder() -> (Builder, MemoryDevice) {
    let (device, peer) = MemoryDevice::pair(1500).unwrap();
    (Net::builder().device(device).addr("10.9.0.1/24"), peer)
}

fn built() -> (Net, Driver) {
    builder().0.build().unwrap()
}

/// Does it on a thread of its own.
fn aside<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(act()));
    told
}

fn soon<T>(told: &Receiver<T>) -> T {
    told.recv_timeout(SOON).expect("it is over soon")
}

fn is_shutdown(stopped: &Stopped) -> bool {
    matches!(stopped, Stopped::Shutdown(_))
}

#[test]
fn it_runs_on_the_thread_that_asks_for_it_until_the_stack_ends() {
    let (net, driver) = built();
    // Whoever waits before it runs is answered when it does.
    let waiting = net.clone();
    let talk = aside(move || {
        let listener = TcpListener::bind(&waiting, "10.9.0.1:7").unwrap();
        let mut client = TcpStream::connect(&waiting, "10.9.0.1:7").unwrap();
        let mut server = listener.accept().unwrap().0;
        client.write_all(b"odd").unwrap();
        let mut read = [0; 3];
        server.read_exact(&mut read).unwrap();
        assert!(waiting.stopped().is_none());
        waiting.shutdown(SOON)
    });
    let run = aside(move || driver.run());
    soon(&talk);
    assert!(is_shutdown(&soon(&run)));
    assert!(net.stopped().is_some_and(|stopped| is_shutdown(&stopped)));
}

#[test]
fn a_driver_that_is_dropped_leaves_a_stack_that_has_stopped() {
    let (net, driver) = built();
    let waits = net.clone();
    let stopped = aside(move || waits.wait_stopped());
    drop(driver);
    assert!(is_shutdown(&soon(&stopped)));
    let error = TcpListener::bind(&net, "10.9.0.1:7").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NetworkDown);
}

#[test]
fn the_last_handle_waits_for_no_driver_that_does_not_run_and_one_that_does_then_ends_at_once() {
    let over = aside(|| {
        let (net, driver) = built();
        drop(net);
        driver.run()
    });
    assert!(is_shutdown(&soon(&over)));
}

#[test]
fn the_last_handle_ends_a_driver_that_runs_elsewhere() {
    let (net, driver) = built();
    let run = aside(move || driver.run());
    let dropped = aside(move || drop(net));
    assert!(is_shutdown(&soon(&run)));
    soon(&dropped);
}

#[test]
fn what_is_watched_is_told_until_it_was_read_and_may_end_the_stack() {
    let (net, driver) = built();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let (tell, told) = mpsc::channel();
    let ends = net.clone();
    let driver = driver
        .watch(theirs, move |stream| {
            let mut octet = [0];
            stream.read_exact(&mut octet).unwrap();
            // Nobody holds the lock.
            assert!(ends.stopped().is_none() && ends.counters().packets_in == 0);
            tell.send(octet[0]).unwrap();
            if octet[0] == b'q' {
                // It asks, and waits for nothing here.
                ends.shutdown(SOON);
            }
            Continue(())
        })
        .unwrap();
    let run = aside(move || driver.run());
    // The loop sleeps by now, or soon does.
    for octet in [b"a".as_slice(), b"bc"] {
        ours.write_all(octet).unwrap();
        octet.iter().for_each(|octet| assert_eq!(soon(&told), *octet));
    }
    ours.write_all(b"q").unwrap();
    assert_eq!(soon(&told), b'q');
    assert!(is_shutdown(&soon(&run)));
}

#[test]
fn a_panic_of_whoever_watches_is_the_stacks_end_and_is_told() {
    let (net, driver) = built();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let driver = driver.watch(theirs, |_| panic!("no more of this")).unwrap();
    let run = aside(move || driver.run());
    ours.write_all(b"x").unwrap();
    let cause = "no more of this".to_owned();
    assert_eq!(soon(&run), Stopped::Failed { cause: cause.clone() });
    assert_eq!(net.stopped(), Some(Stopped::Failed { cause }));
}

#[test]
fn what_cannot_be_waited_for_is_refused() {
    let (_net, driver) = built();
    let file = std::fs::File::open(file!()).unwrap();
    let error = driver.watch(file, |_| Continue(())).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
}

#[test]
fn what_is_watched_no_longer_is_dropped() {
    let (net, driver) = built();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (told, tells) = mpsc::channel();
    // It is readable for ever, also by this other descriptor of it.
    let copy = theirs.try_clone().unwrap();
    let driver = driver
        .watch(theirs, move |stream| {
            told.send(stream.read(&mut [0]).unwrap()).unwrap();
            Break(())
        })
        .unwrap();
    let run = aside(move || driver.run());
    drop(ours);
    assert_eq!(tells.recv_timeout(SOON), Ok(0));
    assert_eq!(tells.recv_timeout(SOON), Err(mpsc::RecvTimeoutError::Disconnected));
    net.shutdown(SOON);
    soon(&run);
    drop(copy);
}

#[test]
fn a_loop_that_looks_before_it_sleeps_hears_of_the_end() {
    let (builder, peer) = builder();
    let (net, driver) = builder.busy_poll(SOON * 10).build().unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let ends = net.clone();
    let driver = driver
        .watch(theirs, move |stream| {
            stream.read_exact(&mut [0]).unwrap();
            ends.shutdown(SOON);
            Continue(())
        })
        .unwrap();
    let run = aside(move || driver.run());
    assert_eq!(peer.send(Egress::plain(DeviceId(0), b"x", &[])), Sent::Taken);
    while net.counters().packets_in == 0 {
        thread::yield_now();
    }
    ours.write_all(b"q").unwrap();
    assert!(is_shutdown(&soon(&run)));
}

/// Does it when it is dropped.
struct AtTheEnd<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtTheEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Waits for the end when it is dropped, sends what it heard, and panics.
fn waits_at_the_end(net: &Net) -> (AtTheEnd<impl FnMut() + Send + 'static>, Receiver<Stopped>) {
    let (tell, told) = mpsc::channel();
    let net = net.clone();
    let waits = AtTheEnd(move || {
        let waits = net.clone();
        if let Ok(stopped) = aside(move || waits.wait_stopped()).recv_timeout(SOON) {
            tell.send(stopped).unwrap();
        }
        panic!("and this is nobody's end");
    });
    (waits, told)
}

#[test]
fn who_watched_may_wait_for_the_end_when_it_is_dropped_and_panic() {
    for runs in [true, false] {
        let (net, driver) = built();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (waits, told) = waits_at_the_end(&net);
        let watches = move |_: &mut UnixStream| {
            let _held = &waits;
            Continue(())
        };
        let driver = driver.watch(theirs, watches).unwrap();
        let run = aside(move || if runs { drop(driver.run()) } else { drop(driver) });
        if runs {
            net.shutdown(SOON);
        }
        soon(&run);
        assert!(
            told.try_recv().is_ok_and(|stopped| is_shutdown(&stopped)),
            "it was dropped before the end was told"
        );
        drop(ours);
    }
}

#[test]
fn who_would_have_watched_what_cannot_be_waited_for_may_wait_for_the_end_when_it_is_dropped() {
    let (net, driver) = built();
    let (waits, told) = waits_at_the_end(&net);
    let refused = aside(move || {
        let file = std::fs::File::open(file!()).unwrap();
        let watches = move |_: &mut std::fs::File| {
            let _held = &waits;
            Continue(())
        };
        driver.watch(file, watches).unwrap_err().kind()
    });
    assert_eq!(soon(&refused), std::io::ErrorKind::PermissionDenied);
    assert!(
        told.try_recv().is_ok_and(|stopped| is_shutdown(&stopped)),
        "it was dropped before the end was told"
    );
}

/// A service that can't be dropped in peace.
struct Restless;

impl Service for Restless {
    fn start(&mut self, _: &mut Stack, _: Owner, _: Instant) -> std::io::Result<()> {
        Ok(())
    }

    fn on_event(&mut self, _: &mut Stack, _: Event, _: Instant) {}

    fn on_closing(&mut self, _: &mut Stack, _: Instant) {}
}

impl Drop for Restless {
    fn drop(&mut self) {
        panic!("no rest for this one");
    }
}

#[test]
fn a_service_that_panics_when_it_is_dropped_changes_nothing_about_the_end() {
    let (net, driver) = built();
    net.add_service(Restless).unwrap();
    net.add_service(Restless).unwrap();
    let run = aside(move || driver.run());
    net.shutdown(SOON);
    assert!(is_shutdown(&soon(&run)));
}

#[test]
fn the_thread_that_ran_it_hears_the_truth_about_the_end() {
    let (net, driver) = built();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let driver = driver.watch(theirs, |_| panic!("no more of this")).unwrap();
    ours.write_all(b"x").unwrap();
    let ends = aside(move || {
        let ran = driver.run();
        net.shutdown(SOON);
        [ran, net.wait_stopped(), net.stopped().unwrap()]
    });
    let failed = Stopped::Failed { cause: "no more of this".to_owned() };
    assert_eq!(soon(&ends), [failed.clone(), failed.clone(), failed]);
}

/// A device that always has one more datagram, which is nobody's, or never any; and panics when it is asked for its MTU, once it has
/// been told to.
struct Odd {
    bell: OwnedFd,
    floods: bool,
    is_moody: Arc<AtomicBool>,
}

impl Odd {
    fn new(floods: bool) -> Odd {
        let bell = eventfd(floods.into(), EventfdFlags::CLOEXEC).unwrap();
        Odd { bell, floods, is_moody: Arc::default() }
    }
}

impl Device for Odd {
    fn name(&self) -> &str {
        "odd"
    }

    fn mtu(&self) -> usize {
        assert!(!self.is_moody.load(Ordering::Relaxed), "not now");
        1500
    }

    fn recv(&self, buffer: &mut [u8]) -> Received {
        if !self.floods {
            return Received::Empty;
        }
        buffer[..20].fill(0);
        Received::Packet { len: 20, checksum: ChecksumState::Trusted, gso_size: None }
    }

    fn send(&self, _: Egress<'_>) -> Sent {
        Sent::Taken
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn room(&self) -> Room {
        Room::Readable
    }
}

#[test]
fn a_loop_that_never_sleeps_hears_of_what_is_watched() {
    let (net, driver) = Net::builder().device(Odd::new(true)).addr("10.9.0.1/24").build().unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let ends = net.clone();
    let end = move |stream: &mut UnixStream| {
        stream.read_exact(&mut [0]).unwrap();
        ends.shutdown(SOON);
        Continue(())
    };
    let driver = driver.watch(theirs, end).unwrap();
    let run = aside(move || driver.run());
    while net.counters().packets_in < 10_000 {
        thread::yield_now();
    }
    ours.write_all(b"q").unwrap();
    assert!(is_shutdown(&soon(&run)));
}

#[test]
fn a_device_that_panics_while_somebody_asks_about_it_is_the_end_for_all_who_wait() {
    let device = Odd::new(false);
    let is_moody = Arc::clone(&device.is_moody);
    let (net, driver) = Net::builder().device(device).addr("10.9.0.1/24").build().unwrap();
    let run = aside(move || driver.run());
    let listener = TcpListener::bind(&net, "10.9.0.1:7").unwrap();
    let waits = aside(move || listener.accept().map(drop).unwrap_err().kind());
    // The loop and the other thread sleep by now, or the test is an easier one.
    thread::sleep(Duration::from_millis(50));
    is_moody.store(true, Ordering::Relaxed);
    let asks = net.clone();
    assert!(thread::spawn(move || asks.mtu()).join().is_err());
    assert_eq!(soon(&waits), std::io::ErrorKind::NetworkDown);
    assert!(matches!(soon(&run), Stopped::Failed { .. }));
}
