"""Trains a tiny model on four ranks over several hosts, breaks something, and compares with a run that nobody disturbed.

scenarios.py PHOTON CACHE SCENARIO, in the namespaces of run.sh. CACHE: a folder that stays.
"""

import errno
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

from hosts import TREE, WORK, Hosts, host_processes, kill, processes, rank_process, shell, wait_for
from slurm import Slurm

PHOTON = sys.argv[1]
CACHE = pathlib.Path(sys.argv[2])
STEPS = 120
SAVE_EVERY = 10
RANKS = 4
HANG_S = 4  # the watchdog's time


class Run:
    """A run folder, and what is started to fill it."""

    def __init__(self, name, folder=None):
        self.folder = (folder or WORK) / name
        self.log_path = WORK / f"{name}.log"

    def settings(self):
        values = {"run_dir": self.folder, "data.train": WORK / "tokens", "training.steps": STEPS,
                  "training.log_every": 10, "data.valid_fraction": 0, "checkpoint.every": SAVE_EVERY,
                  "parallel.collective_timeout_s": HANG_S}
        return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]

    def command(self):
        return [PHOTON, "train", "--config", f"{TREE}/configs/tiny.textproto", *self.settings(), "--resume"]

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def step(self):
        """Of the newest checkpoint."""
        try:
            return int(os.readlink(self.folder / "checkpoints/latest").removeprefix("step-"))
        except OSError:
            return 0

    def under_way(self, steps=20):
        wait_for(f"step {steps}", lambda: self.step() >= steps, 60, self.log)

    def finished(self):
        return (self.folder / "finished").exists()

    def tensors(self):
        """Every file of the last checkpoint that holds tensors, by name."""
        assert self.step() == STEPS and self.finished(), f"at step {self.step()}\n{self.log()}"
        return {path.name: path.read_bytes() for path in (self.folder / f"checkpoints/step-{STEPS:08}").glob("*.h5")}


class Mpirun:
    """mpirun of a run on some hosts, started on the first; with no hosts, on one."""

    def __init__(self, hosts, run, on):
        self.run = run
        shares = ",".join(f"{name}:{RANKS // len(on)}" for name in on)
        command = ["mpirun", "--host", shares, "-x", "OMP_NUM_THREADS", "-n", str(RANKS), *run.command()]
        with open(run.log_path, "wb") as log:
            self.process = subprocess.Popen(hosts.on(on[0], command), env=hosts.environment(), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)

    def wait(self, seconds=300):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s\n{self.run.log()}") from None

    def succeed(self):
        code = self.wait()
        assert code == 0, f"exit code {code}\n{self.run.log()}"

    def fail(self, within, *messages, never=None):
        """The job ends, in time, with these messages (patterns), and without that one."""
        started = time.monotonic()
        code = self.wait(within)
        print(f"ended after {time.monotonic() - started:.1f} s with exit code {code}")
        assert code != 0, self.run.log()
        assert not self.run.finished()
        for message in messages:
            found = re.search(message, self.run.log())
            assert found, f"no {message!r} in\n{self.run.log()}"
            print("  " + self.run.log()[found.start():].splitlines()[0])
        wait_for("the end of all ranks", lambda: not processes(comm="photon"), 30, self.run.log)
        assert never is None or not re.search(never, self.run.log()), self.run.log()


def hosts_with_data(count):
    made = Hosts(count)
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "r", "s")]
    draw = random.Random(7)
    lines = "\n".join(" ".join(draw.choice(words[: 20 + i % 200]) for _ in range(12)) for i in range(3000))
    (WORK / "text").write_text(lines)
    subprocess.run([PHOTON, "prepare", "--input", WORK / "text", "--train-tokenizer", "512", "--out", WORK / "tokens"],
                   check=True, capture_output=True)
    return made


def undisturbed(hosts):
    """The tensors at the end of a run on one host. It is the same for all scenarios of a program: kept in CACHE."""
    program = str(os.stat(PHOTON).st_mtime_ns)
    kept = CACHE / f"{program}-{STEPS}"
    if not kept.exists():
        run = Run("undisturbed")
        Mpirun(hosts, run, ["h0"]).succeed()
        CACHE.mkdir(exist_ok=True)
        for other in CACHE.iterdir():
            if not other.name.startswith(program):
                shutil.rmtree(other)
        half = CACHE / "half"
        half.mkdir()
        for name, content in run.tensors().items():
            (half / name).write_bytes(content)
        half.rename(kept)
    return {path.name: path.read_bytes() for path in kept.iterdir()}


def same(run, want):
    got = run.tensors()
    assert got.keys() == want.keys(), f"{sorted(got)} {sorted(want)}"
    different = [name for name in want if got[name] != want[name]]
    assert len(want) == 2 * RANKS + 1 and not different, f"{different} of {sorted(want)} differ"
    print(f"{len(want)} files of tensors equal the undisturbed run's")


def resumes(hosts, run, on, want):
    """The next start goes on from the last checkpoint, to the end of an undisturbed run."""
    step = run.step()
    assert 0 < step < STEPS
    Mpirun(hosts, run, on).succeed()
    assert f"resumed at step {step}" in run.log(), run.log()
    same(run, want)


# Scenarios. The rank or host that is hurt is never the one that mpirun runs on.


def hosts():
    """Two and four hosts compute what one does; the ranks' machines are told; SIGUSR2 to mpirun saves on all."""
    four = hosts_with_data(4)
    want = undisturbed(four)
    for on in (["h0", "h1"], four.names):
        run = Run(f"on{len(on)}")
        Mpirun(four, run, on).succeed()
        assert "ranks 0-1 on h0, 2-3 on h1" in run.log() or "ranks 0 on h0, 1 on h1, 2 on h2, 3 on h3" in run.log()
        same(run, want)
    run = Run("stopped")
    job = Mpirun(four, run, four.names)
    run.under_way()
    kill(processes(comm="mpirun"), signal.SIGUSR2)
    job.succeed()
    assert "stopped by SIGUSR2" in run.log() and not run.finished(), run.log()
    resumes(four, run, four.names, want)


def disturbed(hurt, *messages, within=60, never=None):
    two = hosts_with_data(2)
    want = undisturbed(two)
    run = Run("disturbed")
    job = Mpirun(two, run, two.names)
    run.under_way()
    repair = hurt(two)
    job.fail(within, *messages, never=never)
    if repair is not None:
        repair()
    resumes(two, run, two.names, want)


def rank_killed():
    disturbed(lambda two: kill([rank_process(3)]), r"process rank 3 .* on node h1 exited on signal 9")


def rank_stopped():
    disturbed(lambda two: kill([rank_process(3)], signal.SIGSTOP),
              r"rank [0-2] of 4 has waited .*: rank 3 \(h1\) does not answer", never="rank 3 of 4 has waited")


SILENT = r"rank [01] of 4 has waited .*: ranks 2-3 \(h1\) do not answer"


def link_cut():
    def hurt(two):
        two.cut(1)
        return lambda: two.mend(1)

    disturbed(hurt, SILENT, r"ranks 0-1 on h0, 2-3 on h1")


def node_lost():
    def hurt(two):
        two.cut(1)  # first: nobody is told
        kill(host_processes("h1"))
        return lambda: two.mend(1)

    disturbed(hurt, SILENT)


def fill(path):
    """Takes all that the disk has but 4 KiB, whoever writes to it meanwhile."""
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        file.truncate(max(file.tell() - 4096, 0))


def disk_full():
    """Saves fail on a full disk, and training goes on; with room again, the next start resumes."""
    two = hosts_with_data(2)
    want = undisturbed(two)
    small = WORK / "small"
    small.mkdir()
    size = sum(map(len, want.values())) * 5 // 1024
    shell(f"mount -t tmpfs -o size={size}k none {small}")
    run = Run("disturbed", small)
    job = Mpirun(two, run, two.names)
    run.under_way()
    fill(small / "other")  # a neighbour takes the rest
    job.fail(60, r"checkpoint of step \d+ NOT saved: .*No space left on device.*", "last checkpoint could not be saved")
    (small / "other").unlink()
    resumes(two, run, two.names, want)


# Under SLURM. Jobs are submitted with photon submit.


class Job:
    def __init__(self, slurm, run, *options):
        self.slurm, self.run = slurm, run
        script = slurm.client(PHOTON, "submit", "--dry-run", "--config", f"{TREE}/configs/tiny.textproto",
                              *run.settings(), "--nodes", "2", "--ranks-per-node", "2", *options)
        (WORK / "job.sbatch").write_text(script)
        run.log_path = WORK / "job.log"
        said = slurm.client("sbatch", f"--output={run.log_path}", WORK / "job.sbatch", cwd=WORK)
        self.number = said.split()[-1]

    def started(self, times):
        """The batch script has begun for so many times."""
        wait_for(f"start {times}", lambda: f"start {times}: 2 node(s)" in self.run.log(), 60, self.explain)

    def explain(self):
        return f"{self.run.log()}\n{self.slurm.client('squeue')}\n{self.slurm.client('sinfo', '-R')}"

    def ends(self, seconds=60):
        wait_for("the job's end", lambda: self.slurm.state(self.number) in ("gone", "COMPLETED", "FAILED"), seconds,
                 self.explain)


def on_slurm(hurt, *messages, options=()):
    """`hurt` disturbs the job between its starts."""
    two = hosts_with_data(2)
    slurm = Slurm(two)
    want = undisturbed(two)
    run = Run("disturbed")
    job = Job(slurm, run, *options)
    run.under_way()
    hurt(slurm, job)
    job.ends(300)
    for message in messages:
        assert re.search(message, run.log()), f"no {message!r} in\n{run.log()}"
    print("\n".join(line for line in run.log().splitlines() if f"job {job.number}, start" in line))
    same(run, want)
    return slurm, job


def slurm():
    """The signal before the limit, then preemption by a job that is more urgent; the third start trains to the end."""
    global STEPS
    STEPS = 600  # preemption takes SLURM a second or two

    def hurt(slurm, job):
        slurm.client("scancel", "--batch", "--signal=USR2", job.number)  # what SLURM sends before the limit
        job.started(2)
        step = job.run.step()
        job.run.under_way(step + 10)
        slurm.client("sbatch", "--partition=urgent", "--nodes=2", "--ntasks-per-node=2", "--output=/dev/null",
                     "--wrap=sleep 1", cwd=WORK)
        job.started(3)

    on_slurm(hurt, "time is up: saving", "stopped by SIGUSR2", "stopped by SIGTERM", r"start 3: finished")


def slurm_rank_killed():
    """srun ends the others, without the watchdog."""
    global HANG_S
    HANG_S = 120

    def hurt(slurm, job):
        kill([rank_process(3)])
        job.started(2)

    on_slurm(hurt, r"task 3: Killed", r"failed with exit code", "start 2: finished")


def slurm_time_limit():
    """SLURM's own signal: for a limit of two minutes up to a minute early."""
    global STEPS, SAVE_EVERY
    STEPS, SAVE_EVERY = 8000, 500

    def hurt(slurm, job):
        wait_for("the signal", lambda: "time is up: saving" in job.run.log(), 130)
        job.started(2)

    on_slurm(hurt, "stopped by SIGUSR2", options=("--time", "2", "--save-before", "20"))


def slurm_node_lost():
    """SLURM finds out before the watchdog does, and queues the job again by itself."""
    global HANG_S
    HANG_S = 300

    def hurt(slurm, job):
        slurm.hosts.cut(1)
        kill(host_processes("h1"))  # slurmd and the ranks
        slurm.wait_for_state(job.number, "PENDING", 90)
        slurm.hosts.mend(1)
        slurm.node("h1")
        job.started(2)

    on_slurm(hurt, "start 2: finished")


if __name__ == "__main__":
    scenario = {f.__name__: f for f in (hosts, rank_killed, rank_stopped, link_cut, node_lost, disk_full, slurm,
                                         slurm_rank_killed, slurm_time_limit, slurm_node_lost)}[sys.argv[3]]
    scenario()
