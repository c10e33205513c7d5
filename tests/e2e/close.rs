//! Closing, from either side, between the library and the kernel.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use tunstack::proto::Config;

use crate::harness::{Opener, all_gone, eventually, in_namespace, net, pair, short_time_wait};

const OPENERS: [Opener; 2] = [Opener::Kernel, Opener::Stack];

/// Longer than any buffer's spare room, so that it still flows after the half-close.
const LATE: usize = 3_000_000;

fn late_data() -> Vec<u8> {
    (0..LATE).map(|i| (i % 251) as u8).collect()
}

fn read_all(mut from: impl Read) -> Vec<u8> {
    let mut received = Vec::new();
    from.read_to_end(&mut received).expect("the connection ends in good order");
    received
}

#[test]
fn data_still_flows_to_a_kernel_that_has_closed_its_sending_side() {
    in_namespace(|| {
        let net = net(short_time_wait());
        for opener in OPENERS {
            let (mut ours, mut theirs) = pair(&net, opener);
            theirs.write_all(b"the question").expect("the connection stands");
            theirs.shutdown(Shutdown::Write).expect("the connection stands");
            assert_eq!(read_all(&ours), b"the question");
            let late = late_data();
            let reader = thread::spawn(move || read_all(&theirs));
            ours.write_all(&late).expect("the connection stands");
            drop(ours);
            assert!(reader.join().expect("the reader ends") == late, "{opener:?}");
            all_gone(&net, Duration::from_secs(5));
        }
    });
}

#[test]
fn data_still_flows_from_the_kernel_when_the_stack_has_closed_its_sending_side() {
    in_namespace(|| {
        let net = net(short_time_wait());
        for opener in OPENERS {
            let (mut ours, mut theirs) = pair(&net, opener);
            ours.write_all(b"the question").expect("the connection stands");
            ours.shutdown(Shutdown::Write).expect("the connection stands");
            assert_eq!(ours.write(b"more").expect_err("it is closed").kind(), ErrorKind::BrokenPipe);
            assert_eq!(read_all(&theirs), b"the question");
            let late = late_data();
            thread::scope(|scope| {
                let reader = scope.spawn(|| read_all(&ours));
                theirs.write_all(&late).expect("the connection stands");
                theirs.shutdown(Shutdown::Write).expect("the connection stands");
                assert!(reader.join().expect("the reader ends") == late, "{opener:?}");
            });
            drop(ours);
            all_gone(&net, Duration::from_secs(5));
        }
    });
}

#[test]
fn whoever_closes_first_is_the_one_in_time_wait() {
    in_namespace(|| {
        let net = net(Config { msl: Duration::from_millis(500), ..Config::default() });
        let (ours, theirs) = pair(&net, Opener::Kernel);
        drop(theirs);
        assert_eq!(read_all(&ours), b"");
        drop(ours);
        all_gone(&net, Duration::from_millis(400));

        let (ours, theirs) = pair(&net, Opener::Kernel);
        drop(ours);
        assert_eq!(read_all(&theirs), b"");
        drop(theirs);
        eventually("the stack is in TIME-WAIT", Duration::from_secs(1), || net.tcp_census().time_wait == 1);
        all_gone(&net, Duration::from_secs(5));
    });
}

#[test]
fn what_was_written_before_a_socket_is_dropped_still_arrives() {
    in_namespace(|| {
        // More than the peer takes at once, and a buffer that holds it from the start.
        let net = net(Config { send_buffer_initial: usize::MAX, ..short_time_wait() });
        for opener in OPENERS {
            let (mut ours, theirs) = pair(&net, opener);
            let sent = vec![b'q'; 400_000];
            ours.write_all(&sent).expect("the send buffer holds this much");
            drop(ours);
            thread::sleep(Duration::from_millis(100));
            assert!(read_all(&theirs) == sent, "{opener:?}");
            drop(theirs);
            all_gone(&net, Duration::from_secs(5));
        }
    });
}

#[test]
fn what_was_written_before_the_last_handle_of_the_stack_is_dropped_still_arrives() {
    in_namespace(|| {
        let net = net(short_time_wait());
        let (mut ours, theirs) = pair(&net, Opener::Stack);
        let reader = thread::spawn(move || read_all(&theirs));
        let sent = late_data();
        ours.write_all(&sent).expect("the connection stands");
        drop(ours);
        drop(net);
        assert!(reader.join().expect("the reader ends") == sent);
    });
}

#[test]
fn unread_data_outlives_the_connection() {
    in_namespace(|| {
        let net = net(short_time_wait());
        let (ours, mut theirs) = pair(&net, Opener::Kernel);
        theirs.write_all(b"read me later").expect("the connection stands");
        drop(theirs);
        ours.shutdown(Shutdown::Write).expect("the connection stands");
        thread::sleep(Duration::from_millis(500));
        assert_eq!(read_all(&ours), b"read me later");
        drop(ours);
        all_gone(&net, Duration::from_secs(5));
    });
}

#[test]
fn a_socket_dropped_with_unread_data_resets_as_the_kernels_does() {
    in_namespace(|| {
        let net = net(short_time_wait());
        let (ours, mut theirs) = pair(&net, Opener::Kernel);
        theirs.write_all(b"never read").expect("the connection stands");
        eventually("it has arrived", Duration::from_secs(2), || {
            ours.peek(&mut [0; 16]).is_ok_and(|n| n == 10)
        });
        drop(ours);
        let error = theirs.read(&mut [0; 16]).expect_err("the connection is reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        all_gone(&net, Duration::from_secs(5));
    });
}

#[test]
fn linger_of_zero_resets() {
    in_namespace(|| {
        let net = net(short_time_wait());
        let (ours, mut theirs) = pair(&net, Opener::Stack);
        ours.set_linger(Some(Duration::ZERO)).expect("the socket is open");
        drop(ours);
        let error = theirs.read(&mut [0; 16]).expect_err("the connection is reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        all_gone(&net, Duration::from_secs(5));
    });
}

#[test]
fn a_reset_from_the_kernel_is_reported_as_std_reports_it() {
    in_namespace(|| {
        let net = net(short_time_wait());
        let (mut ours, theirs) = pair(&net, Opener::Kernel);
        // Unread data makes the kernel close with a reset.
        ours.write_all(b"never read").expect("the connection stands");
        thread::sleep(Duration::from_millis(200));
        drop(theirs);
        assert_eq!(ours.read(&mut [0; 16]).expect_err("it was reset").kind(), ErrorKind::ConnectionReset);
        assert_eq!(ours.read(&mut [0; 16]).expect("an error is reported once"), 0);
        assert_eq!(ours.write(b"x").expect_err("it is closed").kind(), ErrorKind::BrokenPipe);
        drop(ours);
        all_gone(&net, Duration::from_secs(5));
    });
}

#[test]
fn shutting_down_the_stack_says_what_was_finished_and_what_was_reset() {
    in_namespace(|| {
        let net = net(Config::default());
        let (ours, theirs) = pair(&net, Opener::Kernel);
        let (mut stuck, deaf) = pair(&net, Opener::Kernel);
        stuck.set_nonblocking(true).expect("the socket is open");
        // More than the deaf peer's buffers take: this connection can't finish.
        let chunk = vec![0; 1 << 16];
        while stuck.write(&chunk).is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
        let reader = thread::spawn(move || read_all(&theirs));
        drop(ours);
        drop(stuck);
        let report = net.shutdown(Duration::from_millis(800));
        assert!(!report.drained, "{report:?}");
        assert_eq!(report.reset, 1, "{report:?}");
        assert!(report.took < Duration::from_secs(2), "{report:?}");
        assert_eq!(reader.join().expect("the reader ends"), b"");
        drop(deaf);
    });
}
