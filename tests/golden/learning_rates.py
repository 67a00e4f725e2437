"""Prints the tables of tests/unit/config/learning_rate_tables.h: learning rates and momenta as DeepSpeed's own classes set
them in an optimizer, step by step. Usage: learning_rates.py FOLDER > ../unit/config/learning_rate_tables.h, where FOLDER is
DeepSpeed's source (the unpacked source distribution; 0.19.8 was used). Only the one module of schedules is loaded, so that
DeepSpeed's other needs do not matter: it takes a logger from the rest. Of torch it uses the class Optimizer and is_tensor;
a class with the same members stands for them, and torch is not needed."""

import importlib.util
import logging
import os
import sys
import types

CASES = {  # name: (optimizer, scheduler, params)
    "warmup_log": ("SGD", "WarmupLR", dict(warmup_max_lr=0.1, warmup_num_steps=10)),
    "warmup_linear": ("SGD", "WarmupLR",
                      dict(warmup_min_lr=0.001, warmup_max_lr=0.02, warmup_num_steps=7, warmup_type="linear")),
    "warmup_one_step": ("SGD", "WarmupLR", dict(warmup_max_lr=0.5, warmup_num_steps=1)),
    "warmup_decay_log": ("SGD", "WarmupDecayLR", dict(total_num_steps=20, warmup_max_lr=0.3, warmup_num_steps=5)),
    "warmup_decay_linear": ("Adam", "WarmupDecayLR",
                            dict(total_num_steps=12, warmup_min_lr=0.01, warmup_max_lr=0.3, warmup_num_steps=4,
                                 warmup_type="linear")),
    "warmup_decay_short": ("SGD", "WarmupDecayLR", dict(total_num_steps=3, warmup_max_lr=0.3, warmup_num_steps=8)),
    "one_cycle": ("Adam", "OneCycle", dict(cycle_min_lr=0.001, cycle_max_lr=0.1, cycle_first_step_size=5)),
    "one_cycle_decay": ("Adam", "OneCycle",
                        dict(cycle_min_lr=0.01, cycle_max_lr=0.2, decay_lr_rate=0.5, cycle_first_step_size=4,
                             cycle_second_step_size=7, decay_step_size=3, cycle_min_mom=0.7, cycle_max_mom=0.95,
                             decay_mom_rate=0.01)),
    "one_cycle_stairs": ("Adam", "OneCycle",
                         dict(cycle_min_lr=0.01, cycle_max_lr=0.2, cycle_first_step_size=6, cycle_second_step_size=9,
                              cycle_first_stair_count=3, cycle_second_stair_count=2)),
    "one_cycle_half_stairs": ("Adam", "OneCycle",
                              dict(cycle_min_lr=0.01, cycle_max_lr=0.2, cycle_first_step_size=6,
                                   cycle_first_stair_count=2, cycle_second_stair_count=0)),
    "one_cycle_no_momentum": ("Adam", "OneCycle",
                              dict(cycle_min_lr=0.001, cycle_max_lr=0.1, cycle_first_step_size=3,
                                   cycle_momentum=False)),
    "one_cycle_sgd": ("SGD", "OneCycle", dict(cycle_min_lr=0.001, cycle_max_lr=0.1, cycle_first_step_size=3)),
    "one_cycle_no_second_half": ("Adam", "OneCycle",
                                 dict(cycle_min_lr=0.01, cycle_max_lr=0.2, cycle_first_step_size=4,
                                      cycle_second_step_size=0, decay_step_size=2, decay_lr_rate=1.0)),
    "one_cycle_shortest": ("Adam", "OneCycle",
                           dict(cycle_min_lr=0.01, cycle_max_lr=0.2, cycle_first_step_size=1, decay_step_size=1,
                                decay_lr_rate=0.25, decay_mom_rate=0.001)),
    "one_cycle_decay_without_rate": ("Adam", "OneCycle",
                                     dict(cycle_min_lr=0.01, cycle_max_lr=0.2, cycle_first_step_size=3,
                                          decay_step_size=2)),
    "one_cycle_falling": ("Adam", "OneCycle",
                          dict(cycle_min_lr=0.2, cycle_max_lr=0.01, cycle_first_step_size=5, cycle_min_mom=0.9,
                               cycle_max_mom=0.8)),
    "warmup_linear_one_step": ("SGD", "WarmupLR",
                               dict(warmup_min_lr=0.1, warmup_max_lr=0.5, warmup_num_steps=1, warmup_type="linear")),
    "warmup_two_steps": ("SGD", "WarmupLR", dict(warmup_max_lr=0.5, warmup_num_steps=2)),
    "warmup_falling": ("SGD", "WarmupLR", dict(warmup_min_lr=0.5, warmup_max_lr=0.1, warmup_num_steps=6)),
    "warmup_of_optimizer": ("SGD", "WarmupLR", dict(warmup_num_steps=6)),
    "warmup_decay_at_total": ("SGD", "WarmupDecayLR", dict(total_num_steps=8, warmup_max_lr=0.3, warmup_num_steps=8)),
    "warmup_decay_one_step": ("SGD", "WarmupDecayLR",
                              dict(total_num_steps=1, warmup_max_lr=0.3, warmup_num_steps=1, warmup_type="linear")),
    "warmup_cosine_log": ("SGD", "WarmupCosineLR", dict(total_num_steps=20, warmup_num_steps=5)),
    "warmup_cosine_linear": ("Adam", "WarmupCosineLR",
                             dict(total_num_steps=15, warmup_min_ratio=0.1, warmup_num_steps=4, cos_min_ratio=0.25,
                                  warmup_type="linear")),
    "warmup_cosine_short": ("SGD", "WarmupCosineLR", dict(total_num_steps=3, warmup_num_steps=8)),
    "warmup_cosine_at_total": ("SGD", "WarmupCosineLR",
                               dict(total_num_steps=8, warmup_num_steps=8, cos_min_ratio=0.5)),
    "warmup_cosine_one_step": ("SGD", "WarmupCosineLR", dict(total_num_steps=12, warmup_num_steps=1)),
    "warmup_cosine_rising": ("SGD", "WarmupCosineLR",
                             dict(total_num_steps=12, warmup_num_steps=3, warmup_min_ratio=2.0, cos_min_ratio=1.5)),
    "range_test": ("SGD", "LRRangeTest", dict(lr_range_test_min_lr=0.01, lr_range_test_step_size=4)),
    "range_test_defaults": ("SGD", "LRRangeTest", dict()),
    "range_test_stairs": ("SGD", "LRRangeTest",
                          dict(lr_range_test_min_lr=0.01, lr_range_test_step_size=7, lr_range_test_step_rate=0.5,
                               lr_range_test_staircase=True)),
    "range_test_one_step": ("SGD", "LRRangeTest",
                            dict(lr_range_test_min_lr=0.01, lr_range_test_step_size=1, lr_range_test_step_rate=5.0)),
    "range_test_flat": ("SGD", "LRRangeTest", dict(lr_range_test_min_lr=0.01, lr_range_test_step_rate=0.0)),
}
STEPS = 26


class Optimizer:
    """What the schedules see of torch.optim.Optimizer."""

    def __init__(self, **defaults):
        self.defaults = defaults
        self.param_groups = [dict(defaults)]


def load_schedules(folder):
    utils = types.ModuleType("deepspeed.utils")
    utils.logger = logging.getLogger("deepspeed")
    sys.modules["deepspeed"] = types.ModuleType("deepspeed")
    sys.modules["deepspeed.utils"] = utils
    sys.modules["torch"] = types.ModuleType("torch")
    sys.modules["torch"].is_tensor = lambda value: False
    sys.modules["torch.optim"] = types.ModuleType("torch.optim")
    sys.modules["torch.optim"].Optimizer = Optimizer
    path = os.path.join(folder, "deepspeed", "runtime", "lr_schedules.py")
    spec = importlib.util.spec_from_file_location("lr_schedules", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table(schedules, optimizer_name, scheduler_name, params):
    if optimizer_name == "SGD":
        optimizer = Optimizer(lr=0.25, momentum=0.85)
    else:
        optimizer = Optimizer(lr=0.25, betas=(0.85, 0.999))
    scheduler = getattr(schedules, scheduler_name)(optimizer, **params)
    group = optimizer.param_groups[0]
    rows = []
    for _ in range(STEPS):  # as DeepSpeed's engine: the optimizer's step, then the scheduler's
        rows.append((group["lr"], group["betas"][0] if "betas" in group else group["momentum"]))
        scheduler.step()
    return rows


def main():
    logging.disable(logging.WARNING)
    schedules = load_schedules(sys.argv[1])
    print("// Made by tests/golden/learning_rates.py from DeepSpeed 0.19.8's schedule classes. Do not edit.")
    print("#pragma once\n")
    print("enum { TABLE_STEPS = %d };\n" % STEPS)
    for name, case in CASES.items():
        print("static const double %s[TABLE_STEPS][2] = { // learning rate, momentum" % name)
        for learning_rate, momentum in table(schedules, *case):
            print("\t{%r, %r}," % (float(learning_rate), float(momentum)))
        print("};\n")


if __name__ == "__main__":
    main()
