"""The daemon with its CUDA device, on the stand-in for CUDA that needs no GPU (tests/cuda_stand_in): jobs, slots, types, limits. That
a GPU takes the same calls, and how fast, only tests/gpu can show."""

import os

import harness

CPU_DAEMON = os.environ["PENSTOCKD_CPU"]
# Nothing is timed where nothing can be remembered: the stand-in's times mean nothing.
CUDA = ["--device", "cuda:0", "--tuning-file", "/dev/null/none"]


class CudaStandIn(harness.TestCase):
    small = ["--image-size", 63, "--micro-batch-size", 2, "--gradient-accumulation-steps", 2, "--lr", 0.01, "--steps", 2]

    def start(self, slots=1, *options):
        [daemon] = self.start_daemons(1, *slots * CUDA[:2], *CUDA[2:], *options)
        return daemon

    def steps(self, *arguments):
        path = self.path("steps.json")
        self.train("--json", path, *arguments)
        return [line for line in harness.read_json_lines(path) if line["type"] == "step"]

    def test_losses_are_the_cpu_devices_and_do_not_depend_on_the_cut(self):
        daemon = self.start(2)
        together = self.hostfile([daemon], slots=2)
        reference = self.losses("-H", self.hostfile([daemon]), "-p", 1)
        self.assertEqual(self.losses("-H", together, "-p", 2), reference)  # handed over on the device
        self.assertEqual(self.losses("-H", self.hostfile([self.start(), self.start()]), "-p", 2), reference)  # by gRPC
        options = ["-p", 2, "--activation-checkpoint-interval", 3, "--schedule", "gpipe"]
        self.assertEqual(self.losses("-H", together, *options), reference)
        daemon.wait_until_free(10)
        cpu = self.losses("-H", self.hostfile(self.start_daemons(1, program=CPU_DAEMON)), "-p", 1)
        for ours, theirs in zip(reference, cpu):
            self.assertAlmostEqual(ours, theirs, delta=1e-4 * theirs)

    def test_narrow_types_learn_what_float32_learns(self):
        daemon = self.start(2)
        one, two = self.hostfile([daemon]), self.hostfile([daemon], slots=2)
        wide = self.losses("-H", one, "-p", 1)
        for precision in "bf16", "fp16":
            steps = self.steps("-H", two, "-p", 2, "--precision", precision)
            self.assertEqual(steps[0]["loss"], self.steps("-H", one, "-p", 1, "--precision", precision)[0]["loss"])
            for step, loss in zip(steps, wide):
                self.assertAlmostEqual(step["loss"], loss, delta=0.02 * loss)
        self.assertEqual([(step["loss_scale"], step["skipped"]) for step in steps], [(65536, False)] * 2)

    def test_what_does_not_fit_is_refused_with_the_numbers(self):
        hostfile = self.hostfile([self.start(1, "--memory-limit", "300MiB")])
        run = self.train("-H", hostfile, code=3)
        self.assertRegex(run.error, r"the stage needs [\d.]+ MiB \(\d+ bytes\), and 300\.0 MiB of the device's limit of 300\.0 MiB are free")

    def test_a_scrape_tells_what_the_device_says(self):
        metrics = self.start().metrics()
        for name in "memory_used_bytes", "memory_free_bytes", "utilisation_ratio", "temperature_celsius":
            self.assertIn(f'penstock_device_{name}{{device="cuda:0"}}', metrics)
        self.assertNotIn('penstock_device_power_watts{device="cuda:0"}', metrics)  # this NVML does not know it
        self.assertEqual(metrics['penstock_memory_used_bytes{device="cuda:0"}'], 0)


if __name__ == "__main__":
    harness.main()
