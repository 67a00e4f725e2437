"""TLS between coordinator and daemons, and between daemons: that it changes no result, that each way in which it can be set up
wrongly ends with a message that says what to do, who is let in, and that files are exchanged while a job runs. The peers that are
no penstock need grpcio."""

import concurrent.futures
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

import certificates
import harness
import messages
import streams
import tiny

grpc, pb = messages.grpc, messages.pb


class Tls(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = certificates.Authority(os.path.join(cls.folder, "authority"))
        cls.stranger = certificates.Authority(os.path.join(cls.folder, "stranger"))
        cls.node = cls.authority.issue("node", "127.0.0.1", "localhost", "node-1.example.org")
        cls.alice = cls.authority.issue("alice", "alice.example.com")
        cls.expired = cls.authority.issue("expired", days=0)
        cls.elsewhere = cls.authority.issue("elsewhere", "elsewhere.example.org")
        cls.mallory = cls.stranger.issue("mallory", trusts=cls.authority)

    def nodes(self, daemon, *options, code=0):
        return self.penstock("nodes", "-H", self.hostfile([daemon]), *options, code=code)

    def start(self, *options, certificate=None):
        return self.start_daemons(1, *(certificate or self.node).options, *options)[0]

    # ---- Training

    def test_losses_are_those_without(self):
        plain = self.losses("-H", self.hostfile(self.start_daemons(2)), "-p", 2, "--steps", 3)
        names = ["--allow-name", "alice.example.com", "--allow-name", "*.example.org"]
        daemons = self.start_daemons(2, *self.node.options, *names)
        secure = self.losses("-H", self.hostfile(daemons), "-p", 2, "--steps", 3, *self.alice.options)
        self.assertEqual(secure, plain)
        # The second daemon has really been sent tensors by the first, and that one's certificate is among the names.
        received = [value for name, value in daemons[1].metrics().items() if name.startswith("penstock_received_bytes_total")]
        self.assertGreater(sum(received), 0)

    def test_environment_and_unix_sockets(self):
        daemon = self.start()
        for name, value in self.alice.environment.items():
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name)
        self.nodes(daemon)
        self.penstock("top", "--once", "-H", self.hostfile([daemon]))
        # --local's daemons listen on Unix sockets, where nobody speaks TLS, and what is meant for daemons elsewhere is not theirs.
        run = self.train("--local", 2, "-p", 2, "--steps", 1)
        self.assertNotIn("--tls", run.error)
        run = self.train("--local", 1, "--steps", 1, *self.alice.options)
        self.assertIn("the --tls options are ignored", run.error)

    def test_neighbour_that_is_not_allowed_ends_the_job(self):
        first, second = self.start(), self.start("--allow-name", "alice.example.com")
        run = self.train("-H", self.hostfile([first, second]), "-p", 2, "--steps", 1, *self.alice.options, code=4)
        self.assertIn("in this daemon's --allow-name", run.error)

    # ---- What is wrong is said

    def test_connections_that_cannot_be(self):
        plain, secure = self.start_daemons(1)[0], self.start()
        wrong_name = self.start(certificate=self.elsewhere)
        foreign = self.start(certificate=self.stranger.issue("foreign"))
        cases = [
            (secure, [], "give --tls-ca-file"),
            (secure, ["--tls-ca-file", self.authority.ca], "--tls-cert-file"),
            (secure, self.mallory.options, "other side's --tls-ca-file does not have"),
            (plain, self.alice.options, "does not speak TLS"),
            (foreign, self.alice.options, "no authority in --tls-ca-file signed it"),
            (wrong_name, self.alice.options, "give --tls-server-name"),
        ]
        for daemon, options, words in cases:
            with self.subTest(words=words):
                run = self.nodes(daemon, *options, code=4)
                self.assertIn(words, run.error)
        run = self.train("-H", self.hostfile([secure]), "--steps", 1, code=4)
        self.assertIn("give --tls-ca-file", run.error)
        self.penstock("top", "--once", "-H", self.hostfile([secure]), *self.alice.options)
        self.nodes(wrong_name, *self.alice.options, "--tls-server-name", "elsewhere.example.org")
        self.nodes(self.start("--tls-client-auth", "none"), "--tls-ca-file", self.authority.ca)

    def test_files_that_cannot_be_used_are_refused(self):
        node = self.node
        secret = self.path("secret.key")
        subprocess.run(["openssl", "pkey", "-in", node.key, "-aes128", "-passout", "pass:x", "-out", secret], check=True)
        noise = self.path("noise.pem")
        with open(noise, "wb") as file:
            file.write(bytes(100))
        cert, key, ca = ["--tls-cert-file", node.cert], ["--tls-key-file", node.key], ["--tls-ca-file", node.ca]
        cases = [
            (cert + ca, "--tls-key-file is missing"),
            (cert + key, "--tls-ca-file is missing"),
            (["--tls-cert-file", "/nowhere.pem"] + key + ca, "--tls-cert-file /nowhere.pem: No such file"),
            (["--tls-cert-file", noise] + key + ca, "not a PEM file"),
            (["--tls-cert-file", node.key] + key + ca, "holds no certificate in PEM"),
            (cert + key + ["--tls-ca-file", node.key], "holds no certificate in PEM"),
            (cert + ["--tls-key-file", node.cert] + ca, "holds no private key in PEM"),
            (cert + ["--tls-key-file", secret] + ca, "has a passphrase"),
            (cert + ["--tls-key-file", self.alice.key] + ca, "is not the key of the certificate in --tls-cert-file"),
            (self.expired.options, "expired on 20"),
        ]
        hosts = self.path("hosts")
        with open(hosts, "w") as file:
            file.write("127.0.0.1:1 slots=1\n")
        for options, words in cases:
            with self.subTest(words=words):
                for program in ([harness.PENSTOCKD, "--listen", "127.0.0.1:0"], [harness.PENSTOCKD, "--check-config"],
                                [harness.PENSTOCK, "nodes", "-H", hosts]):
                    run = subprocess.run(program + options, capture_output=True, text=True, timeout=30 * harness.PATIENCE)
                    self.assertEqual(run.returncode, 2, run.stderr)
                    self.assertIn(words, run.stderr)

    def test_daemon_does_not_listen_to_everybody_by_mistake(self):
        cases = [
            (["--listen", "0.0.0.0:0"], "--insecure"),
            (["--listen", "127.0.0.1:0", "--listen", "[::]:0"], "--tls-cert-file, --tls-key-file and --tls-ca-file"),
            (self.node.options + ["--listen", "unix-abstract:penstock"], '--listen: "unix-abstract:penstock" is not'),
            (self.node.options + ["--listen", "unix:"], '--listen: "unix:" is not unix:/PATH'),
            (["--listen", "127.0.0.1:"], "--listen: \"127.0.0.1:\" is not HOST:PORT"),
            (["--listen", "127.0.0.1:99999"], "the port is not a whole number from 0 to 65535"),
            (["--listen", "127.0.0.1"], "is not HOST:PORT"),
            (self.node.options + ["--insecure"], "exclude each other"),
            (["--tls-ca-file", self.node.ca], "is not enough"),
            (["--allow-name", "alice"], "--allow-name needs callers with certificates"),
            (self.node.options + ["--tls-client-auth", "none", "--allow-name", "alice"], "--allow-name needs callers with certificates"),
            (self.node.options + ["--allow-name", "alice.*.org"], "a star may only replace the first label"),
            (["--tls-server-name", "alice"], "has no meaning without"),
        ]
        for options, words in cases:
            with self.subTest(words=words):
                run = subprocess.run([harness.PENSTOCKD, *options], capture_output=True, text=True, timeout=30 * harness.PATIENCE)
                self.assertEqual(run.returncode, 2, run.stderr)
                self.assertIn(words, run.stderr)
        for options in (["--insecure"], self.node.options):
            daemon = harness.Daemon(self.folder, "--listen", "0.0.0.0:0", *options)
            self.daemons.append(daemon)
            self.assertIn("listening on 0.0.0.0:", daemon.log)

    def test_strangers_do_not_fill_the_log(self):
        daemon = self.start()
        for words in (b"GET / HTTP/1.1\r\n\r\n", bytes(100)):
            for _ in range(30):
                with socket.create_connection(("127.0.0.1", daemon.port), timeout=20 * harness.PATIENCE) as stranger:
                    stranger.sendall(words)
                    with contextlib.suppress(ConnectionError):
                        while stranger.recv(100):
                            pass
        self.assertIn("Handshake failed", daemon.log)
        self.assertLess(daemon.log.count("Handshake failed"), 10)  # one in ten seconds
        self.nodes(daemon, *self.alice.options)

    # ---- Files that change

    def test_files_are_exchanged_while_a_job_runs(self):
        folder = tempfile.mkdtemp(dir=self.folder)
        used = [os.path.join(folder, name) for name in ("ca.pem", "node.key", "node.pem")]

        def install(certificate):
            for source, target in zip((certificate.ca, certificate.key, certificate.cert), used):
                shutil.copy(source, target + ".new")
                os.rename(target + ".new", target)

        def reload(words, count):
            for daemon in daemons:
                daemon.process.send_signal(signal.SIGHUP)
            for daemon in daemons:
                harness.wait_until(lambda: daemon.log.count(words) >= count, 20, words)

        install(self.node)
        daemons = self.start_daemons(2, "--tls-cert-file", used[2], "--tls-key-file", used[1], "--tls-ca-file", used[0])
        hosts, steps = self.hostfile(daemons), self.path("steps.json")
        job = self.begin_train("-H", hosts, "-p", 2, "--steps", 100000, "--json", steps, *self.alice.options)
        self.wait_for_steps(steps)

        shutil.copy(self.alice.key, used[1])  # half of a change
        reload("not reloaded, nothing has changed: --tls-key-file", 1)
        self.nodes(daemons[0], *self.alice.options)
        self.assertEqual(daemons[0].metrics()['penstock_tls_reloads_total{result="failed"}'], 1)

        successor = certificates.Authority(os.path.join(self.folder, "successor"))
        install(successor.issue("node"))
        bob = successor.issue("bob", "bob.example.com")
        reload("the TLS files were read again", 1)
        self.assertEqual(daemons[0].metrics()['penstock_tls_reloads_total{result="done"}'], 1)
        # Whoever the old authority signed comes no more, and does not trust what the daemons show now; the new one's do, and so do
        # the daemons each other.
        self.nodes(daemons[0], *self.alice.options, code=4)
        self.nodes(daemons[0], *bob.options)
        self.train("-H", hosts, "-p", 2, "--steps", 1, *bob.options)
        # The job that ran all the while does not notice.
        with open(steps) as file:
            seen = file.read().count('"type":"step"')
        self.wait_for_steps(steps, seen + 2)
        self.assertIsNone(job.process.poll(), "the job has ended")
        job.process.send_signal(signal.SIGINT)
        job.finish()
        self.assertIn("interrupted", job.error)

    def test_certificates_are_not_made_for_what_is_no_number_of_days(self):
        run = subprocess.run(["sh", certificates.SCRIPT, "issue", self.authority.folder, "short", "localhost"], capture_output=True, text=True,
                             env={**os.environ, "DAYS": "1y"}, check=False)
        self.assertEqual((run.returncode, run.stderr), (2, 'make-certificates.sh: DAYS is "1y", which is no number of days\n'))

    def test_reload_of_what_no_handshake_could_use_changes_nothing(self):
        """Files that are being written, weak keys, and paths at which whoever reads would wait: the loop serves on."""
        folder = tempfile.mkdtemp(dir=self.folder)
        ca, key, cert = [os.path.join(folder, name) for name in ("ca.pem", "node.key", "node.pem")]
        conf = os.path.join(folder, "penstockd.conf")

        def install():
            for source, target in ((self.node.ca, ca), (self.node.key, key), (self.node.cert, cert), (os.devnull, conf)):
                if os.path.lexists(target):
                    os.unlink(target)
                with open(source, "rb") as original, open(target, "wb") as copy:
                    copy.write(original.read())

        def append_half(path):
            with open(self.node.ca) as file:
                authority = file.read()
            with open(path, "a") as file:
                file.write(authority[:len(authority) // 2])

        def make_pipe(path):
            os.unlink(path)
            os.mkfifo(path)

        def make_weak():
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=weak", "-keyout", key,
                            "-out", cert], check=True, stderr=subprocess.DEVNULL)

        install()
        daemon, = self.start_daemons(1, "--config", conf, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-file", ca)
        for count, (damage, words) in enumerate((
                (lambda: append_half(ca), f"--tls-ca-file {ca}: it contains a broken or incomplete certificate"),
                (lambda: append_half(cert), f"--tls-cert-file {cert}: it contains a broken or incomplete certificate"),
                (make_weak, f"--tls-cert-file {cert}: OpenSSL refuses it for TLS: ee key too small"),
                (lambda: make_pipe(key), f"--tls-key-file {key}: is a pipe without a writer"),
                (lambda: make_pipe(conf), f"--config {conf}: is a pipe without a writer")), 1):
            with self.subTest(words=words):
                damage()
                daemon.process.send_signal(signal.SIGHUP)
                harness.wait_until(lambda: daemon.log.count("not reloaded") == count, 20, words)
                self.assertIn(words, daemon.log)
                self.nodes(daemon, *self.alice.options)
                install()
        daemon.process.send_signal(signal.SIGHUP)
        harness.wait_until(lambda: "the TLS files were read again" in daemon.log, 20, "a reload")
        self.nodes(daemon, *self.alice.options)

    def test_reload_without_tls_changes_nothing(self):
        daemon = self.start_daemons(1)[0]
        daemon.process.send_signal(signal.SIGHUP)
        self.nodes(daemon)


@unittest.skipUnless(grpc, "needs grpcio")
class Strangers(harness.TestCase):
    """Clients with certificates, which have nothing to do with the job that runs."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = certificates.Authority(os.path.join(cls.folder, "authority"))
        cls.node = cls.authority.issue("node", "127.0.0.1")
        cls.alice = cls.authority.issue("alice", "alice.example.com")
        cls.carol = cls.authority.issue("carol", "carol.example.com")
        cls.mallory = cls.authority.issue("mallory", "mallory.example.org", "alice.example.com.example.org")

    def setUp(self):
        super().setUp()
        self.daemon = self.start_daemons(1, *self.node.options, "--allow-name", "*.EXAMPLE.com", "--allow-name", "127.0.0.1")[0]
        self.streams = []

    def tearDown(self):
        for stream in self.streams:
            stream.close()
        self.daemon.wait_until_free(15)
        super().tearDown()

    def channel(self, certificate):
        channel = grpc.secure_channel(self.daemon.address, grpc.ssl_channel_credentials(*certificate.read()),
                                      [("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        return channel

    def stream(self, certificate, method, response):
        stream = streams.Stream(self.channel(certificate), method, response=response.FromString)
        self.streams.append(stream)
        return stream

    def exchange(self, certificate, token=None, connection=0):
        stream = self.stream(certificate, "Exchange", pb.ExchangeMessage)
        if token is not None:
            stream.send(tiny.exchange_open(link_token=token, connection=connection))
        return stream

    def test_names_that_are_not_allowed(self):
        denied = grpc.StatusCode.PERMISSION_DENIED
        session = self.stream(self.mallory, "Session", pb.SessionResponse)
        session.send(tiny.open_message())
        self.assertEqual(session.end()[0], denied)
        self.assertEqual(self.exchange(self.mallory, tiny.TOKEN).end()[0], denied)
        channel = self.channel(self.mallory)
        with self.assertRaises(grpc.RpcError) as caught:
            channel.unary_unary("/penstock.v1.StageServer/Describe")(b"")
        self.assertEqual(caught.exception.code(), denied)
        self.assertIn("mallory.example.org", caught.exception.details())
        # Health is for whoever has a certificate.
        self.assertEqual(channel.unary_unary("/grpc.health.v1.Health/Check")(b""), b"\x08\x01")
        self.assertEqual(self.daemon.metrics()["penstock_refused_calls_total"], 3)
        self.assertEqual(self.daemon.log.count("warning refused /penstock"), 1)  # the log does not follow
        self.channel(self.alice).unary_unary("/penstock.v1.StageServer/Describe")(b"")

    def test_certificates_that_expired_since(self):
        """Neither side would begin with one; but it may expire while it is in use."""
        expired = self.authority.issue("expired", days=0)
        with self.assertRaises(grpc.RpcError) as caught:
            self.channel(expired).unary_unary("/penstock.v1.StageServer/Describe")(b"")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
        ca, key, cert = expired.read()
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, cert)]))
        server.start()
        self.addCleanup(server.stop, None)
        hosts = self.path("hosts")
        with open(hosts, "w") as file:
            file.write(f"127.0.0.1:{port} slots=1\n")
        run = self.penstock("nodes", "-H", hosts, *self.alice.options, code=4)
        self.assertIn("its certificate has expired", run.error)

    def test_nobody_injects_into_anothers_job(self):
        """Alice's job is stage 1 of two on the daemon. Carol may use the daemon, too, but does not know its token; Mallory knows
        it, but may not."""
        denied = grpc.StatusCode.PERMISSION_DENIED
        session = self.stream(self.alice, "Session", pb.SessionResponse)
        session.send(tiny.open_message(1, 2))
        session.answers("opened")
        session.send(pb.SessionRequest(connect=pb.Connect()))
        near = tiny.TOKEN[:-1] + bytes([tiny.TOKEN[-1] ^ 1])
        for token in (near, bytes(16), bytes(16 * [255])):
            status, words = self.exchange(self.carol, token).end()
            self.assertEqual((status, words), (denied, "no session here has this link token"))
        self.assertEqual(self.exchange(self.mallory, tiny.TOKEN).end()[0], denied)
        tensor = pb.ExchangeMessage(chunk=pb.TensorChunk(kind=1, dtype=1, shape=[2, 256]), payload=bytes(2048))
        early = self.exchange(self.carol)
        early.send(tensor)
        self.assertEqual(early.end()[0], grpc.StatusCode.INVALID_ARGUMENT)

        link = self.exchange(self.node, tiny.TOKEN)
        link.answers("accepted")
        session.answers("ready")
        # A token is of use once for each connection, whoever has learnt it.
        status, words = self.exchange(self.carol, tiny.TOKEN).end()
        self.assertEqual((status, words), (grpc.StatusCode.INVALID_ARGUMENT, "connection 0 is already open"))
        self.assertGreaterEqual(self.daemon.metrics()['penstock_errors_total{code="protocol"}'], 4)
        session.send(pb.SessionRequest(close=pb.Close()))
        session.answers("closed")


if __name__ == "__main__":
    harness.main()
