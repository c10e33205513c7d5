"""The responder as a target of the suite."""

import sys
from pathlib import Path

from suite.targets import Command

HERE = Path(__file__).resolve().parent


class Broken(Command):
    """The responder, with one fault or none."""

    def __init__(self, fault=None):
        command = f"{sys.executable} -B {HERE / 'responder.py'} --tun {{tun}}"
        super().__init__("broken", command + (f" --fault '{fault.name}'" if fault else ""), {"IPv6"})

    def stop(self):
        """One that has come to an end is no fault that was caught: the responder is to be wrong, not dead."""
        complaint = self.complaint() if any(process.poll() is not None for process in self.processes) else ""
        super().stop()
        if complaint:
            raise RuntimeError(complaint)
