"""AlexNet at pipeline size 2 learns the synthetic set: over 90 % of the training samples within three minutes."""

import time

import harness


class Learning(harness.TestCase):
    images = 2000

    def test_alexnet_passes_90_percent_within_3_minutes(self):
        path = self.path("steps.json")
        begin = time.monotonic()
        self.penstock("train", "--dataset", self.dataset, "--local", 2, "-p", 2, "--image-size", 63, "--optimizer", "Adam",
                      "--lr", 2e-4, "--micro-batch-size", 8, "--gradient-accumulation-steps", 4, "--steps", 280, "--json", path,
                      seconds=400)
        seconds = time.monotonic() - begin
        steps = [line for line in harness.read_json_lines(path) if line["type"] == "step"]
        accuracy = sum(step["accuracy"] for step in steps[-20:]) / 20
        print(f"accuracy of the last 20 steps {accuracy:.3f} after {len(steps)} steps, {seconds:.0f} s")
        self.assertGreater(accuracy, 0.9)
        self.assertLess(seconds, 180 * harness.PATIENCE)


if __name__ == "__main__":
    harness.main()
