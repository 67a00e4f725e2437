"""Prints the tables of tests/unit/run/loss_scale_tables.h: the loss scale as DeepSpeed's own DynamicLossScaler sets it, step by
step. Usage: loss_scales.py FOLDER > ../unit/run/loss_scale_tables.h, where FOLDER is DeepSpeed's source (the unpacked source
distribution; 0.19.8 was used). Only the one module is loaded: what it takes from torch and the rest of DeepSpeed is
stood in for, because the scale depends on none of it."""

import importlib.util
import logging
import os
import random
import sys
import types

# name: (scale, window, minimum, hysteresis, consecutive hysteresis, overflows: x, steps without: .)
CASES = {
    "defaults": (65536, 1000, 1, 2, False, "..x..x.x.xx....x"),
    "no_hysteresis": (256, 4, 1, 1, False, "x.x....................xx.........x...."),
    "hysteresis_is_refilled_by_the_window": (256, 3, 1, 3, False, "xxx.x....x....xx.....x.......xxxx"),
    "hysteresis_is_refilled_by_a_step": (256, 5, 1, 2, True, "x.x.x.xx.xxx.......x......xx......x"),
    "window_of_one": (1, 1, 1, 2, False, "........x..x.xx...."),
    "minimum": (64, 6, 16, 2, False, "xxxxxxx.xx......xxxx.x"),
    "minimum_is_no_power_of_two": (100, 4, 7, 1, True, "xxxxxxx.....xxx"),
}
RANDOM_CASES, RANDOM_STEPS = 12, 80


def stand_in(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


def load_scaler(folder):
    stand_in("torch", half="half", float16="half")
    comm = types.SimpleNamespace(get_rank=lambda: 0)
    stand_in("deepspeed", comm=comm)
    stand_in("deepspeed.utils", logger=logging.getLogger("deepspeed"), log_dist=lambda *_, **__: None)
    stand_in("deepspeed.runtime")
    stand_in("deepspeed.runtime.config_utils", DeepSpeedConfigObject=object)
    stand_in("deepspeed.runtime.utils", has_inf_or_nan=None)
    path = os.path.join(folder, "deepspeed", "runtime", "fp16", "loss_scaler.py")
    spec = importlib.util.spec_from_file_location("loss_scaler", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["loss_scaler"] = module
    spec.loader.exec_module(module)
    return module.DynamicLossScaler


def table(scaler_class, scale, window, minimum, hysteresis, consecutive, overflows):
    """After each step: the scale, and how many times in a row, up to it, DeepSpeed would have given up."""
    scaler = scaler_class(float(scale), window, minimum, hysteresis, consecutive)
    rows, stuck = [], 0
    for step in overflows:
        try:
            scaler.update_scale(step == "x")
            stuck = stuck if step == "x" else 0
        except Exception:  # at its minimum; the step is counted as one with an overflow, and the run goes on
            scaler.raise_error_at_min_scale = False
            scaler.update_scale(True)
            scaler.raise_error_at_min_scale = True
            stuck += 1
        rows.append((scaler.loss_scale, stuck))
    return rows


def main():
    logging.disable(logging.CRITICAL)
    scaler_class = load_scaler(sys.argv[1])
    cases = dict(CASES)
    draw = random.Random(1)
    for i in range(RANDOM_CASES):
        share = draw.choice((0.05, 0.2, 0.5))
        overflows = "".join("x" if draw.random() < share else "." for _ in range(RANDOM_STEPS))
        cases["random_%d" % i] = (2 ** draw.randrange(5, 17), draw.randrange(1, 12), 2 ** draw.randrange(0, 5),
                                  draw.randrange(1, 5), draw.random() < 0.5, overflows)
    print("// Made by tests/golden/loss_scales.py from DeepSpeed 0.19.8's DynamicLossScaler. Do not edit.")
    print("#pragma once\n")
    print('#include "coordinator/config/deepspeed_config.h"\n\n// clang-format off')
    print("static const struct loss_scale_case {")
    print("\tconst char *name;\n\tstruct loss_scaling settings;\n\tconst char *overflows; // x, and . for a step without")
    print("\tstruct {\n\t\tdouble scale;\n\t\tuint32_t stuck;\n\t} after[%d];" % max(len(c[5]) for c in cases.values()))
    print("} loss_scale_cases[] = {")
    for name, (scale, window, minimum, hysteresis, consecutive, overflows) in cases.items():
        print('\t{"%s",\n\t {true, %d, %d, %d, %d, %s},\n\t "%s",' %
              (name, scale, minimum, window, hysteresis, "true" if consecutive else "false", overflows))
        rows = table(scaler_class, scale, window, minimum, hysteresis, consecutive, overflows)
        print("\t {%s}}," % ", ".join("{%r, %d}" % row for row in rows))
    print("};")


if __name__ == "__main__":
    main()
