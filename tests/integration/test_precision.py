"""What the coordinator tells stages of types, loss scales and devices, heard by stages that are written here. Needs grpcio."""

import json
import math
import unittest

import harness
import messages
from strange import StrangeDaemon

grpc, pb = messages.grpc, messages.pb

PARAMETERS = 16  # of AlexNet
CUT = ["-p", 2, "--split", 13]  # behind the convolutions
FIRST_PARAMETER = {0: 0, 13: 10}  # of the stages by their first layers


class Stages:
    """A daemon that holds any number of stages. It computes nothing: each reports the gradient norms that `norms`(stage, step)
    gives, and a step's report when it gets its scale."""

    def __init__(self, norms=None):
        self.norms = norms
        self.opens, self.scales, self.orders = {}, {}, {}

    def session(self, requests, over):
        plan = None
        for request in requests:
            kind = request.WhichOneof("body")
            if kind == "open":
                plan = request.open.plan
                self.opens[plan.pipeline_stage] = plan
                orders = self.orders.setdefault(plan.pipeline_stage, [])
                scales = self.scales.setdefault(plan.pipeline_stage, [])
                yield pb.SessionResponse(kernel_questions=pb.KernelQuestions(machine="strange"))
                yield pb.SessionResponse(opened=pb.Opened())
            elif kind == "connect":
                yield pb.SessionResponse(ready=pb.Ready())
            elif kind == "run_step":
                orders.append(request.run_step)
                if self.norms is None:
                    yield self.report(request.run_step.step)
                elif len(orders) == len(scales) + 1:
                    yield self.gradients(plan, len(scales))
            elif kind == "gradient_scale":
                scales.append(request.gradient_scale)
                yield self.report(request.gradient_scale.step)
                if len(orders) > len(scales):
                    yield self.gradients(plan, len(scales))
            elif kind == "close":
                yield pb.SessionResponse(closed=pb.Closed())
                return

    def gradients(self, plan, step):
        first = FIRST_PARAMETER[plan.first_layer]
        count = (PARAMETERS if plan.pipeline_stage + 1 == plan.pipeline_size else FIRST_PARAMETER[13]) - first
        squares = [0.0] * (count - 1) + [self.norms(plan.pipeline_stage, step)]
        return pb.SessionResponse(gradient_norms=pb.GradientNorms(step=step, first_parameter=first, squares=squares))

    @staticmethod
    def report(step):
        return pb.SessionResponse(step_report=pb.StepReport(step=step, loss=2.0, step_ns=1000))


@unittest.skipUnless(grpc, "needs grpcio")
class Precision(harness.TestCase):
    def serve(self, stages, describe=None):
        daemon = StrangeDaemon(session=stages.session, describe=describe)
        self.addCleanup(daemon.stop)
        return daemon

    def config(self, **keys):
        path = self.path("ds_config.json")
        with open(path, "w") as file:
            json.dump(keys, file)
        return path

    def test_types_checkpoints_and_devices_are_in_the_plan(self):
        first, second = Stages(), Stages()
        hostfile = self.slots((self.serve(first), 2), (self.serve(second), 1))
        path = self.path("plan.json")
        self.train("-H", hostfile, "-p", 3, "--steps", 2, "--precision", "bf16", "--communication-data-type", "fp32",
                   "--activation-checkpoint-interval", 3, "--json", path)
        self.assertEqual([first.opens[0].device_index, first.opens[1].device_index, second.opens[2].device_index], [0, 1, 0])
        for plan in (first.opens[0], first.opens[1], second.opens[2]):
            self.assertEqual(plan.compute_type, pb.DATA_TYPE_BFLOAT16)
            self.assertEqual(plan.boundary_type, pb.DATA_TYPE_FLOAT32)
            self.assertEqual(plan.checkpoint_interval, 3)
            self.assertFalse(plan.allow_tf32 or plan.loss_scaling)
        lines = harness.read_json_lines(path)
        self.assertEqual(lines[0]["compute_type"], "bfloat16")
        self.assertEqual(lines[0]["boundary_type"], "float32")
        self.assertEqual(lines[0]["activation_checkpoint_interval"], 3)
        self.assertEqual([stage["device_index"] for stage in lines[0]["stages"]], [0, 1, 0])
        for line in lines:
            self.assertNotIn("loss_scale", line)

    def test_tf32_is_in_the_plan(self):
        stages = Stages()
        self.train("-H", self.slots((self.serve(stages), 1)), "--steps", 1, "--precision", "tf32")
        self.assertEqual(stages.opens[0].compute_type, pb.DATA_TYPE_FLOAT32)
        self.assertTrue(stages.opens[0].allow_tf32)

    def test_overflow_skips_the_step_and_halves_the_scale(self):
        scale_of = [65536, 65536, 65536, 32768, 32768, 32768]  # the first overflow uses up the hysteresis

        def norms(stage, step):
            if stage == 1 and step in (1, 2):
                return [math.inf, math.nan][step - 1]
            return (3.0 * scale_of[step]) ** 2 if stage == 0 else (4.0 * scale_of[step]) ** 2

        stages = Stages(norms)
        config = self.config(train_batch_size=8, train_micro_batch_size_per_gpu=4, fp16={"enabled": True}, gradient_clipping=2.0,
                             scheduler={"type": "WarmupLR", "params": {"warmup_min_lr": 0.5, "warmup_max_lr": 1.5,
                                                                       "warmup_num_steps": 10, "warmup_type": "linear"}})
        path = self.path("steps.json")
        run = self.penstock("train", "--dataset", self.dataset, "--image-size", 63, "--deepspeed-config", config, "-H",
                            self.slots((self.serve(stages), 2)), *CUT, "--steps", 6, "--json", path)
        rates = [0.5, 0.5, 0.5, 0.5, 0.6, 0.7]  # steps 1 and 2 do not count
        skipped = [False, True, True, False, False, False]
        for stage in (0, 1):
            self.assertTrue(stages.opens[stage].loss_scaling)
            self.assertEqual(stages.opens[stage].initial_loss_scale, 65536)
            scales = stages.scales[stage]
            self.assertEqual([scale.skip for scale in scales], skipped)
            self.assertEqual([scale.next_loss_scale for scale in scales], scale_of[1:] + [32768])
            for step, scale in enumerate(scales):
                self.assertEqual(scale.step, step)
                self.assertAlmostEqual(scale.learning_rate, rates[step], places=6)
                if not scale.skip:  # of a norm of 5, to 2
                    self.assertAlmostEqual(scale.scale * scale_of[step], 2 / (5 + 1e-6), places=6)
        lines = harness.read_json_lines(path)
        steps = [line for line in lines if line["type"] == "step"]
        self.assertEqual([step["skipped"] for step in steps], skipped)
        self.assertEqual([step["loss_scale"] for step in steps], scale_of)
        self.assertEqual([step["gradient_norm"] for step in steps], [5.0, None, None, 5.0, 5.0, 5.0])
        for step, rate in zip(steps, rates):
            self.assertAlmostEqual(step["learning_rate"], rate)
        self.assertEqual((lines[-1]["loss_scale"], lines[-1]["skipped_steps"]), (32768, 2))
        self.assertIn("skipped: overflow at loss scale 65536, next 32768", run.error)
        self.assertIn("2 steps skipped: a gradient overflowed; the loss scale is now 32768", run.out)

    def test_static_scale_stays(self):
        stages = Stages(lambda stage, step: math.inf if step == 1 else 4.0)
        config = self.config(train_batch_size=8, fp16={"enabled": True, "loss_scale": 128}, gradient_clipping=0)
        run = self.penstock("train", "--dataset", self.dataset, "--image-size", 63, "--deepspeed-config", config, "-H",
                            self.slots((self.serve(stages), 1)), "--steps", 3)
        self.assertEqual(stages.opens[0].initial_loss_scale, 128)
        self.assertEqual([scale.next_loss_scale for scale in stages.scales[0]], [128] * 3)
        self.assertEqual([scale.skip for scale in stages.scales[0]], [False, True, False])
        self.assertEqual([scale.scale for scale in stages.scales[0] if not scale.skip], [1 / 128] * 2)
        self.assertRegex(run.error, "step 1 was skipped: .* 128, cannot fall")

    def test_endless_overflow_ends_the_job_with_advice(self):
        for fp16, words in (({"loss_scale": 128}, "50 steps in a row with the fixed loss scale of 128: .* smaller"),
                            ({"initial_scale_power": 2, "hysteresis": 1},
                             "50 steps in a row with the loss scale at its minimum of 1: .* lower learning rate")):
            stages = Stages(lambda stage, step: math.nan)
            config = self.config(train_batch_size=4, fp16={"enabled": True, **fp16})
            run = self.penstock("train", "--dataset", self.dataset, "--image-size", 63, "--deepspeed-config", config, "-H",
                                self.slots((self.serve(stages), 1)), "--steps", 80, code=1)
            self.assertRegex(run.error, words)
            self.assertEqual(run.error.count("cannot fall"), 1)

    def test_nodes_lists_devices_and_names_slots_without_one(self):
        devices = [pb.Device(name="cpu", threads=2, memory_limit_bytes=2**30), pb.Device(name="cuda:0", memory_limit_bytes=2**34)]
        node = pb.DescribeResponse(version="9.9.9", protocol_version=4, devices=devices, maximum_sessions=4)
        daemon = self.serve(Stages(), describe=lambda request, context: node)
        run = self.penstock("nodes", "-H", self.slots((daemon, 2)))
        self.assertRegex(run.out, rf"(?m)^{daemon.address} +0 +cpu +2 +0 B +1.0 GiB$")
        self.assertRegex(run.out, rf"(?m)^{daemon.address} +1 +cuda:0 +- +0 B +16.0 GiB$")
        run = self.penstock("nodes", "-H", self.slots((daemon, 3)), code=2)
        self.assertRegex(run.error, f"{daemon.address}: has 2 devices, the hostfile has slots=3: .* slots=2")
        self.assertEqual(len(run.out.splitlines()), 6)

    def test_more_stages_than_slots_are_refused_with_both_numbers(self):
        daemon = self.serve(Stages())
        run = self.train("-H", self.slots((daemon, 2)), "-p", 3, code=2)
        self.assertRegex(run.error, "pipeline size 3: .* has only 2 slots")


if __name__ == "__main__":
    harness.main()
