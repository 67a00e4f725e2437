"""The Debian packages that cpack makes of this build: what is in them, what they depend on, and what lintian says; and that
cmake --install gives the same things below a prefix, and nothing elsewhere."""

import glob
import os
import re
import shutil
import subprocess
import unittest

import harness
import packages

MANUALS = {"penstock": ["man1/penstock.1", "man1/penstock-slurm.1"], "penstockd": ["man8/penstockd.8", "man5/penstockd.conf.5"]}


def setUpModule():
    packages.require()


class Packages(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.packages = packages.build(os.path.join(cls.folder, "packages"))

    def test_there_are_two_of_the_programs_version(self):
        self.assertEqual(set(self.packages), {"penstock", "penstockd"})
        for name, program in ("penstock", harness.PENSTOCK), ("penstockd", harness.PENSTOCKD):
            said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
            version = packages.field(self.packages[name], "Version")
            self.assertRegex(version, r"^[\d.]+-\d+$")
            self.assertIn(version.split("-")[0], said)
            self.assertRegex(packages.field(self.packages[name], "Description"), r"(?s)^pipeline-parallel training.*\n .*\.$")

    def test_programs_manuals_and_completion_are_in_place(self):
        for name, package in self.packages.items():
            files = packages.files(package)
            self.assertEqual(files[f"/usr/bin/{name}"], "-rwxr-xr-x")
            for page in MANUALS[name]:
                self.assertEqual(files[f"/usr/share/man/{page}.gz"], "-rw-r--r--")
            self.assertEqual(files[f"/usr/share/bash-completion/completions/{name}"], "-rw-r--r--")
            self.assertIn(f"/usr/share/doc/{name}/copyright", files)
            self.assertEqual([path for path, mode in files.items() if mode[0] == "d" and mode != "drwxr-xr-x"], [])
        self.assertIn("/usr/bin/penstock-slurm", packages.files(self.packages["penstock"]))

    def test_the_daemon_brings_its_unit_and_its_configuration(self):
        package = self.packages["penstockd"]
        self.assertIn("/usr/lib/systemd/system/penstockd.service", packages.files(package))
        subprocess.run(["dpkg-deb", "-R", package, os.path.join(self.folder, "unpacked")], check=True)
        with open(os.path.join(self.folder, "unpacked", "DEBIAN", "conffiles")) as file:
            named = file.read().split()
        self.assertEqual(named, [path for path, mode in packages.files(package).items() if path.startswith("/etc/") and mode[0] == "-"])
        configuration = os.path.join(self.folder, "unpacked", "etc", "penstock", "penstockd.conf")
        subprocess.run([harness.PENSTOCKD, "--config", configuration, "--check-config"], check=True, stdout=subprocess.DEVNULL)
        # What is commented out is as good as what is not: each key is one that the daemon knows.
        with open(configuration) as file:
            text = file.read()
        known = subprocess.run([harness.PENSTOCKD, "--help"], check=True, capture_output=True, text=True).stdout
        keys = re.findall(r"^#?([a-z][-a-z]*) = ", text, re.M)
        self.assertGreater(len(keys), 5)
        for key in keys:
            self.assertIn(f"--{key} ", known)

    def test_no_dependence_on_nvidia(self):
        for package in self.packages.values():
            depends = packages.field(package, "Depends")
            self.assertIn("libgrpc", depends)
            self.assertNotRegex(depends, "cuda|cudnn|cublas|nccl|nvidia")

    @unittest.skipUnless(shutil.which("lintian"), "lintian is missing")
    def test_lintian_finds_no_error(self):
        done = subprocess.run(["lintian", "--allow-root", "--tag-display-limit", "0", "--fail-on", "error", *self.packages.values()],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        # docs/install.md says why this one is there.
        others = [line for line in done.stdout.splitlines() if line.startswith("W:") and "initial-upload-closes-no-bugs" not in line]
        self.assertEqual(others, [])

    def test_an_installation_below_a_prefix_works_and_stays_there(self):
        stage = os.path.join(self.folder, "stage")
        subprocess.run(["cmake", "--install", packages.BUILD, "--prefix", "/opt/penstock"], env=dict(os.environ, DESTDIR=stage), check=True,
                       stdout=subprocess.DEVNULL)
        self.assertEqual(os.listdir(stage), ["opt"])
        tree = os.path.join(stage, "opt", "penstock")
        for name, pages in MANUALS.items():
            self.assertTrue(os.access(os.path.join(tree, "bin", name), os.X_OK))
            for page in pages:
                self.assertTrue(os.path.exists(os.path.join(tree, "share", "man", page + ".gz")))
        with open(os.path.join(tree, "lib", "systemd", "system", "penstockd.service")) as file:
            unit = file.read()
        self.assertIn("ExecStart=/opt/penstock/bin/penstockd ", unit)
        self.assertNotIn("/usr/bin/penstockd", unit)
        self.assertEqual(len(glob.glob(os.path.join(tree, "share", "doc", "penstockd", "examples", "penstockd.conf"))), 1)
        done = subprocess.run([os.path.join(tree, "bin", "penstock"), "train", "--dataset", self.dataset, *map(str, self.small), "--local",
                               "2", "--steps", "1"], capture_output=True, text=True, timeout=60 * harness.PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    harness.main()
