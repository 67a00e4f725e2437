"""Everything a person can get wrong: a message that says what and where, the documented exit code, and nothing started."""

import json
import os
import shutil
import subprocess

import harness


class Refusals(harness.TestCase):
    def refuse(self, code, words, *arguments):
        """It says, in one line and nothing else, what `words` (a regular expression) says."""
        with self.subTest(arguments=arguments):
            run = self.penstock(*arguments, code=code, seconds=30)
            self.assertRegex(run.error, rf"\A(?:(?:.*\n)+images resized .*\nnormalised .*\n)?penstock: .*(?:{words}).*\n\Z")
            self.assertEqual(run.out, "")

    def test_command_line(self):
        data = ["--dataset", self.dataset, "--local", 1]
        self.refuse(2, r'unknown command "fly"; see penstock --help', "fly")
        self.refuse(2, r'unknown command "trian" \(did you mean train\?\)', "trian")
        self.refuse(2, "option --fly is unknown.*penstock train --help", "train", "--fly")
        self.refuse(2, "option -x is unknown", "plan", "--fit", "-xp", 1)
        self.refuse(2, "option --fit=yes takes no value", "plan", "--fit=yes")
        for option in (["--dataset", "d"], ["--no-shuffle"], ["--seed", 1], ["--load", "f"], ["--save", "f"], ["--mean", "0,0,0"], ["--weight-decay", 1],
                       ["--threads", 1], ["--connections", 1], ["--chunk-size", "1MiB"], ["--reduce", "ring"], ["--tls-ca-file", "f"]):
            self.refuse(2, f"{option[0]} is not an option of penstock plan: ", "plan", *option)
        self.refuse(2, 'unexpected argument "fast"', "plan", "fast")
        for command in (["nodes"], ["dataset", "synthesize", self.path("new")]):
            self.refuse(2, f"option --fly is unknown.*penstock {command[0]} --help", *command, "--fly")
        self.refuse(2, 'unknown model "resnet".*alexnet', "train", "--model", "resnet", *data)
        self.refuse(2, "alexnet takes images of 63 x 63.*not 62 x 62", "train", "--image-size", 62, *data)
        self.refuse(2, "vgg11 takes images of 32 x 32.*not 31 x 31", "train", "--model", "vgg11", "--image-size", 31, *data)
        self.refuse(2, '--optimizer: unknown optimizer "Muon"; known: SGD, Adam, AdamW, Lamb, Lion and Adagrad', "train", "--optimizer", "Muon", *data)
        self.refuse(2, 'unknown schedule "zigzag"; known: gpipe, 1f1b', "train", "--schedule", "zigzag", *data)
        self.refuse(2, r'unknown partition method "flosp" \(did you mean flops\?\)', "plan", "--partition-method", "flosp")
        self.refuse(2, 'unknown partition method "best"; known: flops, memory, uniform, parameters, type:REGEX', "train", "--partition-method", "best", *data)
        self.refuse(2, "--split 3,2: write .* in ascending order", "train", "--split", "3,2", "-p", 3, "--dataset", self.dataset, "--local", 3)
        self.refuse(2, "pipeline size 23: alexnet has only 22 layers", "plan", "-p", 23)
        self.refuse(2, "pipeline size 3: --local has only 2 slots", "train", "--dataset", self.dataset, "--local", 2, "-p", 3)
        self.refuse(2, "pipeline size 2 does not divide the 3 devices of --local, .*or --local 2", "train", "--dataset", self.dataset,
                    "--local", 3, "-p", 2)
        self.refuse(2, "pipeline size 3 does not divide the 8 devices of --nodes, .*or --nodes 6", "plan", "-p", 3, "--num_nodes", 8)
        self.refuse(2, "--nodes and --local exclude each other", "train", "--nodes", 1, *data)
        self.refuse(2, "no nodes are given.*-H HOSTFILE", "train", "--dataset", self.dataset, "--nodes", 2)
        self.refuse(2, '--nodes: "0" is not a whole number from 1 to 1024', "plan", "--nodes", 0)
        self.refuse(2, "--reduce-bucket-size: \"1KiB\" is not from 4.0 KiB to 1.0 GiB", "plan", "--reduce-bucket-size", "1KiB")
        self.refuse(2, '--steps: "many" is not a whole number from 1 to 1000000000', "train", "--steps", "many", *data)
        self.refuse(2, "--dropout: \"1.5\" is not a number from 0 to 1", "train", "--dropout", 1.5, *data)
        self.refuse(2, '--lr: "nan" is not a number', "train", "--lr", "nan", *data)
        self.refuse(2, "--save: the value is empty", "train", "--save=", *data)
        self.refuse(2, "option --steps needs a value", "train", "--steps")
        for command in "train", "prove":
            self.refuse(2, "--numerics -: the file is read and written.*: name a file", command, "--numerics", "-", *data)
        self.refuse(2, "--dataset PATH is missing", "train", "--local", 1)
        self.refuse(2, '--classes: "1" is not a whole number from 2 to 256', "plan", "--classes", 1)
        self.assertIn("classifier.6", self.penstock("plan", "--classes", 2).out)
        sweep = ["--output", self.path("sweep"), "--nodes", 1, "--pipeline-sizes", 0, "--micro-batches", 4]
        for command in ["train"], ["prove"], ["sweep", *sweep]:
            self.refuse(2, "--classes 9: the dataset has labels up to 9, so the model needs at least 10 classes", *command, "--classes", 9, *data)
        self.refuse(2, "-H HOSTFILE, or start some with --local N", "train", "--dataset", self.dataset)
        for command in ["train", *data], ["plan"]:
            self.refuse(2, '--memory-limit: "banana" is not an amount of memory: write a number .*such as 16GiB', *command,
                        "--memory-limit", "banana")
            self.refuse(2, "--memory-limit: \"0\" is less than 1.0 MiB", *command, "--memory-limit", 0)
            self.refuse(2, "--memory-limit: \"16\" is less than 1.0 MiB; is the unit missing", *command, "--memory-limit", 16)
        self.refuse(2, "train_batch_size 100 is not train_micro_batch_size_per_gpu 24 x gradient_accumulation_steps 4 x", "train", "--train-batch-size", 100, "--micro-batch-size", 24,
                    "--gradient-accumulation-steps", 4, *data)

    def test_deepspeed_config(self):
        def config(text):
            path = self.path("config.json")
            with open(path, "w") as file:
                file.write(text)
            return path

        train = ["train", "--dataset", self.dataset, "--local", 1, "--deepspeed-config"]
        self.refuse(2, r'config\.json: line 2, column 6: expected a colon \(:\) after the key "oops"', *train, config('{"train_batch_size": 8,\n oops}'))
        self.refuse(2, "config.json: line 1, column 2: train_batch_size is a string; expected a whole number from 1", *train, config('{"train_batch_size": "eight"}'))
        self.refuse(2, "train_batch_size 100 is not train_micro_batch_size_per_gpu 32 x gradient_accumulation_steps 4 x", *train, config(json.dumps(
            {"train_batch_size": 100, "train_micro_batch_size_per_gpu": 32, "gradient_accumulation_steps": 4})))
        self.refuse(2, 'config.json: line 1, column 39: optimizer.type "Muon" is unknown; known: SGD, Adam, AdamW, Lamb, Lion and Adagrad', *train, config('{"train_batch_size": 8, "optimizer": {"type": "Muon"}}'))
        self.refuse(2, "nowhere.json: No such file", *train, self.path("nowhere.json"))
        warned = self.penstock("plan", "--deepspeed-config",
                               config('{"train_batch_size": 8, "zero_optimization": {"stage": 3}}'))
        self.assertRegex(warned.error, "config.json: ignored keys: zero_optimization$")
        # An option stands for its key: what is derived from the file is derived from it.
        steps = self.path("steps.json")
        self.penstock(*train, config(json.dumps({
            "train_batch_size": 8, "optimizer": {"type": "SGD", "params": {"lr": 9}},
            "scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 2, "warmup_type": "linear"}}})),
            "--lr", 0.5, "--image-size", 63, "--steps", 4, "--json", steps)
        rates = [line["learning_rate"] for line in harness.read_json_lines(steps) if line["type"] == "step"]
        self.assertEqual(rates, [0, 0, 0.25, 0.5])
        self.refuse(2, "--momentum applies to SGD; the optimizer Adam", *train,
                    config('{"train_batch_size": 8, "optimizer": {"type": "Adam"}}'), "--momentum", 0.9)

    def test_hostfile(self):
        for text, words in (("", "hostfile: has no hosts"), ("node slots=0\n", "hostfile:1: slots=0: .* from 1 to 64"),
                            ("a slots=1\na slots=1\n", "hostfile:2: a:7070 appears twice, first in line 1"),
                            ("a:99999 slots=1\n", 'hostfile:1: "a:99999" is not HOST.* the port is not a whole number from 1 to 65535'),
                            ("a slot=1\n", r'hostfile:1: "a" has no slots=N, and "slot=1" is unknown \(did you mean slots\?\)')):
            path = self.path("hostfile")
            with open(path, "w") as file:
                file.write(text)
            self.refuse(2, words, "nodes", "-H", path)
        path = self.path("hostfile")
        with open(path, "w") as file:
            file.write("a slots=2 max_slots=4\nb slots=1\n")
        warned = self.penstock("plan", "-H", path, "-p", 3)
        self.assertIn('hostfile: ignored: "max_slots=4" in line 1; only slots=N is used', warned.error)
        with open(path, "w") as file:
            file.write("a slots=2\nb slots=1\n")
        self.refuse(2, "--nodes 3: .*hostfile has only 2 nodes", "plan", "-H", path, "--nodes", 3)
        self.refuse(2, "pipeline size 2 does not divide the 3 devices of .*hostfile, .* fewer nodes with --nodes", "plan", "-H", path, "-p", 2)
        self.assertIn("\n1 replica: 128 samples per step\n", self.penstock("plan", "-H", path, "-p", 2, "--nodes", 1).out)
        self.assertIn("\n3 replicas, 3 devices: 384 samples per step;\n", self.penstock("plan", "-H", path, "-p", 0).out)

    def test_dataset(self):
        def broken(name, change):
            folder = self.path(name)
            shutil.copytree(self.dataset, folder)
            change(os.path.join(folder, "data_batch_2.bin"))
            return folder

        def label(path):
            with open(path, "r+b") as file:
                file.seek(3073 * 5)
                file.write(b"\x0a")

        train = ["train", "--local", 1, "--dataset"]
        self.refuse(2, "dataset .*nowhere: No such file", *train, self.path("nowhere"))
        self.refuse(2, "data_batch_2.bin: is cut short: 5000 bytes are 1 whole record of 3073 bytes and 1927 bytes", *train, broken("cut", lambda path: os.truncate(path, 5000)))
        self.refuse(2, r"data_batch_2.bin: record 5 \(from 0\) has label 10; labels are 0 to 9", *train, broken("label", label))
        self.refuse(2, "a batch of 4000 samples is larger than the dataset, which has 300", *train, self.dataset, "--micro-batch-size", 1000, "--gradient-accumulation-steps", 4)

    def test_numerics_that_cannot_be_written_are_refused_before_a_daemon_is_asked(self):
        gone = self.start_daemons(1)[0]
        gone.stop()
        nodes = ["--dataset", self.dataset, "-H", self.hostfile([gone])]
        output = ["--output", self.path("sweep"), "--nodes", 1, "--pipeline-sizes", 0, "--micro-batches", 4]
        for command in ["train"], ["prove"], ["sweep", *output]:
            self.refuse(2, "--numerics: .*nowhere/kernels.jsonl: create it: No such file or directory", *command, *nodes,
                        "--numerics", self.path("nowhere/kernels.jsonl"))

    def test_load_and_save(self):
        self.refuse(2, "--load: .*nowhere.safetensors: No such file", "train", "--dataset", self.dataset, "--local", 1, "--load",
                    self.path("nowhere.safetensors"))
        saved = self.path("small.safetensors")
        self.train("--local", 1, "--steps", 1, "--save", saved)
        self.refuse(2, r"classifier.6.weight has shape \(10, 4096\) in the file, \(12, 4096\)", "train", "--dataset",
                    self.dataset, "--local", 1, "--classes", 12, "--load", saved)
        with open(saved, "r+b") as file:
            file.truncate(1000000)
        self.refuse(2, "small.safetensors: .*damaged or cut short", "train", "--dataset", self.dataset, "--local", 1, "--load", saved)
        run = self.train("--local", 1, "--save", "/proc/nowhere/x.safetensors", code=2)
        self.assertRegex(run.error, "--save: /proc/nowhere/x.safetensors.*: No such file")
        self.assertEqual(run.out, "")
        self.assertNotIn("step 1", run.error)  # said before the work, not after it

    def test_daemon_that_is_not_there_is_named(self):
        daemon = self.start_daemons(1)[0]
        gone, other = self.start_daemons(2)
        gone.stop()
        other.stop()
        run = self.train("-H", self.hostfile([daemon, gone]), code=4)
        self.assertIn(gone.address, run.error)
        self.assertRegex(run.error, "cannot be reached: connection refused.*: is penstockd running there\\? systemctl status penstockd")
        daemon.wait_until_free(5)
        run = self.train("-H", self.hostfile([gone, daemon, other]), code=4)  # both are named, and the one that is there is let go
        self.assertRegex(run.error, "2 nodes cannot be reached: ")
        for words in f"{gone.address} (connection refused", f"{other.address} (connection refused", "): is penstockd running there?":
            self.assertIn(words, run.error)
        daemon.wait_until_free(5)
        self.assertIn(gone.address, self.penstock("nodes", "-H", self.hostfile([daemon, gone]), code=4).error)

    def test_nodes_that_are_not_there_are_all_named_with_nccl(self):
        daemon, gone, other = self.start_daemons(3)
        gone.stop()
        other.stop()
        options = ["-p", 0, "--reduce", "nccl"]
        run = self.train("-H", self.hostfile([gone, daemon, other]), *options, code=4)
        self.assertRegex(run.error, r"--reduce nccl \(--reduce ring does not use NCCL\): 2 nodes cannot be reached: ")
        for words in f"{gone.address} (connection refused", f"{other.address} (connection refused", "): is penstockd running there?":
            self.assertIn(words, run.error)
        run = self.train("-H", self.hostfile([daemon, gone]), *options, code=4)
        self.assertRegex(run.error, rf"does not use NCCL\): {gone.address} cannot be reached: connection refused")

    def test_memory_that_is_not_there_is_refused_with_numbers(self):
        daemons = self.start_daemons(1, "--memory-limit", "100MiB")
        run = self.train("-H", self.hostfile(daemons), code=3)
        self.assertRegex(run.error, r"needs \d+\.\d MiB \(\d+ bytes\), and 100\.0 MiB of the device's limit of 100\.0 MiB are free")
        self.assertEqual(daemons[0].used_bytes(), 0)

    def test_second_job_that_does_not_fit_is_refused_and_the_first_goes_on(self):
        daemons = self.start_daemons(1, "--memory-limit", "700MiB")
        hostfile = self.hostfile(daemons)
        path = self.path("first.json")
        first = self.begin_train("-H", hostfile, "--steps", 40, "--json", path)
        self.wait_for_steps(path)
        second = self.train("-H", hostfile, code=3)
        self.assertRegex(second.error, "1 other session holds")
        self.assertEqual(first.finish().code, 0, first.error)

    def test_daemon_options(self):
        daemon = self.start_daemons(1)[0]
        for code, words, arguments in (
                (2, "option --fly is unknown; see penstockd --help", ["--fly"]),
                (2, 'there is no device "abacus"', ["--device", "abacus"]),
                (2, "there is no ", ["--device", "cuda:9999"]),  # such a GPU, no GPU at all, or no device of that kind in the build
                (2, '--memory-limit: "banana" is not an amount of memory', ["--memory-limit", "banana"]),
                (1, f"--listen: cannot listen on {daemon.address}: the address is in use", ["--listen", daemon.address])):
            run = subprocess.run([harness.PENSTOCKD, *arguments], capture_output=True, text=True, timeout=30)
            self.assertEqual(run.returncode, code)
            self.assertIn(words, run.stderr)

    def test_daemon_options_are_checked_alike_with_check_config(self):
        """And nothing that can be seen in the options alone is left for the start to find."""
        pipe = self.path("pipe")
        os.mkfifo(pipe)
        for words, arguments in (
                ('--listen: "nonsense" is not HOST:PORT or [IPv6]:PORT: the port is missing', ["--listen", "nonsense"]),
                ('--listen: "127.0.0.1:99999" is not', ["--listen", "127.0.0.1:99999", "--insecure"]),
                ('--listen: "unix:p.sock" is not unix:/PATH', ["--listen", "unix:p.sock"]),
                ('--listen: "unix-abstract:p" is not', ["--listen", "unix-abstract:p"]),
                ('--metrics-listen: "127.0.0.1:-1" is not HOST:PORT', ["--metrics-listen", "127.0.0.1:-1", "--listen", "127.0.0.1:0"]),
                ("--tls-client-auth has no meaning without --tls-cert-file", ["--tls-client-auth", "none"]),
                ("option --max is unknown (is it --max-sessions, ", ["--max", "3"]),
                ("option --insecure=no takes no value", ["--insecure=no"]),
                (f"--config {pipe}: is a pipe", ["--config", pipe]),
                (f"--tls-ca-file {pipe}: is a pipe", [f"--tls-{name}-file={pipe}" for name in ("cert", "key", "ca")])):
            for more in ([], ["--check-config"]):
                with self.subTest(arguments=arguments + more):
                    run = subprocess.run([harness.PENSTOCKD, *arguments, *more], capture_output=True, text=True, timeout=30, check=False)
                    self.assertEqual(run.returncode, 2, run.stderr)
                    self.assertIn(words, run.stderr)
        for words, path in (("No such file", self.path("none/ready")), ("is a folder", self.folder)):
            run = subprocess.run([harness.PENSTOCKD, "--check-config", "--ready-file", path], capture_output=True, text=True, timeout=30,
                                 check=False)
            self.assertEqual(run.returncode, 2, run.stderr)
            self.assertIn(f"--ready-file {path}: {words}", run.stderr)

    def test_output_that_cannot_be_written_fails(self):
        for option in "--help", "--version", "--print-devices", "--check-config":
            with self.subTest(option=option), open("/dev/full", "w") as full:
                run = subprocess.run([harness.PENSTOCKD, option], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
                self.assertEqual(run.returncode, 1)
                self.assertIn("standard output could not be written: No space left on device", run.stderr)

    def test_variable_that_is_no_option_is_named(self):
        run = subprocess.run([harness.PENSTOCKD, "--check-config"], capture_output=True, text=True, timeout=30, check=True,
                             env={**os.environ, "PENSTOCK_MAX_SESIONS": "3", "PENSTOCK_MAX_SESSIONS": "3"})
        self.assertRegex(run.stderr, r"warning ignored: unknown variables in the environment: PENSTOCK_MAX_SESIONS\n\Z")

    def test_mistakes_are_logged_in_the_format_that_is_asked_for(self):
        wrong = self.path("wrong.conf")
        with open(wrong, "w") as file:
            file.write("log-format = json\nmax-sesions = 3\n")
        for environment, arguments in (({}, ["--log-format", "json", "--fly"]), ({"PENSTOCK_LOG_FORMAT": "json"}, ["--fly"]),
                                       ({}, ["--log-format=json", "--threads", "0"]), ({}, ["--config", wrong]),
                                       ({"PENSTOCK_LOG_FORMAT": "json"}, ["--config", self.path("none.conf")])):
            run = subprocess.run([harness.PENSTOCKD, *arguments], capture_output=True, text=True, timeout=30, check=False,
                                 env={**os.environ, **environment})
            self.assertEqual((run.returncode, json.loads(run.stderr)["level"]), (2, "error"))

    def test_version_of_any_command(self):
        versions = {self.penstock(*command, "--version").out for command in ([], ["train"], ["nodes"], ["top"], ["dataset"])}
        self.assertRegex(versions.pop(), r"\Apenstock \d+\.\d+\.\d+\n\Z")
        self.assertEqual(versions, set())


if __name__ == "__main__":
    harness.main()
