"""Debian packages of the build that is tested, and a clean Debian to install them in."""

import glob
import os
import shutil
import subprocess

import debian_root
import harness

BUILD = os.path.dirname(os.path.dirname(os.path.realpath(harness.PENSTOCK)))
WHY_NOT_PACKAGES = next((f"{tool} is missing" for tool in ("cpack", "dpkg-deb", "dpkg-shlibdeps", "file") if not shutil.which(tool)), None)


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


class Root(debian_root.DebianRoot):
    """A clean Debian to install packages in."""

    def __init__(self):
        super().__init__()
        self.write("/etc/dpkg/dpkg.cfg.d/no-sync", "force-unsafe-io\n")  # nobody wants it after a power failure
        self.run("apt-get", "-q", "update")

    def exists(self, path):
        return os.path.lexists(self.path + path)

    def apt(self, verb, *names):
        self.run("apt-get", "-q", "-y", verb, "--no-install-recommends", *names)

    def take(self, package):
        """Copies a package in, and gives its name there."""
        self.copy(package, "/var/cache/apt/archives")
        return "/var/cache/apt/archives/" + os.path.basename(package)

    def names(self):
        """Every file there is, less what belongs to the system's own books."""
        books = ("/var/lib/dpkg", "/var/lib/apt", "/var/cache/apt", "/var/cache/debconf", "/var/cache/ldconfig", "/var/log", "/proc", "/dev",
                 "/root", "/tmp", "/run")
        found = set()
        for folder, folders, names in os.walk(self.path):
            inside = folder[len(self.path):]
            folders[:] = [name for name in folders if f"{inside}/{name}" not in books]
            found.update(f"{inside}/{name}" for name in folders + names)
        return found
