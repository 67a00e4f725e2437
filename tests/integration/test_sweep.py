"""penstock sweep: what it refuses, what it writes, and that it goes on: after a cell that does not fit, after one that failed,
after kill -9."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import threading

import harness


def forward(address, on_data):
    """A port from which all goes to `address` and back. What goes there is shown to on_data first. Its address."""
    host, port = address.rsplit(":", 1)
    listener = socket.create_server(("127.0.0.1", 0))

    def copy(source, to, look):
        try:
            while data := source.recv(1 << 16):
                look(data)
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # an end is gone, and the other hears of it

    def accept():
        while True:
            near = listener.accept()[0]
            far = socket.create_connection((host, int(port)))
            for ends in (near, far, on_data), (far, near, lambda data: None):
                threading.Thread(target=copy, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return "127.0.0.1:%d" % listener.getsockname()[1]


class Sweep(harness.TestCase):
    def arguments(self, output, *more, steps=3):
        return ["sweep", "--dataset", self.dataset, "--output", output, "--image-size", 63, "--micro-batches", 2,
                "--gradient-accumulation-steps", 2, "--steps", steps, "--warm-up", 1, *more]

    def sweep(self, output, *more, code=0, **how):
        return self.penstock(*self.arguments(output, *more, **how), code=code)

    def folder_of(self, name):
        path = os.path.join(self.folder, name)
        shutil.rmtree(path, ignore_errors=True)
        return path

    @staticmethod
    def read(output):
        with open(os.path.join(output, "sweep.json")) as file:
            return json.load(file)

    def cells(self, output):
        """{(nodes, pipeline size): cell}"""
        return {(cell["nodes"], cell["pipeline_size"]): cell for cell in self.read(output)["cells"]}

    @staticmethod
    def text(output, name="sweep.md"):
        with open(os.path.join(output, name)) as file:
            return file.read()

    def refuse(self, code, words, *arguments):
        with self.subTest(arguments=arguments):
            run = self.penstock(*arguments, code=code, seconds=30)
            self.assertRegex(run.error, rf"\Apenstock: .*(?:{words}).*\n\Z")
            self.assertEqual(run.out, "")

    def test_wrong_usage_is_refused(self):
        output = self.folder_of("refused")
        sweep = self.arguments(output, "--local")
        self.refuse(2, "--output DIR is missing", "sweep", "--local", "--dataset", self.dataset)
        self.refuse(2, "--dataset PATH is missing", "sweep", "--local", "--output", output)
        self.refuse(2, "no nodes are given", *self.arguments(output))
        self.refuse(2, "option --nodes needs a value", *sweep, "--nodes")
        self.refuse(2, "--output: the value is empty", *sweep, "--output=")
        self.refuse(2, "option --fly is unknown.*penstock sweep --help", *sweep, "--fly")
        self.refuse(2, '--nodes: "x" is not a whole number', *sweep, "--nodes", "1,x")
        self.refuse(2, '--pipeline-sizes: "2" appears twice', *sweep, "--pipeline-sizes=2,2")
        self.refuse(2, "--pipeline-size is not an option of penstock sweep: use --pipeline-sizes", *sweep, "-p", 2)
        self.refuse(2, "--micro-batch-size is not an option of penstock sweep: use --micro-batches", *sweep, "--micro-batch-size", 2)
        self.refuse(2, "--train-batch-size is not an option of penstock sweep", *sweep, "--train-batch-size", 2)
        self.refuse(2, "--nodes: a cell needs 4 nodes, but --local has only 2", *self.arguments(output), "--local", 2, "--num-nodes", 4)
        self.refuse(2, "--save is not an option of penstock sweep", *sweep, "--save", "x")
        self.refuse(2, r"--steps 2: the first 2 of each cell are warm-up", *sweep, "--steps", 2, "--warm-up", 2)
        self.refuse(2, "cell 1 node, pipeline size 0, micro-batches of 400: a batch of 800 samples is larger than the dataset",
                    *sweep, "--micro-batches", 400, "--nodes", 1)
        self.refuse(2, "cell 23 nodes, pipeline size 23, micro-batches of 2: pipeline size 23: alexnet has only 22 layers",
                    *sweep, "--pipeline-sizes", 23, "--nodes", 23)
        self.refuse(2, "--nodes: a cell needs 4 nodes, but --local has only 2", *self.arguments(output), "--local", 2)
        daemons = self.start_daemons(2)
        hostfile = self.hostfile(daemons)
        self.refuse(2, "--nodes: a cell needs 4 nodes, but .*hostfile.* has only 2", *self.arguments(output), "-H", hostfile)
        self.refuse(2, "--hostfile and --local exclude each other", *sweep, "-H", hostfile)
        self.refuse(2, "--threads applies only to the daemons that --local starts", *self.arguments(output), "-H", hostfile, "--nodes", "1,2",
                    "--threads", 1)
        self.assertFalse(os.path.exists(output))  # refused before anything was begun

    def test_folder_that_cannot_be_written_is_said_before_the_first_cell(self):
        file = self.path("a_file")
        with open(file, "w"):
            pass
        self.refuse(2, "--output /proc/nowhere/out: the folder cannot be made: No such file", *self.arguments("/proc/nowhere/out", "--local"))
        self.refuse(2, "--output .*a_file: Not a directory", *self.arguments(file, "--local"))
        full = self.folder_of("full")
        with harness.limit_file_size(100):
            self.refuse(1, "full/sweep.json: write: File too large", *self.arguments(full, "--local"))
        self.assertEqual(os.listdir(full), [])

    def test_cells_get_results_empty_ones_reasons_and_files_agree(self):
        output = self.folder_of("cells")
        run = self.sweep(output, "--local", "--nodes", "1,2", "--pipeline-sizes", "0,2", steps=4)
        self.assertRegex(run.error, r"cell 1 of 3: 1 node, pipeline size 0, micro-batches of 2\n")
        self.assertRegex(run.out, r"cell 3 of 3: 2 nodes, pipeline size 2, micro-batches of 2: [\d.]+ samples/s, efficiency [\d.]+, bubble [\d.]+%\n")
        root, cells = self.read(output), self.cells(output)
        self.assertRegex(root["note"], r"^2 daemons on one machine of \d+ cores: measures correctness and overhead, not a cluster$")
        self.assertEqual({key: cell["outcome"] for key, cell in cells.items()},
                         {(1, 0): "done", (1, 2): "empty", (2, 0): "done", (2, 2): "done"})
        self.assertEqual(cells[1, 2]["message"], "2 stages, but 1 node with 1 device")
        for key, devices, stages, replicas in ((1, 0), 1, 1, 1), ((2, 0), 2, 1, 2), ((2, 2), 2, 2, 1):
            cell = cells[key]
            with self.subTest(cell=key):
                self.assertEqual([cell[name] for name in ("devices", "stages", "replicas", "gradient_accumulation_steps", "steps", "warm_up_steps")],
                                 [devices, stages, replicas, 2, 3, 1])
                self.assertEqual(cell["train_batch_size"], 2 * 2 * replicas)
                self.assertGreater(cell["memory_bytes"], 100 << 20)
                self.assertLessEqual(cell["step_seconds_minimum"], cell["step_seconds_median"])
                self.assertLessEqual(cell["step_seconds_median"], cell["step_seconds_maximum"])
                self.assertAlmostEqual(cell["efficiency"], cell["samples_per_second"] / devices / cells[1, 0]["samples_per_second"])
                # A device may begin a step before the slowest has ended the one before: of 3 steps one may count twice.
                shares = sum(value for name, value in cell.items() if name.endswith("_share"))
                self.assertTrue(0.5 < shares < 1.4, shares)
                self.assertAlmostEqual(cell["bubble"], 1 - cell["compute_share"] - cell["copy_share"], delta=0.2)
        with open(os.path.join(output, "sweep.csv"), newline="") as file:
            for row in csv.DictReader(file):
                cell = cells[int(row["nodes"]), int(row["pipeline_size"])]
                self.assertEqual(row["outcome"], cell["outcome"])
                self.assertEqual(row["message"], cell.get("message", ""))
                if row["outcome"] == "done":
                    self.assertAlmostEqual(float(row["samples_per_second"]), cell["samples_per_second"], places=4)
        table = self.text(output)
        self.assertRegex(table, r"\| nodes \| µb 2: p=0 \| p=2 \|\n\|---\|---:\|---:\|\n\| 1 \| [\d.]+ \|  \|\n\| 2 \| [\d.]+ \| [\d.]+ \|\n")
        self.assertIn("- 1 node, pipeline size 2: 2 stages, but 1 node with 1 device\n", table)
        self.assertFalse([name for name in os.listdir(output) if name.endswith(".part")])
        if shutil.which("gnuplot"):
            self.assertIn("the pictures sweep.png and sweep.svg", run.out)
            self.assertIn("not a cluster", self.text(output, "sweep.svg"))

    def test_cell_that_does_not_fit_is_a_result(self):
        output = self.folder_of("memory")
        run = self.sweep(output, "--local", "--nodes", "1,2", "--pipeline-sizes", "0,2", "--momentum", 0.9, "--memory-limit", "610MiB")
        self.assertRegex(run.out, r"cell 1 of 3: .*: out of memory: .*needs [\d.]+ MiB")
        cells = self.cells(output)
        self.assertEqual({key: cell["outcome"] for key, cell in cells.items()},
                         {(1, 0): "out of memory", (1, 2): "empty", (2, 0): "out of memory", (2, 2): "done"})
        self.assertNotIn("efficiency", cells[2, 2])
        self.assertRegex(cells[2, 2]["fit"], "^made to fit by: partition by memory; ")  # without --fit, too
        self.assertIn("- 2 nodes, pipeline size 2, micro-batches of 2: made to fit by: partition by memory", self.text(output))
        self.assertIn("None for micro-batches of 2: the cell they refer to, 1 node at pipeline size 0, is out of memory", self.text(output))
        again = self.sweep(output, "--local", "--nodes", "1,2", "--pipeline-sizes", "0,2", "--momentum", 0.9, "--memory-limit", "610MiB")
        self.assertIn("3 of 3 cells are already in", again.out)
        self.assertEqual(again.error.count("cell "), 0)

    def test_cells_made_to_fit_say_how(self):
        output = self.folder_of("fit")
        # One device alone fits when it computes activations again, two replicas with their sums do not, two stages do as they are.
        self.sweep(output, "--local", "--nodes", "1,2", "--pipeline-sizes", "0,2", "--micro-batches", 64, "--image-size", 127, "--fit",
                   "--momentum", 0.9, "--memory-limit", "880MiB", steps=2)
        cells = self.cells(output)
        self.assertEqual({key: cell["outcome"] for key, cell in cells.items()},
                         {(1, 0): "done", (1, 2): "empty", (2, 0): "out of memory", (2, 2): "done"})
        self.assertRegex(cells[1, 0]["fit"], "^made to fit by: ")
        self.assertNotIn("fit", cells[2, 2])
        self.assertNotIn("fits without changes", self.text(output))
        self.assertRegex(cells[2, 0]["message"], "more than the limit of 880.0 MiB: this is the closest plan that was found")
        self.assertIn("- 1 node, pipeline size 0, micro-batches of 64: made to fit by: ", self.text(output))
        self.assertLess(cells[1, 0]["memory_bytes"], 880 << 20)

    def test_memory_that_another_job_holds_is_no_result(self):
        output = self.folder_of("others")
        daemons = self.start_daemons(1, "--memory-limit", "1200MiB")
        hostfile = self.hostfile(daemons)
        other = self.begin_train("-H", hostfile, "--steps", 1000000, "--image-size", 63, "--micro-batch-size", 2, "--momentum", 0.9)
        harness.wait_until(lambda: daemons[0].used_bytes() > 0, 30, "the other job")
        more = ["-H", hostfile, "--nodes", 1, "--pipeline-sizes", 0, "--momentum", 0.9]
        run = self.sweep(output, *more, code=1)
        cell = self.cells(output)[1, 0]
        self.assertEqual(cell["outcome"], "failed", cell)
        self.assertRegex(cell["message"], rf"^other jobs run on the cell's nodes: alexnet-{other.process.pid} holds [\d.]+ MiB on {daemons[0].address}; .*needs")
        self.assertIn(": failed: other jobs run", run.out)
        other.process.send_signal(signal.SIGINT)
        other.finish(30)
        daemons[0].wait_until_free(20)
        self.sweep(output, *more)
        self.assertEqual(self.cells(output)[1, 0]["outcome"], "done")

    def test_without_gnuplot_tables_are_written(self):
        output = self.folder_of("no_gnuplot")
        environment = {**os.environ, "PATH": "/nowhere"}
        arguments = [str(word) for word in self.arguments(output, "--local", "--nodes", 1, "--pipeline-sizes", 0)]
        run = subprocess.run([harness.PENSTOCK, *arguments], capture_output=True, text=True, timeout=60 * harness.PATIENCE,
                             env=environment)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(run.stderr.count("gnuplot is not in PATH; install gnuplot-nox"), 1)
        self.assertEqual(sorted(os.listdir(output)), ["sweep.csv", "sweep.gp", "sweep.json", "sweep.md"])

    def begin_sweep(self, output, *more, steps):
        return self.begin(*self.arguments(output, *more, steps=steps))

    def wait_for_outcome(self, output, key, outcome):
        def is_there():
            try:
                return self.cells(output)[key]["outcome"] == outcome
            except FileNotFoundError:
                return False

        harness.wait_until(is_there, 60, f"cell {key} is {outcome}")

    def test_killed_sweep_loses_the_running_cell_alone(self):
        output = self.folder_of("killed")
        more = ["--local", 2, "--nodes", "1,2", "--pipeline-sizes", "0,2"]
        run = self.begin_sweep(output, *more, steps=6)
        self.wait_for_outcome(output, (1, 0), "done")
        run.process.kill()
        run.finish()
        first = self.cells(output)[1, 0]
        self.assertEqual(self.cells(output)[2, 2]["outcome"], "missing")
        other = self.penstock(*self.arguments(output, *more, steps=7), code=2)
        self.assertRegex(other.error, r"penstock: .*sweep.json: was made with other settings: steps is 7 now, and was 6; continue with those, or name another --output\n")
        again = self.sweep(output, *more, steps=6)
        self.assertRegex(again.out, r"\A(1 of 3 cells is|2 of 3 cells are) already in .*sweep.json and (is|are) kept\n")
        self.assertNotIn("cell 1 of 3", again.error)
        cells = self.cells(output)
        self.assertEqual(cells[1, 0], first)
        self.assertEqual(cells[2, 0]["outcome"], "done")
        self.assertEqual(cells[2, 2]["outcome"], "done")
        # More cells may be asked for, fewer not.
        more[3] = "2"
        self.assertIn("has a result for 1 node", self.penstock(*self.arguments(output, *more, steps=6), code=2).error)

    def test_interrupted_sweep_records_nothing_half(self):
        output = self.folder_of("interrupted")
        run = self.begin_sweep(output, "--local", "--nodes", "1", "--pipeline-sizes", "0", "--steps", 100000, steps=3)
        self.assertIn("cell 1 of 1", run.process.stderr.readline())  # it has begun
        run.process.send_signal(signal.SIGINT)
        run.finish(20)
        self.assertEqual(run.code, 1)
        self.assertIn("interrupted in cell 1 of 1: 1 node, pipeline size 0, micro-batches of 2, which is not recorded", run.error)
        self.assertEqual(self.cells(output)[1, 0]["outcome"], "missing")

    def test_interrupt_after_a_cells_last_step_keeps_the_cell(self):
        """The signal comes with the sweep's first Describe, by which it waits for the daemon to let go of the cell that is over."""
        output = self.folder_of("late")
        daemon = self.start_daemons(1)[0]
        runs = []

        def on_data(data):
            if runs and b"/Describe" in data:
                runs.pop().process.send_signal(signal.SIGINT)
                is_pending = lambda: any(int(line.split()[1], 16) >> signal.SIGINT - 1 & 1
                                         for line in open(f"/proc/{run.process.pid}/status") if line.startswith(("SigPnd", "ShdPnd")))
                harness.wait_until(lambda: not is_pending(), 10, "the signal")

        hostfile = self.path("late_hosts")
        with open(hostfile, "w") as file:
            file.write(f"{forward(daemon.address, on_data)} slots=1\n")
        run = self.begin_sweep(output, "-H", hostfile, "--nodes", 1, "--pipeline-sizes", "0,1", steps=3)
        runs.append(run)
        run.finish(60)
        self.assertEqual(runs, [])
        self.assertEqual(run.code, 1, run.error)
        self.assertIn("interrupted before cell 2 of 2: 1 node, pipeline size 1, micro-batches of 2; the same command continues", run.error)
        self.assertEqual([cell["outcome"] for cell in self.cells(output).values()], ["done", "missing"])

    def test_failed_cell_is_recorded_and_the_sweep_goes_on(self):
        output = self.folder_of("lost")
        daemons = self.start_daemons(2)
        hostfile = self.hostfile(daemons)
        more = ["-H", hostfile, "--nodes", "2,1", "--pipeline-sizes", "2,0"]
        run = self.begin_sweep(output, *more, steps=8)
        harness.wait_until(lambda: daemons[1].used_bytes() > 0, 30, "the first cell")
        daemons[1].may_end = True
        daemons[1].kill()
        run.finish(60)
        self.assertEqual(run.code, 4, run.error)
        cells = self.cells(output)
        self.assertEqual({key: cell["outcome"] for key, cell in cells.items()},
                         {(2, 2): "failed", (2, 0): "failed", (1, 2): "empty", (1, 0): "done"})
        self.assertIn(daemons[1].address, cells[2, 2]["message"])
        self.assertIn("| 2 | failed | failed |", self.text(output))
        # It is back: the failed cells are run, and nothing else.
        self.daemons.append(harness.Daemon(self.folder, "--listen", daemons[1].address))
        again = self.sweep(output, *more, steps=8)
        self.assertIn("1 of 3 cells is already in", again.out)
        self.assertEqual(again.error.count("cell "), 2)
        self.assertTrue(all(cell["outcome"] in ("done", "empty") for cell in self.cells(output).values()))

    def test_lost_node_that_comes_back_is_a_failed_cell(self):
        output = self.folder_of("back")
        daemon = self.start_daemons(1)[0]
        run = self.begin_sweep(output, "-H", self.hostfile([daemon]), "--nodes", 1, "--pipeline-sizes", "0,1", steps=8)
        harness.wait_until(lambda: daemon.used_bytes() > 0, 30, "the first cell")
        daemon.may_end = True
        daemon.kill()
        self.daemons.append(harness.Daemon(self.folder, "--listen", daemon.address))
        run.finish(60)
        self.assertEqual(run.code, 1, run.error)
        self.assertEqual([cell["outcome"] for cell in self.cells(output).values()], ["failed", "done"])

    def test_two_sweeps_into_one_folder_are_refused(self):
        output = self.folder_of("shared")
        first = self.begin_sweep(output, "--local", "--nodes", "1", "--pipeline-sizes", "0", "--steps", 100000, steps=3)
        harness.wait_until(lambda: os.path.exists(os.path.join(output, "sweep.gp")), 20, "the first files")
        self.refuse(2, r"--output: .*shared: process \d+ is writing it", *self.arguments(output, "--local"))
        first.process.send_signal(signal.SIGTERM)
        first.finish(20)


if __name__ == "__main__":
    harness.main()
