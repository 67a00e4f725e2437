"""Training end to end: over TCP and over --local, whatever the pipeline size, the schedule or the link, the losses are the
same to the bit; parameters are saved and loaded; results are written."""

import fcntl
import io
import json
import math
import os
import struct
import subprocess
import tarfile
import tempfile
import unittest.mock

import harness


def pickle_of(records):
    """A file of the binary version as a pickle with the opcodes of the published version for Python."""
    images = [records[at + 1:at + 3073] for at in range(0, len(records), 3073)]
    labels = b"".join(b"K" + records[at:at + 1] for at in range(0, len(records), 3073))
    pixels = b"".join(images)
    return (b"\x80\x02}q\x01(U\x06labelsq\x04]q\x05(" + labels + b"eU\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08"
            b"K\x00\x85U\x01b\x87Rq\x09(K\x01M" + struct.pack("<H", len(images)) + b"M\x00\x0c\x86cnumpy\ndtype\nq\x0aU\x02u1K\x00K\x01\x87Rq\x0b(K\x03"
            b"U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(pixels)) + pixels + b"tbu.")


def read_tensors(path):
    """{name: bytes} of a safetensors file."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header, data = json.loads(file.read(length)), file.read()
    return {name: data[slice(*tensor["data_offsets"])] for name, tensor in header.items() if name != "__metadata__"}


def poison(path, into, tensor, value=math.nan):
    """A copy of a safetensors file in which the first value of a tensor is another."""
    with open(path, "rb") as file:
        content = bytearray(file.read())
    length = int.from_bytes(content[:8], "little")
    begin = 8 + length + json.loads(content[8:8 + length])[tensor]["data_offsets"][0]
    content[begin:begin + 4] = struct.pack("<f", value)
    with open(into, "wb") as file:
        file.write(content)


class Train(harness.TestCase):
    def test_losses_do_not_depend_on_pipeline_size_or_schedule(self):
        daemons = self.start_daemons(4)
        hostfile = self.hostfile(daemons)
        reference = self.losses("-H", hostfile, "--nodes", 1, "--steps", 4)
        self.assertEqual(len(reference), 4)
        self.assertEqual(len(set(reference)), 4)  # something is learned, or at least moves
        for schedule in "gpipe", "1f1b":
            for size in 1, 2, 3, 4:
                with self.subTest(schedule=schedule, size=size):
                    losses = self.losses("-H", hostfile, "--nodes", size, "--steps", 4, "--schedule", schedule)
                    self.assertEqual(losses, reference)
        for daemon in daemons:
            daemon.wait_until_free(5)

    def test_losses_do_not_depend_on_links_and_partition(self):
        reference = self.losses("--local", 1, "--threads", 1, "--steps", 3)
        self.assertEqual(self.losses("--local", 2, "--threads", 1, "--steps", 3, "--connections", 3, "--chunk-size", "4KiB"), reference)
        self.assertEqual(self.losses("--local", 3, "--threads", 1, "--steps", 3, "--split", "3,8"), reference)
        self.assertEqual(self.losses("--local", 3, "--threads", 1, "--steps", 3, "--partition-method", "type:linear"), reference)

    def test_archive_of_the_version_for_python_trains_the_same(self):
        path, archive = self.path("steps.json"), self.path("cifar-10-python.tar.gz")
        with tarfile.open(archive, "w:gz") as file:
            for number in 4, 1, 5, 2, 3:  # the published one is not in order, either
                with open(os.path.join(self.dataset, f"data_batch_{number}.bin"), "rb") as batch:
                    data = pickle_of(batch.read())
                member = tarfile.TarInfo(f"cifar-10-batches-py/data_batch_{number}")
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))
        expected = self.losses("--local", 1, "--threads", 1, "--steps", 1, "--mean", "0.5,0.25,0.125")
        run = self.penstock("train", "--dataset", archive, *self.small, "--local", 1, "--threads", 1, "--steps", 1, "--json", path,
                            "--mean", "0.5,0.25,0.125")
        lines = harness.read_json_lines(path)
        self.assertEqual([line["loss"] for line in lines if line["type"] == "step"], expected)
        self.assertNotEqual(self.losses("--local", 1, "--threads", 1, "--steps", 1), expected)  # ImageNet's mean
        self.assertRegex(run.error, r"^CIFAR-10 \(archive\): 300 images of 3 x 32 x 32, 10 classes; validation:\ntest_batch\n"
                         r"images resized to 63 x 63;\nnormalised by mean 0.5,0.25,0.125 and std 0.229,0.224,0.225\n")
        self.assertEqual((lines[0]["mean"], lines[0]["standard_deviation"]), ([0.5, 0.25, 0.125], [0.229, 0.224, 0.225]))

    def test_clipping_norm_is_over_all_stages(self):
        config = self.path("clip.json")
        with open(config, "w") as file:
            json.dump({"gradient_clipping": 0.05, "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 4,
                       "optimizer": {"type": "SGD", "params": {"lr": 0.05, "momentum": 0.9}}}, file)
        options = ["--image-size", 63, "--deepspeed-config", config, "--steps", 4, "--dataset", self.dataset]
        runs = []
        for size in 1, 3:
            path = self.path("clip-steps.json")
            self.penstock("train", *options, "--local", size, "--threads", 1, "--json", path)
            steps = [line for line in harness.read_json_lines(path) if line["type"] == "step"]
            runs.append([(step["loss"], step["gradient_norm"]) for step in steps])
        self.assertEqual(runs[0], runs[1])
        self.assertTrue(all(norm > 0.05 for _, norm in runs[0]))

    def test_training_that_diverged_ends_and_saves_nothing(self):
        good, poisoned, target, file = (self.path(name) for name in ("g.safetensors", "p.safetensors", "t.safetensors", "d.json"))
        self.train("--local", 1, "--steps", 1, "--save", good)
        poison(good, poisoned, "features.0.weight")
        with open(target, "wb") as earlier:
            earlier.write(b"earlier")
        options = ["--local", 2, "--threads", 1, "--steps", 3, "--load", poisoned, "--save", target, "--json", file]
        result = self.train(*options, code=1)
        self.assertIn("penstock: step 0: training diverged: the loss is nan, the learning rate 0.0", result.error)
        self.assertIn("training diverged at step 0", result.error)
        lines = harness.read_json_lines(file)
        self.assertEqual([(line["loss"], line["diverged"]) for line in lines if line["type"] == "step"], [(None, True)])
        self.assertEqual((lines[-1]["done"], lines[-1]["diverged_step"]), (False, 0))
        with open(target, "rb") as earlier:
            self.assertEqual(earlier.read(), b"earlier")
        # Told to, it goes on, tells the step where it began, and saves.
        result = self.train(*options, "--no-stop-on-nan")
        self.assertEqual(result.error.count("training diverged"), 1)
        lines = harness.read_json_lines(file)
        self.assertEqual([line["loss"] for line in lines if line["type"] == "step"], [None] * 3)
        self.assertEqual((lines[-1]["done"], lines[-1]["diverged_step"]), (True, 0))
        self.assertEqual(read_tensors(target).keys(), read_tensors(good).keys())
        # The loss of the last step is finite, and its update is not: such parameters replace no file either.
        poison(good, poisoned, "features.0.bias", -3e38)  # which its ReLU hides
        with open(target, "wb") as earlier:
            earlier.write(b"earlier")
        result = self.train("--local", 2, "--steps", 1, "--weight-decay", 1e9, "--load", poisoned, "--save", target, code=1)
        self.assertIn("features.0.bias has values that are not finite after the last step", result.error)
        with open(target, "rb") as earlier:
            self.assertEqual(earlier.read(), b"earlier")

    def test_saved_parameters_train_on_as_if_never_saved(self):
        saved, again, file = self.path("a.safetensors"), self.path("b.safetensors"), self.path("s.json")
        self.train("--local", 3, "--steps", 2, "--save", saved)
        config = self.path("warmup.json")
        with open(config, "w") as out:
            out.write("scheduler: {type: 'WarmupLR'} // Hjson")
        run = self.train("--local", 2, "--steps", 1, "--load", saved, "--lr", 0, "--save", again, "--json", file, "--deepspeed_config", config)
        self.assertIn(f"--load {saved}: scheduler WarmupLR begins at step 0", run.error)
        with open(saved, "rb") as one, open(again, "rb") as other:
            self.assertEqual(one.read(), other.read())
        self.load_with_another_number_of_classes(saved)

    def load_with_another_number_of_classes(self, saved):
        drawn, loaded = self.path("drawn.safetensors"), self.path("b.safetensors")
        run = self.train("--local", 1, "--classes", 12, "--load", saved, code=2)
        self.assertIn(f"--load {saved}: classifier.6.weight has shape (10, 4096) in the file, (12, 4096) in the model (and 1 more of 16 do "
                      "not fit); with --skip-mismatched, what does not fit is drawn from the seed", run.error)
        self.train("--local", 1, "--classes", 12, "--steps", 1, "--lr", 0, "--save", drawn)
        run = self.train("--local", 2, "--classes", 12, "--steps", 1, "--lr", 0, "--save", loaded, "--load", saved, "--skip-mismatched")
        for name in "classifier.6.weight", "classifier.6.bias":
            self.assertRegex(run.error, rf"--load .*: {name} has shape .*: it is drawn from the seed")
        of_saved, of_drawn, of_loaded = (read_tensors(path) for path in (saved, drawn, loaded))
        for name, data in of_loaded.items():
            self.assertEqual(data, (of_drawn if name.startswith("classifier.6.") else of_saved)[name], name)

    def test_results_for_people_and_programs(self):
        path = self.path("results.json")
        run = self.train("--local", 2, "--steps", 10, "--json", path)
        self.assertRegex(run.out, r"steps: 10 loss: \d+\.\d{4} iter time \(s\): \d+\.\d{3} samples/sec: \d+\.\d{3}\n")
        self.assertIn(" samples/s, measured after 2 steps of warm-up\n", run.out)
        self.assertRegex(run.out, r"busiest \(<\): stage [01] on unix:\S+\n")
        self.assertRegex(run.error, r"step 10/10  loss ")
        lines = harness.read_json_lines(path)
        self.assertEqual([line["type"] for line in lines], ["plan", "numerics"] + ["step"] * 10 + ["summary"])
        self.assertEqual([stage["pipeline_stage"] for stage in lines[0]["stages"]], [0, 1])
        self.assertEqual({step["learning_rate"] for step in lines[2:-1]}, {0.01})  # as --lr has it; the float is 0.009999999776
        self.assertEqual(lines[-1]["steps"], 10)
        self.assertTrue(lines[-1]["done"])
        self.assertGreater(lines[-1]["samples_per_second"], 0)
        crossing = 4 * lines[0]["stages"][0]["output_bytes"]  # 4 micro-batches
        self.assertFalse(lines[1]["machines_differ"])
        self.assertIn("features.3", {kernel["layer"] for stage in lines[1]["stages"] for kernel in stage["kernels"]})
        for line in lines[2:-1]:
            for stage in line["stages"]:
                self.assertEqual((stage["sent_bytes"], stage["received_bytes"]), (crossing, crossing))

    def test_results_that_cannot_be_written_are_said_at_once_and_at_the_end(self):
        run = self.train("--local", 1, "--steps", 3, "--json", "/dev/full", code=1)
        self.assertRegex(run.error, r"--json /dev/full: No space left on device; lines are missing[\s\S]*step 1/3")
        self.assertRegex(run.error, r"could not be written whole: No space left on device\n\Z")

        with open("/dev/full", "w") as full:
            run = subprocess.run([harness.PENSTOCK, "plan"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual((run.returncode, run.stderr), (1, "penstock: standard output could not be written: No space left on device\n"))

    def test_json_dash_is_stdout_and_the_rest_goes_to_stderr(self):
        run = self.train("--local", 1, "--steps", 1, "--json", "-")
        self.assertEqual([json.loads(line)["type"] for line in run.out.splitlines()], ["plan", "numerics", "step", "summary"])
        self.assertIn("1 step in", run.error)
        run = self.penstock("plan", "-p", 2, "--json", "-")
        self.assertEqual(json.loads(run.out)["pipeline_size"], 2)
        self.assertIn("features.0", run.error)
        self.assertFalse(os.path.exists("-"))
        with open("/dev/full", "w") as full:
            run = subprocess.run([harness.PENSTOCK, "plan", "--json", "-"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(run.returncode, 1)
        self.assertIn("--json -: could not be written whole: No space left on device", run.stderr)

    def test_json_of_an_earlier_job_stays_until_daemons_have_answered(self):
        path, saved, linked = self.path("earlier.json"), self.path("same.safetensors"), self.path("same.json")
        with open(path, "w") as file:
            file.write("precious\n")
        self.penstock("train", "--dataset", self.dataset, "--local", 1, "--memory-limit", "10MiB", "--json", path, code=3)
        self.train("--local", 1, "--save", "/proc/nowhere/x", "--json", path, code=2)
        with open(path) as file:
            self.assertEqual(file.read(), "precious\n")
        run = self.train("--local", 1, "--json", saved, "--save", saved, code=2)
        self.assertIn(f"--json {saved} and --save {saved} are the same file: name another", run.error)
        os.symlink(saved, linked)
        self.train("--local", 1, "--json", linked, "--save", saved, code=2)
        self.assertFalse(os.path.exists(saved))
        answers = self.path("same.numerics")
        for option, same in (("--json", answers), ("--save", answers)):
            with open(answers, "w") as file:
                file.write("\n")
            run = self.train("--local", 1, "--numerics", answers, option, same, code=2)
            self.assertIn(f"{option} {same} and --numerics {answers} are the same file: name another", run.error)
            self.assertEqual(os.path.getsize(answers), 1)
        with open(path) as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            run = self.train("--local", 1, "--json", path, code=2)
        self.assertIn(f"--json: {path}: process {os.getpid()} is writing it", run.error)
        self.train("--local", 1, "--steps", 1, "--json", path)
        self.assertEqual([line["type"] for line in harness.read_json_lines(path)], ["plan", "numerics", "step", "summary"])

    def test_file_over_the_size_limit_is_an_error_that_loses_nothing(self):
        saved = self.path("limited.safetensors")
        with open(saved, "w") as file:
            file.write("precious")
        with tempfile.TemporaryDirectory(prefix="pt-") as folder, \
                unittest.mock.patch.dict(os.environ, XDG_RUNTIME_DIR=folder, XDG_CACHE_HOME=folder + "-cache"):
            with harness.limit_file_size(300):  # of the daemon's tuning file and socket, too
                run = self.train("--local", 1, "--steps", 1, "--save", saved, code=1)
                self.assertRegex(run.error, r"--save: .*limited.safetensors: no room for [\d.]+ MiB: File too large")
                run = self.train("--local", 1, "--steps", 1, "--json", self.path("limited.json"), code=1)
                self.assertIn("limited.json: File too large; lines are missing", run.error)
                self.assertIn("step 1/1", run.error)
            self.assertEqual(os.listdir(folder), [])
        with open(saved) as file:
            self.assertEqual(file.read(), "precious")
        self.assertFalse([name for name in os.listdir(self.folder) if "limited.safetensors." in name])

    def test_second_job_that_saves_to_the_same_file_is_refused(self):
        hostfile = self.hostfile(self.start_daemons(1))
        saved, steps = self.path("shared.safetensors"), self.path("shared.json")
        first = self.begin_train("-H", hostfile, "--steps", 4000, "--save", saved, "--json", steps)
        self.wait_for_steps(steps)
        run = self.train("-H", hostfile, "--steps", 1, "--save", saved, code=2)
        self.assertIn(f"--save: {saved}: process {first.process.pid} is writing it", run.error)
        first.process.kill()
        first.process.wait()
        self.train("-H", hostfile, "--steps", 1, "--save", saved)  # what was killed is in nobody's way
        self.assertEqual([name for name in os.listdir(self.folder) if "shared.safetensors" in name], ["shared.safetensors"])

    def test_without_standard_descriptors_nothing_that_is_printed_goes_elsewhere(self):
        path = self.path("closed.json")
        code = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", harness.PENSTOCK, "train", "--dataset", self.dataset,
                               *map(str, self.small), "--local", "1", "--steps", "2", "--json", path, "--metrics-listen", "127.0.0.1:0"],
                              timeout=60 * harness.PATIENCE, check=False).returncode
        self.assertEqual(code, 0)
        self.assertEqual([line["type"] for line in harness.read_json_lines(path)], ["plan", "numerics"] + ["step"] * 2 + ["summary"])

    def test_two_jobs_at_once_on_the_same_daemons(self):
        daemons = self.start_daemons(2)
        hostfile = self.hostfile(daemons)
        alone = self.losses("-H", hostfile, "--steps", 6)
        paths = [self.path("one.json"), self.path("two.json")]
        runs = [self.begin_train("-H", hostfile, "--steps", 6, "--json", path) for path in paths]
        for run, path in zip(runs, paths):
            run.finish()
            self.assertEqual(run.code, 0, run.error)
            self.assertEqual([line["loss"] for line in harness.read_json_lines(path) if line["type"] == "step"], alone)

    def test_plan_and_nodes(self):
        plan = self.penstock("plan", "-p", 3, "--split", "3,8").out
        self.assertIn("features.3 .. features.7", plan)
        daemon = self.start_daemons(1)[0]
        nodes = self.penstock("nodes", "-H", self.hostfile([daemon])).out
        self.assertRegex(nodes, rf"(?m)^{daemon.address} +0 +cpu +1 ")

    def test_local_leaves_nothing_behind(self):
        with tempfile.TemporaryDirectory(prefix="pt-") as folder, unittest.mock.patch.dict(os.environ, XDG_RUNTIME_DIR=folder):
            self.train("--local", 2, "--steps", 1)
            self.assertEqual(os.listdir(folder), [])
            self.penstock("train", "--dataset", self.dataset, "--local", 1, "--memory-limit", "10MiB", code=3)
            self.assertEqual(os.listdir(folder), [])


if __name__ == "__main__":
    harness.main()
