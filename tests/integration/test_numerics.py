"""Which kernels compute is settled for the whole job: daemons whose own measurements disagree compute alike, and answers that somebody
chose are the ones that are used."""

import json
import os
import random
import unittest.mock

import harness


class Numerics(harness.TestCase):
    # Adam's first steps are as large for small gradients as for large ones, so that a last bit shows in the loss.
    few = ["--gradient-accumulation-steps", 1, "--optimizer", "Adam", "--lr", 0.001, "--steps", 3]

    def cache(self, name):
        """A coordinator's cache folder of its own."""
        return unittest.mock.patch.dict(os.environ, XDG_CACHE_HOME=os.path.join(self.folder, name))

    def answers(self, path):
        with open(path) as file:
            return [json.loads(line) for line in file]

    def times(self, name, answers, place):
        """A daemon's file of times, in which the candidate at `place` of each question is the fastest, and the last one."""
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            for answer in answers:
                candidates = list(answer["candidates"])
                fastest = candidates[place]
                for candidate in [one for one in candidates if one != fastest] + [fastest]:
                    ns = 1 if candidate == fastest else 10**9
                    file.write(f"{answer['machine']}/{answer['question']}\t{candidate}\t{ns}\n")
        return path

    def test_daemons_whose_times_disagree_compute_alike(self):
        known = self.path("known.jsonl")
        with self.cache("unused"):
            self.losses("--local", 1, "--threads", 1, *self.few, "--numerics", known)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "unused", "penstock", "numerics")))
        answers = self.answers(known)
        self.assertGreater(max(len(answer["candidates"]) for answer in answers), 1)
        daemons = [self.start_daemons(1, "--tuning-file", self.times(f"times-{place}", answers, place))[0] for place in (0, -1)]
        with self.cache("first"):
            reference = self.losses("-H", self.hostfile(daemons[:1]), *self.few)
            for split, order in ("4", daemons), ("4", daemons[::-1]), ("17", daemons):  # behind a convolution, before its ReLU; and later
                with self.subTest(split=split, first=order[0].address):
                    self.assertEqual(self.losses("-H", self.hostfile(order), "-p", 2, "--split", split, *self.few), reference)
            self.assertEqual(self.losses("-H", self.hostfile(daemons[1:]), *self.few), reference)
        with self.cache("second"):  # another coordinator may get other answers: the times do disagree
            other = self.losses("-H", self.hostfile(daemons[1:]), *self.few)
            self.assertNotEqual(other, reference)

    def test_answers_of_a_file_are_used_and_kept(self):
        numerics, daemons = self.path("numerics.jsonl"), self.start_daemons(3)
        draw, seen = random.Random(1), set()
        self.losses("-H", self.hostfile(daemons[:1]), *self.few, "--numerics", numerics)
        answers = self.answers(numerics)
        for _ in range(2):  # any legal answer
            for answer in answers:
                answer["choice"] = draw.choice(list(answer["candidates"]))
            text = "".join(json.dumps(answer) + "\n" for answer in answers)
            with open(numerics, "w") as file:
                file.write(text)
            losses = [self.losses("-H", self.hostfile(daemons[:p]), "-p", p, *self.few, "--numerics", numerics) for p in (1, 3)]
            self.assertEqual(losses[1], losses[0])
            seen.add(tuple(losses[0]))
            with open(numerics) as file:
                self.assertEqual(file.read(), text)
        self.assertGreater(len(seen), 1)

        [line] = [line for line in harness.read_json_lines(os.path.join(self.folder, "steps.json")) if line["type"] == "numerics"]
        chosen = {kernel["question"]: kernel["choice"] for stage in line["stages"] for kernel in stage["kernels"] if kernel["choice"]}
        self.assertEqual(chosen, {answer["question"]: answer["choice"] for answer in answers})

    def test_answers_that_cannot_be_used_are_refused_by_name(self):
        numerics, daemons = self.path("numerics.jsonl"), self.start_daemons(1)
        train = ["-H", self.hostfile(daemons), *self.few, "--numerics", numerics]
        self.train(*train)
        answers = self.answers(numerics)
        answers[0]["choice"] = "abacus"
        answers[0]["candidates"]["abacus"] = 1
        with open(numerics, "w") as file:
            file.writelines(json.dumps(answer) + "\n" for answer in answers)
        run = self.train(*train, code=2)
        self.assertRegex(run.error, f"numerics.jsonl: the choice abacus for {answers[0]['question']} is unknown to stage 0 on "
                                    f"{daemons[0].address}, whose kernels are .*: correct the line or remove it")
        with open(numerics, "a") as file:
            file.write("nonsense\n")
        self.assertRegex(self.train(*train, code=2).error, rf"--numerics: {numerics}:{len(answers) + 1}: column")
        # The user's cache is corrected.
        with self.cache("cache"):
            os.makedirs(os.path.join(self.folder, "cache", "penstock"))
            os.rename(numerics, os.path.join(self.folder, "cache", "penstock", "numerics"))
            run = self.train(*train[:-2])
            self.assertRegex(run.error, "1 line of .*/numerics is ignored")
            self.assertRegex(run.error, f"does not have the kernel abacus for {answers[0]['question']}")
            self.assertNotIn("abacus", self.train(*train[:-2]).error)

    def test_devices_that_differ_are_named(self):
        daemons = self.start_daemons(1) + self.start_daemons(1, "--threads", "2")
        path, same = self.path("steps.json"), self.path("same.json")
        run = self.train("-H", self.hostfile(daemons), "-p", 2, "--steps", 1, "--json", path)
        words = (rf"the devices differ, so the numbers of this job depend on where the model is cut: \S+/threads=1: stage 0 on {daemons[0].address}; "
                 rf"\S+/threads=2: stage 1 on {daemons[1].address}\n")
        self.assertRegex(run.error, words)
        line = harness.read_json_lines(path)[1]
        self.assertTrue(line["machines_differ"])
        self.assertRegex(line["stages"][1]["machine"], "threads=2$")
        self.assertNotIn("differ", self.train("-H", self.hostfile(daemons[:1]), "--steps", 1, "--json", same).error)
        self.assertFalse(harness.read_json_lines(same)[1]["machines_differ"])


if __name__ == "__main__":
    harness.main()
