"""What the network's rate makes of two stages: throughput over links that are limited with `tc tbf`, beside the ideal.

Two network namespaces, a daemon with one thread in each, joined by links of the given rates (both ways); needs root, see
tests/integration/namespaces.py. The ideal hides the shorter of computing and transfer behind the longer one: a step takes
max(what the busier stage computes and copies, bytes of the busier direction / rate), both as the daemons report them in that
very run. It knows no bubble. A limit counts the headers of Ethernet, IP and TCP, too, which take 4.5 % of full packets.

    rate.py --penstock PATH --penstockd PATH [--rates 1000,200,100] [--model vgg11] [--image-size 32] [--split 1]
            [--micro-batch-size 8] [--micro-batches 8] [--steps 6]

Exit codes: 0 measured; 77 namespaces cannot be made here."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("--penstock", required=True)
parser.add_argument("--penstockd", required=True)
parser.add_argument("--rates", default="1000,200,100", help="Mbit/s")
parser.add_argument("--model", default="vgg11")
parser.add_argument("--image-size", type=int, default=32)
parser.add_argument("--split", default="1")
parser.add_argument("--micro-batch-size", type=int, default=8)
parser.add_argument("--micro-batches", type=int, default=8)
parser.add_argument("--steps", type=int, default=6)
options = parser.parse_args()

os.environ.update(PENSTOCK=options.penstock, PENSTOCKD=options.penstockd)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "integration"))
import namespaces  # noqa: E402 (it needs the programs' paths)

WARM_UP_STEPS = 2
COORDINATOR = 2


def measure(network, folder, hostfile):
    """Of a step, medians: (seconds, seconds that the busier stage is busy, bytes of the busier direction)."""
    path = os.path.join(folder, "steps.json")
    command = [*network.inside(COORDINATOR), options.penstock, "train", "-H", hostfile, "-p", 2, "--json", path,
               "--dataset", os.path.join(folder, "dataset"), "--model", options.model, "--image-size", options.image_size,
               "--split", options.split, "--micro-batch-size", options.micro_batch_size,
               "--gradient-accumulation-steps", options.micro_batches, "--lr", 0.001,
               "--steps", options.steps + WARM_UP_STEPS]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(path) as file:
        lines = [json.loads(line) for line in file]
    steps = [line for line in lines if line["type"] == "step"][WARM_UP_STEPS:]
    phases = "forward", "backward", "optimizer", "copy"
    busy = [max(sum(stage[f"{phase}_seconds"] for phase in phases) for stage in step["stages"]) for step in steps]
    return (statistics.median(step["step_seconds"] for step in steps), statistics.median(busy),
            max(stage["sent_bytes"] for stage in steps[-1]["stages"]))


def report(network, folder, hostfile):
    samples = options.micro_batches * options.micro_batch_size
    print(f"{options.model}, image size {options.image_size}, cut before layer {options.split}, {options.micro_batches} micro-batches of "
          f"{options.micro_batch_size}; {os.cpu_count()} cores, one thread per stage")
    print("| link, Mbit/s | MB a step each way | samples/s | step, ms | computing, ms | transfer, ms | ideal, samples/s | "
          "ratio to the ideal |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for rate in [None, *options.rates.split(",")]:
        for host in 0, 1:
            if rate:
                network.limit(host, rate)
        seconds, busy, crossing = measure(network, folder, hostfile)
        transfer = crossing * 8 / (float(rate) * 1e6) if rate else 0
        ideal = max(busy, transfer)
        print(f"| {rate or 'no limit'} | {crossing / 1e6:.1f} | {samples / seconds:.1f} | {seconds * 1e3:.0f} | {busy * 1e3:.0f} | "
              f"{transfer * 1e3:.0f} | {samples / ideal:.1f} | {ideal / seconds:.3f} |", flush=True)


def main():
    reason = namespaces.unavailable()
    if reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    network = namespaces.Network(3)
    daemons = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run([options.penstock, "dataset", "synthesize", os.path.join(folder, "dataset"), "--images", "500"],
                           check=True, stdout=subprocess.DEVNULL)
            for host in 0, 1:
                daemons.append(namespaces.Daemon(network, host, folder, program=options.penstockd))
            hostfile = os.path.join(folder, "hostfile")
            with open(hostfile, "w") as file:
                file.writelines(f"{daemon.address} slots=1\n" for daemon in daemons)
            report(network, folder, hostfile)
        finally:
            for daemon in daemons:
                daemon.stop()
            network.close()


if __name__ == "__main__":
    main()
