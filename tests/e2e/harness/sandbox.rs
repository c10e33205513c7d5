//! Runs the body of a test in a network namespace of its own.
//!
//! A test that calls [`in_namespace`] runs itself once more, as a child under `unshare -Urn` (or `unshare -n`
//! where user namespaces are refused to root), and only the child runs the body. It therefore needs no
//! root where user namespaces are allowed, touches nothing outside, and can use any address and any device
//! name while other tests do the same. Nothing the body starts can outlive the test: the child leads a
//! process group, which is killed when the body ends, when its time is up, and when the test runner dies.
//!
//! A machine that can't do this fails the test with a message that names the cause. Only the environment
//! variable [`SKIP`] opts out.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// Set this variable to a reason to skip every test that needs a namespace; the reason is printed.
pub(crate) const SKIP: &str = "TUNSTACK_SKIP_E2E";

/// Marks the child; its value is the name of the test.
const INSIDE: &str = "TUNSTACK_E2E_INSIDE";

/// What the child prints when the body has run to its end. Without it the test has failed, whatever the exit
/// status says: a child that ran no test must not pass for one that did.
const FINISHED: &str = "the body of the test has run to its end";

/// How long a test may take unless it says otherwise.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `body` in a new network namespace with `lo` up, within a minute.
pub(crate) fn in_namespace<F: FnOnce()>(body: F) {
    in_namespace_for(LIMIT, body);
}

/// Runs `body` in a new network namespace with `lo` up, within `limit`.
pub(crate) fn in_namespace_for<F: FnOnce()>(limit: Duration, body: F) {
    let test = test_name::<F>();
    if env::var(INSIDE).is_ok_and(|inside| inside == test) {
        return run_inside(body);
    }
    if let Ok(reason) = env::var(SKIP) {
        return announce_skip(&test, &reason);
    }
    let namespace = match namespace() {
        Ok(namespace) => namespace,
        Err(cause) => panic!("{cause}\nTo leave these tests out, set {SKIP} to a reason."),
    };
    run_child(&test, *namespace, limit);
}

/// The path of the test within its binary, from the type of the closure it passes: unlike the thread's
/// name, this does not depend on how many threads the runner uses.
fn test_name<F>() -> String {
    let full = std::any::type_name::<F>();
    let path =
        full.strip_suffix("::{{closure}}").expect("the body of a test is a closure in the test itself");
    path.split_once("::").expect("the path of a test starts with its crate").1.to_owned()
}

fn run_inside(body: impl FnOnce()) {
    thread::spawn(|| {
        // The runner holds the other end and never writes: an end of file means that it is gone.
        let _ = io::stdin().read(&mut [0]);
        let _ = rustix::process::kill_current_process_group(Signal::KILL);
    });
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip can be started");
    assert!(up.success(), "`ip link set lo up` failed in the new namespace");
    body();
    println!("{FINISHED}");
}

fn announce_skip(test: &str, reason: &str) {
    // Written past the capture of the test runner, which shows nothing of a test that passes.
    let _ = writeln!(io::stderr(), "SKIPPED, NOT TESTED: {test}: {SKIP}={reason}");
}

/// Which namespaces this machine allows us.
#[derive(Clone, Copy, Debug)]
enum Namespace {
    /// A user namespace and in it a network namespace: nobody's privilege is needed.
    UserAndNetwork,
    /// A network namespace alone: we are root, and user namespaces are refused.
    Network,
}

impl Namespace {
    fn unshare(self) -> Command {
        let mut command = Command::new("unshare");
        command.arg(match self {
            Namespace::UserAndNetwork => "-Urn",
            Namespace::Network => "-n",
        });
        command.arg("--");
        command
    }
}

/// Finds out, once, whether this machine can run the tests, and if not, why.
fn namespace() -> &'static Result<Namespace, String> {
    static NAMESPACE: OnceLock<Result<Namespace, String>> = OnceLock::new();
    NAMESPACE.get_or_init(|| {
        check_tools()?;
        let namespace = probe_namespaces()?;
        probe_tun(namespace)?;
        Ok(namespace)
    })
}

/// The programs that tests call, and the Debian packages that hold them.
const TOOLS: &[(&str, &str)] = &[
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("nc", "netcat-openbsd"),
    ("python3", "python3-minimal"),
    ("sysctl", "procps"),
    ("traceroute", "traceroute"),
    ("tracepath", "iputils-tracepath"),
    ("nmap", "nmap"),
    ("scapy", "python3-scapy"),
];

fn check_tools() -> Result<(), String> {
    let missing: Vec<_> = TOOLS.iter().filter(|(tool, _)| !on_path(tool)).collect();
    if missing.is_empty() {
        return check_netcat();
    }
    let names: Vec<_> = missing.iter().map(|(tool, _)| *tool).collect();
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    Err(format!(
        "this machine lacks {}, which the tests call: apt-get install {}",
        names.join(", "),
        packages.join(" ")
    ))
}

fn on_path(tool: &str) -> bool {
    env::split_paths(&path()).any(|directory| directory.join(tool).is_file())
}

/// Where programs are looked for: an ordinary user's path may lack the administrator's programs.
fn path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// There are several programs called `nc`; only OpenBSD's has `-N`.
fn check_netcat() -> Result<(), String> {
    let help =
        Command::new("nc").arg("-h").output().map_err(|error| format!("nc can't be started: {error}"))?;
    if String::from_utf8_lossy(&help.stderr).contains("OpenBSD") {
        return Ok(());
    }
    Err("`nc` on this machine isn't OpenBSD's netcat, and the tests need its -N: \
         apt-get install netcat-openbsd (and see update-alternatives --config nc)"
        .to_owned())
}

fn probe_namespaces() -> Result<Namespace, String> {
    let mut refusals = String::new();
    for namespace in [Namespace::UserAndNetwork, Namespace::Network] {
        let mut probe = namespace.unshare();
        // Setting `lo` up shows that the namespace is not only made but also ours to change: AppArmor's
        // restriction lets it be made and takes the capabilities away.
        let output = probe.args(["ip", "link", "set", "lo", "up"]).output();
        match output {
            Ok(output) if output.status.success() => return Ok(namespace),
            Ok(output) => refusals += &format!("  {probe:?}: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => refusals += &format!("  {probe:?}: {error}\n"),
        }
    }
    Err(format!("this machine refuses us network namespaces:\n{refusals}{}", namespace_advice()))
}

/// What the kernel's settings say about the refusal, and the command that mends it.
fn namespace_advice() -> String {
    let settings = [
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
        ("user/max_net_namespaces", "0", "user.max_net_namespaces=15000"),
    ];
    let mut advice = String::new();
    for (file, bad, mend) in settings {
        let value = fs::read_to_string(format!("/proc/sys/{file}")).unwrap_or_default();
        if value.trim() == bad {
            advice +=
                &format!("{} is {bad}, which forbids them: sudo sysctl -w {mend}\n", file.replace('/', "."));
        }
    }
    if advice.is_empty() {
        advice += "No sysctl forbids them; a container's seccomp profile may (Docker: --privileged, or \
                   --security-opt seccomp=unconfined --cap-add NET_ADMIN). Or run the tests as root.";
    }
    advice
}

fn probe_tun(namespace: Namespace) -> Result<(), String> {
    const TUN: &str = "/dev/net/tun";
    let mend = "sudo modprobe tun; sudo mkdir -p /dev/net; sudo mknod -m 0666 /dev/net/tun c 10 200";
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open(TUN) {
        let mend = match error.kind() {
            io::ErrorKind::PermissionDenied => "sudo chmod 0666 /dev/net/tun",
            _ => mend,
        };
        return Err(format!("{TUN} can't be opened: {error}: {mend}"));
    }
    let mut probe = namespace.unshare();
    let output = probe
        .args(["ip", "tuntap", "add", "dev", "probe0", "mode", "tun"])
        .output()
        .map_err(|error| format!("{probe:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("no TUN device can be made: {probe:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn run_child(test: &str, namespace: Namespace, limit: Duration) {
    let binary = env::current_exe().expect("the test binary has a path");
    let mut child = namespace
        .unshare()
        .arg(binary)
        .args([test, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"])
        .env(INSIDE, test)
        .env("PATH", path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("unshare can be started");
    let stdout = collect(child.stdout.take().expect("stdout is a pipe"));
    let stderr = collect(child.stderr.take().expect("stderr is a pipe"));
    let in_time = wait_then_kill_group(&child, limit);
    let status = child.wait().expect("the child can be waited for");
    let stdout = stdout.join().expect("the reader of stdout ends");
    let stderr = stderr.join().expect("the reader of stderr ends");
    // By macro, so that the test runner shows it if, and only if, the test fails.
    print!("{stdout}");
    eprint!("{stderr}");
    assert!(in_time, "{test} was not done after {limit:?} and was killed");
    assert!(status.success(), "{test} failed in its namespace: {}", describe(status));
    assert!(stdout.contains(FINISHED), "{test} did not run in its namespace");
}

fn describe(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("killed by signal {signal}"),
        None => "its output is above".to_owned(),
    }
}

/// Reads everything on a thread of its own, so that the child never blocks on a full pipe.
fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for the child, then kills its process group. The child isn't reaped before that, so that the
/// group's id can't have passed to somebody else. Returns whether the child ended by itself.
fn wait_then_kill_group(child: &Child, limit: Duration) -> bool {
    let pid = Pid::from_child(child);
    let end = Instant::now() + limit;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let ended = loop {
        let ended = rustix::process::waitid(WaitId::Pid(pid), options).expect("a child can be waited for");
        if ended.is_some() || Instant::now() >= end {
            break ended.is_some();
        }
        thread::sleep(Duration::from_millis(10));
    };
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    ended
}
