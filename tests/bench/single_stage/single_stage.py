#!/usr/bin/env python3
"""Training throughput of one process: one of this project's devices beside current PyTorch, in one run, on the same cores or GPU,
with the same model, batch, image size, precision and threads. All take turns, so that a disturbance of the machine meets
each; the medians of their rounds count. Prints samples/s and the ratio, ours by the best of PyTorch's variants, for each
configuration.

On the CPU a step begins with the images as bytes, which are resized; on a GPU the network's input lies on the device before the
first step, for both. Without PyTorch (import torch; on a GPU, one that sees it) it says so and measures this project alone.

Usage: single_stage.py --program BENCH_SINGLE_STAGE [--device cpu|cuda:N] [--pytorch-device NAME] [--smoke] [--threads 1,2] [--precision fp32,bf16]
                       [--rounds N] [--steps N] [--configuration MODEL:BATCH:IMAGE-SIZE ...] [--layers] [--python PYTHON]
                       [--seconds LIMIT] [--json FILE] [--minimum-ratio R] [--profile]"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
NO_TORCH = 77
CONFIGURATIONS = {"cpu": ["alexnet:32:64", "alexnet:16:224", "vgg11:16:64"], "cuda": ["alexnet:128:256", "vgg16:8:512", "vgg16:32:512"]}
PRECISIONS = {"cpu": "fp32", "cuda": "bf16,tf32,fp32"}
# What PyTorch can do beside its defaults; the best of all is what we are compared to.
VARIANTS = {
    "cpu": {"default": [], "fused optimizer": ["fused"], "channels last": ["channels_last", "fused"]},
    "cuda": {"eager": ["channels_last", "fused", "benchmark"], "compile": ["channels_last", "fused", "benchmark", "compile"]},
}
USUAL_SECONDS = 12  # what a configuration takes without compiling: a guess, until the first one was measured
COMPILE_SECONDS = 45  # that and the rounds after it, a guess too
ROUND_SECONDS = 0.3  # on a GPU, a round has as many steps as take this long


class Worker:
    """A process that answers each line with a line."""

    def __init__(self, command, threads):
        environment = dict(os.environ)
        if threads:
            environment.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def ask(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        return self.read()

    def end(self):
        """Its exit code."""
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        return self.process.returncode


class PyTorch:
    """One process for all configurations, because importing torch takes longer than most of them."""

    def __init__(self, python, device):
        self.worker = Worker([python, os.path.join(FOLDER, "pytorch_worker.py")], None)
        self.said = self.ask(describe=device)
        if self.said is None:
            code = self.worker.end()
            self.missing = "PyTorch cannot be imported here" if code == NO_TORCH else f"PyTorch's process ended with {code}"
        else:
            self.missing = self.said.get("failed") or (None if self.said["available"] else f"PyTorch {self.said['torch']} sees no GPU")
            if self.missing:
                self.worker.end()

    def ask(self, **request):
        return self.worker.ask(json.dumps(request))


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.kind = "cpu" if arguments.device == "cpu" else "cuda"
        self.end = time.monotonic() + arguments.seconds if arguments.seconds else None
        smoke = arguments.smoke
        self.configurations = arguments.configuration or (["alexnet:2:64"] if smoke else CONFIGURATIONS[self.kind])
        self.precisions = (arguments.precision or PRECISIONS[self.kind]).split(",")
        threads = arguments.threads or ("1" if smoke else "1,2")
        self.threads = [int(t) for t in threads.split(",")] if self.kind == "cpu" else [0]
        self.rounds = arguments.rounds or (1 if smoke else 3 if self.kind == "cpu" else 5)
        self.steps = arguments.steps or (1 if smoke else 8 if self.kind == "cpu" else None)
        self.warm_up = arguments.warm_up if arguments.warm_up is not None else (1 if smoke else 2 if self.kind == "cpu" else 5)
        variants = VARIANTS[self.kind]
        self.variants = dict([next(iter(variants.items()))]) if smoke and self.kind == "cpu" else variants
        self.torch_device = arguments.pytorch_device or arguments.device
        self.torch = PyTorch(arguments.python, self.torch_device)
        self.usual_seconds = USUAL_SECONDS
        if self.torch.missing:
            print(f"single_stage: {self.torch.missing}: this project alone", flush=True)

    def seconds_left(self):
        return self.end - time.monotonic() if self.end else float("inf")

    def prepare_torch(self, job, notes):
        """The names of those variants that can run it."""
        ready = []
        for name, options in self.variants.items() if not self.torch.missing else ():
            # What a compilation takes cannot be known; the rounds come after it.
            if "compile" in options and self.seconds_left() - self.reserved * self.usual_seconds < COMPILE_SECONDS:
                notes.append(f"{name}: no time left")
                continue
            begin = time.monotonic()
            said = self.torch.ask(prepare=name, options=options, **job)
            if "compile" in options:
                self.compiled_seconds = time.monotonic() - begin
            if said is None:
                self.torch.missing = "PyTorch's process ended"
                notes.append(f"{name}: its process ended")
                break
            if "failed" in said:
                notes.append(f"{name}: {said['failed']}")
            else:
                ready.append(name)
        return ready

    def steps_of_round(self, step_seconds):
        return self.steps or max(2, min(200, round(ROUND_SECONDS / step_seconds)))

    def take_turns(self, ours, ready, result):
        """Medians of each side's rounds, in samples/s."""
        steps = self.steps or 2
        seconds = [ours.ask(f"round {steps}")] + [self.torch.ask(round=name, steps=steps) for name in ready]
        if None in seconds or any("failed" in said for said in seconds):
            raise RuntimeError("a side failed in its first round: " + str(seconds))
        rates = {name: [] for name in ["ours", *ready]}
        for _ in range(self.rounds):
            said = {"ours": ours.ask(f"round {self.steps_of_round(seconds[0]['step_seconds'])}")}
            for name, first in zip(ready, seconds[1:]):
                said[name] = self.torch.ask(round=name, steps=self.steps_of_round(first["step_seconds"]))
            for name in rates:
                if said[name] is None or "failed" in said[name]:
                    raise RuntimeError(f"{name} failed in a round: {said[name]}")
                rates[name].append(said[name]["samples_per_second"])
            result.update(loss=said["ours"]["loss"], step_flops=said["ours"]["step_flops"])
        return {name: statistics.median(values) for name, values in rates.items()}, rates

    def measure(self, model, batch, size, threads, precision):
        result = {"model": model, "batch": batch, "image_size": size, "threads": threads, "precision": precision,
                  "device": self.arguments.device, "notes": []}
        resident = self.kind != "cpu"
        begin, self.compiled_seconds = time.monotonic(), 0.0
        command = [self.arguments.program, "--turns", "--device", self.arguments.device, "--precision", precision]
        command += ["--resident"] if resident else ["--threads", str(threads)]
        # The sides get ready one after the other: each times its kernels while it does.
        ours = Worker(command + [model, str(batch), str(size), str(self.warm_up or 1), "1"], threads)
        try:
            ready = ours.read()
            if ready is None:
                raise RuntimeError("this project's program ended; what it said is above")
            result["memory_bytes"] = ready["memory_bytes"]
            job = dict(model=model, batch=batch, image_size=size, device=self.torch_device, precision=precision, threads=threads,
                       resident=resident, warm_up=self.warm_up)
            names = self.prepare_torch(job, result["notes"])
            medians, rates = self.take_turns(ours, names, result)
            result.update(rates=rates, samples_per_second=medians.pop("ours"), pytorch=medians)
            result["step_seconds"] = batch / result["samples_per_second"]
            if medians:
                best = max(medians, key=medians.get)
                result.update(pytorch_variant=best, pytorch_samples_per_second=medians[best],
                              ratio=result["samples_per_second"] / medians[best])
            if self.arguments.layers:
                result["layers"] = ours.ask(f"layers {self.steps_of_round(result['step_seconds'])}")
            if self.arguments.profile and names:
                print(self.torch.ask(profile=names[0], steps=3)["table"])
        except RuntimeError as failure:
            result["failed"] = str(failure)
        finally:
            code = ours.end()
            if code != 0 and "failed" not in result:
                result["failed"] = f"this project's program ended with {code}"
            if not self.torch.missing:
                self.torch.ask(forget=True)
        self.usual_seconds = time.monotonic() - begin - self.compiled_seconds
        return result

    def results(self):
        for index, precision in enumerate(self.precisions):
            for done, configuration in enumerate(self.configurations, 1):
                # Compiling leaves them their time; the first precision matters most, and the others do not take it from it.
                later = len(self.precisions) - 1 - index if index > 0 else 0
                self.reserved = (len(self.configurations) * (1 + later) - done) * len(self.threads)
                model, batch, size = configuration.split(":")
                for threads in self.threads:
                    if self.seconds_left() < 10:
                        yield {"model": model, "batch": int(batch), "image_size": int(size), "threads": threads,
                               "precision": precision, "device": self.arguments.device, "notes": [], "failed": "no time left"}
                    else:
                        yield self.measure(model, int(batch), int(size), threads, precision)


def line(result):
    first = f"{result['model']:8} {result['batch']:>5} {result['image_size']:>5} {result['threads'] or '-':>7} {result['precision']:>9} "
    if "failed" in result:
        return first + result["failed"]
    text = first + f"{result['samples_per_second']:9.2f} "
    if "ratio" in result:
        others = ", ".join(f"{name} {value:.2f}" for name, value in result["pytorch"].items())
        text += f"{result['pytorch_samples_per_second']:9.2f} {result['ratio']:6.2f}  {others}"
    else:
        text += f"{'-':>9} {'-':>6}"
    return "\n  ".join([text, *result["notes"]])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pytorch-device", help="where that is another one: beside the stand-in for CUDA, cpu")
    parser.add_argument("--smoke", action="store_true", help="one small configuration: that it works, not how fast")
    parser.add_argument("--threads", help="on the CPU, of both sides: 1,2")
    parser.add_argument("--precision", help="fp32, tf32, bf16, fp16, several with commas")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--warm-up", type=int)
    parser.add_argument("--configuration", action="append")
    parser.add_argument("--layers", action="store_true", help="the time of each layer, too, in the JSON file")
    parser.add_argument("--profile", action="store_true", help="what torch.profiler says of PyTorch's first variant")
    parser.add_argument("--python", default=sys.executable, help="one that has torch")
    parser.add_argument("--seconds", type=float, help="no new measurement begins after so long")
    parser.add_argument("--json", help="a line of JSON for each configuration, written when it is done")
    parser.add_argument("--minimum-ratio", type=float, default=0.0, help="exit code 1 when a ratio is below")
    arguments = parser.parse_args()
    bench, results = Bench(arguments), []
    print(f"{'model':8} {'batch':>5} {'image':>5} {'threads':>7} {'precision':>9} {'ours/s':>9} {'PyTorch/s':>9} {'ratio':>6}  variants")
    if arguments.json:
        open(arguments.json, "w").close()
    for result in bench.results():
        results.append(result)
        print(line(result), flush=True)
        if arguments.json:
            with open(arguments.json, "a") as file:
                file.write(json.dumps(dict(result, pytorch_version=bench.torch.said)) + "\n")
    if not bench.torch.missing:
        bench.torch.worker.end()
    if any("failed" in result for result in results):
        sys.exit("single_stage: not everything was measured")
    if any(result.get("ratio", 1e9) < arguments.minimum_ratio for result in results):
        sys.exit(f"single_stage: a ratio is below {arguments.minimum_ratio}")


main()
