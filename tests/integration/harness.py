"""What the integration tests share: real daemons on free loopback ports, the command line with a time limit, and the end of
every process that a test began. Standard library only; messages.py and streams.py also need grpcio.

Each test file is run by ctest as a program of its own, with the two programs' paths in PENSTOCK and PENSTOCKD."""

import collections
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.request

PENSTOCK = os.environ["PENSTOCK"]
PENSTOCKD = os.environ["PENSTOCKD"]
SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
# A sanitizer makes everything slower; every time limit grows with it.
PATIENCE = float(os.environ.get("PENSTOCK_TEST_PATIENCE", "1"))

# A shell's background and nohup ignore these, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Threads of gRPC's, which it begins and ends as it likes.
GRPC_POOLS = "default-executo", "resolver-execut", "grpc_global_tim", "event_engine", "timer_manager"


def wait_until(condition, seconds, what):
    """Asks again and again, because the event is another process's."""
    end = time.monotonic() + seconds * PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds * PATIENCE:.0f} s")


class Daemon:
    """One penstockd. Its log is in `log`. `inside` is a command that runs a command elsewhere, as `ip netns exec NAME` does."""

    def __init__(self, folder, *options, program=PENSTOCKD, host="127.0.0.1", inside=()):
        self.folder = tempfile.mkdtemp(dir=folder)
        self.log_path = os.path.join(self.folder, "log")
        ready = os.path.join(self.folder, "ready")
        command = [*inside, program, "--listen", f"{host}:0", "--metrics-listen", "127.0.0.1:0", "--ready-file", ready]
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(command + ["--threads", "1", *options], stderr=log)
        wait_until(lambda: os.path.exists(ready) or self.process.poll() is not None, 30, "a daemon's start")
        if self.process.poll() is not None:
            raise AssertionError("the daemon ended: " + self.log)
        with open(ready) as file:
            self.address = file.read().strip()
        self.port = int(self.address.rsplit(":", 1)[1])
        self.metrics_port = int(re.search(r"metrics on port (\d+)", self.log).group(1))

    @property
    def log(self):
        with open(self.log_path) as file:
            return file.read()

    def get(self, path):
        url = f"http://127.0.0.1:{self.metrics_port}{path}"
        with urllib.request.urlopen(url, timeout=10 * PATIENCE) as answer:
            return answer.read().decode()

    def metrics(self):
        """{"name{labels}": value}"""
        lines = [line for line in self.get("/metrics").splitlines() if not line.startswith("#")]
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}

    def used_bytes(self):
        return sum(value for name, value in self.metrics().items() if name.startswith("penstock_memory_used_bytes"))

    def wait_until_free(self, seconds):
        wait_until(lambda: self.used_bytes() == 0, seconds, f"memory of {self.address} is free")

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self):
        """{name: how many}"""
        names = collections.Counter()
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with contextlib.suppress(FileNotFoundError), open(f"/proc/{self.process.pid}/task/{task}/comm") as file:
                names[file.read().strip()] += 1
        return names

    def own_threads(self):
        return sum(count for name, count in self.threads().items() if name not in GRPC_POOLS)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends it as an administrator would; gives the exit code (a sanitizer's report makes it not 0)."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20 * PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode


class Run:
    """One penstock command, running."""

    def __init__(self, *arguments, inside=()):
        self.process = subprocess.Popen([*inside, PENSTOCK, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, seconds=120):
        try:
            self.out, self.error = self.process.communicate(timeout=seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.out, self.error = self.process.communicate()
            raise AssertionError(f"penstock did not end within {seconds} s:\n{self.out}\n{self.error}")
        self.code = self.process.returncode
        return self


class TestCase(unittest.TestCase):
    """A folder, a small data set, and daemons that must all live until the test is over, unless it says otherwise."""

    images = 60  # per file

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="penstock-test-")
        cls.dataset = os.path.join(cls.folder, "dataset")
        subprocess.run([PENSTOCK, "dataset", "synthesize", cls.dataset, "--images", str(cls.images)], check=True,
                       stdout=subprocess.DEVNULL)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def setUp(self):
        self.daemons = []
        self.runs = []
        self.addCleanup(self.end_processes)  # whatever becomes of setUp and tearDown: ctest waits for all that hold its pipe

    def end_processes(self):
        for run in self.runs:
            if run.process.poll() is None:
                run.process.kill()
                run.process.communicate()
        codes = [(daemon, daemon.stop()) for daemon in self.daemons]
        for daemon, code in codes:
            if not getattr(daemon, "may_end", False):
                self.assertEqual(code, 0, f"daemon {daemon.address} ended badly:\n{daemon.log[-4000:]}")

    def start_daemons(self, count, *options, program=PENSTOCKD):
        started = [Daemon(self.folder, *options, program=program) for _ in range(count)]
        self.daemons += started
        return started

    def hostfile(self, daemons, slots=1):
        path = os.path.join(self.folder, f"hostfile-{len(os.listdir(self.folder))}")
        with open(path, "w") as file:
            file.writelines(f"{daemon.address} slots={slots}\n" for daemon in daemons)
        return path

    def slots(self, *lines):
        """A hostfile of (daemon, slots)."""
        path = self.path("slots")
        with open(path, "w") as file:
            file.writelines(f"{daemon.address} slots={count}\n" for daemon, count in lines)
        return path

    def path(self, name):
        """A file of this test, not there yet."""
        path = os.path.join(self.folder, name)
        if os.path.isfile(path):
            os.unlink(path)
        return path

    def begin(self, *arguments):
        run = Run(*[str(argument) for argument in arguments])
        self.runs.append(run)
        return run

    def penstock(self, *arguments, code=0, seconds=120):
        run = self.begin(*arguments).finish(seconds)
        self.assertEqual(run.code, code, f"{arguments}\n{run.out}\n{run.error}")
        return run

    # A job that takes a second or two.
    small = ["--image-size", 63, "--micro-batch-size", 4, "--gradient-accumulation-steps", 4, "--lr", 0.01]

    def train(self, *arguments, **how):
        return self.penstock("train", "--dataset", self.dataset, *self.small, *arguments, **how)

    def begin_train(self, *arguments):
        return self.begin("train", "--dataset", self.dataset, *self.small, *arguments)

    def losses(self, *arguments, **how):
        """The loss of every step, to the bit."""
        path = self.path("steps.json")
        self.train("--json", path, *arguments, **how)
        return [line["loss"] for line in read_json_lines(path) if line["type"] == "step"]

    def wait_for_steps(self, path, count=1):
        def has_steps():
            with contextlib.suppress(FileNotFoundError), open(path) as file:
                return file.read().count('"type":"step"') >= count

        def are_over():
            return self.runs and all(run.process.poll() is not None for run in self.runs)

        wait_until(lambda: has_steps() or are_over(), 180, f"{count} steps in {path}")
        if not has_steps():
            run = self.runs[-1].finish()
            self.fail(f"the job ended with {run.code} before {count} steps were in {path}: {run.error}")


@contextlib.contextmanager
def limit_file_size(size):
    """What is started meanwhile can write no larger file, as with `ulimit -f`: that fails where a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def read_json_lines(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def main():
    unittest.main(verbosity=2)
