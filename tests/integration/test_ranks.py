"""What the coordinator asks of each rank of a job with data-parallel replicas, and makes of the answers, with daemons in Python. Needs
grpcio."""

import json
import math
import os
import unittest

import harness
import messages
from strange import StrangeDaemon

grpc, pb = messages.grpc, messages.pb

RECORD = 3073  # a label and an image


class Rank:
    """What one rank was asked."""

    def __init__(self):
        self.open = self.connect = None
        self.orders, self.scales, self.saves = [], [], 0
        self.data = {}  # (kind, step, micro-batch): payload


class Ranks:
    """Sessions of any number of ranks, on any number of daemons, by (stage, replica). Each step is reported with the loss of its
    (stage, replica), or, where there are norms, once its scale is there."""

    def __init__(self, loss=lambda stage, replica: 2.0, norm=None, who_tells=lambda stage, replica: replica == 0):
        self.loss, self.norm, self.who_tells = loss, norm, who_tells
        self.asked = {}

    def session(self, requests, over):
        rank = plan = None
        for request in requests:
            kind = request.WhichOneof("body")
            if kind == "open":
                rank, plan = Rank(), request.open.plan
                rank.open = request.open
                self.asked[plan.pipeline_stage, plan.replica] = rank
                yield pb.SessionResponse(kernel_questions=pb.KernelQuestions(machine="strange"))
                yield pb.SessionResponse(opened=pb.Opened(memory=pb.MemoryUse(parameter_bytes=1000 + plan.replica)))
            elif kind == "connect":
                rank.connect = request.connect
                yield pb.SessionResponse(ready=pb.Ready())
            elif kind == "batch":
                key = request.batch.kind, request.batch.step, request.batch.micro_batch
                assert key not in rank.data, key
                rank.data[key] = request.payload
            elif kind == "run_step":
                rank.orders.append(request.run_step)
                if self.norm is None:
                    yield self.report(plan, request.run_step.step)
                elif len(rank.orders) == len(rank.scales) + 1:
                    yield from self.gradients(plan, len(rank.scales))
            elif kind == "gradient_scale":
                rank.scales.append(request.gradient_scale)
                yield self.report(plan, request.gradient_scale.step)
                if len(rank.orders) > len(rank.scales):
                    yield from self.gradients(plan, len(rank.scales))
            elif kind == "save":
                rank.saves += 1
                yield pb.SessionResponse(saved=pb.Saved())
            elif kind == "close":
                yield pb.SessionResponse(closed=pb.Closed())
                return

    def report(self, plan, step):
        stage, replica = plan.pipeline_stage, plan.replica
        return pb.SessionResponse(step_report=pb.StepReport(
            step=step, loss=self.loss(stage, replica), correct=replica + 1, forward_ns=1000 * (stage + 1),
            step_ns=9000000, wait_replicas_ns=1000000 * (replica + 1)))

    def gradients(self, plan, step):
        if self.who_tells(plan.pipeline_stage, plan.replica):
            squares = [self.norm(plan.pipeline_stage, plan.replica) ** 2]
            yield pb.SessionResponse(gradient_norms=pb.GradientNorms(step=step, first_parameter=plan.pipeline_stage, squares=squares))

    def of_stage(self, stage):
        return [self.asked[key] for key in sorted(self.asked) if key[0] == stage]


@unittest.skipUnless(grpc, "needs grpcio")
class RanksAsked(harness.TestCase):
    def serve(self, ranks):
        daemon = StrangeDaemon(session=ranks.session, threads=16)
        self.addCleanup(daemon.stop)
        return daemon

    def run_on(self, ranks, devices, *arguments, **how):
        """Gives the lines of JSON."""
        path = self.path("steps.json")
        self.result = self.train("-H", self.slots((self.serve(ranks), devices)), "--json", path, *arguments, **how)
        return harness.read_json_lines(path)

    def test_places_and_tokens_join_stages_into_lines_and_replicas_into_rings(self):
        ranks = Ranks()
        a, b, c = self.serve(ranks), self.serve(ranks), self.serve(ranks)
        path = self.path("plan.json")
        self.train("-H", self.slots((a, 2), (b, 1), (c, 3)), "-p", 2, "--steps", 1, "--reduce-bucket-size", "1MiB", "--json", path)
        self.assertEqual(sorted(ranks.asked), [(s, r) for s in range(2) for r in range(3)])
        # Rank 3 s + r has the slot of that number: stage 0 is on a, a and b, stage 1 on c.
        where = {(0, 0): (a, 0), (0, 1): (a, 1), (0, 2): (b, 0), (1, 0): (c, 0), (1, 1): (c, 1), (1, 2): (c, 2)}
        tokens = set()
        for (stage, replica), rank in ranks.asked.items():
            with self.subTest(stage=stage, replica=replica):
                plan, ring = rank.open.plan, [(stage, (replica + by) % 3) for by in (0, 1, 2)]
                self.assertEqual((plan.pipeline_size, plan.data_parallel_size, plan.reduce_bucket_bytes), (2, 3, 1 << 20))
                self.assertEqual(plan.device_index, where[stage, replica][1])
                self.assertEqual(plan.next_replica_is_local, where[ring[1]][0] is where[ring[0]][0])
                self.assertEqual(plan.previous_replica_is_local, where[ring[2]][0] is where[ring[0]][0])
                self.assertFalse(plan.previous_is_local or plan.next_is_local)
                self.assertEqual(rank.connect.next_replica_address, where[ring[1]][0].address)
                self.assertEqual(rank.connect.next_replica_token, ranks.asked[ring[1]].open.replica_token)
                if stage == 0:
                    self.assertEqual(rank.connect.next_address, c.address)
                    self.assertEqual(rank.connect.next_link_token, ranks.asked[1, replica].open.link_token)
                    self.assertEqual(rank.open.link_token, b"")
                else:
                    self.assertEqual((rank.connect.next_address, rank.connect.next_link_token), ("", b""))
                    tokens.add(rank.open.link_token)
                tokens.add(rank.open.replica_token)
        self.assertEqual({len(token) for token in tokens}, {16})
        self.assertEqual(len(tokens), 9)
        plan = harness.read_json_lines(path)[0]
        self.assertEqual((plan["pipeline_size"], plan["data_parallel_size"], plan["train_batch_size"]), (2, 3, 48))
        self.assertEqual([(s["pipeline_stage"], s["replica"], s["address"], s["device_index"]) for s in plan["stages"]],
                         [(*key, where[key][0].address, where[key][1]) for key in sorted(where)])

    def test_neighbouring_stages_of_one_daemon_are_local_within_their_replica(self):
        ranks = Ranks()
        a, b = self.serve(ranks), self.serve(ranks)
        # Ranks 0 to 2 and 3: of stage 0 both replicas are on a; of stage 1 the first is on a, the second on b.
        self.train("-H", self.slots((a, 3), (b, 1)), "-p", 2, "--steps", 1)
        local = {key: (rank.open.plan.previous_is_local, rank.open.plan.next_is_local, rank.open.plan.previous_replica_is_local,
                       rank.open.plan.next_replica_is_local) for key, rank in ranks.asked.items()}
        self.assertEqual(local, {(0, 0): (False, True, True, True), (0, 1): (False, False, True, True),
                                 (1, 0): (True, False, False, False), (1, 1): (False, False, False, False)})

    def test_without_replicas_there_is_no_word_of_them(self):
        ranks = Ranks()
        lines = self.run_on(ranks, 2, "--steps", 1)
        for rank in ranks.asked.values():
            self.assertEqual((rank.open.plan.data_parallel_size, rank.open.plan.replica, rank.open.replica_token), (1, 0, b""))
            self.assertEqual((rank.connect.next_replica_address, rank.connect.next_replica_token), ("", b""))
            self.assertFalse(rank.open.plan.previous_replica_is_local or rank.open.plan.next_replica_is_local)
        self.assertEqual(lines[0]["data_parallel_size"], 1)
        self.assertNotIn("repl", self.result.out)

    def samples(self, rank, last, step):
        """A step's (image, label) of one replica, in order."""
        count = rank.open.plan.micro_batches
        images = b"".join(rank.data[pb.Batch.KIND_IMAGES, step, b] for b in range(count))
        labels = b"".join(last.data[pb.Batch.KIND_LABELS, step, b] for b in range(count))
        return [(images[i * (RECORD - 1):(i + 1) * (RECORD - 1)], label) for i, label in enumerate(labels)]

    def test_every_sample_goes_to_one_replica_and_all_of_them_do_not_depend_on_the_number(self):
        steps, batch = 5, 60  # an epoch of the 300 images
        seen = {}
        for stages, replicas in (1, 1), (1, 2), (2, 3), (1, 5):
            ranks = Ranks()
            size = batch // replicas // 2  # of two micro-batches
            self.run_on(ranks, stages * replicas, "-p", stages, "--steps", steps, "--train-batch-size", batch, "--micro-batch-size", size,
                        "--gradient-accumulation-steps", 2)
            seen[replicas] = [sample for step in range(steps) for first, last in zip(ranks.of_stage(0), ranks.of_stage(stages - 1))
                              for sample in self.samples(first, last, step)]
            for (stage, replica), rank in ranks.asked.items():
                self.assertEqual([(order.step, order.first_sample) for order in rank.orders],
                                 [(step, step * batch + replica * batch // replicas) for step in range(steps)])
                kinds = {kind for kind, _, _ in rank.data}
                self.assertEqual(kinds, {1, 2} if stages == 1 else {1 + stage})
        for replicas in 2, 3, 5:
            self.assertTrue(seen[replicas] == seen[1], f"{replicas} replicas see other samples, or in another order")
        files = b""
        for number in range(1, 6):
            with open(os.path.join(self.dataset, f"data_batch_{number}.bin"), "rb") as file:
                files += file.read()
        records = [files[at:at + RECORD] for at in range(0, len(files), RECORD)]
        self.assertTrue(sorted((record[1:], record[0]) for record in records) == sorted(seen[1]))

    def test_loss_is_the_mean_and_hits_the_sum_of_the_replicas_last_stages(self):
        losses = [1.0, 2.25, 4.5]
        ranks = Ranks(loss=lambda stage, replica: losses[replica] if stage == 1 else 99.0)
        lines = self.run_on(ranks, 6, "-p", 2, "--steps", 4, "--train-batch-size", 48, "--gradient-accumulation-steps", 4)
        for line in lines[2:-1]:
            self.assertEqual(line["loss"], (1.0 + 2.25 + 4.5) / 3)
            self.assertAlmostEqual(line["accuracy"], (1 + 2 + 3) / 48, delta=1e-12)
            self.assertEqual([stage["wait_replicas_seconds"] for stage in line["stages"]], [0.001, 0.002, 0.003] * 2)
        stages = lines[-1]["stages"]
        self.assertEqual([(stage["pipeline_stage"], stage["replica"]) for stage in stages], [(s, r) for s in range(2) for r in range(3)])
        self.assertEqual([stage["memory_bytes"] for stage in stages], [1000, 1001, 1002] * 2)
        for stage in stages:
            self.assertAlmostEqual(stage["wait_replicas_seconds"], 2 * 0.001 * (stage["replica"] + 1), delta=1e-9)
            self.assertGreater(stage["bubble"], 0.5)  # waiting for replicas is waiting
        self.assertRegex(self.result.out, r"stage replica  layers  parameters .*\n(?s:.*)\nstage replica  previous      next  replicas coordinator ")
        self.assertRegex(self.result.out, r"\n    1       2 +\d+-21 ")
        self.assertRegex(self.result.out, r"busiest \(<\): stage 1 of replica 0 on \S+\n")

    def test_wall_clock_breakdown_has_a_line_for_each_rank(self):
        config = self.path("config.json")
        with open(config, "w") as file:
            json.dump({"train_micro_batch_size_per_gpu": 4, "wall_clock_breakdown": True, "steps_per_print": 1, "gradient_clipping": 0}, file)
        self.run_on(Ranks(), 2, "-p", 0, "--steps", 1, "--deepspeed-config", config)
        for replica in 0, 1:
            self.assertRegex(self.result.out, rf"stage: 0 \| replica: {replica} \| forward: .* \| wait replicas: {replica + 1}\.00 \| wait coord")

    def clip(self):
        path = self.path("clip.json")
        with open(path, "w") as file:
            json.dump({"gradient_clipping": 1.0, "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 2}, file)
        return ["--deepspeed-config", path, "--steps", 4]

    def test_norms_come_from_replica_0_and_the_scale_goes_to_all(self):
        ranks = Ranks(norm=lambda stage, replica: 3.0 + stage)
        lines = self.run_on(ranks, 6, "-p", 2, *self.clip())
        for rank in ranks.asked.values():
            self.assertEqual([scale.step for scale in rank.scales], [0, 1, 2, 3])
            for scale in rank.scales:
                self.assertAlmostEqual(scale.scale, 1 / 5, delta=1e-6)
        for line in lines[2:-1]:
            self.assertAlmostEqual(line["gradient_norm"], math.hypot(3, 4), delta=1e-12)

    def test_norms_of_another_replica_are_refused(self):
        ranks = Ranks(norm=lambda stage, replica: 1.0, who_tells=lambda stage, replica: (stage, replica) == (0, 1))
        self.run_on(ranks, 4, "-p", 2, *self.clip(), code=1)
        self.assertRegex(self.result.error, r"stage 0 of replica 1 on \S+: gradient norms from a replica other than 0")

    def test_replica_0_alone_is_asked_for_its_parameters(self):
        ranks = Ranks()
        self.run_on(ranks, 6, "-p", 2, "--steps", 2, "--save", self.path("saved.safetensors"), code=1)
        self.assertRegex(self.result.error, r"stage [01] of replica 0 on \S+: Saved came before all parameters: \S+ has 0 of \d+ bytes")  # these daemons have none
        self.assertEqual({key: rank.saves for key, rank in ranks.asked.items()}, {(s, r): int(r == 0) for s in range(2) for r in range(3)})

    def test_what_a_replica_refuses_is_said_with_its_name(self):
        def session(requests, over):
            plan = next(requests).open.plan
            if plan.replica == 1:
                yield pb.SessionResponse(failed=pb.Failed(code=3, message="no room"))
            yield pb.SessionResponse(kernel_questions=pb.KernelQuestions(machine="strange"))
            yield pb.SessionResponse(opened=pb.Opened())
            over.wait(5)

        daemon = StrangeDaemon(session=session)
        self.addCleanup(daemon.stop)
        run = self.train("-H", self.slots((daemon, 2)), "-p", 0, code=3)
        self.assertRegex(run.error, f"penstock: stage 0 of replica 1 on {daemon.address}: no room\n")


if __name__ == "__main__":
    harness.main()
