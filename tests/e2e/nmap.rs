//! What a scanner learns about the daemon: no more than about a Linux host, and nothing that looks odd to it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness::{Daemon, Host, Process, cable, in_namespace_for, run};

const LIMIT: Duration = Duration::from_secs(120);

/// One scan by nmap: SYN and UDP scan of a few ports, and its probes for the operating system.
struct Scan {
    /// All that it printed.
    report: String,
    /// The fingerprint's lines by name (`SEQ`, `OPS`, `T1`..`T7`, `U1`, `IE`), each with its tests.
    fingerprint: BTreeMap<String, BTreeMap<String, String>>,
}

impl Scan {
    fn of(address: &str, open: u16) -> Scan {
        let ports = format!("T:{open},21-25,80,U:{open},21-25");
        // -d prints the fingerprint whether or not nmap knows it; no script, no name service, no waiting for a host
        // that is known to be there.
        let mut command = std::process::Command::new("nmap");
        command.args([
            "-n",
            "-Pn",
            "-sS",
            "-sU",
            "-O",
            "-d",
            "--max-os-tries",
            "1",
            "--max-retries",
            "3",
            "-p",
            &ports,
        ]);
        let ended = run(command.arg(address), LIMIT);
        assert!(ended.status.success(), "{ended:?}");
        let fingerprint = read_fingerprint(&ended.stdout);
        Scan { report: ended.stdout, fingerprint }
    }

    fn test(&self, line: &str, test: &str) -> &str {
        self.fingerprint.get(line).and_then(|tests| tests.get(test)).map_or("", String::as_str)
    }

    /// How hard the initial sequence numbers are to guess: nmap's SP, about log2 of what they vary by.
    fn difficulty(&self) -> u32 {
        self.sequence("SP")
    }

    /// One of the numbers about sequence numbers.
    fn sequence(&self, test: &str) -> u32 {
        let number = u32::from_str_radix(self.test("SEQ", test), 16);
        number.unwrap_or_else(|_| panic!("no {test}: {}", self.report))
    }
}

/// Takes `NAME(A=1%B=2)` apart, over line breaks and the `OS:` before each line.
fn read_fingerprint(report: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let whole: String = report.lines().filter_map(|line| line.strip_prefix("OS:")).collect();
    let mut lines = BTreeMap::new();
    for part in whole.split(')') {
        if let Some((name, tests)) = part.split_once('(') {
            let tests = tests.split('%').filter_map(|test| test.split_once('='));
            let tests = tests.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            lines.insert(name.to_owned(), tests);
        }
    }
    assert!(lines.contains_key("SEQ") && lines.contains_key("U1"), "no whole fingerprint:\n{report}");
    lines
}

/// A kernel at 10.8.0.2 with TCP and UDP port 7 open, as the daemon has them.
fn kernel_target() -> (Host, Process) {
    cable("to-kernel", "kernel");
    let target = Host::new();
    target.adopt("kernel", 1500, &["10.8.0.2/24"]);
    crate::harness::sh("ip link set to-kernel up");
    crate::harness::sh("ip addr add 10.8.0.1/24 dev to-kernel");
    let program = "import socket\n\
                   udp = socket.socket(type=socket.SOCK_DGRAM); udp.bind(('', 7))\n\
                   tcp = socket.create_server(('', 7)); print('open', flush=True)\n\
                   while True: udp.sendto(*udp.recvfrom(65536))";
    let mut server = Process::start(target.command("python3").args(["-c", program]));
    server.wait_for_stdout("open", Duration::from_secs(10));
    (target, server)
}

#[test]
fn nmap_finds_the_daemon_as_hard_to_predict_and_as_well_behaved_as_a_linux_host() {
    in_namespace_for(LIMIT, || {
        let mut daemon = Daemon::up("");
        let _kernel = kernel_target();
        let (ours, theirs) = std::thread::scope(|scope| {
            let theirs = scope.spawn(|| Scan::of("10.8.0.2", 7));
            (Scan::of("10.9.0.2", 7), theirs.join().expect("the scan ends"))
        });
        let both = format!("ours:\n{}\nthe kernel's:\n{}", ours.report, theirs.report);
        for port in ["7/tcp  open", "7/udp  open", "80/tcp closed", "21/udp closed", "25/udp closed"] {
            let found = |scan: &Scan| scan.report.lines().any(|line| line.starts_with(port));
            assert!(found(&theirs) && found(&ours), "{port}\n{both}");
        }
        // What is sent to closed ports, and with flags that make no sense, is answered as Linux answers it, bit by bit;
        // Linux leaves T2 and T3, without flags and with too many, to an open port without an answer. (The other lines
        // hold the options of TCP.)
        for line in ["T2", "T3", "T4", "T5", "T6", "T7", "U1", "IE"] {
            let of = |scan: &Scan| {
                let mut tests = scan.fingerprint.get(line).cloned().unwrap_or_default();
                // A reset answers timestamps with timestamps (RFC 7323 section 5.2; docs/linux.md).
                tests.entry("O".to_owned()).and_modify(|options| *options = options.replace("NNT01", ""));
                tests
            };
            assert_eq!(of(&ours), of(&theirs), "{line}\n{both}");
        }
        // The measure is eight times log2 of the deviation of five steps: about 255 if they are drawn from all 2^32, give
        // or take 20 by chance. Forty less, five bits, is no chance.
        assert!(ours.difficulty() + 40 >= theirs.difficulty() && ours.difficulty() > 215, "{both}");
        // What divides five steps that have nothing in common is 1, 2 once in thirty times, and 16 or more a few times in a million.
        assert!(ours.sequence("GCD") < 16 && theirs.sequence("GCD") < 16, "{both}");
        // I, BI: incremental. Linux has a counter for each destination in its answers to pings (II), and so may we.
        for sequence in ["TI", "CI", "II"] {
            let (our, their) = (ours.test("SEQ", sequence), theirs.test("SEQ", sequence));
            assert!(
                our == their || !["I", "BI"].contains(&our),
                "IP ids can be predicted: {sequence}\n{both}"
            );
        }
        // One counter for ICMP and TCP would be told by SS=S.
        assert_ne!(ours.test("SEQ", "SS"), "S", "{both}");
        assert!(daemon.process().is_running());
    });
}

#[test]
fn the_id_of_an_ip_packet_tells_nothing_of_packets_to_others() {
    in_namespace_for(LIMIT, || {
        let _daemon = Daemon::up("");
        let ended = run(crate::harness::python("idents.py").args(["tun0", "10.9.0.2"]), LIMIT);
        assert!(ended.status.success(), "{ended:?}");
        let ids: Vec<(&str, u16)> = ended
            .stdout
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(address, id)| (address, id.parse().expect("an id")))
            .collect();
        assert_eq!(ids.len(), 32, "{}", ended.stdout);
        // A counter for all would step by one (or a little) from one destination to the next, every time.
        let steps = |ids: &[(&str, u16)]| {
            ids.windows(2).map(|two| two[1].1.wrapping_sub(two[0].1)).collect::<Vec<_>>()
        };
        let small = steps(&ids).iter().filter(|step| (1..16).contains(*step)).count();
        assert!(small < 8, "ids go on from destination to destination: {ids:?}");
        // And none comes twice for the same destination while the first could still be on its way (RFC 6864).
        for address in ["10.9.0.101", "10.9.0.104"] {
            let mut own: Vec<u16> = ids.iter().filter(|(to, _)| *to == address).map(|(_, id)| *id).collect();
            own.sort_unstable();
            own.dedup();
            assert_eq!(own.len(), 8, "{address}: {ids:?}");
        }
    });
}
