"""compute-sanitizer over a daemon that trains a short job in two stages: memcheck finds accesses out of bounds, racecheck races in
shared memory."""

import os
import signal
import stat

import checks
import harness
import sanitizer_report

OPTIONS = {
    # Errors of the API are checked at each call; cuDNN and cuBLASLt ask for things that are not there, and go on.
    "memcheck": "--report-api-errors no",
    "racecheck": "",
}


def children(pid):
    """Processes below `pid`, found by their parents: not every kernel lists them."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as file:
                parents[int(entry)] = int(file.read().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            continue
    found, front = [], [pid]
    while front:
        front = [child for child, parent in parents.items() if parent in front]
        found += front
    return found


def is_clean(tool):
    def check(context):
        sanitizer = context.machine["compute_sanitizer"]
        if not context.on_gpu:
            raise checks.Skip("only for a GPU")
        if not sanitizer:
            raise checks.Skip("compute-sanitizer is not here")
        report, wrapper = context.path(f"{tool}.log"), context.path(f"{tool}.sh")
        with open(wrapper, "w") as file:
            file.write(f'#!/bin/sh\nexec "{sanitizer}" --tool {tool} {OPTIONS[tool]} --target-processes all --error-exitcode 99 --log-file "{report}" '
                       f'"{harness.PENSTOCKD}" "$@"\n')
        os.chmod(wrapper, stat.S_IRWXU)
        daemon = context.daemon(2, program=wrapper, tuning=checks.NOT_KEPT)
        steps = context.train("--dataset", context.dataset(), "--image-size", 63, "--micro-batch-size", 2,
                              "--gradient-accumulation-steps", 2, "--steps", 2, "-H", context.hostfile(daemon), "-p", 2,
                              "--precision", "bf16", seconds=120)
        assert len(steps) == 2
        # The daemon itself, so that the tool sees its end and reports.
        context.daemons.remove(daemon)
        for pid in children(daemon.process.pid):
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if file.read().split(b"\0")[0].endswith(b"penstockd"):
                    os.kill(pid, signal.SIGTERM)
        try:
            daemon.process.wait(max(3, context.seconds_left()))
        finally:
            if daemon.process.poll() is None:
                daemon.kill()
        with open(report) as file:
            text = file.read()
        found, unable = sanitizer_report.read(text), sanitizer_report.why_unable(text)
        if found is None and unable:
            raise checks.Skip(f"compute-sanitizer: {unable}")
        assert found is not None, f"no summary in the report: {text[-500:]}"
        errors, warnings = found
        if errors or warnings or daemon.process.returncode != 0:
            print(text[:6000])
        said = f"{errors} errors, {warnings} warnings" + "".join(f"; {complaint}" for complaint in sanitizer_report.complaints(text)[:3])
        assert errors == 0, said
        assert daemon.process.returncode == 0, f"exit code {daemon.process.returncode}"
        return said

    return check


checks.run(checks.context(), ("memcheck", is_clean("memcheck")), ("racecheck", is_clean("racecheck")))
