"""What the responder does with connections: echo, discard, daytime and chargen (RFCs 862, 863, 867, 864).

A service sees a connection as an application does: `read()` gives what has come, `write(data)` takes what it has room for,
`space()` says how much that is, `close()` ends the sending; `run` is called whenever something of that may have changed.
"""

import itertools
import time

from suite.setting import CHARGEN, DAYTIME, DISCARD, ECHO

LINE = 72
LINES = 10  # that chargen writes at a time


def lines():
    """RFC 864's pattern, a line at a time, for ever."""
    printable = bytes(range(33, 127)) * 2
    start = 0
    while True:
        yield printable[start:start + LINE] + b"\r\n"
        start = (start + 1) % 94


class Echo:
    def run(self, connection):
        connection.write(connection.read(connection.space()))
        if connection.is_at_end():
            connection.close()


class Discard:
    def run(self, connection):
        connection.read()
        if connection.is_at_end():
            connection.close()


class Daytime:
    told = False

    def run(self, connection):
        connection.read()
        if not self.told:
            connection.write(time.strftime("%A, %B %d, %Y %H:%M:%S-UTC\r\n", time.gmtime()).encode())
            self.told = True
        connection.close()


class Chargen:
    def __init__(self):
        self.lines = lines()

    def run(self, connection):
        connection.read()
        while connection.space() > LINES * (LINE + 2) and not connection.is_at_end():
            connection.write(b"".join(itertools.islice(self.lines, LINES)))
        if connection.is_at_end():
            connection.close()


SERVICES = {ECHO: Echo, DISCARD: Discard, DAYTIME: Daytime, CHARGEN: Chargen}
