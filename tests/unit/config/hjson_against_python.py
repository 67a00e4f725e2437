"""Holds our reader of Hjson against Python's hjson (PyPI; DeepSpeed loads ds_config.json with it): what one accepts the other accepts, with
the same meaning. Text with half a pair of surrogates is left out: Python has it, UTF-8 has not. Documents: files, and ones drawn from a fixed seed. Usage: hjson_against_python.py PROGRAM FILE..., where PROGRAM is
hjson_to_json. Exits with 77 where the package is missing (deploy/install_dependencies.sh test installs it)."""

import io
import json
import math
import os
import random
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path.insert(0, os.path.join(ROOT, "build", "python"))
try:
    import hjson
except ImportError:
    print("Python's hjson is not installed: deploy/install_dependencies.sh test", file=sys.stderr)
    sys.exit(77)

WORDS = ["{", "}", "[", "]", ",", ":", "\n", " ", "\t", "\r\n", "a", "b", "key", "a b", '"a"', "'b'", '"two words"', "''", '"\\n\\u00e9"',
         '"\\q"', '"', "'", "'''", "'''x\n  y'''", "# c\n", "// c\n", "/* c */", "/*", "#", "/", "1", "-2", "05", "2.5", "1e3", "1.0", "-0",
         "1e400", "1e", ".5", "-", "true", "false", "null", "truex", "nulls", "NaN", "\u00e9", "\u00a0", "\u2003", "a#b", "a//b", "text, and"]
PLAIN = ["true", "false", "null", "1", "-7", "0.25", "1e-8", "1e10", "123456789012", "word", "two words", "it's", "a:b", "x # y", "05", "1 2"]


def reject_duplicates(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError("duplicate keys")
    return dict(pairs)


def read_with_python(document):
    """(accepted, value), of an object; as DeepSpeed opens the file: in text mode, which makes each end of a line a newline."""
    try:
        text = io.TextIOWrapper(io.BytesIO(document), encoding="utf-8").read()
        value = hjson.loads(text, object_pairs_hook=reject_duplicates)
    except (ValueError, IndexError, OverflowError, RecursionError):
        return False, None
    return isinstance(value, dict), value


def is_text(value):
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def blank(draw):
    return "".join(draw.choice([" ", "\t", "\n", "\r\n", "# c, } :\n", "// c ]\n", "/* } \n */", ""]) for _ in range(draw.randrange(3)))


def scalar(draw):
    kind = draw.randrange(4)
    if kind == 0:
        return json.dumps(draw.choice(["", "a", "\u00e9\U0001f600", "q\"'\\/", "line\nline", "# no comment"]))
    if kind == 1:
        return "'%s'" % draw.choice(["", "a b", 'has " inside', "\\t"])
    if kind == 2:
        return "'''%s'''" % draw.choice(["", "x", "\n  x\n    y\n  ", "it's ''quoted'' x\n", "  x  "])
    return draw.choice(PLAIN) + draw.choice(["\n", "\n", "\r\n", " # c\n", ""])


def value(draw, depth):
    kind = draw.randrange(6 if depth < 4 else 4)
    if kind == 4:
        return "[%s]" % "".join(blank(draw) + value(draw, depth + 1) + blank(draw) + draw.choice([",", "\n", ",\n", ""])
                                for _ in range(draw.randrange(4)))
    if kind == 5:
        return "{%s}" % members(draw, depth + 1)
    return scalar(draw)


def members(draw, depth):
    text = ""
    for i in range(draw.randrange(5)):
        key = draw.choice(["k%d" % i, "k%d" % i, '"k%d"' % i, "'k %d'" % i, "k", "a#%d" % i])
        text += blank(draw) + key + draw.choice(["", " "]) + ":" + blank(draw) + value(draw, depth)
        text += draw.choice(["\n", ",", ",\n", " , ", ""])
    return text + blank(draw)


def draw_document(draw):
    kind = draw.randrange(4)
    if kind == 0:
        text = "".join(draw.choice(WORDS) for _ in range(draw.randrange(1, 12)))
    elif kind == 1:
        text = members(draw, 0)
    else:
        text = "{" + members(draw, 0) + "}"
    if kind == 3:  # one change
        at = draw.randrange(len(text) + 1)
        text = text[:at] + draw.choice(WORDS) + text[at + draw.randrange(2):]
    if "'''" in text:  # in a first line Python's hjson counts their indent from the end of the text
        text = "\n" + text + "\n"
    return text.encode()


def ask(program, documents):
    lines = b"".join(b"%d\n%s" % (len(document), document) for document in documents)
    answers = subprocess.run([program], input=lines, stdout=subprocess.PIPE, check=True).stdout.decode().split("\n")
    assert len(answers) == len(documents) + 1, "%d answers to %d documents" % (len(answers) - 1, len(documents))
    return answers


def same(ours, theirs):
    if isinstance(ours, bool) or isinstance(theirs, bool) or ours is None or theirs is None:
        return ours is theirs
    if isinstance(ours, dict):
        return isinstance(theirs, dict) and list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list):
        return isinstance(theirs, list) and len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, float) or isinstance(theirs, float):
        return not isinstance(theirs, str) and not isinstance(ours, str) and math.isclose(ours, theirs, rel_tol=0)
    return ours == theirs


def main():
    draw = random.Random(1)
    documents = [open(path, "rb").read() for path in sys.argv[2:]]
    documents += [draw_document(draw) for _ in range(20000)]
    accepted = different = 0
    for document, answer in zip(documents, ask(sys.argv[1], documents)):
        is_accepted, theirs = read_with_python(document)
        accepted += is_accepted
        if not is_text(theirs):
            continue
        if answer.startswith("refused: ") == is_accepted or (is_accepted and not same(json.loads(answer), theirs)):
            different += 1
            print("%r\n  ours:   %s\n  Python: %r" % (document, answer, theirs if is_accepted else "refused"))
    print("%d documents, %d accepted, %d different" % (len(documents), accepted, different))
    return different > 0 or not 5000 < accepted < 19000


if __name__ == "__main__":
    sys.exit(main())
