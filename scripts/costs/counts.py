"""From what callgrind writes to counts, and from two of them to what has become worse. Runs nothing itself."""

import dataclasses
import re
import tomllib

# What may grow before somebody has to say why; and what is more by binary fractions only is not more.
TOLERANCE = 0.05 + 1e-9
ALLOCATIONS = re.compile(r"(malloc|calloc|realloc|posix_memalign|aligned_alloc)$")
COPIES = re.compile(r"_*(memcpy|memmove|memset)(_|@|$)")
FIELDS = ("instructions", "allocations", "copies")
# A difference that is none, of figures that are written with so many digits.
DIGITS = {"instructions": 1, "allocations": 2, "copies": 2}


@dataclasses.dataclass(frozen=True)
class Counts:
    """What one thing costs: instructions of our own program, and how often it asks the C library for memory, or to copy or
    fill some. What the library does then depends on its version and on the processor: `library` is told, and compared with nothing."""

    instructions: float = 0
    allocations: float = 0
    copies: float = 0
    library: float = 0

    def over(self, times):
        each = {field: getattr(self, field) / times for field in (*FIELDS, "library")}
        return Counts(**{field: round(value, DIGITS.get(field, 1)) for field, value in each.items()})


@dataclasses.dataclass(frozen=True)
class Toolchain:
    """What else counts depend on."""

    rustc: str
    host: str

    def __str__(self):
        return f"rustc {self.rustc} for {self.host}"


@dataclasses.dataclass(frozen=True)
class Baseline:
    toolchain: Toolchain
    costs: dict


def each(text):
    """Every line of costs in a profile (https://valgrind.org/docs/manual/cl-format.html) with addresses: the object and the
    function that it is in, the address, and the instructions executed there."""
    for word, wanted in (("positions", "instr line"), ("events", "Ir")):
        if not re.search(f"^{word}: {wanted}$", text, re.MULTILINE):
            raise ValueError(f"this is no profile with `{word}: {wanted}`")
    names = {"ob": {}, "fn": {}}
    here = {"ob": "", "fn": ""}
    inclusive = False
    for line in text.splitlines():
        if line.startswith("0x"):
            # The line after `calls=` says what the call cost with all that it called, and those say so themselves.
            if not inclusive:
                address, _, cost = line.split()
                yield here["ob"], here["fn"], int(address, 16), int(cost)
            inclusive = False
        elif line.startswith("calls="):
            inclusive = True
        elif found := re.match(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?$", line):
            of_callee, kind, number, name = found.groups()
            name = names[kind].setdefault(number, name)
            if not of_callee:
                here[kind] = name


def read(text, program):
    """Counts from a profile, of a program that has this path.

    How often something was called is not taken from the profile's `calls=` lines, which count what is called outside the measured part
    as well, but from how often the first of its instructions was executed."""
    instructions = library = 0
    at = {}  # function of the library: address: executions
    for where, function, address, cost in each(text):
        if where == program:
            instructions += cost
        else:
            library += cost
            executions = at.setdefault(function, {})
            executions[address] = executions.get(address, 0) + cost
    if instructions == 0:
        raise ValueError("the profile holds nothing of the program")

    def calls(which):
        return sum(executions[min(executions)] for name, executions in at.items() if which.match(name))

    return Counts(instructions, calls(ALLOCATIONS), calls(COPIES), library)


def by_function(text):
    """Instructions of each function, without those it calls and with those that were made part of it, the most first."""
    found = {}
    for _, function, _, cost in each(text):
        found[function] = found.get(function, 0) + cost
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def written(toolchain, costs):
    """A baseline as a file."""
    lines = [
        "# What each of these may cost, and 5 % more: instructions of our own, allocations, and calls that copy or fill memory.",
        "# Written by scripts/costs/run --write. Whoever changes it says why in the commit.",
        f'rustc = "{toolchain.rustc}"',
        f'host = "{toolchain.host}"',
        "",
        "[costs]",
    ]
    for name, cost in sorted(costs.items()):
        figures = ", ".join(f"{field} = {getattr(cost, field):.{DIGITS[field]}f}" for field in FIELDS)
        lines.append(f'"{name}" = {{ {figures} }}')
    return "\n".join(lines) + "\n"


def parsed(text):
    """A baseline from a file."""
    read = tomllib.loads(text)
    costs = {name: Counts(**figures) for name, figures in read["costs"].items()}
    return Baseline(Toolchain(read["rustc"], read["host"]), costs)


def change(now, before):
    """By what part it has grown; a thing that once cost nothing has grown beyond all measure."""
    if now == before:
        return 0.0
    return now / before - 1 if before else float("inf")


def percent(part):
    return "from nothing" if part == float("inf") else f"{part:+.1%}"


@dataclasses.dataclass
class Report:
    worse: list
    better: list


def compared(now, before, everything=True):
    """What has become worse, and what so much better that the baseline should know; with `everything`, nothing may be missing."""
    report = Report([], [])
    for name, cost in now.items():
        if name not in before:
            report.worse.append(f"{name} is not in the baseline")
            continue
        for field in FIELDS:
            new, old = getattr(cost, field), getattr(before[name], field)
            grown = change(new, old)
            line = f"{name}: {field} {old:,} -> {new:,} ({percent(grown)})"
            if grown > TOLERANCE:
                report.worse.append(line)
            elif grown < -TOLERANCE:
                report.better.append(line)
    gone = sorted(set(before) - set(now)) if everything else []
    report.worse.extend(f"{name} is in the baseline and was not counted" for name in gone)
    return report


def table(now, before):
    """Lines of a table."""
    width = max(map(len, now))
    head = f"{'':{width}} {'instructions':>12} {'baseline':>12} {'change':>8} {'allocations':>12} {'copies':>8} {'in libc':>10}"
    lines = [head]
    for name, cost in now.items():
        old = before.get(name)
        was = f"{old.instructions:,.1f}" if old else "-"
        grown = percent(change(cost.instructions, old.instructions)) if old else "-"
        line = f"{name:{width}} {cost.instructions:12,.1f} {was:>12} {grown:>8} {cost.allocations:12.2f} {cost.copies:8.2f} {cost.library:10,.1f}"
        lines.append(line)
    return lines
