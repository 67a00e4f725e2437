"""The same images, the same initial weights, the same optimizer: after five steps the parameters are PyTorch's. Needs a
Python that has torch; tests/golden holds PyTorch's values for where there is none."""

import json
import os
import re
import subprocess
import unittest

import harness

# The interpreter that ctest runs may not be the one that has torch.
PYTHON = os.environ.get("PENSTOCK_PYTHON", "python3")
LISTING = os.path.join(harness.SOURCE, "docs", "prove.md")
HAS_TORCHVISION = subprocess.run([PYTHON, "-c", "import torchvision"], capture_output=True).returncode == 0
HAS_TORCH = subprocess.run([PYTHON, "-c", "import torch, safetensors, numpy"], capture_output=True).returncode == 0

TORCH_SIDE = r"""
import sys, json, numpy as np, torch
from safetensors.torch import load_file, save_file
sys.path.insert(0, sys.argv[1])
import networks
job = json.loads(sys.argv[2])
torch.manual_seed(job["seed"])
torch.set_num_threads(2)

def train():
    # The parameters after five steps.
    model = networks.create(job["model"], 10, 0.0)
    model.load_state_dict(load_file(job["weights"]))
    if job["optimizer"] == "SGD":
        optimizer = torch.optim.SGD(model.parameters(), lr=job["lr"], momentum=0.9, nesterov=True, weight_decay=1e-4)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    n, m = 4, 4
    for step in range(5):
        optimizer.zero_grad()
        for b in range(m):
            part = records[(step * m + b) * n:(step * m + b + 1) * n]
            images = torch.from_numpy(part[:, 1:].reshape(n, 3, 32, 32).copy())
            x = networks.normalised(images, 64, mean, deviation)
            labels = torch.from_numpy(part[:, 0].astype(np.int64))
            (torch.nn.functional.cross_entropy(networks.logits(model, x), labels) / m).backward()
        optimizer.step()
    return {name: value.double() for name, value in model.state_dict().items()}

if job["do"] == "create":
    model = networks.create(job["model"], 10, 0.0)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, job["weights"])
    sys.exit()
records = np.concatenate([np.fromfile(f"{job['dataset']}/data_batch_{i}.bin", np.uint8).reshape(-1, 3073) for i in range(1, 6)])
mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
expected, ours, initial = train(), load_file(job["ours"]), load_file(job["weights"])
result = {}
for name in expected:
    assert not torch.equal(ours[name], initial[name]), name + " did not move"
    error = (ours[name].double() - expected[name]).norm()
    result[name] = [(error / expected[name].norm()).item(), (error / (expected[name] - initial[name].double()).norm()).item()]
print(json.dumps(result))
"""


@unittest.skipUnless(HAS_TORCH, f"{PYTHON} has no torch")
class PyTorch(harness.TestCase):
    images = 2000

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
        # One unit whose input is zero but for rounding may pass its gradient on here and not there, which moves all
        # that is below it by a hundredth: rare, and not the same for another draw of the weights. An error of ours
        # would be there for each. So 1e-4 of the parameters must be met by one draw of three; and with every draw, what
        # the five steps changed must be PyTorch's change to 0.5 %, which is what sees an optimizer that is wrong.
        for seed in 1, 2, 3:
            job = dict(model=model, optimizer=optimizer, weights=weights, dataset=self.dataset, ours=ours, lr=params["lr"], seed=seed)
            self.torch(do="create", **job)
            self.penstock("train", "--model", model, "--dataset", self.dataset, "--image-size", 64, "--deepspeed-config", config,
                          "--local", 3, "--steps", 5, "--no-shuffle", "--dropout", 0, "--load", weights, "--save", ours,
                          seconds=240)
            errors = json.loads(self.torch(do="compare", **job))
            of_value, of_change = (max(errors, key=lambda name, i=i: errors[name][i]) for i in (0, 1))
            print(f"{model} {optimizer} seed {seed}: furthest from PyTorch's value {of_value}, {errors[of_value][0]:.1e}; "
                  f"from its change {of_change}, {errors[of_change][1]:.1e}")
            self.assertLess(errors[of_change][1], 0.005, of_change)
            if errors[of_value][0] < 1e-4:
                return
        self.fail(f"{of_value} is {errors[of_value][0]:.1e} from PyTorch's")

    # The program and the command of docs/prove.md, as they stand there.
    @unittest.skipUnless(HAS_TORCHVISION, f"{PYTHON} has no torchvision")
    def test_proof_against_the_listing(self):
        with open(LISTING) as file:
            text = file.read()
        program = re.search(r"```python\n(.*?)```", text, re.S)[1]
        command = re.search(r"\$ (penstock prove [^$]*? --against pytorch.safetensors .*?)\n\.\.\.", text, re.S)[1]
        run = subprocess.run([PYTHON, "-c", program, self.dataset], cwd=self.folder, capture_output=True, text=True, timeout=300)
        self.assertEqual(run.returncode, 0, run.stderr)
        words = command.replace("\\\n", "").replace("/tmp/dataset", self.dataset).split()[1:]
        run = self.penstock(*(self.path_of(word) for word in words), seconds=240)
        self.assertIn("EQUAL: ", run.out)
        self.assertIn("AGREES: 16 of 16", run.out)

    def path_of(self, word):
        return os.path.join(self.folder, word) if word.endswith(".safetensors") else word

    def test_alexnet_sgd(self):
        self.check("alexnet", "SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4})

    def test_alexnet_adam(self):
        self.check("alexnet", "Adam", {"lr": 1e-4})

    def test_vgg11_sgd(self):
        self.check("vgg11", "SGD", {"lr": 0.001, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4})


if __name__ == "__main__":
    harness.main()
