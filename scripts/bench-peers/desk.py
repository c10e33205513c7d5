"""A desk: a server in network namespaces of its own, and clients that come one after the other to measure it.

    the client, 10.9.0.1 on tun0  --  a TUN device  --  10.9.0.2: who is measured
                                or --  veth  --  10.9.0.2 on another namespace's veth: the kernel

Owns namespaces, processes and processors. Everything is within namespaces that end with this program: nothing stays, however it ends,
and another run may do the same beside it.
"""

import contextlib
import ctypes
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import figures
import peers

PATIENCE_S = 10
IN_NAMESPACE = "BENCH_PEERS_IN_NAMESPACE"
MTU, QUEUE = "1500", "1000"
WARM_S = 0.15
# What the client calls from, beside 10.9.0.1.
SOURCES = [f"10.9.0.{101 + number}" for number in range(16)]
# Said, so that what the host is set to does not count. The congestion control, CUBIC, is each socket's.
SETTINGS = {
    "net.ipv4.tcp_rmem": "4096 131072 8388608",
    "net.ipv4.tcp_wmem": "4096 65536 8388608",
    "net.ipv4.ip_local_port_range": "1024 65535",
    "net.ipv4.tcp_tw_reuse": "1",
    "net.ipv4.tcp_no_metrics_save": "1",
    # Connections that are over would fill the kernel's one table, and whoever is measured later would be slower.
    "net.ipv4.tcp_max_tw_buckets": "16384",
}
PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """Something could not be set up or measured."""


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Failed(f"`{shlex.join(words)}` failed: {said[-1] if said else f'status {done.returncode}'}")
    return done.stdout


def within_namespaces():
    """Whether we are in private namespaces; if not, this program is started anew in them, and we return its status.

    We stay outside and wait: whatever ends us, be it Ctrl-C, SIGTERM or SIGKILL, ends the first process inside, and the kernel
    ends every process with it and removes every namespace.
    """
    if os.environ.get(IN_NAMESPACE):
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        Path("/run/netns").mkdir()
        return None
    user = [] if os.geteuid() == 0 else ["-Ur"]
    command = ["unshare", *user, "-nmp", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "--"]
    command += [sys.executable, "-B", *sys.argv]

    return attend(command, env={**os.environ, IN_NAMESPACE: "1"})


def attend(command, **more):
    """Runs a command that does not outlive us, and returns its status. The terminal's Ctrl-C is ours to hear, and not the command's."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=ends_with_us, **more)
    try:
        return child.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def ends_with_us():
    """For a child of ours: it is killed when we end, however that is."""
    os.setsid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def exit_at_signals():
    """So that what has to be ended is ended: the default would leave it behind."""
    def end(number, _frame):
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


class Desk:
    """A server that is there until it is closed."""

    def __init__(self, name, peer, programs, cpus):
        self.peer, self.programs = peer, programs
        self.server_cpu, self.client_cpu = cpus
        self.client_side = f"{name}-client"
        self.server_side = f"{name}-server" if peer.over == peers.VETH else self.client_side
        self.stack = contextlib.ExitStack()

    def open(self, workload, idle, profile=None):
        """Namespaces, device and server, which then answers."""
        self.directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-peers-", dir="/run")))
        self.lay()
        self.serve(workload, idle)
        self.wait_until_ready()
        if profile:
            self.stack.enter_context(self.profiled(profile))

    def close(self):
        self.stack.close()

    def measure(self, workload, seconds, idle):
        """What the client says of one workload."""
        work = peers.WORKLOADS[workload]
        # Ten thousand connections are many for who looks through all of them for each packet.
        limit = 120 if work.verb == "idle" else WARM_S + seconds + 15
        said = self.client("-p", str(self.server.pid), "-w", str(WARM_S), *work.words(seconds, idle), limit=limit)
        if self.server.poll() is not None:
            raise Failed(f"the server ended with status {self.server.returncode}{self.last_word()}")
        if work.verb == "idle" and self.peer.beforehand:
            said["value"] = said["rss1_kb"] * 1024 / said["conns"]
        if said["value"] <= 0:
            raise Failed("nothing was carried" if work.verb != "idle" else "the server's memory did not grow")
        return said

    def lay(self):
        """The namespaces and the device."""
        self.namespace(self.client_side)
        if self.peer.over == peers.VETH:
            self.namespace(self.server_side)
            run("ip", "-n", self.client_side, "link", "add", "veth0", "type", "veth", "peer", "name", "veth0", "netns", self.server_side)
            self.device(self.client_side, "veth0", "10.9.0.1", *SOURCES)
            self.device(self.server_side, "veth0", "10.9.0.2")
        else:
            run("ip", "-n", self.client_side, "tuntap", "add", "dev", "tun0", "mode", "tun")
            self.device(self.client_side, "tun0", "10.9.0.1", *SOURCES)

    def namespace(self, name):
        run("ip", "netns", "add", name)
        self.stack.callback(run, "ip", "netns", "del", name)
        settings = [f"{setting}={value}" for setting, value in SETTINGS.items()]
        run("ip", "netns", "exec", name, "sysctl", "-qw", *settings)
        # A kernel may have no IPv6 to be switched off. Its solicitations are none of what is measured.
        run("ip", "netns", "exec", name, "sysctl", "-eqw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        run("ip", "-n", name, "link", "set", "lo", "up")

    def device(self, namespace, device, *addresses):
        lines = [f"link set {device} mtu {MTU} txqueuelen {QUEUE}"]
        lines += [f"addr add {address}/24 dev {device}" for address in addresses]
        lines += [f"link set {device} up"]
        run("ip", "-n", namespace, "-batch", "-", input="\n".join(lines) + "\n")

    def serve(self, workload, idle):
        words = self.peer.words(workload, idle)
        words[0] = self.programs[words[0]]
        self.said = self.directory / "server.log"
        with self.said.open("wb") as log:
            self.server = subprocess.Popen(["ip", "netns", "exec", self.server_side, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           preexec_fn=lambda: os.sched_setaffinity(0, {self.server_cpu}))
        self.stack.callback(self.end)

    def wait_until_ready(self):
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.client("ready", "1", "0.5", limit=PATIENCE_S)
            except Failed:
                if self.server.poll() is not None or time.monotonic() > end:
                    raise

    def end(self):
        self.server.terminate()
        try:
            self.server.wait(2)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()

    def client(self, *words, limit):
        command = ["ip", "netns", "exec", self.client_side, self.programs["client"], *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit, stdin=subprocess.DEVNULL,
                                  preexec_fn=lambda: os.sched_setaffinity(0, {self.client_cpu}))
        except subprocess.TimeoutExpired:
            raise Failed(f"the client did not end within {limit:g} s{self.last_word()}") from None
        try:
            said = json.loads(done.stdout)
        except ValueError:
            raise Failed(f"the client ended with status {done.returncode}: {(done.stderr or done.stdout).strip()}") from None
        if "error" in said:
            # Who hears of an end is told of it before who may be asked for it.
            time.sleep(0.05)
            ended = f"; the server ended with status {self.server.returncode}" if self.server.poll() is not None else ""
            raise Failed(f"{said['error']}{ended}{self.last_word()}")
        return said

    def last_word(self):
        lines = self.said.read_text(errors="replace").strip().splitlines()
        return f" (the server: {lines[-1]})" if lines else ""

    @contextlib.contextmanager
    def profiled(self, stem):
        """Samples the server until it is closed: it works while it is measured, and sleeps while others are."""
        data = stem.with_suffix(".perf")
        with (self.directory / "perf.log").open("w") as log:
            command = ["perf", "record", "-q", "-N", "-g", "-F", "2000", "-o", str(data), "-p", str(self.server.pid)]
            perf = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                yield
            finally:
                perf.send_signal(signal.SIGINT)
                perf.wait(PATIENCE_S)
        if not data.exists():
            said = (self.directory / "perf.log").read_text().strip().splitlines()
            raise Failed(f"perf has recorded nothing: {said[0] if said else 'it does not say why'}")
        report = ["perf", "report", "-i", str(data), "-g", "none", "--stdio", "-t", "|"]
        alone = run(*report, "--no-children", "-F", "overhead,sym")
        called = run(*report, "--children", "-F", "overhead_children,sym")
        stem.with_suffix(".txt").write_text(figures.costs(alone, called))
        if shutil.which("inferno-flamegraph"):
            folded = run("inferno-collapse-perf", input=run("perf", "script", "-i", str(data)))
            stem.with_suffix(".svg").write_text(run("inferno-flamegraph", "--title", stem.name, input=folded))


def tools_missing(profile):
    """Programs that are not there, each with the Debian package that has it."""
    wanted = {"ip": "iproute2", "unshare": "util-linux", "mount": "mount", "sysctl": "procps"} | ({"perf": "linux-perf"} if profile else {})
    return sorted({package for tool, package in wanted.items() if not shutil.which(tool)})


def two_processors():
    """One for the server and one for the client: no two threads of one core, if it can be had."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise Failed("server and client need a processor each, and there is one only")
    siblings = Path(f"/sys/devices/system/cpu/cpu{allowed[0]}/topology/thread_siblings_list")
    shared = set()
    with contextlib.suppress(OSError, ValueError):
        for part in siblings.read_text().strip().split(","):
            first, _, last = part.partition("-")
            shared |= set(range(int(first), int(last or first) + 1))
    return allowed[0], next((cpu for cpu in allowed if cpu not in shared), allowed[1])


def come_first():
    """Lets server and client come before what else runs, as far as we may; whether we may.

    The kernel shares processors between sessions first, where autogroups are on, and only then between the processes of each.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        with contextlib.suppress(FileNotFoundError):
            Path("/proc/self/autogroup").write_text("-20")
    except OSError:
        return False
    return True
