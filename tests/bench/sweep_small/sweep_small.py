"""The whole experiment in small, as a rehearsal on one machine: AlexNet at a small image size on 1, 2 and 4 local daemons, pipeline
sizes 0, 2 and 4, two sizes of micro-batch; then a sweep with a memory limit that some cells do not keep to. Checks that every cell
has the result it must have, that the files can be read and agree, that the pictures are pictures, and that a second call runs
nothing. The figures measure correctness and overhead, not a cluster: nothing is asked of them but that they are there.

    sweep_small.py --penstock PATH [--output DIR]      (DIR keeps what was written)"""

import argparse
import csv
import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

NODES, SIZES, MICRO_BATCHES = (1, 2, 4), (0, 2, 4), (8, 4)
ACCUMULATION, STEPS, WARM_UP = 4, 5, 2


def check(condition, what):
    if not condition:
        sys.exit(f"sweep_small: {what}")


def sweep(options, output, nodes, sizes, micro_batches, *more):
    command = [options.penstock, "sweep", "--dataset", options.dataset, "--output", output, "--local", max(nodes), "--threads", 1,
               "--image-size", 63, "--nodes", ",".join(map(str, nodes)), "--pipeline-sizes", ",".join(map(str, sizes)),
               "--micro-batches", ",".join(map(str, micro_batches)), "--gradient-accumulation-steps", ACCUMULATION,
               "--steps", STEPS, "--warm-up", WARM_UP, *more]
    begin = time.monotonic()
    run = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    print(run.stdout, end="")
    check(run.returncode == 0, f"exit code {run.returncode}: {run.stderr}")
    return run, time.monotonic() - begin


def read_json(output):
    with open(os.path.join(output, "sweep.json")) as file:
        return json.load(file)


def read_csv(output):
    with open(os.path.join(output, "sweep.csv"), newline="") as file:
        return list(csv.DictReader(file))


def read_table(output, heading):
    """The first table after the heading, as lists of texts."""
    with open(os.path.join(output, "sweep.md")) as file:
        lines = file.read().split(f"\n## {heading}\n", 1)[1].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows[0], rows[2:]


def check_done(cell):
    devices, stages = cell["nodes"], max(cell["pipeline_size"], 1)
    name = f"cell {cell['nodes']}, {cell['pipeline_size']}, {cell['micro_batch_size']}"
    check((cell["devices"], cell["stages"], cell["replicas"]) == (devices, stages, devices // stages), f"{name}: ranks")
    check(cell["train_batch_size"] == cell["micro_batch_size"] * ACCUMULATION * cell["replicas"], f"{name}: train batch")
    check((cell["steps"], cell["warm_up_steps"]) == (STEPS - WARM_UP, WARM_UP), f"{name}: steps")
    check(cell["samples_per_second"] > 0 and cell["memory_bytes"] > 0, f"{name}: no figures")
    check(0 < cell["step_seconds_minimum"] <= cell["step_seconds_median"] <= cell["step_seconds_maximum"], f"{name}: step times")
    check(0 <= cell["bubble"] < 1 and cell["compute_share"] > 0, f"{name}: shares")
    if cell["replicas"] == 1:
        check(cell["wait_replicas_share"] == 0, f"{name}: one replica waited for others")


def expected_outcome(nodes, size):
    return "done" if max(size, 1) <= nodes else "empty"


def check_files_agree(output, sizes):
    root = read_json(output)
    cells = root["cells"]
    rows = read_csv(output)
    check(len(rows) == len(cells), "sweep.csv has other cells than sweep.json")
    for row, cell in zip(rows, cells):
        check([int(row[name]) for name in ("nodes", "pipeline_size", "micro_batch_size")] ==
              [cell[name] for name in ("nodes", "pipeline_size", "micro_batch_size")], "sweep.csv is in another order")
        check(row["outcome"] == cell["outcome"], "sweep.csv has another outcome")
        for name, text in row.items():
            if isinstance(cell.get(name), (int, float)):
                check(math.isclose(float(text), cell[name], rel_tol=1e-6), f"sweep.csv: {name} is {text}, not {cell[name]}")
    header, lines = read_table(output, "Throughput")
    check(len(header) == 1 + len(root["micro_batch_sizes"]) * len(sizes), "sweep.md has other columns")
    for line in lines:
        for column, text in enumerate(line[1:]):
            micro_batch, size = root["micro_batch_sizes"][column // len(sizes)], sizes[column % len(sizes)]
            cell = next(c for c in cells if (c["nodes"], c["pipeline_size"], c["micro_batch_size"]) == (int(line[0]), size, micro_batch))
            if cell["outcome"] == "done":
                check(math.isclose(float(text), cell["samples_per_second"], rel_tol=1e-2), f"sweep.md has {text}")
            else:
                check(text == ("" if cell["outcome"] == "empty" else cell["outcome"]), f"sweep.md has {text}")


def check_pictures(output):
    if shutil.which("gnuplot") is None:
        print("gnuplot is not installed: no pictures to look at")
        return
    with open(os.path.join(output, "sweep.png"), "rb") as file:
        head = file.read(24)
    check(head[:8] == b"\x89PNG\r\n\x1a\n", "sweep.png is no PNG")
    width, height = struct.unpack(">II", head[16:24])
    check(width > 1000 and height > 400, f"sweep.png is of {width} x {height}")
    words = "".join(xml.etree.ElementTree.parse(os.path.join(output, "sweep.svg")).getroot().itertext())
    check("measures correctness and overhead, not a cluster" in words, "sweep.svg does not say what it shows")


def whole(options, output):
    _, seconds = sweep(options, output, NODES, SIZES, MICRO_BATCHES)
    cells = read_json(output)["cells"]
    check(len(cells) == len(NODES) * len(SIZES) * len(MICRO_BATCHES), "cells are missing")
    for cell in cells:
        check(cell["outcome"] == expected_outcome(cell["nodes"], cell["pipeline_size"]), f"a cell is {cell['outcome']}: {cell}")
        if cell["outcome"] == "done":
            check_done(cell)
        else:
            check("stages, but" in cell["message"], f"no reason for an empty cell: {cell}")
    check_files_agree(output, SIZES)
    check_pictures(output)
    before = read_json(output)
    again, _ = sweep(options, output, NODES, SIZES, MICRO_BATCHES)
    check("12 of 12 cells are already in" in again.stdout and "cell " not in again.stderr, "a second call runs cells again")
    check(read_json(output) == before, "a second call changed the figures")
    return seconds


def limited(options, output):
    sweep(options, output, (1, 2), (0, 2), (8,), "--momentum", "0.9", "--memory-limit", "660MiB")
    outcomes = {(cell["nodes"], cell["pipeline_size"]): cell["outcome"] for cell in read_json(output)["cells"]}
    check(outcomes == {(1, 0): "out of memory", (1, 2): "empty", (2, 0): "out of memory", (2, 2): "done"}, f"{outcomes}")
    check_files_agree(output, (0, 2))
    check_pictures(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--penstock", required=True)
    parser.add_argument("--output")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-sweep-") as folder:
        options.dataset = os.path.join(folder, "dataset")
        subprocess.run([options.penstock, "dataset", "synthesize", options.dataset, "--images", "60"], check=True,
                       stdout=subprocess.DEVNULL)
        output = options.output or folder
        os.makedirs(output, exist_ok=True)
        seconds = whole(options, os.path.join(output, "whole"))
        limited(options, os.path.join(output, "limited"))
        print(f"sweep_small: 12 cells in {seconds:.0f} s, and all is as it must be")


if __name__ == "__main__":
    main()
