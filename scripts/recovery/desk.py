"""The desk: a kernel host, a path with faults, and at its other end our stack or another kernel.

    host a, 10.0.0.1 on `near`  --  tunstack link  --  `far`, 10.0.0.2 of host b  --  tun0, 10.9.0.2: our stack

Host b's kernel routes between the link's device and the stack's, without a queue of any length: the link
empties its device at once. In the control group 10.9.0.2 is that kernel itself. The captures are of `near` and `far`, the two ends of the path, either way.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import captures

HERE = Path(__file__).resolve().parent
PATIENCE_S = 20
KERNEL, PEER = "10.0.0.1", "10.9.0.2"
IN_NAMESPACE = "RECOVERY_IN_NAMESPACE"
# What of a kernel bears upon recovery, to be told beside the figures.
TELLING = ("sack", "dsack", "timestamps", "recovery", "early_retrans", "frto", "reordering", "ecn")
PACKETS_WAITING = "10000"


class Failed(Exception):
    """Something could not be set up."""


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        raise Failed(f"`{shlex.join(words)}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def enter_namespaces():
    """Starts anew in private namespaces: the host's network is not touched, and no process outlives the first."""
    if os.environ.get(IN_NAMESPACE):
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        Path("/run/netns").mkdir()
        return
    kinds = ["-nmp"] if os.geteuid() == 0 else ["-Urnmp"]
    command = ["unshare", *kinds, "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "--"]
    command += [sys.executable, "-B", *sys.argv]
    os.execvpe("unshare", command, {**os.environ, IN_NAMESPACE: "1"})


def kernels_settings():
    """What the kernel's hosts are set to, but for the congestion control, which each socket sets."""
    value = lambda name: Path(f"/proc/sys/net/ipv4/tcp_{name}").read_text().strip()
    return {name: value(name) for name in TELLING} | {"release": os.uname().release, "mtu_probing": "1", "congestion": "cubic"}


class Child:
    """A process that does not outlive a `with`; its output lies in files."""

    def __init__(self, name, directory, command, stdin=subprocess.DEVNULL):
        self.name, self.out, self.err = name, directory / f"{name}.out", directory / f"{name}.err"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(command, stdin=stdin, stdout=out, stderr=err)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end(signal.SIGTERM)

    def said(self):
        return self.out.read_text() + self.err.read_text()

    def wait_for(self, words):
        end = time.monotonic() + PATIENCE_S
        while words not in self.said():
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failed(f"{self.name} has not said {words!r} but: {self.said().strip()}")
            time.sleep(0.01)
        return self

    def wait(self, seconds):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} did not end within {seconds} s: {self.said().strip()}") from None

    def end(self, how):
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Desk:
    """Two hosts and the path between them, for one transfer."""

    def __init__(self, number, directory, tunstack):
        self.hosts = [f"{name}{number}" for name in "ab"]
        self.directory, self.tunstack = directory, tunstack
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.directory.mkdir(parents=True)
            for host in self.hosts:
                run("ip", "netns", "add", host)
                stack.callback(run, "ip", "netns", "del", host)
                self.within(host, "ip", "link", "set", "lo", "up")
                # Nothing but the transfer is to meet a fault. Probing is what a kernel has against black holes, if it is told.
                self.within(host, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1",
                            "net.ipv4.ip_forward=1", "net.ipv4.tcp_mtu_probing=1")
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *why):
        return self.stack.__exit__(*why)

    def within(self, host, *words):
        return run("ip", "netns", "exec", host, *words)

    def start(self, name, host, *command, **more):
        return self.stack.enter_context(Child(name, self.directory, ["ip", "netns", "exec", host, *command], **more))

    def talk(self, name, host, *words):
        return self.start(name, host, sys.executable, str(HERE / "traffic.py"), *map(str, words))

    def lay(self, faults, seed, offload):
        """The path, and who listens at its ends."""
        a, b = self.hosts
        command = [self.tunstack, "link", f"{a}:near", f"{b}:far", *faults, "--seed", str(seed), "--offload", offload]
        self.link = self.stack.enter_context(Child("link", self.directory, command)).wait_for("ready: ")
        for host, device, address in ((a, "near", KERNEL), (b, "far", "10.0.0.2")):
            self.within(host, "ip", "addr", "add", f"{address}/24", "dev", device)
            self.within(host, "ip", "link", "set", device, "txqueuelen", PACKETS_WAITING)
        self.within(a, "ip", "route", "add", "10.9.0.0/24", "via", "10.0.0.2")
        self.dumps = []
        for host, device in ((a, "near"), (b, "far")):
            # tcpdump would become another user, which a user namespace of ours does not know.
            command = ["dumpcap", "-q", "-P", "-i", device, "-f", "tcp", "-s", "128", "-B", "64", "-w", str(self.capture(device))]
            self.dumps.append(self.start(f"dumpcap-{device}", host, *command).wait_for("File: "))

    def capture(self, device):
        return self.directory / f"{device}.pcap"

    def kernel_at_the_end(self):
        self.within(self.hosts[1], "ip", "addr", "add", f"{PEER}/32", "dev", "lo")
        # Whoever connects from there is to do so with that address.
        self.within(self.hosts[1], "ip", "route", "change", "10.0.0.0/24", "dev", "far", "src", PEER)

    def transfer(self, way, by_kernel, size, seconds, offload):
        """One transfer; returns what the program that read or wrote says of it."""
        a, b = self.hosts
        if way == "file":
            return self.file(by_kernel, size, seconds)
        if by_kernel:
            self.kernel_at_the_end()
            self.talk("server", b, "serve", PEER).wait_for("ready")
        else:
            daemon = self.start("up", b, self.tunstack, "up", "--tun", "tun0", "--addr", f"{PEER}/24", "--offload", offload,
                                "--stop-timeout", "0")
            daemon.wait_for("ready: ")
            self.within(b, "ip", "link", "set", "tun0", "txqueuelen", PACKETS_WAITING)
        client = self.talk("client", a, {"download": "read", "upload": "write"}[way], PEER, size, seconds)
        return self.told(client, seconds)

    def file(self, by_kernel, size, seconds):
        """A file that whoever stands at the other end sends, to the end of stream."""
        a, b = self.hosts
        file = self.directory / "file"
        file.write_bytes(os.urandom(size))
        client = self.talk("client", a, "take", KERNEL, file, seconds).wait_for("ready")
        if by_kernel:
            self.kernel_at_the_end()
            self.talk("sender", b, "give", KERNEL, file, seconds)
        else:
            command = [self.tunstack, "connect", "--tun", "tun0", "--addr", f"{PEER}/24", KERNEL, "5000"]
            with file.open() as source:
                self.start("connect", b, *command, stdin=source)
        return self.told(client, seconds)

    def told(self, client, seconds):
        if client.wait(seconds + 60 + PATIENCE_S) != 0:
            raise Failed(f"{client.name} failed: {client.said().strip()}")
        # What is under way is to be seen, too.
        time.sleep(0.3)
        return json.loads(client.out.read_text().splitlines()[-1])

    def judge(self, sender, size):
        """Ends captures and path; the story that they tell."""
        for dump in self.dumps:
            dump.end(signal.SIGINT)
            if not re.search(r": \d+/0 \(pcap:0/dumpcap:0/", dump.said()):
                raise Failed(f"dumpcap has missed packets: {dump.said().strip()}")
        self.link.end(signal.SIGINT)
        self.counted = self.link.said().splitlines()[1:3]
        ends = ("near", "far") if sender == KERNEL else ("far", "near")
        story = captures.tell(*(captures.read(self.capture(end), sender) for end in ends), size)
        story.tshark = {end: captures.tshark(self.capture(device), sender) for end, device in zip(("sender", "receiver"), ends)}
        return story

    def keep(self, where):
        """Saves captures and what was said."""
        where.mkdir(parents=True, exist_ok=True)
        for file in self.directory.iterdir():
            if file.suffix in (".pcap", ".out", ".err"):
                shutil.copy(file, where)
