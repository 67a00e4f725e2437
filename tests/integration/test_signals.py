"""Signals strike no thread of either program: each is read where it is waited for, and what the programs start is struck as ever."""

import contextlib
import os
import re
import signal
import subprocess
import unittest

import harness

HEARD = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def blocked(status):
    """The signals that /proc/.../status says are held back."""
    mask = int(re.search(r"(?m)^SigBlk:\s*([0-9a-f]+)", status).group(1), 16)
    return {number for number in HEARD if mask >> number - 1 & 1}


class Signals(harness.TestCase):
    def assert_strike_nowhere(self, process):
        tasks = f"/proc/{process.pid}/task"
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/status") as file:
                status = file.read()
            # While one waits for them, the kernel does not hold them back from it.
            if blocked(status) != HEARD and not status.startswith("Name:\tsignals\n"):
                self.fail(f"a thread that signals may strike:\n{status}")

    def test_no_thread_of_a_job_can_be_struck(self):
        daemons = self.start_daemons(2)
        path = self.path("steps.json")
        run = self.begin_train("-H", self.hostfile(daemons), "--steps", 100000, "--json", path, "--metrics-listen", "127.0.0.1:0")
        self.wait_for_steps(path)
        for process in run.process, daemons[0].process, daemons[1].process:
            self.assert_strike_nowhere(process)
        run.process.send_signal(signal.SIGTERM)
        self.assertEqual(run.finish(20).code, 1)
        self.assertIn("interrupted at step", run.error)

    def test_signal_that_comes_with_the_end_of_a_stop_is_heard(self):
        """The kernel then gives it to another thread than the first one, where handlers would run."""
        for _ in range(3):
            daemon, = self.start_daemons(1)
            daemon.process.send_signal(signal.SIGSTOP)
            daemon.process.send_signal(signal.SIGCONT)
            daemon.process.send_signal(signal.SIGTERM)
            self.assertEqual(daemon.process.wait(10 * harness.PATIENCE), 0)
            self.assertIn("stopping: SIGTERM", daemon.log)

    def test_daemons_of_local_inherit_no_mask_of_signals_and_share_the_processors_that_are_allowed(self):
        program, seen = self.path("daemon"), self.path("seen")
        with open(program, "w") as file:
            file.write(f"#!/bin/sh\ncat /proc/self/status >{seen}\necho \"$*\" >>{seen}\n")
        os.chmod(program, 0o755)
        os.environ["PENSTOCKD"], before = program, os.environ["PENSTOCKD"]
        processors = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, [min(processors)])
            self.train("--local", 1, "--steps", 1, code=1)
        finally:
            os.environ["PENSTOCKD"] = before
            os.sched_setaffinity(0, processors)
        with open(seen) as file:
            text = file.read()
        self.assertEqual(blocked(text), set())
        self.assertIn(" --threads 1\n", text)

    def full_pipe(self):
        """Both ends of a pipe into which nothing more goes."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(4096))
        os.set_blocking(writer, True)
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        return reader, writer

    def begin_unread(self, daemon, writer, *options):
        run = subprocess.Popen([harness.PENSTOCK, "train", "--dataset", self.dataset, *map(str, self.small), "-H", self.hostfile([daemon]),
                                "--steps", "100000", *options], stdout=writer, stderr=writer, pass_fds=[writer])
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        return run

    def test_output_that_nobody_reads_holds_up_neither_the_job_nor_its_end(self):
        daemon, = self.start_daemons(1)
        reader, writer = self.full_pipe()
        path = self.path("unread.json")
        run = self.begin_unread(daemon, writer, "--json", path)
        self.wait_for_steps(path, 3)
        # What is read again says how much is missing.
        os.set_blocking(reader, False)
        text = b""

        def is_told():
            nonlocal text
            with contextlib.suppress(BlockingIOError):
                text += os.read(reader, 65536)
            return re.search(rb"penstock: \d+ lines were dropped here: the output was not read in time\nstep \d+/100000 ", text)

        harness.wait_until(is_told, 30, "the number of lines that were left out")
        with contextlib.suppress(BlockingIOError):
            while True:
                os.read(reader, 65536)
        run.send_signal(signal.SIGTERM)
        self.assertEqual(run.wait(10 * harness.PATIENCE), 1)

        # A job that is told to end while its output is stuck ends, also one that waits for the reader of --json.
        reader, writer = self.full_pipe()
        daemon.wait_until_free(10)
        run = self.begin_unread(daemon, writer)
        harness.wait_until(lambda: daemon.used_bytes() > 0, 20, "its stage")
        run.send_signal(signal.SIGTERM)
        self.assertEqual(run.wait(10 * harness.PATIENCE), 1)
        run = self.begin_unread(daemon, writer, "--json", f"/dev/fd/{writer}")

        def writes():
            with open(f"/proc/{run.pid}/syscall") as file:
                call = file.read().split()
            return call[0] in ("1", "64") and os.path.samefile(f"/proc/{run.pid}/fd/{int(call[1], 16)}", f"/dev/fd/{writer}")  # write

        harness.wait_until(writes, 20, "the wait for a reader")
        run.send_signal(signal.SIGTERM)
        self.assertEqual(run.wait(10 * harness.PATIENCE), 1)

    def test_interrupt_ends_a_wait_for_the_reader_of_a_pipe(self):
        pipe = self.path("pipe")
        os.mkfifo(pipe)
        daemons = self.start_daemons(1)
        run = self.begin_train("-H", self.hostfile(daemons), "--steps", 1, "--json", pipe)

        def waits():
            with open(f"/proc/{run.process.pid}/syscall") as file:
                return file.read().split()[0] in ("257", "2")  # openat, open

        harness.wait_until(waits, 20, "the wait for a reader")
        run.process.send_signal(signal.SIGINT)
        self.assertNotEqual(run.finish(10).code, 0)
        self.assertIn("Interrupted system call", run.error)


if __name__ == "__main__":
    harness.main()
