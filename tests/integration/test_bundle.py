"""deploy/bundle.sh: one file, small, with programs that run from any folder, with no library but the bundle's own and the C
library's, and train; and it refuses what would not run elsewhere."""

import glob
import os
import re
import subprocess
import tarfile
import time

import harness

BUNDLE = os.path.join(harness.SOURCE, "deploy", "bundle.sh")
BUILD = os.path.dirname(os.path.dirname(os.path.realpath(harness.PENSTOCK)))
# What a machine must bring along.
C_LIBRARY = re.compile(r"(ld-linux-x86-64|libc|libm|libmvec|libpthread|libdl|librt|libresolv|libutil|libanl|libnsl|libnss_\w+)\.so[.\d]*$")


def make(output, *options, path=None, folder=None):
    environment = dict(os.environ, PATH=path or os.environ["PATH"])
    return subprocess.run(["sh", BUNDLE, "--build", BUILD, "--output", output, *options], env=environment, capture_output=True, text=True,
                          cwd=folder, timeout=120 * harness.PATIENCE)


class Bundle(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        done = make(cls.folder)
        if done.returncode != 0:
            raise AssertionError(f"bundle.sh ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        print(done.stdout)
        (cls.archive,) = glob.glob(os.path.join(cls.folder, "penstock-*.tar.gz"))
        with tarfile.open(cls.archive) as archive:
            archive.extractall(cls.folder)
        cls.root = cls.archive[:-len(".tar.gz")]
        cls.environment = {"PATH": "/usr/bin:/bin", "HOME": cls.folder, "LD_LIBRARY_PATH": ""}

    def program(self, name):
        return os.path.join(self.root, "bin", name)

    def train(self, *arguments):
        return [self.program("penstock"), "train", "--dataset", self.dataset, *map(str, self.small), *arguments]

    def assert_own_libraries(self, pid):
        with open(f"/proc/{pid}/maps") as file:
            mapped = {line.split(None, 5)[5].strip() for line in file if line.count("/") and ".so" in line}
        self.assertTrue(any("/lib/libgrpc" in path for path in mapped), mapped)
        for path in mapped:
            if not path.startswith(self.root + "/lib/"):
                self.assertRegex(os.path.basename(path), C_LIBRARY, f"{path} is the system's")

    def test_is_small(self):
        self.assertLess(os.path.getsize(self.archive), 40e6)

    def test_trains_with_no_library_but_its_own(self):
        done = subprocess.run(self.train("--local", "2", "--steps", "2"), env=self.environment, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("2 steps in", done.stdout)

    def test_processes_map_no_library_but_its_own(self):
        path = self.path("steps.json")
        run = subprocess.Popen(self.train("--local", "2", "--steps", "100000", "--json", path), env=self.environment,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.wait_for_steps(path)
            daemons = [pid for pid in filter(str.isdigit, os.listdir("/proc")) if self.parent(pid) == run.pid]
            self.assertEqual(len(daemons), 2)
            for pid in daemons:
                self.assertEqual(os.readlink(f"/proc/{pid}/exe"), self.program("penstockd"))
            for pid in [run.pid, *daemons]:
                self.assert_own_libraries(pid)
        finally:
            run.terminate()
            run.wait(20)

    @staticmethod
    def parent(pid):
        try:
            with open(f"/proc/{pid}/stat") as file:
                return int(file.read().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            return None

    def test_library_path_of_another_program_changes_nothing(self):
        folder = os.path.join(self.folder, "broken")
        os.mkdir(folder)
        for name in os.listdir(os.path.join(self.root, "lib")):
            open(os.path.join(folder, name), "w").close()
        for name in "penstock", "penstockd":
            done = subprocess.run([self.program(name), "--version"], env=dict(self.environment, LD_LIBRARY_PATH=folder), capture_output=True)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_licences_of_every_library_are_there(self):
        documents = os.path.join(self.root, "share", "doc", "penstock")
        licences = os.listdir(os.path.join(documents, "licences"))
        for package in "libgrpc29", "libdnnl2", "libstdc++6", "libgomp1":
            self.assertIn(package, licences)
        with open(os.path.join(documents, "libraries")) as file:
            self.assertEqual(sorted(line.split()[0] for line in file), sorted(licences))
        self.assertIn("LICENSE", os.listdir(documents))

    def test_is_the_same_file_again(self):
        folder = os.path.join(self.folder, "again")
        time.sleep(1.1)  # so that a time that got into it would show
        self.assertEqual(make("again", folder=self.folder).returncode, 0)  # a folder of the caller's, not of the repository
        with open(self.archive, "rb") as one, open(os.path.join(folder, os.path.basename(self.archive)), "rb") as other:
            self.assertEqual(one.read(), other.read())

    def test_newer_glibc_is_refused(self):
        """An objdump that finds a symbol of a newer glibc in everything."""
        tools = os.path.join(self.folder, "tools")
        os.mkdir(tools)
        with open(os.path.join(tools, "objdump"), "w") as file:
            file.write("#!/bin/sh\necho '    0x069691b9 0x00 02 GLIBC_2.99'\n")
        os.chmod(os.path.join(tools, "objdump"), 0o755)
        folder = os.path.join(self.folder, "refused")
        done = make(folder, path=tools + ":" + os.environ["PATH"])
        self.assertEqual(done.returncode, 1)
        self.assertIn("needs glibc 2.99; the bundle is for 2.36 and later", done.stderr)
        self.assertFalse(glob.glob(folder + "/*"))


if __name__ == "__main__":
    harness.main()
