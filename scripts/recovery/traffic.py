"""What talks over the path: the kernel's end of a transfer, a program for a network namespace.

    traffic.py serve ADDR                           chargen and discard, as `tunstack up` has them, till it is ended
    traffic.py read ADDR SIZE SECONDS               reads from chargen, and looks whether it is that
    traffic.py write ADDR SIZE SECONDS              writes to discard, and waits until it has read to the end
    traffic.py take ADDR FILE SECONDS               accepts one connection and reads to the end: is it this file?
    traffic.py give ADDR FILE SECONDS               connects there, writes this file, and waits for the end

Whoever connects prints one line of JSON: octets, whether they are the right ones, and whether it was done in time.
"""

import hashlib
import json
import socket
import sys
import threading
import time
from pathlib import Path

CHARGEN, DISCARD, TAKER = 19, 9, 5000
CONGESTION = b"cubic"
CHUNK = 256 << 10


def pattern():
    """Chargen's lines (RFC 864) to the point where they begin anew."""
    characters = [bytes([32 + n % 95]) for n in range(95 + 72)]
    return b"".join(b"".join(characters[line : line + 72]) + b"\r\n" for line in range(95))


PATTERN = pattern()
LONG_PATTERN = PATTERN * (CHUNK // len(PATTERN) + 2)


def ours(sock):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION)
    return sock


def listen(address, port):
    sock = ours(socket.socket())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen()
    return sock


def connect(address, port):
    sock = ours(socket.socket())
    sock.settimeout(60)
    sock.connect((address, port))
    return sock


def serve(address):
    def each(listener, talk):
        while True:
            conn, _ = listener.accept()
            with conn:
                try:
                    talk(conn)
                except OSError:
                    pass  # the reader has seen enough

    def chargen(conn):
        while True:
            conn.sendall(PATTERN * 32)

    def discard(conn):
        while conn.recv(CHUNK):
            pass

    for port, talk in ((CHARGEN, chargen), (DISCARD, discard)):
        threading.Thread(target=each, args=(listen(address, port), talk), daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


class Clock:
    """A bound for all of a transfer."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def on(self, sock):
        sock.settimeout(max(self.end - time.monotonic(), 0.001))
        return sock


def read(address, size, clock):
    total, right = 0, True
    with connect(address, CHARGEN) as sock:
        try:
            while total < size and (got := clock.on(sock).recv(min(CHUNK, size - total))):
                at = total % len(PATTERN)
                right = right and got == LONG_PATTERN[at : at + len(got)]
                total += len(got)
        except TimeoutError:
            pass
    return total, right, total == size


def write(address, size, clock):
    total = 0
    block = bytes(range(256)) * 256
    with connect(address, DISCARD) as sock:
        try:
            while total < size:
                total += clock.on(sock).send(block[: size - total])
            sock.shutdown(socket.SHUT_WR)
            return total, clock.on(sock).recv(1) == b"", True
        except TimeoutError:
            return total, True, False


def take(address, file, clock):
    expected = Path(file).read_bytes()
    total, digest, done = 0, hashlib.sha256(), False
    with listen(address, TAKER) as listener:
        print("ready", flush=True)
        conn, _ = clock.on(listener).accept()
        with conn:
            try:
                while got := clock.on(conn).recv(CHUNK):
                    total += len(got)
                    digest.update(got)
                done = True
            except TimeoutError:
                pass
    right = not done or digest.digest() == hashlib.sha256(expected).digest()
    return total, right, done


def give(address, file, clock):
    octets = memoryview(Path(file).read_bytes())
    with connect(address, TAKER) as sock:
        try:
            while octets:
                octets = octets[clock.on(sock).send(octets[:CHUNK]) :]
            sock.shutdown(socket.SHUT_WR)
            clock.on(sock).recv(1)
        except TimeoutError:
            pass


def main(what, address, *more):
    if what == "serve":
        return serve(address)
    subject, clock = more[0], Clock(float(more[1]))
    if what == "give":
        return give(address, subject, clock)
    if what == "take":
        total, right, done = take(address, subject, clock)
    else:
        total, right, done = {"read": read, "write": write}[what](address, int(subject), clock)
    print(json.dumps({"octets": total, "right": right, "done": done}))


if __name__ == "__main__":
    main(*sys.argv[1:])
