"""Prints the tables of tests/unit/config/learning_rate_tables.h: learning rates and momenta as DeepSpeed's own classes set
them in a PyTorch optimizer, step by step. Usage: learning_rates.py FOLDER > ../unit/config/learning_rate_tables.h, where
FOLDER is DeepSpeed's source (the unpacked source distribution; 0.19.8 was used). Needs torch. Only the one module of
schedules is loaded, so that DeepSpeed's other needs do not matter: it takes nothing but a logger from the rest."""

import importlib.util
import logging
import os
import sys
import types

import torch

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
}
STEPS = 26


def load_schedules(folder):
    utils = types.ModuleType("deepspeed.utils")
    utils.logger = logging.getLogger("deepspeed")
    sys.modules["deepspeed"] = types.ModuleType("deepspeed")
    sys.modules["deepspeed.utils"] = utils
    path = os.path.join(folder, "deepspeed", "runtime", "lr_schedules.py")
    spec = importlib.util.spec_from_file_location("lr_schedules", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table(schedules, optimizer_name, scheduler_name, params):
    parameter = torch.nn.Parameter(torch.zeros(1))
    if optimizer_name == "SGD":
        optimizer = torch.optim.SGD([parameter], lr=0.25, momentum=0.85)
    else:
        optimizer = torch.optim.Adam([parameter], lr=0.25, betas=(0.85, 0.999))
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
