"""`penstock top` and the progress of a job: pages of text, and a terminal's screen, read back with a terminal that this project did not write (pyte)."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
import unittest

import harness

try:
    import pyte
except ImportError:
    pyte = None


class Terminal:
    """penstock on a pseudo-terminal of `lines` and `columns`; what it draws is in `screen`."""

    def __init__(self, *arguments, lines=24, columns=200, name="xterm"):
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = name
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            os.execv(harness.PENSTOCK, ["penstock", *arguments])
        self.code = None
        self.raw = b""

    def read(self):
        """Draws what has come, for a moment."""
        with contextlib.suppress(OSError):
            while select.select([self.master], [], [], 0.05)[0]:
                data = os.read(self.master, 65536)
                if not data:
                    break
                self.raw += data
                self.stream.feed(data)

    @property
    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    def wait_for(self, pattern, seconds=20):
        def look():
            self.read()
            return re.search(pattern, "\n".join(self.lines))
        try:
            return harness.wait_until(look, seconds, pattern)
        except AssertionError as problem:
            raise AssertionError(f"{problem}, but\n" + "\n".join(self.lines)) from None

    def resize(self, lines, columns):
        self.screen.resize(lines, columns)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def type(self, keys):
        os.write(self.master, keys)

    def finish(self):
        def look():
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid != 0:
                self.code = os.waitstatus_to_exitcode(status)
            return pid != 0
        harness.wait_until(look, 20, "top's end")
        return self.code

    def close(self):
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)


class Progress(harness.TestCase):
    """The progress of a job, on terminals of every width."""

    def begin(self, *arguments, **options):
        terminal = Terminal("train", "--dataset", self.dataset, "--image-size", "63", "--micro-batch-size", "4", "--gradient-accumulation-steps", "1",
                            "--threads", "1", "--local", "2", "--steps", "60", *arguments, **options)
        self.addCleanup(terminal.close)
        return terminal

    @unittest.skipUnless(pyte, "needs pyte")
    def test_it_stays_in_one_line_at_every_width(self):
        terminal = self.begin(columns=44)
        terminal.wait_for(r"step \d+/60  loss \d")
        for columns in 60, 30:
            terminal.resize(24, columns)
            step = int(terminal.wait_for(r"step (\d+)/60")[1])
            harness.wait_until(lambda: int(terminal.wait_for(r"step (\d+)/60")[1]) > step + 1, 30, "another step")
            shown = [line for line in terminal.lines if re.search(r"step \d|loss|accuracy|samples/s|left", line)]
            self.assertEqual(len(shown), 1, shown)  # none has wrapped
            self.assertLess(len(shown[0]), columns)
        terminal.wait_for("busiest")
        self.assertEqual(terminal.finish(), 0)

    @unittest.skipUnless(pyte, "needs pyte")
    def test_the_tables_at_the_end_fit_80_columns(self):
        terminal = self.begin("--steps", "5", lines=60, columns=80)
        terminal.wait_for("busiest")
        self.assertEqual(terminal.finish(), 0)
        text = "\n".join(terminal.lines)
        for header in (r"^stage  layers  parameters  forward backward optimizer    copy  bubble$",
                       r"^stage  previous      next coordinator       sent   received$"):
            self.assertRegex(text, f"(?m){header}")
        self.assertRegex(text, r"(?m)^    1 .*\d%( <)?$")

    @unittest.skipUnless(pyte, "needs pyte")
    def test_a_terminal_that_obeys_no_escapes_gets_none(self):
        for name in "dumb", "":
            terminal = self.begin("--steps", "5", lines=60, columns=100, name=name)
            terminal.wait_for("busiest")
            self.assertEqual(terminal.finish(), 0)
            self.assertNotIn(b"\x1b", terminal.raw)
            self.assertIn(b"step 5/5", terminal.raw)


class Top(harness.TestCase):
    def begin_job(self, count=2, *options):
        """The daemons, and the job's name."""
        daemons = self.start_daemons(count)
        self.steps = self.path(f"steps-{len(self.runs)}.json")
        run = self.begin_train("-H", self.hostfile(daemons), "--steps", 100000, "--json", self.steps, *options)
        self.wait_for_steps(self.steps, 2)
        return daemons, f"alexnet-{run.process.pid}"

    def test_plain_pages_show_each_stage(self):
        daemons, job = self.begin_job()
        run = self.penstock("top", "-H", self.hostfile(daemons), "--iterations", 2, "--interval", 1)
        pages = run.out.split("penstock top  ")[1:]
        self.assertEqual(len(pages), 2)
        for page in pages:
            self.assertRegex(page, rf"\n{job}: alexnet, 2 stages, step \d+, [\d.]+ samples/s\n")
            rows = [line for line in page.splitlines() if re.match(r" +\d ", line)]
            for stage, row in enumerate(rows):
                match = re.fullmatch(rf" +{stage}  {daemons[stage].address} +(\d+) +([\d.]+) +(\d+)%  ([FBOC<>=^.]{{30}}) +([\d.]+ MiB) of"
                                     r" ([\d.]+ [GT]iB) .* +[\d.]+ s ago  cpu +alexnet", row)
                self.assertTrue(match, row)
                self.assertGreater(float(match[2]), 0)
                self.assertRegex(match[4], "[FB]")
            self.assertEqual(len(rows), 2)
            self.assertIn(">", rows[0].split("%")[1][:34])  # AlexNet's first stage is the lighter one
        first, second = [int(re.search(r"step (\d+)", page)[1]) for page in pages]
        self.assertGreaterEqual(second, first)

    def test_samples_per_second_are_those_of_the_job(self):
        daemons, job = self.begin_job()
        begin = time.monotonic()
        run = self.penstock("top", *[daemon.address for daemon in daemons], "--once", "--interval", 3)
        with open(self.steps) as file:
            seconds = [float(value) for value in re.findall(r'"step_seconds":([\d.e-]+)', file.read())][2:]
        self.assertGreater(time.monotonic() - begin, 3)  # a page is of an interval
        shown = float(re.search(r"([\d.]+) samples/s", run.out)[1])
        # Means of steps that are not quite the same ones, on a machine that others use.
        self.assertGreater(shown, 0.5 * 16 / max(seconds))
        self.assertLess(shown, 2.0 * 16 / min(seconds))

    def test_output_that_is_no_terminal_gets_pages_until_it_is_stopped(self):
        daemons = self.start_daemons(1)
        run = self.begin("top", daemons[0].address, "--interval", 0.2)
        pages = ""
        while pages.count("no job is running") < 2:
            line = run.process.stdout.readline()
            self.assertTrue(line, "it ended by itself")
            pages += line
        run.process.send_signal(signal.SIGINT)
        run.finish(10)
        self.assertEqual(run.code, 0, run.error)
        self.assertNotIn("\x1b", pages + run.out)

    def test_node_that_is_lost_is_said_and_the_others_are_shown(self):
        daemons = self.start_daemons(2)
        daemons[1].kill()
        daemons[1].may_end = True
        run = self.penstock("top", "-H", self.hostfile(daemons), "--once", "--interval", 0.2)
        self.assertRegex(run.out, rf"2 nodes, 1 without an answer, every 0.2 s\n{daemons[1].address} cannot be reached: .*\nno job is running\n")
        run = self.penstock("top", daemons[1].address, "--once", code=4)
        self.assertRegex(run.error, f"{daemons[1].address} cannot be reached")
        self.assertEqual(run.out, "")

    def test_wrong_usage_is_refused(self):
        for words, arguments in [("--interval: \"0\"", ["--interval", 0]), ("--interval: \"nan\"", ["--interval", "nan"]),
                                 ("--iterations: \"0\"", ["--iterations", 0]), ("option --json", ["--json", "x"])]:
            self.assertRegex(self.penstock("top", "127.0.0.1:1", *arguments, code=2).error, words)

    @unittest.skipUnless(pyte, "needs pyte")
    def test_screen_is_drawn_scrolled_resized_and_left_as_it_was(self):
        daemons, job = self.begin_job()
        terminal = Terminal("top", "-H", self.hostfile(daemons), "--interval", "0.3", columns=250)
        self.addCleanup(terminal.close)
        terminal.wait_for(rf" 1  {daemons[1].address} +\d+ .*[BF]{{3,}}")
        self.assertRegex(terminal.lines[0], r"^penstock top  .*q quits")
        row = next(i for i, line in enumerate(terminal.lines) if line.startswith("    0 "))
        self.assertRegex(terminal.lines[row - 1], r"^STAGE  NODE .* MODEL$")
        bar = terminal.lines[row - 1].index("TIME")
        letters = {cell.data: cell for cell in (terminal.screen.buffer[y][x] for y in (row, row + 1) for x in range(bar, bar + 60))}
        self.assertTrue(letters["F"].reverse)  # computing stands out from waiting
        self.assertFalse(letters[">"].reverse)
        step = int(terminal.wait_for(r"step (\d+)")[1])
        harness.wait_until(lambda: int(terminal.wait_for(r"step (\d+)")[1]) > step, 30, "the screen moves on")

        terminal.resize(24, 80)
        terminal.wait_for(r"(?m)^STAGE +NODE +STEP +SAMPLES/S +BUSY +TIME$")  # of the memory nothing is seen: the bar fills the rest
        terminal.wait_for(rf"(?m)^ +1  {daemons[1].address} +\d+ +[\d.]+ +\d+%  [FBOC<>=^.]{{25,}}$")
        self.assertNotIn("MODEL", "\n".join(terminal.lines))
        for _ in range(20):
            terminal.type(b"\x1bOC")  # the arrow to the right
        terminal.wait_for(r"(?m)MODEL$")
        terminal.type(b"\x1bOH")  # home
        terminal.wait_for(r"(?m)^STAGE ")
        terminal.resize(3, 80)
        terminal.wait_for(r"(?s)^penstock top")
        terminal.type(b"\x1bOB" * 4)  # down
        terminal.wait_for(rf"(?m)\A(?!penstock)(?s:.*) 0  {daemons[0].address} ")

        terminal.type(b"q")
        self.assertEqual(terminal.finish(), 0)
        self.assertFalse(terminal.screen.cursor.hidden)

    @unittest.skipUnless(pyte, "needs pyte")
    def test_terminal_that_cannot_be_drawn_on_gets_pages(self):
        daemon = self.start_daemons(1)[0]
        terminal = Terminal("top", daemon.address, "--interval", "0.2", name="dumb")
        self.addCleanup(terminal.close)
        terminal.wait_for(r"(?s)no job is running.*penstock top.*no job is running")
        self.assertNotIn("q quits", "\n".join(terminal.lines))
        terminal.type(b"\x03")
        self.assertEqual(terminal.finish(), 0)

    @unittest.skipUnless(pyte, "needs pyte")
    def test_interrupt_gives_the_terminal_back(self):
        daemons = self.start_daemons(1)
        terminal = Terminal("top", daemons[0].address, columns=100)
        self.addCleanup(terminal.close)
        terminal.wait_for("no job is running")
        terminal.type(b"\x03")
        self.assertEqual(terminal.finish(), 0)
        self.assertFalse(terminal.screen.cursor.hidden)


if __name__ == "__main__":
    harness.main()
