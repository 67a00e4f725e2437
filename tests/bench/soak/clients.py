"""What the soak's clients do by gRPC: calls that no coordinator would make, and sessions that say nothing. In a process of its own, because a
channel of grpcio's that is closed while it connects may keep its connection for as long as its process lives.

    clients.py calls|silent_sessions SEED ADDRESS CA KEY CERT

Needs what harness.py needs in the environment. Exits with 0 unless it cannot do its part."""

import contextlib
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "integration"))
import messages  # noqa: E402

grpc, pb = messages.grpc, messages.pb


def stream(channel, method, requests):
    """A call that is cancelled at its first answer. A refusal is as good."""
    call = channel.stream_stream(f"/penstock.v1.StageServer/{method}", request_serializer=bytes)(iter(requests), timeout=5)
    with contextlib.suppress(grpc.RpcError):
        for _ in call:
            break
    call.cancel()


def calls(channel, mix):
    layers = [pb.Layer(kind=mix.randint(0, 9), in_channels=mix.getrandbits(31), out_channels=mix.getrandbits(31)) for _ in range(3)]
    plans = [pb.StagePlan(), pb.StagePlan(pipeline_size=2, micro_batches=mix.getrandbits(31), model=pb.Model(layers=layers))]
    opens = [pb.SessionRequest(open=pb.Open(protocol_version=version, job="soak", plan=plan)) for version in (0, 4) for plan in plans]
    token = pb.ExchangeMessage(open=pb.ExchangeOpen(protocol_version=4, link_token=mix.randbytes(16), connection=mix.randint(0, 99)))
    for _ in range(mix.randint(5, 40)):
        kind = mix.choice(["Session", "Exchange", "NoSuchMethod"])
        good = token if kind == "Exchange" else mix.choice(opens)
        stream(channel, kind, [mix.choice([good.SerializeToString(), mix.randbytes(mix.randint(0, 300))])])


def silent_sessions(channel, mix):
    over = threading.Event()

    def silence():
        over.wait()
        yield b""

    begun = [channel.stream_stream("/penstock.v1.StageServer/Session")(silence()) for _ in range(mix.randint(1, 8))]
    time.sleep(mix.random())
    for call in begun:
        call.cancel()
    over.set()


def main():
    action, seed, address, *files = sys.argv[1:]
    ca, key, cert = (open(path, "rb").read() for path in files)
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, key, cert)) as channel:
        {"calls": calls, "silent_sessions": silent_sessions}[action](channel, random.Random(seed))


if __name__ == "__main__":
    main()
