"""Debian packages of the build that is tested, and a clean Debian to install them in, made by debootstrap from the mirror that this
machine's apt uses. The root lies in a folder of the test's own; what runs in it has its own mounts and processes, which end with it."""

import contextlib
import glob
import os
import shutil
import subprocess
import unittest

import harness

BUILD = os.path.dirname(os.path.dirname(os.path.realpath(harness.PENSTOCK)))
SUITE = "bookworm"  # what the project is for; others have other library packages
WHY_NOT_PACKAGES = next((f"{tool} is missing" for tool in ("cpack", "dpkg-deb", "dpkg-shlibdeps", "file") if not shutil.which(tool)), None)


def require():
    """For setUpModule: skips where no packages can be made."""
    if WHY_NOT_PACKAGES:
        raise unittest.SkipTest(WHY_NOT_PACKAGES)


def build(folder, version=None):
    """{package: its file}: packages of the build, under a version of their own if one is given."""
    os.makedirs(folder)
    words = ["cpack", "-G", "DEB", "-B", folder] + (["-D", f"CPACK_PACKAGE_VERSION={version}"] if version else [])
    done = subprocess.run(words, cwd=BUILD, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise AssertionError(f"cpack ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    files = glob.glob(os.path.join(folder, "*.deb"))
    return {os.path.basename(file).split("_")[0]: file for file in files}


def field(package, name):
    return subprocess.run(["dpkg-deb", "-f", package, name], check=True, capture_output=True, text=True).stdout.strip()


def dependencies(package):
    return [words.split()[0] for words in field(package, "Depends").split(",")]


def files(package):
    """{path: its mode, as ls writes it} of a package's files and folders."""
    listing = subprocess.run(["dpkg-deb", "-c", package], check=True, capture_output=True, text=True).stdout
    return {line.split(None, 5)[5].lstrip("."): line.split()[0] for line in listing.splitlines()}


def mirror():
    """Where this machine's apt has the suite from, or None."""
    done = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {SUITE}",
                           "Component: main"], capture_output=True, text=True)
    return (done.stdout.split() or [None])[0]


def proxy():
    """The proxy that apt uses, in debootstrap's environment."""
    words = subprocess.run(["apt-config", "shell", "proxy", "Acquire::http::Proxy"], capture_output=True, text=True).stdout
    return {"http_proxy": words.strip().split("=", 1)[1].strip("'")} if words.strip() else {}


def run(door, words, code, seconds):
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "HOME": "/tmp"}
    done = subprocess.run([*door, *words], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=seconds)
    if done.returncode != code:
        raise AssertionError(f"{' '.join(words)} ended with {done.returncode}, not {code}:\n{done.stdout}")
    return done.stdout


class Root:
    """A clean Debian; raises OSError, with the reason, where none can be had."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "root")
        if os.geteuid() != 0:
            raise OSError("a root for packages needs root")
        for tool in "debootstrap", "unshare", "chroot":
            if not shutil.which(tool):
                raise OSError(f"{tool} is missing")
        if not mirror():
            raise OSError(f"apt has no mirror of {SUITE}")
        done = subprocess.run(["debootstrap", "--variant=minbase", SUITE, self.path, mirror()], env=dict(os.environ, **proxy()),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400)
        if done.returncode != 0:
            raise OSError(f"debootstrap ended with {done.returncode}: {done.stdout[-2000:]}")
        acquire = subprocess.run(["apt-config", "dump", "Acquire::http::Proxy"], capture_output=True, text=True).stdout
        with open(self.file("/etc/apt/apt.conf.d/00proxy"), "w") as file:
            file.write(acquire)
        self.write("/etc/dpkg/dpkg.cfg.d/no-sync", "force-unsafe-io\n")  # nobody wants it after a power failure
        self.run("apt-get", "-q", "update")

    def file(self, path):
        return self.path + path

    def exists(self, path):
        return os.path.lexists(self.file(path))

    def read(self, path):
        with open(self.file(path)) as file:
            return file.read()

    def write(self, path, text, mode=0o644):
        os.makedirs(os.path.dirname(self.file(path)), exist_ok=True)
        with open(self.file(path), "w") as file:
            file.write(text)
        os.chmod(self.file(path), mode)

    def run(self, *words, code=0, seconds=200):
        """Runs a command in the root, and gives what it printed, errors too."""
        inside = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
        return run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inside, self.path], words, code, seconds)

    @contextlib.contextmanager
    def booted(self):
        """The root's own systemd as its first process, in a container without a network; gives a function like run. The root must
        have systemd and dbus."""
        container = subprocess.Popen(["systemd-nspawn", "--quiet", f"--directory={self.path}", f"--machine=penstock-{os.getpid()}", "--boot",
                                      "--register=no", "--keep-unit", "--private-network", "--console=read-only"], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def inside(*words, code=0, seconds=200):
            with open(f"/proc/{container.pid}/task/{container.pid}/children") as file:
                first = file.read().split()
            if not first:
                raise AssertionError("there is no container")
            return run(["nsenter", "--target", first[0], "--all"], words, code, seconds)

        def is_up():
            with contextlib.suppress(AssertionError):
                return inside("systemctl", "is-active", "multi-user.target").strip() == "active"

        try:
            harness.wait_until(is_up, 60, "the container's systemd")
            yield inside
        finally:
            container.terminate()  # systemd ends what it runs
            try:
                container.wait(60)
            except subprocess.TimeoutExpired:
                container.kill()
                container.wait()

    def take(self, package):
        """Copies a file in, and gives its name there."""
        os.makedirs(self.file("/var/cache/apt/archives"), exist_ok=True)
        return "/var/cache/apt/archives/" + os.path.basename(shutil.copy(package, self.file("/var/cache/apt/archives")))

    def names(self):
        """Every file there is, less what belongs to the system's own books."""
        books = ("/var/lib/dpkg", "/var/lib/apt", "/var/cache/apt", "/var/cache/debconf", "/var/cache/ldconfig", "/var/log", "/proc", "/dev",
                 "/tmp", "/run")
        found = set()
        for folder, folders, names in os.walk(self.path):
            inside = folder[len(self.path):]
            folders[:] = [name for name in folders if f"{inside}/{name}" not in books]
            found.update(f"{inside}/{name}" for name in folders + names)
        return found


class RootTestCase(harness.TestCase):
    """`root`, a clean Debian for all tests of the class; skipped where none can be had."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        try:
            cls.root = Root(cls.folder)
        except OSError as error:
            raise unittest.SkipTest(str(error)) from None
