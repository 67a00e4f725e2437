"""One process beside PyTorch (tests/bench/single_stage): AlexNet and VGG-16 in bf16, TF32 and fp32, with the share of the card's peak and
the time of each layer. The rows are figures; that each was measured is the check."""

import json
import os
import signal
import subprocess
import sys

import checks

AIMS = {"bf16": 1.1, "tf32": 1.0, "fp32": 1.0}  # ours by the better of PyTorch's two


def longest(layers, count=3):
    """"classifier.1 1.20, ...": forward and backward together."""
    times = [(layer["forward_ms"] + layer["weight_ms"] + layer["input_ms"], layer["name"]) for layer in layers["layers"]]
    times.append((layers["optimizer_ms"], "optimizer"))
    return ", ".join(f"{name} {ms:.2f}" for ms, name in sorted(times, reverse=True)[:count])


def main():
    context = checks.context()
    path = context.path("throughput.json")
    script = os.path.join(context.source, "tests", "bench", "single_stage", "single_stage.py")
    command = [sys.executable, script, "--program", context.bench, "--device", context.device, "--layers", "--json", path,
               "--python", context.machine["python"], "--seconds", str(max(10, context.seconds_left() - 15))]
    if not context.on_gpu:
        command += ["--smoke", "--pytorch-device", "cpu", "--precision", "fp32" if context.kind == "cpu" else "bf16,fp32"]
    # Its own group is ours, which the suite ends.
    process = subprocess.Popen(command)
    try:
        process.wait(max(5, context.seconds_left() - 4))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        context.record("throughput", "failed", "not done in time")
    rows = []
    if os.path.exists(path):
        with open(path) as file:
            rows = [json.loads(line) for line in file]
    for row in rows:
        name = f"{row['model']} {row['batch']} x {row['image_size']} {row['precision']}"
        peak = (context.machine["peak"] or {}).get(row["precision"])
        if "failed" not in row and peak:
            row["share_of_peak"] = row["step_flops"] / row["step_seconds"] / (peak * 1e12)
        if row.get("layers"):
            row["longest"] = longest(row["layers"])
        context.write(figure="throughput", **row)
        if "failed" in row:
            # A card that is too small, or a suite that is too short of time, is no fault of the device's; but it is not measured.
            context.record(name, "skipped" if row["failed"] == "no time left" else "failed", row["failed"])
            continue
        context.record(name, "passed", f"{row['samples_per_second']:.1f} samples/s" + ("" if context.on_gpu else ", which says nothing of a GPU"))
        aim = AIMS.get(row["precision"])
        if "ratio" in row and aim:
            context.target(f"{name}: {aim} times the better of PyTorch's two", row["ratio"] >= aim,
                           f"{row['ratio']:.2f} ({', '.join(row['pytorch'])})")
    if not rows and process.returncode == 0:
        context.record("throughput", "failed", "it measured nothing")


main()
