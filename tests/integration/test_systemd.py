"""penstockd as its package installs it, under a real systemd: started, reloaded, restarted, drained. One booted system for
all tests here, which leave it with the service running as the package configured it."""

import contextlib
import json
import os
import re
import shutil
import unittest

import harness
import packages

CONFIG = "/etc/penstock/penstockd.conf"
OVERRIDE = "/etc/systemd/system/penstockd.service.d/test.conf"
MAXIMUM_EXPOSURE = 2.5


def setUpModule():
    packages.require()
    if not shutil.which("systemd-nspawn"):
        raise unittest.SkipTest("systemd-nspawn is missing")


class Systemd(packages.RootTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        built = packages.build(os.path.join(cls.folder, "packages"))
        cls.root.run("apt-get", "-q", "-y", "install", "--no-install-recommends", "systemd", "systemd-sysv", "dbus", "procps",
                     *map(cls.root.take, built.values()), seconds=400)
        cls.config = cls.root.read(CONFIG)
        shutil.copytree(cls.dataset, cls.root.file("/root/dataset"))
        cls.root.write("/root/hostfile", "127.0.0.1:7070 slots=1\n")
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        cls.run_inside = staticmethod(stack.enter_context(cls.root.booted()))

    def tearDown(self):
        """Leaves the service running as the package configured it."""
        if self.root.exists(OVERRIDE):
            os.unlink(self.root.file(OVERRIDE))
        self.root.write(CONFIG, self.config)
        self.run_inside("systemctl", "daemon-reload")
        self.run_inside("sh", "-c", "systemctl reset-failed penstockd; systemctl restart penstockd")
        super().tearDown()

    def show(self, name, unit="penstockd"):
        return self.run_inside("systemctl", "show", "-P", name, unit).strip()

    def journal(self):
        """[(priority, message)] of the service's own lines since it was last started."""
        lines = self.run_inside("journalctl", "-q", "-o", "json", "_SYSTEMD_INVOCATION_ID=" + self.show("InvocationID")).splitlines()
        return [(int(line["PRIORITY"]), line["MESSAGE"]) for line in map(json.loads, lines)]

    def wait_for(self, name, value, seconds=30):
        harness.wait_until(lambda: self.show(name) == value, seconds, f"{name} is {value}")

    def wait_for_line(self, text, priority):
        harness.wait_until(lambda: any(text in message and level == priority for level, message in self.journal()), 20,
                           f"a line of priority {priority} that says {text}")

    def wait_for_another_process(self, before):
        harness.wait_until(lambda: self.show("MainPID") not in ("0", before), 60, "another process")
        self.wait_for("ActiveState", "active")

    def train_command(self, *arguments):
        return ["penstock", "train", "--dataset", "/root/dataset", "-H", "/root/hostfile", "-p", "1", *map(str, self.small), *arguments]

    def test_it_runs_as_its_own_user_and_trains(self):
        self.assertEqual((self.show("ActiveState"), self.show("Type"), self.show("UnitFileState")), ("active", "notify", "enabled"))
        self.assertEqual(self.run_inside("ps", "-o", "user=", "-p", self.show("MainPID")).strip(), "penstock")
        self.assertNotEqual(self.show("StatusText"), "")
        self.run_inside(*self.train_command("--steps", "2"))
        self.wait_for_line("closed", 6)
        self.assertEqual({level for level, _ in self.journal()}, {6}, "an undisturbed service informs, and no more")

    def test_hardening(self):
        out = self.run_inside("systemd-analyze", "--no-pager", "security", "penstockd")
        exposure = float(re.search(r"Overall exposure level.*: ([\d.]+)", out).group(1))
        self.assertLessEqual(exposure, MAXIMUM_EXPOSURE, out)

    def test_reload_takes_the_log_level_and_a_broken_file_changes_nothing(self):
        process = self.show("MainPID")
        self.root.write(CONFIG, self.config + "\nlog-level = debug\n")
        self.run_inside("systemctl", "reload", "penstockd")
        self.wait_for_line("reloaded", 6)
        self.run_inside(*self.train_command("--steps", "1"))
        self.assertIn(7, {level for level, _ in self.journal()}, "lines of level debug")
        self.root.write(CONFIG, self.config + "\nlog-level = loud\n")
        self.run_inside("systemctl", "reload", "penstockd", code=1)
        self.wait_for_line("log-level", 3)
        self.assertEqual((self.show("MainPID"), self.show("ActiveState")), (process, "active"))

    def test_killed_it_is_started_again(self):
        process = self.show("MainPID")
        self.run_inside("kill", "-KILL", process)
        self.wait_for_another_process(process)

    def test_the_watchdog_ends_one_that_hangs(self):
        self.root.write(OVERRIDE, "[Service]\nWatchdogSec=2\n")
        self.run_inside("systemctl", "daemon-reload")
        self.run_inside("systemctl", "restart", "penstockd")
        process = self.show("MainPID")
        self.run_inside("sleep", "5")  # more than the watchdog's time: it is pinged
        self.assertEqual(self.show("MainPID"), process)
        self.run_inside("kill", "-STOP", process)
        self.wait_for_another_process(process)
        self.assertIn("watchdog", self.run_inside("journalctl", "-u", "penstockd", "-o", "cat").lower())

    def test_stop_ends_the_running_step_and_tells_the_coordinator(self):
        self.run_inside("systemd-run", "--quiet", "--unit=job", "--property=RemainAfterExit=yes",
                        *self.train_command("--steps", "1000000", "--json", "/root/steps.json"))
        self.wait_for_steps(self.root.file("/root/steps.json"))
        self.run_inside("systemctl", "stop", "penstockd")
        harness.wait_until(lambda: self.show("ExecMainPID", "job") and self.show("ExecMainExitTimestampMonotonic", "job") != "0", 30,
                           "the job's end")
        said = self.run_inside("journalctl", "-q", "-u", "job", "-o", "cat")
        self.assertEqual(self.show("ExecMainStatus", "job"), "4", said)
        self.assertIn("stopping", said)
        self.assertEqual(self.show("Result"), "success")

    def test_a_broken_configuration_is_not_tried_again(self):
        self.root.write(CONFIG, self.config + "max-sesions = 3\n")
        self.run_inside("sh", "-c", "systemctl restart penstockd || true")
        self.wait_for("ActiveState", "failed")
        self.assertEqual(self.show("ExecMainStatus"), "2")
        said = self.run_inside("journalctl", "-u", "penstockd", "-o", "cat")
        self.assertIn(f"{CONFIG}:{len(self.config.splitlines()) + 1}: unknown key \"max-sesions\"", said)


if __name__ == "__main__":
    harness.main()
