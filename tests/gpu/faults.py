"""What ends a job must not end the daemon, and must leave nothing on the GPU: a plan that does not fit, memory that another process took, a
coordinator that was killed. After each, the same daemon trains the next job."""

import os
import signal
import subprocess
import sys

import checks
import harness

STEPS = ["--image-size", 63, "--micro-batch-size", 8, "--gradient-accumulation-steps", 2, "--lr", 0.01]


def trains(context, daemon, stages=1):
    context.alive(daemon)
    steps = context.train("--dataset", context.dataset(), *STEPS, "-H", context.hostfile(daemon), "-p", stages, "--steps", 3)
    assert len(steps) == 3, f"{len(steps)} steps of 3"
    free(context, daemon)


def free(context, daemon):
    context.alive(daemon)
    daemon.wait_until_free(10)


def does_not_fit(context):
    daemon = context.daemon(1, "--memory-limit", "300MiB")
    path = context.path("refused.json")
    run = context.penstock("train", "--dataset", context.dataset(), *STEPS, "-H", context.hostfile(daemon), "--steps", 3,
                           "--json", path, code=3)
    steps = [line for line in harness.read_json_lines(path) if line["type"] == "step"] if os.path.exists(path) else []
    assert not steps, f"{len(steps)} steps were done"
    free(context, daemon)
    said = run.error.strip().splitlines()[-1]
    # Its numbers: a size in it, at least.
    assert "iB" in said, f"no numbers in: {said}"
    # AlexNet needs 650 MiB for parameters, gradients and momentum; VGG and AlexNet have no smaller relative, but a small cut fits.
    slots = context.daemon(2)
    trains(context, slots, 2)
    return said


def taken_memory(context):
    if not context.on_gpu:
        raise checks.Skip("only a GPU's memory is taken")
    daemon = context.daemon()
    trains(context, daemon)  # so that its context and libraries are there already
    hog = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "take_memory.py"),
                            context.device.split(":")[1] if ":" in context.device else "0", str(200 << 20)],
                           stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    try:
        taken = hog.stdout.readline()
        assert taken, "the memory could not be taken"
        run = context.begin("train", "--dataset", context.dataset(), *STEPS, "-H", context.hostfile(daemon), "--steps", 3).finish(60)
        assert run.code in (1, 3), f"exit code {run.code} with {taken.strip()} bytes taken\n{run.error[-1000:]}"
        free(context, daemon)
    finally:
        hog.stdin.close()
        hog.wait(20)
        hog.stdout.close()
    trains(context, daemon)
    return f"exit code {run.code}: {run.error.strip().splitlines()[-1]}"


def killed_coordinator(context):
    daemon = context.daemon(2)
    path = context.path("killed.json")
    run = context.begin("train", "--dataset", context.dataset(), *STEPS, "-H", context.hostfile(daemon), "-p", 2, "--steps", 1000000,
                        "--json", path)

    def has_steps():
        if run.process.poll() is not None:
            raise AssertionError(f"the job ended with {run.process.returncode}: {run.process.stderr.read()[-1000:]}")
        return os.path.exists(path) and sum(line["type"] == "step" for line in whole_lines(path)) >= 3

    harness.wait_until(has_steps, 30, "three steps")
    assert daemon.used_bytes() > 0
    run.process.send_signal(signal.SIGKILL)
    run.process.communicate()
    free(context, daemon)
    trains(context, daemon, 2)


def whole_lines(path):
    """Of a file that is being written."""
    with open(path) as file:
        text = file.read()
    return [harness.json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]


def killed_neighbour(context):
    """One of two daemons dies; the other one's stage ends, and its GPU memory is free."""
    one, other = context.daemon(), context.daemon()
    path = context.path("neighbour.json")
    run = context.begin("train", "--dataset", context.dataset(), *STEPS, "-H", context.hostfile(one, other), "-p", 2, "--steps", 1000000,
                        "--json", path)
    harness.wait_until(lambda: os.path.exists(path) and sum(line["type"] == "step" for line in whole_lines(path)) >= 3, 30, "three steps")
    other.kill()
    context.daemons.remove(other)
    run.finish(30)
    assert run.code == 4, f"exit code {run.code}, expected 4: {run.error[-1000:]}"
    free(context, one)
    trains(context, one)


checks.run(
    checks.context(),
    ("a job that does not fit is refused with exit code 3 before the first step", does_not_fit),
    ("memory that another process took ends the job, not the daemon", taken_memory),
    ("a coordinator's SIGKILL frees the GPU", killed_coordinator),
    ("a neighbour's SIGKILL frees the GPU", killed_neighbour),
)
