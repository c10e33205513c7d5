//! The device taken away, down and up again under a running daemon.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use crate::harness::{Daemon, in_namespace, sh};

#[test]
fn a_device_that_is_deleted_ends_the_daemon_with_a_message_and_a_failure() {
    in_namespace(|| {
        let mut daemon = Daemon::up("--tun tun0");
        sh("ip link delete tun0");
        let status = daemon.process().wait(Duration::from_secs(5));
        assert_eq!(status.code(), Some(1));
        let said = daemon.process().stderr();
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        assert!(said.contains("tun0"), "{said}");
    });
}

#[test]
fn a_device_that_is_deleted_under_a_busy_daemon_ends_it_just_the_same() {
    in_namespace(|| {
        let mut daemon = Daemon::up("--tun tun0");
        let mut stream = TcpStream::connect("10.9.0.2:19").expect("the service accepts");
        stream.read_exact(&mut [0; 100_000]).expect("chargen goes on for ever");
        sh("ip link delete tun0");
        assert_eq!(daemon.process().wait(Duration::from_secs(5)).code(), Some(1));
        assert!(daemon.process().stderr().contains("tun0"));
    });
}

#[test]
fn a_link_set_down_and_up_again_in_mid_transfer_costs_time_but_no_byte() {
    in_namespace(|| {
        let mut daemon = Daemon::up("--tun tun0");
        let stream = TcpStream::connect("10.9.0.2:7").expect("the service accepts");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("the timeout is not zero");
        let sent: Vec<u8> = (0..4_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut received = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                for (n, chunk) in sent.chunks(1_000_000).enumerate() {
                    if n > 0 {
                        sh("ip link set tun0 down");
                        thread::sleep(Duration::from_millis(300));
                        sh("ip link set tun0 up");
                    }
                    (&stream).write_all(chunk).expect("the connection outlives the link");
                }
                stream.shutdown(Shutdown::Write).expect("the connection outlives the link");
            });
            (&stream).read_to_end(&mut received).expect("the connection outlives the link");
        });
        assert!(received == sent, "{} bytes sent, {} came back, or others", sent.len(), received.len());
        sh("ping -c 1 -W 2 10.9.0.2");
        assert!(daemon.process().is_running());
    });
}

#[test]
fn a_daemon_whose_link_is_down_uses_no_processor_time() {
    in_namespace(|| {
        let daemon = Daemon::up("--tun tun0");
        sh("ip link set tun0 down");
        thread::sleep(Duration::from_millis(300));
        let before = daemon.cpu_ticks();
        thread::sleep(Duration::from_secs(2));
        let used = daemon.cpu_ticks() - before;
        assert!(used <= 1, "{used} ticks of 10 ms in 2 s");
    });
}
