"""Writes safetensors_small.safetensors with the format's own library, for tests/unit/checkpoint: that our reader
understands what others write. Run in this folder: python3 safetensors_small.py. Needs numpy and safetensors."""

import numpy as np
from safetensors.numpy import save_file

tensors = {
    "features.0.weight": (np.arange(24, dtype=np.float32) / 8 - 1).reshape(2, 3, 2, 2),
    "features.0.bias": np.array([1.5, -2.25], dtype=np.float32),
    "classifier.6.weight": np.arange(15, dtype=np.float32).reshape(3, 5) ** 2,
    "scalar": np.array(3.25, dtype=np.float32),
    "empty": np.zeros((0, 4), dtype=np.float32),
}
save_file(tensors, "safetensors_small.safetensors", metadata={"format": "np", "note": "for tests"})
