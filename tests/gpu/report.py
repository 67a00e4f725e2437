"""What the suite found, for people: a table on standard output; and for programs: a JSON file, which is whole after each part."""

import json
import os
import platform
import stat
import time


OPENS = "the device opens"  # the check that says what this ran on


class Results:
    """`lines` are those of the parts: checks (with a status), targets and figures."""

    def __init__(self, path, here):
        self.path, self.here, self.begin = path, here, time.monotonic()
        self.date = time.strftime("%Y-%m-%dT%H:%M:%S")
        self.lines, self.interrupted, self.failure = [], None, None

    def of(self, key):
        return [line for line in self.lines if key in line]

    def failed(self):
        return [check for check in self.of("status") if check["status"] == "failed"]

    def missed(self):
        return [target for target in self.of("target") if not target["met"]]

    def seconds(self):
        return time.monotonic() - self.begin

    def write(self, more=None, done=False):
        """In place of the file that was there, which is whole whenever this process is ended. `more` are lines of the part that runs. A disk
        that is full is said once, and no end."""
        lines = self.lines + (more or [])
        opened = any(line.get("name") == OPENS and line["status"] == "passed" for line in lines)
        whole = {"on_gpu": self.here["kind"] == "gpu" and opened, "done": done, "passed": done and not self.failed() and not self.interrupted,
                 "interrupted": self.interrupted, "date": self.date, "seconds": self.seconds(), "machine": self.here,
                 **{name: [line for line in lines if key in line] for name, key in
                    (("checks", "status"), ("targets", "target"), ("figures", "figure"))}}
        try:
            aside = not os.path.exists(self.path) or stat.S_ISREG(os.stat(self.path).st_mode)
            path = self.path + ".part" if aside else self.path
            with open(path, "w") as file:
                json.dump(whole, file, indent=1)
                file.write("\n")
            if aside:
                os.replace(path, self.path)
            self.failure = None
        except OSError as failure:
            if self.failure is None:
                print(f"{self.path}: {failure.strerror}", flush=True)
            self.failure = failure

    def print(self, parts):
        here = self.here
        print(f"\n==== {here['gpu']}" + (f", driver {here['driver']}" if here["kind"] == "gpu" else
                                         ": A REHEARSAL. It shows that the suite works; no figure in it is a GPU's")
              + f"; {platform.platform()}, {self.date[:10]}, {self.seconds():.0f} s")
        print_checks(self.of("status"), parts)
        figures = self.of("figure")
        print_throughput([figure for figure in figures if figure["figure"] == "throughput"], here)
        print_pipeline([figure for figure in figures if figure["figure"] == "pipeline"])
        for target in self.of("target"):
            print(f"{'met' if target['met'] else 'missed'}: {target['target']}: {target['detail']}")
        statuses = [check["status"] for check in self.of("status")]
        print("\n" + ", ".join(f"{statuses.count(status)} {status}" for status in ("passed", "failed", "skipped"))
              + (f", interrupted by {self.interrupted}" if self.interrupted else ""))
        print(f"all of it: {self.path}" if self.failure is None else f"the results could not be written: {self.path}: {self.failure.strerror}")


def print_checks(checks, parts):
    for part in parts:
        mine = [check for check in checks if check["part"] == part]
        if not mine:
            continue
        counts = {status: sum(check["status"] == status for check in mine) for status in ("passed", "failed", "skipped")}
        print(f"{part:12} " + ", ".join(f"{count} {status}" for status, count in counts.items() if count))
        for check in mine:
            if check["status"] != "passed":
                print(f"  {check['status']}: {check['name']}: {check['detail']}")


def print_throughput(rows, here):
    if not rows:
        return
    print("\nsamples/s, forward + backward + optimizer, data on the device; medians of rounds in turns"
          + ("" if here["kind"] == "gpu" else f" ({here['gpu']})"))
    print(f"{'model':8} {'batch':>5} {'image':>5} {'':5} {'ours':>9} {'eager':>9} {'compile':>9} {'ratio':>6} {'of peak':>8}  longest layers, ms")
    for row in rows:
        first = f"{row['model']:8} {row['batch']:>5} {row['image_size']:>5} {row['precision']:5} "
        if "failed" in row:
            print(first + row["failed"])
            continue
        theirs = [f"{row['pytorch'][name]:9.1f}" if name in row["pytorch"] else f"{'-':>9}" for name in ("eager", "compile")]
        ratio = f"{row['ratio']:6.2f}" if "ratio" in row else f"{'-':>6}"
        share = f"{row['share_of_peak']:8.1%}" if row.get("share_of_peak") else f"{'-':>8}"
        print(first + f"{row['samples_per_second']:9.1f} " + " ".join(theirs) + f" {ratio} {share}  " + row.get("longest", ""))
        for note in row["notes"]:
            print("    " + note)


def print_pipeline(rows):
    if rows:
        print("\ntwo stages on one device beside one stage, ms per step (medians)")
    for row in rows:
        print(f"{row['model']:8} {row['batch']:>5} {row['image_size']:>5} {row['precision']:5} one {row['one_ms']:9.2f}  "
              f"in one daemon {row['one_daemon_ms']:9.2f} ({row['one_ms'] / row['one_daemon_ms']:.3f})  "
              f"over gRPC {row['grpc_ms']:9.2f} ({row['one_ms'] / row['grpc_ms']:.3f})")
