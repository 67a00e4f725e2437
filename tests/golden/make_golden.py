#!/usr/bin/env python3
"""Writes the golden safetensors of this folder: what PyTorch, in float64, makes of AlexNet and VGG-11 on inputs and parameters
drawn by the rule of networks.py (tests/unit/device/rule.c draws the same, bit for bit). Needs torch and numpy.

Each file holds, as float32: "logits" and "loss" before the first step; "gradient.NAME" at step 0 and "change.NAME", the
parameter's change over three optimizer steps, both at the elements that the rule samples (all where there are no more than
SAMPLES). tests/unit/device/test_golden.c has the same table of cases.

Usage: make_golden.py [CASE ...]; all cases take some minutes and 8 GiB."""

import json
import math
import os
import struct
import sys

import numpy as np
import torch

import networks

# name: model, image size, batch, optimizer, its settings. Adam's epsilon is large so that the update stays smooth where a
# gradient is near zero: with the usual one a rounding error there flips the sign of a whole step.
CASES = {
    "alexnet-63-sgd": ("alexnet", 63, 2, torch.optim.SGD,
                       dict(lr=0.0002, momentum=0.9, nesterov=True, weight_decay=0.01)),
    "alexnet-64-adam": ("alexnet", 64, 3, torch.optim.Adam,
                        dict(lr=0.0001, betas=(0.9, 0.999), eps=0.01, weight_decay=0.01)),
    "alexnet-65-adamw": ("alexnet", 65, 4, torch.optim.AdamW,
                         dict(lr=0.0001, betas=(0.9, 0.999), eps=0.01, weight_decay=0.1)),
    "alexnet-66-sgd": ("alexnet", 66, 2, torch.optim.SGD, dict(lr=0.0002, momentum=0.9, dampening=0.2)),
    "alexnet-67-sgd": ("alexnet", 67, 4, torch.optim.SGD, dict(lr=0.0005)),
    "vgg11-32-sgd": ("vgg11", 32, 2, torch.optim.SGD,
                     dict(lr=0.00005, momentum=0.9, nesterov=True, weight_decay=0.01)),
}
# The images of each step, where not 0, 1, 2. Of 400 draws each these keep ReLUs furthest from zero and pools furthest from a
# tie (2e-5 of a layer's spread): where that is less than float32's rounding, a gradient takes another way, rightly.
IMAGES = {"vgg11-32-sgd": (32700, 1045, 2325)}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES, RAW, STEPS = 10, 32, 3


def scale(name, shape):
    """Keeps the variance through ReLUs; biases are small."""
    if name.endswith("bias"):
        return np.float32(0.1)
    return np.float32(math.sqrt(6.0 / float(np.prod(shape[1:]))))


def sampled(name, tensor):
    flat = tensor.detach().reshape(-1).numpy()
    if flat.size > networks.SAMPLES:
        flat = flat[networks.sample_indices(name, flat.size)]
    return flat.astype(np.float32)


def compute(draws, model_name, size, batch, optimizer_class, settings):
    model = networks.create(model_name, CLASSES, 0.0).double()
    initial = {}
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(networks.fill(name, p.shape, scale(name, p.shape)))
            initial[name] = sampled(name, p).astype(np.float64)
    optimizer = optimizer_class(model.parameters(), **settings)
    out, losses = {}, []
    for step in range(STEPS):
        images = networks.fill_bytes(f"images {draws[step]}", (batch, 3, RAW, RAW))
        labels = networks.fill_labels(f"labels {step}", batch, CLASSES)
        optimizer.zero_grad()
        # Mean and deviation are float32 on our side.
        x = networks.normalised(images, size, [float(np.float32(v)) for v in MEAN],
                                [float(np.float32(v)) for v in DEVIATION], torch.float64)
        logits = networks.logits(model, x)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            out["logits"] = logits.detach().numpy().astype(np.float32)
            out["loss"] = loss.detach().reshape(1).numpy().astype(np.float32)
            for name, p in model.named_parameters():
                out["gradient." + name] = sampled(name, p.grad)
        optimizer.step()
    for name, p in model.named_parameters():
        flat = p.detach().reshape(-1).numpy()
        if flat.size > networks.SAMPLES:
            flat = flat[networks.sample_indices(name, flat.size)]
        out["change." + name] = (flat - initial[name]).astype(np.float32)
    return out, losses


def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            f.write(array.astype("<f4").tobytes())


def main():
    folder = os.path.dirname(os.path.abspath(__file__))
    for case in sys.argv[1:] or CASES:
        tensors, losses = compute(IMAGES.get(case, range(STEPS)), *CASES[case])
        write_safetensors(os.path.join(folder, case + ".safetensors"), tensors)
        print(f"{case}: losses {losses}", flush=True)


if __name__ == "__main__":
    main()
