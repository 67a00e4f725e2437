"""A Debian of its own in a folder, for tests that run as root: made by debootstrap from where this machine's own packages
come from, entered by chroot, and booted with systemd as its first process by systemd-nspawn, in a network of its own."""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import harness

SUITE = "bookworm"


def mirror():
    """Where apt gets Debian's packages from, or None."""
    done = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)", "Created-By: Packages"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in done.stdout.splitlines():
        address, _, rest = line.partition(" ")
        if rest == "Debian Debian":
            return address
    return None


def unavailable(*programs):
    """Why this cannot be done here, or None."""
    if os.geteuid() != 0:
        return "a Debian of its own needs root"
    missing = [program for program in ("debootstrap", "nsenter", *programs) if not shutil.which(program)]
    if missing:
        return f"not installed: {' '.join(missing)}"
    return None if mirror() else "apt knows no mirror of Debian"


class DebianRoot:
    """A minimal system with `packages` more. Ends with close(), with the program, and with SIGTERM."""

    def __init__(self, *packages):
        self.folder = tempfile.mkdtemp(prefix="penstock-root-", dir="/var/tmp")
        self.path = os.path.join(self.folder, "root")
        self.nspawn = None
        self.init = None  # number of its first process
        atexit.register(self.close)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what must be closed is
        command = ["debootstrap", "--variant=minbase", "--include=" + ",".join(packages), SUITE, self.path, mirror()]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise OSError("debootstrap: " + done.stdout[-2000:])
        for name in "resolv.conf", "hosts":
            shutil.copy("/etc/" + name, self.path + "/etc/" + name)

    def copy(self, source, to):
        """A file of this machine to the folder or path `to` in there."""
        shutil.copy(source, self.path + to)

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.path + path), exist_ok=True)
        with open(self.path + path, "w") as file:
            file.write(text)

    def read(self, path):
        with open(self.path + path) as file:
            return file.read()

    def run(self, *command, check=True, **how):
        """Runs a command in there: on this machine's network before boot(), as a process of the booted system after it."""
        door = ["chroot", self.path] if self.init is None else ["nsenter", "-t", str(self.init), "-a"]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
                       "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run([*door, *command], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=how.pop("seconds", 300), **how)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def boot(self):
        """Starts its systemd, and waits until that has started all."""
        with open(os.path.join(self.folder, "console"), "w") as console:
            self.nspawn = subprocess.Popen(["systemd-nspawn", "--quiet", "--directory", self.path, "--boot", "--private-network",
                                            "--register=no", "--keep-unit"], stdin=subprocess.DEVNULL, stdout=console,
                                           stderr=subprocess.STDOUT)
        harness.wait_until(self._find_init, 30, "systemd-nspawn's child")
        harness.wait_until(lambda: self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip() in
                           ("running", "degraded"), 120, "the system has booted")

    def _find_init(self):
        if self.nspawn.poll() is not None:
            with open(os.path.join(self.folder, "console")) as console:
                raise AssertionError("systemd-nspawn ended: " + console.read()[-2000:])
        with open(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children") as file:
            children = file.read().split()
        for child in children:
            with open(f"/proc/{child}/comm") as file:
                if file.read().strip() == "systemd":
                    self.init = int(child)
        return self.init is not None

    def close(self):
        if self.nspawn is not None:
            self.nspawn.terminate()  # nspawn passes it on as a request to power off
            try:
                self.nspawn.wait(30 * harness.PATIENCE)
            except subprocess.TimeoutExpired:
                self.nspawn.kill()
                self.nspawn.wait()
            self.nspawn = self.init = None
        shutil.rmtree(self.folder, ignore_errors=True)
