"""Runs ctest with the arguments given, and shows the ten slowest tests before its closing lines. Exits as ctest does."""

import re
import subprocess
import sys

RESULT = re.compile(r"Test +#\d+: (\S+) .*?([\d.]+) sec\s*$")
CLOSING = re.compile(r"\d+% tests passed, ")


def main():
    seconds, closing = {}, []
    process = subprocess.Popen(["ctest", *sys.argv[1:]], stdout=subprocess.PIPE, text=True, errors="replace")
    for line in process.stdout:
        if result := RESULT.search(line):
            seconds[result[1]] = float(result[2])
        if CLOSING.match(line):  # the last such line is ctest's own
            print(*closing, sep="", end="")
            closing = [line]
        elif closing:
            closing.append(line)
        else:
            print(line, end="", flush=True)
    slowest = sorted(seconds, key=seconds.get, reverse=True)[:10]
    print("The slowest:", *(f"{seconds[name]:8.1f} s  {name}" for name in slowest), "", sep="\n")
    print(*closing, sep="", end="", flush=True)
    sys.exit(process.wait())


if __name__ == "__main__":
    main()
