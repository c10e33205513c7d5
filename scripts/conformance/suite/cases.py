"""What a case says of itself: which requirements it checks, where it takes place, who may do otherwise and why."""

from dataclasses import dataclass, field

from .setting import IPV4, IPV6

BOTH = (IPV4, IPV6)


@dataclass(frozen=True)
class Case:
    """What stands above a case."""

    requirements: tuple
    families: tuple
    needs: tuple
    linux: str = field(default=None)

    def linux_reason(self, family):
        """Why Linux does otherwise over this family; `None` if it must not."""
        return self.linux.get(family) if isinstance(self.linux, dict) else self.linux


def case(*requirements, families=(IPV4,), needs=(), linux=None):
    """Makes a function a case: one idea, named as a sentence, with a live target as its argument `net`.

    `requirements` are ids of the tables in requirements/. `needs` names what a target may lack without being wrong: "daytime",
    "connect", "udp discard", ... `linux` is the reason, with its source, why Linux does otherwise than the RFC says (a
    dictionary by family if it does so in one only): the case then has to fail there.
    """
    if not requirements:
        raise ValueError("a case names the requirements that it checks")

    def mark(function):
        function.case = Case(requirements, tuple(families), tuple(needs), linux)
        function.__test__ = True  # whatever its name, pytest takes it for a test
        return function

    return mark


def sentence(name):
    """A case's name as it is read: `a_syn_draws_a_syn_ack[ipv6]`."""
    name, _, parameters = name.partition("[")
    name = name.replace("_", " ")
    return f"{name} [{parameters}" if parameters else name
