//! `tunstack connect`, to servers of the kernel's.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Ended, Process, in_namespace, run, run_with_input, sh, tunstack};

const LIMIT: Duration = Duration::from_secs(40);

/// An address that our stack's kernel side has on no device that it makes, and a server there.
fn server() -> TcpListener {
    sh("ip addr add 192.0.2.1/32 dev lo");
    TcpListener::bind("192.0.2.1:8888").expect("the port is free")
}

fn connect() -> Command {
    let mut command = tunstack("connect");
    command.args(["-w", "10", "192.0.2.1", "8888"]);
    command
}

fn connect_with(input: &str) -> Ended {
    run_with_input(&mut connect(), input, LIMIT)
}

#[test]
fn what_is_typed_arrives_and_what_comes_is_printed_until_the_peer_ends() {
    in_namespace(|| {
        let listener = server();
        let echo = thread::spawn(move || {
            let (mut conn, _) = listener.accept().expect("one connects");
            let mut text = String::new();
            // Only the end of the client's input ends this.
            conn.read_to_string(&mut text).expect("the text is UTF-8");
            conn.write_all(text.to_uppercase().as_bytes()).expect("the client reads");
        });
        let ended = connect_with("hello\n");
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(ended.stdout, "HELLO\n");
        echo.join().expect("the server's assertions hold");
    });
}

#[test]
fn a_peer_that_has_said_all_still_gets_the_whole_input() {
    in_namespace(|| {
        let listener = server();
        let received = thread::spawn(move || {
            let (mut conn, _) = listener.accept().expect("one connects");
            conn.shutdown(Shutdown::Write).expect("the connection stands");
            let mut text = String::new();
            conn.read_to_string(&mut text).expect("a FIN, no reset");
            text
        });
        let text: String = (0..100_000).map(|number| format!("{number}\n")).collect();
        let ended = connect_with(&text);
        assert!(ended.status.success(), "{ended:?}");
        assert!(received.join().expect("the server's assertions hold") == text);
    });
}

#[test]
fn a_closed_port_is_refused_with_a_sentence() {
    in_namespace(|| {
        drop(server());
        let ended = run(&mut connect(), LIMIT);
        assert_eq!(ended.status.code(), Some(1));
        assert_eq!(
            ended.stderr.trim(),
            "tunstack: can't connect to 192.0.2.1:8888: it was refused: nobody listens there"
        );
    });
}

#[test]
fn a_signal_ends_a_connection_in_order() {
    in_namespace(|| {
        let listener = server();
        let mut client = Process::start(&mut connect());
        let (mut conn, _) = listener.accept().expect("one connects");
        conn.write_all(b"so far\n").expect("the connection stands");
        client.wait_for_stdout("so far\n", LIMIT);
        client.signal(Signal::INT);
        assert_eq!(conn.read(&mut [0]).expect("a FIN, no reset"), 0);
        drop(conn);
        assert!(client.wait(LIMIT).success());
    });
}
