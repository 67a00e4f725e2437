"""A tiny network of the tests' own, in the wire's messages: conv, relu, flatten | linear, whole or cut in two. What a good
coordinator would send, for peers that then do something else. Needs grpcio."""

import messages

pb = messages.pb

TOKEN = b"0123456789abcdef"


def plan(stage, stages):
    model = pb.Model(name="tiny", image_size=8, classes=10, layers=[
        pb.Layer(kind=1, name="features.0", in_channels=3, out_channels=4, kernel_size=3, stride=1, padding=1,
                 initializer=1),
        pb.Layer(kind=2, name="features.1"), pb.Layer(kind=5, name="flatten"),
        pb.Layer(kind=7, name="classifier.0", in_channels=256, out_channels=10, initializer=1)])
    kinds = []
    for b in range(2):
        if stages == 1:
            kinds += [(1, b), (2, b), (3, b)]
        elif stage == 0:
            kinds += [(1, b), (2, b), (6, b), (9, b), (3, b)]
        else:
            kinds += [(1, b), (7, b), (2, b), (3, b), (8, b)]
    result = pb.StagePlan(
        model=model, pipeline_stage=stage, pipeline_size=stages, data_parallel_size=1, micro_batch_size=2,
        micro_batches=2, slots=1, instructions=[pb.Instruction(kind=k, micro_batch=b) for k, b in kinds + [(10, 0), (11, 0)]],
        optimizer=pb.Optimizer(name="SGD"), seed=1, raw_image_size=8, mean=[0, 0, 0], standard_deviation=[1, 1, 1],
        first_layer=0 if stage == 0 else 3, end_layer=4 if stage == stages - 1 else 3)
    if stage > 0:
        result.receive_depth_from_previous = result.send_depth_to_previous = 1
    if stage < stages - 1:
        result.receive_depth_from_next = result.send_depth_to_next = 1
    return result


def open_message(stage=0, stages=1, **fields):
    open_ = pb.Open(protocol_version=4, job="hostile", plan=plan(stage, stages), connections=1, chunk_bytes=4096)
    if stage > 0:
        open_.link_token = TOKEN
    for name, value in fields.items():
        setattr(open_, name, value)
    return pb.SessionRequest(open=open_)


def exchange_open(**fields):
    return pb.ExchangeMessage(open=pb.ExchangeOpen(**{"protocol_version": 4, "link_token": TOKEN, **fields}))
