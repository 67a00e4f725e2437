"""What the GPU suite does before, beside and after the parts: arguments, machines that lack something, interruptions, reports. Needs no GPU.
Usage: test_suite.py BUILD-FOLDER"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import cards
import machine
import sanitizer_report
import suite

FOLDER = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.realpath(sys.argv.pop(1))


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="penstock-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.results = os.path.join(self.folder, "results.json")
        self.temporary = os.path.join(self.folder, "temporary")
        os.mkdir(self.temporary)
        self.environment = dict(os.environ, TMPDIR=self.temporary)

    def begin(self, *arguments):
        run = subprocess.Popen(["sh", os.path.join(FOLDER, "run.sh"), *arguments], cwd=self.folder, env=self.environment,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(run.stdout.close)
        return run

    def run_suite(self, *arguments, code):
        run = self.begin(*arguments)
        said, _ = run.communicate(timeout=200)
        self.assertEqual(run.returncode, code, said)
        return said

    def read(self):
        with open(self.results) as file:
            return json.load(file)

    def make_library(self, name, source):
        """A folder with a shared library of that name."""
        folder = tempfile.mkdtemp(dir=self.folder)
        subprocess.run(["cc", "-shared", "-x", "c", "-o", os.path.join(folder, name), "-"], input=source, text=True, check=True)
        return folder

    def script(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write("#!/bin/sh\n" + text)
        os.chmod(path, 0o755)
        self.environment["PATH"] = self.folder + ":" + self.environment["PATH"]


class Arguments(Case):
    def test_wrong_ones_are_named_before_a_gpu_is_looked_for(self):
        for arguments, word in ((["--part", "everything"], "everything"), (["--part"], "--part wants a value"),
                                (["--bundle", ""], "--bundle wants a value"), (["--device", ""], "--device wants a value"),
                                (["--device", "gpu0"], "gpu0"),
                                (["--device", "cuda:"], "cuda:"), (["--device", "cuda:x"], "cuda:x"), (["--build", "nowhere"], "nowhere"),
                                (["--bundle", "nowhere"], "nowhere"), (["--fast"], "--fast"), (["--stand-in", "--device", "cpu"], "--stand-in"),
                                (["--json", "nowhere/results.json"], "nowhere"), (["--json", "."], "it is a folder")):
            said = self.run_suite(*arguments, code=2)
            self.assertIn(word, said)
            self.assertNotIn("GPU here", said)

    def test_each_part_is_known(self):
        for part in suite.PARTS:
            self.assertIn("there is no such file", self.run_suite("--part", part, "--bundle", "nowhere", code=2))

    def test_results_that_cannot_be_written_are_said_at_once(self):
        said = self.run_suite("--device", "cpu", "--build", BUILD, "--json", "/dev/full", code=2)
        self.assertIn("/dev/full: No space left", said)
        self.assertNotIn("== ", said)


class Machine(Case):
    def test_a_gpu_that_does_not_open_ends_it_with_the_daemons_reason(self):
        self.script("nvidia-smi", "echo 'GPU 0: one that is not here (UUID: GPU-0)'\n")
        said = self.run_suite("--build", BUILD, "--json", self.results, code=1)
        self.assertRegex(said, "failed: the device opens: the daemon does not start: .*error --device: .*(device|GPU)")
        results = self.read()
        self.assertFalse(results["on_gpu"] or results["passed"])
        self.assertEqual({check["status"] for check in results["checks"] if check["part"] != "device"}, {"skipped"})

    def test_the_stand_in_does_not_pass_for_a_gpu(self):
        stand_in = os.path.join(BUILD, "tests", "cuda_stand_in", "penstockd_on_stand_in")
        if not os.path.exists(stand_in):
            self.skipTest("there is no stand-in: it needs CUDA's headers")
        self.script("nvidia-smi", "echo 'GPU 0: one that is not here (UUID: GPU-0)'\n")
        build = os.path.join(self.folder, "build")
        for name in "coordinator", "tests":
            os.makedirs(build, exist_ok=True)
            os.symlink(os.path.join(BUILD, name), os.path.join(build, name))
        os.mkdir(os.path.join(build, "stage_server"))
        os.symlink(stand_in, os.path.join(build, "stage_server", "penstockd"))
        said = self.run_suite("--build", build, "--json", self.results, code=1)
        self.assertIn("no stand-in was asked for, and this is CPU as CUDA stand-in", said)
        self.assertFalse(self.read()["on_gpu"])

    def test_cudnn_of_another_cuda_is_passed_over_and_named(self):
        name = "libcudnn.so.9"
        old = self.make_library(name, "unsigned long cudnnGetCudartVersion(void) { return 12080; }")
        new = self.make_library(name, "unsigned long cudnnGetCudartVersion(void) { return 13010; }")
        where, wrong = machine.find(name, [old, new])
        self.assertEqual(where, new)
        self.assertEqual(wrong, f"the one in {old} is for CUDA 12")
        self.assertEqual(machine.find(name, [new, old]), (new, ""))
        self.assertEqual(machine.find(name, [old])[0], "")

    def gpus(self, source):
        environment = dict(self.environment, LD_LIBRARY_PATH=self.make_library("libcuda.so.1", source))
        code = "import json, machine; print(json.dumps(machine.gpus(0)))"
        return json.loads(subprocess.run([sys.executable, "-c", code], cwd=FOLDER, env=environment, stdout=subprocess.PIPE, check=True).stdout)

    def test_driver_that_is_too_old_is_said(self):
        found = self.gpus("int cuDriverGetVersion(int *v) { *v = 12040; return 0; } int cuInit(int f) { return 0; }\n"
                          "int cuDeviceGetCount(int *c) { *c = 1; return 0; }")
        self.assertIn("the driver is for CUDA 12.4; CUDA 13 wants 580 or later", found["wrong"])

    def test_driver_that_finds_no_device_is_said(self):
        found = self.gpus("int cuDriverGetVersion(int *v) { *v = 13000; return 0; } int cuInit(int f) { return 100; }\n"
                          "int cuDeviceGetCount(int *c) { return 3; }")
        self.assertIn("CUDA_VISIBLE_DEVICES", found["wrong"])

    def test_others_on_the_card_are_said(self):
        self.script("nvidia-smi", "echo '20480, 97'\n")
        before, os.environ["PATH"] = os.environ["PATH"], self.environment["PATH"]
        try:
            self.assertIn("others use 20480 MiB of it and 97 % of its time", machine.neighbours("0000:01:00.0"))
        finally:
            os.environ["PATH"] = before

    def test_python_that_has_torch_is_found(self):
        self.script("python", "echo yes\n")
        before, os.environ["PATH"] = os.environ["PATH"], self.folder
        try:
            self.assertEqual(machine.python(), os.path.join(self.folder, "python"))
        finally:
            os.environ["PATH"] = before

    def test_peaks_are_those_of_the_name(self):
        for name, bf16, memory in (("NVIDIA H200", 989.5, 4800), ("NVIDIA H100 80GB HBM3", 989.5, 3350), ("NVIDIA H100 PCIe", 756.5, 2000),
                                   ("NVIDIA H100 NVL", 835.5, 3900), ("NVIDIA GB200", 2500, 8000), ("NVIDIA L40S", 362.05, 864),
                                   ("NVIDIA A100-SXM4-80GB", 312, 2039), ("NVIDIA A10", 125, 600)):
            card = cards.card(name)
            self.assertEqual((card["bf16"], card["fp16"], card["memory"]), (bf16, bf16, memory), name)
        self.assertNotIn("bf16", cards.card("Tesla T4"))
        for name in "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA A10G", "CPU as CUDA stand-in", "NVIDIA GeForce RTX 4090 D":
            self.assertIsNone(cards.card(name), name)


class Interruption(Case):
    def processes(self):
        """Command lines that name this test's folder."""
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read()
                if self.temporary.encode() in words:
                    yield words

    def test_what_was_done_is_written_and_nothing_is_left(self):
        run = self.begin("--device", "cpu", "--build", BUILD, "--json", self.results, "--part", "training")
        end = time.monotonic() + 120
        while time.monotonic() < end and run.poll() is None:
            with contextlib.suppress(OSError):
                if self.read()["checks"] and any(b"penstockd" in words for words in self.processes()):
                    break
            time.sleep(0.1)
        run.send_signal(signal.SIGTERM)
        said, _ = run.communicate(timeout=60)
        self.assertEqual(run.returncode, 143, said)
        self.assertIn("interrupted by SIGTERM", said)
        results = self.read()
        self.assertEqual((results["interrupted"], results["done"], results["passed"]), ("SIGTERM", False, False))
        self.assertEqual(results["checks"][0]["status"], "passed", said)
        self.assertEqual(results["checks"][-1]["detail"], "ended by SIGTERM")
        self.assertEqual(list(self.processes()), [])
        self.assertEqual(os.listdir(self.temporary), [])


class Report(unittest.TestCase):
    """Texts of compute-sanitizer, in its documentation's form."""

    def test_clean(self):
        self.assertEqual(sanitizer_report.read("========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n"), (0, 0))
        self.assertEqual(sanitizer_report.read("========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"), (0, 0))

    def test_memcheck(self):
        text = ("========= COMPUTE-SANITIZER\n========= Invalid __global__ write of size 4 bytes\n=========     at relu(float *)+0x160\n"
                "=========     by thread (0,0,0) in block (0,0,0)\n=========     Address 0x7f6510a00001 is misaligned\n"
                "========= ERROR SUMMARY: 1 error\n")
        self.assertEqual(sanitizer_report.read(text), (1, 0))
        self.assertEqual(sanitizer_report.complaints(text), ["Invalid __global__ write of size 4 bytes"])

    def test_racecheck_of_two_processes(self):
        text = ("========= Error: Race reported between Write access at sum(int *)+0xd0\n=========     and Read access at sum(int *)+0x100 [508 hazards]\n"
                "========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)\n"
                "========= RACECHECK SUMMARY: 3 hazards displayed (1 error, 2 warnings)\n")
        self.assertEqual(sanitizer_report.read(text), (2, 2))
        self.assertEqual(len(sanitizer_report.complaints(text)), 1)

    def test_a_tool_that_could_not_look_has_no_summary(self):
        text = "========= COMPUTE-SANITIZER\n========= Error: Device not supported. Please refer to the \"Supported Devices\" section\n"
        self.assertIsNone(sanitizer_report.read(text))
        self.assertIn("Device not supported", sanitizer_report.why_unable(text))
        self.assertIsNone(sanitizer_report.why_unable("========= ERROR SUMMARY: 0 errors"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
