"""Hosts that are network namespaces of this machine, joined by a switch, each with an address and a name of its own.

To be run in mount, network and process namespaces of their own (run.sh): nothing here is taken down again.
"""

import os
import pathlib
import signal
import subprocess
import time

WORK = pathlib.Path("/run/photon")  # on a tmpfs that ends with the namespaces
TREE = pathlib.Path(__file__).resolve().parents[2]


def shell(command):
    subprocess.run(command, shell=True, check=True)


def wait_for(what, condition, seconds=30, explain=lambda: ""):
    """Until `condition` gives something true, which is returned; else fails with what `explain` gives."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain for {what}\n{explain()}")


class Hosts:
    """h0, h1, ..: 10.77.0.1, 10.77.0.2, .."""

    def __init__(self, count):
        shell("mount -t tmpfs -o mode=755 none /run && mkdir -p /run/netns /run/photon/tmp")
        self.names = [f"h{i}" for i in range(count)]
        # In the root of these namespaces: the switch.
        lines = ["ip link set lo up", "ip link add br0 type bridge", "ip link set br0 up"]
        for i, name in enumerate(self.names):
            lines += [f"ip netns add {name}", f"ip -n {name} link set lo up",
                      f"ip link add p{i} type veth peer name eth0 netns {name}",
                      f"ip link set p{i} master br0 up",
                      f"ip -n {name} addr add {self.address(i)}/24 dev eth0", f"ip -n {name} link set eth0 up"]
        shell(" && ".join(lines))
        table = "".join(f"{self.address(i)} {name}\n" for i, name in enumerate(self.names))
        (WORK / "hosts").write_text("127.0.0.1 localhost\n" + table)
        shell(f"mount --bind {WORK}/hosts /etc/hosts")
        # What mpirun calls in place of ssh: HOST COMMAND.. Like ssh, it notices nothing of a host that loses its power.
        self.agent = WORK / "agent"
        self.agent.write_text('#!/bin/sh\nh=$1; shift\nnsenter --net=/run/netns/$h unshare --uts -- '
                              'sh -c \'hostname "$0"; exec sh -c "$1"\' "$h" "$*"\n'
                              'code=$?; [ $code != 137 ] || sleep 300; exit $code\n')
        self.agent.chmod(0o755)

    @staticmethod
    def address(i):
        return f"10.77.0.{i + 1}"

    @staticmethod
    def on(name, command):
        """The command line that runs `command` on a host."""
        return ["nsenter", f"--net=/run/netns/{name}", "unshare", "--uts", "--", "sh", "-c",
                'hostname "$0"; exec "$@"', name, *command]

    def environment(self):
        """What a user would have after `. launch/mpi_env.sh`, and the network's name."""
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "SLURM_", "PHOTON_"))}
        sourced = subprocess.run(["bash", "-c", f". {TREE}/launch/mpi_env.sh; env -0"], env=plain, check=True,
                                 capture_output=True, text=True).stdout
        env = dict(entry.split("=", 1) for entry in sourced.split("\0") if entry)
        env.update(OMP_NUM_THREADS="1", TMPDIR=str(WORK / "tmp"), OMPI_MCA_plm_rsh_agent=str(self.agent),
                   OMPI_MCA_btl_tcp_if_include="eth0", OMPI_MCA_oob_tcp_if_include="eth0")
        return env

    def cut(self, i):
        shell(f"ip link set p{i} down")

    def mend(self, i):
        """The link of host i > 0 is there again, once h0 answers."""
        shell(f"ip link set p{i} up")
        probe = self.on(f"h{i}", ["timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/10.77.0.1/9"])
        wait_for(f"h{i}'s link", lambda: "refused" in subprocess.run(probe, capture_output=True, text=True).stderr)


def processes(**wanted):
    """Numbers of the processes that have these variables, or the name `comm`, with their environments."""
    comm = wanted.pop("comm", None)
    found = []
    for path in pathlib.Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            name = (path / "comm").read_text().strip()
            env = dict(e.split("=", 1) for e in (path / "environ").read_text(errors="replace").split("\0") if "=" in e)
        except OSError:
            continue
        if (comm is None or name == comm) and all(env.get(k) == v for k, v in wanted.items()):
            found.append(int(path.name))
    return found


def rank_process(rank):
    """The process of this rank, under mpirun or srun."""
    ranks = processes(comm="photon", PMIX_RANK=str(rank)) or processes(comm="photon", SLURM_PROCID=str(rank))
    assert len(ranks) == 1, f"rank {rank}: {ranks}"
    return ranks[0]


def host_processes(name):
    """All processes in a host's network."""
    inode = os.stat(f"/run/netns/{name}").st_ino
    found = []
    for path in pathlib.Path("/proc").iterdir():
        try:
            if path.name.isdigit() and os.stat(path / "ns/net").st_ino == inode:
                found.append(int(path.name))
        except OSError:
            pass
    return found


def kill(pids, number=signal.SIGKILL):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
