"""Hours of a daemon's life in a mix drawn by a seed: jobs that run, are killed and are interrupted, a neighbour that dies and comes back, clients
that break every rule, floods of connections, scrapes, certificates that are renewed. Two daemons that speak TLS live through all of it, and must end as they began: with the
memory, descriptors and threads that they had after a warm-up. Every job that nobody disturbed must have the losses that it has alone.

    soak.py --penstock PATH --penstockd PATH [--seconds 120] [--seed 1] [--workers 2] [--period 2] [--csv FILE]

The CSV has a line for each daemon and period: seconds, daemon, resident bytes, descriptors, threads, threads
of gRPC's largest pool, sessions. Exit codes: 0 all is as it was;
1 something grew, a daemon ended, or a job went wrong, and what; 77 it cannot be done here."""

import argparse
import collections
import contextlib
import http.client
import os
import random
import signal
import socket
import shutil
import subprocess
import sys
import tempfile
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("--penstock", required=True)
parser.add_argument("--penstockd", required=True)
parser.add_argument("--seconds", type=float, default=120)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--workers", type=int, default=2, help="things that happen at the same time")
parser.add_argument("--period", type=float, default=2, help="seconds between two samples")
parser.add_argument("--csv", help="where samples go")
options = parser.parse_args()

os.environ.update(PENSTOCK=options.penstock, PENSTOCKD=options.penstockd)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "integration"))
import certificates  # noqa: E402 (it needs the programs' paths)
import descriptors  # noqa: E402
import harness  # noqa: E402
import http2  # noqa: E402
import messages  # noqa: E402

MAXIMUM_STEPS = 6
SAMPLED_STEPS = 100000  # of a job that will not get that far
# Of what a daemon had after its warm-up. The C library and gRPC keep some of what they once used, and how much depends on what met.
MEMORY_MARGIN_RATIO = 1.10
MEMORY_MARGIN_BYTES = 4 << 20
QUIET_SECONDS = 60  # for the last streams to end, and for a tick that gives memory back


class Wrong(Exception):
    """What the soak is there to find."""


class Sample(collections.namedtuple("Sample", "resident descriptors threads pool_threads")):
    """`threads` are the daemon's own, `pool_threads` the most that one of gRPC's pools has: those grow when there is much to do, to twice the
    number of cores, and need not shrink."""

    def __str__(self):
        return (f"{self.resident / 2**20:.1f} MiB, {self.descriptors} descriptors, {self.threads} threads of its own, "
                f"at most {self.pool_threads} in a pool of gRPC's")


def sample(daemon):
    names = daemon.threads()
    own = names.pop(os.path.basename(options.penstockd)[:15], 0)
    return Sample(daemon.resident_bytes(), daemon.descriptors(), own, max(names.values(), default=0))


class Soak:
    def __init__(self, folder):
        self.folder = folder
        self.dataset = os.path.join(folder, "dataset")
        subprocess.run([options.penstock, "dataset", "synthesize", self.dataset, "--images", "60"], check=True, stdout=subprocess.DEVNULL)
        self.names = {}
        self.make_certificates()
        self.daemons = [self.start_daemon(name) for name in ("first", "second")]
        self.neighbour = self.start_daemon("neighbour")
        self.neighbour_lock = threading.Lock()  # one job at a time has it between the other two
        self.reference = None
        self.counts = collections.Counter()
        self.lock = threading.Lock()
        self.number = 0
        self.floors = collections.defaultdict(list)  # of each daemon: (seconds, resident bytes)
        self.over = threading.Event()

    def make_certificates(self):
        """One for each daemon and one for all clients, and a second one for each daemon that lives through it, to be exchanged for the first."""
        folder = os.path.join(self.folder, "tls")
        authority = certificates.Authority(folder)
        self.certificates = {name: authority.issue(name) for name in ("first", "second", "neighbour", "client")}
        self.renewals = {name: [authority.issue(name + "-a"), authority.issue(name + "-b")] for name in ("first", "second")}
        os.environ.update(self.certificates["client"].environment)
        self.reload_lock = threading.Lock()

    def start_daemon(self, name):
        daemon = harness.Daemon(self.folder, "--max-sessions", "64", "--memory-limit", "8GiB", *self.certificates[name].options)
        self.names[daemon] = name
        return daemon

    def stop(self):
        for daemon in [*self.daemons, self.neighbour]:
            daemon.stop()

    def path(self, name):
        with self.lock:
            self.number += 1
            return os.path.join(self.folder, f"{name}-{self.number}")

    def check_daemons(self):
        for daemon in self.daemons:
            if daemon.process.poll() is not None:
                raise Wrong(f"the {self.names[daemon]} daemon ended with {daemon.process.returncode}")

    # ---- Jobs

    def begin(self, daemons, steps, *more):
        hostfile, results = self.path("hostfile"), self.path("results")
        with open(hostfile, "w") as file:
            file.writelines(f"{daemon.address} slots=1\n" for daemon in daemons)
        words = ["train", "--dataset", self.dataset, "-H", hostfile, "-p", len(daemons), "--image-size", 63, "--micro-batch-size", 4,
                 "--gradient-accumulation-steps", 4, "--lr", 0.01, "--steps", steps, "--json", results, *more]
        return harness.Run(*[str(word) for word in words]), results

    @staticmethod
    def losses(results):
        return [line["loss"] for line in harness.read_json_lines(results) if line["type"] == "step"]

    def good_job(self, mix):
        steps = mix.randint(2, MAXIMUM_STEPS)
        run, results = self.begin(self.daemons, steps, "--schedule", mix.choice(["gpipe", "1f1b"]), "--connections", mix.randint(1, 4))
        run.finish()
        if run.code != 0:
            raise Wrong(f"a job that nobody disturbed ended with {run.code}: {run.error}")
        losses = self.losses(results)
        if self.reference is None:
            self.reference = losses
        if losses != self.reference[:steps]:
            raise Wrong(f"a job that nobody disturbed has the losses {losses}, alone it has {self.reference[:steps]}")

    def reference_job(self):
        run, results = self.begin(self.daemons, MAXIMUM_STEPS)
        if run.finish().code != 0:
            raise Wrong(f"the first job ended with {run.code}: {run.error}")
        self.reference = self.losses(results)

    @staticmethod
    def has_steps(run, results):
        def look():
            if run.process.poll() is not None:
                return True
            with contextlib.suppress(FileNotFoundError), open(results) as file:
                return '"type":"step"' in file.read()
            return False
        harness.wait_until(look, 60, "a job's first step")

    def doomed_job(self, mix, number, expected):
        run, results = self.begin(self.daemons, SAMPLED_STEPS)
        try:
            if mix.random() < 0.3:
                time.sleep(mix.random() * 0.5)  # while it opens
            else:
                self.has_steps(run, results)
        finally:
            run.process.send_signal(number)
            run.finish(30)
        if run.code not in expected:
            raise Wrong(f"a job ended with {run.code} after signal {number}: {run.error}")

    def killed_job(self, mix):
        self.doomed_job(mix, signal.SIGKILL, [-signal.SIGKILL])

    def interrupted_job(self, mix):
        self.doomed_job(mix, signal.SIGINT, [1, -signal.SIGINT])  # the latter: before it listens to signals

    def job_with_a_neighbour_that_dies(self, mix):
        with self.neighbour_lock:
            run, results = self.begin([self.daemons[0], self.neighbour, self.daemons[1]], SAMPLED_STEPS)
            try:
                self.has_steps(run, results)
                if mix.random() < 0.5:
                    self.neighbour.kill()
                else:
                    self.neighbour.stop()
                run.finish(30)
            finally:
                if run.process.poll() is None:
                    run.process.kill()
                    run.finish()
                self.neighbour.stop()
                self.neighbour = self.start_daemon("neighbour")
            if run.code != 4:
                raise Wrong(f"a job whose daemon was ended ended with {run.code}, not with 4: {run.error}")

    # ---- Clients

    def connect(self, mix, port=None):
        return socket.create_connection(("127.0.0.1", port or mix.choice(self.daemons).port), timeout=10)

    def noise(self, mix):
        for _ in range(mix.randint(1, 20)):
            with contextlib.suppress(OSError), self.connect(mix) as peer:
                peer.sendall((http2.PREFACE if mix.random() < 0.5 else b"") + mix.randbytes(mix.randint(1, 4096)))
                peer.settimeout(0.2)
                peer.recv(4096)

    def flood(self, mix):
        peers = []
        with contextlib.suppress(OSError):
            for _ in range(mix.randint(50, 300)):
                peers.append(self.connect(mix))
                if mix.random() < 0.3:
                    peers[-1].sendall(http2.PREFACE)
        time.sleep(mix.random())
        for peer in peers:
            peer.close()

    def scrape(self, mix):
        for daemon in self.daemons:
            if "penstock_sessions" not in daemon.get("/metrics"):
                raise Wrong(f"{self.names[daemon]}: the scrape has no penstock_sessions")
            peer = http.client.HTTPConnection("127.0.0.1", daemon.metrics_port, timeout=10)
            with contextlib.suppress(OSError, http.client.HTTPException):
                peer.request(mix.choice(["GET", "POST", "DELETE"]), "/" + "x" * mix.randint(0, 2000))
                peer.getresponse().read()
            peer.close()
            with contextlib.suppress(OSError), self.connect(mix, daemon.metrics_port) as raw:
                raw.sendall(mix.randbytes(mix.randint(1, 2048)))

    def run_client(self, action, mix):
        """clients.py, whose connections end with its process. Refusals are what is wanted: a daemon's end would be seen elsewhere."""
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clients.py")
        mine = self.certificates["client"]
        client = subprocess.run([sys.executable, "-W", "ignore", script, action, str(mix.getrandbits(32)), mix.choice(self.daemons).address,
                                 mine.ca, mine.key, mine.cert], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        if client.returncode != 0:
            raise Wrong(f"clients.py {action} ended with {client.returncode}: {client.stdout}")

    def calls(self, mix):
        self.run_client("calls", mix)

    def silent_sessions(self, mix):
        self.run_client("silent_sessions", mix)

    def looks(self, mix):
        addresses = [daemon.address for daemon in self.daemons]
        command = mix.choice([["nodes"], ["top", "--once", "--interval", "0.2"]])
        run = harness.Run(*command, *addresses).finish(30)
        if run.code != 0:
            raise Wrong(f"{command} ended with {run.code}: {run.error}")

    def reload(self, mix):
        """SIGHUP after a renewed certificate, or after a broken one, which the daemon must not take."""
        with self.reload_lock:
            for daemon in self.daemons:
                mine, renewed = self.certificates[self.names[daemon]], mix.choice(self.renewals[self.names[daemon]])
                shutil.copy(renewed.key, mine.key)
                if mix.random() < 0.3:
                    with open(mine.cert, "wb") as file:
                        file.write(mix.randbytes(500))
                    self.hang_up(daemon, "not reloaded")
                shutil.copy(renewed.cert, mine.cert)
                self.hang_up(daemon, "reloaded: SIGHUP")

    @staticmethod
    def hang_up(daemon, words):
        before = daemon.log.count(words)
        daemon.process.send_signal(signal.SIGHUP)
        harness.wait_until(lambda: daemon.log.count(words) > before, 30, f"the log says: {words}")

    # ---- The mix

    def actions(self):
        weights = {self.good_job: 6, self.killed_job: 3, self.interrupted_job: 2, self.job_with_a_neighbour_that_dies: 2,
                   self.noise: 2, self.flood: 1, self.scrape: 2, self.looks: 2, self.reload: 1}
        if messages.grpc is not None:
            weights.update({self.calls: 2, self.silent_sessions: 1})
        return weights

    def do(self, action, mix):
        action(mix)
        with self.lock:
            self.counts[action.__name__] += 1

    def work(self, number, problems):
        mix = random.Random(f"{options.seed}/{number}")
        weights = self.actions()
        try:
            while not self.over.is_set():
                self.do(mix.choices(list(weights), list(weights.values()))[0], mix)
        except Exception as problem:  # whatever it is, the soak is over
            problems.append(problem)
            self.over.set()

    def warm_up(self):
        """Everything once, and a little more at once: what is kept from then on is kept for ever."""
        mix = random.Random(f"{options.seed}/warm-up")
        self.reference_job()
        for action in self.actions():
            self.do(action, mix)
        jobs = [self.begin(self.daemons, 2)[0] for _ in range(options.workers + 1)]
        for job in jobs:
            job.finish()
        self.counts.clear()

    # ---- Samples

    def watch(self, csv, problems):
        begin = time.monotonic()
        try:
            while not self.over.wait(options.period):
                self.check_daemons()
                for daemon in self.daemons:
                    now = sample(daemon)
                    seconds = time.monotonic() - begin
                    sessions = int(daemon.metrics()["penstock_sessions"])
                    csv.write(f"{seconds:.1f},{self.names[daemon]},{now.resident},{now.descriptors},{now.threads},{now.pool_threads},{sessions}\n")
                    csv.flush()
                    self.floors[daemon].append((seconds, now.resident))
                if time.monotonic() - begin > options.seconds:
                    self.over.set()
        except Exception as problem:
            problems.append(problem)
            self.over.set()

    def grown(self, daemon, before):
        """What is more than before, in words; empty: nothing."""
        now, more = sample(daemon), []
        if now.resident > before.resident * MEMORY_MARGIN_RATIO + MEMORY_MARGIN_BYTES:
            more.append(f"resident memory {before.resident / 2**20:.1f} -> {now.resident / 2**20:.1f} MiB")
        if now.descriptors > before.descriptors:
            more.append(f"descriptors {before.descriptors} -> {now.descriptors}")
        if now.threads > before.threads:
            more.append(f"threads {before.threads} -> {now.threads}")
        if now.pool_threads > max(before.pool_threads, 2 * os.cpu_count()):
            more.append(f"threads in one of gRPC's pools {before.pool_threads} -> {now.pool_threads}")
        if daemon.used_bytes() > 0:
            more.append(f"{daemon.used_bytes():.0f} bytes of device memory are held")
        return ", ".join(more)

    def quiet_sample(self, daemon):
        """Of a daemon that does nothing: the least that it comes to in a few ticks."""
        daemon.wait_until_free(QUIET_SECONDS)
        seen = []
        for _ in range(10):
            time.sleep(0.5)
            seen.append(sample(daemon))
        return Sample(*[min(values) for values in zip(*seen)])

    def settle(self, before):
        """What has grown. A daemon gives memory back when a session has ended: one more, now that nothing else comes."""
        self.good_job(random.Random(options.seed))
        end = time.monotonic() + QUIET_SECONDS
        while True:
            # Looked at once: right behind a scrape, the scrape's own connection may not be closed yet.
            grown = {daemon: self.grown(daemon, before[daemon]) for daemon in self.daemons}
            if not any(grown.values()) or time.monotonic() > end:
                return grown
            time.sleep(1)

    def print_floors(self):
        """The least memory in each quarter: of a leak it rises."""
        for daemon, samples in self.floors.items():
            quarters = [min((resident for seconds, resident in samples if q <= 4 * seconds / options.seconds < q + 1), default=0)
                        for q in range(4)]
            print(f"{self.names[daemon]}: least memory by quarter, MiB: " + ", ".join(f"{value / 2**20:.1f}" for value in quarters))

    def print_descriptors(self, daemon):
        for line in descriptors.describe(daemon.process.pid):
            print(f"    {self.names[daemon]}, descriptor {line}", flush=True)

    def run(self, csv):
        problems = []
        self.warm_up()
        before = {daemon: self.quiet_sample(daemon) for daemon in self.daemons}
        for daemon in self.daemons:
            print(f"{self.names[daemon]} at the start: {before[daemon]}", flush=True)
        csv.write("seconds,daemon,resident_bytes,descriptors,threads,pool_threads,sessions\n")
        workers = [threading.Thread(target=self.work, args=(number, problems)) for number in range(options.workers)]
        workers.append(threading.Thread(target=self.watch, args=(csv, problems)))
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(self.counts.items())))
        if problems:
            raise problems[0]
        grown = self.settle(before)
        self.print_floors()
        for daemon in self.daemons:
            print(f"{self.names[daemon]} at the end: {sample(daemon)}")
            self.print_descriptors(daemon)
        if any(grown.values()):
            raise Wrong("; ".join(f"{self.names[daemon]}: {words}" for daemon, words in grown.items() if words))


def main():
    if not os.path.isdir("/proc/self/fd"):
        print("skipped: there is no /proc")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="penstock-soak-") as folder:
        soak = Soak(folder)
        csv = open(options.csv or os.path.join(folder, "samples.csv"), "w")
        try:
            with csv:
                soak.run(csv)
        except (Wrong, AssertionError, OSError) as problem:
            for daemon in soak.daemons:
                print(f"{soak.names[daemon]}, the end of its log:\n{daemon.log[-4000:]}")
            print(f"wrong: {problem}")
            sys.exit(1)
        finally:
            soak.over.set()
            soak.stop()
    print("all is as it was")


if __name__ == "__main__":
    main()
