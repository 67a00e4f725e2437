"""Replicas that sum their gradients by NCCL, on the stand-ins for CUDA and NCCL (tests/cuda_stand_in): what they learn, which way is
taken when, and that a replica that is gone leaves nobody waiting. The stand-in's members are in one process, so all are slots of one
daemon."""

import json
import os
import signal
import time
import unittest

import harness
import messages
import streams
import tiny

grpc, pb = messages.grpc, messages.pb
CPU_DAEMON = os.environ["PENSTOCKD_CPU"]


class Nccl(harness.TestCase):
    small = ["--image-size", 63, "--micro-batch-size", 1, "--train-batch-size", 4, "--lr", 0.01, "--steps", 3]

    def start(self, *devices, **environment):
        """A daemon with those devices of three."""
        os.environ.update(PENSTOCK_STAND_IN_DEVICES="3", **environment)
        try:
            [daemon] = self.start_daemons(1, "--tuning-file", "/dev/null/none", "--log-level", "debug",
                                          *[word for device in devices for word in ("--device", f"cuda:{device}")])
        finally:
            for name in "PENSTOCK_STAND_IN_DEVICES", *environment:
                del os.environ[name]
        return daemon

    def steps(self, *arguments):
        path = self.path("steps.json")
        run = self.train("--json", path, *arguments)
        return [line for line in harness.read_json_lines(path) if line["type"] == "step"], run

    def test_losses_and_norms_are_the_rings(self):
        config = self.path("config.json")
        with open(config, "w") as file:
            json.dump({"gradient_clipping": 0.05, "optimizer": {"type": "SGD", "params": {"momentum": 0.9}}}, file)
        daemon = self.start(0, 1)
        options = ["-H", self.hostfile([daemon], slots=2), "-p", 0, "--deepspeed-config", config]
        ring, run = self.steps(*options, "--reduce", "ring")
        self.assertNotIn("NCCL", run.error)
        self.assertGreater(sum(stage["sent_bytes"] for stage in ring[-1]["stages"]), 0)
        for way in [], ["--reduce", "nccl"]:
            ours, run = self.steps(*options, *way)
            self.assertIn("replicas sum their gradients with NCCL", run.error)
            self.assertEqual(len(ours), 3)
            for step, theirs in zip(ours, ring, strict=True):
                self.assertAlmostEqual(step["loss"], theirs["loss"], delta=1e-6 * theirs["loss"])
                self.assertAlmostEqual(step["gradient_norm"], theirs["gradient_norm"], delta=1e-6 * theirs["gradient_norm"])
                self.assertEqual(sum(stage["sent_bytes"] for stage in step["stages"]), 0)
        daemon.wait_until_free(5)

    def test_two_stages_have_a_group_each(self):
        daemon = self.start(0, 1, 0, 1)
        options = ["-H", self.hostfile([daemon], slots=4), "-p", 2, "--train-batch-size", 2, "--steps", 2]
        ring, _ = self.steps(*options, "--reduce", "ring")
        ours, _ = self.steps(*options, "--reduce", "nccl")
        for step, theirs in zip(ours, ring, strict=True):
            self.assertAlmostEqual(step["loss"], theirs["loss"], delta=1e-6 * theirs["loss"])
        daemon.wait_until_free(5)

    def test_auto_takes_the_ring_where_nccl_cannot_be(self):
        twice, without = self.start(0, 0), self.start(0, 1, PENSTOCK_STAND_IN_NCCL="0")
        [cpu] = self.start_daemons(1, "--device", "cpu", "--device", "cpu", program=CPU_DAEMON)
        for daemon, words in ((twice, "cuda:0 already has replica 0 of the stage"), (without, "cuda:0 has no NCCL"),
                              (cpu, "cpu has no NCCL")):
            with self.subTest(words=words):
                options = ["-H", self.hostfile([daemon], slots=2), "-p", 0, "--steps", 1]
                _, run = self.steps(*options)
                self.assertNotIn("by NCCL", run.error)
                run = self.train(*options, "--reduce", "nccl", code=2)
                self.assertRegex(run.error, rf"--reduce nccl \(--reduce ring does not use NCCL\): .*stage 0 of replica [01] on .*{words}")
        self.assertIn('--reduce: "mpi" is not auto, ring or nccl', self.train("--reduce", "mpi", code=2).error)

    def test_coordinator_killed_in_training_leaves_all_free(self):
        daemon = self.start(0, 1)
        path = self.path("long.json")
        run = self.begin_train("-H", self.hostfile([daemon], slots=2), "-p", 0, "--steps", 100000, "--json", path)
        self.wait_for_steps(path)
        run.process.send_signal(signal.SIGKILL)
        daemon.wait_until_free(15)

    # ---- Sessions that we drive ourselves

    def open_replicas(self, daemon):
        sessions = []
        for replica in range(2):
            plan = tiny.plan(0, 1)
            plan.data_parallel_size, plan.replica, plan.device_index, plan.reduce_in_group = 2, replica, replica, True
            channel = grpc.insecure_channel(daemon.address, [("grpc.use_local_subchannel_pool", 1)])
            self.addCleanup(channel.close)
            session = streams.Stream(channel, "Session", response=pb.SessionResponse.FromString)
            self.addCleanup(session.close)
            session.send(pb.SessionRequest(open=pb.Open(protocol_version=4, job="group", plan=plan, connections=1, chunk_bytes=4096,
                                                        replica_token=16 * b"r")))
            sessions.append(session)
        ids = [session.answers("opened").group_id for session in sessions]
        self.assertEqual([len(id_) for id_ in ids], [128, 0])
        return sessions, ids[0]

    @unittest.skipUnless(grpc, "needs grpcio")
    def test_replica_gone_in_a_reduction_leaves_the_other_free(self):
        daemon = self.start(0, 1)
        (first, second), group_id = self.open_replicas(daemon)
        for session in first, second:
            session.send(pb.SessionRequest(connect=pb.Connect(group_id=group_id)))
        for session in first, second:
            session.answers("ready")
        first.send(pb.SessionRequest(run_step=pb.RunStep(learning_rate=0.1)))
        for b in range(2):
            for kind, size in (1, 2 * 3 * 8 * 8), (2, 2):
                first.send(pb.SessionRequest(batch=pb.Batch(kind=kind, micro_batch=b), payload=bytes(size)))
        time.sleep(0.5)  # it computes, and waits for the sums
        second.close()
        begin = time.monotonic()
        first.close()
        daemon.wait_until_free(5)
        self.assertLess(time.monotonic() - begin, 5 * harness.PATIENCE)

    @unittest.skipUnless(grpc, "needs grpcio")
    def test_replica_gone_before_it_joins_leaves_the_other_free(self):
        daemon = self.start(0, 1)
        (first, second), group_id = self.open_replicas(daemon)
        first.send(pb.SessionRequest(connect=pb.Connect(group_id=group_id)))
        time.sleep(0.3)
        second.close()
        first.close()
        daemon.wait_until_free(5)
        (first, _), group_id = self.open_replicas(daemon)
        first.send(pb.SessionRequest(connect=pb.Connect(group_id=group_id[:127])))
        with self.assertRaisesRegex(streams.Refused, "group_id has 127 bytes, expected 128"):
            first.answers("ready")

    @unittest.skipUnless(grpc, "needs grpcio")
    def test_group_on_a_device_that_has_none_is_refused(self):
        [daemon] = self.start_daemons(1, "--device", "cpu", "--device", "cpu", program=CPU_DAEMON)
        with self.assertRaisesRegex(streams.Refused, "reduce_in_group: device cpu of this daemon cannot sum gradients"):
            self.open_replicas(daemon)


if __name__ == "__main__":
    harness.main()
