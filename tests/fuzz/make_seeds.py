"""Writes the seeds that are binary, from which the fuzz targets begin beside tests/fuzz/corpus: make_seeds.py FOLDER makes
FOLDER/TARGET/NAME. Needs protobuf for Python, and protoc."""

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import tempfile
import zlib

SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))


def messages():
    proto = os.path.join(SOURCE, "proto")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["protoc", f"-I{proto}", f"--python_out={folder}", "penstock/v1/stage_server.proto"], check=True)
        sys.path.insert(0, folder)
        from penstock.v1 import stage_server_pb2
    return stage_server_pb2


pb = messages()


def small_png():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes(range(12)) for _ in range(4))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) +
            chunk(b"IEND", b""))


def tar(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def plan(stage, stages, **fields):
    """conv, relu, pool, dropout, flatten | linear: two micro-batches of two, one after the other or (slots 2) all forward first."""
    model = pb.Model(name="tiny", image_size=8, classes=10, layers=[
        pb.Layer(kind=1, name="features.0", in_channels=3, out_channels=4, kernel_size=3, stride=1, padding=1, initializer=1),
        pb.Layer(kind=2, name="features.1"), pb.Layer(kind=3, name="features.2", kernel_size=2, stride=2),
        pb.Layer(kind=4, name="avgpool", output_size=3), pb.Layer(kind=6, name="dropout", probability=0.5),
        pb.Layer(kind=5, name="flatten"), pb.Layer(kind=7, name="classifier.0", in_channels=36, out_channels=10, initializer=3)])
    first, last = stage == 0, stage == stages - 1
    forward = ([1] if first or last else []) + ([] if first else [7]) + [2] + ([] if last else [6])
    backward = ([] if last else [9]) + [3] + ([] if first else [8])
    slots = fields.get("slots", 1)
    kinds = [(kind, b) for b in range(2) for kind in forward + backward] if slots == 1 else \
        [(kind, b) for b in range(2) for kind in forward] + [(kind, b) for b in range(2) for kind in backward]
    cut = 3 if stages == 2 else 7
    result = pb.StagePlan(
        model=model, pipeline_stage=stage, pipeline_size=stages, data_parallel_size=1, micro_batch_size=2, micro_batches=2, slots=1,
        instructions=[pb.Instruction(kind=k, micro_batch=b) for k, b in kinds + [(10, 0), (11, 0)]],
        optimizer=pb.Optimizer(name="SGD", weight_decay=1e-4, nesterov=True), seed=1, raw_image_size=8, mean=[0.5, 0.5, 0.5],
        standard_deviation=[1, 1, 1], first_layer=0 if first else cut, end_layer=7 if last else cut)
    if not first:
        result.receive_depth_from_previous = result.send_depth_to_previous = 1
    if not last:
        result.receive_depth_from_next = result.send_depth_to_next = 1
    for name, value in fields.items():
        setattr(result, name, value)
    return result


def stage_plans():
    return {
        "alone": plan(0, 1), "first": plan(0, 2), "last": plan(1, 2), "gpipe": plan(0, 2, slots=2),
        "replicas": plan(1, 2, data_parallel_size=3, replica=1, reduce_bucket_bytes=4096),
        "group": plan(0, 1, data_parallel_size=2, reduce_in_group=True),
        "half": plan(0, 2, compute_type=4, boundary_type=3, loss_scaling=True, initial_loss_scale=65536, checkpoint_interval=2),
        "local": plan(0, 2, next_is_local=True, gradient_clipping=True),
    }


def wire_messages():
    """{name: (index of the type in message.c, message)}"""
    request, response, exchange = pb.SessionRequest, pb.SessionResponse, pb.ExchangeMessage
    chunk = pb.TensorChunk(step=3, micro_batch=1, kind=1, dtype=1, shape=[2, 4, 8, 8], offset_bytes=4096)
    return {
        "open": (0, request(open=pb.Open(protocol_version=4, job="a-1", plan=plan(0, 1), connections=2, chunk_bytes=1 << 21))),
        "load": (0, request(load_parameter=pb.LoadParameter(name="features.0.bias", shape=[4]), payload=bytes(16))),
        "batch": (0, request(batch=pb.Batch(step=7, micro_batch=1, kind=1), payload=bytes(range(200)))),
        "run": (0, request(run_step=pb.RunStep(step=1, learning_rate=0.1, beta1=0.9, beta2=0.99, first_sample=128))),
        "report": (1, response(step_report=pb.StepReport(step=9, loss=2.3, correct=4, step_ns=10 ** 9, sent_bytes=1 << 40))),
        "norms": (1, response(gradient_norms=pb.GradientNorms(step=1, squares=[0.5, 1e300]))),
        "failed": (1, response(failed=pb.Failed(code=3, message="device \"cpu\": no", step=2, lost_peer=True, peer_stage=1))),
        "saved": (1, response(saved_parameter=pb.SavedParameter(name="classifier.6.bias", shape=[10]), payload=bytes(40))),
        "chunk": (2, exchange(chunk=chunk, payload=bytes(64))),
        "credit": (2, exchange(credit=pb.Credit(tensors=2))),
        "describe": (4, pb.DescribeResponse(version="0.1.0", protocol_version=4, maximum_sessions=16, uptime_seconds=5, devices=[
            pb.Device(name="cpu", threads=2, memory_limit_bytes=1 << 33)], running=[pb.RunningStage(job="a", step=4, model="vgg16")])),
        "profile": (5, pb.ProfileRequest(end_layer=2, micro_batch_size=4, repetitions=3)),
    }


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def seeds():
    for name, message in stage_plans().items():
        yield "stage_plan", name, message.SerializeToString()
    for name, (index, message) in wire_messages().items():
        yield "message", name, bytes([index, 6]) + message.SerializeToString()
    yield "message", "field_0_in_two_bytes", b"\x02\x06\x0a\x03\x80\x00\x07"
    yield "message", "payload_twice", b"\x00\x02\x4a\x00\x7a\x02xx\x7a\x01y"
    yield "safetensors", "two", safetensors({"__metadata__": {"format": "pt"}, "features.0.weight": tensor([2, 3], 0, 24),
                                             "features.0.bias": tensor([2], 24, 32)}, bytes(range(32)))
    yield "safetensors", "scalar", safetensors({"s": tensor([], 0, 4), "empty": tensor([0, 4], 4, 4)}, bytes(4))
    yield "safetensors", "unaligned", safetensors(json.dumps({"a": tensor([1], 0, 4)}).encode() + b" ", bytes(4))
    yield "safetensors", "unaligned_empty", safetensors({"a": tensor([0], 0, 0)})
    yield "safetensors", "types", safetensors({"a": tensor([2], 0, 4, "F16"), "b": tensor([1], 4, 6, "BF16"), "n": tensor([], 6, 14, "I64"),
                                               "q": tensor([3], 14, 16, "F4"), "x": tensor([3], 16, 17, "NEW")}, bytes(range(17)))
    yield "safetensors", "index", b'{"metadata": {"total_size": 8}, "weight_map": {"a": "model-1.safetensors", "b": "../b"}}'
    yield "safetensors", "torch", b"PK\3\4" + bytes(20)
    yield "safetensors", "gap", safetensors({"a": tensor([1], 4, 8)}, bytes(8))
    yield "safetensors", "huge", safetensors({"a": tensor([1 << 62, 4, 0], 0, 0)})
    yield "safetensors", "long_header", struct.pack("<Q", 1 << 63) + b"{}"
    pixels = bytes(range(12))
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\x09(K\x01K\x04K\x03\x86"
    element = b"cnumpy\ndtype\nq\x0aU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    yield "pickle", "python2", (b"\x80\x02}q\x01(U\x06labelsq\x04]q\x05(K\x06K\x09eU\x04data" + array + element + b"T\x0c\x00\x00\x00" + pixels +
                                b"tbU\x05namesr\x0c\x00\x00\x00]U\x05a.pngah\x04M\x10\x27u.")
    yield "pickle", "python3", (b"\x80\x02}(c_codecs\nencode\nq\x01X\x04\x00\x00\x00dataX\x06\x00\x00\x00latin1q\x02\x86R" + array + element +
                                b"h\x01X\x0c\x00\x00\x00" + pixels + b"h\x02\x86Rtbu.")
    record = bytes([3]) + bytes(i % 256 for i in range(3072))
    for name, data in {"training": b"\x00" + record, "two": b"\x00" + record * 2, "test": b"\x01" + record,
                       "short": b"\x00" + record[:-1], "label": b"\x00" + bytes([10]) + record[1:]}.items():
        yield "cifar", name, data
    png = small_png()
    yield "image", "png", b"\x07" + png
    yield "image", "cut", b"\x07" + png[:60]
    for name, files in {"webdataset": {"1.png": png, "1.cls": b"3", "2.cls": b"0", "2.png": png}, "outside": {"../1.png": png, "1.cls": b"1"},
                        "cifar": {"d/data_batch_1.bin": record}, "cifar100": {"d/train.bin": b"\x01" + record}}.items():
        yield "dataset", name, tar(files)
        yield "dataset", name + "_packed", gzip.compress(tar(files))
    # Schedule, stages, micro-batches, in flight, damages; then damages (stage, two places, kind, value) and the stages' turns.
    for name, data in {"gpipe": [0, 3, 3, 0, 0, 1, 2, 3, 0, 1], "1f1b": [1, 2, 7, 0, 0, 3, 2, 1], "swapped": [1, 2, 3, 0, 1, 1, 2, 3, 1],
                       "moved": [1, 1, 3, 0, 1, 0, 3, 4, 0, 0, 1, 0, 1], "fewer_slots": [0, 1, 3, 0, 1, 0, 0, 0, 6, 1]}.items():
        yield "schedule", name, bytes(data)
    # Order, floats, depth, connections; then pairs of connection and act.
    yield "mailbox", "in_order", bytes([0, 16, 1, 0] + [0, 0] * 5 + [0, 2, 0, 3])
    yield "mailbox", "striped", bytes([1, 19, 1, 1] + [0, 0, 1, 0] * 6 + [0, 2, 0, 3] * 2)
    yield "mailbox", "damaged", bytes([2, 7, 2, 2] + [0, 1, 6, 16, 1, 1, 7, 3, 2, 1, 0, 1, 0, 2])


def main(folder):
    for target, name, data in seeds():
        os.makedirs(os.path.join(folder, target), exist_ok=True)
        with open(os.path.join(folder, target, name), "wb") as file:
            file.write(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
