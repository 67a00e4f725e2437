"""Whether the device opens at all, and is what it is said to be; what the daemon says of it; and that kernels are timed once. The first check
decides whether the other parts run."""

import os
import re
import time

import checks
import report


def opens(context):
    """Twice in one daemon: the slots of a device share it."""
    daemon = context.daemon(2)
    said = re.search(r"device slot 0: \S+: (.*)", daemon.log)
    assert said, f"the daemon does not say what its device is: {daemon.log[:500]}"
    # So that no result of the stand-in can pass for a GPU's.
    stand_in = context.kind == "stand-in"
    assert ("stand-in" in said[1]) == stand_in, f"{'the stand-in' if stand_in else 'no stand-in'} was asked for, and this is {said[1]}"
    name = context.machine["gpu"]
    assert context.kind != "gpu" or name == "unknown" or name in said[1], f"the driver has {name}, the daemon {said[1]}"
    context.write(figure="device", description=said[1])
    context.opened = True
    return said[1]


def scrape(context):
    if context.kind == "cpu":
        raise checks.Skip("only a GPU tells")
    found = {name.split("{")[0]: value for name, value in context.daemon().metrics().items() if name.startswith("penstock_device_")}
    for name in "memory_used_bytes", "memory_free_bytes":
        assert found.get("penstock_device_" + name, 0) > 0 or context.kind == "stand-in", f"no {name} in {found}"
    context.write(figure="scrape", **found)
    missing = [name for name in ("utilisation_ratio", "temperature_celsius", "power_watts") if "penstock_device_" + name not in found]
    if missing == ["utilisation_ratio", "temperature_celsius", "power_watts"]:
        raise checks.Skip("the driver's NVML tells nothing")
    return f"{len(found)} values" + (f", none of {', '.join(missing)}" if missing else "")


def second_start(context):
    """What was timed is known to the coordinator, and the next daemon times nothing."""
    if context.kind == "cpu":
        raise checks.Skip("the CPU device has its own tests of this")
    tuning, numerics, sizes, seconds = context.path("timed-once"), context.path("answers"), [], []
    job = ["--image-size", 63, "--micro-batch-size", 1, "--gradient-accumulation-steps", 1]
    if context.on_gpu:
        job = ["--model", "vgg16", "--image-size", 224, "--micro-batch-size", 8, "--gradient-accumulation-steps", 1, "--precision", "bf16"]
    for _ in range(2):
        hostfile, begin = context.hostfile(context.daemon(tuning=tuning)), time.monotonic()
        context.train("--dataset", context.dataset(), *job, "-H", hostfile, "--steps", 1, "--numerics", numerics)
        seconds.append(time.monotonic() - begin)
        sizes.append((os.path.getsize(tuning), os.path.getsize(numerics)))
    assert min(sizes[0]) > 0, "nothing was timed"
    assert sizes[1] == sizes[0], f"the second start timed again: the files grew from {sizes[0]} to {sizes[1]} bytes"
    context.write(figure="start", first_seconds=seconds[0], second_seconds=seconds[1])
    return f"a job of one step took {seconds[0]:.1f} s at first, {seconds[1]:.1f} s then"


def needs_it(check):
    def checked(context):
        if not context.opened:
            raise checks.Skip("the device does not open")
        return check(context)

    return checked


checks.run(checks.context(), (report.OPENS, opens), ("a scrape tells what the driver does", needs_it(scrape)),
           ("kernels are timed once", needs_it(second_start)))
