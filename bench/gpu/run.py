"""Everything that a GPU is asked for, in under ten minutes: tests, the two ceilings, then each figure of
docs/benchmarks/gpu.md, one line after the other. A line that fails is reported and the others go on.

  bench/gpu.sh                             all lines; writes docs/benchmarks/gpu.json and gpu.md
  bench/gpu.sh --only training-photon ..   these lines; figures of others stay as they were
  bench/gpu.sh --list                      what has not been measured yet, and the command for it
  bench/gpu.sh --device cpu --smoke        tiny sizes on any machine: does every line work?

In a checkout, programs are built first where nvcc is found: build/photon, its CUDA module, tests and benchmarks (not
counted among the ten minutes). In a bundle (launch/bundle.sh --tests) they are there. Exit code 0: all lines ran, and no
test failed; 1: some did not; 2: bad arguments; 4: the device can't be used, or nothing be built here.
"""

import argparse
import ctypes
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import figures
import lines
import page

ROOT = pathlib.Path(__file__).resolve().parents[2]
TAIL = 15  # lines of output that a failure is reported with
TARGETS = ("photon", *(f"bench_{name}" for name in lines.BENCHES), *lines.TEST_PROGRAMS)


NO_FIGURES = (OSError, ValueError, KeyError, IndexError, AttributeError)  # what reading a line's output raises


class Failed(Exception):
    """A line that gave no figures: why, in a few words, and the end of what its commands printed."""

    def __init__(self, what, output=""):
        super().__init__(what)
        self.what, self.output = what, "\n".join(output.rstrip().splitlines()[-TAIL:])


def arguments():
    parser = argparse.ArgumentParser(prog="bench/gpu.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print what is pending, and end")
    parser.add_argument("--plan", action="store_true", help="print the lines with their seconds, and end")
    parser.add_argument("--only", nargs="+", metavar="LINE", choices=list(lines.BY_NAME), help="these lines")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or, with --smoke, cpu (default: cuda)")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: whether the lines work, no figures")
    parser.add_argument("--out", type=pathlib.Path, metavar="DIR",
                        help="where gpu.json and gpu.md go (default: docs/benchmarks, in a bundle results; a smoke run: "
                             "a temporary folder)")
    parser.add_argument("--budget", type=float, default=600, metavar="SECONDS", help="for all lines (default: 600)")
    parser.add_argument("--build", metavar="FOLDER", help="programs are built there already (default: build build/)")
    options = parser.parse_args()
    if options.device == "cpu" and not options.smoke:
        parser.error("--device cpu needs --smoke: figures of this page are a GPU's")
    return options


def output_folder(options):
    if options.out is not None:
        return options.out
    if options.smoke and not options.list:
        return pathlib.Path(tempfile.mkdtemp(prefix="photon-gpu-smoke-"))
    return ROOT / ("docs/benchmarks" if (ROOT / "CMakeLists.txt").exists() else "results")


def read_results(folder):
    path = folder / "gpu.json"
    return json.loads(path.read_text()) if path.exists() else {}


def write_results(folder, results):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.json").write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    (folder / "gpu.md").write_text(page.render(results))


def print_pending(results):
    left = page.pending(results)
    for figure in left:
        print(f"{figure.key:28s}{page.command_of(figure):57s}{figure.what}")
    print(f"{len(left)} of {len(figures.FIGURES)} pending")


def print_plan(chosen):
    for line in chosen:
        print(f"{line.name:20s}{line.planned:5d} s planned, at most {line.limit:4d} s")
    print(f"{'all':20s}{sum(line.planned for line in chosen):5d} s planned")


def refuse(reason):
    print(f"bench/gpu.sh: {reason}", file=sys.stderr)
    sys.exit(4)


def check_driver():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        refuse(f"no NVIDIA driver: {error}")


def build(options):
    """The folder with the programs."""
    if options.build is not None:
        return options.build
    if options.device == "cpu" and (ROOT / "build" / "bench").is_dir():
        return "build"
    if (ROOT / "CMakeLists.txt").exists() and (shutil.which("nvcc") or os.environ.get("CUDACXX")):
        print("Building in build/: " + ", ".join((*TARGETS, "photon_cuda")), flush=True)
        configure = ["cmake", "-S", ".", "-B", "build", "-G", "Ninja", "-DPHOTON_TESTS=ON"]
        try:
            subprocess.run(["launch/install_dependencies.sh", "test"], check=True)
            subprocess.run([*configure, "-DPHOTON_CUDA=ON"], check=True, stdout=subprocess.DEVNULL)
            subprocess.run(["ninja", "-C", "build", "photon_cuda", *TARGETS], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            refuse(f"it can't be built here ({error}). On a machine where it can, make a bundle that needs nothing but the "
                   "driver: launch/bundle.sh --tests")
    return "build"


def commit():
    """Of what is measured; a bundle has it in a file."""
    if (ROOT / "commit").exists():
        return (ROOT / "commit").read_text().strip()
    said = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    return said.stdout.strip() or "unknown"


def stop(process):
    """The whole group: a program may have started others."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def run_command(command, environment, seconds, log, done):
    """Runs it in a group of its own with its output in `log`. Ends it where done() says that it need not go on."""
    start = time.monotonic()
    try:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   env=environment, start_new_session=True)
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from error
    try:
        while True:
            try:
                return process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                pass
            if done():
                return 0
            if time.monotonic() - start > seconds:
                raise Failed(f"stopped after {seconds:.0f} s")
    finally:
        stop(process)


def read_what_there_is(line, settings, text, values):
    """Of a line that took longer than it may: its values, where its programs had written enough for them."""
    try:
        return line.read(settings, text, values)
    except NO_FIGURES:
        return {}


def run_line(line, settings, environment, seconds, values):
    """Its values by key. Raises Failed."""
    line.prepare(settings)
    until, failed = time.monotonic() + seconds, None
    with tempfile.TemporaryFile("w+") as log:
        def text():
            log.seek(0)
            return log.read()
        try:
            for command in line.commands(settings):
                log.write(f"$ {' '.join(command)}\n")
                log.flush()
                code = run_command(command, environment, until - time.monotonic(), log, lambda: line.done(settings))
                log.seek(0, os.SEEK_END)
                if code != 0:
                    failed = f"{lines.program_of(command)} ended with {code}"
                    if line.name != "tests":  # other programs' tests run all the same
                        break
            found = line.read(settings, text(), values) if failed is None or line.name == "tests" else {}
        except Failed as error:
            found = read_what_there_is(line, settings, text(), values) if line.partial else {}
            if not found:
                raise Failed(error.what, text()) from error
            print(f"  {error.what}: figures of what was done until then")
        except NO_FIGURES as error:
            raise Failed(failed or f"no figures: {error!r}", text()) from error
        if failed is not None and not any(value.value > 0 for value in found.values()):
            raise Failed(failed, text())
        return found


def measure(options, chosen, settings, results, folder):
    """Runs the lines; returns the names of those that failed."""
    environment = dict(os.environ, PHOTON_CACHE=f"{settings.work}/cache")
    environment.setdefault("GOMP_SPINCOUNT", "10000")
    if settings.device != "cpu":
        environment["PHOTON_TEST_DEVICE"] = "cuda"
    values, failed, start = {}, [], time.monotonic()
    stamp = {"date": datetime.date.today().isoformat(), "commit": commit(), "device": describe(settings, environment)}
    print(f"{stamp['device']}, commit {stamp['commit']}", flush=True)
    for line in chosen:
        left = options.budget - (time.monotonic() - start)
        began = time.monotonic()
        try:
            if left <= 0:
                raise Failed(f"no time was left of {options.budget:.0f} s")
            found = run_line(line, settings, environment, min(left, line.limit), values)
            values.update(found)
            results.setdefault("failures", {}).pop(line.name, None)
            for key, value in found.items():
                results.setdefault("figures", {})[key] = {"value": value.value, "text": value.text,
                                                          "detail": value.detail, **stamp}
                print(f"  {figures.BY_KEY[key].what}: {value.text}  {value.detail}")
            if line.name == "tests" and found["tests"].value > 0:
                failed.append(line.name)
        except Failed as error:
            failed.append(line.name)
            results.setdefault("failures", {})[line.name] = {"what": error.what, "output": error.output, **stamp}
            print(f"  FAILED: {error.what}\n{error.output}")
        print(f"{line.name}: {time.monotonic() - began:.0f} s, {time.monotonic() - start:.0f} s in all", flush=True)
        write_results(folder, results)
    return failed


def describe(settings, environment):
    """The device in its own words; ends with exit code 4 where it can't be used."""
    report = settings.report("device")
    command = [settings.program("bench/ceilings"), "--device", settings.device, "--megabytes", "1", "--width", "16",
               "--seconds", "0", "--json", report]
    try:
        said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        refuse(error)
    if said.returncode != 0:
        refuse((said.stderr + said.stdout).strip() or f"{command[0]} ended with {said.returncode}")
    return json.loads(pathlib.Path(report).read_text())["device"]


def main():
    options = arguments()
    os.chdir(ROOT)
    folder = output_folder(options)
    results = read_results(folder)
    chosen = [line for line in lines.LINES if options.only is None or line.name in options.only]
    if options.list:
        return print_pending(results)
    if options.plan:
        return print_plan(chosen)
    if options.smoke:
        results["smoke"] = True
    elif results.get("smoke"):
        sys.exit(f"bench/gpu.sh: {folder}/gpu.json is a smoke run's; choose another folder with --out")
    if options.device != "cpu":
        check_driver()
    with tempfile.TemporaryDirectory(prefix="photon-gpu-") as work:
        settings = lines.Settings(options.device, options.smoke, build(options), work, sys.executable)
        failed = measure(options, chosen, settings, results, folder)
    print(f"{folder}/gpu.md and gpu.json written")
    print_pending(results)
    if failed:
        print(f"FAILED: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
