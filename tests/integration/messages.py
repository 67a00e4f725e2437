"""The wire's messages in Python, made from proto/ when this is imported: `pb`; and `grpc`. Both None without grpcio."""

import os
import subprocess
import sys
import tempfile

import harness

try:
    import grpc
    import google.protobuf  # noqa: F401
except ImportError:
    grpc = None


def load():
    proto = os.path.join(harness.SOURCE, "proto")
    with tempfile.TemporaryDirectory(prefix="penstock-test-proto-") as folder:
        subprocess.run(["protoc", f"-I{proto}", f"--python_out={folder}", "penstock/v1/stage_server.proto"], check=True)
        sys.path.insert(0, folder)
        from penstock.v1 import stage_server_pb2
        sys.path.remove(folder)
    return stage_server_pb2


pb = load() if grpc is not None else None
