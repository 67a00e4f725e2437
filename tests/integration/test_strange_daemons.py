"""What the coordinator says of daemons that are none of ours: another version, nonsense, silence. Needs grpcio."""

import itertools
import os
import threading
import time
import unittest

import harness
import messages
from strange import StrangeDaemon

grpc, pb = messages.grpc, messages.pb

# Clears a terminal, in the ways of 7 and 8 bits, and forges a line.
EVIL = "\x1b[2J\x9b2J\nfine: forged"
HARMLESS = "?[2J??2J?fine: forged"


@unittest.skipUnless(grpc, "needs grpcio")
class StrangeDaemons(harness.TestCase):
    def strange(self, **functions):
        daemon = StrangeDaemon(**functions)
        self.addCleanup(daemon.stop)
        return daemon

    def refuse(self, code, words, daemon, *options):
        run = self.train("-H", self.hostfile([daemon]), *options, code=code, seconds=60)
        self.assertRegex(run.error, words)
        self.assertIn(daemon.address, run.error)

    def test_daemon_of_another_version_is_named(self):
        def session(requests, over):
            next(requests)
            yield pb.SessionResponse(failed=pb.Failed(code=6, message="the coordinator speaks protocol version 2, this daemon version 4"))

        self.refuse(1, "this daemon version 4", self.strange(session=session))

    def test_nodes_of_another_version_are_named(self):
        other = self.strange(describe=lambda request, context: pb.DescribeResponse(version="9.9.9", protocol_version=99))
        gone = self.start_daemons(1)[0]
        gone.stop()
        words = f"{other.address}: has protocol version 99, this program has 4: install the same release"
        self.assertRegex(self.penstock("nodes", "-H", self.hostfile([other]), code=1).error, words)
        run = self.penstock("nodes", "-H", self.hostfile([gone, other]), code=4)  # the node that is not there outweighs it
        self.assertRegex(run.error, f"{gone.address}.*cannot be reached")
        self.assertRegex(run.error, words)

    def test_daemons_text_cannot_steer_the_terminal(self):
        def session(requests, over):
            next(requests)
            yield pb.SessionResponse(failed=pb.Failed(code=1, message=EVIL))

        node = pb.DescribeResponse(version=EVIL, protocol_version=4, devices=[pb.Device(name=EVIL)],
                                   running=[pb.RunningStage(job=EVIL, model=EVIL)])
        daemon = self.strange(session=session, describe=lambda request, context: node)
        run = self.penstock("nodes", "-H", self.hostfile([daemon]))
        self.assertEqual(run.out.count(HARMLESS), 5)
        self.assertEqual(len(run.out.splitlines()), 8)
        path = self.path("steps.json")
        run = self.train("-H", self.hostfile([daemon]), "--json", path, code=1)
        self.assertIn(HARMLESS, run.error)
        self.assertNotRegex(run.error, "(?m)^fine")
        self.assertIn(HARMLESS, harness.read_json_lines(path)[-1]["error"])

    def test_server_that_is_no_stage_daemon_is_named(self):
        self.refuse(1, "UNIMPLEMENTED", self.strange())

    def test_answers_that_are_none_are_refused_and_not_called_a_loss(self):
        def noise(requests, over):
            next(requests)
            yield b"\xff\xff\xff"

        def out_of_place(requests, over):
            next(requests)
            yield pb.SessionResponse(step_report=pb.StepReport(step=77))
            over.wait(30)

        def saved_too_early(requests, over):
            next(requests)
            yield pb.SessionResponse(saved_parameter=pb.SavedParameter(name="features.0.weight"), payload=bytes(100))
            over.wait(30)

        self.refuse(1, "not a penstock.v1.SessionResponse", self.strange(session=noise))
        self.refuse(1, "unexpected answer", self.strange(session=out_of_place))
        self.refuse(1, "unexpected answer", self.strange(session=saved_too_early))

    def test_daemon_that_ends_while_it_opens_was_lost_and_is_not_out_of_reach(self):
        def ends(requests, over):
            next(requests)
            yield pb.SessionResponse(heartbeat=pb.Heartbeat())

        daemon = self.strange(session=ends)
        self.refuse(4, f"stage 0 on {daemon.address} was lost before the first step: ", daemon)

    def answers(self, **instead):
        """A session that gives every request its answer, or what `instead` gives for its kind."""
        questions = pb.SessionResponse(kernel_questions=pb.KernelQuestions(machine="strange"))
        usual = {"open": lambda request: [questions, pb.SessionResponse(opened=pb.Opened())],
                 "connect": lambda request: [pb.SessionResponse(ready=pb.Ready())],
                 "run_step": lambda request: [pb.SessionResponse(step_report=pb.StepReport(step=request.run_step.step))]}

        def session(requests, over):
            for request in requests:
                yield from {**usual, **instead}.get(request.WhichOneof("body"), lambda request: [])(request)

        return session

    def test_saved_values_that_have_no_place_leave_no_file(self):
        def saved(name, offset):
            return [pb.SessionResponse(saved_parameter=pb.SavedParameter(name=name, offset_bytes=offset), payload=bytes(100))]

        path = self.path("saved.safetensors")
        for words, save in ((r"bytes 9223372036854775808\+100 of features.0.weight: unknown parameter or range", saved("features.0.weight", 2**63)),
                            (r"bytes 4\+100 of features.0.weight: unknown parameter or range", saved("features.0.weight", 4)),
                            ("of features.77.weight: unknown parameter or range", saved("features.77.weight", 0)),
                            (r"Saved came before all parameters: features.0.weight has 0 of \d+ bytes",
                             [pb.SessionResponse(saved=pb.Saved())]),
                            (r"Saved came before all parameters: features.0.weight has 100 of \d+ bytes",
                             [*saved("features.0.weight", 0), pb.SessionResponse(saved=pb.Saved(parameters=16))])):
            daemon = self.strange(session=self.answers(save=lambda request, save=save: save))
            self.refuse(1, f"stage 0 on {daemon.address}: .*{words}", daemon, "--steps", 2, "--save", path)
            self.assertFalse([name for name in os.listdir(self.folder) if "saved.safetensors" in name])

    def test_daemon_that_sends_heartbeats_and_nothing_else_is_named_with_what_it_owes(self):
        def beat(request):
            while True:
                time.sleep(0.3)
                yield pb.SessionResponse(heartbeat=pb.Heartbeat(device_ns=20 * 10**9))

        def beat_from_step_1(request):
            return beat(request) if request.run_step.step == 1 else [pb.SessionResponse(step_report=pb.StepReport(step=0))]

        for words, instead in ((": .*did not send its Opened: .* for 3 s", {"open": beat}),
                               (": .*did not send its Ready: .* for 1 s", {"connect": beat}),
                               (", step 1: .*did not send its StepReport: .* for 1 s, and its device has run one instruction for 20 s",
                                {"run_step": beat_from_step_1}),
                               (": .*did not send its Saved", {"save": beat})):
            daemon = self.strange(session=self.answers(**instead))
            self.refuse(4, f"penstock: stage 0 on {daemon.address}{words}", daemon, "--steps", 2, "--progress-timeout", 1,
                        "--save", self.path("owed.safetensors"))

    def test_step_longer_than_the_limit_of_progress_is_waited_for_while_instructions_are_done(self):
        def slow(request):
            for instructions in range(1, 6):
                time.sleep(0.5)
                yield pb.SessionResponse(heartbeat=pb.Heartbeat(instructions=instructions))
            yield pb.SessionResponse(step_report=pb.StepReport(step=0))

        self.train("-H", self.hostfile([self.strange(session=self.answers(run_step=slow))]), "--steps", 1, "--progress-timeout", 1)

    def test_words_about_kernels_that_are_wrong_are_refused(self):
        key, machine = "linear-forward/n=4/in=9/out=7", "strange/threads=1"
        question = pb.KernelQuestion(layer=3, key=key)
        offer = pb.KernelQuestion(layer=3, key=key, candidates=["a", "b"])
        questions = pb.SessionResponse(kernel_questions=pb.KernelQuestions(machine=machine, questions=[question]))

        def candidates(*offers):
            return pb.SessionResponse(kernel_candidates=pb.KernelCandidates(questions=offers))

        def asked(**fields):
            return pb.SessionResponse(kernel_questions=pb.KernelQuestions(**{"machine": machine, "questions": [question], **fields}))

        def times(key, *ns):
            return pb.SessionResponse(kernel_times=pb.KernelTimes(key=key, ns=ns))

        cases = [
            ("have no valid machine name", asked(machine="")), ("have no valid machine name", asked(machine="x" * 200)), ("have no valid machine name", asked(machine="a b")),
            ("more than 1024", asked(questions=[question] * 1025)), ("an invalid question", asked(questions=[pb.KernelQuestion(layer=99, key=key)])),
            ("an invalid question", asked(questions=[pb.KernelQuestion(key="a\nb")])), ("unexpected answer", questions, questions),
            ("unexpected answer", pb.SessionResponse(opened=pb.Opened())), ("unexpected answer", candidates(offer)),
            ("KernelCandidates without candidates", questions, candidates()), ("KernelCandidates without candidates", questions, candidates(pb.KernelQuestion(key="other", candidates=["a"]))),
            ("KernelCandidates without candidates", questions, candidates(question)), ("unexpected answer", questions, candidates(offer), candidates(offer)),
            ("KernelCandidates without candidates", questions, candidates(pb.KernelQuestion(key=key, candidates=["a"] * 9))),
            ("KernelCandidates without candidates", questions, candidates(pb.KernelQuestion(key=key, candidates=["a", " "]))),
            ("not asked to time", questions, candidates(offer), times("other", 1, 2)), ("not asked to time", questions, candidates(offer), times(key, 1)),
            ("not asked to time", questions, candidates(offer), times(key, 1, 2), times(key, 1, 2)),
            ("unexpected answer", questions, candidates(offer), pb.SessionResponse(opened=pb.Opened())),
        ]
        for words, *responses in cases:
            with self.subTest(words=words, responses=responses):
                def session(requests, over):
                    next(requests)
                    yield from responses
                    over.wait(30)

                self.refuse(1, words, self.strange(session=session))

    def stop_after_step_0(self, before, after, *options):
        """Trains on a daemon that reports step 0 and stops, and on its neighbour, whose answers are `before` and `after` the stop."""
        neighbour_answered, stopped = threading.Event(), threading.Event()

        def answers(run_step):
            def session(requests, over):
                for request in requests:
                    kind = request.WhichOneof("body")
                    if kind == "open":
                        yield pb.SessionResponse(kernel_questions=pb.KernelQuestions(machine="strange"))
                        yield pb.SessionResponse(opened=pb.Opened())
                    elif kind == "connect":
                        yield pb.SessionResponse(ready=pb.Ready())
                    elif kind == "run_step" and request.run_step.step == 0:
                        yield from run_step()
                        over.wait(30)
            return session

        def neighbour():
            yield from before
            neighbour_answered.set()
            stopped.wait(20)
            yield from after

        def stopping():
            neighbour_answered.wait(20)
            time.sleep(0.3 if before else 0)  # longer than it takes to read them
            yield pb.SessionResponse(step_report=pb.StepReport(step=0, loss=2.5))
            yield pb.SessionResponse(failed=pb.Failed(code=4, message="this daemon is stopping", step=0, drained=True))
            stopped.set()

        daemons, path = [self.strange(session=answers(neighbour)), self.strange(session=answers(stopping))], self.path("steps.json")
        run = self.train("-H", self.hostfile(daemons), "--json", path, "--steps", 3, *options, code=4, seconds=60)
        self.assertIn(f"stage 1 on {daemons[1].address}, step 0: this daemon is stopping", run.error)
        return [line["step"] for line in harness.read_json_lines(path) if line["type"] == "step"]

    report = pb and pb.SessionResponse(step_report=pb.StepReport(step=0))
    missed = pb and pb.SessionResponse(failed=pb.Failed(code=4, message="the next stage is gone", step=1, lost_peer=True, peer_stage=1))

    def beats(self, seconds, makes_progress):
        for beat in range(int(seconds / 0.2)):
            time.sleep(0.2)
            yield pb.SessionResponse(heartbeat=pb.Heartbeat(instructions=beat if makes_progress else 1))

    def test_step_that_was_done_counts_when_neighbours_miss_a_stopping_daemon_first(self):
        self.assertEqual(self.stop_after_step_0([self.report, self.missed], []), [0])

    def test_late_report_of_a_stopping_daemons_last_step_is_waited_for_while_there_is_progress(self):
        self.assertEqual(self.stop_after_step_0([], itertools.chain(self.beats(6, True), [self.report]), "--progress-timeout", 2), [0])

    def test_report_that_cannot_come_is_not_waited_for_when_a_daemon_stops(self):
        for after, options in ([self.missed], ()), (self.beats(20, False), ("--progress-timeout", 1)):
            begin = time.monotonic()
            self.assertEqual(self.stop_after_step_0([], after, *options), [])
            self.assertLess(time.monotonic() - begin, 4.5 * harness.PATIENCE)

    def test_daemon_that_never_answers_is_lost_after_its_silence(self):
        def session(requests, over):
            over.wait(60)
            return iter(())

        begin = time.monotonic()
        self.refuse(4, "no message came from it for", self.strange(session=session))
        self.assertGreater(time.monotonic() - begin, 7)


if __name__ == "__main__":
    harness.main()
