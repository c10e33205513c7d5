"""Connects to ADDRESS PORT by the kernel's sockets and echoes what comes, until its standard input ends."""

import socket
import sys
import threading


def talk(address, port):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, 13, b"cubic")  # TCP_CONGESTION
        try:
            connection.connect((address, port))
            while data := connection.recv(65536):
                connection.sendall(data)
        except OSError as error:
            print(error, file=sys.stderr)


if __name__ == "__main__":
    threading.Thread(target=talk, args=(sys.argv[1], int(sys.argv[2])), daemon=True).start()
    sys.stdin.read()
