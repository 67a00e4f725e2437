"""How much of the ideal two stages with one thread each reach, and where the rest goes.

With m micro-batches and stages that are busy t0 and t1 a step, two stages can at best do m / (m + 1) * (t0 + t1) / max(t0, t1)
times what one stage does with one thread. Measures one stage and two stages in turns, in one run, and prints medians.
The stages' own busy times come from the two-stage runs: on a machine whose cores slow each other down they are larger than
alone, and that shows as a line of its own, not as a loss of the pipeline.

    pipeline.py --penstock PATH [--model vgg11] [--image-size 64] [--micro-batch-size 8] [--micro-batches 16] [--steps 6]
                [--rounds 3] [--split LAYER] [--minimum-ratio R]"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile


def run(options, dataset, size):
    path = os.path.join(dataset, "steps.json")
    command = [options.penstock, "train", "--model", options.model, "--dataset", dataset, "--image-size", options.image_size,
               "--micro-batch-size", options.micro_batch_size, "--gradient-accumulation-steps", options.micro_batches,
               "--lr", 0.001, "--steps", options.steps, "--local", size, "--threads", 1, "--json", path]
    if options.split is not None and size == 2:
        command += ["--split", options.split]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(path) as file:
        lines = [json.loads(line) for line in file]
    return [line for line in lines if line["type"] == "step"][2:]  # two steps to warm up


def busy(stage):
    return sum(stage[f"{phase}_seconds"] for phase in ("forward", "backward", "optimizer", "copy"))


def median(steps, value):
    return statistics.median(value(step) for step in steps)


def report(options, one, two):
    m = options.micro_batches
    t_one, t_two = median(one, lambda s: s["step_seconds"]), median(two, lambda s: s["step_seconds"])
    t = [median(two, lambda s, i=i: busy(s["stages"][i])) for i in (0, 1)]
    alone = median(one, lambda s: busy(s["stages"][0]))
    samples = m * options.micro_batch_size
    ideal = m / (m + 1) * sum(t) / max(t) / t_one
    ratio = 1 / t_two / ideal
    print(f"{options.model}, image size {options.image_size}, {m} micro-batches of {options.micro_batch_size}; "
          f"{os.cpu_count()} cores, one thread per stage")
    print(f"one stage   {samples / t_one:8.2f} samples/s  {t_one * 1e3:8.1f} ms per step")
    print(f"two stages  {samples / t_two:8.2f} samples/s  {t_two * 1e3:8.1f} ms per step, {t_one / t_two:.3f} times one stage")
    print(f"ideal       {ideal * samples:8.2f} samples/s  = m/(m+1) (t0+t1)/max(t0,t1), t0 {t[0] * 1e3:.1f} ms, t1 {t[1] * 1e3:.1f} ms")
    print(f"ratio to the ideal {ratio:.3f}")
    print("where the rest went, ms per step:")
    print(f"  both stages' work took {1e3 * (sum(t) - alone):+.1f} more than the one stage's ({alone * 1e3:.1f}): "
          "cores that share caches and memory, and copies at the boundary")
    for i in 0, 1:
        waits = {name: 1e3 * median(two, lambda s, i=i, name=name: s["stages"][i][f"wait_{name}_seconds"])
                 for name in ("previous", "next", "coordinator")}
        print(f"  stage {i}: busy {t[i] * 1e3:.1f}, waited for previous {waits['previous']:.1f}, next {waits['next']:.1f}, "
              f"coordinator {waits['coordinator']:.1f}")
    return ratio


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--penstock", required=True)
    parser.add_argument("--model", default="vgg11")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--micro-batch-size", type=int, default=8)
    parser.add_argument("--micro-batches", type=int, default=16)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--split")
    parser.add_argument("--minimum-ratio", type=float, default=0.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as dataset:
        subprocess.run([options.penstock, "dataset", "synthesize", dataset, "--images", "500"], check=True,
                       stdout=subprocess.DEVNULL)
        one, two = [], []
        for _ in range(options.rounds):  # in turns, so that a slow minute is everybody's
            one += run(options, dataset, 1)
            two += run(options, dataset, 2)
    sys.exit(0 if report(options, one, two) >= options.minimum_ratio else 1)


if __name__ == "__main__":
    main()
