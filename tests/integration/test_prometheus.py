"""A real Prometheus and its promtool against two daemons and a coordinator while a job runs; and what is shipped for it in deploy/prometheus
and deploy/grafana: each metric that is named there, or in docs/metrics.md, is one that a scrape has."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.parse
import urllib.request

import harness

DEPLOY = os.path.join(harness.SOURCE, "deploy")
RULES = os.path.join(DEPLOY, "prometheus", "penstock.rules.yml")
NAME = re.compile(r"(?<![\w:])penstock_\w+(?![\w:])")
MOST_SERIES = 60  # of a daemon with one stage, and of a coordinator beyond its histogram


def promtool(*arguments, **how):
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, **how)


def documented():
    """{metric: when it is there}"""
    with open(os.path.join(harness.SOURCE, "docs", "metrics.md")) as file:
        rows = [line.split("|") for line in file if line.startswith("| `penstock_")]
    return {row[1].strip(" `"): row[4].strip() for row in rows}


def families(text):
    return set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))


def family_of(name):
    return name.removesuffix("_bucket")


def dashboard():
    with open(os.path.join(DEPLOY, "grafana", "penstock.json")) as file:
        return json.load(file)


def expressions(panels):
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


class Prometheus:
    """With the shipped configuration, but for its targets and its intervals."""

    def __init__(self, folder, daemons, coordinator_port):
        self.folder = tempfile.mkdtemp(dir=folder)
        with open(os.path.join(DEPLOY, "prometheus", "prometheus.yml")) as file:
            text = file.read()
        targets = {"node-a:9464": daemons[0], "node-b:9464": daemons[1], "login:9465": coordinator_port, "15s": "1s",
                   "penstock.rules.yml": RULES}
        for written, here in targets.items():
            assert written in text, written
            text = text.replace(written, f"127.0.0.1:{here}" if isinstance(here, int) else here)
        path = os.path.join(self.folder, "prometheus.yml")
        with open(path, "w") as file:
            file.write(text)
        self.log_path = os.path.join(self.folder, "log")
        with open(self.log_path, "w") as log: # port 0: another Prometheus may run here
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={self.folder}/tsdb", "--web.listen-address=127.0.0.1:0"],
                stderr=log)
        self.address = harness.wait_until(self.find_address, 60, "Prometheus's start")

    def find_address(self):
        with open(self.log_path) as file:
            log = file.read()
        assert self.process.poll() is None, log
        found = re.search(r'msg="Listening on" address=(\S+)', log)
        return "Server is ready to receive web requests" in log and found[1]

    def query(self, expression):
        """[({label: value}, number)]"""
        url = f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                data = json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from error
        return [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]

    def wait_for(self, expression, count=1):
        """Until so many series have a value."""
        return harness.wait_until(lambda: len(self.query(expression)) >= count and self.query(expression), 60, expression)

    def stop(self):
        self.process.terminate()
        self.process.wait()


@unittest.skipUnless(shutil.which("promtool") and shutil.which("prometheus"), "needs Debian's prometheus")
class Test(harness.TestCase):
    def begin_job(self):
        """Two daemons, and a job that outlasts the test: its boundary's tensors are larger than a chunk."""
        self.two = self.start_daemons(2)
        self.job = self.begin_train("-H", self.hostfile(self.two), "--split", 1, "--chunk-size", "4KiB", "--steps", 1000000,
                                    "--metrics-listen", "127.0.0.1:0")
        for line in self.job.process.stderr:
            found = re.search(r"metrics on port (\d+)", line)
            if found:
                self.job_port = int(found[1])
                return
        self.fail("the coordinator ended")

    def get_job(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.job_port}{path}", timeout=10 * harness.PATIENCE) as answer:
            return answer.read().decode()

    def test_promtool_finds_nothing_wrong_in_what_is_shipped(self):
        for arguments in (["check", "config", "prometheus.yml"], ["check", "rules", "penstock.rules.yml"],
                          ["test", "rules", "penstock.rules.test.yml"]):
            result = promtool(*arguments, cwd=os.path.join(DEPLOY, "prometheus"))
            self.assertEqual(result.returncode, 0, f"{arguments}\n{result.stdout}\n{result.stderr}")
        with open(RULES) as file:
            alerts = re.findall(r"- alert: (\w+)", file.read())
        with open(os.path.join(DEPLOY, "prometheus", "penstock.rules.test.yml")) as file:
            tested = set(re.findall(r"alertname: (\w+)", file.read()))
        self.assertEqual(set(alerts), tested)
        with open(os.path.join(harness.SOURCE, "docs", "metrics.md")) as file:
            self.assertEqual(set(re.findall(r"`(Penstock\w+)`", file.read())), tested)

    def test_scrapes_are_clean_documented_and_few(self):
        self.begin_job()
        harness.wait_until(lambda: "penstock_job_loss " in self.get_job("/metrics"), 60, "a step")
        self.assertEqual(self.get_job("/livez"), "ok\n")
        texts = [daemon.get("/metrics") for daemon in self.two] + [self.get_job("/metrics")]
        for text in texts:
            result = promtool("check", "metrics", input=text)
            self.assertEqual((result.returncode, result.stdout + result.stderr), (0, ""))
            series = [line for line in text.splitlines() if not line.startswith(("#", "penstock_job_step_seconds_"))]
            self.assertLessEqual(len(series), MOST_SERIES)
            self.assertNotIn("alexnet-", text)  # the job's name
        whole = set().union(*map(families, texts))
        rows = documented()
        self.assertEqual(whole - set(rows), set(), "docs/metrics.md does not name them")
        here = {name for name, when in rows.items() if when in ("always", "with a stage", "after a step")}
        self.assertEqual(here - whole, set(), "docs/metrics.md says that they are here")
        steps = re.search(r"^penstock_job_steps_total (\d+)", texts[2], re.MULTILINE)
        self.assertIn(f"penstock_job_samples_total {16 * int(steps[1])}\n", texts[2])
        self.assertIn(f"penstock_job_step_seconds_count {steps[1]}\n", texts[2])
        self.assertIn('penstock_job_state{state="running"} 1\n', texts[2])

    def test_an_address_that_cannot_be_is_refused(self):
        for command, address, code, words in (("train", "nowhere", 2, '--metrics-listen: "nowhere" is not HOST:PORT'),
                                              ("train", "192.0.2.1:0", 1, "--metrics-listen: cannot listen on 192.0.2.1:0"),
                                              ("sweep", "127.0.0.1:0", 2, "it applies only to penstock train")):
            run = self.penstock(command, "--dataset", self.dataset, *self.small[:2], "--local", 1, "--metrics-listen", address, code=code)
            self.assertIn(words, run.error)

    def test_dashboard_and_rules_name_metrics_that_exist(self):
        board = dashboard()
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        self.assertEqual(len({panel["id"] for panel in board["panels"]}), len(board["panels"]))
        for panel in panels:
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], panel["title"])
            self.assertTrue(panel["targets"], panel["title"])
        with open(RULES) as file:
            named = set(NAME.findall(file.read() + " ".join(expressions(panels))))
        self.assertEqual({family_of(name) for name in named} - set(documented()), set())

    def test_prometheus_scrapes_a_running_job(self):
        self.begin_job()
        prometheus = Prometheus(self.folder, [daemon.metrics_port for daemon in self.two], self.job_port)
        self.addCleanup(prometheus.stop)
        up = prometheus.wait_for("up == 1", 3)
        self.assertEqual(sorted(labels["job"] for labels, _ in up), ["penstock", "penstockd", "penstockd"])
        rates = prometheus.wait_for("rate(penstock_steps_total[30s]) > 0", 2)
        self.assertEqual(sorted(labels["pipeline_stage"] for labels, _ in rates), ["0", "1"])
        (_, rate), = prometheus.wait_for("rate(penstock_job_samples_total[30s]) > 0")
        self.assertLess(rate, 1e6)
        # What the daemons count is what their coordinator does, but for what went on between the scrapes.
        prometheus.wait_for("abs(sum(penstock_busy_seconds_total) / sum(penstock_job_busy_seconds_total) - 1) < 0.5")
        with open(RULES) as file:
            for record in re.findall(r"- record: (\S+)", file.read()):
                prometheus.wait_for(record)
        there = set().union(families(self.get_job("/metrics")), *(families(daemon.get("/metrics")) for daemon in self.two))
        for expression in expressions(dashboard()["panels"]):
            ready = expression.replace("$__rate_interval", "30s").replace("$instance", ".+")
            if {family_of(name) for name in NAME.findall(ready)} <= there:
                prometheus.wait_for(ready)
            else:
                prometheus.query(ready)
        self.assertEqual(prometheus.query('ALERTS{alertstate="firing"}'), [])

        lost = self.two[1]
        lost.may_end = True
        lost.kill()
        alert, = prometheus.wait_for('ALERTS{alertname="PenstockDaemonDown"}')
        self.assertEqual(alert[0]["instance"], f"127.0.0.1:{lost.metrics_port}")
        self.assertEqual(self.job.finish().code, 4)


if __name__ == "__main__":
    harness.main()
