"""The same images, the same initial weights, the same optimizer: after five steps the parameters are PyTorch's. Needs a
Python that has torch; tests/golden holds PyTorch's values for where there is none."""

import json
import os
import subprocess
import unittest

import harness

# The interpreter that ctest runs may not be the one that has torch.
PYTHON = os.environ.get("PENSTOCK_PYTHON", "python3")
HAS_TORCH = subprocess.run([PYTHON, "-c", "import torch, safetensors, numpy"], capture_output=True).returncode == 0

TORCH_SIDE = r"""
import sys, json, numpy as np, torch
from safetensors.torch import load_file, save_file
sys.path.insert(0, sys.argv[1])
import networks
job = json.loads(sys.argv[2])
torch.manual_seed(7)
torch.set_num_threads(2)
model = networks.create(job["model"], 10, 0.0)
if job["do"] == "create":
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, job["weights"])
    sys.exit()
model.load_state_dict(load_file(job["weights"]))
records = np.concatenate([np.fromfile(f"{job['dataset']}/data_batch_{i}.bin", np.uint8).reshape(-1, 3073) for i in range(1, 6)])
mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
if job["optimizer"] == "SGD":
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
else:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
n, m = 4, 4
for step in range(5):
    optimizer.zero_grad()
    for b in range(m):
        part = records[(step * m + b) * n:(step * m + b + 1) * n]
        x = networks.normalised(torch.from_numpy(part[:, 1:].reshape(n, 3, 32, 32).copy()), 64, mean, deviation)
        loss = torch.nn.functional.cross_entropy(networks.logits(model, x), torch.from_numpy(part[:, 0].astype(np.int64)))
        (loss / m).backward()
    optimizer.step()
ours, worst = load_file(job["ours"]), 0.0
initial = load_file(job["weights"])
for name, theirs in model.state_dict().items():
    assert not torch.equal(ours[name], initial[name]), name + " did not move"
    worst = max(worst, ((ours[name] - theirs).norm() / theirs.norm()).item())
print(worst)
"""


@unittest.skipUnless(HAS_TORCH, f"{PYTHON} has no torch")
class PyTorch(harness.TestCase):
    def torch(self, **job):
        run = subprocess.run([PYTHON, "-c", TORCH_SIDE, os.path.join(harness.SOURCE, "tests", "golden"), json.dumps(job)],
                             capture_output=True, text=True, timeout=300)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def check(self, model, optimizer, params):
        weights, ours, config = self.path("w.safetensors"), self.path("o.safetensors"), self.path("config.json")
        with open(config, "w") as file:
            json.dump({"train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 4, "gradient_clipping": 0,
                       "optimizer": {"type": optimizer, "params": params}}, file)
        job = dict(model=model, optimizer=optimizer, weights=weights, dataset=self.dataset, ours=ours)
        self.torch(do="create", **job)
        self.penstock("train", "--model", model, "--dataset", self.dataset, "--image-size", 64, "--deepspeed-config", config,
                      "--local", 3, "--steps", 5, "--no-shuffle", "--dropout", 0, "--load", weights, "--save", ours,
                      seconds=240)
        worst = float(self.torch(do="compare", **job))
        print(f"{model}, {optimizer}: largest relative difference of a parameter {worst:.2e}")
        self.assertLess(worst, 1e-4)

    def test_alexnet_sgd(self):
        self.check("alexnet", "SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4})

    def test_alexnet_adam(self):
        self.check("alexnet", "Adam", {"lr": 1e-4})

    def test_vgg11_sgd(self):
        self.check("vgg11", "SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4})


if __name__ == "__main__":
    harness.main()
