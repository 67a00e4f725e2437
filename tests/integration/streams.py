"""A stream to a daemon, driven message by message by a client that this project did not write. Needs grpcio."""

import contextlib
import queue

import messages

grpc, pb = messages.grpc, messages.pb


class Refused(Exception):
    def __init__(self, failed):
        super().__init__(failed.message)


def kernel_answers(answer):
    """What a coordinator that knows nothing says to a stage's questions about kernels; None to any other answer."""
    kind = answer.WhichOneof("body")
    if kind not in ("kernel_questions", "kernel_candidates"):
        return None
    answers = {question.key: question.candidates[0] for question in getattr(answer, kind).questions if question.candidates}
    return pb.SessionRequest(kernel_answers=pb.KernelAnswers(
        answers=[pb.KernelAnswer(key=key, choice=choice) for key, choice in answers.items()]))


class Stream:
    """A bidirectional call, driven message by message."""

    def __init__(self, channel, method, response=None):
        self.requests = queue.Queue()
        self.is_session = method == "Session"
        self.call = channel.stream_stream(f"/penstock.v1.StageServer/{method}", request_serializer=self.encode,
                                          response_deserializer=response)(iter(self.requests.get, None))

    @staticmethod
    def encode(message):
        return message if isinstance(message, bytes) else message.SerializeToString()

    def send(self, message):
        self.requests.put(message)

    def answers(self, kind):
        """Skips heartbeats, and answers questions about kernels, until an answer of that kind; the call's end raises
        grpc.RpcError."""
        for answer in self.call:
            if answer.WhichOneof("body") == kind:
                return getattr(answer, kind)
            if self.is_session and kernel_answers(answer):
                self.send(kernel_answers(answer))
                continue
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
