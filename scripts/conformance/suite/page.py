"""The page of results: a row a requirement, a column a target, and below it every case.

Made of the results that the last runs have left in the output folder, so that targets can be judged one by one.
"""

import json
import platform
import re
import time
from collections import defaultdict
from html import escape

from .cases import sentence
from .requirements import requirements

FIRST = ["tunstack", "tunstack-offload", "linux", "gvisor", "smoltcp", "lwip"]
# A word for each outcome, and its sign; the worst of a requirement's cases is what the requirement shows.
SIGNS = {"failed": ("✗", "fails"), "known": ("≠", "differs, for a reason that the case states"),
         "passed": ("✓", "passes"), "skipped": ("–", "not applicable: the target lacks what the case needs")}
NOT_A_TARGET = {"broken"}

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #2a7d2a; --bad: #c22; --known: #a60; --dim: #888 }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.2em; margin-top: 2em }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .25em .6em; border-bottom: 1px solid var(--line) }
thead th { position: sticky; top: 0; background: Canvas }
td.outcome, th.target { text-align: center; white-space: nowrap }
.passed { color: var(--good) } .failed { color: var(--bad); font-weight: bold } .known { color: var(--known) }
.skipped, .none, .where { color: var(--dim) } .id { white-space: nowrap }
.scroll { overflow-x: auto }
"""


def write(out, copy=None):
    """Writes conformance.html beside the results, and once more to `copy`."""
    runs = load(out)
    if not runs:
        return
    text = page(runs)
    for path in filter(None, (out / "conformance.html", copy)):
        path.write_text(text)
        print(f"wrote {path}")


def load(out):
    """The results of each target that has been judged as a whole, in the order of columns."""
    runs = {}
    for path in out.glob("*/results.json"):
        if path.parent.name not in NOT_A_TARGET:
            runs[path.parent.name] = json.loads(path.read_text())
    rank = {name: place for place, name in enumerate(FIRST)}
    return dict(sorted(runs.items(), key=lambda item: (rank.get(item[0], len(FIRST)), item[0])))


def page(runs):
    targets = list(runs)
    cases = defaultdict(dict)  # (module, case) -> target -> result
    for target, run in runs.items():
        for result in run["results"]:
            cases[result["module"], result["case"]][target] = result
    head = "".join(f'<th class="target">{escape(target)}</th>' for target in targets)
    summary = "".join(summary_row(target, run["counts"]) for target, run in runs.items())
    return f"""<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Conformance, seen from outside</title><style>{STYLE}</style>
<h1>Conformance, seen from outside</h1>
<p>Made by <code>scripts/conformance/run --target all --docs</code> on {time.strftime("%Y-%m-%d")}, beside Linux {linux()}. The
other stacks are what a small server makes of them, with IPv4 alone, echo, discard and chargen over TCP, and echo over UDP (smoltcp
without ICMP echo).</p>
<p>{escape("; ".join(f"{sign} {meaning}" for sign, meaning in SIGNS.values()))}. An empty cell: no case
checks the requirement, because it can't be seen from outside or is checked elsewhere.</p>
<table><thead><tr><th>Target</th><th>passed</th><th>differs</th><th>failed</th><th>not applicable</th></tr></thead>{summary}</table>
<h2>Requirements</h2>
<div class="scroll"><table><thead><tr><th>Requirement</th><th></th>{head}</tr></thead>
{requirement_rows(targets, cases)}</table></div>
<h2>Cases</h2>
<div class="scroll"><table><thead><tr><th>Case</th>{head}</tr></thead>
{case_rows(targets, cases)}</table></div>
<h2>Why a target differs or fails</h2>
<div class="scroll"><table><thead><tr><th>Target</th><th>Case</th><th>What was said</th></tr></thead>
{reason_rows(targets, cases)}</table></div>
</html>
"""


def linux():
    """The kernel's version, without what its builder has added."""
    return escape(re.match(r"[\d.]*", platform.release()).group())


def summary_row(target, counts):
    cells = "".join(f"<td>{counts[outcome]}</td>" for outcome in ("passed", "known", "failed", "skipped"))
    return f"<tr><td>{escape(target)}</td>{cells}</tr>"


def requirement_rows(targets, cases):
    outcomes = defaultdict(lambda: defaultdict(list))  # requirement -> target -> outcomes
    for by_target in cases.values():
        for target, result in by_target.items():
            for requirement in result["requirements"]:
                outcomes[requirement][target].append(result["outcome"])
    rows = []
    for id, requirement in requirements().items():
        cells = "".join(requirement_cell(outcomes[id][target]) for target in targets)
        rows.append(f'<tr id="{escape(id.replace(" ", "-"))}"><td class="id">{escape(id)}</td>'
                    f"<td><b>{escape(requirement.strength)}</b> {escape(requirement.text)}</td>{cells}</tr>")
    return "\n".join(rows)


def requirement_cell(outcomes):
    """The worst of its cases, and how many of them there are."""
    if not outcomes:
        return '<td class="outcome none"></td>'
    worst = next(outcome for outcome in SIGNS if outcome in outcomes)
    sign, _ = SIGNS[worst]
    count = outcomes.count(worst)
    number = f" {count}/{len(outcomes)}" if count < len(outcomes) else ""
    return f'<td class="outcome {worst}">{sign}{number}</td>'


def case_rows(targets, cases):
    rows = []
    for (module, name), by_target in sorted(cases.items()):
        cells = []
        for target in targets:
            outcome = by_target[target]["outcome"] if target in by_target else None
            sign = SIGNS[outcome][0] if outcome else ""
            cells.append(f'<td class="outcome {outcome or "none"}">{sign}</td>')
        rows.append(f'<tr><td><span class="where">{escape(module)}</span> {escape(sentence(name))}</td>{"".join(cells)}</tr>')
    return "\n".join(rows)


def reason_rows(targets, cases):
    rows = []
    for target in targets:
        for (_, name), by_target in sorted(cases.items()):
            result = by_target.get(target)
            if result and result["outcome"] in ("failed", "known"):
                rows.append(f'<tr><td>{escape(target)}</td><td>{escape(sentence(name))}</td>'
                            f'<td class="{result["outcome"]}">{escape(result["reason"])}</td></tr>')
    return "\n".join(rows)
