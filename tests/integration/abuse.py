"""Bad messages by the seed: what a client that knows the protocol, or none of it, can send to a daemon in each state that a
session or an exchange has. Written against the protocol with another gRPC; nothing of the project is in it but proto/.

A program of its own, so that every connection is closed when it ends: abuse.py SEED MESSAGES CALL_SECONDS ADDRESS... sends so many
messages, or more by a few, and prints what it did as JSON."""

import collections
import contextlib
import json
import queue
import random
import sys
import threading

import messages
import streams
import tiny

grpc, pb = messages.grpc, messages.pb

NUMBERS = [0, 1, 2, 3, 255, 256, 4096, 65535, 65536, 1 << 20, (1 << 31) - 1, (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1]
FLOATS = [0.0, -0.0, -1.0, 1e-45, 3e38, float("inf"), float("-inf"), float("nan")]
HUGE_BYTES = 1100 << 10  # over what a header may have
ENDS = ["half-close", "half-close", "cancel", "cancel", "disconnect"]


class Generator:
    """Every choice is made here, so that a seed is a run."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    # ---- Messages

    def mutated(self, message):
        """A copy with some fields that are not what they were: out of range, not a number, gone, twice, in another order."""
        copy = type(message)()
        copy.CopyFrom(message)
        for _ in range(self.random.randint(1, 3)):
            self.change(copy)
        return copy

    def change(self, message):
        fields = message.ListFields()
        if not fields:
            return
        field, value = self.random.choice(fields)
        if field.label == field.LABEL_REPEATED:
            self.change_list(message, field, value)
        elif self.random.random() < 0.1:
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE:
            self.change(value)
        else:
            setattr(message, field.name, self.value_of(field, value))

    def change_list(self, message, field, items):
        at = self.random.randrange(len(items))
        act = self.random.random()
        if act < 0.3:
            del items[at]
        elif act < 0.5 and field.type == field.TYPE_MESSAGE:
            items.add().CopyFrom(items[at])
        elif act < 0.5:
            items.append(self.value_of(field, items[at]))
        elif act < 0.55:
            message.ClearField(field.name)
        elif act < 0.57:
            items.extend([items[at]] * 5000)
        elif field.type == field.TYPE_MESSAGE:
            self.change(items[at])
        else:
            items[at] = self.value_of(field, items[at])

    def value_of(self, field, value):
        """Another value, of the field's type."""
        kind = field.cpp_type
        if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
            return self.random.choice(FLOATS)
        if kind == field.CPPTYPE_BOOL:
            return not value
        if kind == field.CPPTYPE_STRING:
            text = self.random.choice(["", "x" * 300, "../../etc/passwd", "a\nb\x1b[2J", "\u202e"])
            text = text.encode() if field.type == field.TYPE_BYTES else text
            return self.random.choice([text, value[1:], value + value])
        if kind == field.CPPTYPE_ENUM:
            return self.random.choice([0, 1, 2, 3, 5, 12, 99, -1, (1 << 31) - 1])
        bits = 32 if kind in (field.CPPTYPE_UINT32, field.CPPTYPE_INT32) else 64
        number = value + self.random.randint(-2, 2) if self.random.random() < 0.5 else self.random.choice(NUMBERS)
        return number % (1 << bits)

    def damaged(self, data):
        """Bytes that are, mostly, no message any more."""
        act = self.random.randrange(9)
        at = self.random.randrange(len(data) + 1)
        if act == 0:
            return data[:at]
        if act == 1:
            return data[:at] + bytes([self.random.randrange(256)]) + data[at + 1:]
        if act == 2:
            return data + b"\xf8\x3f\x05"  # an unknown field
        if act == 3:
            return data + data
        if act == 4:
            return data + b"\x7a" + b"\xff" * self.random.randint(1, 12)  # a payload of a huge length
        if act == 5:
            return b"\x7a\x03xyz" + data  # a payload that is not the last field
        if act == 6:
            return self.random.randbytes(self.random.randrange(200))
        if act == 7:
            return data[:at] + self.random.randbytes(self.random.randint(1, 8)) + data[at:]
        return bytes(HUGE_BYTES) if self.random.random() < 0.01 else b""

    def bad(self, valid):
        """A message to where `valid` are the ones that belong somewhere."""
        message = self.random.choice(valid)
        act = self.random.random()
        if act < 0.2:
            return message.SerializeToString()  # as it should be, but not here
        if act < 0.7:
            return self.mutated(message).SerializeToString()
        return self.damaged(message.SerializeToString())

    def bad_messages(self, valid):
        return [self.bad(valid) for _ in range(self.random.randint(1, 16))]

    def end(self):
        return self.random.choice(ENDS)


def session_requests():
    """One of each that a session takes, as it should be at some time in the life of a session of one stage."""
    images, labels = bytes(2 * 3 * 8 * 8), bytes(2)
    request = pb.SessionRequest
    return [
        tiny.open_message(), tiny.open_message(1, 2),
        request(connect=pb.Connect()),
        request(connect=pb.Connect(next_address="127.0.0.1:1", next_link_token=tiny.TOKEN)),
        request(kernel_answers=pb.KernelAnswers()),
        request(kernel_answers=pb.KernelAnswers(answers=[pb.KernelAnswer(key="linear-forward/n=2/in=256/out=10", choice="sgemm")])),
        request(time_kernels=pb.TimeKernels(keys=["linear-forward/n=2/in=256/out=10"])),
        request(load_parameter=pb.LoadParameter(name="features.0.bias", shape=[4]), payload=bytes(16)),
        request(load_parameter=pb.LoadParameter(name="classifier.0.bias", shape=[10], offset_bytes=20), payload=bytes(20)),
        request(batch=pb.Batch(kind=1), payload=images), request(batch=pb.Batch(kind=2), payload=labels),
        request(batch=pb.Batch(kind=1, step=1, micro_batch=1), payload=images),
        request(run_step=pb.RunStep(learning_rate=0.1)),
        request(run_step=pb.RunStep(step=1, learning_rate=0.1, beta1=0.9, beta2=0.99, first_sample=4)),
        request(gradient_scale=pb.GradientScale(step=1, scale=0.5)),
        request(save=pb.Save()), request(close=pb.Close()), request(heartbeat=pb.Heartbeat()), request(),
    ]


def exchange_messages():
    chunk = pb.TensorChunk(kind=1, dtype=1, shape=[2, 256])
    message = pb.ExchangeMessage
    return [
        tiny.exchange_open(), message(accepted=pb.ExchangeAccepted()), message(chunk=chunk, payload=bytes(2048)),
        message(chunk=pb.TensorChunk(step=1, micro_batch=1, kind=1, dtype=1, shape=[2, 256]), payload=bytes(2048)),
        message(credit=pb.Credit(tensors=1)), message(),
    ]


class Hung(Exception):
    """A call that the daemon did not end."""


class Call:
    """A bidirectional call: what is sent is counted when gRPC takes it."""

    def __init__(self, channel, method, response, counts, seconds):
        self.requests = queue.SimpleQueue()
        self.counts = counts
        self.call = channel.stream_stream(f"/penstock.v1.StageServer/{method}", response_deserializer=response)(
            self.take(), timeout=seconds)

    def take(self):
        while (message := self.requests.get()) is not None:
            self.counts["messages"] += 1
            yield message

    def send(self, *requests):
        for request in requests:
            self.requests.put(request if isinstance(request, bytes) else request.SerializeToString())

    def wait_for(self, kind):
        """False when the call ends, or fails, before such an answer."""
        with contextlib.suppress(grpc.RpcError):
            for answer in self.call:
                body = answer.WhichOneof("body")
                if kind == "opened" and streams.kernel_answers(answer):
                    self.send(streams.kernel_answers(answer))
                if body in (kind, "failed"):
                    return body == kind
        return False

    def finish(self, end):
        self.requests.put(None)
        if end == "cancel":
            self.call.cancel()
        elif end == "half-close":
            with contextlib.suppress(grpc.RpcError):
                for _ in self.call:
                    pass
            if self.call.code() is grpc.StatusCode.DEADLINE_EXCEEDED and self.call.details() == "Deadline Exceeded":
                raise Hung(f"a call did not end: {self.call.details()}")


class Abuser:
    """One bad client, on one connection after the other. `counts` is shared, and a little off when threads meet in it."""

    def __init__(self, seed, address, counts, seconds):
        self.generator = Generator(seed)
        self.address = address
        self.counts = counts
        self.seconds = seconds
        self.connect()
        self.requests, self.exchanges = session_requests(), exchange_messages()
        image_data = [request for request in self.requests if request.WhichOneof("body") == "batch"][:2]
        step = pb.SessionRequest(run_step=pb.RunStep(learning_rate=0.1))
        connect = pb.SessionRequest(connect=pb.Connect())
        # What to say, and the answer to wait for, until a session is where the bad messages come.
        self.ways = {
            "arrived": [], "opening": [(tiny.open_message(), None)],
            "settling": [(tiny.open_message(), "kernel_questions"), (pb.SessionRequest(kernel_answers=pb.KernelAnswers()), None)],
            "opened": [(tiny.open_message(), "opened")],
            "linking": [(tiny.open_message(1, 2), "opened"), (connect, None)],
            "ready": [(tiny.open_message(), "opened"), (connect, "ready")],
            "running": [(tiny.open_message(), "opened"), (connect, "ready"), (step, None), (image_data[0], None)],
            "saving": [(tiny.open_message(), "opened"), (connect, "ready"), (pb.SessionRequest(save=pb.Save()), None)],
            "closing": [(tiny.open_message(), "opened"), (connect, "ready"), (pb.SessionRequest(close=pb.Close()), None)],
        }

    def connect(self):
        self.channel = grpc.insecure_channel(self.address, [("grpc.use_local_subchannel_pool", 1),
                                                            ("grpc.max_send_message_length", -1)])

    def close(self):
        self.channel.close()

    def open_call(self, method, response):
        self.counts["calls"] += 1
        return Call(self.channel, method, response, self.counts, self.seconds)

    def end_calls(self, calls):
        end = self.generator.end()
        self.counts[end] += 1
        if end == "disconnect":
            self.channel.close()
            self.connect()
        for call in calls:
            call.finish(end)

    def session(self):
        state = self.generator.random.choice(list(self.ways))
        self.counts[state] += 1
        call = self.open_call("Session", pb.SessionResponse.FromString)
        for request, answer in self.ways[state]:
            call.send(request)
            if answer is not None and not call.wait_for(answer):
                break
        call.send(*self.generator.bad_messages(self.requests))
        self.end_calls([call])

    def exchange(self):
        linked = self.generator.random.random() < 0.5
        self.counts["linked" if linked else "unlinked"] += 1
        calls = []
        if linked:
            token = self.generator.random.randbytes(16)
            session = self.open_call("Session", pb.SessionResponse.FromString)
            calls.append(session)
            session.send(tiny.open_message(1, 2, link_token=token))
            if session.wait_for("opened"):
                session.send(pb.SessionRequest(connect=pb.Connect()))
        link = self.open_call("Exchange", pb.ExchangeMessage.FromString)
        calls.insert(0, link)
        if linked:
            link.send(tiny.exchange_open(link_token=token))
            link.wait_for("credit")
        link.send(*self.generator.bad_messages(self.exchanges))
        self.end_calls(calls)

    def unary(self):
        method = self.generator.random.choice([
            "/penstock.v1.StageServer/Describe", "/grpc.health.v1.Health/Check", "/penstock.v1.StageServer/Profile",
            "/penstock.v1.StageServer/", "/a"])
        for data in self.generator.bad_messages([pb.DescribeRequest(), *self.requests[:1]]):
            self.counts["messages"] += 1
            self.counts["unary"] += 1
            with contextlib.suppress(grpc.RpcError):
                self.channel.unary_unary(method)(data, timeout=self.seconds)

    def watch(self):
        """A unary question to a call that streams its answers, which is left again; or one that is never asked."""
        self.counts["watch"] += 1
        call = self.channel.unary_stream("/grpc.health.v1.Health/Watch")(self.generator.damaged(b"\x0a\x00"), timeout=self.seconds)
        self.counts["messages"] += 1
        with contextlib.suppress(grpc.RpcError, StopIteration):
            next(iter(call))
        call.cancel()

    def run(self, until):
        """Until `until()`; raises Hung."""
        acts = [self.session] * 12 + [self.exchange] * 5 + [self.unary, self.watch]
        while not until():
            self.generator.random.choice(acts)()


CLIENTS = 6  # at once


def main(seed, total, call_seconds, *addresses):
    counts, failures, order = collections.Counter(), [], random.Random(int(seed))

    def client(number, seed):
        abuser = Abuser(seed, addresses[number % len(addresses)], counts, float(call_seconds))
        try:
            abuser.run(lambda: counts["messages"] >= int(total) or failures)
        except Exception as error:  # in a thread
            failures.append(f"client {number}: {error!r}")
        finally:
            abuser.close()

    threads = [threading.Thread(target=client, args=(number, order.randrange(1 << 32))) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(dict(sorted(counts.items()))))
    return failures or 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
