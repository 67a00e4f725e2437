"""Completion for bash, in a real bash with Debian's bash-completion: every option that --help lists, the values of a closed set,
files and folders; and keys typed at a terminal."""

import os
import pty
import re
import select
import subprocess
import time
import unittest

import command_help
import harness

LIBRARY = "/usr/share/bash-completion/bash_completion"
FOLDER = os.path.join(harness.SOURCE, "deploy", "completion")
# Both programs by their names, as a user has them.
PATH = ":".join([os.path.dirname(os.path.realpath(program)) for program in (harness.PENSTOCK, harness.PENSTOCKD)] + [os.environ["PATH"]])
START = f". {LIBRARY} && . {FOLDER}/penstock && . {FOLDER}/penstockd"
# What bash does at the Tab key: sets the words of the line and calls the program's function.
COMPLETE = START + r"""
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMP_TYPE=9
compopt() { :; }
"_$1" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
"""


def setUpModule():
    if not os.path.exists(LIBRARY):
        raise unittest.SkipTest("bash-completion is missing")


class Completion(harness.TestCase):
    def complete(self, *words):
        """What may stand for the last of the words; = is a word of its own, as it is for bash."""
        done = subprocess.run(["bash", "--norc", "-c", COMPLETE, "bash", *words], cwd=self.folder, env=dict(os.environ, PATH=PATH),
                              capture_output=True, text=True, timeout=30 * harness.PATIENCE)
        self.assertEqual(done.stderr, "", words)
        return set(done.stdout.split("\n")[:-1])

    def test_every_option_of_the_daemon(self):
        self.assertEqual(self.complete("penstockd", "-"), set(command_help.options(command_help.text(harness.PENSTOCKD))))

    def test_every_option_of_every_command(self):
        for words in command_help.commands():
            said = command_help.text(harness.PENSTOCK, *words)
            wanted = set(command_help.options(said)) | {"--help"}
            with self.subTest(words):
                self.assertGreater(len(wanted), 1)
                self.assertEqual(self.complete("penstock", *words, "-"), wanted)

    def test_commands(self):
        commands = {words[0] for words in command_help.commands()}
        self.assertEqual(self.complete("penstock", ""), commands | {"--help", "--version"})
        self.assertEqual(self.complete("penstock", "tr"), {"train"})
        self.assertEqual(self.complete("penstock", "dataset", "s"), {"synthesize"})

    def test_values_are_those_that_the_programs_name(self):
        train = command_help.options(command_help.text(harness.PENSTOCK, "train"))
        daemon = command_help.options(command_help.text(harness.PENSTOCKD))
        closed = {("penstock", "train"): (train, {"--model", "--optimizer", "--precision", "--communication-data-type", "--schedule",
                                                  "--partition-method", "--plan-device", "--reduce"}),
                  ("penstockd",): (daemon, {"--tls-client-auth", "--log-level", "--log-format"})}
        for command, (said, names) in closed.items():
            for name in names:
                with self.subTest(name):
                    values = self.complete(*command, name, "")
                    self.assertGreater(len(values), 1)
                    for value in values:
                        self.assertIn(value, re.split(r"[\s,;().]+|REGEX", said[name]))
                    # A list as in "text or json": both sides of its "or" are there, and what stands before a comma.
                    listed = re.findall(r"(\w+)(?: \(default\))? or (\w+)", said[name])
                    for value in sum(map(list, listed), []):
                        self.assertTrue({value, value + ":"} & values, f"{value} is not in {values}")

    def test_devices_are_those_of_this_machine(self):
        self.assertIn("cpu", self.complete("penstockd", "--device", "c"))

    def test_files_and_folders(self):
        os.makedirs(self.path("folder-a"))
        for name in "file-a", "file-b":
            with open(self.path(name), "w"):
                pass
        self.assertEqual(self.complete("penstock", "train", "--load", "file"), {"file-a", "file-b"})
        self.assertEqual(self.complete("penstock", "nodes", "-H", "file-b"), {"file-b"})
        self.assertEqual(self.complete("penstock", "train", "--dataset", "f"), {"file-a", "file-b", "folder-a"})
        self.assertEqual(self.complete("penstock", "dataset", "synthesize", "f"), {"folder-a"})
        self.assertEqual(self.complete("penstockd", "--config", "file-a"), {"file-a"})

    def test_a_number_is_not_completed(self):
        self.assertEqual(self.complete("penstock", "train", "--steps", ""), set())
        self.assertEqual(self.complete("penstockd", "--threads", "-"), set())

    def test_a_value_that_must_be_attached(self):
        self.assertEqual(self.complete("penstock", "train", "--stop-on-nan="), {"yes", "no"})
        self.assertEqual(self.complete("penstock", "train", "--stop-on-nan", "--sched"), {"--schedule"})

    def test_an_option_after_a_switch(self):
        self.assertEqual(self.complete("penstock", "train", "--fit", "--sched"), {"--schedule"})
        self.assertEqual(self.complete("penstock", "sweep", "--local", "--out"), {"--output"})
        self.assertEqual(self.complete("penstockd", "--insecure", "--lis"), {"--listen"})

    # Keys, and what the line becomes.
    def test_a_terminal(self):
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update(PATH=PATH, PS1="$ ", TERM="dumb", HISTFILE="")
            os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
        self.addCleanup(os.close, terminal)
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.kill, pid, 9)

        def expect(text):
            seen = ""
            end = time.monotonic() + 20 * harness.PATIENCE
            while text not in seen:
                self.assertGreater(end, time.monotonic(), f"no {text!r} in {seen!r}")
                if select.select([terminal], [], [], 0.1)[0]:
                    seen += os.read(terminal, 4096).decode()

        os.write(terminal, f"{START} && echo rea''dy\n".encode())
        expect("ready")
        os.write(terminal, b"penstock tra\t--sched\tg\t--model=al\t--partition-m\tty\t")
        expect("penstock train --schedule gpipe --model=alexnet --partition-method type:")
        os.write(terminal, b"\x15penstockd --log-l\tw\t--log-f\tj\t--tls-cl\tn\t")
        expect("penstockd --log-level warning --log-format json --tls-client-auth none ")


if __name__ == "__main__":
    harness.main()
