"""A data-parallel replica that is lost in the middle of a reduction ends the job with its name, and the others are free."""

import signal
import time

import harness


class ReplicaFaults(harness.TestCase):
    # 24 samples a step.
    small = ["--image-size", 63, "--lr", 0.01, "--train-batch-size", 24]

    def begin_long(self, daemons, *options):
        path = self.path(f"long-{len(self.runs)}.json")
        run = self.begin_train("-H", self.hostfile(daemons), "--micro-batch-size", 2, "--steps", 100000, "--json", path, *options)
        self.wait_for_steps(path)
        run.path = path
        return run

    def test_replica_killed_is_named_and_the_others_are_free(self):
        for count, stages, victim in (3, 0, 0), (4, 2, 3):
            with self.subTest(count=count, stages=stages, victim=victim):
                daemons = self.start_daemons(count)
                run = self.begin_long(daemons, "-p", stages)
                replicas = count // max(stages, 1)
                daemons[victim].may_end = True
                daemons[victim].kill()
                begin = time.monotonic()
                run.finish(30)
                self.assertEqual(run.code, 4, run.error)
                self.assertRegex(run.error, rf"penstock: stage {victim // replicas} of replica {victim % replicas} on "
                                            rf"{daemons[victim].address} was lost at step \d+")
                for daemon in daemons:
                    if daemon is not daemons[victim]:
                        daemon.wait_until_free(5)
                self.assertLess(time.monotonic() - begin, 5 * harness.PATIENCE)

    def test_daemon_that_is_stopped_for_less_than_eight_seconds_keeps_its_job_and_for_longer_is_lost(self):
        daemons = self.start_daemons(4)  # each has links to the coordinator, to a neighbour and to a replica
        run = self.begin_long(daemons, "-p", 2)
        daemons[1].process.send_signal(signal.SIGSTOP)
        time.sleep(7.5)  # the time itself is tested
        daemons[1].process.send_signal(signal.SIGCONT)
        with open(run.path) as file:
            done = file.read().count('"type":"step"')
        self.wait_for_steps(run.path, done + 2)
        daemons[1].process.send_signal(signal.SIGSTOP)
        run.finish(30)
        self.assertEqual(run.code, 4, run.error)
        self.assertRegex(run.error, f"penstock: stage 0 of replica 1 on {daemons[1].address} was lost at step .*no message came from it")
        daemons[0].wait_until_free(5)
        daemons[1].process.send_signal(signal.SIGCONT)
        daemons[1].wait_until_free(15)


if __name__ == "__main__":
    harness.main()
