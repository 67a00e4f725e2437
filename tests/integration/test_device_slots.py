"""One daemon with several device slots: neighbouring stages hand their tensors over, and all that a job can ask of a device (narrow
boundaries, checkpoints) gives the same bits there as over the network."""

import harness

CPU = ["--device", "cpu"]


class DeviceSlots(harness.TestCase):
    def test_stages_of_one_daemon_give_the_same_bits(self):
        apart = self.hostfile(self.start_daemons(2))
        [daemon] = self.start_daemons(1, *4 * CPU)
        mixed = self.hostfile([daemon, *self.start_daemons(1, *2 * CPU)], slots=2)
        reference = self.losses("-H", apart, "-p", 2, "--steps", 4)
        for schedule in "gpipe", "1f1b":
            for size in 1, 2, 4:
                with self.subTest(schedule=schedule, size=size):
                    together = self.hostfile([daemon], slots=size)
                    self.assertEqual(self.losses("-H", together, "--steps", 4, "--schedule", schedule), reference)
        self.assertEqual(self.losses("-H", mixed, "-p", 4, "--steps", 4), reference)
        daemon.wait_until_free(5)

    def test_checkpointed_activations_give_the_same_bits(self):
        hostfile = self.hostfile(self.start_daemons(2))
        reference = self.losses("-H", hostfile, "--steps", 3, "--schedule", "gpipe")
        for interval in 1, 3, 6, 100:
            options = ["-H", hostfile, "--steps", 3, "--schedule", "gpipe", "--activation-checkpoint-interval", interval]
            self.assertEqual(self.losses(*options), reference)

    def test_narrow_boundaries_are_the_same_over_the_network_and_inside_a_daemon(self):
        [daemon] = self.start_daemons(1, *2 * CPU)
        apart, together = self.hostfile(self.start_daemons(2)), self.hostfile([daemon], slots=2)
        wide = self.losses("-H", apart, "--steps", 3)
        for type in "bf16", "fp16":
            narrow = self.losses("-H", apart, "--steps", 3, "--communication-data-type", type)
            self.assertEqual(self.losses("-H", together, "--steps", 3, "--communication-data-type", type), narrow)
            self.assertNotEqual(narrow, wide)
            for ours, theirs in zip(narrow, wide):
                self.assertAlmostEqual(ours, theirs, delta=0.02)

    def test_more_slots_than_devices_are_refused(self):
        daemons = self.start_daemons(1)
        run = self.train("-H", self.hostfile(daemons, slots=2), "-p", 2, "--steps", 1, code=2)
        self.assertIn("uses device slot 1, but this daemon has 1", run.error)
        self.train("-H", self.hostfile(daemons), "-p", 1, "--steps", 1)

    def test_types_that_the_device_cannot_compute_in_are_refused(self):
        hostfile = self.hostfile(self.start_daemons(1))
        for precision, name in ("bf16", "bfloat16"), ("fp16", "float16"):
            run = self.train("-H", hostfile, "--steps", 1, "--precision", precision, code=2)
            self.assertIn(f"the device cpu computes in float32, not in {name}: use --precision fp32, or a daemon with a GPU", run.error)
        self.train("-H", hostfile, "--steps", 1, "--precision", "tf32")

    def test_a_killed_coordinator_frees_all_slots(self):
        [daemon] = self.start_daemons(1, *3 * CPU)
        hostfile = self.hostfile([daemon], slots=3)
        path = self.path("killed.json")
        run = self.begin_train("-H", hostfile, "-p", 3, "--steps", 100000, "--json", path)
        self.wait_for_steps(path)
        run.process.kill()
        daemon.wait_until_free(20)
        self.train("-H", hostfile, "-p", 3, "--steps", 2)


if __name__ == "__main__":
    harness.main()
