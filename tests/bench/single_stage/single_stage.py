#!/usr/bin/env python3
"""Training throughput of one process: this project's CPU device beside current PyTorch, in one run, on the same cores, with the
same model, batch, image size and threads. The two take turns, so that a disturbance of the machine meets both; each
one's best round counts. Prints samples/s of both and their ratio, ours by PyTorch's, for each configuration.

Without PyTorch (import torch) it says so and measures this project alone.

Usage: single_stage.py --program BENCH_SINGLE_STAGE [--smoke] [--threads 1,2] [--rounds 3] [--steps 8]
                       [--configuration MODEL:BATCH:IMAGE-SIZE ...] [--json FILE] [--minimum-ratio R]"""

import argparse
import json
import os
import subprocess
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
CONFIGURATIONS = ["alexnet:32:64", "alexnet:16:224", "vgg11:16:64"]
NO_TORCH = 77
# What PyTorch can do beside its defaults; the best of all is what we are compared to.
VARIANTS = {"default": [], "fused optimizer": ["--fused"], "channels last": ["--channels-last", "--fused"]}


def measure(command, threads):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode == NO_TORCH:
        return None
    if done.returncode != 0:
        sys.exit(f"single_stage: {' '.join(command)}: exit code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])["samples_per_second"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--smoke", action="store_true", help="one small configuration: that it works, not how fast")
    parser.add_argument("--threads", default=None)
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--warm-up", type=int, default=None)
    parser.add_argument("--configuration", action="append")
    parser.add_argument("--json")
    parser.add_argument("--minimum-ratio", type=float, default=0.0, help="exit code 1 when a ratio is below")
    arguments = parser.parse_args()
    smoke = arguments.smoke
    configurations = arguments.configuration or (["alexnet:2:64"] if smoke else CONFIGURATIONS)
    threads_list = [int(t) for t in (arguments.threads or ("1" if smoke else "1,2")).split(",")]
    rounds = arguments.rounds or (1 if smoke else 3)
    steps = arguments.steps or (1 if smoke else 8)
    warm_up = arguments.warm_up if arguments.warm_up is not None else (1 if smoke else 2)
    variants = {"default": []} if smoke else VARIANTS

    results, has_torch = [], True
    print(f"{'model':8} {'batch':>5} {'image':>5} {'threads':>7} {'ours/s':>9} {'PyTorch/s':>9} {'ratio':>6}  variant")
    for configuration in configurations:
        model, batch, size = configuration.split(":")
        for threads in threads_list:
            numbers = [model, batch, size, str(threads), str(warm_up), str(steps)]
            ours, theirs, variant = 0.0, 0.0, "-"
            for _ in range(rounds):
                ours = max(ours, measure([arguments.program] + numbers, threads))
                for name, options in variants.items() if has_torch else ():
                    worker = os.path.join(FOLDER, "pytorch_worker.py")
                    value = measure([sys.executable, worker] + numbers + options, threads)
                    if value is None:
                        has_torch = False
                        print("single_stage: PyTorch cannot be imported here: this project alone", flush=True)
                        break
                    if value > theirs:
                        theirs, variant = value, name
            ratio = ours / theirs if theirs > 0 else None
            results.append({"model": model, "batch": int(batch), "image_size": int(size), "threads": threads,
                            "samples_per_second": ours, "pytorch_samples_per_second": theirs or None,
                            "pytorch_variant": variant, "ratio": ratio})
            print(f"{model:8} {batch:>5} {size:>5} {threads:>7} {ours:9.2f} "
                  + (f"{theirs:9.2f} {ratio:6.2f}  {variant}" if ratio else f"{'-':>9} {'-':>6}  -"), flush=True)
    if arguments.json:
        with open(arguments.json, "w") as f:
            for result in results:
                f.write(json.dumps(result) + "\n")
    if any(r["ratio"] is not None and r["ratio"] < arguments.minimum_ratio for r in results):
        sys.exit(f"single_stage: a ratio is below {arguments.minimum_ratio}")


main()
