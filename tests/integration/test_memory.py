"""Memory limits from the command line: the plan's figures against what daemons count, and plans that are made to fit train to the same
bits. Run by ctest."""

import json
import os

import harness

SMALL = ["--model", "alexnet", "--image-size", 64, "--dropout", 0.5, "--momentum", 0.9, "--micro-batch-size", 16,
         "--gradient-accumulation-steps", 4, "--lr", 0.01]
SCRATCH = 128 << 20  # the most that the CPU's kernels take, which the plan counts on


class Memory(harness.TestCase):
    def plan(self, *arguments, code=0):
        path = os.path.join(self.folder, "plan.json")
        run = self.penstock("plan", *SMALL, *arguments, "--json", path, code=code)
        with open(path) as file:
            return run, [json.loads(line) for line in file]

    def train(self, *arguments):
        path = os.path.join(self.folder, "train.json")
        run = self.penstock("train", *SMALL, "--dataset", self.dataset, "--steps", 3, "--local", 2, "--json", path, *arguments)
        with open(path) as file:
            lines = [json.loads(line) for line in file]
        return run, lines

    def losses(self, lines):
        return [line["loss"] for line in lines if line["type"] == "step"]

    def test_the_plan_is_what_the_daemons_count(self):
        for extra in [], ["--momentum", 0], ["--activation-checkpoint-interval", 4], ["--in-flight", 1], ["--schedule", "gpipe"]:
            with self.subTest(extra=extra):
                [plan] = self.plan("-p", 2, *extra)[1]
                summary = self.train(*extra)[1][-1]
                for planned, counted in zip(plan["stages"], summary["stages"]):
                    self.assertLessEqual(counted["memory_bytes"], planned["memory_bytes"] * 1.005)
                    self.assertLessEqual(planned["memory_bytes"] - SCRATCH, counted["memory_bytes"] * 1.005)

    def test_what_does_not_fit_is_made_to_and_trains_to_the_same_bits(self):
        free = self.plan("-p", 2)[1][0]
        limit = max(stage["memory_bytes"] for stage in free["stages"]) - (1 << 20)
        run, _ = self.plan("-p", 2, "--split", free["stages"][1]["first_layer"], "--memory-limit", limit, code=3)
        self.assertRegex(run.error, r"stage \d needs .* more than the limit of .*: use --fit")
        self.assertRegex(run.out, r"no, by 1024.0 KiB|no, by 1.0 MiB")
        found = self.plan("-p", 2, "--memory-limit", limit, "--fit")[1][0]
        self.assertTrue(found["fits"])
        self.assertRegex(found["how"], r"^made to fit by: ")
        unlimited = self.train()[1]
        run, limited = self.train("--memory-limit", limit, "--fit")
        self.assertIn(found["how"], run.error.replace("\n", " "))
        self.assertEqual(self.losses(limited), self.losses(unlimited))
        self.assertEqual(len(self.losses(limited)), 3)
        for switch in ["--in-flight", 1], ["--partition-method", "memory"], ["--activation-checkpoint-interval", 3]:
            self.assertEqual(self.losses(self.train(*switch)[1]), self.losses(unlimited), switch)

    def test_what_cannot_fit_ends_with_code_3_and_says_by_how_much(self):
        words = r"stage \d needs .* more than the limit of 10.0 MiB: this is the closest plan that was found"
        self.assertRegex(self.plan("-p", 2, "--memory-limit", "10MiB", "--fit", code=3)[0].error, words)
        run = self.penstock("train", *SMALL, "--dataset", self.dataset, "--local", 2, "--memory-limit", "10MiB", "--fit", code=3)
        self.assertRegex(run.error, words)

    def test_cells_are_planned_one_by_one(self):
        path = os.path.join(self.folder, "cells.json")
        run = self.penstock("plan", "--model", "vgg16", "--image-size", 512, "--memory-limit", "16GiB", "--fit", "--nodes",
                            "1,4,8", "--pipeline-sizes", "0,2,4,8", "--micro-batches", "32,8", "--json", path)
        with open(path) as file:
            cells = [json.loads(line) for line in file]
        self.assertEqual(run.out.count("empty: "), 8)
        self.assertEqual([(c["micro_batch_size"], c["nodes"], c["pipeline_size"], c["data_parallel_size"]) for c in cells[:8]],
                         [(32, 1, 1, 1), (32, 4, 1, 4), (32, 4, 2, 2), (32, 4, 4, 1), (32, 8, 1, 8), (32, 8, 2, 4), (32, 8, 4, 2),
                          (32, 8, 8, 1)])
        self.assertTrue(all(cell["fits"] for cell in cells))
        self.assertTrue(all(cell["micro_batches"] == 4 for cell in cells))

    def test_cells_have_the_files_micro_batches(self):
        config = self.path("ds_config.json")
        with open(config, "w") as file:
            json.dump({"gradient_accumulation_steps": 3, "zero_optimization": {"stage": 0}, "no_such_key": 1}, file)
        path = self.path("cells.json")
        words = ["plan", "--deepspeed-config", config, "--nodes", "1,2", "--pipeline-sizes", "0", "--micro-batches", "8", "--json", path]
        for more, expected in ([], 3), (["--gradient-accumulation-steps", 5], 5):
            run = self.penstock(*words, *more)
            with open(path) as file:
                self.assertEqual([json.loads(line)["micro_batches"] for line in file], [expected] * 2)
            self.assertEqual(run.error.count("ignored keys: "), 1, run.error)  # once, and not for each cell
            self.assertIn("no_such_key", run.error)

    def test_bad_input_is_refused(self):
        for words, arguments in [
            ("--fit needs --memory-limit", ["--fit"]),
            ("--in-flight: \"0\"", ["--in-flight", 0]),
            ("use --schedule 1f1b", ["-p", 2, "--schedule", "gpipe", "--in-flight", 2]),
            ('--plan-device: "tpu" is not cpu or cuda', ["--plan-device", "tpu"]),
            ("a list needs --pipeline-sizes", ["--nodes", "1,2"]),
        ]:
            self.assertIn(words, self.penstock("plan", *SMALL, *arguments, code=2).error)
        run = self.penstock("plan", "--pipeline-sizes", "0,2", code=2)
        self.assertIn("cells need both lists", run.error)
        run = self.penstock("train", *SMALL, "--pipeline-sizes", "0,2", code=2)
        self.assertIn("--pipeline-sizes is not an option of penstock train: only penstock plan and penstock sweep have cells", run.error)
        run = self.penstock("plan", "--micro-batch-size", 4, "--pipeline-sizes", "0", "--micro-batches", "4", code=2)
        self.assertIn("--micro-batch-size cannot be combined with", run.error)


if __name__ == "__main__":
    harness.main()
