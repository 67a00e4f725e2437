"""Every limit is hit: who hits it is told, the metric counts it, and the daemon serves on. docs/limits.md has the table."""

import contextlib
import os
import queue
import resource
import socket
import threading
import unittest

import harness
import messages
from test_hostile import Stream

grpc, pb = messages.grpc, messages.pb
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


@unittest.skipUnless(grpc, "needs grpcio")
class Limits(harness.TestCase):
    def tearDown(self):
        for daemon in self.daemons:
            self.assert_serves(daemon)
        super().tearDown()

    def start(self, *options):
        return self.start_daemons(1, *options)[0]

    def channel(self, daemon, **options):
        channel = grpc.insecure_channel(daemon.address, [("grpc.use_local_subchannel_pool", 1), *options.items(),
                                                         ("grpc.max_send_message_length", -1)])
        self.addCleanup(channel.close)
        return channel

    def describe(self, daemon, **how):
        with grpc.insecure_channel(daemon.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            call = channel.unary_unary("/penstock.v1.StageServer/Describe")
            return call(b"", timeout=10 * harness.PATIENCE, **how)

    def assert_serves(self, daemon):
        def answers():
            with contextlib.suppress(grpc.RpcError):
                return self.describe(daemon)

        harness.wait_until(answers, 30, "an answer to Describe")

    def connect(self, daemon):
        connection = socket.create_connection(("127.0.0.1", daemon.port))
        self.addCleanup(connection.close)
        return connection

    @staticmethod
    def hits(daemon, limit):
        return daemon.metrics()[f'penstock_limit_hits_total{{limit="{limit}"}}']

    def wait_for_hits(self, daemon, limit, count=1):
        harness.wait_until(lambda: self.hits(daemon, limit) >= count, 30, f"{count} hits of {limit}")

    def refused(self, call, words, status=None):
        """The call ends with RESOURCE_EXHAUSTED, or what `status` says, and words that tell why."""
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        self.assertEqual(caught.exception.code(), status or grpc.StatusCode.RESOURCE_EXHAUSTED, caught.exception)
        self.assertIn(words, caught.exception.details())

    # ---- Sessions and calls

    def test_sessions(self):
        daemon = self.start("--max-sessions", "2")
        streams = [Stream(self.channel(daemon), "Session", response=pb.SessionResponse.FromString) for _ in range(3)]
        self.wait_for_hits(daemon, "sessions")
        ends = queue.Queue()
        for stream in streams:
            threading.Thread(target=lambda stream=stream: ends.put(stream.end()), daemon=True).start()
        code, words = ends.get(timeout=20 * harness.PATIENCE)
        self.assertEqual(code, grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertIn("--max-sessions", words)
        self.assertEqual(self.hits(daemon, "sessions"), 1)
        for stream in streams:
            stream.close()

    def test_calls_at_once_on_a_connection_wait(self):
        daemon = self.start("--max-streams", "3")
        channel = self.channel(daemon)
        held = [Stream(channel, "Exchange") for _ in range(3)]
        self.wait_for_hits(daemon, "streams")
        waiting = channel.unary_unary("/penstock.v1.StageServer/Describe").future(b"", timeout=60 * harness.PATIENCE)
        self.assert_serves(daemon)  # on another connection
        self.assertFalse(waiting.done())
        held[0].close()
        self.assertTrue(waiting.result())

    def test_calls_watchers_and_exchanges_of_all_connections(self):
        daemon = self.start("--max-streams", "1000")
        channel = self.channel(daemon)
        question = channel.stream_unary("/penstock.v1.StageServer/Describe")
        for limit, count, begin in (
                ("calls", 256, lambda: question.future(iter(queue.Queue().get, None))),
                ("watchers", 64, lambda: channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")),
                ("exchanges", 256, lambda: Stream(channel, "Exchange").call)):
            with self.subTest(limit=limit):
                calls = [begin() for _ in range(count + 5)]
                self.wait_for_hits(daemon, limit, 5)
                ended = harness.wait_until(lambda: [call for call in calls if call.done()], 20, "refusals")
                self.assertEqual(ended[0].code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
                for call in calls:
                    call.cancel()

    # ---- Sizes

    def test_message_size(self):
        daemon = self.start("--max-message-size", "5MiB")
        call = self.channel(daemon).unary_unary("/penstock.v1.StageServer/Describe")
        self.refused(lambda: call(b"\x7a" + bytes(6 << 20), timeout=20), "--max-message-size")
        self.assertEqual(self.hits(daemon, "message_size"), 1)
        # Far beyond, gRPC itself refuses, and does not say so to the daemon.
        self.refused(lambda: call(bytes(20 << 20), timeout=20), "larger than max")

    def test_message_size_holds_a_chunk(self):
        daemon = self.start("--max-message-size", "5MiB")
        run = self.train("-H", self.hostfile([daemon]), "--steps", 1, "--chunk-size", "8MiB", code=1)
        self.assertIn("--max-message-size", run.error)
        self.train("-H", self.hostfile([daemon]), "--steps", 1)

    def test_metadata_size(self):
        daemon = self.start("--max-metadata-size", "4KiB")
        self.describe(daemon, metadata=[("x-note", "x" * 3000)])
        self.assertEqual(self.hits(daemon, "metadata_size"), 0)
        self.refused(lambda: self.describe(daemon, metadata=[("x-note", "x" * 5000)]), "--max-metadata-size")
        self.assertEqual(self.hits(daemon, "metadata_size"), 1)
        with self.assertRaises(grpc.RpcError):  # by gRPC
            self.describe(daemon, metadata=[("x-note", "x" * 50000)])

    # ---- Connections

    def test_connections(self):
        daemon = self.start("--max-connections", "5", "--handshake-timeout", "60")
        self.assertEqual(daemon.metrics()["penstock_connections"], 0)
        held = [self.connect(daemon) for _ in range(5)]
        harness.wait_until(lambda: daemon.metrics()["penstock_connections"] == 5, 20, "5 connections")
        self.refused(lambda: self.describe(daemon), "", grpc.StatusCode.UNAVAILABLE)
        self.assertGreaterEqual(self.hits(daemon, "connections"), 1)
        self.assertIn("--max-connections", daemon.log)
        self.assertIn("--max-connections", self.penstock("nodes", "-H", self.hostfile([daemon]), code=4).error)
        held[0].close()
        self.assert_serves(daemon)

    def test_no_descriptor_left(self):
        daemon = self.start("--handshake-timeout", "60")
        used = len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (used + 3, used + 3))
        held = [self.connect(daemon) for _ in range(20)]
        harness.wait_until(lambda: "no descriptor is left" in daemon.log, 20, "a line about it")
        for connection in held:
            connection.close()
        self.assert_serves(daemon)
        self.assertGreater(self.hits(daemon, "descriptors"), 0)

    def test_whoever_says_nothing_is_sent_away(self):
        daemon = self.start("--handshake-timeout", "1")
        for words in (b"", PREFACE[:10]):
            connection = self.connect(daemon)
            connection.sendall(words)
            connection.settimeout(30 * harness.PATIENCE)
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(1000):
                    pass
        self.wait_for_hits(daemon, "handshake_timeout", 2)
        self.assertEqual(self.hits(daemon, "idle_timeout"), 0)

    def test_idle_connection_is_closed(self):
        daemon = self.start("--idle-timeout", "1")
        connection = self.connect(daemon)
        connection.sendall(PREFACE)
        connection.settimeout(30 * harness.PATIENCE)
        answer = b""
        while received := connection.recv(1000):
            answer += received
        self.assertIn(b"enter idle", answer)  # GOAWAY's
        self.wait_for_hits(daemon, "idle_timeout")
        channel = self.channel(daemon)
        call = channel.unary_unary("/penstock.v1.StageServer/Describe")
        call(b"", timeout=20)
        self.wait_for_hits(daemon, "idle_timeout", 2)
        call(b"", timeout=20)  # connects again
        self.assertEqual(self.hits(daemon, "handshake_timeout"), 0)

    def test_scrapes(self):
        daemon = self.start()
        held = [socket.create_connection(("127.0.0.1", daemon.metrics_port)) for _ in range(80)]
        harness.wait_until(lambda: "--metrics-listen are open" in daemon.log, 20, "a line about it")
        for connection in held:
            connection.close()
        self.wait_for_hits(daemon, "scrapes")
        self.assertEqual(self.hits(daemon, "connections"), 0)  # the scrape's are not gRPC's


if __name__ == "__main__":
    harness.main()
