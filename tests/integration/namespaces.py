"""Several hosts on one machine, for tests that run as root: a network namespace for each host, joined by veth pairs to a
bridge that lies in a namespace of its own. Nothing of it is seen in the machine's own network, so neither its addresses nor
its firewall matter, and several tests may do this at once.

Host i has the address 10.77.0.(i + 1) on its interface `eth0`. A link can be limited to a rate, both ways, and cut.
"""

import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import harness

PREFIX = "penstock"  # namespaces are named penstock-PID-HOST, and penstock-PID-switch
BURST_BYTES = 32 << 10  # what a limited link lets through at once: small beside what a test sends in a second
QUEUE_MS = 100  # how long a packet may wait for a limited link before it is dropped


def command(*words):
    """Runs `ip` or `tc`; what it said is in the exception."""
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


def unavailable():
    """Why hosts cannot be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in "ip", "tc", "setpriv":
        if not shutil.which(program):
            return f"{program} is not installed (packages iproute2 and util-linux)"
    try:
        network = Network(1)
    except OSError as error:
        return f"network namespaces cannot be made here: {error}"
    try:
        network.limit(0, 100)
    except OSError as error:
        return f"the kernel cannot limit a link's rate: {error}"
    finally:
        network.close()
    return None


def remove_left_over():
    """Removes the namespaces of tests that were killed: their names have the number of a process that is gone."""
    for line in command("ip", "netns", "list").splitlines():
        found = re.match(rf"{PREFIX}-(\d+)-\w+", line)
        if found and not os.path.exists(f"/proc/{found.group(1)}"):
            subprocess.run(["ip", "netns", "del", found.group(0)], stderr=subprocess.DEVNULL)


class Network:
    """`count` hosts on one switch. Ends with close(), with the program, and with SIGTERM."""

    def __init__(self, count):
        self.switch = f"{PREFIX}-{os.getpid()}-switch"
        self.hosts = [f"{PREFIX}-{os.getpid()}-{host}" for host in range(count)]
        self.made = []
        atexit.register(self.close)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what must be closed is
        remove_left_over()
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self):
        self._add(self.switch)
        command("ip", "-n", self.switch, "link", "add", "bridge", "type", "bridge")
        command("ip", "-n", self.switch, "link", "set", "bridge", "up")
        for host, name in enumerate(self.hosts):
            self._add(name)
            port = self._port(host)
            command("ip", "-n", self.switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            command("ip", "-n", self.switch, "link", "set", port, "master", "bridge", "up")
            command("ip", "-n", name, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
            command("ip", "-n", name, "link", "set", "lo", "up")
            command("ip", "-n", name, "link", "set", "eth0", "up")

    def _add(self, name):
        command("ip", "netns", "add", name)
        self.made.append(name)

    def close(self):
        """A namespace takes its interfaces with it."""
        while self.made:
            subprocess.run(["ip", "netns", "del", self.made.pop()], stderr=subprocess.DEVNULL)
        atexit.unregister(self.close)

    @staticmethod
    def _port(host):
        return f"port{host}"

    @staticmethod
    def address(host):
        return f"10.77.0.{host + 1}"

    def inside(self, host):
        """The beginning of a command that runs on a host, and is killed when this program ends."""
        return ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self.hosts[host]]

    def limit(self, host, megabits):
        """What a host sends and what it receives have `megabits` (10^6 bits) a second each."""
        for namespace, interface in (self.hosts[host], "eth0"), (self.switch, self._port(host)):
            command("tc", "-n", namespace, "qdisc", "replace", "dev", interface, "root", "tbf", "rate", f"{megabits}mbit",
                    "burst", BURST_BYTES, "latency", f"{QUEUE_MS}ms")

    def unlimit(self, host):
        for namespace, interface in (self.hosts[host], "eth0"), (self.switch, self._port(host)):
            command("tc", "-n", namespace, "qdisc", "del", "dev", interface, "root")

    def cut(self, host):
        command("ip", "-n", self.hosts[host], "link", "set", "eth0", "down")

    def mend(self, host):
        command("ip", "-n", self.hosts[host], "link", "set", "eth0", "up")

    def part(self, one, other):
        """Two hosts no longer reach each other; all others still reach both."""
        for here, there in (one, other), (other, one):
            command("ip", "-n", self.hosts[here], "route", "add", "blackhole", self.address(there))

    def join(self, one, other):
        for here, there in (one, other), (other, one):
            command("ip", "-n", self.hosts[here], "route", "del", "blackhole", self.address(there))

    def sent_bytes(self, host):
        """What has left the host's interface since it was made, with all headers."""
        said = json.loads(command("ip", "-n", self.hosts[host], "-s", "-j", "link", "show", "eth0"))
        return said[0]["stats64"]["tx"]["bytes"]


class Daemon(harness.Daemon):
    """A penstockd on a host. Its metrics are read on that host's loopback, so also while its link is cut."""

    def __init__(self, network, host, folder, *options, program=harness.PENSTOCKD, certificate=None):
        self.inside = network.inside(host)
        security = certificate.options if certificate else ["--insecure"]
        super().__init__(folder, *security, *options, program=program, host=network.address(host), inside=self.inside)

    def get(self, path):
        fetch = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"
        url = f"http://127.0.0.1:{self.metrics_port}{path}"
        return command(*self.inside, sys.executable, "-c", fetch, url)
