"""What `penstock nodes` says of daemons, to people and to programs."""

import json
import os
import signal
import subprocess
import time

import harness


class Nodes(harness.TestCase):
    def rows(self, text):
        """Each table's rows, split at two blanks or more: [[[cell, ...], ...], ...]"""
        return [[[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines()] for table in text.split("\n\n")]

    def test_tables_say_what_daemons_are_and_do(self):
        daemons = self.start_daemons(2, "--memory-limit", "2GiB", "--max-sessions", "5")
        idle = self.penstock("nodes", "-H", self.hostfile(daemons)).out
        nodes, devices = self.rows(idle)
        self.assertEqual(nodes[0], ["NODE", "VERSION", "PROTOCOL", "HEALTH", "UP", "SESSIONS", "JOBS"])
        version = self.penstock("--version").out.split()[1]
        for daemon, row in zip(daemons, nodes[1:]):
            self.assertEqual([row[i] for i in (0, 1, 3, 5, 6)], [daemon.address, version, "serving", "0 of 5", "-"])
            self.assertRegex(row[4], r"^\d+ s$")
        self.assertEqual(devices[1:], [[daemon.address, "0", "cpu", "1", "0 B", "2.0 GiB"] for daemon in daemons])

        path = self.path("steps.json")
        run = self.begin_train("-H", self.hostfile(daemons), "--steps", 100000, "--json", path)
        self.wait_for_steps(path)
        nodes, devices, stages = self.rows(self.penstock("nodes", *[daemon.address for daemon in daemons]).out)
        job = f"alexnet-{run.process.pid}"
        self.assertEqual([row[5:] for row in nodes[1:]], [["1 of 5", job]] * 2)
        self.assertEqual([row[:6] for row in stages[1:]], [[daemon.address, "0", job, "alexnet", str(i), "0"] for i, daemon in enumerate(daemons)])
        run.process.kill()

    def test_every_line_of_a_table_begins_its_columns_at_the_same_place(self):
        daemons = self.start_daemons(1)
        lines = self.penstock("nodes", "-H", self.hostfile(daemons)).out.split("\n\n")[0].splitlines()
        for name, value in ("VERSION", "0."), ("HEALTH", "serving"), ("JOBS", "-"):
            self.assertEqual(lines[1][lines[0].index(name):][:len(value)], value)

    def test_more_daemons_than_the_soft_limit_has_descriptors(self):
        """Each connection needs one, and the hard limit is higher."""
        daemon = harness.Daemon(self.folder, "--insecure", host="0.0.0.0")
        self.addCleanup(daemon.stop)
        hosts = [f"127.0.1.{i}:{daemon.port}" for i in range(1, 101)]
        run = subprocess.run(["sh", "-c", 'ulimit -Sn 50 && exec "$@"', "sh", harness.PENSTOCK, "nodes", "--json", "-", *hosts],
                             capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertEqual([json.loads(line)["address"] for line in run.stdout.splitlines()], hosts)

    def test_one_that_hangs_is_said_to_be_silent(self):
        daemon = self.start_daemons(1)[0]
        os.kill(daemon.process.pid, signal.SIGSTOP)
        try:
            run = self.penstock("nodes", daemon.address, code=4)
        finally:
            os.kill(daemon.process.pid, signal.SIGCONT)
        self.assertRegex(run.error, r"cannot be reached: (no answer within 5 s|.*timed out)")

    def test_json_has_a_line_a_node(self):
        daemons = self.start_daemons(2)
        gone = daemons.pop()
        gone.stop()
        path = self.path("nodes.json")
        run = self.penstock("nodes", "-H", self.hostfile([*daemons, gone]), "--json", path, code=4)
        self.assertIn("no answer", run.out)
        here, away = harness.read_json_lines(path)
        self.assertEqual((here["type"], here["address"], here["reached"], here["health"], here["maximum_sessions"], here["running"]),
                         ("node", daemons[0].address, True, "serving", 16, []))
        self.assertEqual([(device["name"], device["threads"], device["memory_used_bytes"]) for device in here["devices"]], [("cpu", 1, 0)])
        self.assertEqual((away["address"], away["reached"]), (gone.address, False))
        self.assertIn("refused", away["error"])
        run = self.penstock("nodes", daemons[0].address, "--json", "-")
        self.assertEqual(json.loads(run.out)["address"], daemons[0].address)  # and nothing else

    def test_counters_of_a_stage_that_has_ended_steps(self):
        daemons = self.start_daemons(2)
        path, nodes = self.path("steps.json"), self.path("nodes.json")
        run = self.begin_train("-H", self.hostfile(daemons), "--steps", 100000, "--json", path)
        self.wait_for_steps(path, 3)
        self.penstock("nodes", "-H", self.hostfile(daemons), "--json", nodes)
        first, second = [node["running"][0]["counters"] for node in harness.read_json_lines(nodes)]
        with open(path) as file:
            tensor_bytes = json.loads(file.readline())["stages"][0]["output_bytes"]
        for counters in first, second:
            self.assertGreaterEqual(counters["steps"], 2)
            self.assertEqual(counters["samples"], 16 * counters["steps"])
            self.assertGreater(min(counters["forward_seconds"], counters["backward_seconds"], counters["optimizer_seconds"]), 0)
        # Four micro-batches of a step cross the boundary each way, and those of the step that runs have begun to.
        self.assertGreaterEqual(first["next"]["sent_bytes"], 4 * first["steps"] * tensor_bytes)
        self.assertGreaterEqual(second["previous"]["sent_bytes"], 4 * second["steps"] * tensor_bytes)
        self.assertEqual((first["previous"], second["next"], first["next_replica"]), (None, None, None))
        run.process.kill()

    def test_nodes_that_do_not_answer_cost_one_time_limit(self):
        daemons = self.start_daemons(7)
        for daemon in daemons[1:]:
            daemon.process.send_signal(harness.signal.SIGSTOP)  # its port still takes connections, and nobody answers
        begin = time.monotonic()
        run = self.penstock("nodes", "-H", self.hostfile(daemons), code=4)
        self.assertLess(time.monotonic() - begin, 12 * harness.PATIENCE)  # of 5 seconds; one after another it would be 30
        self.assertEqual(run.error.count("cannot be reached"), 6)
        self.assertEqual(run.out.count("no answer"), 6)
        self.assertRegex(run.out, rf"(?m)^{daemons[0].address} .* serving ")

    def test_hosts_that_are_none_are_refused(self):
        for words, arguments in [(r"no daemons are given: write -H HOSTFILE", []), (r"exclude each other", ["-H", "file", "a"]),
                                 (r"HOST:1: \"a:0\" is not HOST.*the port is not a whole number", ["a:0"]), (r"HOST:2: a:7070 appears twice", ["a", "a"]),
                                 (r"option --job", ["a", "--job", "x"]), (r"--json /no/such/file: No such file", ["127.0.0.1:1", "--json", "/no/such/file"])]:
            run = self.penstock("nodes", *arguments, code=2, seconds=30)
            self.assertRegex(run.error, words)


if __name__ == "__main__":
    harness.main()
