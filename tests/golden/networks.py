"""What the scripts here and beside this folder share with PyTorch on their side: torchvision's AlexNet and VGG, written
out so that torchvision need not be installed (parameters carry its names), the rule that fills tensors the same way as
tests/unit/device/rule.c, and the initial parameters that penstock itself draws. Needs torch; the rule needs numpy."""

import torch
from torch import nn

try:
    import numpy as np
except ImportError:
    np = None


def alexnet(classes, dropout=0.5):
    """torchvision.models.alexnet."""
    model = nn.Module()
    model.features = nn.Sequential(
        nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(64, 192, kernel_size=5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(192, 384, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(kernel_size=3, stride=2),
    )
    model.avgpool = nn.AdaptiveAvgPool2d((6, 6))
    model.classifier = nn.Sequential(
        nn.Dropout(p=dropout),
        nn.Linear(256 * 6 * 6, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(p=dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Linear(4096, classes),
    )
    return model


VGG = {
    "vgg11": [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    "vgg13": [64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    "vgg16": [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"],
    "vgg19": [64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512, "M"],
}


def vgg(name, classes, dropout=0.5):
    """torchvision.models.vgg11 and its siblings (without batch normalisation)."""
    layers, channels = [], 3
    for v in VGG[name]:
        if v == "M":
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        else:
            layers += [nn.Conv2d(channels, v, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
            channels = v
    model = nn.Module()
    model.features = nn.Sequential(*layers)
    model.avgpool = nn.AdaptiveAvgPool2d((7, 7))
    model.classifier = nn.Sequential(
        nn.Linear(512 * 7 * 7, 4096),
        nn.ReLU(True),
        nn.Dropout(p=dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(True),
        nn.Dropout(p=dropout),
        nn.Linear(4096, classes),
    )
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            nn.init.constant_(m.bias, 0)
        elif isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, 0, 0.01)
            nn.init.constant_(m.bias, 0)
    return model


def create(name, classes, dropout):
    return alexnet(classes, dropout) if name == "alexnet" else vgg(name, classes, dropout)


def logits(model, x):
    return model.classifier(torch.flatten(model.avgpool(model.features(x)), 1))


def normalised(images, size, mean, deviation, dtype=torch.float32):
    """uint8 (N, 3, H, W) to the network's input, as the first stage does it."""
    x = nn.functional.interpolate(images.to(dtype), size=(size, size), mode="bilinear", align_corners=False)
    shape = (1, 3, 1, 1)
    return (x / 255 - torch.tensor(mean, dtype=dtype).view(shape)) / torch.tensor(deviation, dtype=dtype).view(shape)


# ---- the rule: tests/unit/device/rule.c computes the same, bit for bit


def hashes(name, count, first=0):
    """uint32: element i is a mixed (name, i)."""
    subject = 0x811C9DC5
    for byte in name.encode():
        subject = (subject ^ byte) * 0x01000193 & 0xFFFFFFFF
    x = np.arange(first, first + count, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(subject)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def fill(name, shape, scale=1.0):
    """float32 in [-scale, scale)."""
    count = int(np.prod(shape))
    out = np.empty(count, dtype=np.float32)
    for first in range(0, count, 1 << 24):
        part = hashes(name, min(1 << 24, count - first), first)
        out[first : first + len(part)] = (
            (part >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
        ) * np.float32(scale)
    return torch.from_numpy(out.reshape(shape))


def fill_bytes(name, shape):
    return torch.from_numpy((hashes(name, int(np.prod(shape))) >> np.uint32(24)).astype(np.uint8).reshape(shape))


def fill_labels(name, count, classes):
    return torch.from_numpy((hashes(name, count).astype(np.uint64) * classes >> np.uint64(32)).astype(np.int64))


SAMPLES = 64  # elements of a large tensor that a golden file keeps


def sample_indices(name, count):
    return (hashes(name + ".sample", SAMPLES).astype(np.uint64) * np.uint64(count) >> np.uint64(32)).astype(np.int64)
