"""Runs the parts of the GPU suite one after the other, each as a process of its own within a time limit, and goes on whatever
becomes of them. Ends with a short table and a JSON file. run.sh starts it; see there.

A part is a script beside this file. It gets the path of a JSON file that says what there is to work with (checks.Context), and appends
what it found to another, a line for each check or figure."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import machine
import report

SECONDS = 470  # for all of it
# In this order, so that the figures that matter most come before what takes long or fails; the least that a part keeps for itself when
# those before it are slow, and the most it gets.
PARTS = {
    "device": (15, 45),
    "conformance": (30, 70),
    "throughput": (110, 240),
    "training": (60, 120),
    "pipeline": (20, 60),
    "faults": (25, 60),
    "sanitizer": (30, 60),
}
LOOK_SECONDS = 5  # so much is lost at most when this process is killed
REHEARSAL = 8  # the stand-in and the CPU have so many times the time: other work may keep the machine busy

stopped_by = None


def stop(number, _):
    global stopped_by
    stopped_by = signal.Signals(number).name


def limit_of(name, names, left):
    """What those after it keep for themselves; when parts were chosen, they have all of the time."""
    later = sum(PARTS[other][0] for other in names[names.index(name) + 1:])
    most = PARTS[name][1] if len(names) == len(PARTS) or name == "device" else SECONDS
    return max(10, min(most, left - later))


def run_part(name, context_path, results_path, seconds, look):
    """What became of the part itself, as a check: None when it ran to its end. Calls `look` now and then meanwhile."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    end = time.monotonic() + seconds
    process = subprocess.Popen([sys.executable, script, context_path, results_path, str(seconds)], start_new_session=True)
    looked = time.monotonic()
    while process.poll() is None and not stopped_by and time.monotonic() < end:
        time.sleep(0.1)
        if time.monotonic() > looked + LOOK_SECONDS:
            look()
            looked = time.monotonic()
    code = process.poll()
    # The part's own group, and so whatever it left running.
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    if code is None:
        return {"status": "failed", "detail": f"ended by {stopped_by}" if stopped_by else f"not done after {seconds:.0f} s"}
    if code != 0:
        return {"status": "failed", "detail": f"the part ended with {code}; what it said is above"}
    return None


def read_lines(path):
    """A part that was killed may have left half a line."""
    if not os.path.exists(path):
        return []
    lines = []
    with open(path) as file:
        for line in file:
            try:
                lines.append(json.loads(line))
            except ValueError:
                pass
    return lines


def run_parts(names, results, context_path, slowness):
    for name in names:
        path = f"{context_path}-{name}"
        seconds = slowness * limit_of(name, names, SECONDS - results.seconds() / slowness)
        print(f"\n== {name}, at most {seconds:.0f} s", flush=True)
        started = time.monotonic()
        failure = run_part(name, context_path, path, seconds, lambda path=path: results.write(read_lines(path)))
        lines = read_lines(path)
        if failure:
            lines.append(dict(failure, part=name, name=name))
        elif not lines:
            lines.append({"part": name, "name": name, "status": "failed", "detail": "it checked nothing"})
        results.lines += lines
        results.interrupted = stopped_by
        results.write()
        print(f"== {name} took {time.monotonic() - started:.0f} s", flush=True)
        if stopped_by:
            return
        if name == "device" and not any(line.get("name") == report.OPENS and line["status"] == "passed" for line in lines):
            results.lines += [{"part": other, "name": other, "status": "skipped", "detail": "the device does not open"}
                              for other in names if other != name]
            return


def prepare(options, folder):
    """The environment of the parts; what there is to work with."""
    os.environ["HOME"] = os.environ.get("HOME") or folder
    here = machine.describe(options.device, options.stand_in, folder)
    for line in here["lines"]:
        print(line, flush=True)
    if here["kind"] == "gpu":
        machine.put_first(int(options.device.partition(":")[2] or 0))
        options.device = "cuda:0"
    else:
        os.environ["PENSTOCK_TEST_PATIENCE"] = str(REHEARSAL)
    if options.stand_in:
        here["count"] = 2
        os.environ.update(PENSTOCK_STAND_IN_DEVICES="2", PENSTOCK_STAND_IN_TAKEN=os.path.join(folder, "taken"))
    if here["library_path"]:
        os.environ["PENSTOCK_CUDA_LIBRARY_PATH"] = here["library_path"]
    source = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    os.environ.update(PENSTOCK=options.penstock, PENSTOCKD=options.penstockd, PENSTOCK_TUNING_FILE=os.path.join(folder, "tuning"),
                      # What PyTorch compiles is no use to anybody afterwards.
                      TORCHINDUCTOR_CACHE_DIR=os.path.join(folder, "inductor"), TRITON_CACHE_DIR=os.path.join(folder, "triton"))
    context_path = os.path.join(folder, "context.json")
    with open(context_path, "w") as file:
        json.dump({"tests": options.tests, "bench": options.bench, "device": options.device, "folder": folder, "source": source,
                   "machine": here}, file)
    return here, context_path


def main():
    parser = argparse.ArgumentParser()
    for name in "penstock", "penstockd", "tests", "bench", "json":
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--stand-in", action="store_true", help="the programs are on the stand-in for CUDA")
    parser.add_argument("--part", action="append", choices=list(PARTS))
    parser.add_argument("--strict", action="store_true", help="what is slower than aimed at fails, too")
    options = parser.parse_args()
    for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
        signal.signal(number, stop)
    try:
        folder = tempfile.mkdtemp(prefix="penstock-gpu-")
    except OSError as failure:
        sys.exit(f"tests/gpu: no folder for temporary files: {failure}; name one in TMPDIR")
    try:
        begin = time.monotonic()
        here, context_path = prepare(options, folder)
        results = report.Results(options.json, here)
        results.begin = begin
        results.write()
        if results.failure:
            sys.exit(2)
        # The first one finds out whether there is anything for the others to do.
        names = [name for name in PARTS if name == "device" or not options.part or name in options.part]
        run_parts(names, results, context_path, 1 if here["kind"] == "gpu" else REHEARSAL)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    results.write(done=not stopped_by)
    results.print(PARTS)
    if stopped_by:
        sys.exit(128 + getattr(signal, stopped_by))
    sys.exit(1 if results.failed() or results.failure or (options.strict and results.missed()) else 0)


if __name__ == "__main__":
    main()
