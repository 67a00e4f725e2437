"""Processes that die, hang or are interrupted: the job ends with the right name and code, and the others are free again."""

import os
import signal
import time

import harness


class Faults(harness.TestCase):
    def begin_long(self, daemons, *options):
        path = self.path(f"long-{len(self.runs)}.json")
        run = self.begin_train("-H", self.hostfile(daemons), "--steps", 100000, "--json", path, *options)
        self.wait_for_steps(path)
        return run

    def test_daemon_killed_is_named_with_the_step_and_the_others_are_free(self):
        for victim in 0, 1, 2:
            with self.subTest(victim=victim):
                daemons = self.start_daemons(3)
                run = self.begin_long(daemons)
                daemons[victim].may_end = True
                daemons[victim].kill()
                begin = time.monotonic()
                run.finish(30)
                self.assertEqual(run.code, 4, run.error)
                self.assertRegex(run.error, rf"stage {victim} on {daemons[victim].address} was lost at step \d+")
                for daemon in daemons:
                    if daemon is not daemons[victim]:
                        daemon.wait_until_free(5)
                self.assertLess(time.monotonic() - begin, 5 * harness.PATIENCE)

    def test_coordinator_killed_frees_every_daemon(self):
        daemons = self.start_daemons(2)
        run = self.begin_long(daemons)
        self.assertGreater(daemons[0].used_bytes(), 0)
        run.process.kill()
        run.finish()
        for daemon in daemons:
            daemon.wait_until_free(10)
        self.train("-H", self.hostfile(daemons), "--steps", 2)

    def test_coordinator_interrupted_says_so_and_frees_every_daemon(self):
        daemons = self.start_daemons(2)
        for number in signal.SIGINT, signal.SIGHUP:
            run = self.begin_long(daemons, "--save", self.path("never.safetensors"))
            run.process.send_signal(number)
            run.finish(15)
            self.assertEqual(run.code, 1)
            self.assertIn("interrupted at step", run.error)
            self.assertFalse([name for name in os.listdir(self.folder) if name.startswith("never")])
            for daemon in daemons:
                daemon.wait_until_free(5)

    def test_daemon_that_hangs_is_lost_after_its_silence(self):
        daemons = self.start_daemons(2)
        run = self.begin_long(daemons)
        daemons[1].process.send_signal(signal.SIGSTOP)
        run.finish(30)
        self.assertEqual(run.code, 4, run.error)
        # It is named itself, not by a neighbour whose link to it broke.
        self.assertRegex(run.error, rf"penstock: stage 1 on {daemons[1].address} was lost at step \d+: no message came from it for")
        daemons[0].wait_until_free(5)
        daemons[1].process.send_signal(signal.SIGCONT)
        daemons[1].wait_until_free(15)
        self.train("-H", self.hostfile(daemons), "--steps", 2)

    def test_daemon_stopped_by_its_administrator_tells_the_job(self):
        daemons = self.start_daemons(2)
        run = self.begin_long(daemons)
        self.assertEqual(daemons[1].stop(), 0)
        run.finish(30)
        self.assertEqual(run.code, 4, run.error)
        self.assertIn(daemons[1].address, run.error)
        daemons[0].wait_until_free(5)

    def test_one_job_dies_and_the_other_on_the_same_daemons_goes_on(self):
        daemons = self.start_daemons(2)
        doomed = self.begin_long(daemons)
        path = self.path("survivor.json")
        survivor = self.begin_train("-H", self.hostfile(daemons), "--steps", 30, "--json", path)
        self.wait_for_steps(path)
        doomed.process.kill()
        self.assertEqual(survivor.finish().code, 0, survivor.error)

    def test_local_daemons_end_with_their_coordinator(self):
        path = self.path("local.json")
        run = self.begin_train("--local", 2, "--steps", 100000, "--json", path)
        self.wait_for_steps(path)
        children = open(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read().split()
        self.assertEqual(len(children), 2)
        run.process.kill()
        run.finish()
        for child in children:
            harness.wait_until(lambda child=child: not os.path.exists(f"/proc/{child}"), 10, "a local daemon's end")


if __name__ == "__main__":
    harness.main()
