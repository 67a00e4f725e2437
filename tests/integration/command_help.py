"""What --help of the two programs says, as the tests of manual pages and of completion read it: by program and command the
options with what is said of each."""

import os
import re
import subprocess

import harness

SLURM = os.path.join(harness.SOURCE, "deploy", "slurm", "penstock-slurm")
NAME = re.compile(r"--?[A-Za-z][-A-Za-z0-9]*")
# "  -H, --hostfile FILE       the nodes": what stands left of two blanks; where it is long, one blank follows, or nothing
ROW = re.compile(r"  (-.*?)(?:  +(.*)|(?<=[A-Z]) ([a-z].*)|)$")


def text(program, *command):
    done = subprocess.run([program, *command, "--help"], capture_output=True, text=True, timeout=20 * harness.PATIENCE)
    if done.returncode != 0:
        raise AssertionError(f"{program} {command} --help ended with {done.returncode}: {done.stderr}")
    return done.stdout


def commands():
    """The commands of penstock, as its --help lists them, each with its words: ("dataset", "synthesize")."""
    rows = re.findall(r"^  ([a-z]+(?: [a-z]+)?)(?: [A-Z]+)?  ", text(harness.PENSTOCK), re.M)
    return [tuple(row.split()) for row in rows]


def options(help_text):
    """{name: what is said of it} of all options in the table; those that share a row share the text."""
    found = {}
    names = []
    for line in help_text.splitlines():
        row = ROW.match(line)
        if row:
            names = [name for part in row[1].split(", ") for name in NAME.findall(part)[:1]]
            found.update({name: row[2] or row[3] or "" for name in names})
        elif line.startswith("       "):
            for name in names:
                found[name] += " " + line.strip()
        else:
            names = []
    return found


def default(said):
    """The default in what --help says of an option, as "default 16", or as the value alone where "(default)" stands behind it; None
    where it is described in words."""
    found = re.search(r"\((default [^\s;)]+?)[;:)]*(?:\s|\)|$)", said) or re.search(r"(\S+) \(default[);]", said)
    return found[1] if found else None
