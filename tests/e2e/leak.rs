//! Ten thousand connections one after another leave nothing behind.

use std::io::{Read, Write};
use std::net::{TcpListener as KernelListener, TcpStream as KernelStream};
use std::thread;
use std::time::Duration;

use peak_alloc::PeakAlloc;
use tunstack::net::{Net, TcpListener, TcpStream};

use crate::harness::{eventually, in_namespace_for, net, short_time_wait};

/// Counts what is allocated and not freed. Each test runs in a process of its own, so it counts for one.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const STACK: &str = "10.9.0.2:8888";
const KERNEL: &str = "10.9.0.1:8888";

/// One conversation: both say four bytes, `first` closes before `second` does.
fn converse(first: &mut (impl Read + Write), second: &mut (impl Read + Write)) {
    first.write_all(b"ping").expect("the connection stands");
    second.read_exact(&mut [0; 4]).expect("the connection stands");
    second.write_all(b"pong").expect("the connection stands");
    first.read_exact(&mut [0; 4]).expect("the connection stands");
}

fn ended(mut stream: impl Read) {
    assert_eq!(stream.read(&mut [0]).expect("the connection ends in good order"), 0);
}

/// Opens and closes `count` connections, by turns in the four ways of opening and closing first.
fn one_after_another(net: &Net, ours: &TcpListener, theirs: &KernelListener, count: usize) {
    for i in 0..count {
        let (mut stack, mut kernel) = if i % 2 == 0 {
            let kernel = KernelStream::connect(STACK).expect("the stack accepts");
            (ours.accept().expect("one has connected").0, kernel)
        } else {
            let stack = TcpStream::connect(net, KERNEL).expect("the kernel accepts");
            (stack, theirs.accept().expect("one has connected").0)
        };
        if i % 4 < 2 {
            converse(&mut stack, &mut kernel);
            drop(stack);
            ended(kernel);
        } else {
            converse(&mut kernel, &mut stack);
            drop(kernel);
            ended(stack);
        }
    }
}

/// Waits until only the listener is left.
fn settle(net: &Net) {
    eventually("nothing but the listener is left", Duration::from_secs(10), || {
        let census = net.tcp_census();
        let rest = (census.sockets, census.half_open, census.time_wait, census.timers, census.pages);
        census.listeners == 1 && rest == (0, 0, 0, 0, 0)
    });
    // The loop may still hold what it has just taken in.
    thread::sleep(Duration::from_millis(50));
}

#[test]
fn ten_thousand_connections_one_after_another_leave_no_socket_timer_page_or_memory() {
    in_namespace_for(Duration::from_secs(240), || {
        let net = net(short_time_wait());
        let ours = TcpListener::bind(&net, STACK).expect("the port is free");
        let theirs = KernelListener::bind(KERNEL).expect("the port is free");
        // Tables grow to the size that this load needs, and stay there.
        one_after_another(&net, &ours, &theirs, 2_000);
        settle(&net);
        let before = ALLOCATOR.current_usage();
        one_after_another(&net, &ours, &theirs, 8_000);
        settle(&net);
        let grown = ALLOCATOR.current_usage().saturating_sub(before);
        // A leak of only 16 bytes a connection would show.
        assert!(grown < 128_000, "{grown} bytes more are allocated than 8,000 connections ago");
        let counters = net.counters();
        assert_eq!((counters.tcp_active_opens, counters.tcp_passive_opens), (5_000, 5_000));
        assert_eq!(counters.tcp_given_up, 0);
    });
}
