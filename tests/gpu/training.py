"""Training on the GPU: loss curves and parameters beside the CPU device's and PyTorch's, the same bits however the model is cut, and
16-bit runs that learn."""

import array
import json
import math
import os
import struct
import subprocess

import checks

GPU, REHEARSAL = (5, 4, 4), (2, 1, 2)  # steps, micro-batch, micro-batches
# As in tests/integration/test_pytorch.py.
SETTINGS = {"alexnet": (64, {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}),
            "vgg16": (32, {"lr": 0.001, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4})}
SAMPLES = 20000  # elements of a parameter that are compared


def parameters(path):
    """{name: float32 elements, at most SAMPLES spread over the tensor} of a safetensors file."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header, found = json.loads(file.read(size)), {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            assert entry["dtype"] == "F32", f"{name} is {entry['dtype']}"
            begin, end = entry["data_offsets"]
            file.seek(8 + size + begin)
            values = array.array("f", file.read(end - begin))
            found[name] = values[::max(1, len(values) // SAMPLES)]
    return found


def distance(ours, theirs, initial):
    """The largest over all parameters: |ours - theirs| by |theirs|, and by how far theirs moved from `initial`."""
    def norm(values):
        return math.sqrt(math.fsum(value * value for value in values))

    of_value, of_change = (0.0, ""), (0.0, "")
    assert ours.keys() == theirs.keys() == initial.keys(), "they have other parameters"
    for name, expected in theirs.items():
        assert ours[name] != initial[name], f"{name} did not move"
        error = norm(a - b for a, b in zip(ours[name], expected))
        change = norm(a - b for a, b in zip(expected, initial[name]))
        of_value = max(of_value, (error / norm(expected), name))
        of_change = max(of_change, (error / change if change else math.inf, name))
    return of_value, of_change


def not_rehearsed(context, what):
    if not context.on_gpu:
        raise checks.Skip(f"{what} is left out of a rehearsal")


def needs_type(context, precision):
    if precision != "fp32" and context.kind == "cpu":
        raise checks.Skip("the CPU device computes in float32")


def torch_train(context, model, seed, files):
    if not context.machine["torch"]:
        return None
    size, settings = SETTINGS[model]
    steps, micro_batch, micro_batches = GPU if context.on_gpu else REHEARSAL
    job = dict(model=model, image_size=size, seed=seed, dataset=context.dataset(), steps=steps, micro_batch=micro_batch,
               micro_batches=micro_batches, sgd=settings, gpu=context.machine["torch_sees_gpu"] and context.on_gpu, **files)
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pytorch_train.py")
    done = subprocess.run([context.machine["python"], script, json.dumps(job)], stdout=subprocess.PIPE, text=True,
                          timeout=max(5, context.seconds_left()))
    assert done.returncode == 0, f"PyTorch's side ended with {done.returncode}"
    return json.loads(done.stdout.splitlines()[-1])["losses"]


def same_curve(ours, theirs, tolerance):
    return max(abs(a - b) / abs(b) for a, b in zip(ours, theirs)) <= tolerance and len(ours) == len(theirs)


# One unit whose input is zero but for rounding may pass its gradient on here and not there, which moves all that is below it: rare, and not
# the same for another draw of the weights. An error would be there for each. So one draw of three must agree closely, and every draw by
# the change that the steps made, which is what sees an optimizer that is wrong.
def curve(model):
    size, settings = SETTINGS[model]

    def check(context):
        if model != "alexnet":
            not_rehearsed(context, model)
        count, micro_batch, micro_batches = GPU if context.on_gpu else REHEARSAL
        config = context.write_json("config.json", {
            "train_micro_batch_size_per_gpu": micro_batch, "gradient_accumulation_steps": micro_batches, "gradient_clipping": 0,
            "optimizer": {"type": "SGD", "params": settings}})
        hostfile = context.hostfile(context.daemon())
        said = []
        for seed in 1, 2, 3:
            files = {name: context.path(f"{name}.safetensors") for name in ("initial", "torch", "cpu", "device")}
            common = ["--model", model, "--dataset", context.dataset(), "--image-size", size, "--deepspeed-config", config,
                      "--no-shuffle", "--dropout", 0, "--precision", "fp32"]
            expected = {"PyTorch": torch_train(context, model, seed, {k: files[k] for k in ("initial", "torch")})}
            if expected["PyTorch"] is None:
                del expected["PyTorch"]
                context.penstock("train", *common, "--seed", seed, "--local", 1, "--steps", 1, "--lr", 0,
                                 "--save", files["initial"])
            losses = {}
            for name, where in (("cpu", ["--local", 1]), ("device", ["-H", hostfile])):
                steps = context.train(*common, *where, "--steps", count, "--load", files["initial"], "--save", files[name])
                losses[name] = [step["loss"] for step in steps]
            expected["the CPU device"] = losses["cpu"]
            context.write(figure="loss curve", model=model, seed=seed, ours=losses["device"], cpu=losses["cpu"], pytorch=expected.get("PyTorch"))
            ours, initial = parameters(files["device"]), parameters(files["initial"])
            close = True
            for name, theirs in expected.items():
                file = files["torch" if name == "PyTorch" else "cpu"]
                of_value, of_change = distance(ours, parameters(file), initial)
                said.append(f"{name}, seed {seed}: parameters {of_value[0]:.1e}, their change {of_change[0]:.1e} ({of_change[1]})")
                assert of_change[0] < 0.005, said[-1]
                close = close and of_value[0] < 1e-4 and same_curve(losses["device"], theirs, 1e-4)
            for path in files.values():  # VGG-16's are 2 GiB together
                context.path(os.path.basename(path))
            if close:
                return "; ".join(said)
        raise AssertionError("not within 1e-4 for any of three draws: " + "; ".join(said))

    return check


def same_bits(model, precision, steps):
    """Pipeline sizes 1, 2 and 4 over the slots of one daemon, 2 over gRPC, and 2 where most of the forward pass is done again."""
    def check(context):
        needs_type(context, precision)
        if model != "alexnet":
            not_rehearsed(context, model)
        daemon = context.daemon(4)
        two = [context.hostfile(daemon, slots=2)]
        count, micro_batch, micro_batches = (steps, 4, 4) if context.on_gpu else REHEARSAL
        common = ["--model", model, "--dataset", context.dataset(), "--image-size", SETTINGS[model][0], "--micro-batch-size", micro_batch,
                  "--gradient-accumulation-steps", micro_batches, "--lr", 0.01, "--momentum", 0.9, "--steps", count, "--precision", precision]
        layouts = {"1": [context.hostfile(daemon, slots=1)], "2": two, "4": [context.hostfile(daemon)],
                   "2 over gRPC": [context.hostfile(context.daemon(), context.daemon())],
                   "2 with checkpoints": [*two, "--activation-checkpoint-interval", 3]}
        curves = {name: [step["loss"] for step in context.train(*common, "-H", *words)] for name, words in layouts.items()}
        reference = curves["1"]
        assert len(reference) == count and None not in reference, reference
        assert len(set(reference)) == count, f"nothing moved: {reference}"
        for name, losses in curves.items():
            assert losses == reference, f"pipeline size {name}: {losses}; 1: {reference}"

    return check


def learns(precision):
    def check(context):
        needs_type(context, precision)
        hostfile = context.hostfile(context.daemon(2))
        batch, micro_batches, count = (8, 4, 280) if context.on_gpu else (1, 2, 4)
        steps = context.train("--model", "alexnet", "--dataset", context.dataset(), "--image-size", 63, "--optimizer", "Adam",
                              "--lr", 2e-4, "--micro-batch-size", batch, "--gradient-accumulation-steps", micro_batches, "--steps", count,
                              "-H", hostfile, "-p", 2, "--precision", precision)
        losses = [step["loss"] for step in steps]
        assert len(losses) == count, f"{len(losses)} steps"
        # A step that float16's loss scaling skips still has a loss.
        assert None not in losses, f"step {losses.index(None)} has no finite loss"
        if not context.on_gpu:
            return f"{count} steps, too few to learn from"
        first, last = sum(losses[:20]) / 20, sum(losses[-20:]) / 20
        context.write(figure="learning", precision=precision, first=first, last=last)
        assert last < first / 2, f"mean loss of 20 steps: {first:.4f} at first, {last:.4f} at last"
        return f"mean loss of 20 steps: {first:.4f} at first, {last:.4f} at last"

    return check


def replicas(context, *where):
    batch, steps = (8, 3) if context.on_gpu else (1, 2)
    return ["--dataset", context.dataset(), "--image-size", 64, "--micro-batch-size", batch, "--gradient-accumulation-steps", 2,
            "--lr", 0.01, "--steps", steps, "-p", 0, "-H", *where]


def replicas_of_one_device(context):
    daemon = context.daemon(2)
    options = replicas(context, context.hostfile(daemon))
    auto, ring = ([step["loss"] for step in context.train(*options, "--reduce", way)] for way in ("auto", "ring"))
    assert auto == ring, f"{auto}, by the ring {ring}"
    said = context.penstock("train", *options, "--reduce", "nccl", code=2).error.strip().splitlines()[-1]
    assert "already has replica 0 of the stage" in said or "has no NCCL" in said, said
    return said


def replicas_by_nccl(context):
    if context.kind == "cpu":
        raise checks.Skip("NCCL is for GPUs")
    if context.machine["count"] < 2:
        raise checks.Skip("there is one GPU, and NCCL allows one replica per GPU")
    daemon = context.daemon(1, "--device", "cuda:1")
    options = replicas(context, context.hostfile(daemon, slots=2))
    nccl, ring = ([step["loss"] for step in context.train(*options, "--reduce", way)] for way in ("nccl", "ring"))
    assert len(nccl) == len(ring), f"{len(nccl)} and {len(ring)} steps"
    worst = max(abs(ours / theirs - 1) for ours, theirs in zip(nccl, ring))
    assert worst < 1e-5, f"losses {nccl}, by the ring {ring}"
    daemon.wait_until_free(10)
    return f"losses differ from the ring's by {worst:.1e} at most"


checks.run(
    checks.context(),
    ("AlexNet, fp32, bit for bit at pipeline sizes 1, 2, 4, over gRPC and with checkpoints", same_bits("alexnet", "fp32", 4)),
    ("AlexNet, fp32, beside the CPU device and PyTorch", curve("alexnet")),
    ("two replicas on one device sum around the ring, and NCCL is refused", replicas_of_one_device),
    ("two replicas on two GPUs sum by NCCL as the ring does", replicas_by_nccl),
    ("bf16 learns", learns("bf16")),
    ("fp16 learns", learns("fp16")),
    ("VGG-16, fp32, bit for bit at pipeline sizes 1, 2, 4, over gRPC and with checkpoints", same_bits("vgg16", "fp32", 3)),
    ("VGG-16, fp32, beside the CPU device and PyTorch", curve("vgg16")),
    ("AlexNet, bf16, bit for bit at pipeline sizes 1, 2, 4, over gRPC and with checkpoints", same_bits("alexnet", "bf16", 4)),
)
