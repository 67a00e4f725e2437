"""docs/operations.md names only what there is: options and keys, metrics, alerts, ports, packages' files, pages and their headings; its configuration
is one that the daemon takes, and its messages are the programs' own."""

import glob
import os
import re
import subprocess
import unittest

import certificates
import command_help
import harness

# Options of other programs that the page uses.
NOT_OURS = {"--alertmanager", "--duration", "--author", "--comment", "--now", "--no-install-recommends", "--unit", "--inetd", "--accept"}
# Where each file that the page names comes from: in this repository, or made by the page's own commands, by systemd or by Debian.
FROM_SOURCE = {
    "/etc/penstock/penstockd.conf": "deploy/debian/penstockd.conf",
    "/etc/default/penstockd": "deploy/debian/penstockd.default",
    "/usr/share/doc/penstockd/examples/make-certificates.sh": "deploy/tls/make-certificates.sh",
    "/usr/share/doc/penstockd/examples/prometheus/prometheus.yml": "deploy/prometheus/prometheus.yml",
    "/usr/share/doc/penstockd/examples/prometheus/penstock.rules.yml": "deploy/prometheus/penstock.rules.yml",
    "/usr/share/doc/penstockd/examples/grafana/penstock.json": "deploy/grafana/penstock.json",
}
MADE_THERE = {"/etc/penstock", "/etc/penstock/", "/etc/penstock/tls", "/etc/penstock/tls/ca.pem", "/etc/penstock/tls/node.pem", "/etc/penstock/tls/node.key",
              "/etc/systemd/system/penstockd.service.d", "/etc/systemd/system/penstockd.service.d/memory.conf"}
BY_OTHERS = {"/etc", "/etc/hosts", "/etc/prometheus", "/etc/systemd/system/multi-user.target.wants/penstockd.service"}
# Messages of systemd, gRPC and the C library, and alerts, which another test has.
THEIRS = re.compile("Job for|status=|Permission denied|Connection refused|DNS resolution|Penstock[A-Z]")


def read(*path):
    with open(os.path.join(harness.SOURCE, *path)) as file:
        return file.read()


def sources():
    """All string literals of the programs, joined: a message in them may be broken over lines, and has numbers in its places."""
    found = []
    for folder in "common", "coordinator", "stage_server":
        for path in glob.glob(os.path.join(harness.SOURCE, folder, "**", "*.[ch]"), recursive=True):
            found.append(re.sub(r'"\s*\n\s*"', "", read(path)))
    return "\n".join(found).replace('\\"', '"')


def anchor(heading):
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


class Operations(harness.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.page = read("docs", "operations.md")
        cls.daemon_options = set(command_help.options(command_help.text(harness.PENSTOCKD)))

    def test_options_are_there(self):
        known = set(self.daemon_options) | set(command_help.options(command_help.text(harness.PENSTOCK)))
        for words in command_help.commands():
            known |= set(command_help.options(command_help.text(harness.PENSTOCK, *words)))
        named = set(re.findall(r"(?<![\w-])--[a-z][-a-z]*", self.page)) - NOT_OURS
        self.assertGreater(len(named), 10)
        self.assertEqual(named - known, set())
        for name in re.findall(r"PENSTOCK_[A-Z_]+[A-Z]", self.page):
            if name != "PENSTOCK_TLS":
                self.assertIn("--" + name.removeprefix("PENSTOCK_").lower().replace("_", "-"), known, name)
        for key in re.findall(r"^([a-z-]+) = ", self.page, re.M) + re.findall(r"`([a-z]+-[a-z]+)(?: = [^`]*)?`", re.sub("`(systemd-nspawn|node-[ab])`", "", self.page)):
            self.assertIn("--" + key, self.daemon_options, "a key of penstockd.conf")

    def test_metrics_and_alerts_are_there(self):
        documented = set(re.findall(r"^\| `(penstock_\w+)`", read("docs", "metrics.md"), re.M))
        named = set(re.findall(r"(?<!\^)\bpenstock_[a-z_]+(?=[{` ])", self.page))
        self.assertGreater(len(named), 1)
        self.assertEqual(named - documented, set())
        rules = read("deploy", "prometheus", "penstock.rules.yml")
        alerts = set(re.findall(r"\bPenstock[A-Z]\w+", self.page))
        self.assertGreater(len(alerts), 3)
        self.assertEqual(alerts - set(re.findall(r"- alert: (\w+)", rules)), set())
        self.assertIn(f"SUCCESS: {len(re.findall(r'- (?:alert|record): ', rules))} rules found", self.page)
        self.assertIn("login:9465", read("deploy", "prometheus", "prometheus.yml"))

    def test_files_and_units_are_there(self):
        paths = {path.rstrip(".,:;") for path in re.findall(r"(?<![\w/.$])/(?:etc|usr|var|lib)[\w./-]*", self.page)}
        unit = read("deploy", "systemd", "penstockd.service")
        by_systemd = {"/lib/systemd/system/penstockd.service", "/var/cache/penstock/tuning", "/var/lib/penstock"}
        self.assertIn("CacheDirectory=penstock", unit)
        self.assertIn("StateDirectory=penstock", unit)
        self.assertEqual(paths - set(FROM_SOURCE) - MADE_THERE - BY_OTHERS - by_systemd, set())
        for path in FROM_SOURCE.values():
            self.assertTrue(os.path.exists(os.path.join(harness.SOURCE, path)), path)
        units = set(re.findall(r"systemctl (?:enable --now|disable --now|restart|reload|start|stop|status) ([\w-]+)", self.page))
        self.assertEqual(units, {"penstockd", "prometheus"})

    def test_its_configuration_is_in_order(self):
        text = re.search(r"cat > /etc/penstock/penstockd.conf <<END\n(.*?)^END$", self.page, re.M | re.S)[1]
        certificate = certificates.Authority(self.path("authority")).issue("node-a", "node-a")
        files = dict(zip(certificate.options[::2], certificate.options[1::2]))
        for key in "tls-cert-file", "tls-key-file", "tls-ca-file":
            text, count = re.subn(rf"^{key} = .*$", f"{key} = {files['--' + key]}", text, flags=re.M)
            self.assertEqual(count, 1, key)
        path = self.path("penstockd.conf")
        with open(path, "w") as file:
            file.write(text)
        done = subprocess.run([harness.PENSTOCKD, "--config", path, "--check-config"], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout.strip()), (0, "the configuration is valid"), done.stderr)

    def test_messages_are_the_programs_own(self):
        said = sources()
        lost = []
        for row in re.findall(r"^\| (`.*)$", self.page[self.page.index("## When something is wrong"):], re.M):
            for message in re.findall(r"`([^`]*)`", row.split("|")[0]):
                # The runs of words between what the programs fill in.
                parts = [part.strip() for part in re.split(r"\.\.\.|\d[\d.:]*(?: GiB)?|node-[a-c]|\([^)]*\)|\"[^\"]*\"|0\.0\.0\.0", message)]
                if not THEIRS.search(message) and not all(part in said for part in parts if " " in part or part == message):
                    lost.append(message)
        self.assertEqual(lost, [])

    def test_links_lead_somewhere(self):
        links = re.findall(r"\]\(([\w.]+)(?:#([\w-]+))?\)", self.page)
        self.assertGreater(len(links), 5)
        for name, heading in links:
            text = read("docs", name)
            if heading:
                self.assertIn(heading, [anchor(title) for title in re.findall(r"^#+ (.*)$", text, re.M)], name)


if __name__ == "__main__":
    harness.main()
