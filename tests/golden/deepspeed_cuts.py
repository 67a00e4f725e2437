"""Prints tests/unit/plan/deepspeed_cuts.h: where DeepSpeed's PipelineModule cuts AlexNet and VGG.

    python3 tests/golden/deepspeed_cuts.py [DEEPSPEED_SOURCE_FOLDER] > tests/unit/plan/deepspeed_cuts.h

Runs DeepSpeed's own partition_uniform and partition_balanced, from the installed package or an unpacked source
distribution: the two functions alone are taken out of deepspeed/runtime/utils.py, so that the rest of DeepSpeed need not
load. Layers, their class names and parameters come from PyTorch. Needs torch and numpy."""

import ast
import importlib.util
import pathlib
import re
import sys

from torch import nn

import networks

CLASSES = 10
METHODS = ["uniform", "parameters", "type:Conv2d|Linear", "type:linear"]


def deepspeed_functions(folder):
    if folder is None:
        folder = pathlib.Path(importlib.util.find_spec("deepspeed").origin).parent.parent
    folder = pathlib.Path(folder)
    source = (folder / "deepspeed/runtime/utils.py").read_text()
    wanted = ("partition_uniform", "partition_balanced")
    body = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name in wanted]
    scope = {}
    exec(compile(ast.Module(body=body, type_ignores=[]), "deepspeed/runtime/utils.py", "exec"), scope)
    version = (folder / "version.txt").read_text().strip() if (folder / "version.txt").exists() else "installed"
    return version, scope["partition_uniform"], scope["partition_balanced"]


def layers(name):
    """The list that DeepSpeed's own AlexNet example hands to PipelineModule."""
    model = networks.create(name, CLASSES, 0.5)
    return [*model.features, model.avgpool, nn.Flatten(), *model.classifier]


def main():
    version, uniform, balanced = deepspeed_functions(sys.argv[1] if len(sys.argv) > 1 else None)
    print("// Made by tests/golden/deepspeed_cuts.py with DeepSpeed %s; do not edit." % version)
    print("#pragma once\n\n#include <stdint.h>\n\n// clang-format off")
    print("static const struct {\n\tconst char *model, *method;\n\tuint32_t stages;\n\tuint32_t bounds[64];\n} deepspeed_cuts[] = {")
    for name in ("alexnet", "vgg11", "vgg16"):
        modules = layers(name)
        for method in METHODS:
            for stages in [*range(1, 9), len(modules) - 1, len(modules)]:
                if method == "uniform":
                    cut = uniform(len(modules), stages)
                elif method == "parameters":
                    cut = balanced([sum(p.numel() for p in m.parameters()) for m in modules], stages)
                else:
                    pattern = re.compile(method.lower().split(":")[1], re.IGNORECASE)
                    cut = balanced([int(bool(pattern.search(type(m).__name__))) for m in modules], stages)
                print('\t{"%s", "%s", %d, {%s}},' % (name, method, stages, ", ".join(str(int(c)) for c in cut)))
    print("};")


if __name__ == "__main__":
    main()
