"""penstockd as its package installs it, under a real systemd: started, reloaded, restarted, drained. One booted system for
all tests here, which leave it with the service running as the package configured it."""

import glob
import json
import os
import subprocess
import unittest

import debian_root
import harness

PENSTOCK_BUILD = os.path.dirname(os.path.dirname(harness.PENSTOCK))
CONFIG = "/etc/penstock/penstockd.conf"
OVERRIDE = "/etc/systemd/system/penstockd.service.d/test.conf"
MAXIMUM_EXPOSURE = 2.5
missing = debian_root.unavailable("systemd-nspawn", "cpack")


@unittest.skipIf(missing, missing)
class Systemd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = root = debian_root.DebianRoot("systemd", "systemd-sysv", "dbus", "procps")
        packages = os.path.join(root.folder, "packages")
        subprocess.run(["cpack", "--config", os.path.join(PENSTOCK_BUILD, "CPackConfig.cmake"), "-G", "DEB", "-B", packages],
                       check=True, stdout=subprocess.DEVNULL)
        names = sorted(os.path.basename(path) for path in glob.glob(packages + "/*.deb"))
        for name in names:
            root.copy(os.path.join(packages, name), "/root/" + name)
        root.run("apt-get", "update", "-q")
        root.run("apt-get", "install", "-q", "-y", "--no-install-recommends", *["/root/" + name for name in names], seconds=600)
        cls.config = root.read(CONFIG)
        root.write("/root/hostfile", "127.0.0.1:7070 slots=1\n")
        root.boot()
        root.run("penstock", "dataset", "synthesize", "/root/dataset", "--images", "60")

    @classmethod
    def tearDownClass(cls):
        cls.root.close()

    def tearDown(self):
        if os.path.exists(self.root.path + OVERRIDE):
            os.unlink(self.root.path + OVERRIDE)
        self.root.write(CONFIG, self.config)
        self.root.run("systemctl", "daemon-reload")
        self.root.run("systemctl", "reset-failed", "penstockd", check=False)
        self.root.run("systemctl", "restart", "penstockd")

    def show(self, name):
        return self.root.run("systemctl", "show", "-P", name, "penstockd").stdout.strip()

    def journal(self):
        """[(priority, message)] of the service's own lines since it was last started."""
        invocation = "_SYSTEMD_INVOCATION_ID=" + self.show("InvocationID")
        lines = self.root.run("journalctl", "-o", "json", invocation).stdout.splitlines()
        return [(int(line["PRIORITY"]), line["MESSAGE"]) for line in map(json.loads, lines)]

    def wait_for(self, name, value, seconds=30):
        harness.wait_until(lambda: self.show(name) == value, seconds, f"{name} is {value}")

    def wait_for_message(self, text):
        harness.wait_until(lambda: any(text in message for _, message in self.journal()), 20, f"the journal says {text}")

    def train_command(self, *arguments):
        return ["penstock", "train", "--dataset", "/root/dataset", "-H", "/root/hostfile", "-p", "1", "--image-size", "63",
                "--micro-batch-size", "4", "--gradient-accumulation-steps", "4", "--lr", "0.01", *arguments]

    def test_it_runs_as_its_own_user_and_trains(self):
        self.assertEqual(self.show("ActiveState"), "active")
        self.assertEqual(self.show("Type"), "notify")
        self.assertEqual(self.show("UnitFileState"), "enabled")
        user = self.root.run("ps", "-o", "user=", "-p", self.show("MainPID")).stdout.strip()
        self.assertEqual(user, "penstock")
        self.assertNotEqual(self.show("StatusText"), "")
        self.root.run(*self.train_command("--steps", "2"))
        self.wait_for_message("closed")
        priorities = {priority for priority, _ in self.journal()}
        self.assertLessEqual(priorities, {6}, "an undisturbed service has informed, and no more")

    def test_hardening(self):
        out = self.root.run("systemd-analyze", "security", "penstockd").stdout
        exposure = float(out.strip().splitlines()[-1].split(":")[-1].split()[0])
        self.assertLessEqual(exposure, MAXIMUM_EXPOSURE, out)

    def test_reload_takes_the_log_level_and_a_broken_file_changes_nothing(self):
        process = self.show("MainPID")
        self.root.write(CONFIG, self.config + "\nlog-level = debug\n")
        self.root.run("systemctl", "reload", "penstockd")
        self.root.run(*self.train_command("--steps", "1"))
        harness.wait_until(lambda: any(priority == 7 for priority, _ in self.journal()), 20, "a line of level debug")
        self.root.write(CONFIG, self.config + "\nlog-level = loud\n")
        self.root.run("systemctl", "reload", "penstockd", check=False)
        self.wait_for_message("log-level")
        self.assertTrue(any(priority == 3 and "log-level" in message for priority, message in self.journal()))
        self.assertEqual(self.show("MainPID"), process)
        self.assertEqual(self.show("ActiveState"), "active")

    def test_killed_it_is_started_again(self):
        process = self.show("MainPID")
        self.root.run("kill", "-KILL", process)
        harness.wait_until(lambda: self.show("MainPID") not in ("0", process), 30, "another process")
        self.wait_for("ActiveState", "active")

    def test_the_watchdog_ends_one_that_hangs(self):
        self.root.write(OVERRIDE, "[Service]\nWatchdogSec=2\n")
        self.root.run("systemctl", "daemon-reload")
        self.root.run("systemctl", "restart", "penstockd")
        process = self.show("MainPID")
        self.root.run("sleep", "5")  # more than the watchdog's time: it is pinged
        self.assertEqual(self.show("MainPID"), process)
        self.root.run("kill", "-STOP", process)
        harness.wait_until(lambda: self.show("MainPID") not in ("0", process), 60, "another process")
        self.assertIn("watchdog", self.root.run("journalctl", "-u", "penstockd", "-o", "cat").stdout.lower())

    def test_stop_ends_the_running_step_and_tells_the_coordinator(self):
        door = ["nsenter", "-t", str(self.root.init), "-a"]
        job = subprocess.Popen([*door, *self.train_command("--steps", "100000", "--json", "/root/steps.json")], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
        try:
            steps = self.root.path + "/root/steps.json"
            harness.wait_until(lambda: os.path.exists(steps) and '"step"' in self.root.read("/root/steps.json"), 60, "a step")
            self.root.run("systemctl", "stop", "penstockd")
            _, error = job.communicate(timeout=30)
        finally:
            job.kill()
            job.wait()
        self.assertEqual(job.returncode, 4, error)
        self.assertIn("stopping", error)
        self.assertEqual(self.show("Result"), "success")

    def test_a_broken_configuration_is_not_tried_again(self):
        self.root.write(CONFIG, self.config + "\nmax-sesions = 3\n")
        self.root.run("systemctl", "restart", "penstockd", check=False)
        self.wait_for("ActiveState", "failed")
        self.assertEqual(self.show("ExecMainStatus"), "2")
        lines = self.root.run("journalctl", "-u", "penstockd", "-o", "cat").stdout
        self.assertIn(f"{CONFIG}:{len(self.config.splitlines()) + 2}: unknown key \"max-sesions\"", lines)


if __name__ == "__main__":
    harness.main()
