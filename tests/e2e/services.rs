//! The daemon's TCP services, by netcat and by kernel sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Daemon, Ended, eventually, in_namespace, in_namespace_for, run_with_input};

/// Runs netcat with `input` and the arguments, words parted by blanks.
fn nc(arguments: &str, input: &str) -> Ended {
    run_with_input(Command::new("nc").args(arguments.split_whitespace()), input, Duration::from_secs(10))
}

/// A kernel connection whose reads can't wait for ever.
fn connect(address: &str) -> TcpStream {
    let address = address.parse().expect("a literal address");
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).expect("the service accepts");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("the timeout is not zero");
    stream
}

#[test]
fn netcat_gets_its_hello_back() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let started = Instant::now();
        let ended = nc("-N 10.9.0.2 7", "hello\n");
        assert_eq!((ended.stdout.as_str(), ended.status.code()), ("hello\n", Some(0)), "{ended:?}");
        assert!(started.elapsed() < Duration::from_secs(2), "took {:?}", started.elapsed());
    });
}

#[test]
fn netcat_over_ipv6_gets_its_hello_back() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let ended = nc("-6 -N fd09::2 7", "hello\n");
        assert_eq!((ended.stdout.as_str(), ended.status.code()), ("hello\n", Some(0)), "{ended:?}");
    });
}

#[test]
fn a_closed_port_refuses_netcat_at_once() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        for target in ["10.9.0.2 4", "-6 fd09::2 4"] {
            let started = Instant::now();
            let ended = nc(&format!("-v -w 5 {target}"), "");
            assert_eq!(ended.status.code(), Some(1), "{ended:?}");
            assert!(ended.stderr.contains("Connection refused"), "{ended:?}");
            assert!(started.elapsed() < Duration::from_millis(900), "took {:?}", started.elapsed());
        }
    });
}

#[test]
fn discard_takes_everything_and_says_nothing() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let ended = nc("-N 10.9.0.2 9", &"into the void\n".repeat(10_000));
        assert_eq!((ended.stdout.as_str(), ended.status.code()), ("", Some(0)), "{}", ended.stderr);
    });
}

#[test]
fn daytime_is_one_line_with_the_year_and_the_end() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let year = crate::harness::sh("date +%Y");
        let ended = nc("10.9.0.2 13", "");
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert_eq!(ended.stdout.lines().count(), 1, "{ended:?}");
        assert!(ended.stdout.contains(year.trim()) && ended.stdout.contains(':'), "{ended:?}");
    });
}

/// RFC 864: line `n` is 72 of the 95 printing characters, starting `n` further on, and CR LF.
fn chargen_line(n: usize) -> Vec<u8> {
    let character = |at: usize| b' ' + u8::try_from((n + at) % 95).expect("95 characters");
    (0..72).map(character).chain(*b"\r\n").collect()
}

#[test]
fn chargen_draws_the_pattern_of_rfc_864() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let mut stream = connect("10.9.0.2:19");
        let mut received = vec![0; 74 * 95 * 20];
        stream.read_exact(&mut received).expect("chargen goes on for ever");
        // The RFC leaves open with which character the first line starts.
        let first = usize::from(received[0].checked_sub(b' ').expect("a printing character"));
        for (n, line) in received.chunks(74).enumerate() {
            assert_eq!(line, chargen_line(first + n), "line {n}: {}", String::from_utf8_lossy(line));
        }
    });
}

#[test]
fn a_chargen_client_that_never_reads_holds_up_nobody() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let deaf: Vec<_> = (0..20).map(|_| connect("10.9.0.2:19")).collect();
        thread::sleep(Duration::from_millis(500));
        let started = Instant::now();
        assert_eq!(nc("-N 10.9.0.2 7", "hello\n").stdout, "hello\n");
        assert!(started.elapsed() < Duration::from_secs(2), "took {:?}", started.elapsed());
        drop(deaf);
    });
}

#[test]
fn a_service_can_be_put_on_any_port_and_the_rest_left_out() {
    in_namespace(|| {
        let daemon = Daemon::up("--serve echo:2007,echo:2008");
        assert_eq!(daemon.ready_line(), "ready: tun0 10.9.0.2/24 fd09::2/64 echo:2007 echo:2008");
        assert_eq!(nc("-N 10.9.0.2 2007", "one\n").stdout, "one\n");
        assert_eq!(nc("-N 10.9.0.2 2008", "two\n").stdout, "two\n");
        assert!(nc("-v -w 5 10.9.0.2 9", "").stderr.contains("Connection refused"));
    });
}

/// Sends `size` pseudo-random bytes to the echo service on one thread, reads them back on another.
fn echo_through(address: &str, size: usize) {
    let stream = connect(address);
    let sent: Vec<u8> =
        (0..size as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    let mut received = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(&sent).expect("echo reads everything");
            stream.shutdown(Shutdown::Write).expect("the connection stands");
        });
        (&stream).read_to_end(&mut received).expect("echo ends when its input does");
    });
    assert!(received == sent, "{} bytes sent, {} came back, or others", sent.len(), received.len());
}

#[test]
fn echo_returns_every_byte_of_sizes_around_the_edges() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        // Around one segment, two, the initial window, a page, and the largest window without scaling.
        for size in [0, 1, 1447, 1448, 1449, 1459, 1460, 1461, 2920, 4096, 14_600, 65_535, 65_536, 1_000_000]
        {
            echo_through("10.9.0.2:7", size);
            echo_through("[fd09::2]:7", size);
        }
    });
}

#[test]
fn echo_survives_a_client_that_reads_only_when_all_is_written() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        // Small enough for the buffers of both sides together, large enough to close windows on the way.
        let mut stream = connect("10.9.0.2:7");
        let sent = vec![b'x'; 600_000];
        stream.write_all(&sent).expect("the buffers hold this much");
        stream.shutdown(Shutdown::Write).expect("the connection stands");
        thread::sleep(Duration::from_millis(300));
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("echo ends when its input does");
        assert!(received == sent, "{} bytes came back", received.len());
    });
}

#[test]
fn a_thousand_connections_at_once_are_all_echoed() {
    const COUNT: usize = 1000;
    in_namespace_for(Duration::from_secs(180), || {
        let _daemon = Daemon::up("");
        let mut streams: Vec<_> = (0..COUNT).map(|_| connect("10.9.0.2:7")).collect();
        // Twice, so that every connection is used after all of them are open.
        for round in 0..2 {
            let line = |i: usize| format!("{round}: connection {i:04}\n");
            for (i, stream) in streams.iter_mut().enumerate() {
                stream.write_all(line(i).as_bytes()).expect("all connections stand");
            }
            for (i, stream) in streams.iter_mut().enumerate() {
                let mut answer = vec![0; line(i).len()];
                stream.read_exact(&mut answer).expect("every connection is echoed");
                assert_eq!(String::from_utf8_lossy(&answer), line(i));
            }
        }
        for mut stream in streams {
            stream.shutdown(Shutdown::Write).expect("the connection stands");
            assert_eq!(stream.read(&mut [0; 64]).expect("the end comes without an error"), 0);
        }
    });
}

#[test]
fn a_client_that_resets_in_mid_transfer_costs_nobody_else_anything() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        for _ in 0..50 {
            let mut stream = connect("10.9.0.2:19");
            stream.read_exact(&mut [0; 1000]).expect("chargen goes on for ever");
            // Unread data makes the kernel close with a reset.
            drop(stream);
        }
        eventually("echo answers", Duration::from_secs(5), || {
            nc("-N 10.9.0.2 7", "hello\n").stdout == "hello\n"
        });
    });
}
