"""deploy/slurm/ in a real Slurm of two nodes on this machine: jobs that train, that are cancelled, and whose daemons do not
start. Needs root and Slurm's programs; see slurm_cluster.py."""

import os
import re
import shutil
import tempfile
import unittest

import harness
import slurm_cluster

SCRIPT = os.path.join(harness.SOURCE, "deploy", "slurm", "penstock-slurm")


def setUpModule():
    reason = slurm_cluster.unavailable()
    if reason:
        raise unittest.SkipTest(reason)


class Slurm(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.spool = tempfile.mkdtemp(prefix="penstock-slurm-test-")
        cls.addClassCleanup(shutil.rmtree, cls.spool)
        cls.cluster = slurm_cluster.Cluster(cls.spool)
        cls.addClassCleanup(cls.cluster.close)
        # Temporary files of the jobs come here, so that what stays behind is seen.
        cls.temporary = os.path.join(cls.spool, "tmp")
        os.mkdir(cls.temporary)

    def tearDown(self):
        super().tearDown()
        left = self.cluster.command("squeue", "-h")
        if left:  # a test failed
            self.cluster.command("scancel", "--user=root")
        # What belongs to a job may still be ending when Slurm says that the job has ended.
        harness.wait_until(lambda: not self.cluster.processes(), 20, "the end of all processes of jobs")
        files = os.listdir(self.temporary)
        for name in files:
            shutil.rmtree(os.path.join(self.temporary, name))
        self.assertEqual((left, files), ("", []))

    # Options of sbatch: two nodes, two CPUs each, so that two jobs fit a node.
    two_nodes = ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=2"]

    def submit(self, options, arguments, job_options=two_nodes, command="train"):
        """A job that runs penstock-slurm; gives its number. What it prints is in self.output(job)."""
        words = [SCRIPT, *map(str, options), "--", command, *map(str, arguments)]
        script = self.path(f"job-{len(os.listdir(self.folder))}.sh")
        with open(script, "w") as file:
            file.write(f"#!/bin/sh\nexport TMPDIR={self.temporary}\nexec {' '.join(words)}\n")
        return self.cluster.submit(*job_options, f"--output={self.folder}/job-%j.out", f"--chdir={self.folder}", script)

    def output(self, job):
        with open(os.path.join(self.folder, f"job-{job}.out")) as file:
            return file.read()

    def finish(self, job, state, code, seconds=90):
        self.assertEqual(self.cluster.wait(job, seconds), (state, code), self.output(job))
        return self.output(job)

    def arguments(self, *more):
        return ["--dataset", self.dataset, *self.small, *more]

    cpu = ["--device", "cpu", "--threads", 1]

    def begin_long(self, *options):
        path = self.path(f"long-{len(os.listdir(self.folder))}.json")
        job = self.submit([*self.cpu, *options], self.arguments("--steps", 100000, "--json", path))
        self.wait_for_steps(path)
        self.assertEqual(len(self.cluster.processes("penstockd")), 2)
        return job

    def test_job_over_two_nodes_computes_what_one_machine_does(self):
        path = self.path("slurm.json")
        job = self.submit(self.cpu, self.arguments("-p", 2, "--steps", 2, "--json", path))
        said = self.finish(job, "COMPLETED", 0)
        nodes = re.findall(r"127\.0\.0\.1:\d+ slots=1 # (\w+)", said)
        self.assertEqual(nodes, ["node1", "node2"])
        losses = [line["loss"] for line in harness.read_json_lines(path) if line["type"] == "step"]
        self.assertEqual(losses, self.losses("--local", 2, "--threads", 1, "--steps", 2))

    def test_two_jobs_share_the_nodes(self):
        first = self.begin_long()
        second = self.submit(self.cpu, self.arguments("--steps", 2))
        self.finish(second, "COMPLETED", 0)
        self.assertEqual(self.cluster.state(first)[0], "RUNNING")
        self.assertEqual(len(self.cluster.processes("penstockd")), 2)  # those of the first
        self.cluster.command("scancel", first)
        self.cluster.wait(first, 30)

    def test_job_that_is_cancelled_leaves_nothing(self):
        job = self.begin_long()
        self.cluster.command("scancel", job)
        self.assertEqual(self.cluster.wait(job, 30)[0], "CANCELLED")

    def test_signal_to_the_script_ends_the_training_in_order(self):
        job = self.begin_long()
        self.cluster.command("scancel", "--batch", "--signal=TERM", job)  # as #SBATCH --signal=B:TERM@60 does
        self.assertRegex(self.finish(job, "FAILED", 1, 30), r"penstock: interrupted at step \d+")

    def test_script_that_is_killed_takes_its_daemons_along(self):
        job = self.begin_long()
        scripts = [number for number, line in self.cluster.processes("sh").items() if f"{SCRIPT} --device" in line]
        self.assertEqual(len(scripts), 1)
        os.kill(scripts[0], 9)
        self.cluster.wait(job, 30)
        harness.wait_until(lambda: not self.cluster.processes(), 10, "nothing runs")
        for name in os.listdir(self.temporary):  # it could not do this itself
            shutil.rmtree(os.path.join(self.temporary, name))

    def test_daemon_that_cannot_start_is_named_with_what_it_said(self):
        said = self.finish(self.submit(["--device", "tpu:0"], self.arguments("--steps", 2)), "FAILED", 4)
        for node in slurm_cluster.NODES:
            self.assertRegex(said, rf"the daemon on {node} ended \(Exited with exit code 2\); the last it said:\n  .*tpu:0")

    def test_daemon_that_is_missing_on_one_node_is_named(self):
        program = self.write_program("missing", f'[ "$SLURMD_NODENAME" = node1 ] && exec {harness.PENSTOCKD} "$@"\nexit 127')
        said = self.finish(self.submit([*self.cpu, "--penstockd", program], self.arguments("--steps", 2)), "FAILED", 4)
        self.assertIn("the daemon on node2 ended (Exited with exit code 127)", said)
        self.assertNotIn("the daemon on node1", said)

    def test_daemon_that_does_not_get_ready_is_named(self):
        program = self.write_program("slow", f'[ "$SLURMD_NODENAME" = node1 ] && exec {harness.PENSTOCKD} "$@"\n'
                                     "echo thinking >&2\nexec sleep 1000")
        options = [*self.cpu, "--penstockd", program, "--start-timeout", 3]
        said = self.finish(self.submit(options, self.arguments("--steps", 2)), "FAILED", 4)
        self.assertIn("no daemon listens on node2; the last that it said, and srun:\n  thinking\n", said)
        self.assertIn("no daemon on node2: not within 3 s", said)

    def test_daemon_that_is_lost_in_the_middle_is_named(self):
        job = self.begin_long()
        numbers = self.cluster.processes("penstockd")
        os.kill(max(numbers), 9)
        said = self.finish(job, "FAILED", 4, 30)
        self.assertRegex(said, r"stage \d on 127\.0\.0\.1:\d+ was lost at step \d+")
        self.assertRegex(said, r"the daemon on node[12] ended \(Killed\); the last it said:\n(  .*\n)*  .*job=alexnet-")

    def test_gpus_of_the_job_are_its_devices(self):
        # Slurm's GPUs are files here. What each daemon is asked for is what counts, so it says it and ends.
        asked = self.path("asked")
        program = self.write_program("asks", f'echo "$SLURMD_NODENAME $*" >>{asked}; exit 3')
        for options, devices in (
                (["--gpus-per-node=2", "--cpus-per-task=1"], "--device cuda:0 --device cuda:1"),
                (["--gpus-per-node=1", "--cpus-per-task=1"], "--device cuda:0"),
                (["--cpus-per-task=2"], "--device cpu --threads 2")):
            job = self.submit(["--penstockd", program], self.arguments("--steps", 2), ["--nodes=2", *options])
            self.finish(job, "FAILED", 4)
            with open(asked) as file:
                lines = sorted(re.sub(r"--ready-file \S+ ", "", line) for line in file)
            self.assertEqual(lines, [f"{node} --listen [::]:0 {devices} --insecure\n" for node in slurm_cluster.NODES])
            os.unlink(asked)

    def test_example_trains(self):
        settings = dict(PENSTOCK_SLURM=SCRIPT, PENSTOCK_SLURM_DEVICES="cpu", PENSTOCK_SLURM_THREADS="1", TMPDIR=self.temporary)
        job = self.cluster.submit(
            "--cpus-per-task=1", "--gpus-per-node=0", f"--chdir={self.folder}", f"--output={self.folder}/job-%j.out",
            "--export=ALL," + ",".join(f"{name}={value}" for name, value in settings.items()),
            os.path.join(os.path.dirname(SCRIPT), "penstock.sbatch"), "--model", "alexnet", *self.arguments("--steps", 2))
        self.assertIn("2 steps in", self.finish(job, "COMPLETED", 0))
        self.assertTrue(os.path.exists(os.path.join(self.folder, f"penstock-{job}.json")))

    def test_slots_and_threads_follow_the_devices(self):
        log = self.path("daemons.log")
        options = ["--device", "cpu", "--device=cpu", "--log", log, "--memory-limit=2GiB"]
        job = self.submit(options, self.arguments("-p", 4, "--steps", 2), ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=4"])
        said = self.finish(job, "COMPLETED", 0)
        self.assertEqual(len(re.findall("slots=2 # node[12]", said)), 2)
        with open(log) as file:
            lines = file.read()
        for number in 0, 1:
            self.assertRegex(lines, rf"(?m)^{number}: .* device slot 0: cpu: .*, 2 threads, memory limit 2\.0 GiB$")
            self.assertRegex(lines, rf"(?m)^{number}: .* device slot 1: cpu again$")

    def test_wrong_usage_is_refused_before_anything_starts(self):
        for options, arguments, message in (
                ([], ["--local", 2], "--local: penstock-slurm writes the hostfile itself"),
                ([], ["-Hnodes"], "-Hnodes: penstock-slurm writes the hostfile itself"),
                (["--start-timeout", "soon"], [], "--start-timeout soon: must be a whole number of seconds"),
                (["--thread", 2], [], "--thread is unknown"),
                (["--log", "/nowhere/log"], [], "--log /nowhere/log: cannot be written"),
                (["--penstock", "/nowhere"], [], "--penstock /nowhere: there is no such program")):
            with self.subTest(message=message):
                job = self.submit(options, arguments, ["--nodes=1"])
                self.assertIn(message, self.finish(job, "FAILED", 2))

    def write_program(self, name, text):
        path = self.path(name)
        with open(path, "w") as file:
            file.write("#!/bin/sh\n" + text + "\n")
        os.chmod(path, 0o755)
        return path


if __name__ == "__main__":
    harness.main()
