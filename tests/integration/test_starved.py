"""Whoever was itself late blames nobody: a daemon that is flooded, a coordinator that was stopped, and all of a job that were."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import harness

TIMEOUT_S = 11  # PROTOCOL_TIMEOUT_MS


class LateWay:
    """A way to a daemon that holds connections without a byte until it is opened; those that come afterwards are carried."""

    def __init__(self, port):
        self.port, self.held, self.is_open = port, [], False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                here = self.listener.accept()[0]
                if not self.is_open:
                    self.held.append(here)
                    continue
                there = socket.create_connection(("127.0.0.1", self.port))
                for ends in (here, there), (there, here):
                    threading.Thread(target=self.carry, args=ends, daemon=True).start()

    def carry(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def open(self):
        self.is_open = True

    def close(self):
        self.listener.close()
        for connection in self.held:
            connection.close()


class Starved(harness.TestCase):
    def begin_steps(self, daemons, steps):
        path = self.path("steps.json")
        run = self.begin_train("-H", self.hostfile(daemons), "--steps", steps, "--json", path)
        self.wait_for_steps(path)
        return run, path

    def losses_of(self, path):
        return [line["loss"] for line in harness.read_json_lines(path) if line["type"] == "step"]

    def stop_for(self, seconds, *processes, meanwhile=lambda: None):
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        meanwhile()
        for process in processes:
            process.send_signal(signal.SIGCONT)

    def test_job_outlives_rapid_resets_with_reconnects(self):
        daemon, = self.start_daemons(1)
        alone = self.losses("-H", self.hostfile([daemon]), "--steps", 12)
        run, path = self.begin_steps([daemon], 12)
        flood = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(__file__), "rapid_reset.py"),
                                  "127.0.0.2", "127.0.0.1", str(daemon.port), "12"], stdout=subprocess.PIPE, text=True)
        said = flood.communicate(timeout=60 * harness.PATIENCE)[0]
        self.assertEqual(flood.returncode, 0)
        self.assertEqual(run.finish(180).code, 0, f"{run.error}\n{said}\n{daemon.log}")
        self.assertEqual(self.losses_of(path), alone)
        self.assertIn("begins and resets calls faster than they can end", daemon.log)
        self.assertGreaterEqual(daemon.metrics()['penstock_limit_hits_total{limit="streams"}'], 1)
        self.train("-H", self.hostfile([daemon]), "--steps", 1)  # another host's calls are taken as ever

    def test_coordinator_that_was_stopped_for_too_long_hears_why_its_job_ended(self):
        daemons = self.start_daemons(2)
        run, _ = self.begin_steps(daemons, 100000)
        run.process.send_signal(signal.SIGSTOP)
        try:
            for daemon in daemons:
                daemon.wait_until_free(TIMEOUT_S + 15)
        finally:
            run.process.send_signal(signal.SIGCONT)
        self.assertEqual(run.finish(30).code, 4, run.error)
        self.assertRegex(run.error, r"no message came from the coordinator for \d+ ms")
        self.assertNotIn("no message came from it", run.error)  # the daemons were not

    def test_coordinator_that_was_stopped_while_it_connected_connects_again(self):
        daemon, = self.start_daemons(1)
        way = LateWay(daemon.port)
        self.addCleanup(way.close)
        run = self.begin_train("-H", self.hostfile([way]), "--steps", 1)
        harness.wait_until(lambda: way.held, 20, "its connection")
        self.stop_for(TIMEOUT_S + 2, run.process, meanwhile=way.open)
        self.assertEqual(run.finish(60).code, 0, run.error)

    def test_job_goes_on_when_all_of_it_was_stopped(self):
        """As with a virtual machine that is paused."""
        daemons = self.start_daemons(2)
        alone = self.losses("-H", self.hostfile(daemons), "--steps", 12)
        run, path = self.begin_steps(daemons, 12)
        self.stop_for(TIMEOUT_S + 2, run.process, *[daemon.process for daemon in daemons])
        self.assertEqual(run.finish(120).code, 0, f"{run.error}\n{daemons[0].log}")
        self.assertEqual(self.losses_of(path), alone)


if __name__ == "__main__":
    harness.main()
