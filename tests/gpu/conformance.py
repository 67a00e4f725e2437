"""The suite of cases that every device of the build passes (tests/unit/device), on this machine's GPU: each operation beside the plain
reference, whole networks beside PyTorch's golden values. Every case is a check of its own."""

import glob
import os
import re
import subprocess

import checks
import harness

SECONDS = 60
# On the stand-in, where ctest runs all of them, a few show that this part works.
REHEARSED = ("device_on_stand_in.operations", "device.cuda.kernels.loss", "device.cuda.matmul", "device.cuda.convolution_plans")
# cmocka's own lines; cases are stamped "<device>: <case>" by suite.h.
RESULT = re.compile(r"^\[\s*(OK|FAILED|SKIPPED)\s*\] (\w+): (.*)$")


def complaints(said):
    """What each failed case said, in order: its last words before cmocka's line."""
    found, last = [], ""
    for line in said.splitlines():
        if line.startswith("[  ERROR   ]"):
            found.append(last or line)
            last = ""
        elif line.startswith("ERROR: "):
            last = line[len("ERROR: "):]
    return found


def run_program(context, program):
    """{case: (status, detail)} of the device, and what was wrong with the program as a whole."""
    try:
        # suite.h runs the cases of this device alone then, and fails where it is not.
        environment = dict(os.environ, PENSTOCK_TEST_DEVICE=context.device.split(":")[0],
                           PENSTOCK_SOURCE=context.source)
        done = subprocess.run([program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                              timeout=min(SECONDS * harness.PATIENCE, max(5, context.seconds_left())))
        out, said, wrong = done.stdout, done.stderr, f"exit code {done.returncode}" if done.returncode else None
    except subprocess.TimeoutExpired as expired:
        out, said = ((stream or b"").decode(errors="replace") for stream in (expired.stdout, expired.stderr))
        wrong = "not done in time"
    cases, failures = {}, iter(complaints(said))
    for match in filter(None, map(RESULT.match, out.splitlines())):
        detail = next(failures, "") if match[1] == "FAILED" else ""
        if match[2] == context.device.split(":")[0]:
            cases[match[3]] = (match[1], detail)
    return cases, wrong, said


def main():
    context = checks.context()
    programs = [path for path in sorted(glob.glob(os.path.join(context.tests, "test.device*"))) if os.access(path, os.X_OK)]
    if context.kind == "stand-in":
        programs = [path for path in programs if os.path.basename(path).startswith(tuple("test." + name for name in REHEARSED))]
    elif not context.on_gpu:
        programs = [path for path in programs if not os.path.basename(path).startswith("test.device.gpu.")]
    total = 0
    for program in programs:
        name = os.path.basename(program)
        cases, wrong, said = run_program(context, program)
        total += len(cases)
        statuses = {"OK": "passed", "FAILED": "failed", "SKIPPED": "skipped"}
        for case, (status, detail) in cases.items():
            context.record(f"{name[len('test.device.'):]}: {case}", statuses[status], detail)
        if wrong:
            context.record(name, "failed", wrong)
            print(said[-3000:], flush=True)
        elif not cases:
            context.record(name, "passed", "")
    if total == 0:
        context.record("cases on the device", "failed", f"no program in {context.tests} ran a case on {context.device}: "
                                                        "was it built without CUDA?")


main()
