"""Data-parallel replicas of real daemons learn what one replica learns."""

import json

import harness

CPU = ["--device", "cpu"]


class Replicas(harness.TestCase):
    # 24 samples a step.
    small = ["--image-size", 63, "--lr", 0.01, "--train-batch-size", 24]

    def test_losses_and_norms_are_those_of_one_replica(self):
        config = self.path("config.json")
        with open(config, "w") as file:
            json.dump({"gradient_clipping": 0.05, "optimizer": {"type": "SGD", "params": {"momentum": 0.9}}}, file)
        daemons = self.start_daemons(4)
        reference = None
        for nodes, stages, options in (1, 1, []), (2, 0, []), (4, 2, ["--schedule", "gpipe"]), (3, 1, ["--reduce-bucket-size", "1MiB"]):
            with self.subTest(nodes=nodes, stages=stages):
                path = self.path("steps.json")
                self.train("-H", self.hostfile(daemons), "--nodes", nodes, "-p", stages, "--micro-batch-size", 4, "--steps", 3,
                           "--deepspeed-config", config, "--json", path, *options)
                lines = harness.read_json_lines(path)
                self.assertEqual(lines[0]["data_parallel_size"], nodes // max(stages, 1))
                steps = [(line["loss"], line["gradient_norm"]) for line in lines if line["type"] == "step"]
                reference = reference or steps
                self.assertEqual(len(steps), 3)
                for ours, theirs in zip(steps, reference):
                    self.assertAlmostEqual(ours[0], theirs[0], delta=1e-5 * theirs[0])
                    self.assertAlmostEqual(ours[1], theirs[1], delta=1e-4 * theirs[1])
        self.assertEqual(len(set(reference)), 3)
        for daemon in daemons:
            daemon.wait_until_free(5)

    def test_optimizers_and_dropout_are_those_of_one_replica(self):
        hostfile = self.hostfile(self.start_daemons(4))
        for stages, *extra in (0, "--dropout", 0), (2, "--optimizer", "AdamW", "--lr", 1e-3):
            options = ["-H", hostfile, "--micro-batch-size", 2, "--steps", 4, *extra]
            reference = self.losses(*options, "--nodes", 1)
            for ours, theirs in zip(self.losses(*options, "-p", stages), reference, strict=True):
                self.assertAlmostEqual(ours, theirs, delta=1e-5 * theirs)

    def test_the_cut_does_not_show_in_the_bits_of_the_sums(self):
        saved = [self.path(f"{stages}.safetensors") for stages in (1, 2)]
        options = ["--lr", 0.03, "--micro-batch-size", 4, "--steps", 3]
        losses = [self.losses("--local", 3 * stages, "-p", stages, *options, "--save", path) for stages, path in zip((1, 2), saved)]
        self.assertEqual(losses[0], losses[1])
        with open(saved[0], "rb") as one, open(saved[1], "rb") as other:
            self.assertTrue(one.read() == other.read(), "parameters differ")

    def test_replicas_of_one_daemon_give_the_same_bits(self):
        apart = self.hostfile(self.start_daemons(4))
        [daemon] = self.start_daemons(1, *4 * CPU)
        one, other = self.start_daemons(2, *2 * CPU)
        for stages in 0, 2:
            options = ["-p", stages, "--micro-batch-size", 3, "--steps", 3]
            reference = self.losses("-H", apart, *options)
            self.assertEqual(self.losses("-H", self.hostfile([daemon], slots=4), *options), reference)
            self.assertEqual(self.losses("-H", self.hostfile([one, other], slots=2), *options), reference)
        daemon.wait_until_free(5)

    def test_saved_parameters_are_loaded_into_every_replica(self):
        saved, again = self.path("a.safetensors"), self.path("b.safetensors")
        self.train("--local", 2, "-p", 0, "--micro-batch-size", 4, "--steps", 2, "--save", saved)
        one = self.losses("--local", 1, "--micro-batch-size", 4, "--steps", 2, "--load", saved)
        two = self.losses("--local", 2, "-p", 0, "--micro-batch-size", 4, "--steps", 2, "--load", saved)
        for ours, theirs in zip(two, one):
            self.assertAlmostEqual(ours, theirs, delta=1e-5 * theirs)
        self.train("--local", 2, "-p", 0, "--micro-batch-size", 4, "--steps", 1, "--load", saved, "--lr", 0, "--save", again)
        with open(saved, "rb") as before, open(again, "rb") as after:
            self.assertEqual(before.read(), after.read())


if __name__ == "__main__":
    harness.main()
