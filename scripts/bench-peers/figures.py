"""From what the client said to tables: medians over the rounds, ratios within a round, Markdown. Measures nothing itself."""

import statistics

import peers

# What a figure says beside its value, of the client's words.
BESIDE = ("cpu_s_per_gb", "cpu_us_per_op", "p50_us", "p99_us", "p999_us", "foreign_cpus")

def median(values):
    values = list(values)
    return statistics.median(values) if values else None


def figure(peer, workload, runs):
    """One peer at one workload, over all rounds: `runs` holds what the client said in each, or {"failed": why}."""
    good = [run for run in runs if "failed" not in run]
    values = [run["value"] for run in good]
    out = {
        "peer": peer,
        "workload": workload,
        "unit": peers.WORKLOADS[workload].unit,
        "median": median(values),
        "min": min(values, default=None),
        "max": max(values, default=None),
        "failed": [run["failed"] for run in runs if "failed" in run],
    }
    for word in BESIDE:
        if any(word in run for run in good):
            out[word] = median(run[word] for run in good if word in run)
    out["user_share"] = user_share(good)
    return out | {"runs": runs}


def user_share(runs):
    """Of the server's processor time, what it spent in its own program. Each measurement is short for the kernel's ticks; all are not."""
    user, system = (sum(run.get(word, 0.0) for run in runs) for word in ("cpu_user_s", "cpu_sys_s"))
    return user / (user + system) if user + system > 0 else None


def ratio(ours, theirs, word="value"):
    """The median, over the rounds in which both were measured, of ours to theirs. What else the machine does in a round meets both."""
    pairs = [(our, their) for our, their in zip(ours["runs"], theirs["runs"]) if our.get(word) and their.get(word)]
    return median(our[word] / their[word] for our, their in pairs)


def ratios(figures, ours, rivals):
    """For each of ours, each rival and each workload that both did: of what was carried, and of the processor time that each of it took."""
    by_name = {(one["peer"], one["workload"]): one for one in figures}
    out = []
    for (peer, workload), one in by_name.items():
        for rival in rivals if peer in ours else ():
            other = by_name.get((rival, workload))
            value = ratio(one, other) if other and rival != peer else None
            if value is not None:
                cost = ratio(one, other, cost_word(workload))
                out.append({"of": peer, "to": rival, "workload": workload, "median": value, "cpu": cost})
    return out


def cost_word(workload):
    return "cpu_s_per_gb" if peers.WORKLOADS[workload].unit == peers.GBITS else "cpu_us_per_op"


def foreign(figures):
    """Of the processors, how many were busy on average with neither server nor client."""
    runs = [run["foreign_cpus"] for one in figures for run in one["runs"] if "foreign_cpus" in run]
    return max(0.0, statistics.fmean(runs)) if runs else None


def number(value, unit):
    """As it is read: 30.5 Gbit/s, 173k transactions, 22,700 octets."""
    if value is None:
        return "-"
    if unit == peers.GBITS:
        return f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"
    if unit == peers.BYTES:
        return f"{value:,.0f}"
    if value >= 99_950:
        return f"{value / 1000:.0f}k"
    return f"{value / 1000:.1f}k" if value >= 1000 else f"{value:.0f}"


def table(head, rows):
    line = lambda cells: "| " + " | ".join(cells) + " |"
    return "\n".join([line(head), line(["---"] + ["---:"] * (len(head) - 1)), *map(line, rows)])


def markdown(report):
    """The whole report, as `run` puts it together."""
    figures, workloads = report["figures"], report["workloads"]
    by_name = {(one["peer"], one["workload"]): one for one in figures}
    names = [name for name in report["peers"] if any(one["peer"] == name for one in figures)]

    def grid(cell, columns):
        rows = [[name, *(cell(by_name[name, at]) if (name, at) in by_name else "-" for at in columns)] for name in names]
        return table(["", *(title(at, report) for at in columns)], rows)

    plain = lambda one: number(one["median"], one["unit"]) + ("*" if one["failed"] and one["median"] is not None else "")
    spread = lambda one: f"{number(one['min'], one['unit'])} .. {number(one['max'], one['unit'])}" if one["runs"] and one["median"] else "-"
    parts = [
        "# tunstack and other stacks",
        f"{machine(report)}\n{setting(report)}",
        "Medians: up and down in Gbit/s, RR, UDP (to and fro) and CRR (connections) per second, idle in octets a connection.",
        grid(plain, workloads),
        *ratio_part(report, "Ratios, medians of those within a round. Of idle, less is better.", "median"),
        "Processor time of the server: seconds a gigabyte, or microseconds an operation, and how much of it in its own program.",
        grid(processor, [at for at in workloads if peers.WORKLOADS[at].unit != peers.BYTES]),
    ]
    parts += ratio_part(report, "Ratios of processor time, medians of those within a round. Less is better.", "cpu")
    if "rr64" in workloads:
        late = lambda word: lambda one: "-" if one.get(word) is None else f"{one[word]:,.0f}"
        rows = [[name, *(late(word)(by_name[name, "rr64"]) for word in ("p50_us", "p99_us", "p999_us"))]
                for name in names if (name, "rr64") in by_name]
        parts += ["How long one of RR 64 takes, in microseconds.", table(["", "median", "p99", "p99.9"], rows)]
    parts += ["The lowest and the highest of the rounds.", grid(spread, workloads)]
    versions = report["versions"]
    parts += ["\n".join(f"- {name}: {report['peers'][name]} ({versions.get(name, 'version unknown')})" for name in names)]
    notes = [f"- {one['peer']}, {words(one)}: {one['why']}" for one in report["skipped"]]
    notes += [f"- {one['peer']}, {title(one['workload'], report)}, {len(one['failed'])} of {len(one['runs'])} failed (*): {one['failed'][-1]}"
              for one in figures if one["failed"]]
    if notes:
        parts += ["Not measured:", "\n".join(notes)]
    return "\n\n".join(parts) + "\n"


def costs(alone, called, at_most=40):
    """What a profile says, of two reports of perf's with `|` between columns: in each function itself, and with what it calls."""
    def rows(text):
        cells = (line.split("|", 1) for line in text.splitlines() if "|" in line and not line.startswith("#"))
        return [(float(share.strip().rstrip("%")), symbol.strip()) for share, symbol in cells]

    itself = rows(alone)
    kernel = sum(share for share, symbol in itself if symbol.startswith("[k]"))
    user = sum(share for share, symbol in itself if not symbol.startswith("[k]"))
    listed = lambda found: "\n".join(f"{share:6.2f} %  {symbol}" for share, symbol in found[:at_most])
    return (f"user {user:.1f} %, kernel {kernel:.1f} %\n\nEach function itself:\n{listed(itself)}\n\n"
            f"Those of user space:\n{listed([row for row in itself if not row[1].startswith('[k]')])}\n\n"
            f"With what it calls:\n{listed(rows(called))}\n")


def title(workload, report):
    if workload == "idle":
        return f"idle {report['setting']['idle']:,}"
    return peers.WORKLOADS[workload].title


def words(skipped):
    """Which workload was skipped, or all of them."""
    return peers.WORKLOADS[skipped["workload"]].title if skipped["workload"] else "everything"


def processor(one):
    places = 3 if one["unit"] == peers.GBITS else 2
    value, share = one.get(cost_word(one["workload"])), one.get("user_share")
    if value is None:
        return "-"
    return f"{value:.{places}f}" + (f" ({value * share:.{places}f})" if share is not None else "")


def ratio_part(report, head, word):
    """A table of ratios, if there are any."""
    by_name = {(one["of"], one["to"], one["workload"]): one[word] for one in report["ratios"] if one[word] is not None}
    rows = [[f"{of} / {to}", *(f"{by_name[of, to, at]:.2f}" if (of, to, at) in by_name else "-" for at in report["workloads"])]
            for of, to in dict.fromkeys((of, to) for of, to, _ in by_name)]
    return [head, table(["", *(title(at, report) for at in report["workloads"])], rows)] if rows else []


def machine(report):
    it = report["machine"]
    return (f"{report['date']}, {it['processor']}, {it['processors']} processors, {it['memory_gib']:.0f} GiB, Linux {it['kernel']}; "
            f"server on processor {it['server_cpu']}, client on {it['client_cpu']}.")


def setting(report):
    it, others = report["setting"], foreign(report["figures"])
    busy = "" if others is None else f" Something else kept {others:.2f} processors busy on average."
    begun = [f"{title(at, report)} {report['rounds_done'].get(at, 0)}" for at in report["workloads"]
             if report["rounds_done"].get(at, 0) < peers.WORKLOADS[at].rounds(it["rounds"])]
    unfinished = f" Of these not all were done: {', '.join(begun)}." if begun else ""
    return (f"{it['rounds']} rounds, {it['seconds']:g} s each after {it['warm_s']:g} s, MTU {it['mtu']}, {it['queue']} packets of queue, "
            f"{it['congestion']}.{busy}{unfinished}")
