"""A Slurm of two nodes on this machine, for tests that run as root: munged, slurmctld and two `slurmd -N` of its own, with
their keys, sockets, ports and files in one folder. A Slurm that the machine may belong to is not touched."""

import glob
import os
import re
import shutil
import signal
import socket
import subprocess

import harness

NODES = "node1", "node2"
CPUS = 4  # of each node, as far as Slurm is told
GPUS = 2
PROGRAMS = "munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "squeue", "setpriv"

CONFIGURATION = """\
ClusterName=penstock
SlurmctldHost=localhost
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
StateSaveLocation={folder}/state
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdParameters=config_overrides
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
KillWait=5
InactiveLimit=0
MessageTimeout=20
GresTypes=gpu
NodeName=node1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus} Gres=gpu:{gpus}
NodeName=node2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus} Gres=gpu:{gpus}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""


def unavailable():
    """Why this cannot be done here, or None."""
    if os.geteuid() != 0:
        return "a Slurm of its own needs root"
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        return f"not installed: {' '.join(missing)} (Debian's packages munge slurmctld slurmd slurm-client)"
    return None


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Cluster:
    """Runs from its making to close(). `environment` is what Slurm's commands need to find it."""

    def __init__(self, folder):
        self.folder = folder
        self.conf = os.path.join(folder, "slurm.conf")
        self.environment = dict(os.environ, SLURM_CONF=self.conf)
        self.daemons = []
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self):
        os.chmod(self.folder, 0o755)  # munged wants its socket within everybody's reach
        munge = os.path.join(self.folder, "munge")
        for name in munge, os.path.join(self.folder, "state"):
            os.mkdir(name, 0o755)
        with open(os.path.join(munge, "key"), "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(os.urandom(128))
        with open(self.conf, "w") as file:
            file.write(CONFIGURATION.format(folder=self.folder, ports=free_ports(3), cpus=CPUS, gpus=GPUS))
        # GPUs to Slurm are files that it counts.
        for number in range(GPUS):
            open(os.path.join(self.folder, f"gpu{number}"), "w").close()
        with open(os.path.join(self.folder, "gres.conf"), "w") as file:
            file.writelines(f"NodeName={node} Name=gpu File={self.folder}/gpu[0-{GPUS - 1}]\n" for node in NODES)

        self._daemon("munged", "--foreground", "--key-file", f"{munge}/key", "--socket", f"{munge}/socket",
                     "--pid-file", f"{munge}/pid", "--seed-file", f"{munge}/seed")
        harness.wait_until(lambda: self._alive() and os.path.exists(f"{munge}/socket"), 20, "munged's start")
        self._daemon("slurmctld", "-D")
        for node in NODES:
            self._daemon("slurmd", "-D", "-N", node)
        harness.wait_until(self._idle, 60, "two idle nodes")

    def _daemon(self, *command):
        with open(os.path.join(self.folder, f"{command[0]}-{len(self.daemons)}.out"), "w") as log:
            self.daemons.append(subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], env=self.environment,
                                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def _alive(self):
        for daemon in self.daemons:
            if daemon.poll() is not None:
                raise AssertionError(f"{daemon.args[3]} ended:\n{self.logs()}")
        return True

    def _idle(self):
        self._alive()
        done = subprocess.run(["sinfo", "-h", "-N", "-o", "%T"], env=self.environment, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
        return done.stdout.split() == ["idle"] * len(NODES)

    def logs(self):
        said = []
        for path in sorted(glob.glob(os.path.join(self.folder, "*.out"))):
            with open(path, errors="replace") as file:
                said.append(f"== {os.path.basename(path)}\n{file.read()[-2000:]}")
        return "\n".join(said)

    def command(self, *words, check=True):
        done = subprocess.run([str(word) for word in words], env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        if check and done.returncode != 0:
            raise AssertionError(f"{words}: {done.stdout}\n{self.logs()}")
        return done.stdout

    def submit(self, *arguments):
        """Gives the job's number."""
        return int(self.command("sbatch", "--parsable", *arguments).split(";")[0])

    def state(self, job):
        """(state, exit code) as Slurm tells them: ("COMPLETED", 0), ("FAILED", 4), ("RUNNING", 0), ..."""
        said = self.command("scontrol", "--oneliner", "show", "job", job)
        return re.search(r" JobState=(\w+)", said).group(1), int(re.search(r" ExitCode=(\d+):", said).group(1))

    def wait(self, job, seconds):
        """Waits until a job has ended and nothing of it runs; gives its state."""
        harness.wait_until(lambda: self.state(job)[0] not in ("PENDING", "RUNNING", "COMPLETING", "SUSPENDED"), seconds,
                           f"the end of job {job}")
        return self.state(job)

    def processes(self, name=None):
        """{number: command line} of what runs in this Slurm's jobs."""
        found = {}
        for path in glob.glob("/proc/[0-9]*"):
            try:
                with open(path + "/environ", "rb") as file:
                    words = file.read().split(b"\0")
                with open(path + "/cmdline", "rb") as file:
                    line = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:  # it has ended
                continue
            in_a_job = any(word.startswith(b"SLURM_JOB_ID=") for word in words)
            if in_a_job and f"SLURM_CONF={self.conf}".encode() in words and (name is None or name in line.split(" ")[0]):
                found[int(path.rsplit("/", 1)[1])] = line
        return found

    def close(self):
        if len(self.daemons) > 1:
            subprocess.run(["scancel", "--user=root"], env=self.environment, stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
            try:
                harness.wait_until(lambda: not self.command("squeue", "-h", check=False).strip(), 30, "the end of all jobs")
            except AssertionError:
                pass  # what still runs is killed below
        for number in self.processes():
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self.daemons = []
