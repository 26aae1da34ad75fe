"""What the peer benchmarks share: interleaved runs, medians, ratios, shares of a limit; a table, then one JSON line.

A benchmark makes a Side for this project and one for each peer and calls compare(). Sides take turns, in an order that
is reversed every round, so that a machine that slows down or gets busy meets all alike. Ratios are medians of the
ratios within a round: they hold on a noisy machine, where the figures themselves do not.

Needs nothing but Python 3.9. Peers that a machine lacks are reported by missing(), never silently left out.
"""

import dataclasses
import json
import os
import pathlib
import platform
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
from typing import Callable, Dict, List, Optional, Sequence, Union

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class Sample:
    """One run: `work` units (tokens, bytes, ..) in `seconds`. Values in `extra` are reported as medians."""

    work: float
    seconds: float
    extra: Dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.work / self.seconds


@dataclasses.dataclass
class Side:
    """One contestant. `run` does one round's work and says how long it took; what it must not time (loading,
    compiling, warming up) it does outside of what it reports."""

    name: str
    run: Callable[[], Sample]


def interleave(sides: Sequence[Side], rounds: int) -> List[List[Sample]]:
    """Samples of every side, `rounds` each: A B C, C B A, A B C, .. Each round's seconds go to stderr at once, so that a
    run that is cut short was not in vain."""
    samples: List[List[Sample]] = [[] for _ in sides]
    for done in range(rounds):
        order = range(len(sides)) if done % 2 == 0 else reversed(range(len(sides)))
        for i in order:
            samples[i].append(sides[i].run())
        seconds = ", ".join(f"{side.name} {number(own[-1].seconds)} s" for side, own in zip(sides, samples))
        print(f"round {done + 1} of {rounds}: {seconds}", file=sys.stderr, flush=True)
    return samples


def compare(title: str, sides: Sequence[Side], *, unit: str, scale: float = 1.0,
            limit: Union[float, Callable[[], float], None] = None, limit_name: str = "limit", rounds: int = 5,
            settings: Optional[dict] = None) -> dict:
    """Runs `sides` (this project first) and prints a table and a JSON line; returns what the line says.

    unit       what a rate of work / seconds / scale is printed in, e.g. "MB/s" with scale=1e6
    limit      the machine's bound of that rate, in units of work a second (not scaled); the table shows the share. A
               function is asked after the runs, for bounds that are measured in them
    settings   what was run: shapes, types, threads, versions. Goes into the JSON line

    The column `ours/it` is above 1 where this project is faster.
    """
    load = os.getloadavg()
    samples = interleave(sides, rounds)
    limit = limit() if callable(limit) else limit
    rows = []
    for side, own in zip(sides, samples):
        rates = [s.rate for s in own]
        row = {
            "name": side.name,
            "median_s": statistics.median(s.seconds for s in own),
            "rate": statistics.median(rates) / scale,
            "rate_min": min(rates) / scale,
            "rate_max": max(rates) / scale,
            "ours_over_it": statistics.median(a.rate / b.rate for a, b in zip(samples[0], own)),
        }
        if limit is not None:
            row["share_of_limit"] = statistics.median(rates) / limit
        for key in sorted({key for s in own for key in s.extra}):
            row[key] = statistics.median(s.extra[key] for s in own if key in s.extra)
        rows.append(row)
    report = {
        "benchmark": title,
        "unit": unit,
        "rounds": rounds,
        "sides": rows,
        "settings": settings or {},
        "machine": machine(),
        "load_average_before": round(load[0], 2),
    }
    if limit is not None:
        report["limit"] = {"name": limit_name, "rate": limit / scale}
    print_table(report)
    print(json.dumps(report), flush=True)
    return report


def print_table(report: dict) -> None:
    """The table of a report that compare() returned."""
    rows = report["sides"]
    limit = report.get("limit")
    known = {"name", "median_s", "rate", "rate_min", "rate_max", "ours_over_it", "share_of_limit"}
    extra = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in known]
    settings = ", ".join(f"{key} {value}" for key, value in report["settings"].items())
    print(f"\n{report['benchmark']}: {settings}" if settings else f"\n{report['benchmark']}")
    print(f"medians of {report['rounds']} interleaved rounds; load average before {report['load_average_before']}")
    if limit:
        print(f"{limit['name']}: {number(limit['rate'])} {report['unit']}")
    header = ["", "seconds", report["unit"], "min .. max", "ours/it"]
    header += ["of limit"] if limit else []
    header += extra
    lines = [header]
    for row in rows:
        line = [row["name"], number(row["median_s"]), number(row["rate"]),
                f"{number(row['rate_min'])} .. {number(row['rate_max'])}", f"{row['ours_over_it']:.2f}"]
        line += [f"{100 * row['share_of_limit']:.1f} %"] if limit else []
        line += [number(row[key]) if key in row else "" for key in extra]
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        print("  ".join(cells))
    sys.stdout.flush()


def number(value: float) -> str:
    """Four significant digits, without an exponent where it can be read without."""
    if value != 0 and (abs(value) >= 1e9 or abs(value) < 1e-4):
        return f"{value:.3e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def machine() -> dict:
    """What the figures were measured on."""
    name = platform.processor()
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {"cpu": name, "cores": os.cpu_count(), "system": platform.release()}


class ProgramFailed(Exception):
    """A program of this project ended with an error; the message holds the command and the end of what it said."""


@dataclasses.dataclass
class Finished:
    """A program that ran to its end."""

    output: str  # of stdout
    json: Optional[dict]  # the last line, where it is a JSON object
    peak_rss: int  # bytes


def run_program(command: Sequence, *, threads: Optional[int] = None) -> Finished:
    """Runs a program of this project to its end. `threads` sets OMP_NUM_THREADS. Raises ProgramFailed unless its exit
    code is 0."""
    environment = dict(os.environ)
    if "OMP_WAIT_POLICY" not in environment:  # what `photon` sets itself; the benchmarks' programs don't
        environment.setdefault("GOMP_SPINCOUNT", "10000")
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    words = [str(word) for word in command]
    # Files and not pipes: wait4(), which knows the peak memory of this one child, doesn't read.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            child = subprocess.Popen(words, stdout=output, stderr=errors, stdin=subprocess.DEVNULL, env=environment)
        except OSError as error:
            raise ProgramFailed(f"{shlex.join(words)}: {error.strerror}. Build the project first (./test.sh), or say "
                                "where it is built with --build") from error
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.send_signal(signal.SIGTERM)
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
        errors.seek(0)
        complaint = errors.read().decode(errors="replace")
    if child.returncode != 0:
        said = (text + complaint)[-2000:]
        raise ProgramFailed(f"{shlex.join(words)} ended with {child.returncode}:\n{said}")
    return Finished(text, last_json(text), usage.ru_maxrss * 1024)


def last_json(text: str) -> Optional[dict]:
    """The object on the last line of `text` that is not blank; None where that is no JSON object."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        value = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


class Worker:
    """A process that holds one of a peer's contestants through all rounds: SCRIPT --worker JOB, which runs serve()."""

    def __init__(self, script: str, job: dict, environment: Dict[str, str]):
        self.process = subprocess.Popen([sys.executable, script, "--worker", json.dumps(job)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=dict(os.environ, **environment))
        self.ready = self._read()

    def ask(self, times: int) -> dict:
        self.process.stdin.write(f"{times}\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()

    def _read(self) -> dict:
        for line in self.process.stdout:  # a compiler may have printed something of its own
            if line.startswith("{"):
                return json.loads(line)
        raise ProgramFailed(f"the worker ended with {self.process.wait()}; its errors stand above")


def serve(ready: dict, run: Callable[[int], dict]) -> None:
    """The worker's side: says `ready`, then answers each line of its input, a number, with what run(number) returns."""
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        print(json.dumps(run(int(line))), flush=True)


def add_build_option(parser) -> None:
    """--build: where this project's programs are."""
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", metavar="FOLDER",
                        help="build folder of this project (default: build)")


def start(main: Callable[[], Optional[int]]) -> None:
    """Runs a script's main(), which returns the exit code, and ends. A program that fails ends it with that message."""
    try:
        sys.exit(main())
    except ProgramFailed as error:
        sys.exit(str(error))


def missing(module: str) -> None:
    """Ends the script, saying what to install. Exit code 77 is what test runners take for `skipped`."""
    print(f"skipped: {sys.executable} has no {module}; pip install -r bench/peers/requirements.txt", file=sys.stderr)
    sys.exit(77)
