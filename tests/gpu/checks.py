"""What the parts of the GPU suite share: what there is to work with, daemons on the device under test, jobs, and where results go.

A part's main is run(context, check function ...): each check that raises has failed with what it raised, Skip leaves it out, and the others
go on."""

import json
import os
import statistics
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import harness  # noqa: E402


NOT_KEPT = "/dev/null/none"  # a tuning file that cannot be: no times are kept


class Skip(Exception):
    pass


class Context:
    def __init__(self, context_path, results_path, seconds):
        with open(context_path) as file:
            self.__dict__.update(json.load(file))
        self.part = os.path.splitext(os.path.basename(sys.argv[0]))[0]
        self.results_path = results_path
        self.end = time.monotonic() + float(seconds)
        self.kind = self.machine["kind"]
        self.on_gpu = self.kind == "gpu"  # else it is a rehearsal, with small sizes
        self.daemons, self.runs = [], []
        self.opened = False  # by the part "device"

    def write(self, **line):
        """At once, so that it stays when the part is killed."""
        with open(self.results_path, "a") as file:
            file.write(json.dumps(dict(line, part=self.part)) + "\n")

    def record(self, name, status, detail="", seconds=None):
        self.write(name=name, status=status, detail=detail, seconds=seconds)
        print(f"{status:8} {name}" + (f": {detail}" if detail else ""), flush=True)

    def target(self, name, met, detail):
        """How fast it should be: not a check, for it is as much the machine's affair. Only a GPU has it to meet."""
        if self.on_gpu:
            self.write(target=name, met=met, detail=detail)

    def seconds_left(self):
        return self.end - time.monotonic()

    def path(self, name):
        path = os.path.join(self.folder, name)
        if os.path.exists(path):
            os.unlink(path)
        return path

    def write_json(self, name, value):
        path = self.path(name)
        with open(path, "w") as file:
            json.dump(value, file)
        return path

    def dataset(self, images=2000):
        path = os.path.join(self.folder, f"dataset-{images}")
        if not os.path.exists(path):
            self.penstock("dataset", "synthesize", path, "--images", images)
        return path

    # ---- daemons and jobs

    def daemon(self, slots=1, *options, program=harness.PENSTOCKD, tuning=None):
        """On the device under test. Daemons share a file of kernel choices, which the same bits need; the stand-in's times mean nothing."""
        tuning = tuning or (NOT_KEPT if self.kind == "stand-in" else os.environ["PENSTOCK_TUNING_FILE"])
        devices = [word for _ in range(slots) for word in ("--device", self.device)]
        threads = ["--threads", str(max(1, os.cpu_count() // 4))]
        try:
            daemon = harness.Daemon(self.folder, *threads, *devices, "--tuning-file", tuning, *options, program=program)
        except AssertionError as failure:
            print(failure, flush=True)
            raise AssertionError("the daemon does not start: " + str(failure).strip().splitlines()[-1]) from None
        daemon.slots = slots
        self.daemons.append(daemon)
        return daemon

    def hostfile(self, *daemons, slots=None):
        path = self.path("hostfile-" + "-".join(str(daemon.port) for daemon in daemons) + f"-{slots}")
        with open(path, "w") as file:
            file.writelines(f"{daemon.address} slots={slots or daemon.slots}\n" for daemon in daemons)
        return path

    def begin(self, *arguments):
        run = harness.Run(*[str(argument) for argument in arguments])
        self.runs.append(run)
        return run

    def penstock(self, *arguments, code=0, seconds=60):
        run = self.begin(*arguments).finish(min(seconds, max(5, self.seconds_left())))
        if run.code != code:
            said = (run.error.strip().splitlines() or ["nothing was said"])[-1]
            words = " ".join(map(str, arguments))
            raise AssertionError(f"exit code {run.code}, expected {code}: {said}\npenstock {words}\n{run.error[-1500:]}")
        return run

    def train(self, *arguments, name="steps.json", **how):
        """The steps that it wrote."""
        path = self.path(name)
        self.penstock("train", "--json", path, *arguments, **how)
        return [line for line in harness.read_json_lines(path) if line["type"] == "step"]

    def alive(self, daemon):
        assert daemon.process.poll() is None, f"the daemon ended with {daemon.process.returncode}:\n{daemon.log[-2000:]}"

    def clean_up(self):
        for run in self.runs:
            if run.process.poll() is None:
                run.process.kill()
                run.process.communicate()
        codes = [(daemon, daemon.stop()) for daemon in self.daemons]
        self.daemons, self.runs = [], []
        for daemon, code in codes:
            assert code == 0, f"a daemon ended with {code}:\n{daemon.log[-2000:]}"


def first_line(failure):
    lines = str(failure).strip().splitlines() or [type(failure).__name__]
    return lines[0][:400]


def run(context, *checks):
    for name, check in checks:
        start = time.monotonic()
        status, detail = "passed", ""
        try:
            if context.seconds_left() < 3:
                raise Skip("no time left")
            try:
                detail = check(context) or ""
            finally:
                context.clean_up()
        except Skip as why:
            status, detail = "skipped", str(why)
        except Exception as failure:
            traceback.print_exc()
            status, detail = "failed", first_line(failure)
        context.record(name, status, detail, round(time.monotonic() - start, 3))


def context():
    return Context(*sys.argv[1:4])


def median_step_ms(steps):
    """Without the two that warm up."""
    return 1e3 * statistics.median(step["step_seconds"] for step in steps[2:])
