"""The tables of requirements, one for each RFC: what each id stands for."""

import csv
from dataclasses import dataclass
from pathlib import Path

TABLES = Path(__file__).resolve().parent.parent / "requirements"


@dataclass(frozen=True)
class Requirement:
    """A row of a table."""

    id: str  # the RFC and what it calls the requirement, or the section
    strength: str
    text: str

    @property
    def rfc(self):
        return self.id.split()[0]


def requirements():
    """All requirements by their ids, RFC by RFC, in the order of their tables."""
    found = {}
    for table in sorted(TABLES.glob("rfc*.tsv"), key=lambda path: int(path.stem.removeprefix("rfc"))):
        with open(table, newline="") as file:
            for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                requirement = Requirement(*row)
                if requirement.id in found or requirement.rfc.lower() != table.stem:
                    raise ValueError(f"{table.name}: {requirement.id} is there twice, or in the wrong table")
                found[requirement.id] = requirement
    return found
