"""The manual pages: each has the options of --help with their defaults, and no others. mandoc and man find no mistakes in them."""

import glob
import os
import re
import shutil
import subprocess
import unittest

import command_help
import harness

PAGES = os.path.join(harness.SOURCE, "docs", "man")
# These options are for the command line only, not for the configuration file.
NOT_IN_FILE = {"--config", "--check-config", "--print-devices", "--help", "--version"}
JOB_COMMANDS = {"train", "plan", "sweep", "prove"}


def setUpModule():
    for tool in "mandoc", "man":
        if not shutil.which(tool):
            raise unittest.SkipTest(f"{tool} is missing")


def read(page):
    with open(os.path.join(PAGES, page)) as file:
        return file.read()


def section(page, begin, macro="Sh"):
    """A page's section of that name, up to the next one."""
    ends = r"\.S[hs] " if macro == "Ss" else r"\.Sh "
    found = re.search(rf"^\.{macro} {re.escape(begin)}\n(.*?)(?=^{ends}|\Z)", page, re.M | re.S)
    if not found:
        raise AssertionError(f"no section {begin}")
    return found[1]


def options(source):
    """{name: text} of the list items that are options; neighbouring items share the text that follows them."""
    found, names = {}, []
    last_was_item = False
    for line in source.splitlines():
        if line.startswith(".It Fl "):
            words = re.sub(r" Ns .*| Ar .*| Op .*", "", line[len(".It Fl "):])
            now = ["-" + name.replace("\\-", "-") for name in words.split(" , ")]
            names = names + now if last_was_item else now
            found.update(dict.fromkeys(now, ""))
            last_was_item = True
            continue
        last_was_item = False
        if line.startswith((".It", ".El", ".S")):
            names = []
        for name in names:
            found[name] += re.sub(r"^\.[A-Z][a-z] ", "", line) + "\n"
    return found


class Manual(harness.TestCase):
    def assert_same(self, page, helped, manual):
        self.assertEqual(sorted(set(helped) - set(manual)), [], f"--help says these, {page} does not")
        self.assertEqual(sorted(set(manual) - set(helped)), [], f"{page} says these, --help does not")
        for name, said in helped.items():
            default = command_help.default(said)
            if default:
                self.assertRegex(" ".join(manual[name].split()), rf"(?<!\w){re.escape(default)}(?!\w)", f"{page}: {name}")

    def test_penstockd_says_every_option(self):
        helped = command_help.options(command_help.text(harness.PENSTOCKD))
        self.assertGreater(len(helped), 20)
        self.assert_same("penstockd.8", helped, options(read("penstockd.8")))

    def test_penstockd_conf_says_every_key(self):
        helped = command_help.options(command_help.text(harness.PENSTOCKD))
        keys = dict(re.findall(r"^\.It Ic (\S+) No = (.*)$", read("penstockd.conf.5"), re.M))
        self.assertEqual(sorted("--" + key for key in keys), sorted(set(helped) - NOT_IN_FILE))
        for key, said in keys.items():
            default = command_help.default(helped["--" + key])
            if default:
                self.assertTrue(said.endswith(default), f"{key}: {said}, not {default}")

    def test_penstock_says_every_option_of_every_command(self):
        page = read("penstock.1")
        commands = command_help.commands()
        self.assertIn(("train",), commands)
        self.assertEqual(sorted(re.findall(r"^\.Ss (.*)$", section(page, "COMMANDS"), re.M)), sorted(map(" ".join, commands)))
        for words in commands:
            manual = options(section(page, " ".join(words), "Ss"))
            if words[0] in JOB_COMMANDS:
                job = options(section(page, "JOB OPTIONS"))
                without = re.search(r"below, except\n((?:\.Fl .*\n)+)", section(page, " ".join(words), "Ss"))
                for name in re.sub(r" [,.](?=\s)|\.Fl", "", without[1]).split() if without else []:
                    del job["-" + name.replace("\\-", "-")]
                manual = job | manual
            if words[0] not in ("dataset", "plan"):  # the others speak with daemons
                manual = options(section(page, "TLS OPTIONS")) | manual
            helped = command_help.options(command_help.text(harness.PENSTOCK, *words))
            self.assert_same(f"penstock.1, {words}", helped, manual)

    def test_values_that_must_be_attached_are_shown_so(self):
        helped = command_help.text(harness.PENSTOCK, "train")
        manual = section(read("penstock.1"), "train", "Ss")
        attached = re.findall(r"(--[-a-z]+)\[=([A-Z]+)\]", helped)
        self.assertEqual(attached, [("--stop-on-nan", "WORD")])
        for name, value in attached:
            self.assertIn(rf"\{name[1:]} Ns Op = Ns Ar {value}", manual)

    def test_penstock_slurm_says_every_option(self):
        helped = command_help.options(command_help.text(command_help.SLURM))
        self.assertIn("--interface", helped)
        self.assert_same("penstock-slurm.1", helped, options(read("penstock-slurm.1")))

    def test_pages_are_clean(self):
        pages = glob.glob(os.path.join(PAGES, "*.[1-8]"))
        self.assertEqual(len(pages), 4)
        # Our own pages refer to each other, and need not be installed here.
        lint = subprocess.run(["mandoc", "-T", "lint", *pages], capture_output=True, text=True).stdout
        self.assertEqual([line for line in lint.splitlines() if "referenced manual not found: Xr penstock" not in line], [])
        for page in pages:
            done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page], capture_output=True, text=True,
                                  env=dict(os.environ, LC_ALL="C.UTF-8"), timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, ""), page)

    def test_references_are_to_pages_that_are_there(self):
        ours = {os.path.basename(page) for page in glob.glob(os.path.join(PAGES, "*"))}
        for page in ours:
            for name, number in re.findall(r"^\.Xr (penstock\S*) (\d)", read(page), re.M):
                self.assertIn(f"{name}.{number}", ours, page)


if __name__ == "__main__":
    harness.main()
