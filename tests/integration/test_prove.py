"""penstock prove: a pipeline against one device, to the bit; against a file of parameters; and that it says where two trainings differ.
tests/property has networks, cuts and replicas of all kinds."""

import os
import struct

import harness


class Prove(harness.TestCase):
    net = ["--image-size", 63, "--micro-batch-size", 2, "--gradient-accumulation-steps", 3, "--lr", 0.05, "--steps", 2]

    def prove(self, *arguments, **how):
        return self.penstock("prove", "--dataset", self.dataset, *self.net, *arguments, **how)

    def lines(self, path):
        lines = harness.read_json_lines(path)
        self.assertEqual([line["type"] for line in lines[:4]], ["proof", "step", "step", "verdict" if len(lines) == 4 else "against"])
        self.assertEqual(lines[-1]["type"], "verdict")
        return lines

    # Training without clipping reports no norms; a proof asks for them. Neither changes a bit of the other.
    def test_a_pipeline_is_one_device_and_what_train_trains(self):
        saved, steps, proof = self.path("saved.safetensors"), self.path("steps.json"), self.path("proof.json")
        daemons = self.start_daemons(3)
        hostfile = self.hostfile(daemons)
        self.penstock("train", "--dataset", self.dataset, *self.net, "-H", hostfile, "--nodes", 1, "--save", saved, "--json", steps)
        losses = [line["loss"] for line in harness.read_json_lines(steps) if line["type"] == "step"]
        run = self.prove("-H", hostfile, "--split", "1,8", "--schedule", "gpipe", "--activation-checkpoint-interval", 3,
                         "--against", saved, "--against-relative", 0, "--json", proof)
        self.assertIn("compared bit for bit: 2 losses, 2 gradient norms, 32 norms of single gradients,\n"
                      "16 final parameters with 57044810 elements\n"
                      "EQUAL: the pipeline trained exactly what one device trains\n", run.out)
        self.assertIn(f"stage 2, layers 8-21: {daemons[2].address}\n", run.out)
        self.assertIn("of which 0 differ\nAGREES: 16 of 16 parameters", run.out)
        lines = self.lines(proof)
        self.assertEqual([line["loss"] for line in lines[1:3]], losses)
        self.assertTrue(all(line["gradient_norm"] > 0 for line in lines[1:3]))
        self.assertTrue(lines[-1]["equal"] and lines[-1]["agrees"])
        for daemon in daemons:
            daemon.wait_until_free(5)

        # A file that differs in one bit of one element, and one that lacks tensors.
        with open(saved, "r+b") as file:
            (header,) = struct.unpack("<Q", file.read(8))
            file.seek(8 + header + 4 * 17)
            value = file.read(4)
            file.seek(-4, os.SEEK_CUR)
            file.write(bytes([value[0] ^ 1]) + value[1:])
        run = self.prove("-H", hostfile, "--against", saved, "--against-relative", 0, "--json", "-", code=1)
        self.assertIn("DISAGREES: 15 of 16 parameters", run.error)
        self.assertIn("features.0.weight[0, 0, 1, 6]: ", run.error)
        self.assertRegex(run.out, r'"type":"verdict","equal":true,.*"agrees":false}\n\Z')
        run = self.prove("-H", hostfile, "--against", saved, "--model", "vgg11", code=2)
        self.assertRegex(run.error, r"not in the file: features.11.weight, .*; of another shape.*: features.0.weight is "
                                    r"\(64, 3, 11, 11\), the model has \(64, 3, 3, 3\)")

    def test_a_file_that_has_no_parameters_says_what_is_expected(self):
        for text in '{"type": "plan"}\n{"type": "step"}\n', '{"parameters": [1, 2, 3]}', "[1, 2, 3, 4, 5, 6]", "{}":
            with self.subTest(text=text):
                path = self.path("foreign.json")
                with open(path, "w") as file:
                    file.write(text)
                run = self.prove("--local", 1, "--against", path, code=2)
                self.assertRegex(run.error, "--against: .*foreign.json: is JSON.*: expected a .safetensors file, as penstock train --save")

    # A real difference, and the only one that is by design.
    def test_what_narrow_boundaries_change_is_found(self):
        proof = self.path("proof.json")
        run = self.prove("--local", 2, "--threads", 1, "--communication-data-type", "bf16", "--json", proof, code=1)
        self.assertIn("DIFFERENT: the pipeline did not train what one device trains", run.out)
        self.assertRegex(run.out, r"the first difference is in step 0: the loss\n  one device +\S+ +0x[0-9a-f]{16}\n"
                                  r"  pipeline +\S+ +0x[0-9a-f]{16}  \d+ ULP apart\n")
        self.assertRegex(run.out, r"final parameters: \d+ of 16 differ, in \d+ of 57044810 elements; the first is\nfeatures.0.weight\[")
        self.assertIn("this is by design", run.out)
        verdict = self.lines(proof)[-1]
        self.assertFalse(verdict["equal"])
        self.assertEqual((verdict["first_difference"]["kind"], verdict["first_difference"]["step"]), ("loss", 0))
        self.assertEqual(len(verdict["first_parameter_difference"]["bits"]), 10)

    def test_what_is_not_for_it_is_refused(self):
        for option in "--save", "--metrics-listen":
            self.assertIn("it applies only to penstock train", self.prove("--local", 1, option, "x", code=2).error)
        self.assertIn("it applies only to penstock prove", self.train("--local", 1, "--against", "x", code=2).error)


if __name__ == "__main__":
    harness.main()
