//! The daemon from its first line to its last: what it prints, logs, sets up, and how it ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Daemon, Host, STOP, eventually, in_namespace, run_with_input, sh, tunstack};

fn connect(address: &str) -> TcpStream {
    let address = address.parse().expect("a literal address");
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).expect("the service accepts");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("the timeout is not zero");
    stream
}

/// A client that doesn't read what chargen has queued by now, so that a first signal can't finish it.
fn deaf_client() -> TcpStream {
    let deaf = connect("10.9.0.2:19");
    thread::sleep(Duration::from_millis(500));
    deaf
}

/// How many threads a process has.
fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").count()
}

fn say_hello() {
    let nc =
        run_with_input(Command::new("nc").args(["-N", "10.9.0.2", "7"]), "hello\n", Duration::from_secs(10));
    assert_eq!(nc.stdout, "hello\n", "{nc:?}");
}

#[test]
fn the_first_line_says_ready_and_the_next_ones_what_to_try() {
    in_namespace(|| {
        let mut daemon = Daemon::up("");
        assert_eq!(
            daemon.ready_line(),
            "ready: tun0 10.9.0.2/24 fd09::2/64 echo:7 discard:9 daytime:13 chargen:19"
        );
        let shown = daemon.process().wait_for_stdout("nc -N 10.9.0.2 7", Duration::from_secs(2));
        assert!(shown.contains("ping -c 3 10.9.0.2"), "{shown}");
        assert_eq!(daemon.process().stderr(), "", "at the default level nothing is logged");
    });
}

#[test]
fn when_it_says_ready_the_hosts_side_has_its_addresses_and_is_up() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        let shown = sh("ip address show dev tun0");
        for part in ["inet 10.9.0.1/24 ", "inet6 fd09::1/64 ", ",UP", "mtu 1500 "] {
            assert!(shown.contains(part), "{part:?} is missing: {shown}");
        }
    });
}

#[test]
fn without_a_name_it_makes_the_next_free_device_and_leaves_others_alone() {
    in_namespace(|| {
        sh("ip tuntap add dev tun0 mode tun");
        let before = sh("ip -d link show dev tun0");
        let daemon = Daemon::up("");
        assert!(daemon.ready_line().starts_with("ready: tun1 10.9.0.2/24"), "{}", daemon.ready_line());
        assert_eq!(sh("ip -d link show dev tun0"), before);
    });
}

#[test]
fn two_daemons_live_side_by_side_on_networks_of_their_own() {
    in_namespace(|| {
        let one = Daemon::up("");
        let two = Daemon::up("--addr 10.10.0.2/24 --host-addr 10.10.0.1/24 --serve echo:7");
        assert!(one.ready_line().starts_with("ready: tun0 10.9.0.2/24"), "{}", one.ready_line());
        assert_eq!(two.ready_line(), "ready: tun1 10.10.0.2/24 echo:7");
        sh("ping -c 1 -W 2 10.9.0.2");
        sh("ping -c 1 -W 2 10.10.0.2");
    });
}

#[test]
fn a_device_that_it_made_goes_when_it_goes() {
    in_namespace(|| {
        let mut daemon = Daemon::up("");
        assert!(sh("ip link show").contains("tun0"));
        assert_eq!(daemon.stop_with(Signal::TERM).code(), Some(0));
        assert!(!sh("ip link show").contains("tun0"));
    });
}

#[test]
fn an_explicit_name_attaches_to_a_persistent_device_and_leaves_it_there() {
    in_namespace(|| {
        sh("ip tuntap add dev mytun mode tun");
        for _ in 0..2 {
            let mut daemon = Daemon::up("--tun mytun");
            assert!(daemon.ready_line().starts_with("ready: mytun 10.9.0.2/24"), "{}", daemon.ready_line());
            say_hello();
            assert_eq!(daemon.stop_with(Signal::TERM).code(), Some(0));
        }
        assert!(sh("ip -d link show dev mytun").contains("persist on"));
    });
}

#[test]
fn offloads_that_another_user_left_behind_are_switched_off() {
    /// Attaches as a program with offloads does (IFF_TUN, IFF_NO_PI, IFF_VNET_HDR), asks for checksums and
    /// segmentation (TUNSETOFFLOAD, TUN_F_CSUM, TUN_F_TSO4), and leaves.
    const OTHER_USER: &str = "import fcntl, os, struct
tun = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', b'mytun', 0x5001))
fcntl.ioctl(tun, 0x400454d0, 3)
";
    in_namespace(|| {
        sh("ip tuntap add dev mytun mode tun");
        let python =
            Command::new("python3").args(["-c", OTHER_USER]).status().expect("python3 can be started");
        assert!(python.success());
        let _daemon = Daemon::up("--tun mytun --offload off");
        // Half-made checksums would let nothing through.
        say_hello();
    });
}

#[test]
fn with_host_addr_none_it_needs_no_privilege_and_touches_nothing() {
    in_namespace(|| {
        let uid = rustix::process::getuid().as_raw();
        sh(&format!("ip tuntap add dev mine0 mode tun user {uid}"));
        sh("ip address add 10.9.0.1/24 dev mine0");
        sh("ip link set mine0 mtu 1400 up");
        let look = || sh("ip -o address show dev mine0 scope global");
        let before = look();
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]);
        command.arg(env!("CARGO_BIN_EXE_tunstack"));
        command.args(["up", "--tun", "mine0", "--addr", "10.9.0.2/24", "--host-addr", "none"]);
        let mut daemon = Daemon::start(&mut command);
        assert!(
            daemon.ready_line().starts_with("ready: mine0 10.9.0.2/24 echo:7"),
            "{}",
            daemon.ready_line()
        );
        sh("ping -c 1 -W 2 -M do -s 1372 10.9.0.2");
        say_hello();
        assert_eq!(look(), before);
        assert!(sh("ip link show dev mine0").contains("mtu 1400 "));
        assert_eq!(daemon.stop_with(Signal::TERM).code(), Some(0));
    });
}

#[test]
fn a_device_that_exists_keeps_its_mtu_unless_another_is_asked_for() {
    in_namespace(|| {
        sh("ip tuntap add dev mine0 mode tun");
        sh("ip link set mine0 mtu 1400");
        let look = || sh("ip link show dev mine0");
        let mut daemon = Daemon::up("--tun mine0");
        assert!(look().contains("mtu 1400 "), "{}", look());
        sh("ping -c 1 -W 2 -M do -s 1372 10.9.0.2");
        assert_eq!(daemon.stop_with(Signal::TERM).code(), Some(0));
        let _daemon = Daemon::up("--tun mine0 --mtu 1300");
        assert!(look().contains("mtu 1300 "), "{}", look());
    });
}

#[test]
fn with_host_addr_none_a_link_that_is_down_stays_down_until_its_owner_sets_it_up() {
    in_namespace(|| {
        sh("ip tuntap add dev mine0 mode tun");
        let _daemon = Daemon::up("--tun mine0 --host-addr none");
        assert!(!sh("ip link show dev mine0").contains(",UP"));
        sh("ip address add 10.9.0.1/24 dev mine0");
        sh("ip link set mine0 up");
        sh("ping -c 1 -W 2 10.9.0.2");
        say_hello();
    });
}

#[test]
fn with_host_addr_none_the_mtu_is_set_if_asked_for_and_nothing_else() {
    in_namespace(|| {
        let look = || sh("ip address show dev mine0");
        sh("ip tuntap add dev mine0 mode tun");
        let _daemon = Daemon::up("--tun mine0 --host-addr none --mtu 1300");
        assert!(look().contains("mtu 1300 "), "{}", look());
        assert!(!look().contains(",UP") && !look().contains("inet"), "{}", look());
    });
}

#[test]
fn an_mtu_that_changes_is_followed() {
    in_namespace(|| {
        let _daemon = Daemon::up("");
        for mtu in [9000, 1280, 576, 1500] {
            sh(&format!("ip link set tun0 mtu {mtu}"));
            // The daemon hears of it by netlink, so give it a moment.
            let size = mtu - 28;
            eventually(&format!("a ping of {mtu} bytes is answered"), Duration::from_secs(5), || {
                let mut ping = Command::new("ping");
                ping.args(["-q", "-c", "1", "-W", "1", "-M", "do", "-s", &size.to_string(), "10.9.0.2"]);
                run_with_input(&mut ping, "", Duration::from_secs(5)).status.success()
            });
            say_hello();
        }
    });
}

#[test]
fn an_mtu_is_followed_wherever_the_device_is_moved_and_whatever_it_is_called_there() {
    in_namespace(|| {
        let mut daemon = Daemon::up(
            "--tun left --addr 10.1.0.1/24 --host-addr none --tun right --addr 10.2.0.1/24 --host-addr none --forward",
        );
        let (left, right, further) = (Host::new(), Host::new(), Host::new());
        left.adopt("left", 1500, &["10.1.0.2/24"]);
        left.sh("ip route add 10.2.0.0/24 dev left");
        right.adopt("right", 1500, &["10.2.0.2/24"]);
        // Who pings over the edge of what is known by now is told of what the router knows of the device behind it.
        let is_told = |mtu: u32| {
            eventually(&format!("the MTU of {mtu} is known"), Duration::from_secs(5), || {
                let ping = format!("ping -n -c 1 -W 1 -M do -s {} 10.2.0.2", mtu - 27);
                let said = left.run(&ping, Duration::from_secs(5)).stdout;
                said.contains(&format!("mtu = {mtu})"))
            });
        };
        for mtu in [1400, 1300] {
            right.sh(&format!("ip link set dev right mtu {mtu}"));
            is_told(mtu);
        }
        right.sh("ip link set dev right down");
        right.sh(&format!("ip link set dev right netns {} name other", further.id()));
        further.sh("ip link set dev other mtu 1200 up");
        is_told(1200);
        sh(&format!(
            "nsenter -t {} -n -- ip link set dev other netns {}",
            further.id(),
            daemon.process().id()
        ));
        sh("ip link set dev other mtu 1100 up");
        is_told(1100);
        sh("ip link delete dev other");
        eventually("the device's end is noticed", Duration::from_secs(5), || {
            left.run("ping -n -c 1 -W 1 10.2.0.2", Duration::from_secs(5)).stdout.contains("Net Unreachable")
        });
        assert!(daemon.process().is_running());
    });
}

#[test]
fn sigterm_and_sigint_end_an_idle_daemon_at_once_with_status_zero() {
    in_namespace(|| {
        for signal in [Signal::TERM, Signal::INT] {
            let mut daemon = Daemon::up("");
            say_hello();
            let started = Instant::now();
            assert_eq!(daemon.stop_with(signal).code(), Some(0));
            assert!(started.elapsed() < Duration::from_secs(2), "{signal:?} took {:?}", started.elapsed());
        }
    });
}

#[test]
fn sigterm_finishes_or_resets_open_connections_within_its_bound() {
    in_namespace(|| {
        let mut daemon = Daemon::up("");
        let mut idle = connect("10.9.0.2:7");
        let mut busy = connect("10.9.0.2:19");
        busy.read_exact(&mut [0; 1000]).expect("chargen goes on for ever");
        let deaf = connect("10.9.0.2:19");
        thread::sleep(Duration::from_millis(200));
        let reader = thread::spawn(move || read_to_the_end(&mut busy));
        assert_eq!(daemon.stop_with(Signal::TERM).code(), Some(0));
        // Each client has been told: an end of stream or a reset, never silence.
        read_to_the_end(&mut idle);
        reader.join().expect("the reader was told");
        drop(deaf);
    });
}

/// Reads until the connection ends in one of the two ways that tell a client so.
fn read_to_the_end(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("neither an end of stream nor a reset: {error}"),
        }
    }
}

#[test]
fn what_was_received_before_sigterm_is_still_echoed_to_a_client_that_reads_slowly() {
    in_namespace(|| {
        let mut daemon = Daemon::up("");
        let mut stream = connect("10.9.0.2:7");
        let sent = vec![b'l'; 300_000];
        stream.write_all(&sent).expect("the buffers hold this much");
        stream.shutdown(Shutdown::Write).expect("the connection stands");
        // Now most of it is in the stack, since the client hasn't read anything.
        thread::sleep(Duration::from_millis(300));
        daemon.process().signal(Signal::TERM);
        thread::sleep(Duration::from_millis(100));
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("the connection ends in good order");
        assert!(received == sent, "{} bytes came back", received.len());
        assert_eq!(daemon.process().wait(STOP).code(), Some(0));
    });
}

#[test]
fn a_second_signal_ends_it_at_once() {
    in_namespace(|| {
        let mut daemon = Daemon::up("");
        let deaf = deaf_client();
        daemon.process().signal(Signal::TERM);
        thread::sleep(Duration::from_millis(100));
        if daemon.process().is_running() {
            daemon.process().signal(Signal::INT);
            daemon.process().wait(Duration::from_millis(800));
        }
        drop(deaf);
    });
}

#[test]
fn all_that_it_does_it_does_on_one_thread_reports_aside() {
    in_namespace(|| {
        let mut daemon = Daemon::up("");
        let pid = daemon.process().id();
        say_hello();
        eventually("it has greeted", Duration::from_secs(5), || threads(pid) == 1);
        daemon.process().signal(Signal::USR1);
        daemon.process().wait_for_stderr("tcp_passive_opens", Duration::from_secs(5));
        say_hello();
        eventually("the report is printed", Duration::from_secs(5), || threads(pid) == 1);
        assert_eq!(daemon.stop_with(Signal::TERM).code(), Some(0));
    });
}

#[test]
fn a_device_that_goes_while_it_ends_changes_nothing_about_the_end() {
    in_namespace(|| {
        let mut daemon = Daemon::up("--stop-timeout 10");
        let deaf = deaf_client();
        daemon.process().signal(Signal::TERM);
        thread::sleep(Duration::from_millis(200));
        assert!(daemon.process().is_running());
        sh("ip link delete tun0");
        assert_eq!(daemon.process().wait(STOP).code(), Some(0));
        drop(deaf);
    });
}

#[test]
fn a_report_that_nobody_reads_does_not_stop_the_network() {
    in_namespace(|| {
        let (full, mut keeps) = std::io::pipe().expect("a pipe");
        // As much as a pipe holds: whoever writes more waits.
        rustix::fs::fcntl_setfl(&keeps, rustix::fs::OFlags::NONBLOCK).expect("a flag of a pipe");
        while keeps.write(&[b'.'; 4096]).is_ok() {}
        rustix::fs::fcntl_setfl(&keeps, rustix::fs::OFlags::empty()).expect("a flag of a pipe");
        let mut daemon = tunstack("up")
            .args(["--tun", "tun0"])
            .stdout(std::process::Stdio::null())
            .stderr(keeps)
            .spawn()
            .expect("the daemon starts");
        eventually("it answers", Duration::from_secs(10), || {
            Command::new("ping")
                .args(["-c", "1", "-W", "1", "10.9.0.2"])
                .output()
                .is_ok_and(|ping| ping.status.success())
        });
        let pid = rustix::process::Pid::from_child(&daemon);
        for _ in 0..20 {
            rustix::process::kill_process(pid, Signal::USR1).expect("it runs");
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(threads(daemon.id()), 2, "one report waits, and no more are begun");
        say_hello();
        drop(full);
        rustix::process::kill_process(pid, Signal::TERM).expect("it runs");
        assert_eq!(daemon.wait().expect("it ends").code(), Some(0));
    });
}

#[test]
fn an_idle_daemon_uses_no_processor_time() {
    in_namespace(|| {
        let daemon = Daemon::up("");
        say_hello();
        let mut open = connect("10.9.0.2:7");
        open.write_all(b"x").expect("the connection stands");
        open.read_exact(&mut [0]).expect("echo answers");
        thread::sleep(Duration::from_millis(500));
        let before = daemon.cpu_ticks();
        thread::sleep(Duration::from_secs(3));
        let used = daemon.cpu_ticks() - before;
        assert!(used <= 1, "{used} ticks of 10 ms in 3 s, with an idle connection open");
    });
}

#[test]
fn a_daemon_that_polls_before_it_sleeps_answers_and_then_uses_no_processor_time() {
    in_namespace(|| {
        for option in ["--busy-poll 50", "--busy-poll 500000", "--busy-poll auto"] {
            let mut daemon = Daemon::up(option);
            sh("ping -q -c 20 -i 0.01 -W 5 10.9.0.2");
            say_hello();
            // As many as a trial of polling takes, and more.
            let mut talk = connect("10.9.0.2:7");
            talk.set_nodelay(true).expect("the connection stands");
            for _ in 0..3_000 {
                talk.write_all(b"x").expect("the connection stands");
                talk.read_exact(&mut [0]).expect("echo answers");
            }
            drop(talk);
            // Until it is over, and so are the timers that the conversation started.
            thread::sleep(Duration::from_secs(1));
            let before = daemon.cpu_ticks();
            thread::sleep(Duration::from_secs(2));
            let used = daemon.cpu_ticks() - before;
            assert!(used <= 1, "{option}: {used} ticks of 10 ms in 2 s");
            assert_eq!(daemon.stop_with(Signal::TERM).code(), Some(0));
        }
    });
}

/// Runs one echo conversation under these options and returns what was logged.
fn log_of_a_conversation(options: &str) -> String {
    let mut daemon = Daemon::up(options);
    say_hello();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(daemon.stop_with(Signal::TERM).code(), Some(0));
    daemon.process().stderr()
}

#[test]
fn at_info_a_connection_is_logged_when_it_opens_and_when_it_closes_with_its_bytes() {
    in_namespace(|| {
        let log = log_of_a_conversation("-v");
        let lines: Vec<_> = log.lines().filter(|line| line.contains("10.9.0.1:")).collect();
        assert_eq!(lines.len(), 2, "one line opens, one closes: {log}");
        assert!(lines.iter().all(|line| line.contains("10.9.0.2:7")), "{log}");
        assert!(lines[0].contains("accepted from"), "{log}");
        for part in ["closed", "6 bytes in", "6 bytes out", " s"] {
            assert!(lines[1].contains(part), "{part:?} is missing: {log}");
        }
    });
}

#[test]
fn at_debug_changes_of_state_are_logged_by_their_rfc_names() {
    in_namespace(|| {
        let log = log_of_a_conversation("-vv");
        for state in ["SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT", "LAST-ACK"] {
            assert!(log.contains(state), "{state} is missing: {log}");
        }
    });
}

#[test]
fn at_trace_each_segment_is_a_line_in_tcpdumps_manner() {
    in_namespace(|| {
        let log = log_of_a_conversation("-vvv");
        let segments: Vec<_> = log.lines().filter(|line| line.contains("Flags [")).collect();
        for part in
            ["Flags [S]", "Flags [S.]", "Flags [P.]", "Flags [F.]", "seq ", "ack ", "win ", "length 6"]
        {
            assert!(segments.iter().any(|line| line.contains(part)), "{part:?} is missing: {log}");
        }
    });
}

#[test]
fn logging_is_off_by_default_and_follows_q_and_rust_log() {
    in_namespace(|| {
        assert_eq!(log_of_a_conversation(""), "");
        assert_eq!(log_of_a_conversation("-q"), "");
        let mut daemon = Daemon::start(tunstack("up").env("RUST_LOG", "info"));
        say_hello();
        daemon.process().wait_for_stderr("10.9.0.2:7", Duration::from_secs(2));
    });
}
