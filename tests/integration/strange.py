"""A stage daemon in Python, whose answers are the test's own. Needs grpcio."""

import concurrent.futures
import threading

import messages

grpc, pb = messages.grpc, messages.pb


class StrangeDaemon:
    """A server whose Session and Describe are functions of ours."""

    def __init__(self, session=None, describe=None, threads=8):
        self.over = threading.Event()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(threads))
        handlers = {}
        if session is not None:
            handlers["Session"] = grpc.stream_stream_rpc_method_handler(
                lambda requests, context: session(requests, self.over), pb.SessionRequest.FromString,
                lambda answer: answer if isinstance(answer, bytes) else answer.SerializeToString())
        if describe is not None:
            handlers["Describe"] = grpc.unary_unary_rpc_method_handler(
                describe, pb.DescribeRequest.FromString, pb.DescribeResponse.SerializeToString)
        self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("penstock.v1.StageServer", handlers)])
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def stop(self):
        self.over.set()
        self.server.stop(None)
