"""Peers that break the wire's rules, written against the protocol with another gRPC: after each of them the daemon
still serves, and nothing of its memory is held. Needs grpcio and protoc."""

import concurrent.futures
import contextlib
import os
import queue
import socket
import struct
import threading
import time
import unittest

import harness
import http2
import messages
import tiny
from streams import Refused, Stream

grpc, pb = messages.grpc, messages.pb


class SilentNeighbour:
    """A next stage that accepts every link, gives no credit and reads no tensor, until it leaves in good order."""

    def __init__(self):
        self.leave = threading.Event()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("penstock.v1.StageServer", {
            "Exchange": grpc.stream_stream_rpc_method_handler(self.exchange, pb.ExchangeMessage.FromString,
                                                              pb.ExchangeMessage.SerializeToString)})])
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def exchange(self, requests, context):
        next(requests)
        yield pb.ExchangeMessage(accepted=pb.ExchangeAccepted())
        self.leave.wait(60 * harness.PATIENCE)

    def stop(self):
        self.leave.set()
        self.server.stop(None)


@unittest.skipUnless(grpc, "needs grpcio")
class Hostile(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.daemon = self.start_daemons(1)[0]
        self.channels = []
        self.streams = []

    def tearDown(self):
        for stream in self.streams:
            stream.close()
        for channel in self.channels:
            channel.close()
        self.daemon.wait_until_free(15)
        self.train("-H", self.hostfile([self.daemon]), "--steps", 1)  # it serves on
        super().tearDown()

    def channel(self):
        channel = grpc.insecure_channel(self.daemon.address, [("grpc.use_local_subchannel_pool", 1),
                                                              ("grpc.max_send_message_length", -1)])
        self.channels.append(channel)
        return channel

    def session(self):
        stream = Stream(self.channel(), "Session", response=pb.SessionResponse.FromString if grpc else None)
        self.streams.append(stream)
        return stream

    def exchange(self):
        stream = Stream(self.channel(), "Exchange", response=pb.ExchangeMessage.FromString)
        self.streams.append(stream)
        return stream

    token = tiny.TOKEN
    open_message = staticmethod(tiny.open_message)

    def opened(self, stage=0, stages=1):
        stream = self.session()
        stream.send(self.open_message(stage, stages))
        stream.answers("opened")
        return stream

    def linked(self):
        """A daemon that is stage 1, and we are its stage 0."""
        session = self.opened(1, 2)
        session.send(pb.SessionRequest(connect=pb.Connect()))
        link = self.exchange()
        link.send(pb.ExchangeMessage(open=pb.ExchangeOpen(protocol_version=4, link_token=self.token)))
        link.answers("accepted")
        self.assertEqual(link.answers("credit").tensors, 1)
        session.answers("ready")
        return session, link

    def refused(self, stream, words, kind="opened"):
        with self.assertRaises(Refused) as caught:
            stream.answers(kind)
        self.assertRegex(str(caught.exception), words)

    # ---- Sessions

    def test_sessions_that_never_open_do_not_fill_the_log(self):
        for _ in range(100):
            stream = self.session()
            stream.send(b"\xff")
            self.assertEqual(stream.end()[0], grpc.StatusCode.INVALID_ARGUMENT)
        self.assertGreaterEqual(self.daemon.metrics()['penstock_errors_total{code="protocol"}'], 100)
        lines = [line for line in self.daemon.log.splitlines() if "ended: not a" in line]
        self.assertGreaterEqual(len(lines), 20)
        self.assertLessEqual(len(lines), 60)

    def test_open_that_is_wrong_is_refused_with_a_reason(self):
        cases = [
            (dict(protocol_version=99), "protocol version 99"), (dict(connections=0), "connections"),
            (dict(connections=4000000000), "connections"), (dict(chunk_bytes=1), "chunk_bytes"),
            (dict(link_token=b"x"), "link token"),
        ]
        for fields, words in cases:
            with self.subTest(fields=fields):
                stream = self.session()
                stream.send(self.open_message(**fields))
                self.refused(stream, words)

    def test_words_about_kernels_that_are_wrong_end_the_session(self):
        def answers(*pairs):
            return pb.SessionRequest(kernel_answers=pb.KernelAnswers(answers=[pb.KernelAnswer(key=k, choice=c) for k, c in pairs]))

        def times(*keys):
            return pb.SessionRequest(time_kernels=pb.TimeKernels(keys=keys))

        def settling(*requests):
            stream = self.session()
            stream.send(self.open_message())
            keys = [question.key for question in stream.answers("kernel_questions").questions]
            for request in requests:
                stream.send(request)
            return stream, keys

        _, keys = settling()
        self.assertIn("linear-forward/n=2/in=256/out=10", keys)
        key = keys[0]
        first = [(answers(("x", "y")), "not asked: x"), (answers((key, "")), "0 characters"), (answers((key, "y" * 200)), "200 characters"),
                 (answers(*[(key, "y")] * 1000), "1000 kernel choices came"), (times(key), "none are open")]
        for request, words in first:
            with self.subTest(words=words):
                self.refused(settling(request)[0], words, "kernel_candidates")
        stream, _ = settling(answers(*[(key, "abacus") for key in keys]))  # none is a kernel: all are open
        candidates = {question.key: list(question.candidates) for question in stream.answers("kernel_candidates").questions}
        self.assertEqual(sorted(candidates), sorted(keys))
        stream.send(times(*keys))
        timed = {}
        for _ in keys:
            message = stream.answers("kernel_times")
            timed[message.key] = len(message.ns)
        self.assertEqual(timed, {key: len(names) for key, names in candidates.items()})
        stream.send(answers(*[(key, names[-1]) for key, names in candidates.items()]))
        stream.answers("opened")
        second = [(answers(), "is none of its"), (answers((key, "abacus")), 'the answer "abacus" is none of its'), (times("x"), "not open: x"),
                  (answers(("x", "y")), "not asked: x")]
        for request, words in second:
            with self.subTest(words=words):
                stream, _ = settling(answers(*[(key, "abacus") for key in keys]))
                stream.answers("kernel_candidates")
                stream.send(request)
                self.refused(stream, words)
        stream = self.opened()
        stream.send(answers())
        self.refused(stream, "kernel_answers came to a session that waits for Connect", "ready")

    def test_words_of_a_client_are_text_when_they_are_quoted(self):
        for name, quoted in (("a" + "\u00e9" * 30, "a" + "\u00e9" * 19 + r"\?"), ("x\ny\x1b[2J", r"x\?y\?\[2J")):
            message = self.open_message()
            message.open.plan.optimizer.name = name
            stream = self.session()
            stream.send(message)
            self.refused(stream, f'unknown optimizer "{quoted}"')
        self.assertNotIn("\x1b", self.daemon.log)

    def test_requests_out_of_place_end_the_session(self):
        early = [pb.SessionRequest(run_step=pb.RunStep()), pb.SessionRequest(save=pb.Save()),
                 pb.SessionRequest(close=pb.Close()), pb.SessionRequest(connect=pb.Connect()), pb.SessionRequest(),
                 pb.SessionRequest(batch=pb.Batch(kind=1), payload=b"x"),
                 pb.SessionRequest(load_parameter=pb.LoadParameter(name="features.0.weight"), payload=b"1234")]
        for request in early:
            with self.subTest(before_open=request.WhichOneof("body")):
                stream = self.session()
                stream.send(request)
                body = request.WhichOneof("body")
                self.refused(stream, "takes no batch and no parameter now" if body in ("batch", "load_parameter") else
                             f"^{body} came to a session that waits for Open" if body else
                             "this daemon, .*, got an unknown request")
        stream = self.opened()
        stream.send(self.open_message())
        self.refused(stream, "open came to a session that waits for Connect")
        stream = self.opened()
        stream.send(pb.SessionRequest(run_step=pb.RunStep()))
        self.refused(stream, "run_step came to a session that waits for Connect")

    def test_steps_and_data_out_of_order_end_the_session(self):
        def ready():
            stream = self.opened()
            stream.send(pb.SessionRequest(connect=pb.Connect()))
            stream.answers("ready")
            return stream

        image = bytes(2 * 3 * 8 * 8)
        cases = [
            (pb.SessionRequest(run_step=pb.RunStep(step=1)), "step 1 was ordered, expected 0"),
            (pb.SessionRequest(run_step=pb.RunStep(learning_rate=float("nan"))), "step 0: the learning rate is nan; it must be finite"),
            (pb.SessionRequest(run_step=pb.RunStep(learning_rate=0.1, beta1=float("inf"))), "step 0: the momentum is inf"),
            (pb.SessionRequest(batch=pb.Batch(kind=1, step=0, micro_batch=1), payload=image), "micro-batch 1"),
            (pb.SessionRequest(batch=pb.Batch(kind=1), payload=image[1:]), "383 bytes came"),
            (pb.SessionRequest(batch=pb.Batch(kind=2), payload=b"\x00\x0b"), "step 0, micro-batch 0: label 11 of sample 1"),
            (pb.SessionRequest(batch=pb.Batch(kind=9), payload=b"\x00"), "unknown kind of batch 9: expected images or labels"),
            (pb.SessionRequest(gradient_scale=pb.GradientScale(scale=1)), "waits for none"),
            (pb.SessionRequest(gradient_scale=pb.GradientScale(scale=float("nan"))), "a gradient scale of nan, .* must be finite"),
            (pb.SessionRequest(gradient_scale=pb.GradientScale(scale=1, skip=True)), "without loss scaling no step is skipped"),
            (pb.SessionRequest(load_parameter=pb.LoadParameter(name="../../etc/passwd"), payload=b"1234"), "unknown parameter of this stage"),
            (pb.SessionRequest(load_parameter=pb.LoadParameter(name="features.0.bias", shape=[5]), payload=b"1234"),
             r"shape is \(5\), plan has \(4\)"),
            (pb.SessionRequest(load_parameter=pb.LoadParameter(name="features.0.bias", shape=[4], offset_bytes=4),
                               payload=b"1234"), "bytes 4"),
            (pb.SessionRequest(load_parameter=pb.LoadParameter(name="features.0.bias", shape=[4]), payload=bytes(20)), "20"),
        ]
        for request, words in cases:
            with self.subTest(words=words):
                stream = ready()
                stream.send(request)
                self.refused(stream, words, "step_report")
        stream = ready()
        for step in range(6):
            stream.send(pb.SessionRequest(run_step=pb.RunStep(step=step)))
        self.refused(stream, "while 4 wait", "step_report")
        for requests, words in (([pb.SessionRequest(save=pb.Save())] * 2000, "before the last one's Saved"),
                                ([pb.SessionRequest(load_parameter=pb.LoadParameter(name="features.0.bias", shape=[4]),
                                                    payload=bytes(16))] * 2000, "before the last parameter was confirmed by Loaded")):
            stream = ready()
            for request in requests:
                stream.send(request)
            with self.assertRaises(Refused) as caught:
                for answer in stream.call:
                    if answer.WhichOneof("body") == "failed":
                        raise Refused(answer.failed)
            self.assertIn(words, str(caught.exception))

    def test_messages_that_are_none_end_the_call(self):
        good = self.open_message().SerializeToString()
        for name, message in {
            "cut off": good[:-3], "noise": os.urandom(500), "field with a huge length": b"\x0a" + b"\xff" * 9 + b"\x01",
            "payload before the header": b"\x7a\x02xx" + good, "payload longer than the message": good + b"\x7a\xff\xff\x7f",
        }.items():
            with self.subTest(name):
                stream = self.session()
                stream.send(message)
                try:
                    self.refused(stream, ".")
                except grpc.RpcError as error:
                    self.assertNotEqual(error.code(), grpc.StatusCode.OK)
        stream = self.session()
        stream.send(bytes(20 << 20))  # over the largest message
        self.assertEqual(stream.end()[0], grpc.StatusCode.RESOURCE_EXHAUSTED)

    def test_many_idle_sessions_are_limited(self):
        streams = [self.session() for _ in range(40)]
        limited = 0
        for stream in streams:
            stream.send(pb.SessionRequest(heartbeat=pb.Heartbeat()))
        for stream in streams:
            try:
                first = next(iter(stream.call))
                limited += first.WhichOneof("body") == "failed" and "the limit is 16" in first.failed.message
            except grpc.RpcError:
                pass
        self.assertGreaterEqual(limited, 20)

    # ---- Neighbours that are said to be sessions of this daemon

    def test_stages_that_lie_about_each_other_are_not_linked(self):
        def opened(stage, **fields):
            message = self.open_message(stage, 2)
            for name, value in fields.items():
                setattr(message.open.plan, name, value)
            stream = self.session()
            stream.send(message)
            stream.answers("opened")
            return stream

        def connect(stream):
            stream.send(pb.SessionRequest(connect=pb.Connect(next_address=self.daemon.address, next_link_token=self.token)))

        for words, ours, theirs in (
                ("has no stage with that token", dict(next_is_local=True), None),
                ("only one of the two plans says that the link is local", dict(next_is_local=True), {}),
                ("runs on the same daemon", {}, dict(previous_is_local=True)),
                ("disagree on the tensors", dict(next_is_local=True), dict(previous_is_local=True, boundary_type=3)),
                ("disagree on the tensors", dict(next_is_local=True, micro_batch_size=1), dict(previous_is_local=True))):
            with self.subTest(words=words):
                next_stage = None if theirs is None else opened(1, **theirs)
                stream = opened(0, **ours)
                connect(stream)
                self.refused(stream, words, "ready")
                if next_stage:
                    next_stage.close()
                self.daemon.wait_until_free(15)
        next_stage = opened(1, previous_is_local=True)
        link = self.exchange()
        link.send(pb.ExchangeMessage(open=pb.ExchangeOpen(protocol_version=4, link_token=self.token)))
        self.assertEqual(link.end()[0], grpc.StatusCode.INVALID_ARGUMENT)
        streams = [opened(0, next_is_local=True) for _ in range(2)]
        connect(streams[0])
        streams[0].answers("ready")
        connect(streams[1])
        self.refused(streams[1], "already linked", "ready")
        streams[0].close()
        self.refused(next_stage, "link to the previous stage: its session on this daemon ended", "ready")

    def test_stage_that_is_its_own_neighbour_ends_with_its_coordinator(self):
        message = self.open_message(1, 3)
        plan = message.open.plan
        plan.first_layer, plan.end_layer = 1, 2  # as much goes out as comes in
        plan.previous_is_local = plan.next_is_local = True
        plan.receive_depth_from_next = plan.send_depth_to_next = 1
        del plan.instructions[:]
        plan.instructions.extend(pb.Instruction(kind=kind, micro_batch=b) for b in range(2) for kind in (7, 2, 6, 9, 3, 8))
        plan.instructions.extend([pb.Instruction(kind=10), pb.Instruction(kind=11)])
        stream = self.session()
        stream.send(message)
        stream.answers("opened")
        stream.send(pb.SessionRequest(connect=pb.Connect(next_link_token=self.token)))
        stream.answers("ready")
        stream.send(pb.SessionRequest(run_step=pb.RunStep()))  # waits for itself: tearDown sees that all is given back

    # ---- Exchanges

    def test_exchange_without_a_session_is_refused(self):
        for message, code in ((pb.ExchangeMessage(open=pb.ExchangeOpen(protocol_version=4, link_token=self.token)),
                               grpc.StatusCode.PERMISSION_DENIED),
                              (pb.ExchangeMessage(open=pb.ExchangeOpen(protocol_version=1, link_token=self.token)),
                               grpc.StatusCode.FAILED_PRECONDITION),
                              (pb.ExchangeMessage(open=pb.ExchangeOpen(protocol_version=4, link_token=b"short")),
                               grpc.StatusCode.INVALID_ARGUMENT),
                              (pb.ExchangeMessage(chunk=pb.TensorChunk()), grpc.StatusCode.INVALID_ARGUMENT),
                              (b"\xff\xff", grpc.StatusCode.INVALID_ARGUMENT)):
            with self.subTest(code=code):
                stream = self.exchange()
                stream.send(message)
                self.assertEqual(stream.end()[0], code)
        lines = ["no session here has this link token", "the neighbour has protocol version 1, this daemon has 4"]
        harness.wait_until(lambda: all(f"refused: {line}" in self.daemon.log for line in lines), 10, "lines of what was refused")
        self.assertRegex(self.daemon.log, r"an exchange from ipv4:127\.0\.0\.1:\d+ was refused: no session here")

        def counted():
            errors = self.daemon.metrics()
            return tuple(errors.get(f'penstock_errors_total{{code="{code}"}}', 0) for code in ("protocol", "version"))

        # Each is counted when the daemon's side of its call is over, which may be after the client has its status.
        harness.wait_until(lambda: counted() == (4, 1), 10, "four errors of protocol and one of version")

    def test_connect_to_what_is_no_host_and_port_is_refused(self):
        """A coordinator has the daemon dial: but not sockets of its machine, nor what else gRPC has names for."""
        for address, words in (("dns://127.0.0.1:53/elsewhere:1", "is not HOST:PORT"), ("unix:relative", "is not unix:/PATH"),
                               ("unix:/run/somebody.sock", "but this daemon listens only on TCP"), ("ipv4:127.0.0.1:1,127.0.0.2:1", "is not HOST:PORT"),
                               ("", "is not HOST:PORT"), ("a" * 300 + ":1", "too long")):
            with self.subTest(address=address[:40]):
                stream = self.session()
                stream.send(self.open_message(0, 2))
                stream.answers("opened")
                stream.send(pb.SessionRequest(connect=pb.Connect(next_address=address, next_link_token=self.token)))
                status, said = stream.end()
                self.assertEqual(status, grpc.StatusCode.INVALID_ARGUMENT)
                self.assertIn(words, said)

    def test_exchange_connection_that_is_not_the_plans_is_refused(self):
        self.opened(1, 2)
        stream = self.exchange()
        stream.send(pb.ExchangeMessage(open=pb.ExchangeOpen(protocol_version=4, link_token=self.token, connection=7)))
        self.assertEqual(stream.end(), (grpc.StatusCode.INVALID_ARGUMENT, "unknown connection 7: the link has 1, counted from 0"))

    def test_tensors_that_are_not_the_plans_end_the_job(self):
        def chunk(**fields):
            size = fields.pop("size", 2048)
            wanted = dict(step=0, micro_batch=0, kind=1, dtype=1, shape=[2, 256], offset_bytes=0)
            return pb.ExchangeMessage(chunk=pb.TensorChunk(**{**wanted, **fields}), payload=bytes(size))

        cases = [
            (chunk(step=1), "step 1"), (chunk(micro_batch=1), "micro-batch 1"), (chunk(kind=2), "a gradient came"),
            (chunk(dtype=2), "dtype"), (chunk(shape=[2, 255]), r"shape \(2, 255\), expected \(2, 256\)"),
            (chunk(shape=[1] * 50), "shape"), (chunk(offset_bytes=2048), "bytes 2048"), (chunk(size=2047), "2047"),
            (chunk(size=4096), "4096"), (chunk(size=0), r"\+0 came"),
            (pb.ExchangeMessage(credit=pb.Credit(tensors=4000000000)), "expected from 1 to the 2 of a step"),
            (pb.ExchangeMessage(credit=pb.Credit(tensors=0)), "credit"), (pb.ExchangeMessage(accepted=pb.ExchangeAccepted()), "an unexpected acceptance"),
            (pb.ExchangeMessage(), "not allowed on an open link"), (b"\x1a\x05\x08", "ExchangeMessage"),
        ]
        for message, words in cases:
            with self.subTest(words=words):
                session, link = self.linked()
                link.send(message)
                self.refused(session, words, "step_report")
                session.close()
                link.close()
        for first, second, words in ((chunk(), chunk(), "expected step 0, micro-batch 1"),
                                     (chunk(), chunk(micro_batch=1), "without a credit")):
            session, link = self.linked()
            link.send(first)
            link.send(second)
            self.refused(session, words, "step_report")

    def test_peer_that_goes_away_ends_the_job(self):
        session, link = self.linked()
        link.call.cancel()
        self.refused(session, "link to the previous stage", "step_report")

    def replica(self):
        """The daemon is replica 1 of two, and we are replica 0: behind it one that takes nothing, before it ourselves."""
        neighbour = SilentNeighbour()
        self.addCleanup(neighbour.stop)
        message = self.open_message(replica_token=self.replica_token)
        message.open.plan.data_parallel_size, message.open.plan.replica, message.open.plan.reduce_bucket_bytes = 2, 1, 1 << 20
        session = self.session()
        session.send(message)
        session.answers("opened")
        session.send(pb.SessionRequest(connect=pb.Connect(next_replica_address=neighbour.address,
                                                          next_replica_token=self.replica_token)))
        link = self.exchange()
        link.send(pb.ExchangeMessage(open=pb.ExchangeOpen(protocol_version=4, link_token=self.replica_token)))
        link.answers("accepted")
        self.assertEqual(link.answers("credit").tensors, 2)
        session.answers("ready")
        return session, link, neighbour

    replica_token = b"fedcba9876543210"
    piece = 96  # floats: half of a sixteenth of the 2,682 parameters, in whole lines of 16

    def test_pieces_of_sums_that_are_not_the_plans_end_the_job(self):
        def chunk(**fields):
            size = fields.pop("size", 4 * self.piece)
            wanted = dict(step=0, micro_batch=0, kind=3, dtype=1, shape=[self.piece], offset_bytes=0)
            return pb.ExchangeMessage(chunk=pb.TensorChunk(**{**wanted, **fields}), payload=bytes(size))

        for message, words in (
                (chunk(kind=1), "an activation came where a sum of gradients"), (chunk(kind=0), "a tensor of unknown kind came"),
                (chunk(step=1), "step 1"), (chunk(micro_batch=1), "micro-batch 1"), (chunk(shape=[self.piece + 16]), "shape"),
                (chunk(dtype=3), "dtype"), (chunk(size=383), "383"), (pb.ExchangeMessage(credit=pb.Credit(tensors=1)), "over a link that sends none")):
            with self.subTest(words=words):
                session, link, _ = self.replica()
                link.send(message)
                self.refused(session, words, "step_report")
                session.close()
                link.close()
        session, link, _ = self.replica()
        for number in range(3):
            link.send(chunk(micro_batch=number))
        self.refused(session, "without a credit", "step_report")

    def test_replica_that_goes_away_ends_the_job_and_is_named(self):
        for leave in "previous", "next":
            with self.subTest(leave=leave):
                session, link, neighbour = self.replica()
                session.send(pb.SessionRequest(run_step=pb.RunStep(learning_rate=0.1)))
                for b in range(2):
                    for kind, size in (1, 2 * 3 * 8 * 8), (2, 2):
                        session.send(pb.SessionRequest(batch=pb.Batch(kind=kind, micro_batch=b), payload=bytes(size)))
                if leave == "previous":
                    link.call.cancel()
                else:
                    neighbour.leave.set()
                with self.assertRaises(Refused) as caught:
                    session.answers("step_report")
                self.assertRegex(str(caught.exception), f"{leave} replica")

    def test_replicas_token_is_wanted_where_there_are_replicas(self):
        for token, replicas in ((b"", 2), (b"short", 2), (self.replica_token, 1)):
            message = self.open_message(replica_token=token)
            message.open.plan.data_parallel_size, message.open.plan.reduce_bucket_bytes = replicas, 1 << 20
            stream = self.session()
            stream.send(message)
            self.refused(stream, f"previous replica's link token has {len(token)} bytes")

    def step_with_a_neighbour_that_takes_nothing(self):
        """The daemon is stage 0 and has computed what its next stage will not take: one tensor waits for a credit, the
        other for a place to wait in."""
        neighbour = SilentNeighbour()
        self.addCleanup(neighbour.stop)
        message = self.open_message(0, 2)
        del message.open.plan.instructions[:]
        message.open.plan.instructions.extend(pb.Instruction(kind=kind, micro_batch=b) for kind, b in [
            (1, 0), (2, 0), (6, 0), (1, 1), (2, 1), (6, 1), (9, 0), (3, 0), (9, 1), (3, 1), (10, 0), (11, 0)])
        message.open.plan.slots = 2
        session = self.session()
        session.send(message)
        session.answers("opened")
        session.send(pb.SessionRequest(connect=pb.Connect(next_address=neighbour.address, next_link_token=self.token)))
        session.answers("ready")
        session.send(pb.SessionRequest(run_step=pb.RunStep(learning_rate=0.1)))
        for b in range(2):
            session.send(pb.SessionRequest(batch=pb.Batch(kind=1, micro_batch=b), payload=bytes(2 * 3 * 8 * 8)))
        return session, neighbour

    def test_peer_that_never_reads_does_not_stop_the_daemon(self):
        self.step_with_a_neighbour_that_takes_nothing()  # which is closed only at the end
        self.assertEqual(self.daemon.get("/livez"), "ok\n")
        self.train("-H", self.hostfile([self.daemon]), "--steps", 1)

    def test_peer_that_leaves_before_it_took_the_tensors_ends_the_job(self):
        session, neighbour = self.step_with_a_neighbour_that_takes_nothing()
        neighbour.leave.set()
        self.refused(session, "the next stage is gone", "step_report")

    # ---- The port itself

    def test_bytes_that_are_no_http2(self):
        for data in (os.urandom(5000), b"GET / HTTP/1.1\r\n\r\n", http2.PREFACE + os.urandom(5000),
                     http2.PREFACE + struct.pack(">I", 0xFFFFFF << 8)):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.daemon.port)) as connection:
                connection.sendall(data)
                connection.settimeout(0.5)
                connection.recv(1000)
        half_open = [socket.create_connection(("127.0.0.1", self.daemon.port)) for _ in range(50)]
        self.assertEqual(self.daemon.get("/readyz"), "ok\n")
        for connection in half_open:
            connection.close()

    def test_whoever_falls_silent_is_sent_away(self):
        begin = time.monotonic()
        coordinator, beginner, neighbour = self.opened(), self.session(), self.exchange()
        question = self.channel().stream_unary("/penstock.v1.StageServer/Describe").future(iter(queue.Queue().get, None))
        threading.Thread(target=lambda: [time.sleep(1) or beginner.send(pb.SessionRequest(heartbeat=pb.Heartbeat()))
                                         for _ in range(16)], daemon=True).start()
        self.refused(coordinator, "no message came from the coordinator", "step_report")
        self.assertGreater(time.monotonic() - begin, 7)
        self.daemon.wait_until_free(5)
        self.refused(beginner, "no Open message came")
        self.assertEqual(neighbour.end()[0], grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertEqual(question.code(), grpc.StatusCode.DEADLINE_EXCEEDED)

    def test_calls_that_ask_nothing_do_not_hold_up_the_daemons_end(self):
        daemon = self.start_daemons(1)[0]
        with grpc.insecure_channel(daemon.address) as channel:
            idle = [Stream(channel, "Exchange"), Stream(channel, "Session"),  # kept: grpcio cancels calls that nobody holds
                    channel.stream_unary("/grpc.health.v1.Health/Watch").future(iter(queue.Queue().get, None)),
                    channel.stream_unary("/penstock.v1.StageServer/Describe").future(iter(queue.Queue().get, None))]
            channel.unary_unary("/penstock.v1.StageServer/Describe")(b"", timeout=10)
            begin = time.monotonic()
            self.assertEqual(daemon.stop(), 0)
            self.assertLess(time.monotonic() - begin, 4 * harness.PATIENCE)
            self.assertEqual(len(idle), 4)

    def test_unknown_method_is_unimplemented(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.channel().unary_unary("/penstock.v1.StageServer/Shutdown")(b"", timeout=10)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_describe_with_noise_is_answered_or_refused(self):
        describe = self.channel().unary_unary("/penstock.v1.StageServer/Describe",
                                              response_deserializer=pb.DescribeResponse.FromString)
        self.assertEqual(describe(b"", timeout=10).protocol_version, 4)
        with self.assertRaises(grpc.RpcError):
            describe(b"\xff" * 100, timeout=10)


if __name__ == "__main__":
    harness.main()
