"""Prints the tables of tests/unit/device/optimizer_tables.h: four steps of Lamb, Lion and Adagrad on small tensors, as DeepSpeed 0.19.8
computes them. Usage: optimizers.py > ../unit/device/optimizer_tables.h

The steps are written down again here from DeepSpeed's sources, in double, one element after the other, apart from this project's
code: csrc/lamb/fused_lamb_cuda_kernel.cu, csrc/lion/multi_tensor_lion.cu and csrc/adagrad/cpu_adagrad.cpp, with the defaults of
deepspeed/ops/{lamb,lion,adagrad}. Those are kernels that a GPU, or a compiler at run time, is needed for. Of Adagrad torch.optim.Adagrad
(lr_decay 0, initial_accumulator_value 0) gives the same, and DeepSpeed takes that where it does not offload to the CPU.
"""

import math

STEPS, COUNT, RATES = 4, 24, (0.01, 0.02, 0.005, 0.0025)

# name: (kind, weight decay, epsilon, epsilon inside the root, bias correction, min_coeff, max_coeff, beta1, beta2)
CASES = {
    "Lamb": ("LAMB", 0.0, 1e-8, False, True, 0.01, 10.0, 0.9, 0.999),
    "Lamb, weight decay": ("LAMB", 0.1, 1e-6, False, True, 0.01, 10.0, 0.8, 0.99),
    "Lamb, epsilon inside the root, no bias correction": ("LAMB", 0.01, 1e-4, True, False, 0.01, 10.0, 0.9, 0.99),
    "Lamb, least coefficient": ("LAMB", 0.0, 1e-8, False, True, 2.0, 10.0, 0.9, 0.999),
    "Lamb, greatest coefficient": ("LAMB", 0.0, 1e-8, False, True, 0.01, 0.125, 0.9, 0.999),
    "Lion": ("LION", 0.0, 0.0, False, True, 0.01, 10.0, 0.9, 0.999),
    "Lion, weight decay": ("LION", 0.1, 0.0, False, True, 0.01, 10.0, 0.95, 0.98),
    "Adagrad": ("ADAGRAD", 0.0, 1e-10, False, True, 0.01, 10.0, 0.0, 0.0),
    "Adagrad, weight decay": ("ADAGRAD", 0.1, 1e-3, False, True, 0.01, 10.0, 0.0, 0.0),
}


def number(key):
    """From -1 to 1, exact in float32: a multiple of 2^-16."""
    mixed = (key * 2654435761 + 97) % 2**32
    mixed = (mixed ^ (mixed >> 15)) * 2246822519 % 2**32
    return ((mixed ^ (mixed >> 13)) % 2**17 - 2**16) / 2**16


def values():
    return [number(i) for i in range(COUNT)]


def gradients(step):
    return [number(1000 * (step + 1) + i) * (0.1 if i % 3 == 0 else 1.0) for i in range(COUNT)]


def lamb(case, step, rate, p, g, m, v):
    _, decay, eps, inside, correct, least, most, b1, b2 = case
    size = rate * math.sqrt(1 - b2 ** (step + 1)) / (1 - b1 ** (step + 1)) if correct else rate
    update = [0.0] * COUNT
    for j in range(COUNT):
        m[j] = b1 * m[j] + (1 - b1) * g[j]
        v[j] = b2 * v[j] + (1 - b2) * g[j] * g[j]
        update[j] = m[j] / (math.sqrt(v[j] + eps) if inside else math.sqrt(v[j]) + eps) + decay * p[j]
    weights, updates = math.sqrt(sum(x * x for x in p)), math.sqrt(sum(x * x for x in update))
    coefficient = 1.0
    if weights != 0 and updates != 0:
        coefficient = min(max(weights / updates, least), most)
    for j in range(COUNT):
        p[j] -= size * coefficient * update[j]


def lion(case, step, rate, p, g, m, v):
    decay, b1, b2 = case[1], case[7], case[8]
    for j in range(COUNT):
        c = b1 * m[j] + (1 - b1) * g[j]
        assert abs(c) > 1e-6  # where it is 0, DeepSpeed's two implementations go different ways
        p[j] = p[j] * (1 - rate * decay) + (-rate if c > 0 else rate)
        m[j] = b2 * m[j] + (1 - b2) * g[j]


def adagrad(case, step, rate, p, g, m, v):
    decay, eps = case[1], case[2]
    for j in range(COUNT):
        grad = g[j] + decay * p[j] if decay > 0 else g[j]
        m[j] += grad * grad
        p[j] += -rate * (grad / (math.sqrt(m[j]) + eps))


def array(name, rows):
    print(f"static const float {name}[][{COUNT}] = {{")
    for row in rows:
        print("\t{" + ", ".join(f"{x:.9g}f" if "." in f"{x:.9g}" or "e" in f"{x:.9g}" else f"{x:.9g}.0f" for x in row) + "},")
    print("};\n")


def main():
    print("// Made by tests/golden/optimizers.py: steps of DeepSpeed's Lamb, Lion and Adagrad.\n// clang-format off")
    print("#pragma once\n\n#include \"common/model/optimizer.h\"\n")
    print(f"enum {{ OPTIMIZER_TABLE_STEPS = {STEPS}, OPTIMIZER_TABLE_COUNT = {COUNT} }};\n")
    print("static const float optimizer_table_rates[] = {" + ", ".join(f"{r}f" for r in RATES) + "};\n")
    array("optimizer_table_gradients", [gradients(s) for s in range(STEPS)])
    print("static const struct {\n\tconst char *name;\n\tstruct optimizer optimizer;\n\tfloat beta1, beta2;\n\tfloat values[5][24]; "
          "// before the first step, and after each\n} optimizer_tables[] = {")
    for name, case in CASES.items():
        kind, decay, eps, inside, correct, least, most, b1, b2 = case
        p, m, v = values(), [0.0] * COUNT, [0.0] * COUNT
        rows = [list(p)]
        for step in range(STEPS):
            {"LAMB": lamb, "LION": lion, "ADAGRAD": adagrad}[kind](case, step, RATES[step], p, gradients(step), m, v)
            rows.append(list(p))
        print(f"\t{{\"{name}\",\n\t {{.kind = OPTIMIZER_{kind}, .weight_decay = {decay}f, .epsilon = {eps}f, "
              f".epsilon_inside_root = {str(inside).lower()}, .no_bias_correction = {str(not correct).lower()}, "
              f".minimum_coefficient = {least}f, .maximum_coefficient = {most}f}},\n\t {b1}f, {b2}f,\n\t {{")
        for row in rows:
            print("\t\t{" + ", ".join(f"{x:.9e}f" for x in row) + "},")
        print("\t }},")
    print("};\n// clang-format on")


main()
