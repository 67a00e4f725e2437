"""The packages in a clean Debian: installed with what they depend on, running, upgraded, removed and purged; and as a service of a real
systemd. Needs root, debootstrap, systemd-nspawn
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


def setUpModule():
    packages.require()


class Installed(packages.RootTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
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

    @unittest.skipUnless(shutil.which("systemd-nspawn"), "systemd-nspawn is missing")
    def test_systemd_starts_restarts_and_stops_the_service(self):
        root = self.root
        needed = {name for package in self.first.values() for name in packages.dependencies(package)}
        root.run("apt-get", "-q", "-y", "install", "--no-install-recommends", "systemd", "systemd-sysv", "dbus", *needed)
        with root.booted() as run:
            def state():
                """Whether the service runs, whether it is enabled, and its process."""
                said = run("systemctl", "show", "--property=ActiveState,UnitFileState,MainPID", "penstockd.service")
                values = dict(line.split("=") for line in said.splitlines())
                return values["ActiveState"], values["UnitFileState"], int(values["MainPID"])

            def install(package):
                run("dpkg", "-i", root.take(package))
                return state()

            active, enabled, first = install(self.first["penstockd"])
            self.assertEqual((active, enabled), ("active", "enabled"))
            self.assertEqual(run("stat", "-c", "%U", f"/proc/{first}").strip(), "penstock")
            active, enabled, second = install(self.second["penstockd"])
            self.assertEqual((active, enabled), ("active", "enabled"))
            self.assertNotEqual(first, second, "an upgrade starts it anew")
            run("dpkg", "-r", "penstockd")
            self.assertEqual(state()[0], "inactive")
            root.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
            self.assertEqual(install(self.second["penstockd"])[:2], ("inactive", "enabled"), "policy-rc.d forbids to start it")
            os.unlink(root.file("/usr/sbin/policy-rc.d"))
            run("dpkg", "-P", "penstockd")
            self.assertEqual(state()[1], "", "there is no unit")
            self.assertFalse(root.exists("/var/lib/penstock") or root.exists("/var/cache/penstock"))

    def test_a_key_of_the_administrators_outlives_a_purge(self):
        self.install({"penstockd": self.first["penstockd"]})
        self.root.write("/etc/penstock/tls/node.key", "key")
        self.purge()
        self.assertEqual(os.listdir(self.root.file("/etc/penstock")), ["tls"])
        self.assertEqual(self.root.read("/etc/penstock/tls/node.key"), "key")
        shutil.rmtree(self.root.file("/etc/penstock"))


if __name__ == "__main__":
    harness.main()
