"""A good job over two daemons that bad clients send 100,000 bad messages to meanwhile: it has the losses that it has alone, and the
daemons end with what they began with. A run is made by its seed, but for what the threads of both sides make of it.

PENSTOCK_ABUSE_SEED and PENSTOCK_ABUSE_MESSAGES choose another one. Needs grpcio and protoc."""

import json
import os
import subprocess
import sys
import threading
import time
import unittest

import harness
import messages

SEED = int(os.environ.get("PENSTOCK_ABUSE_SEED", "1"))
MESSAGES = int(os.environ.get("PENSTOCK_ABUSE_MESSAGES", "100000"))
WARM_UP = 2000      # messages, before what the daemons hold is measured
STEPS = 8           # of the good job, again and again
MARGIN = 48 << 20   # bytes that a daemon may have grown by
CALL_SECONDS = 60   # in which the daemon must have ended a call that the client ended


class Holdings:
    """What a daemon holds: must be flat. gRPC's pools, which it fills as it likes, have a limit of their own: the cores."""

    def __init__(self, daemon):
        threads = daemon.threads()
        self.files = daemon.descriptors()
        self.pooled = sum(threads[name] for name in harness.GRPC_POOLS)
        self.threads = threads.total() - self.pooled
        self.sessions = daemon.metrics()["penstock_sessions"]
        self.bytes = daemon.resident_bytes()

    def __str__(self):
        return (f"{self.files} files, {self.threads} threads and {self.pooled} of gRPC, {self.sessions:.0f} sessions, "
                f"{self.bytes / 2**20:.0f} MiB")

    def is_within(self, other):
        return (self.files <= other.files and self.threads <= other.threads and self.sessions <= other.sessions and
                self.pooled <= 16 + 4 * os.cpu_count())


@unittest.skipUnless(messages.grpc, "needs grpcio")
class Abuse(harness.TestCase):
    def abuse(self, daemons, count, seed):
        """Bad clients until so many messages were sent. Gives what they counted."""
        clients = subprocess.run(
            [sys.executable, "-W", "ignore", os.path.join(os.path.dirname(__file__), "abuse.py"), str(seed), str(count),
             str(CALL_SECONDS * harness.PATIENCE), *[daemon.address for daemon in daemons]],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(clients.returncode, 0, f"{clients.stderr[-4000:]}\nPENSTOCK_ABUSE_SEED={SEED}")
        self.assertNotIn("invalid UTF-8", clients.stderr)  # protobuf's own complaint of an answer
        return json.loads(clients.stdout)

    def settled(self, daemons, before=None):
        """What the daemons hold when connections are gone and freed memory has been given back."""
        for daemon in daemons:
            daemon.wait_until_free(30)
        if before is not None:
            for daemon, old in zip(daemons, before):
                try:
                    harness.wait_until(lambda: Holdings(daemon).is_within(old), 30, "what the daemon holds is what it held")
                except AssertionError as error:
                    self.fail(f"{error}: {old} before, {Holdings(daemon)} after; PENSTOCK_ABUSE_SEED={SEED}")
        time.sleep(2)  # a daemon gives memory back once a second
        return [Holdings(daemon) for daemon in daemons]

    def good_jobs(self, hostfile, over, losses, failures):
        """In a thread: job after job until `over`; at least one."""
        try:
            while not losses or not over.is_set():
                losses.append(self.losses("-H", hostfile, "--steps", STEPS))
        except AssertionError as error:
            failures.append(str(error))

    def test_a_good_job_among_bad_clients_has_the_losses_of_one_alone(self):
        daemons = self.start_daemons(2, "--max-sessions", "64", "--memory-limit", "2GiB")
        hostfile = self.hostfile(daemons)
        alone = self.losses("-H", hostfile, "--steps", STEPS)
        self.assertEqual(len(alone), STEPS)
        self.abuse(daemons, min(WARM_UP, MESSAGES), SEED + 1)
        before = self.settled(daemons)
        over, beside, failures = threading.Event(), [], []
        good = threading.Thread(target=self.good_jobs, args=(hostfile, over, beside, failures))
        good.start()
        began = time.monotonic()
        try:
            counts = self.abuse(daemons, MESSAGES, SEED)
        finally:
            seconds = time.monotonic() - began
            over.set()
            good.join()
        print(f"seed {SEED}: {counts} in {seconds:.0f} s; {len(beside)} good jobs beside them", flush=True)
        self.assertFalse(failures, f"PENSTOCK_ABUSE_SEED={SEED}")
        for losses in beside:
            self.assertEqual(losses, alone, f"PENSTOCK_ABUSE_SEED={SEED}")
        after = self.settled(daemons, before)
        for daemon, old, new in zip(daemons, before, after):
            print(f"port {daemon.port}: {old} before; {new} after", flush=True)
            self.assertLess(new.bytes, old.bytes + MARGIN * (1 if harness.PATIENCE == 1 else 8), f"PENSTOCK_ABUSE_SEED={SEED}")
        self.assertEqual(self.losses("-H", hostfile, "--steps", STEPS), alone)


if __name__ == "__main__":
    harness.main()
