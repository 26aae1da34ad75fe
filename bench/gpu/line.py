"""What a line of bench/gpu.sh is: some commands, where they run, and how values are read from what they leave."""

import dataclasses
import json
import pathlib
from typing import Callable, Dict, List


@dataclasses.dataclass
class Settings:
    """Where and how the lines run. Paths are relative to the project's (or the bundle's) folder where they can be."""

    device: str = "cuda"
    smoke: bool = False
    build: str = "build"
    work: str = "$WORK"  # a temporary folder for token files, runs and reports
    python: str = "python3"

    def program(self, name):
        return f"{self.build}/{name}"

    def report(self, line):
        return f"{self.work}/{line}.json"


@dataclasses.dataclass
class Value:
    """A figure as measured: the number that its target bounds, that number for people, and what stands behind it."""

    value: float
    text: str
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Line:
    name: str
    commands: Callable[[Settings], List[List[str]]]
    # (settings, what the commands printed, the values measured so far in this run by key) to values by key
    read: Callable[[Settings, str, Dict[str, Value]], Dict[str, Value]]
    planned: int  # seconds that it is thought to take on an H200: a plan, not a measurement
    limit: int  # seconds after which it is stopped
    prepare: Callable[[Settings], None] = lambda settings: None
    # Whether the line has all that it needs although its command goes on; looked at while that runs.
    done: Callable[[Settings], bool] = lambda settings: False
    partial: bool = False  # whether `read` makes figures of a part of the work too, where it took longer than `limit`


def program_of(command):
    """The first word that is no setting of its environment."""
    return next(word for word in command if word != "env" and "=" not in word)


def load(settings, line):
    return json.loads(pathlib.Path(settings.report(line)).read_text())


def percent(share):
    return f"{100 * share:.1f} %"
