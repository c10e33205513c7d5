"""The faults, each with the case that has to catch it."""

import sys
from dataclasses import dataclass
from pathlib import Path

from suite.targets import Command

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Fault:
    """A way in which the responder can be wrong."""

    name: str
    case: str


FAULTS = ()


class Broken(Command):
    """The responder, with one fault or none."""

    def __init__(self, fault):
        command = f"{sys.executable} -B {HERE / 'responder.py'} --tun {{tun}}"
        super().__init__("broken", command + (f" --fault '{fault.name}'" if fault else ""), {"IPv6", "daytime"})
