"""Connections and sessions by the thousand leave nothing behind: the daemon's descriptors and threads are what they were, and its
memory is within a margin. Needs grpcio for the sessions."""

import contextlib
import os
import socket
import struct
import unittest

import harness
import messages
from http2 import HELLO, frame
from streams import Stream

grpc, pb = messages.grpc, messages.pb

CONNECTS = int(os.environ.get("PENSTOCK_TEST_CONNECTS", "10000"))
SESSIONS = int(os.environ.get("PENSTOCK_TEST_SESSIONS", "1000"))
AT_ONCE = 50
MARGIN_BYTES = 64 << 20  # under a sanitizer, whose freed memory lingers, nothing is asked of memory


def text(value):
    return bytes([len(value)]) + value


DESCRIBE = frame(1, 4, 1, b"".join(b"\0" + text(name) + text(value) for name, value in (  # HPACK: literals, not indexed
    (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/penstock.v1.StageServer/Describe"), (b":authority", b"x"),
    (b"content-type", b"application/grpc"), (b"te", b"trailers")))) + frame(0, 1, 1, bytes(5))
RESET = frame(3, 0, 1, struct.pack(">I", 8))
TLS_GARBAGE = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200))
# What is said, whether the answer is awaited, and whether the end is abrupt.
MANNERS = ((b"", False, False), (TLS_GARBAGE, True, False), (HELLO[:12], False, False), (HELLO, True, False),
           (HELLO + DESCRIBE, True, False), (HELLO + DESCRIBE, False, True), (HELLO, False, True), (b"", False, True),
           (HELLO + DESCRIBE + RESET, False, False))


@unittest.skipUnless(grpc, "needs grpcio")
class Flat(harness.TestCase):
    def state(self):
        return self.daemon.descriptors(), self.daemon.own_threads()

    def settled(self):
        """Descriptors and the daemon's own threads when no connection is open."""
        harness.wait_until(lambda: self.daemon.metrics()["penstock_connections"] == 0, 30, "no connection")
        return self.state()

    def connect(self, said, awaited, abrupt):
        connection = socket.create_connection(("127.0.0.1", self.daemon.port))
        if abrupt:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.settimeout(10 * harness.PATIENCE)
        with contextlib.suppress(ConnectionError):
            connection.sendall(said)
            if awaited:
                connection.recv(4096)
        return connection

    def connects(self, count):
        for begin in range(0, count, AT_ONCE):
            connections = [self.connect(*MANNERS[number % len(MANNERS)]) for number in range(begin, begin + AT_ONCE)]
            for connection in connections:
                connection.close()

    def sessions(self, count):
        """Three of four are opened with a plan that is none; every fourth is killed before it says anything."""
        with grpc.insecure_channel(self.daemon.address) as channel:
            for begin in range(0, count, 10):
                streams = [Stream(channel, "Session", response=pb.SessionResponse.FromString) for _ in range(10)]
                for number, stream in enumerate(streams):
                    if number % 4 == 3:
                        stream.close()
                    else:
                        stream.send(pb.SessionRequest(open=pb.Open(protocol_version=4, job="flat")))
                        self.assertIs(stream.end()[0], grpc.StatusCode.INVALID_ARGUMENT)
                        stream.requests.put(None)

    def train_and_be_killed(self):
        self.train("-H", self.hostfile([self.daemon]), "--steps", 1)
        path = self.path("steps.json")
        run = self.begin_train("-H", self.hostfile([self.daemon]), "--steps", 1000, "--json", path)
        self.wait_for_steps(path)
        run.process.kill()
        run.process.communicate()
        self.daemon.wait_until_free(30)

    def test_descriptors_threads_and_memory(self):
        self.daemon = self.start_daemons(1, "--max-sessions", "64", "--handshake-timeout", "60")[0]
        self.train_and_be_killed()
        self.connects(20 * AT_ONCE)
        self.sessions(50)
        descriptors, threads = self.settled()
        resident = self.daemon.resident_bytes()
        before = self.daemon.metrics()

        self.connects(CONNECTS)
        self.sessions(SESSIONS)
        self.train_and_be_killed()

        after = self.daemon.metrics()
        self.assertGreaterEqual(after["penstock_connections_total"] - before["penstock_connections_total"], CONNECTS)
        self.assertGreaterEqual(after["penstock_sessions_total"] - before["penstock_sessions_total"], SESSIONS * 3 // 4)
        self.assertEqual(after["penstock_sessions"], 0)
        harness.wait_until(lambda: self.settled()[0] <= descriptors and self.state()[1] <= threads, 60,
                           f"{descriptors} descriptors and {threads} threads, not {self.state()}")
        self.assertLessEqual(self.daemon.threads().total() - self.daemon.own_threads(), 16 + 4 * os.cpu_count())  # gRPC's
        grown = self.daemon.resident_bytes() - resident
        print(f"descriptors {descriptors}, threads {threads}, memory {resident >> 20} MiB grew by {grown / 2**20:.1f} MiB")
        if harness.PATIENCE == 1:
            self.assertLess(grown, MARGIN_BYTES)


if __name__ == "__main__":
    harness.main()
