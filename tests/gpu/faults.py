"""Memory, and what ends a job. What a job uses is what was reserved for it. A plan that does not fit, memory that another process took, a
coordinator or a neighbour that was killed end the job, not the daemon, and leave nothing on the GPU: after each, the same daemon trains the
next job."""

import contextlib
import os
import signal
import subprocess
import sys

import checks
import harness

LEFT_BYTES = 200 << 20  # of a GPU whose memory another process took; no job fits in it


def job(context):
    batch = 8 if context.on_gpu else 1
    return ["train", "--dataset", context.dataset(), "--image-size", 63, "--micro-batch-size", batch, "--gradient-accumulation-steps", 2,
            "--lr", 0.01]


def trains(context, daemon, stages=1):
    context.alive(daemon)
    steps = context.train(*job(context)[1:], "-H", context.hostfile(daemon, slots=stages), "--steps", 2)
    assert len(steps) == 2, f"{len(steps)} steps of 2"
    free(context, daemon)


def free(context, daemon):
    context.alive(daemon)
    daemon.wait_until_free(10)


def does_not_fit(context):
    daemon = context.daemon(1, "--memory-limit", "300MiB")
    path = context.path("refused.json")
    run = context.penstock(*job(context), "-H", context.hostfile(daemon), "--steps", 2, "--json", path, code=3)
    steps = [line for line in harness.read_json_lines(path) if line["type"] == "step"] if os.path.exists(path) else []
    assert not steps, f"{len(steps)} steps were done"
    free(context, daemon)
    said = run.error.strip().splitlines()[-1]
    # Its numbers: a size in it, at least.
    assert "iB" in said, f"no numbers in: {said}"
    # AlexNet needs 650 MiB for parameters, gradients and momentum, 430 without momentum; VGG and AlexNet have no smaller relative, but a small cut fits.
    slots = context.daemon(2)
    trains(context, slots, 2)
    return said


@contextlib.contextmanager
def memory_taken(context):
    """By another process, all but LEFT_BYTES; on the stand-in, whose memory is each process's own, by its word for that."""
    if context.kind == "stand-in":
        with open(os.environ["PENSTOCK_STAND_IN_TAKEN"], "wb") as file:
            file.truncate((8 << 30) - LEFT_BYTES)
        yield
        os.unlink(os.environ["PENSTOCK_STAND_IN_TAKEN"])
        return
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "take_memory.py")
    hog = subprocess.Popen([sys.executable, script, context.device.partition(":")[2] or "0", str(LEFT_BYTES)],
                           stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    try:
        assert hog.stdout.readline(), "the memory could not be taken"
        yield
    finally:
        hog.stdin.close()
        hog.wait(20)
        hog.stdout.close()


def taken_memory(context):
    if context.kind == "cpu":
        raise checks.Skip("only a GPU's memory is taken")
    daemon = context.daemon()
    trains(context, daemon)  # so that its context and libraries are there already
    with memory_taken(context):
        run = context.begin(*job(context), "-H", context.hostfile(daemon), "--steps", 2).finish(60)
        assert run.code in (1, 3), f"exit code {run.code} although the memory is taken\n{run.error[-1000:]}"
        free(context, daemon)
    trains(context, daemon)
    return f"exit code {run.code}: {run.error.strip().splitlines()[-1]}"


def begin_endless(context, name, *where):
    """A job that has done three steps."""
    path = context.path(name)
    run = context.begin(*job(context), *where, "--steps", 1000000, "--json", path)
    wait_for_steps(run, path, 3)
    return run


def wait_for_steps(run, path, count):
    def has_steps():
        if run.process.poll() is not None:
            raise AssertionError(f"the job ended with {run.process.returncode}: {run.process.stderr.read()[-1000:]}")
        return os.path.exists(path) and sum(line["type"] == "step" for line in whole_lines(path)) >= count

    harness.wait_until(has_steps, 60, f"{count} steps")


def whole_lines(path):
    """Of a file that is being written."""
    with open(path) as file:
        text = file.read()
    return [harness.json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]


def agrees(context):
    """By what the driver says: the daemon's own context and kernels are there after a first job and not counted. Nor does a step allocate."""
    daemon = context.daemon()
    words = ["train", "--model", "vgg16", "--dataset", context.dataset(), "--image-size", 224, "--micro-batch-size", 8,
             "--gradient-accumulation-steps", 2] if context.on_gpu else job(context)
    words += ["-H", context.hostfile(daemon)]

    def in_use():
        values = [value for name, value in daemon.metrics().items() if name.startswith("penstock_device_memory_used_bytes")]
        if not values:
            raise checks.Skip("the device does not say how much of its memory is in use")
        return values[0]

    in_use()
    context.penstock(*words, "--steps", 2)
    free(context, daemon)
    before, path = in_use(), context.path("memory.json")
    run = context.begin(*words, "--steps", 100000, "--json", path)
    wait_for_steps(run, path, 2)
    reserved, used = daemon.used_bytes(), in_use() - before
    wait_for_steps(run, path, 5)
    grown = in_use() - before - used
    run.process.send_signal(signal.SIGINT)
    run.finish(30)
    free(context, daemon)
    detail = f"reserved {reserved / 2**20:.0f} MiB, used {used / 2**20:.0f} MiB"
    context.write(figure="memory", model="vgg16" if context.on_gpu else "alexnet", reserved_bytes=reserved, used_bytes=used)
    assert abs(used - reserved) <= 0.05 * reserved, detail
    assert grown < 8 << 20, f"{grown} bytes more are in use after three steps more"
    left = in_use() - before
    assert left < 64 << 20, f"{left / 2**20:.0f} MiB more are in use after the job than before it"
    return detail


def killed_coordinator(context):
    daemon = context.daemon(2)
    run = begin_endless(context, "killed.json", "-H", context.hostfile(daemon), "-p", 2)
    assert daemon.used_bytes() > 0
    run.process.send_signal(signal.SIGKILL)
    run.process.communicate()
    free(context, daemon)
    trains(context, daemon, 2)


def killed_neighbour(context):
    """One of two daemons dies; the other one's stage ends, and its GPU memory is free."""
    one, other = context.daemon(), context.daemon()
    run = begin_endless(context, "neighbour.json", "-H", context.hostfile(one, other), "-p", 2)
    other.kill()
    context.daemons.remove(other)
    run.finish(30)
    assert run.code == 4, f"exit code {run.code}, expected 4: {run.error[-1000:]}"
    free(context, one)
    trains(context, one)


checks.run(
    checks.context(),
    ("memory in use is what was reserved, to 5 %", agrees),
    ("a job that does not fit is refused with exit code 3 before the first step", does_not_fit),
    ("memory that another process took ends the job, not the daemon", taken_memory),
    ("a coordinator's SIGKILL frees the GPU", killed_coordinator),
    ("a neighbour's SIGKILL frees the GPU", killed_neighbour),
)
