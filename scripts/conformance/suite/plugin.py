"""The suite as pytest sees it: cases become tests, each with a target of its own in a namespace of its own."""

import json
import zlib
from pathlib import Path

import pytest

from broken.faults import FAULTS
from broken.target import Broken
from . import targets
from .cases import sentence
from .net import Net
from .requirements import requirements
from .setting import IPV6

OUTCOMES = ("passed", "failed", "known", "skipped")


def pytest_addoption(parser):
    group = parser.getgroup("conformance")
    group.addoption("--target", default="tunstack")
    group.addoption("--out", default="target/conformance")
    group.addoption("--seed", type=int, default=1)


def pytest_configure(config):
    if config.pluginmanager.hasplugin("dsession") or not hasattr(config, "workerinput"):
        config.pluginmanager.register(Lines(config), "lines")


def pytest_generate_tests(metafunc):
    case = getattr(metafunc.function, "case", None)
    if case is None or "net" not in metafunc.fixturenames:
        return
    if metafunc.config.option.target != "broken":
        params = [(family, None) for family in case.families]
        ids = list(case.families)
    else:
        # A responder without any fault passes what is to catch the faults; with the fault it doesn't.
        caught = [fault for fault in FAULTS if fault.case.partition("[")[0] == metafunc.function.__name__]
        params = [(case.families[0], fault) for fault in ([None] if caught else []) + caught]
        ids = [f"{fault.name if fault else 'no fault'}" for _, fault in params]
    metafunc.parametrize("net", params, indirect=True, ids=ids)


def pytest_collection_modifyitems(config, items):
    if config.option.target == "broken":
        # Functions that no fault names got no parameters.
        items[:] = [item for item in items if isinstance(item.callspec.params["net"], tuple) and is_for_fault(item)]
        names = {item.function.__name__ for item in items}
        missing = [fault.case for fault in FAULTS if fault.case.partition("[")[0] not in names]
        if missing and not config.option.keyword:
            raise pytest.UsageError(f"faults name cases that there are not: {', '.join(missing)}")
    known = requirements()
    for item in items:
        case = item.function.case
        for requirement in case.requirements:
            if requirement not in known:
                raise pytest.UsageError(f"{item.nodeid}: no table has {requirement!r}")
        item.user_properties.append(("requirements", list(case.requirements)))
        family, fault = item.callspec.params["net"] if hasattr(item, "callspec") else (None, None)
        if config.option.target == "linux" and (reason := case.linux_reason(family)):
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True, raises=AssertionError))
        if fault is not None:
            item.add_marker(pytest.mark.xfail(reason=f"caught: {fault.name}", strict=True, raises=AssertionError))


def is_for_fault(item):
    """Whether a fault is to be caught with these parameters: with all, if its row names none."""
    fault = item.callspec.params["net"][1]
    rows = [fault] if fault else [one for one in FAULTS if one.case.partition("[")[0] == item.function.__name__]
    wanted = [one.case.partition("[")[2].removesuffix("]") for one in rows]
    parameters = item.callspec.id.removeprefix(fault.name if fault else "no fault").removeprefix("-")
    return any(one in ("", parameters) for one in wanted)


@pytest.fixture
def net(request):
    """A target that has just started, and the wire to it."""
    family, fault = request.param
    option, case = request.config.option, request.function.case
    target = Broken(fault) if option.target == "broken" else targets.named(option.target)
    lacking = [one for one in (*case.needs, *(["IPv6"] if family == IPV6 else [])) if one in target.lacks]
    if lacking:
        pytest.skip(f"{target.name} has no {lacking[0]}")
    try:
        wire = target.start()
        net = Net(wire, target, family, zlib.crc32(request.node.nodeid.encode()) + option.seed)
        request.node.net = net
        yield net
        wire.close()
    finally:
        target.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A case that failed leaves its capture and what the target said."""
    outcome = yield
    report, net = outcome.get_result(), getattr(item, "net", None)
    if call.when == "call" and report.failed and net is not None:
        folder = Path(item.config.option.out)
        folder.mkdir(parents=True, exist_ok=True)
        capture = folder / (item.name.replace("/", "-").replace(" ", "-") + ".pcap")
        net.wire.rest()
        net.wire.save(capture)
        report.sections.append(("capture", str(capture)))
        if complaint := net.stack.complaint():
            report.sections.append(("the target says", complaint))


class Lines:
    """A line for each case as it ends, and the results for the report."""

    def __init__(self, config):
        self.config = config
        self.results = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report):
        # In place of pytest's letters; the categories are those of its summary.
        if report.when == "call" or report.outcome != "passed":
            return outcome_of(report), "", ""

    def pytest_runtest_logreport(self, report):
        if report.when != "call" and not (report.when == "setup" and not report.passed) and not report.failed:
            return
        outcome, reason = outcome_of(report), reason_of(report)
        module, _, name = report.nodeid.partition("::")
        result = dict(module=Path(module).stem, case=name, outcome=outcome, reason=reason, seconds=round(report.duration, 3),
                      requirements=dict(report.user_properties).get("requirements", []))
        self.results.append(result)
        shown = sentence(name) + (f": {reason}" if reason and outcome != "failed" else "")
        line = f"{outcome.upper() if outcome == 'failed' else outcome:8} {result['module']:14} {shown} ({report.duration:.2f} s)"
        self.config.pluginmanager.getplugin("terminalreporter").write_line(line)

    def pytest_sessionfinish(self):
        if self.config.option.collectonly:
            return
        folder = Path(self.config.option.out)
        folder.mkdir(parents=True, exist_ok=True)
        counts = {outcome: sum(result["outcome"] == outcome for result in self.results) for outcome in OUTCOMES}
        told = dict(target=self.config.option.target, counts=counts, results=sorted(self.results, key=lambda r: (r["module"], r["case"])))
        (folder / "results.json").write_text(json.dumps(told, indent=1) + "\n")


def outcome_of(report):
    if report.passed:
        return "passed"
    if report.failed:
        return "failed"
    return "known" if hasattr(report, "wasxfail") else "skipped"


def reason_of(report):
    if hasattr(report, "wasxfail"):
        return report.wasxfail.removeprefix("reason: ")
    if report.skipped:
        return report.longrepr[2].removeprefix("Skipped: ")
    if report.failed and hasattr(report.longrepr, "reprcrash"):
        return report.longrepr.reprcrash.message.split("\n")[0].removeprefix("suite.failure.Mismatch: ")
    return ""
