"""A SLURM cluster on hosts.Hosts: the controller on h0, a node on each host, no accounts, no munge."""

import shutil
import subprocess
import time

from hosts import WORK, wait_for

# A requeued job starts after cred_expire (5 at least) + 1 seconds; a node that is silent for SlurmdTimeout is lost.
CONFIG = """
ClusterName=test
SlurmctldHost=h0(10.77.0.1)
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
SlurmUser=root
SlurmdUser=root
SlurmctldPidFile={d}/ctld.pid
SlurmdPidFile={d}/%n.pid
TmpFS={d}/tmp/%n
SlurmdSpoolDir={d}/spool/%n
StateSaveLocation={d}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SwitchType=switch/none
MpiDefault=pmix
ReturnToService=2
SlurmdTimeout=5
KillWait=5
AccountingStorageType=accounting_storage/none
NodeName=h[0-{last}] NodeAddr=10.77.0.[1-{count}] Port=17001 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=h[0-{last}] Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes=h[0-{last}] MaxTime=INFINITE State=UP PriorityTier=2
"""


class Slurm:
    def __init__(self, hosts):
        self.hosts = hosts
        self.folder = WORK / "slurm"
        (self.folder / "state").mkdir(parents=True)
        config = self.folder / "slurm.conf"
        config.write_text(CONFIG.format(d=self.folder, last=len(hosts.names) - 1, count=len(hosts.names)))
        self.env = {**hosts.environment(), "SLURM_CONF": str(config)}
        self.daemon("h0", ["slurmctld", "-D"])
        for name in hosts.names:
            self.node(name)
        self.wait_for_nodes(len(hosts.names))

    def daemon(self, host, command):
        log = open(self.folder / f"{host}.{command[0]}.log", "ab")
        subprocess.Popen(self.hosts.on(host, command), env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def node(self, name):
        """Starts a node, as after a boot: sockets of PMIx that a lost one left would be in the way."""
        for kind in ("spool", "tmp"):
            shutil.rmtree(self.folder / kind / name, ignore_errors=True)
            (self.folder / kind / name).mkdir(parents=True)
        self.daemon(name, ["slurmd", "-D", "-N", name])

    def wait_for_nodes(self, count):
        wait_for(f"{count} idle nodes", lambda: self.client("sinfo", "-h", "-t", "idle", "-o", "%D") == str(count))

    def client(self, *command, cwd=None):
        """What a command prints, on h0; "" where it fails."""
        done = subprocess.run(self.hosts.on("h0", ["timeout", "20", *command]), env=self.env, cwd=cwd, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0 and command[0] not in ("sinfo", "squeue"):
            raise AssertionError(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def state(self, job):
        return self.client("squeue", "-h", "-j", job, "-t", "all", "-o", "%T") or "gone"

    def wait_for_state(self, job, state, seconds=60):
        wait_for(f"job {job} {state}", lambda: self.state(job) == state or time.sleep(0.2), seconds)
