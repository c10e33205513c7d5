"""Whether medians, ratios and tables say what was measured: pytest scripts/bench-peers."""

import json

import figures
import peers
import pytest


def said(value, **more):
    return {"value": value, "foreign_cpus": 0.0} | more


def report(found, **more):
    return {
        "date": "2026-01-02 03:04 UTC",
        "machine": {"processor": "Some Processor", "processors": 2, "memory_gib": 23.9, "kernel": "6.1", "server_cpu": 0, "client_cpu": 1},
        "setting": {"rounds": 3, "seconds": 0.25, "warm_s": 0.5, "idle": 10000, "mtu": 1500, "queue": 1000, "congestion": "CUBIC"},
        "rounds_done": {one["workload"]: 3 for one in found},
        "peers": {name: peers.PEERS[name].what for name in dict.fromkeys(one["peer"] for one in found)},
        "versions": {"lwip": "lwIP 2.1.3"},
        "workloads": list(dict.fromkeys(one["workload"] for one in found)),
        "skipped": [],
        "figures": found,
        "ratios": figures.ratios(found, peers.OURS, peers.RIVALS),
    } | more


def cells(text, first, column):
    """What stands in a column of the rows that begin with this word, table by table."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    head, out = [], []
    for row in rows:
        if row[0] == "":
            head = row
        elif row[0] == first and column in head:
            out.append(row[head.index(column)])
    return out


def test_a_figure_is_the_median_of_the_rounds_with_the_lowest_and_the_highest():
    one = figures.figure("lwip", "up1", [said(3.0), said(9.0), said(4.0)])
    assert (one["median"], one["min"], one["max"], one["unit"]) == (4.0, 3.0, 9.0, "Gbit/s")
    assert figures.figure("lwip", "up1", [said(3.0), said(4.0)])["median"] == 3.5


def test_what_stands_beside_the_value_has_a_median_of_its_own():
    one = figures.figure("lwip", "rr64", [said(1.0, p99_us=30), said(2.0, p99_us=10), said(3.0, p99_us=20)])
    assert (one["median"], one["p99_us"]) == (2.0, 20)
    assert "cpu_s_per_gb" not in one


def test_a_round_that_failed_counts_in_no_median_and_is_told():
    one = figures.figure("lwip", "up1", [said(3.0), {"failed": "no route"}, said(5.0)])
    assert (one["median"], one["min"], one["failed"]) == (4.0, 3.0, ["no route"])
    none = figures.figure("lwip", "up1", [{"failed": "no route"}])
    assert (none["median"], none["min"], none["max"]) == (None, None, None)


def test_a_ratio_is_taken_within_each_round():
    # The machine was slow in the second round, for both of them; the ratio of the medians would be 1.
    ours = figures.figure("tunstack", "up1", [said(20.0), said(2.0), said(10.0)])
    theirs = figures.figure("lwip", "up1", [said(10.0), said(1.0), said(20.0)])
    assert figures.ratio(ours, theirs) == 2.0


def test_a_ratio_leaves_out_rounds_in_which_one_of_both_failed():
    ours = figures.figure("tunstack", "up1", [said(30.0), {"failed": "why"}, said(20.0)])
    theirs = figures.figure("lwip", "up1", [said(10.0), said(1.0), {"failed": "why"}])
    assert figures.ratio(ours, theirs) == 3.0
    assert figures.ratio(ours, figures.figure("lwip", "up1", [{"failed": "why"}] * 3)) is None


def test_ratios_are_of_ours_to_each_rival_that_did_the_workload():
    found = [
        figures.figure("tunstack", "up1", [said(6.0)]),
        figures.figure("tunstack", "idle", [said(100.0)]),
        figures.figure("lwip", "up1", [said(3.0)]),
        figures.figure("gvisor", "up1", [said(1.0)]),
    ]
    assert figures.ratios(found, ("tunstack",), ("lwip", "null")) == [
        {"of": "tunstack", "to": "lwip", "workload": "up1", "median": 2.0, "cpu": None}]


def test_processor_time_is_compared_within_each_round_too():
    ours = figures.figure("tunstack", "up1", [said(1.0, cpu_s_per_gb=0.2), said(1.0, cpu_s_per_gb=0.9), said(1.0)])
    theirs = figures.figure("lwip", "up1", [said(1.0, cpu_s_per_gb=0.4), said(1.0, cpu_s_per_gb=1.8), said(1.0, cpu_s_per_gb=1.0)])
    assert [one["cpu"] for one in figures.ratios([ours, theirs], ("tunstack",), ("lwip",))] == [0.5]


def test_of_processor_time_the_part_of_the_program_is_of_all_rounds_together():
    # In ticks of ten milliseconds, a short measurement has all or nothing.
    ticks = [said(1.0, cpu_user_s=0.0, cpu_sys_s=0.02), said(1.0, cpu_user_s=0.01, cpu_sys_s=0.01), {"failed": "why"}]
    assert figures.figure("lwip", "rr1", ticks)["user_share"] == 0.25
    assert figures.figure("lwip", "rr1", [said(1.0)])["user_share"] is None


@pytest.mark.parametrize(("value", "unit", "shown"), [
    (None, peers.GBITS, "-"),
    (30.46, peers.GBITS, "30.5"),
    (9.949, peers.GBITS, "9.95"),
    (0.5, peers.GBITS, "0.50"),
    (173_400, peers.OPERATIONS, "173k"),
    (99_949, peers.OPERATIONS, "99.9k"),
    (99_950, peers.OPERATIONS, "100k"),
    (999, peers.OPERATIONS, "999"),
    (22_700, peers.BYTES, "22,700"),
])
def test_numbers_are_written_as_they_are_read(value, unit, shown):
    assert figures.number(value, unit) == shown


def test_the_page_has_medians_ratios_processor_time_latency_and_spread():
    found = [
        figures.figure("tunstack", "up1", [said(30.0, cpu_s_per_gb=0.2), said(20.0, cpu_s_per_gb=0.3), said(40.0, cpu_s_per_gb=0.1)]),
        figures.figure("lwip", "up1", [said(3.0, cpu_s_per_gb=2.0)] * 3),
        figures.figure("tunstack", "rr64", [said(200_000, cpu_us_per_op=4.25, cpu_user_s=0.2, cpu_sys_s=0.6, p50_us=300.4, p99_us=1234.5,
                                            p999_us=2000)] * 3),
    ]
    page = figures.markdown(report(found))
    assert cells(page, "tunstack", "up 1") == ["30.0", "0.200", "20.0 .. 40.0"]
    assert cells(page, "tunstack / lwip", "up 1") == ["10.00", "0.10"]
    assert cells(page, "tunstack / lwip", "RR 64") == ["-", "-"]
    assert cells(page, "lwip", "RR 64") == ["-", "-", "-"]
    assert "3 rounds, 0.25 s each after 0.5 s, MTU 1500" in page and "not all were done" not in page
    assert cells(page, "tunstack", "RR 64") == ["200k", "4.25 (1.06)", "200k .. 200k"]
    assert cells(page, "tunstack", "p99") == ["1,234"]
    assert "Some Processor, 2 processors, 24 GiB, Linux 6.1; server on processor 0, client on 1." in page
    assert "(lwIP 2.1.3)" in page
    assert "Not measured" not in page


def test_the_page_tells_what_was_left_out_and_what_failed():
    found = [
        figures.figure("tunstack", "up1", [said(3.0), {"failed": "no route"}]),
        figures.figure("lwip", "up1", [{"failed": "no device"}] * 2),
    ]
    skipped = [{"peer": "ipstack", "workload": None, "why": "not built"}, {"peer": "null", "workload": "idle", "why": "has no memory"}]
    page = figures.markdown(report(found, skipped=skipped))
    assert cells(page, "tunstack", "up 1")[0] == "3.00*"
    assert cells(page, "lwip", "up 1") == ["-", "-", "-"]
    for line in ("- ipstack, everything: not built", "- null, idle: has no memory", "- tunstack, up 1, 1 of 2 failed (*): no route",
                 "- lwip, up 1, 2 of 2 failed (*): no device"):
        assert line in page.splitlines()


def test_the_page_of_a_run_that_was_ended_tells_how_far_it_came():
    found = [figures.figure("lwip", at, [said(1.0)]) for at in ("up1", "rr1")]
    page = figures.markdown(report(found, rounds_done={"up1": 3, "rr1": 2}, workloads=["up1", "rr1", "crr1"]))
    assert "Of these not all were done: RR 1 2, CRR 1 0." in page


def test_the_page_tells_what_else_the_machine_did():
    found = [figures.figure("lwip", "up1", [said(1.0, foreign_cpus=0.5), said(1.0, foreign_cpus=1.0), {"failed": "why"}])]
    assert figures.foreign(found) == 0.75
    assert "Something else kept 0.75 processors busy on average." in figures.markdown(report(found))
    # A measurement of time in ticks may come out below nothing.
    assert figures.foreign([figures.figure("lwip", "up1", [said(1.0, foreign_cpus=-0.01)])]) == 0.0


def test_a_profile_is_told_by_function_and_by_who_ran():
    alone = "# Overhead|Symbol\n#\n 40.50%  |[k] copy_to_iter\n 30.25%  |[.] Ring<A|B>::write  \n 10.00%  |[k] tun_do_read\n"
    called = "# Children|Symbol\n 90.00% |[k] read\n"
    told = figures.costs(alone, called)
    assert told.splitlines()[0] == "user 30.2 %, kernel 50.5 %"
    assert "Each function itself:\n 40.50 %  [k] copy_to_iter\n 30.25 %  [.] Ring<A|B>::write\n 10.00 %  [k] tun_do_read\n\n" in told
    assert "Those of user space:\n 30.25 %  [.] Ring<A|B>::write\n\n" in told
    assert told.endswith("With what it calls:\n 90.00 %  [k] read\n")
    assert figures.costs(alone, called, at_most=1).count("tun_do_read") == 0


def test_a_report_is_json():
    found = [figures.figure("lwip", "up1", [said(1.0), {"failed": "why"}])]
    assert json.loads(json.dumps(report(found)))["figures"] == found


def test_every_peer_and_rival_is_one_that_can_be_started():
    for name in (*peers.RIVALS, *peers.OURS):
        assert name in peers.PEERS
    for name, peer in peers.PEERS.items():
        assert set(peer.cannot) <= set(peers.WORKLOADS), name
        for workload in peers.WORKLOADS:
            words = peer.words(workload, 500)
            assert words[0] == peer.program() and not any("{" in word for word in words), name
            assert ("tun0" in words) == (peer.over == peers.TUN), name
    assert "550" in peers.PEERS["smoltcp"].words("idle", 500)


def test_workloads_say_how_long_and_how_many():
    assert peers.WORKLOADS["crr16"].words(0.5, 10000) == ["crr", "16", "0.5"]
    assert peers.WORKLOADS["idle"].words(0.5, 500) == ["idle", "500", "0"]
    assert (peers.WORKLOADS["crr16"].rounds(24), peers.WORKLOADS["idle"].rounds(24), peers.WORKLOADS["idle"].rounds(1)) == (24, 3, 1)
