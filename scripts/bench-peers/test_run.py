"""Whether a run ends as it is to end: pytest scripts/bench-peers. Each works in namespaces of its own."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

RUN = Path(__file__).resolve().parent / "run"
PATIENCE_S = 30


def start(*words, daemon=None, profiled=None):
    env = dict(os.environ) | ({"TUNSTACK_BIN": str(daemon)} if daemon else {})
    env |= {"TUNSTACK_PROFILED_BIN": str(profiled)} if profiled else {}
    return subprocess.Popen([RUN, *map(str, words)], env=env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def brief(out, *words):
    return ("--rounds", 1, "--seconds", 0.1, "--out", out, *words)


def script(path, text):
    path.write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && exec echo something 1.0\n{text}\n")
    path.chmod(0o755)
    return path


def processes_with(word):
    """Who has this on the command line, in whatever namespace."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in line.read_bytes().decode(errors="replace"):
                found.append(line.parent.name)
        except OSError:
            pass
    return found


def test_a_daemon_that_ends_is_told_in_a_line_with_its_last_word(tmp_path):
    daemon = script(tmp_path / "ends", "echo 'there is no such device' >&2; exit 3")
    run = start(*brief(tmp_path / "out", "--peers", "tunstack,null", "--workloads", "rr1"), daemon=daemon)
    _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1
    failed = [line for line in said.splitlines() if "FAILED" in line]
    assert len(failed) == 1, said
    assert failed[0].startswith("rr1, round 1/1: ") and "tunstack FAILED: " in failed[0]
    assert "the server ended with status 3 (the server: there is no such device)" in failed[0]
    # The others are measured all the same.
    report = json.loads((tmp_path / "out.json").read_text())
    by_peer = {one["peer"]: one for one in report["figures"]}
    assert by_peer["null"]["median"] > 0
    assert by_peer["tunstack"]["median"] is None
    assert "something 1.0" in report["versions"]["tunstack"]


def test_the_profiled_daemon_is_the_one_that_is_named_and_is_left_out_where_there_is_none(tmp_path):
    words = brief(tmp_path / "out", "--peers", "tunstack-profiled,null", "--workloads", "rr1")
    run = start(*words, profiled=tmp_path / "none")
    _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, said
    assert "left out: tunstack-profiled: not built, see scripts/build-profiled" in said
    run = start(*words, profiled=script(tmp_path / "ends", "exit 3"))
    _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1
    failed = [line for line in said.splitlines() if "tunstack-profiled FAILED" in line]
    assert len(failed) == 1 and "the server ended with status 3" in failed[0], said
    assert "something 1.0" in json.loads((tmp_path / "out.json").read_text())["versions"]["tunstack-profiled"]


def test_what_is_not_built_or_cannot_be_done_is_named_and_left_out(tmp_path):
    env = os.environ | {"BENCH_PEERS_DIR": str(tmp_path)}
    words = [str(word) for word in brief(tmp_path / "out", "--peers", "lwip,null,kernel", "--workloads", "rr1,idle")]
    run = subprocess.run([RUN, *words], env=env, text=True, capture_output=True, check=False, timeout=PATIENCE_S)
    assert run.returncode == 0, run.stderr
    assert "left out: lwip: not built, see scripts/bench-peers/build" in run.stderr.splitlines()
    assert "left out: kernel, idle: its memory is no process's" in run.stderr.splitlines()
    assert "- lwip, everything: not built, see scripts/bench-peers/build" in run.stdout.splitlines()
    measured = json.loads((tmp_path / "out.json").read_text())["figures"]
    assert [(one["peer"], one["workload"]) for one in measured] == [("null", "rr1"), ("kernel", "rr1")]


def test_nothing_stays_of_a_run_that_is_ended_or_killed_and_its_rounds_are_kept(tmp_path):
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        out = tmp_path / f"out-{how.name}"
        words = ("--peers", "null", "--workloads", "rr1", "--rounds", 1000, "--seconds", 0.1, "--out", out)
        run = start(*words)
        try:
            wait_for(lambda: out.with_name(out.name + ".json").exists(), run)
            # The first one, the one that makes the namespaces, and the one inside.
            assert len(processes_with(str(out))) >= 3
            run.send_signal(how)
            run.wait(PATIENCE_S)
            wait_for(lambda: not processes_with(str(out)))
        finally:
            run.kill()
            run.communicate()
        assert json.loads(out.with_name(out.name + ".json").read_text())["rounds_done"]["rr1"] >= 1


def test_a_server_stays_for_four_rounds_and_one_that_ends_is_started_anew(tmp_path):
    target = os.environ.get("CARGO_TARGET_DIR", RUN.parents[2] / "target")
    null = Path(os.environ.get("BENCH_PEERS_DIR", Path(target) / "bench-peers")).resolve() / "bin/nullstack"
    starts = tmp_path / "starts"
    # The first ends at once, and each of the others serves.
    daemon = script(tmp_path / "daemon", f"echo >> {starts}\n[ $(wc -l < {starts}) = 1 ] && exit 3\nexec {null} tun0")
    words = ("--peers", "tunstack", "--workloads", "rr1", "--rounds", 9, "--seconds", 0.1, "--out", tmp_path / "out")
    run = start(*words, daemon=daemon)
    _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1 and said.count("FAILED") == 1, said
    one, = json.loads((tmp_path / "out.json").read_text())["figures"]
    assert ["failed" in run for run in one["runs"]] == [True, *[False] * 8]
    # Twice within the first four rounds, and then before the fifth and the ninth.
    assert len(starts.read_text().splitlines()) == 4


def test_a_profile_that_cannot_be_had_is_told_and_all_are_measured(tmp_path, monkeypatch):
    script(tmp_path / "perf", "echo 'there are no counters' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    run = start(*brief(tmp_path / "out", "--peers", "null,kernel", "--workloads", "rr1,udp1", "--profile", tmp_path / "profiles"))
    _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 1
    failed = sorted(line for line in said.splitlines() if "FAILED" in line)
    assert [line.partition(" FAILED")[0] for line in failed] == ["rr1: kernel", "rr1: null", "udp1: kernel", "udp1: null"], said
    assert all("perf has recorded nothing: there are no counters" in line for line in failed)
    assert all(one["median"] > 0 for one in json.loads((tmp_path / "out.json").read_text())["figures"])


def test_two_runs_at_once_do_not_meet(tmp_path):
    runs = [start(*brief(tmp_path / name, "--peers", "null,kernel", "--workloads", "rr1,up1")) for name in ("a", "b")]
    for run, name in zip(runs, ("a", "b")):
        _, said = run.communicate(timeout=PATIENCE_S)
        assert run.returncode == 0, said
        assert all(one["median"] > 0 for one in json.loads((tmp_path / f"{name}.json").read_text())["figures"])


def wait_for(condition, run=None):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert run is None or run.poll() is None, run.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)
