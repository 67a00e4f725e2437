"""The packages in a clean Debian: installed with what they depend on, running, upgraded, removed and purged. Needs root, debootstrap
and a mirror."""

import os
import shutil
import unittest

import harness
import packages

UNIT = "/etc/systemd/system/multi-user.target.wants/penstockd.service"
MASK = "/etc/systemd/system/penstockd.service"
CONFIGURATION = "/etc/penstock/penstockd.conf"
# What making an account leaves behind; the account stays.
ACCOUNTS = {"/etc/.pwd.lock", "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-"}
# Writes down what it is asked, and knows the unit as an enabled one.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>/systemctl.log
case "$*" in *is-enabled*) echo enabled ;; esac
"""


def setUpModule():
    if packages.WHY_NOT_PACKAGES:
        raise unittest.SkipTest(packages.WHY_NOT_PACKAGES)


class Installed(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        try:
            cls.root = packages.Root(cls.folder)
        except OSError as error:
            raise unittest.SkipTest(str(error)) from None
        cls.before = cls.root.names()
        cls.first = packages.build(os.path.join(cls.folder, "first"))
        cls.version = packages.field(cls.first["penstock"], "Version")
        cls.higher = cls.version.split("-")[0] + ".1"
        cls.second = packages.build(os.path.join(cls.folder, "second"), cls.higher)

    def install(self, chosen):
        return self.root.run("apt-get", "-q", "-y", "install", "--no-install-recommends", *map(self.root.take, chosen.values()))

    def purge(self):
        self.root.run("apt-get", "-q", "-y", "purge", "penstock", "penstockd")

    def test_install_run_upgrade_remove_and_purge(self):
        root = self.root
        self.install(self.first)
        self.assertTrue(root.exists(UNIT), "the service is enabled")
        self.assertRegex(root.run("getent", "passwd", "penstock"), r"^penstock:x:\d+:\d+:[^:]*:/var/lib/penstock:/usr/sbin/nologin")
        root.run("setpriv", "--reuid=penstock", "--regid=penstock", "--clear-groups", "penstockd", "--config", CONFIGURATION, "--check-config")
        self.assertIn("cpu", root.run("penstockd", "--print-devices"))

        root.run("penstock", "dataset", "synthesize", "/tmp/dataset", "--images", "60")
        said = root.run("penstock", "train", "--dataset", "/tmp/dataset", *map(str, self.small), "--local", "2", "--steps", "2")
        self.assertIn("2 steps in", said)

        edited = root.read(CONFIGURATION) + "log-level = debug\n"
        root.write(CONFIGURATION, edited)
        os.unlink(root.file(UNIT))  # as systemctl disable does
        self.install(self.second)
        for name in self.second:
            self.assertIn(self.higher, root.run("dpkg-query", "-W", name))
        self.assertEqual(root.read(CONFIGURATION), edited)
        self.assertFalse(root.exists(UNIT), "a service that was disabled stays so")
        root.run("penstockd", "--config", CONFIGURATION, "--check-config")

        # What the service and its administrator leave behind.
        for folder in "/var/lib/penstock", "/var/cache/penstock":
            root.write(folder + "/tuning", "")
        root.run("apt-get", "-q", "-y", "remove", "penstock", "penstockd")
        self.assertFalse(root.exists("/usr/bin/penstock") or root.exists("/usr/bin/penstockd"))
        self.assertEqual(root.read(CONFIGURATION), edited)
        self.assertTrue(root.exists("/var/lib/penstock/tuning"))
        self.assertTrue(root.exists(MASK), "a unit without its program is masked")
        self.install(self.second)
        self.assertFalse(root.exists(MASK))
        self.purge()
        root.run("apt-get", "-q", "-y", "autoremove", "--purge")
        self.assertEqual(sorted(root.names() - self.before - ACCOUNTS), [])

    def test_the_service_is_started_restarted_and_stopped(self):
        root = self.root

        def asked():
            """What systemd is asked to do with the unit, since the last question."""
            words = root.read("/systemctl.log").split() if root.exists("/systemctl.log") else []
            root.write("/systemctl.log", "")
            return [word for word, unit in zip(words, words[1:]) if word in ("start", "restart", "stop") and unit == "penstockd.service"]

        # As on a system that systemd runs; systemd itself needs to be the first process, which a test cannot have.
        root.write("/usr/bin/systemctl", SYSTEMCTL, 0o755)
        os.makedirs(root.file("/run/systemd/system"))
        self.addCleanup(lambda: [os.unlink(root.file(path)) for path in ("/usr/bin/systemctl", "/systemctl.log")])
        self.addCleanup(os.rmdir, root.file("/run/systemd/system"))
        self.install(self.first)
        self.assertEqual(asked(), ["start"])
        self.install(self.second)
        self.assertEqual(asked(), ["restart"])
        root.run("apt-get", "-q", "-y", "remove", "penstockd")
        self.assertEqual(asked(), ["stop"])
        root.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
        self.addCleanup(os.unlink, root.file("/usr/sbin/policy-rc.d"))
        self.install(self.second)
        self.assertEqual(asked(), [], "policy-rc.d forbids it")
        self.purge()

    def test_a_key_of_the_administrators_outlives_a_purge(self):
        self.install({"penstockd": self.first["penstockd"]})
        self.root.write("/etc/penstock/tls/node.key", "key")
        self.purge()
        self.assertEqual(os.listdir(self.root.file("/etc/penstock")), ["tls"])
        self.assertEqual(self.root.read("/etc/penstock/tls/node.key"), "key")
        shutil.rmtree(self.root.file("/etc/penstock"))


if __name__ == "__main__":
    harness.main()
