"""The same training step in PyTorch: eager, float32, its defaults. Prints one JSON line; exit code 77 without PyTorch.
Usage: pytorch_worker.py MODEL BATCH IMAGE-SIZE THREADS WARM-UP-STEPS STEPS [--fused] [--layers] [--channels-last]"""

import json
import os
import sys
import time

try:
    import torch
except ImportError:
    sys.exit(77)
from torch import nn

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "golden"))
import networks  # noqa: E402

RAW = 32
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main():
    name, numbers = sys.argv[1], [int(a) for a in sys.argv[2:7]]
    batch, size, threads, warmup, steps = numbers
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = networks.create(name, 10, 0.5)
    model.train()
    memory_format = torch.channels_last if "--channels-last" in sys.argv else torch.contiguous_format
    model = model.to(memory_format=memory_format)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused="--fused" in sys.argv or None)
    images = torch.randint(0, 256, (batch, 3, RAW, RAW), dtype=torch.uint8)
    labels = torch.arange(batch) % 10
    mean, deviation = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(DEVIATION).view(1, 3, 1, 1)
    criterion = nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        x = nn.functional.interpolate(images.float(), size=(size, size), mode="bilinear", align_corners=False)
        x = ((x / 255 - mean) / deviation).to(memory_format=memory_format)
        loss = criterion(networks.logits(model, x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    for _ in range(warmup):
        step()
    if "--layers" in sys.argv:
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as p:
            for _ in range(steps):
                step()
        print(p.key_averages(group_by_input_shape=True).table(sort_by="self_cpu_time_total", row_limit=30))
    start = time.perf_counter()
    for _ in range(steps):
        loss = step()
    seconds = time.perf_counter() - start
    print(json.dumps({"samples_per_second": batch * steps / seconds, "step_seconds": seconds / steps, "loss": loss}))


main()
