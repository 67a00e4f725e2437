"""Runs the parts of the GPU suite one after the other, each as a process of its own within a time limit, and goes on whatever
becomes of them. Ends with a short table and a JSON file. run.sh starts it; see there.

A part is a script beside this file. It gets the path of a JSON file that says what there is to work with (checks.Context), and appends
what it found to another, a line for each check or figure."""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import machine

SECONDS = 470  # for all of it
# In this order; the least that a part keeps for itself when those before it are slow, and the most it gets.
PARTS = {
    "conformance": (30, 80),
    "training": (60, 120),
    "faults": (25, 60),
    "sanitizer": (30, 60),
    "pipeline": (30, 60),
    "throughput": (100, 240),
}


def limit_of(name, names, left):
    later = sum(PARTS[other][0] for other in names[names.index(name) + 1:])
    return max(10, min(PARTS[name][1], left - later))


def run_part(name, context_path, results_path, seconds):
    """What became of the part itself, as a check: None when it ran to its end."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    process = subprocess.Popen([sys.executable, script, context_path, results_path, str(seconds)], start_new_session=True)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return {"status": "failed", "detail": f"not done after {seconds:.0f} s"}
    finally:
        # The part's own group, and so whatever it left running.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    if process.returncode != 0:
        return {"status": "failed", "detail": f"the part ended with {process.returncode}; what it said is above"}
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


def print_checks(checks):
    for part in PARTS:
        mine = [check for check in checks if check["part"] == part]
        if not mine:
            continue
        counts = {status: sum(check["status"] == status for check in mine) for status in ("passed", "failed", "skipped")}
        print(f"{part:12} " + ", ".join(f"{count} {status}" for status, count in counts.items() if count))
        for check in mine:
            if check["status"] != "passed":
                print(f"  {check['status']}: {check['name']}: {check['detail']}")


def print_throughput(figures, here):
    rows = [figure for figure in figures if figure["figure"] == "throughput"]
    if not rows:
        return
    print("\nsamples/s, forward + backward + optimizer, data on the device; medians of rounds in turns")
    print(f"{'model':8} {'batch':>5} {'image':>5} {'':5} {'ours':>9} {'eager':>9} {'compile':>9} {'ratio':>6} {'of peak':>8}  longest layers, ms")
    for row in rows:
        first = f"{row['model']:8} {row['batch']:>5} {row['image_size']:>5} {row['precision']:5} "
        if "failed" in row:
            print(first + row["failed"])
            continue
        theirs = [f"{row['pytorch'][name]:9.1f}" if name in row["pytorch"] else f"{'-':>9}" for name in ("eager", "compile")]
        ratio = f"{row['ratio']:6.2f}" if "ratio" in row else f"{'-':>6}"
        share = f"{row['share_of_peak']:8.1%}" if row.get("share_of_peak") else f"{'-':>8}"
        print(first + f"{row['samples_per_second']:9.1f} " + " ".join(theirs) + f" {ratio} {share}  " + row.get("longest", ""))
        for note in row["notes"]:
            print("    " + note)
    if here["peak"] is None:
        print(f"the peak of {here['gpu']} is not in machine.py's table: no share of it")


def print_pipeline(figures):
    rows = [figure for figure in figures if figure["figure"] == "pipeline"]
    if rows:
        print("\ntwo stages on one GPU beside one stage, ms per step (medians)")
    for row in rows:
        print(f"{row['model']:8} {row['batch']:>5} {row['image_size']:>5} {row['precision']:5} one {row['one_ms']:9.2f}  "
              f"in one daemon {row['one_daemon_ms']:9.2f} ({row['one_ms'] / row['one_daemon_ms']:.3f})  "
              f"over gRPC {row['grpc_ms']:9.2f} ({row['one_ms'] / row['grpc_ms']:.3f})")


def main():
    parser = argparse.ArgumentParser()
    for name in "penstock", "penstockd", "tests", "bench", "json":
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--part", action="append", choices=list(PARTS))
    parser.add_argument("--strict", action="store_true", help="what is slower than aimed at fails, too")
    options = parser.parse_args()
    begin = time.monotonic()
    folder = tempfile.mkdtemp(prefix="penstock-gpu-")
    os.environ["HOME"] = os.environ.get("HOME") or folder
    here = machine.describe(options.device)
    for line in here["lines"]:
        print(line, flush=True)
    if options.device.startswith("cuda"):
        machine.hide_others(int(options.device.partition(":")[2] or 0))
        options.device = "cuda:0"
    if here["library_path"]:
        os.environ["PENSTOCK_CUDA_LIBRARY_PATH"] = here["library_path"]
    source = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    os.environ.update(PENSTOCK=options.penstock, PENSTOCKD=options.penstockd, PENSTOCK_SOURCE=source,
                      PENSTOCK_TUNING_FILE=os.path.join(folder, "tuning"))
    context_path, results_path = os.path.join(folder, "context.json"), os.path.join(folder, "results")
    with open(context_path, "w") as file:
        json.dump({"tests": options.tests, "bench": options.bench, "device": options.device, "folder": folder, "source": source,
                   "machine": here}, file)
    parts, results = options.part or list(PARTS), []
    try:
        for name in [name for name in PARTS if name in parts]:
            left = SECONDS - (time.monotonic() - begin)
            seconds = limit_of(name, [p for p in PARTS if p in parts], left)
            print(f"\n== {name}, at most {seconds:.0f} s", flush=True)
            started, path = time.monotonic(), f"{results_path}-{name}"
            failure = run_part(name, context_path, path, seconds)
            lines = read_lines(path)
            if failure:
                lines.append(dict(failure, part=name, name=name))
            elif not lines:
                lines.append({"part": name, "name": name, "status": "failed", "detail": "it checked nothing"})
            results += lines
            print(f"== {name} took {time.monotonic() - started:.0f} s", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    checks = [line for line in results if "status" in line]
    figures = [line for line in results if "figure" in line]
    targets = [line for line in results if "target" in line]
    print(f"\n==== {here['gpu']}, driver {here['driver']}, {platform.platform()}, {time.strftime('%Y-%m-%d')}, "
          f"{time.monotonic() - begin:.0f} s")
    print_checks(checks)
    print_throughput(figures, here)
    print_pipeline(figures)
    for target in targets:
        print(f"{'met' if target['met'] else 'missed'}: {target['target']}: {target['detail']}")
    failed = [check for check in checks if check["status"] == "failed"]
    missed = [target for target in targets if not target["met"]]
    passed = not failed and not (missed and options.strict)
    with open(options.json, "w") as file:
        json.dump({"passed": passed, "date": time.strftime("%Y-%m-%dT%H:%M:%S"), "seconds": time.monotonic() - begin,
                   "machine": here, "checks": checks, "targets": targets, "figures": figures}, file, indent=1)
        file.write("\n")
    print(f"\n{len(checks) - len(failed) - sum(c['status'] == 'skipped' for c in checks)} passed, {len(failed)} failed, "
          f"{sum(c['status'] == 'skipped' for c in checks)} skipped")
    print(f"all of it: {options.json}")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
