"""PyTorch's side of training.py: draws a model's parameters, trains some steps in float64 and writes both as safetensors. Needs torch
alone. The job is the argument, as JSON; prints {"losses": [...]}."""

import ctypes
import json
import os
import struct
import sys

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden"))
import networks  # noqa: E402

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RECORD = 3073  # a label and 3 x 32 x 32


def save(path, state):
    tensors = {name: value.detach().float().cpu().contiguous() for name, value in state.items()}
    header, offset = {}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * 4
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(ctypes.string_at(tensor.data_ptr(), tensor.numel() * 4))


def records(folder):
    data = bytearray()
    for i in range(1, 6):
        with open(os.path.join(folder, f"data_batch_{i}.bin"), "rb") as file:
            data += file.read()
    return torch.frombuffer(data, dtype=torch.uint8).reshape(-1, RECORD)


def main():
    job = json.loads(sys.argv[1])
    device = "cuda" if job["gpu"] else "cpu"
    torch.manual_seed(job["seed"])
    model = networks.create(job["model"], 10, 0.0)
    save(job["initial"], model.state_dict())
    model = model.double().to(device)
    optimizer = torch.optim.SGD(model.parameters(), **job["sgd"])
    images, n, m, losses = records(job["dataset"]), job["micro_batch"], job["micro_batches"], []
    for step in range(job["steps"]):
        optimizer.zero_grad()
        total = 0.0
        for b in range(m):
            part = images[(step * m + b) * n:(step * m + b + 1) * n]
            x = networks.normalised(part[:, 1:].reshape(n, 3, 32, 32), job["image_size"], MEAN, DEVIATION, torch.float64).to(device)
            loss = torch.nn.functional.cross_entropy(networks.logits(model, x), part[:, 0].long().to(device)) / m
            loss.backward()
            total += loss.item()
        optimizer.step()
        losses.append(total)
    save(job["torch"], model.state_dict())
    print(json.dumps({"losses": losses}))


main()
