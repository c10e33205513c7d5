//! Long transfers between the library and the kernel: what arrives has the hash of what was sent.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tunstack::net::TcpListener;
use tunstack::proto::Config;

use crate::harness::{Opener, all_gone, in_namespace_for, net, pair, receive, run, send, short_time_wait};

const SIZE: usize = 256 << 20;

const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn a_kernel_client_sends_256_mib_to_the_stack() {
    in_namespace_for(LIMIT, || {
        let net = net(short_time_wait());
        let (ours, theirs) = pair(&net, Opener::Kernel);
        let receiver = thread::spawn(move || receive(&ours));
        let sent = send(&theirs, SIZE, 1);
        drop(theirs);
        assert_eq!(receiver.join().expect("the receiver ends"), (SIZE, sent));
        all_gone(&net, Duration::from_secs(5));
    });
}

#[test]
fn a_stack_client_sends_256_mib_to_a_kernel_server() {
    in_namespace_for(LIMIT, || {
        let net = net(short_time_wait());
        let (ours, theirs) = pair(&net, Opener::Stack);
        let receiver = thread::spawn(move || receive(&theirs));
        let sent = send(&ours, SIZE, 2);
        drop(ours);
        assert_eq!(receiver.join().expect("the receiver ends"), (SIZE, sent));
        all_gone(&net, Duration::from_secs(5));
    });
}

#[test]
fn one_connection_carries_256_mib_each_way_at_the_same_time() {
    in_namespace_for(LIMIT, || {
        let net = net(short_time_wait());
        let (ours, theirs) = pair(&net, Opener::Kernel);
        thread::scope(|scope| {
            let up = scope.spawn(|| receive(&ours));
            let down = scope.spawn(|| receive(&theirs));
            let sent_up = scope.spawn(|| {
                let hash = send(&theirs, SIZE, 3);
                theirs.shutdown(std::net::Shutdown::Write).expect("the connection stands");
                hash
            });
            let sent_down = send(&ours, SIZE, 4);
            ours.shutdown(std::net::Shutdown::Write).expect("the connection stands");
            assert_eq!(down.join().expect("the receiver ends"), (SIZE, sent_down));
            assert_eq!(
                up.join().expect("the receiver ends"),
                (SIZE, sent_up.join().expect("the sender ends"))
            );
        });
        drop(ours);
        all_gone(&net, Duration::from_secs(5));
    });
}

#[test]
fn an_http_client_fetches_a_file_from_a_server_on_the_stack() {
    in_namespace_for(LIMIT, || {
        let net = net(Config::default());
        let listener = TcpListener::bind(&net, "10.9.0.2:80").expect("the port is free");
        let body: Vec<u8> = (0..3_000_000_u32).map(|i| b'a' + (i % 26).to_le_bytes()[0]).collect();
        let fetched = thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().expect("the client connects");
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).expect("the request ends with an empty line");
                    request.push(byte[0]);
                }
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                )
                .expect("the client reads");
                stream.write_all(&body).expect("the client reads");
            });
            let program = "import hashlib, urllib.request as r\n\
                           print(hashlib.sha256(r.urlopen('http://10.9.0.2/').read()).hexdigest())";
            run(std::process::Command::new("python3").args(["-c", program]), Duration::from_secs(30))
        });
        let expected: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(fetched.stdout.trim(), expected, "{}", fetched.stderr);
    });
}
