"""The same training steps in PyTorch, for single_stage.py to take turns with. Exit code 77 without PyTorch.

Reads one JSON object a line and answers each with one line:
  {"prepare": NAME, "model", "batch", "image_size", "device", "precision", "threads", "resident", "warm_up", "options"}
                                       builds a model and warms it up: {"ready": NAME} or {"failed": why}
  {"round": NAME, "steps": N}          {"samples_per_second", "step_seconds", "loss"}
  {"profile": NAME, "steps": N}        {"table": what torch.profiler says}
  {"forget": true}                     gives all models and their memory back: {"ready": null}
  {"describe": DEVICE}                 {"torch", "cuda", "cudnn", "device"}

`options` are of OPTIONS below. With "resident" the network's input lies on the device already resized, normalised and in the type and
layout that the network takes; otherwise images come as uint8 and are resized in each step."""

import contextlib
import json
import os
import sys
import time

try:
    import torch
except ImportError:
    sys.exit(77)
from torch import nn

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "golden"))
import networks  # noqa: E402

OPTIONS = {"fused", "channels_last", "compile", "benchmark"}
RAW = 32
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NARROW = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Training:
    def __init__(self, job):
        options = set(job["options"])
        assert options <= OPTIONS, options
        self.device = torch.device(job["device"])
        self.batch, self.precision, size = job["batch"], job["precision"], job["image_size"]
        if job.get("threads"):
            torch.set_num_threads(job["threads"])
        torch.manual_seed(1)
        torch.backends.cudnn.benchmark = "benchmark" in options
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
        self.tf32, self.benchmark = self.precision == "tf32", "benchmark" in options
        layout = torch.channels_last if "channels_last" in options else torch.contiguous_format
        self.model = networks.create(job["model"], 10, 0.5).to(self.device, memory_format=layout)
        self.model.train()
        settings = {"lr": 0.01, "momentum": 0.9}
        try:
            self.optimizer = torch.optim.SGD(self.model.parameters(), fused="fused" in options or None, **settings)
        except TypeError:  # before 2.3
            self.optimizer = torch.optim.SGD(self.model.parameters(), **settings)
        images = torch.randint(0, 256, (self.batch, 3, RAW, RAW), dtype=torch.uint8, device=self.device)
        self.labels = torch.arange(self.batch, device=self.device) % 10
        mean = torch.tensor(MEAN, device=self.device).view(1, 3, 1, 1)
        deviation = torch.tensor(DEVIATION, device=self.device).view(1, 3, 1, 1)
        criterion = nn.CrossEntropyLoss()

        def load():
            x = nn.functional.interpolate(images.float(), size=(size, size), mode="bilinear", align_corners=False)
            return ((x / 255 - mean) / deviation).to(memory_format=layout)

        def loss(x, labels):
            return criterion(networks.logits(self.model, x), labels)

        self.load, self.loss = load, torch.compile(loss) if "compile" in options else loss
        if job["resident"]:
            x = load().to(NARROW.get(self.precision, torch.float32))
            self.load = lambda: x
        for _ in range(job["warm_up"]):
            self.step()
        self.synchronize()

    def step(self):
        self.optimizer.zero_grad()
        narrow = NARROW.get(self.precision)
        with torch.autocast(self.device.type, narrow) if narrow else contextlib.nullcontext():
            self.value = self.loss(self.load(), self.labels)
        # float16's range is too small for a mean's gradients; a fixed scale costs no more than ours does.
        (self.value * 1024 if self.precision == "fp16" else self.value).backward()
        self.optimizer.step()

    def synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def round(self, steps):
        # The switches are the process's, and another model may have set them since.
        torch.backends.cudnn.benchmark = self.benchmark
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.tf32
        self.synchronize()
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        self.synchronize()
        seconds = time.perf_counter() - start
        return {"samples_per_second": self.batch * steps / seconds, "step_seconds": seconds / steps, "loss": self.value.item()}

    def profile(self, steps):
        from torch.profiler import ProfilerActivity, profile

        activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if self.device.type == "cuda" else [])
        with profile(activities=activities, record_shapes=True) as p:
            for _ in range(steps):
                self.step()
            self.synchronize()
        return {"table": p.key_averages(group_by_input_shape=True).table(sort_by=f"self_{self.device.type}_time_total", row_limit=30)}


def describe(device):
    on_gpu = torch.device(device).type == "cuda" and torch.cuda.is_available()
    return {"torch": torch.__version__, "cuda": torch.version.cuda, "available": on_gpu or device == "cpu",
            "cudnn": torch.backends.cudnn.version() if on_gpu else None,
            "device": torch.cuda.get_device_name(device) if on_gpu else "cpu"}


def answer(request, trainings):
    if "describe" in request:
        return describe(request["describe"])
    if "prepare" in request:
        trainings[request["prepare"]] = Training(request)
        return {"ready": request["prepare"]}
    if "forget" in request:
        trainings.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        with contextlib.suppress(Exception):
            torch._dynamo.reset()
        return {"ready": None}
    if "profile" in request:
        return trainings[request["profile"]].profile(request["steps"])
    return trainings[request["round"]].round(request["steps"])


def main():
    # Libraries print; answers go where only they go.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    trainings = {}
    for line in sys.stdin:
        try:
            said = answer(json.loads(line), trainings)
        except Exception as failure:  # too little memory, or no compiler for torch.compile: the others go on
            said = {"failed": f"{type(failure).__name__}: {failure}".splitlines()[0][:300]}
        answers.write(json.dumps(said) + "\n")
        answers.flush()


main()
