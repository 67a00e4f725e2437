"""SIGTERM: a daemon refuses what is new, ends the steps that run, tells the coordinators, and goes; in time, or at once when told twice."""

import queue
import re
import signal
import time
import unittest
import urllib.error

import harness
import messages

grpc = messages.grpc

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


class Drain(harness.TestCase):
    # A step takes half a second or more, so that a signal comes in its middle.
    micro_batches = 24 if harness.PATIENCE == 1 else 4
    long_step = ["--gradient-accumulation-steps", micro_batches, "--steps", 100000]

    def begin_long(self, daemons, *options, slots=1):
        path = self.path(f"drain-{len(self.runs)}.json")
        run = self.begin_train("-H", self.hostfile(daemons, slots), "--json", path, *self.long_step, *options)
        self.wait_for_steps(path)
        return run, path

    def steps(self, path):
        return [line["step"] for line in harness.read_json_lines(path) if line["type"] == "step"]

    def terminate(self, *daemons):
        for daemon in daemons:
            daemon.process.terminate()

    def assert_ended_its_steps(self, daemon, stages):
        """After the line that says it is stopping, each stage ends, and the last step that it had begun is done."""
        after = daemon.log.split("stopping: SIGTERM", 1)[1]
        # Of a slow coordinator the signal may come between two steps.
        done = [int(step) for step in re.findall(r"a step took .*step=(\d+)", daemon.log)]
        # The coordinator may have all reports, and be gone, before the last of them says it.
        ended = [int(step) for step in re.findall(r"ended: (?:this daemon is stopping|the coordinator closed its connection).*step=(\d+)",
                                                  after)]
        self.assertEqual(len(ended), stages, after)
        self.assertGreaterEqual(len(done), stages, after)
        self.assertEqual(set(ended), {max(done)}, after)
        return ended[0]

    def test_running_step_ends_and_is_reported_and_then_the_job_names_the_daemon(self):
        for victim in 0, 1, 2:
            with self.subTest(victim=victim):
                daemons = self.start_daemons(3, "--log-level", "debug")
                run, path = self.begin_long(daemons)
                self.terminate(daemons[victim])
                run.finish(60)
                self.assertEqual(run.code, 4, run.error)
                self.assertEqual(daemons[victim].process.wait(20 * harness.PATIENCE), 0, daemons[victim].log)
                last = self.assert_ended_its_steps(daemons[victim], 1)
                self.assertIn(f"stage {victim} on {daemons[victim].address}, step {last}: this daemon is stopping", run.error)
                self.assertIn(last, self.steps(path), run.error)
                for daemon in daemons:
                    if daemon is not daemons[victim]:
                        daemon.wait_until_free(10)

    def test_stages_and_replicas_of_one_daemon_end_with_the_same_step(self):
        for options in [], ["-p", 2]:
            with self.subTest(options=options):
                daemon, = self.start_daemons(1, "--log-level", "debug", *["--device", "cpu"] * (4 if options else 3))
                run, path = self.begin_long([daemon], *options, slots=4 if options else 3)
                self.terminate(daemon)
                run.finish(60)
                self.assertEqual(run.code, 4, run.error)
                self.assertEqual(daemon.process.wait(20 * harness.PATIENCE), 0, daemon.log)
                last = self.assert_ended_its_steps(daemon, 4 if options else 3)
                self.assertIn(last, self.steps(path), run.error)

    def test_all_daemons_of_a_job_stop_at_once(self):
        daemons = self.start_daemons(2)
        run, _ = self.begin_long(daemons)
        self.terminate(*daemons)
        run.finish(60)
        self.assertEqual(run.code, 4, run.error)
        self.assertIn("this daemon is stopping", run.error)

    def session(self, channel):
        """A Session that says nothing; gives its answers, and what ends it."""
        requests = queue.Queue()
        answers = channel.stream_stream("/penstock.v1.StageServer/Session", messages.pb.SessionRequest.SerializeToString,
                                        messages.pb.SessionResponse.FromString)(iter(requests.get, None), timeout=60)
        return answers, lambda: requests.put(None)

    def assert_is_told(self, answers):
        failed = next(answer for answer in answers if answer.HasField("failed")).failed
        self.assertEqual((failed.message, failed.code), ("this daemon is stopping", 4))

    @unittest.skipUnless(grpc, "needs grpcio")
    def test_session_without_a_step_ends_at_once(self):
        daemon, = self.start_daemons(1)
        with grpc.insecure_channel(daemon.address) as channel:
            answers, leave = self.session(channel)
            harness.wait_until(lambda: daemon.metrics()["penstock_sessions"] == 1, 10, "the session")
            self.terminate(daemon)
            self.assert_is_told(answers)
            leave()
        self.assertEqual(daemon.process.wait(10 * harness.PATIENCE), 0)

    @unittest.skipUnless(grpc, "needs grpcio")
    def test_while_it_drains_it_is_not_ready_and_refuses_sessions(self):
        daemon, = self.start_daemons(1)
        with grpc.insecure_channel(daemon.address) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            self.assertEqual(check(b"", timeout=10), SERVING)
            run, _ = self.begin_long([daemon], "--gradient-accumulation-steps", 3 * self.micro_batches)
            self.terminate(daemon)
            harness.wait_until(lambda: "stopping: SIGTERM" in daemon.log, 10, "the signal")
            with self.assertRaises(urllib.error.HTTPError) as caught:
                daemon.get("/readyz")
            self.assertEqual(caught.exception.code, 503)
            self.assertEqual(daemon.get("/livez"), "ok\n")
            self.assertEqual(check(b"", timeout=10), NOT_SERVING)
            answers, leave = self.session(channel)
            self.assert_is_told(answers)
            leave()
        self.assertEqual(run.finish(60).code, 4, run.error)
        self.assertEqual(daemon.process.wait(20 * harness.PATIENCE), 0)

    def endless_step(self, *options):
        """A job whose running step never ends, because a neighbour does not answer."""
        daemons = self.start_daemons(2, *options)
        run, _ = self.begin_long(daemons, "--gradient-accumulation-steps", 4)
        daemons[1].process.send_signal(signal.SIGSTOP)
        return daemons, run

    def test_step_that_does_not_end_is_ended_after_the_time_limit(self):
        daemons, run = self.endless_step("--drain-timeout", "1")
        begin = time.monotonic()
        self.terminate(daemons[0])
        self.assertEqual(daemons[0].process.wait(15 * harness.PATIENCE), 0, daemons[0].log)
        self.assertGreater(time.monotonic() - begin, 0.9)
        self.assertIn("the running step did not end within 1 s (--drain-timeout)", daemons[0].log)
        run.finish(30)
        self.assertEqual(run.code, 4, run.error)
        self.assertIn(f"{daemons[0].address}, step", run.error)
        self.assertIn("this daemon is stopping: the running step did not end within 1 s", run.error)

    def test_second_signal_ends_the_running_step(self):
        for number in signal.SIGTERM, signal.SIGINT:
            daemons, run = self.endless_step()
            self.terminate(daemons[0])
            harness.wait_until(lambda: "stopping: SIGTERM" in daemons[0].log, 10, "the first signal")
            self.assertIsNone(daemons[0].process.poll())
            daemons[0].process.send_signal(number)
            self.assertEqual(daemons[0].process.wait(5 * harness.PATIENCE), 0, daemons[0].log)
            self.assertIn(f"stopping now: second signal, {number.name}", daemons[0].log)
            run.finish(30)
            self.assertEqual(run.code, 4, run.error)
            self.assertIn("this daemon is stopping: a second signal", run.error)
            self.assertEqual(daemons[1].stop(), 0)


if __name__ == "__main__":
    harness.main()
