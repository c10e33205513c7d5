"""Whether profiles are read for what they say, and what grows is found: pytest scripts/costs."""

import tomllib
from pathlib import Path

import counts
import pytest
from counts import Baseline, Counts, Toolchain

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "/somewhere/tunstack-costs"
HERE = Toolchain("1.95.0 (59807616e 2026-04-14)", "x86_64-unknown-linux-gnu")

# As callgrind writes: names once, then numbers; a call with what it cost in all; a callee's object only where it is another one.
PROFILE = f"""# callgrind format
version: 1
positions: instr line
events: Ir
summary: 999

ob=(1) {PROGRAM}
fl=(1) core.rs
fn=(1) tunstack::receive
0x1000 10 5
0x1004 11 5
cob=(2) /lib/libc.so.6
cfi=(2) ???
cfn=(2) malloc
calls=700 0x9000 0
0x1008 12 84
cfn=(3) tunstack::parse
calls=5 0x2000 0
0x100c 13 35
fi=(3) vec.rs
0x1010 13 1

fn=(3)
0x2000 20 30
cob=(2)
cfn=(4) __memcpy_avx_unaligned_erms
calls=9 0x8000 0
0x2004 21 5

ob=(2)
fl=(2)
fn=(2)
0x9004 0 80
0x9000 0 4

fn=(4)
0x8000 0 3
0x8004 0 2

fn=(5) __memcmp_sse2
0x7000 0 9
"""


def test_instructions_are_the_programs_own_and_each_is_counted_once():
    read = counts.read(PROFILE, PROGRAM)
    assert read.instructions == 5 + 5 + 1 + 30
    assert read.library == 84 + 5 + 9


def test_calls_are_those_of_the_measured_part_whatever_was_called_before_it():
    read = counts.read(PROFILE, PROGRAM)
    assert (read.allocations, read.copies) == (4, 3)


def test_a_function_has_what_it_does_itself_wherever_its_code_came_from():
    assert counts.by_function(PROFILE) == [
        ("malloc", 84),
        ("tunstack::parse", 30),
        ("tunstack::receive", 11),
        ("__memcmp_sse2", 9),
        ("__memcpy_avx_unaligned_erms", 5),
    ]


def test_memory_is_asked_for_and_copied_under_several_names():
    for name in ("malloc", "calloc", "realloc", "posix_memalign"):
        assert counts.ALLOCATIONS.match(name), name
    for name in ("memcpy", "__memmove_avx_unaligned_erms", "__memset_sse2_unaligned", "memcpy@@GLIBC_2.14"):
        assert counts.COPIES.match(name), name
    for name in ("malloc_consolidate", "free", "_int_malloc", "__memcmp_avx2_movbe", "memchr"):
        assert not counts.ALLOCATIONS.match(name) and not counts.COPIES.match(name), name


def test_a_profile_in_which_nothing_was_measured_is_refused():
    with pytest.raises(ValueError, match="nothing of the program"):
        counts.read(PROFILE, "/somewhere/else")
    with pytest.raises(ValueError, match="events"):
        counts.read(PROFILE.replace("events: Ir", "events: Ir Dr"), PROGRAM)
    with pytest.raises(ValueError, match="positions"):
        counts.read(PROFILE.replace("positions: instr line", "positions: line"), PROGRAM)


def test_figures_are_of_one_of_many():
    assert Counts(1001, 3, 0, 10).over(4) == Counts(250.2, 0.75, 0.0, 2.5)


def grown(field, old, new):
    return counts.compared({"a": Counts(**{field: new})}, {"a": Counts(**{field: old})})


@pytest.mark.parametrize("field", counts.FIELDS)
def test_what_grows_by_more_than_a_twentieth_is_worse(field):
    assert grown(field, 100.0, 105.0) == counts.Report([], [])
    report = grown(field, 100.0, 105.1)
    assert report.worse == [f"a: {field} 100.0 -> 105.1 (+5.1%)"]
    assert report.better == []


@pytest.mark.parametrize("field", counts.FIELDS)
def test_what_shrinks_by_more_than_a_twentieth_is_told_and_no_failure(field):
    assert grown(field, 100.0, 95.0) == counts.Report([], [])
    report = grown(field, 100.0, 94.0)
    assert (report.worse, report.better) == ([], [f"a: {field} 100.0 -> 94.0 (-6.0%)"])


def test_the_first_allocation_where_there_was_none_is_worse():
    assert grown("allocations", 0.0, 0.0) == counts.Report([], [])
    assert grown("allocations", 0.0, 0.01).worse == ["a: allocations 0.0 -> 0.01 (from nothing)"]


def test_what_the_library_does_is_compared_with_nothing():
    now, before = {"a": Counts(10, 0, 0, 900)}, {"a": Counts(10, 0, 0, 1)}
    assert counts.compared(now, before) == counts.Report([], [])


def test_nothing_comes_or_goes_without_a_new_baseline():
    one = Counts(10)
    assert counts.compared({"a": one, "b": one}, {"a": one}).worse == ["b is not in the baseline"]
    assert counts.compared({"a": one}, {"a": one, "b": one}).worse == ["b is in the baseline and was not counted"]
    assert counts.compared({"a": one}, {"a": one, "b": one}, everything=False).worse == []


def test_a_baseline_is_read_as_it_was_written_and_sorted():
    costs = {"text: sent": Counts(3207.2, 0.06, 5.89), "part: 1,024 bytes": Counts(555.0, 0.0, 0.0)}
    text = counts.written(HERE, costs)
    assert counts.parsed(text) == Baseline(HERE, costs)
    assert text.index("part:") < text.index("text:")
    assert text == counts.written(HERE, dict(reversed(costs.items())))


def test_the_table_has_a_line_for_each_with_its_baseline_or_none():
    head, *lines = counts.table({"a": Counts(110.0, 1.0, 2.0, 3.0), "b": Counts(5.0)}, {"a": Counts(100.0)})
    assert head.split() == ["instructions", "baseline", "change", "allocations", "copies", "in", "libc"]
    assert lines[0].split() == ["a", "110.0", "100.0", "+10.0%", "1.00", "2.00", "3.0"]
    assert lines[1].split()[:4] == ["b", "5.0", "-", "-"]


def test_the_core_is_counted_with_the_libraries_that_it_is_built_with():
    def locked(path):
        packages = tomllib.loads((ROOT / path).read_text(encoding="utf-8"))["package"]
        return {(package["name"], package["version"]) for package in packages if "source" in package}

    ours = locked("benches/costs/Cargo.lock")
    assert len(ours) > 5
    assert ours <= locked("Cargo.lock")
