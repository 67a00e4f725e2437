"""What systemd and an administrator see of a daemon: notifications on a socket of this test's own, SIGHUP, and the log's lines."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import harness

UNIT = os.path.join(harness.SOURCE, "deploy", "systemd", "penstockd.service")


def is_stopped(process):
    """Whether all of its threads are."""
    states = set()
    for task in os.listdir(f"/proc/{process}/task"):
        with open(f"/proc/{process}/task/{task}/stat") as file:
            states.add(file.read().rsplit(")", 1)[1].split()[0])
    return states == {"T"}


class Manager:
    """The end of $NOTIFY_SOCKET that systemd would hold."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.seen = []  # (seconds, {name: value})

    def wait_for(self, name, value=None, seconds=20):
        """The first message from now on that has it."""
        end = time.monotonic() + seconds * harness.PATIENCE
        while True:
            self.socket.settimeout(max(end - time.monotonic(), 0.001))
            try:
                message = dict(line.split("=", 1) for line in self.socket.recv(65536).decode().splitlines())
            except TimeoutError:
                raise AssertionError(f"no {name}={value or '...'}; seen: {self.seen}") from None
            self.seen.append((time.monotonic(), message))
            if name in message and value in (None, message[name]):
                return message

    def close(self):
        self.socket.close()
        os.unlink(self.path)


class Service(harness.TestCase):
    def start_managed(self, *options, **environment):
        """A daemon that thinks it was started by systemd."""
        manager = Manager(self.folder)
        self.addCleanup(manager.close)
        os.environ.update({"NOTIFY_SOCKET": manager.path, **environment})
        try:
            daemon, = self.start_daemons(1, *options)
        finally:
            for name in "NOTIFY_SOCKET", *environment:
                del os.environ[name]
        return daemon, manager

    def test_systemd_is_told_that_it_is_ready_what_it_does_and_that_it_stops(self):
        daemon, manager = self.start_managed()
        manager.wait_for("READY", "1")
        self.assertEqual(manager.wait_for("STATUS")["STATUS"], "no sessions")
        path = self.path("status.json")
        run = self.begin_train("-H", self.hostfile([daemon]), "--steps", 100000, "--json", path)
        while not re.fullmatch(r"1 session, step [1-9]\d* of job \S+", manager.wait_for("STATUS")["STATUS"]):
            pass
        daemon.process.terminate()
        manager.wait_for("STOPPING", "1")
        self.assertRegex(manager.wait_for("STATUS")["STATUS"], r"^stopping")
        self.assertEqual(run.finish(60).code, 4)
        self.assertEqual(daemon.process.wait(20 * harness.PATIENCE), 0)
        statuses = [(at, message["STATUS"]) for at, message in manager.seen if "STATUS" in message]
        for (_, before), (_, after) in zip(statuses, statuses[1:]):
            self.assertNotEqual(before, after)

    def test_watchdog_is_pinged_at_half_of_its_time(self):
        daemon, manager = self.start_managed(WATCHDOG_USEC="1000000")
        manager.wait_for("READY")
        begin = time.monotonic()
        for _ in range(4):
            manager.wait_for("WATCHDOG", "1")
        self.assertGreater(time.monotonic() - begin, 1.3)  # two a second, not as many as the loop turns
        daemon.process.send_signal(signal.SIGSTOP)
        harness.wait_until(lambda: is_stopped(daemon.process.pid), 10, "the daemon stands still")
        manager.socket.setblocking(False)
        while True:
            try:
                manager.socket.recv(65536)
            except BlockingIOError:
                break
        with self.assertRaises(AssertionError):
            manager.wait_for("WATCHDOG", seconds=1.5 / harness.PATIENCE)
        daemon.process.send_signal(signal.SIGCONT)
        manager.wait_for("WATCHDOG", "1")

    def test_without_a_watchdog_no_ping_is_sent(self):
        _, manager = self.start_managed()
        manager.wait_for("READY")
        with self.assertRaises(AssertionError):
            manager.wait_for("WATCHDOG", seconds=1.5 / harness.PATIENCE)

    def configuration(self, *lines):
        path = os.path.join(self.folder, "penstockd.conf")
        with open(path, "w") as file:
            file.writelines(line + "\n" for line in lines)
        return path

    def test_hang_up_reloads_the_log_level_while_a_job_runs(self):
        path = self.configuration("log-level = info", "max-sessions = 4")
        daemon, manager = self.start_managed("--config", path)
        manager.wait_for("READY")
        steps = self.path("reload.json")
        run = self.begin_train("-H", self.hostfile([daemon]), "--steps", 100000, "--json", steps)
        self.wait_for_steps(steps)
        self.assertNotIn(" debug ", daemon.log)
        self.configuration("log-level = debug", "max-sessions = 5")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        daemon.process.send_signal(signal.SIGHUP)
        reloading = manager.wait_for("RELOADING", "1")
        self.assertLessEqual(before, int(reloading["MONOTONIC_USEC"]))
        self.assertLessEqual(int(reloading["MONOTONIC_USEC"]), time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
        manager.wait_for("READY", "1")
        self.assertIn("log-level is debug now, it was info", daemon.log)
        self.assertIn("these options have changed and need a restart: max-sessions", daemon.log)
        harness.wait_until(lambda: "debug a step took" in daemon.log, 20, "a debug line")
        self.assertIsNone(run.process.poll())
        run.process.kill()

    def test_hang_up_while_it_starts_does_not_end_it(self):
        path = self.path("early.conf")
        os.mkfifo(path)
        ready = self.path("early-ready")
        process = subprocess.Popen([harness.PENSTOCKD, "--config", path, "--listen", "127.0.0.1:0", "--ready-file", ready],
                                   stderr=subprocess.PIPE, text=True)
        try:
            with open(path, "w") as file:  # it reads, so it runs, and waits for the rest
                process.send_signal(signal.SIGHUP)
                file.write("threads = 1\n")
            harness.wait_until(lambda: os.path.exists(ready) or process.poll() is not None, 20, "its start")
            self.assertIsNone(process.poll())
        finally:
            process.terminate()
            log = process.communicate(timeout=20 * harness.PATIENCE)[1]
        self.assertEqual(process.returncode, 0, log)
        self.assertIn("not reloaded, nothing has changed: --config", log)  # then: the pipe is empty now

    def test_socket_of_another_daemon_is_not_taken_from_it(self):
        path = self.path("shared.sock")
        command = [harness.PENSTOCKD, "--listen", "unix:" + path, "--threads", "1"]
        for _ in range(2):  # what a daemon that was killed has left is in nobody's way
            first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            try:
                while "listening on" not in (line := first.stderr.readline()):
                    self.assertTrue(line, "it ended")
                second = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
                self.assertEqual(second.returncode, 1, second.stderr)
                self.assertIn(f"--listen: cannot listen on unix:{path}: another process listens there", second.stderr)
                self.penstock("nodes", "unix:" + path)
            finally:
                first.kill()
                first.communicate()

    def test_ready_file_is_there_only_while_the_daemon_listens(self):
        ready = self.path("stale-ready")
        with open(ready, "w") as file:
            file.write("127.0.0.1:1\n")  # what a daemon that was killed has left
        command = [harness.PENSTOCKD, "--threads", "1", "--ready-file", ready, "--listen"]
        refused = subprocess.run([*command, "192.0.2.1:7070"], stderr=subprocess.PIPE, text=True, timeout=30, check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertFalse(os.path.exists(ready))
        first = subprocess.Popen([*command, "127.0.0.1:0"], stderr=subprocess.DEVNULL)
        second = None
        try:
            harness.wait_until(lambda: os.path.exists(ready), 20, "its start")
            with open(ready) as file:
                address = file.read()
            second = subprocess.Popen([*command, "127.0.0.1:0"], stderr=subprocess.DEVNULL)

            def is_the_others():
                with contextlib.suppress(FileNotFoundError), open(ready) as file:
                    return file.read() != address

            harness.wait_until(is_the_others, 20, "the other's start")
            for process, remains in (first, True), (second, False):
                process.terminate()
                self.assertEqual(process.wait(20 * harness.PATIENCE), 0)
                self.assertEqual(os.path.exists(ready), remains)
        finally:
            for process in filter(None, (first, second)):
                process.kill()
                process.wait()

    def test_without_standard_descriptors_nothing_that_is_logged_goes_elsewhere(self):
        ready = self.path("closed-ready")
        process = subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", harness.PENSTOCKD, "--listen", "127.0.0.1:0",
                                    "--threads", "1", "--ready-file", ready])
        try:
            harness.wait_until(lambda: os.path.exists(ready) or process.poll() is not None, 20, "its start")
            # 0 may be a library's, taken before main.
            self.assertEqual([os.readlink(f"/proc/{process.pid}/fd/{number}") for number in (1, 2)], [os.devnull] * 2)
        finally:
            process.terminate()
            self.assertEqual(process.wait(20 * harness.PATIENCE), 0)

    def test_hang_up_with_a_broken_file_changes_nothing_and_says_so(self):
        path = self.configuration("log-level = info")
        daemon, manager = self.start_managed("--config", path)
        manager.wait_for("READY")
        for lines, message in (["log-level = debug", "colour = red"], f"{path}:2: unknown key"), \
                (["log-level = debug", *(f"tls-{name}-file = /nowhere" for name in ("cert", "key", "ca"))], "/nowhere"):
            self.configuration(*lines)
            daemon.process.send_signal(signal.SIGHUP)
            manager.wait_for("RELOADING")
            manager.wait_for("READY")  # systemd must not wait for ever
            self.assertRegex(daemon.log, "error not reloaded, nothing has changed: .*" + re.escape(message))
        self.assertNotIn("log-level is", daemon.log)
        self.train("-H", self.hostfile([daemon]), "--steps", 1)
        self.assertNotIn(" debug ", daemon.log)


class Log(harness.TestCase):
    def lines_of_a_job(self, level, steps, micro_batches):
        daemons = self.start_daemons(2, "--log-level", level, "--log-format", "json")
        before = [daemon.log.count("\n") for daemon in daemons]
        self.train("-H", self.hostfile(daemons), "--steps", steps, "--gradient-accumulation-steps", micro_batches)
        for daemon in daemons:
            daemon.wait_until_free(10)
        return [[json.loads(line) for line in daemon.log.splitlines()[skip:]] for daemon, skip in zip(daemons, before)]

    def test_number_of_lines_does_not_depend_on_steps_or_micro_batches(self):
        few, many = self.lines_of_a_job("info", 1, 1), self.lines_of_a_job("info", 5, 6)
        for stage in 0, 1:
            self.assertEqual([line["message"] for line in few[stage]][1:], ["closed"])
            self.assertEqual(len(many[stage]), len(few[stage]))
            for line in many[stage]:
                self.assertEqual((line["stage"], line["replica"], line["level"]), (stage, 0, "info"))
                self.assertTrue(line["job"])
            self.assertEqual(many[stage][-1]["step"], 4)

    def test_debug_adds_a_line_a_step_and_none_for_a_micro_batch(self):
        few, many = self.lines_of_a_job("debug", 3, 1), self.lines_of_a_job("debug", 6, 6)
        for stage in 0, 1:
            self.assertEqual(len(many[stage]) - len(few[stage]), 3)
            self.assertEqual([line["step"] for line in many[stage] if "a step took" in line["message"]], list(range(6)))

    def test_grpc_logs_through_it(self):
        os.environ["GRPC_VERBOSITY"] = "debug"
        try:
            daemon, = self.start_daemons(1, "--log-level", "debug", "--log-format", "json")
        finally:
            del os.environ["GRPC_VERBOSITY"]
        self.train("-H", self.hostfile([daemon]), "--steps", 1)
        lines = [json.loads(line) for line in daemon.log.splitlines()]
        self.assertTrue([line for line in lines if line["message"].startswith("gRPC: ")])

    def test_in_the_journal_lines_have_their_priority_and_no_time(self):
        path = self.path("journal")
        with open(path, "w") as log:
            status = os.fstat(log.fileno())
            process = subprocess.run([harness.PENSTOCKD, "--insecure", "--listen", "nowhere.invalid:1"], stderr=log,
                                     env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, check=False)
        self.assertEqual(process.returncode, 1)
        with open(path) as file:
            lines = file.read().splitlines()
        self.assertRegex(lines[0], r"^<6>device slot 0: cpu")
        self.assertRegex(lines[-1], r"^<3>--listen: cannot listen on nowhere.invalid:1")
        for line in lines:
            self.assertRegex(line, r"^<[3467]>\D")


@unittest.skipUnless(shutil.which("systemd-analyze"), "needs systemd-analyze")
class Unit(unittest.TestCase):
    def test_unit_is_verified(self):
        # In a root of its own: the programs that it names are installed nowhere here.
        with tempfile.TemporaryDirectory(prefix="penstock-test-unit-") as folder:
            with open(UNIT) as file:
                text = file.read().replace("/usr/bin/penstockd", os.path.realpath(harness.PENSTOCKD))
            path = os.path.join(folder, "penstockd.service")
            with open(path, "w") as file:
                file.write(text)
            result = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, check=False)
            self.assertEqual((result.returncode, result.stdout + result.stderr), (0, ""))
            with open(path, "a") as file:
                file.write("\n[Service]\nNoSuchKey=1\n")  # it would say so
            result = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, check=False)
            self.assertIn("NoSuchKey", result.stderr)

    def test_exposure_is_small(self):
        result = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT], capture_output=True,
                                text=True, check=True)
        exposure = float(re.search(r"Overall exposure level for penstockd.service: ([\d.]+)", result.stdout).group(1))
        self.assertLessEqual(exposure, 2.5, result.stdout)

    def test_gpu_stays_usable_and_stopping_outlasts_the_drain(self):
        with open(UNIT) as file:
            lines = [line.strip() for line in file if "=" in line and not line.startswith("#")]
        self.assertFalse([line for line in lines if line.startswith(("PrivateDevices", "MemoryDenyWriteExecute"))])
        self.assertIn("DeviceAllow=/dev/nvidia-uvm rw", lines)
        stop = int(next(line for line in lines if line.startswith("TimeoutStopSec=")).split("=")[1])
        drain = int(re.search(r"--drain-timeout.*?\(default\s+(\d+)\)", subprocess.run(
            [harness.PENSTOCKD, "--help"], capture_output=True, text=True, check=True).stdout, re.S).group(1))
        self.assertGreater(stop, drain + 8)


if __name__ == "__main__":
    harness.main()
