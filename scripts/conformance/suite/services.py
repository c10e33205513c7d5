"""Echo, discard, daytime and chargen on the kernel's sockets: what a stack has to run to be judged.

Run as a program in the target's namespace; it ends with the one that started it.
"""

import ctypes
import signal
import socket
import sys
import threading
import time

TCP_CONGESTION = 13
PR_SET_PDEATHSIG = 1
LINE = 74

ECHO, DISCARD, DAYTIME, CHARGEN = 7, 9, 13, 19


def lines():
    """RFC 864's pattern, a line at a time, for ever."""
    printable = bytes(range(33, 127)) * 2
    start = 0
    while True:
        yield printable[start:start + LINE - 2] + b"\r\n"
        start = (start + 1) % 94


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def discard(connection):
    while connection.recv(65536):
        pass


def daytime(connection):
    connection.sendall(time.strftime("%A, %B %d, %Y %H:%M:%S-UTC\r\n", time.gmtime()).encode())
    # Not a reset, should the peer have said something.
    connection.shutdown(socket.SHUT_WR)
    discard(connection)


def chargen(connection):
    threading.Thread(target=discard_quietly, args=(connection,), daemon=True).start()
    for line in lines():
        connection.sendall(line)


def discard_quietly(connection):
    try:
        discard(connection)
    except OSError:
        pass


def serve(connection, service):
    with connection:
        try:
            service(connection)
        except OSError:
            pass


def accept(listener, service):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, service), daemon=True).start()


def answer(sock, reply):
    while True:
        data, peer = sock.recvfrom(65536)
        if reply is not None:
            try:
                sock.sendto(reply(data), peer)
            except OSError:
                pass


def listen(family, port, service):
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    # Whatever the machine prefers: RFC 5681's and 9438's are what cases are written for.
    listener.setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, b"cubic")
    listener.bind(("", port))
    listener.listen(128)
    threading.Thread(target=accept, args=(listener, service), daemon=True).start()


def main():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    pattern = lines()
    replies = {ECHO: lambda data: data, DISCARD: None, CHARGEN: lambda _: next(pattern)}
    for family in (socket.AF_INET, socket.AF_INET6):
        for port, service in ((ECHO, echo), (DISCARD, discard), (DAYTIME, daytime), (CHARGEN, chargen)):
            listen(family, port, service)
        for port, reply in replies.items():
            sock = socket.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(("", port))
            threading.Thread(target=answer, args=(sock, reply), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
