"""A stream to a daemon, driven message by message by a client that this project did not write. Needs grpcio."""

import contextlib
import queue

import messages

grpc = messages.grpc


class Refused(Exception):
    def __init__(self, failed):
        super().__init__(failed.message)


class Stream:
    """A bidirectional call, driven message by message."""

    def __init__(self, channel, method, response=None):
        self.requests = queue.Queue()
        self.call = channel.stream_stream(f"/penstock.v1.StageServer/{method}", request_serializer=self.encode,
                                          response_deserializer=response)(iter(self.requests.get, None))

    @staticmethod
    def encode(message):
        return message if isinstance(message, bytes) else message.SerializeToString()

    def send(self, message):
        self.requests.put(message)

    def answers(self, kind):
        """Skips heartbeats until an answer of that kind; the call's end raises grpc.RpcError."""
        for answer in self.call:
            if answer.WhichOneof("body") == kind:
                return getattr(answer, kind)
            if answer.WhichOneof("body") == "failed":
                raise Refused(answer.failed)
            assert answer.WhichOneof("body") == "heartbeat", answer

    def end(self):
        """Waits for the call's end; gives its status."""
        with contextlib.suppress(grpc.RpcError):
            for _ in self.call:
                pass
        return self.call.code(), self.call.details()

    def close(self):
        self.call.cancel()
        self.requests.put(None)
