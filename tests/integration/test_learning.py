"""AlexNet at pipeline size 2 learns the synthetic set: over 90 % of the training samples within 280 steps."""

import harness


class Learning(harness.TestCase):
    images = 2000

    def test_alexnet_passes_90_percent_within_280_steps(self):
        path = self.path("steps.json")
        self.penstock("train", "--dataset", self.dataset, "--local", 2, "-p", 2, "--image-size", 63, "--optimizer", "Adam",
                      "--lr", 2e-4, "--micro-batch-size", 8, "--gradient-accumulation-steps", 4, "--steps", 280, "--json", path,
                      seconds=800)  # on a quiet machine a tenth of that
        steps = [line for line in harness.read_json_lines(path) if line["type"] == "step"]
        seconds = 0
        for i, step in enumerate(steps):
            seconds += step["step_seconds"]
            last = steps[max(0, i - 19):i + 1]
            accuracy = sum(s["accuracy"] for s in last) / 20
            if accuracy > 0.9:
                print(f"{accuracy:.3f} of the samples of 20 steps were right after {i + 1} steps, {seconds:.0f} s")
                return
        self.fail(f"{accuracy:.3f} of the samples of the last 20 steps were right, after {seconds:.0f} s")


if __name__ == "__main__":
    harness.main()
