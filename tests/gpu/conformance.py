"""The suite of cases that every device of the build passes (tests/unit/device), on this machine's GPU: each operation beside the plain
reference, whole networks beside PyTorch's golden values. Every case is a check of its own."""

import glob
import os
import re
import subprocess

import checks

SECONDS = 60
# cmocka's own lines; cases are stamped "<device>: <case>" by suite.h.
RESULT = re.compile(r"^\[\s*(OK|FAILED|SKIPPED)\s*\] (\w+): (.*)$")


def run_program(context, program):
    """{case: (status, detail)} of the device, and what was wrong with the program as a whole."""
    try:
        done = subprocess.run([program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=min(SECONDS, max(5, context.seconds_left())))
        text, wrong = done.stdout, f"exit code {done.returncode}" if done.returncode else None
    except subprocess.TimeoutExpired as expired:
        text, wrong = (expired.stdout or b"").decode(errors="replace"), "not done in time"
    cases, said = {}, []
    kind = context.device.split(":")[0]
    for line in text.splitlines():
        match = RESULT.match(line)
        if not match:
            said.append(line)
            continue
        # The summary names the failed ones again, without what they said.
        if match[2] == kind and match[3] not in cases:
            complaint = next((s for s in reversed(said) if "[ RUN" not in s and s.strip()), "")
            cases[match[3]] = (match[1], complaint if match[1] == "FAILED" else "")
        said = []
    return cases, wrong, text


def main():
    context = checks.context()
    programs = [path for path in sorted(glob.glob(os.path.join(context.tests, "test.device.*"))) if os.access(path, os.X_OK)]
    total = 0
    for program in programs:
        name = os.path.basename(program)
        cases, wrong, text = run_program(context, program)
        total += len(cases)
        statuses = {"OK": "passed", "FAILED": "failed", "SKIPPED": "skipped"}
        for case, (status, detail) in cases.items():
            context.record(f"{name[len('test.device.'):]}: {case}", statuses[status], detail)
        if wrong:
            context.record(name, "failed", wrong)
            print(text[-3000:], flush=True)
        elif not cases:
            context.record(name, "passed", "of no device in particular")
    if total == 0:
        context.record("cases on the device", "failed", f"no program in {context.tests} ran a case on {context.device}: "
                                                        "was it built without CUDA?")


main()
