"""What cutting costs on one GPU: two stages in one daemon, and two daemons over gRPC on loopback, beside one stage. Medians of the
steps of all rounds; the three take turns."""

import statistics

import checks

AIM = 0.95  # docs/performance.md: two stages in one daemon lose at most 5 %
JOBS = [("alexnet", 128, 256, 8, 24), ("vgg16", 8, 512, 8, 8)]  # micro-batch, image size, micro-batches, steps
REHEARSED = [("alexnet", 1, 63, 2, 1)]
ROUNDS = 2


def cost(model, batch, size, micro_batches, steps, precision):
    def check(context):
        daemon, two = context.daemon(2), context.hostfile(context.daemon(), context.daemon())
        layouts = {"one": ["-H", context.hostfile(daemon, slots=1)], "one_daemon": ["-H", context.hostfile(daemon)], "grpc": ["-H", two]}
        times = {name: [] for name in layouts}
        for turn in range(ROUNDS if context.on_gpu else 1):
            if turn > 0 and context.seconds_left() < 25:
                break
            for name, where in layouts.items():
                done = context.train("--model", model, "--dataset", context.dataset(), "--image-size", size, "--micro-batch-size", batch,
                                     "--gradient-accumulation-steps", micro_batches, "--lr", 0.001, "--steps", steps + 2,
                                     "--precision", precision, *where)
                times[name] += [step["step_seconds"] * 1e3 for step in done[2:]]
        medians = {name: statistics.median(values) for name, values in times.items()}
        ratio = medians["one"] / medians["one_daemon"]
        context.write(figure="pipeline", model=model, batch=batch, image_size=size, micro_batches=micro_batches, precision=precision,
                      **{name + "_ms": value for name, value in medians.items()})
        context.target(f"{model} {precision}: two stages in one daemon are {AIM} of one stage", ratio >= AIM, f"{ratio:.3f}")
        return ", ".join(f"{name} {value:.1f} ms" for name, value in medians.items())

    return check


def main():
    context = checks.context()
    precision = "bf16" if context.on_gpu else "fp32"
    jobs = JOBS if context.on_gpu else REHEARSED
    checks.run(context, *((f"{job[0]}, two stages beside one", cost(*job, precision)) for job in jobs))


main()
