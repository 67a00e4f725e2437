"""Daemons on hosts of their own, joined by a network that can be slow and can be cut. Needs root; see namespaces.py."""

import os
import statistics
import subprocess
import time
import unittest

import certificates
import harness
import namespaces


def setUpModule():
    reason = namespaces.unavailable()
    if reason:
        raise unittest.SkipTest(reason)


class Namespaces(harness.TestCase):
    # Much crosses the network and little is computed: AlexNet is cut behind its first convolution.
    steps = 5
    cut_early = ["--split", 1, "--micro-batch-size", 8]

    def start_hosts(self, count, authority=None):
        """`count` hosts with a daemon each, and one more for the coordinator. With an authority they speak TLS, each with a
        certificate for its own address."""
        self.network = namespaces.Network(count + 1)
        self.addCleanup(self.network.close)  # after tearDown, which ends the daemons
        self.coordinator = count
        for host in range(count):
            certificate = authority and authority.issue(f"host-{host}", self.network.address(host))
            self.daemons.append(namespaces.Daemon(self.network, host, self.folder, certificate=certificate))
        return self.daemons

    def begin(self, *arguments):
        if "-H" not in arguments:  # --local: on this machine
            return super().begin(*arguments)
        run = harness.Run(*map(str, arguments), inside=self.network.inside(self.coordinator))
        self.runs.append(run)
        return run

    def read_steps(self, *arguments):
        path = self.path("steps.json")
        self.train("--json", path, "--steps", self.steps, *arguments)
        return [line for line in harness.read_json_lines(path) if line["type"] == "step"]

    def begin_long(self, hostfile, *options):
        path = self.path(f"long-{len(self.runs)}.json")
        run = self.begin_train("-H", hostfile, "--steps", 100000, "--json", path, *options)
        self.wait_for_steps(path)
        return run

    def test_two_hosts_compute_what_one_machine_does(self):
        hostfile = self.hostfile(self.start_hosts(2))
        losses = self.losses("-H", hostfile, "-p", 2, "--steps", self.steps)
        self.assertEqual(len(losses), self.steps)
        self.assertEqual(losses, self.losses("--local", 2, "--threads", 1, "--steps", self.steps))

    def test_two_hosts_with_tls_compute_what_one_machine_does(self):
        authority = certificates.Authority(os.path.join(self.folder, "authority"))
        hostfile = self.hostfile(self.start_hosts(2, authority))
        coordinator = authority.issue("coordinator", "coordinator.example.org")
        losses = self.losses("-H", hostfile, "-p", 2, "--steps", self.steps, *coordinator.options)
        self.assertEqual(losses, self.losses("--local", 2, "--threads", 1, "--steps", self.steps))

    def test_names_in_etc_hosts_wait_for_no_name_server(self):
        self.start_hosts(2)
        files = {"hosts": "".join(f"{self.network.address(host)} node-{host}\n" for host in range(2)),
                 "resolv.conf": f"nameserver {self.network.address(100)}\n"}  # which nobody has
        for name, text in files.items():
            with open(self.path(name), "w") as file:
                file.write(text)
        # What ip netns exec runs has mounts of its own.
        with_files = 'mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"'
        names = [f"node-{host}:{daemon.port}" for host, daemon in enumerate(self.daemons)]
        begin = time.monotonic()
        done = subprocess.run([*self.network.inside(self.coordinator), "sh", "-c", with_files, self.folder, harness.PENSTOCK, "nodes", *names],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(time.monotonic() - begin, 2 * harness.PATIENCE, "asking name servers takes three seconds or more")

    def test_four_hosts_compute_what_one_machine_does(self):
        hostfile = self.hostfile(self.start_hosts(4))
        losses = self.losses("-H", hostfile, "-p", 4, "--steps", self.steps)
        self.assertEqual(losses, self.losses("--local", 4, "--threads", 1, "--steps", self.steps))

    def test_replicas_on_four_hosts_compute_what_one_machine_does(self):
        hostfile = self.hostfile(self.start_hosts(4))
        for size in 2, 0:  # two replicas of two stages, and four whole models
            losses = self.losses("-H", hostfile, "-p", size, "--steps", 2)
            self.assertEqual(losses, self.losses("--local", 4, "-p", size, "--threads", 1, "--steps", 2))

    def test_limited_link_sets_the_time_of_a_step(self):
        hostfile = self.hostfile(self.start_hosts(2))
        megabits = 16
        free = self.read_steps("-H", hostfile, *self.cut_early)
        self.network.limit(1, megabits)
        begin, sent = time.monotonic(), self.network.sent_bytes(1)
        limited = self.read_steps("-H", hostfile, *self.cut_early)
        seconds, sent = time.monotonic() - begin, self.network.sent_bytes(1) - sent
        self.assertEqual([step["loss"] for step in limited], [step["loss"] for step in free])

        # What left host 1 is at least its gradients, and not more than the link lets through.
        bytes_of_step = limited[-1]["stages"][1]["sent_bytes"]
        rate = megabits * 1e6 / 8
        self.assertGreater(sent, bytes_of_step * self.steps)
        self.assertLess(sent / seconds, rate)

        # In a step all gradients cross one after another, while activations cross the other way, except for those of
        # the first micro-batch; the rest is computing, and TCP that finds its speed.
        micro_batches = 4
        crossing = bytes_of_step / rate

        def median(steps):
            return statistics.median(step["step_seconds"] for step in steps[1:])

        self.assertGreater(crossing, 0.8)  # seconds: far above what a step takes otherwise to be exchanged
        self.assertGreater(median(limited), crossing)
        self.assertLess(bytes_of_step / median(limited), rate)
        self.assertLess(median(limited), 1.25 * crossing * (micro_batches + 1) / micro_batches + median(free))

        # Half the rate takes twice as long.
        self.network.limit(1, megabits / 2)
        slower = self.read_steps("-H", hostfile, *self.cut_early)
        self.assertGreater(median(slower), 2 * crossing)
        self.assertGreater(median(slower) - median(limited), 0.8 * crossing)

        # Of steps without a limit the best one, because other work on this machine may make some of them slow.
        self.network.unlimit(1)
        unlimited = self.read_steps("-H", hostfile, *self.cut_early)
        self.assertLess(min(step["step_seconds"] for step in unlimited[1:]), median(limited))

    def end_by(self, fault, hostfile):
        """Begins a job, brings a fault on the network in the middle of a step, and gives the error that the job ends with."""
        self.network.limit(1, 16)  # so that most of a step is on the network
        run = self.begin_long(hostfile, *self.cut_early)
        fault()
        begin = time.monotonic()
        run.finish(30)
        self.assertEqual(run.code, 4, run.error)
        # A silent daemon is lost after 11 seconds. A link between neighbours is closed by the kernel after 16 seconds without an answer:
        # a neighbour that is paused for less than 8 seconds must not be lost.
        self.assertLess(time.monotonic() - begin, 20 * harness.PATIENCE)
        for daemon in self.daemons:  # one that is cut off too, on its own
            daemon.wait_until_free(15)
        self.network.unlimit(1)
        return run.error

    def test_host_that_is_cut_off_is_named_and_serves_the_next_job(self):
        daemons = self.start_hosts(2)
        hostfile = self.hostfile(daemons)
        expected = self.losses("-H", hostfile, "--steps", 2)
        for victim in 0, 1:
            error = self.end_by(lambda victim=victim: self.network.cut(victim), hostfile)
            # Found by the coordinator, or by its neighbour: "stage 1 on B, step 7: stage 0 on A: link to the previous stage: ..."
            self.assertRegex(error, rf"stage {victim} on {daemons[victim].address}(: link to the | was lost at step \d+)")
            self.network.mend(victim)
            self.assertEqual(self.losses("-H", hostfile, "--steps", 2), expected)

    def test_link_between_neighbours_that_is_cut_is_named_and_both_serve_the_next_job(self):
        daemons = self.start_hosts(2)
        hostfile = self.hostfile(daemons)
        error = self.end_by(lambda: self.network.part(0, 1), hostfile)
        self.assertRegex(error, "link to the (previous|next) stage")
        for daemon in daemons:
            self.assertIn(daemon.address, error)
        self.network.join(0, 1)
        self.train("-H", hostfile, "--steps", 2)

    def test_replica_that_is_cut_off_in_a_reduction_is_named_and_all_serve_the_next_job(self):
        daemons = self.start_hosts(3)
        hostfile = self.hostfile(daemons)
        victim = 1
        self.network.limit(victim, 400)  # 300 MB of gradients leave each host in a step: seconds
        run = self.begin_long(hostfile, "-p", 0)
        sent = self.network.sent_bytes(victim)
        harness.wait_until(lambda: self.network.sent_bytes(victim) > sent + 50e6, 60, "a reduction under way")
        self.network.cut(victim)
        begin = time.monotonic()
        run.finish(30)
        self.assertEqual(run.code, 4, run.error)
        self.assertLess(time.monotonic() - begin, 12 * harness.PATIENCE)
        self.assertIn(daemons[victim].address, run.error)
        for daemon in daemons:
            daemon.wait_until_free(12)
        self.network.mend(victim)
        self.network.unlimit(victim)
        self.train("-H", hostfile, "-p", 0, "--steps", 2)

    def test_coordinator_that_is_cut_off_frees_every_daemon(self):
        daemons = self.start_hosts(2)
        hostfile = self.hostfile(daemons)
        run = self.begin_long(hostfile)
        self.network.cut(self.coordinator)
        run.finish(30)
        self.assertEqual(run.code, 4, run.error)
        for daemon in daemons:
            daemon.wait_until_free(12)
        self.network.mend(self.coordinator)
        self.train("-H", hostfile, "--steps", 2)

    def test_host_that_cannot_be_reached_is_named(self):
        daemons = self.start_hosts(2)
        hostfile = self.path("hostfile-unreachable")
        nobody = f"{self.network.address(100)}:7070"
        with open(hostfile, "w") as file:
            file.write(f"{daemons[0].address} slots=1\n{nobody} slots=1\n")
        run = self.penstock("train", "--dataset", self.dataset, *self.small, "-H", hostfile, "--steps", 2, code=4, seconds=40)
        self.assertIn(nobody, run.error)
        self.assertNotIn(daemons[0].address, run.error)
        daemons[0].wait_until_free(5)


if __name__ == "__main__":
    harness.main()
