"""The scrape, by the rules of Prometheus's text format; and the health service, if grpcio is there."""

import re
import socket
import unittest
import urllib.error

import harness

try:
    import grpc
except ImportError:
    grpc = None

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*"'
SAMPLE = re.compile(rf"^({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9.e+]+|NaN|[+-]Inf)$")


def parse(text):
    """Refuses what a strict scraper would refuse; gives {family: (type, {labels: value})}."""
    families, current = {}, None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split(" ", 3)[2]
            assert current not in families, f"{current} comes twice"
            families[current] = [None, {}]
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == current and kind in ("counter", "gauge"), line
            families[name][0] = kind
        else:
            match = SAMPLE.match(line)
            assert match, f"not a sample: {line}"
            assert match[1] == current, f"{line} stands outside its family"
            assert match[2] not in families[current][1], f"{line} comes twice"
            families[current][1][match[2]] = float(match[3])
    return families


class Metrics(harness.TestCase):
    def test_names_follow_the_rules_and_counters_count(self):
        daemons = self.start_daemons(2)
        self.train("-H", self.hostfile(daemons), "--steps", 3)
        for stage, daemon in enumerate(daemons):
            families = parse(daemon.get("/metrics"))
            for name, (kind, _) in families.items():
                self.assertTrue(name.startswith("penstock_"))
                self.assertEqual(kind == "counter", name.endswith("_total"), name)
            label = f'pipeline_stage="{stage}"'
            self.assertEqual(families["penstock_steps_total"][1][label], 3)
            self.assertEqual(families["penstock_micro_batches_total"][1][label], 12)
            self.assertEqual(families["penstock_samples_total"][1][label], 48)
            for phase in "forward", "backward", "optimizer":
                self.assertGreater(families["penstock_busy_seconds_total"][1][f'{label},phase="{phase}"'], 0)
            direction = "next" if stage == 0 else "previous"
            for name in "sent_bytes", "sent_messages", "received_bytes", "received_messages":
                self.assertGreater(families[f"penstock_{name}_total"][1][f'{label},direction="{direction}"'], 0)
            self.assertIn("penstock_waiting_seconds_total", families)
            self.assertEqual(families["penstock_sessions_total"][1][None], 1)
            self.assertIn("penstock_build_info", families)

    def ask(self, daemon, method, target):
        """The whole answer, as it comes."""
        with socket.create_connection(("127.0.0.1", daemon.metrics_port), 10 * harness.PATIENCE) as connection:
            connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: node-1\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def test_live_and_ready(self):
        daemon = self.start_daemons(1)[0]
        self.assertEqual(daemon.get("/livez"), "ok\n")
        self.assertEqual(daemon.get("/readyz"), "ok\n")
        with self.assertRaises(urllib.error.HTTPError) as caught:
            daemon.get("/secrets")
        self.assertEqual(caught.exception.code, 404)
        # As a proxy asks (RFC 9112, 3.2.2), and what is not served.
        self.assertRegex(self.ask(daemon, "GET", "http://node-1:9464/metrics"), r"(?s)^HTTP/1.1 200 .*penstock_build_info")
        self.assertRegex(self.ask(daemon, "GET", "HTTP://node-1:9464/livez"), r"(?s)^HTTP/1.1 200 .*ok\n$")
        self.assertIn(" 404 ", self.ask(daemon, "GET", "http://node-1:9464"))
        head, body = self.ask(daemon, "HEAD", "/metrics").split("\r\n\r\n")
        self.assertRegex(head, r"^HTTP/1.1 200 (?s:.*)Content-Length: [1-9]")
        self.assertEqual(body, "")
        self.assertRegex(self.ask(daemon, "POST", "/metrics"), r"(?s)^HTTP/1.1 405 .*\r\nAllow: GET, HEAD\r\n")

    def test_more_connections_than_it_takes_at_once_are_served_when_there_is_room(self):
        daemon = self.start_daemons(1)[0]
        connections = [socket.create_connection(("127.0.0.1", daemon.metrics_port)) for _ in range(100)]
        for connection in connections:
            connection.close()
        harness.wait_until(lambda: daemon.get("/livez") == "ok\n", 30, "an answer")

    @unittest.skipUnless(grpc, "needs grpcio")
    def test_health_service(self):
        daemon = self.start_daemons(1)[0]
        with grpc.insecure_channel(daemon.address) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            self.assertEqual(check(b"", timeout=10), b"\x08\x01")  # SERVING
            with self.assertRaises(grpc.RpcError) as caught:
                check(b"\x0a\x03cat", timeout=10)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
            watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=30)
            self.assertEqual(next(watch), b"\x08\x01")
            daemon.process.terminate()
            self.assertEqual(next(watch), b"\x08\x02")  # NOT_SERVING


if __name__ == "__main__":
    harness.main()
