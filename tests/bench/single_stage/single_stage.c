// Times training steps of one whole model in one program of the CPU device, no daemon around it: images as uint8 in, resized,
// normalised, forward, loss, backward, SGD with momentum. Prints one JSON line. single_stage.py runs it beside PyTorch.
//
// With --layers it prints how long each layer's passes take instead.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/strings.h"
#include "stage_server/device/device.h"

enum { RAW = 32, MAXIMUM_STEPS = 100000 };

struct bench {
	const struct device_ops *ops;
	struct device *device;
	struct program *program;
	struct program_spec spec;
	struct model model;
	uint8_t *images, *labels;
	uint64_t step;
	uint64_t forward_ns[MODEL_MAXIMUM_LAYERS], weight_ns[MODEL_MAXIMUM_LAYERS], input_ns[MODEL_MAXIMUM_LAYERS];
	uint64_t load_ns, loss_ns, optimizer_ns;
	float loss;
};

static uint64_t lap(uint64_t *mark_ns)
{
	uint64_t now_ns = clock_now_ns(), elapsed_ns = now_ns - *mark_ns;
	*mark_ns = now_ns;
	return elapsed_ns;
}

static bool run_step(struct bench *b, struct error *error)
{
	const struct device_ops *ops = b->ops;
	uint32_t correct;
	uint64_t mark_ns = clock_now_ns();
	if (!ops->zero_gradients(b->program, error) || !ops->load_images(b->program, 0, b->images, (struct device_completion){0}, error) ||
	    !ops->load_labels(b->program, 0, b->labels, (struct device_completion){0}, error))
		return false;
	b->load_ns += lap(&mark_ns);
	for (uint32_t layer = 0; layer < b->model.layer_count; layer++) {
		if (!ops->forward(b->program, 0, layer, b->step * b->spec.micro_batch_size, error))
			return false;
		b->forward_ns[layer] += lap(&mark_ns);
	}
	if (!ops->loss(b->program, 0, 0, error) || !ops->read_losses(b->program, 1, &b->loss, &correct, error) ||
	    !ops->loss_backward(b->program, 0, 1.0f, error))
		return false;
	b->loss_ns += lap(&mark_ns);
	for (uint32_t layer = b->model.layer_count; layer-- > 0;) {
		if (!ops->backward_weight(b->program, 0, layer, error))
			return false;
		b->weight_ns[layer] += lap(&mark_ns);
		if (!ops->backward_input(b->program, 0, layer, error))
			return false;
		b->input_ns[layer] += lap(&mark_ns);
	}
	struct optimizer_step settings = {
		.step = b->step++, .learning_rate = 0.01f, .beta1 = 0.9f, .gradient_scale = 1.0f};
	if (!ops->optimizer_step(b->program, &settings, error) || !ops->synchronize(b->program, error))
		return false;
	b->optimizer_ns += lap(&mark_ns);
	return true;
}

static bool fill(struct bench *b, struct error *error)
{
	for (uint32_t p = 0; p < model_parameter_count(&b->model); p++) {
		struct parameter parameter;
		model_parameter(&b->model, p, &parameter);
		float *values = malloc(parameter.count * sizeof(*values));
		if (values == NULL)
			return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
		model_draw_parameter(&b->model, &parameter, 1, values);
		bool written = b->ops->write_parameter(b->program, p, values, error);
		free(values);
		if (!written)
			return false;
	}
	uint32_t n = b->spec.micro_batch_size, state = 1;
	b->images = malloc((size_t)n * 3 * RAW * RAW);
	b->labels = malloc(n);
	if (b->images == NULL || b->labels == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	for (size_t i = 0; i < (size_t)n * 3 * RAW * RAW; i++)
		b->images[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
	for (uint32_t i = 0; i < n; i++)
		b->labels[i] = (uint8_t)(i % 10);
	return true;
}

static void print_layers(const struct bench *b, uint64_t steps)
{
	double ms = 1e-6 / (double)steps;
	printf("%-16s %-20s %10s %10s %10s %8s\n", "layer", "kind", "forward ms", "weight ms", "input ms", "GFLOP/s");
	for (uint32_t i = 0; i < b->model.layer_count; i++) {
		const struct layer *layer = &b->model.layers[i];
		double flops =
			(double)(layer_forward_flops(layer) + layer_backward_flops(layer)) * b->spec.micro_batch_size;
		uint64_t total_ns = b->forward_ns[i] + b->weight_ns[i] + b->input_ns[i];
		printf("%-16s %-20s %10.3f %10.3f %10.3f %8.1f\n", layer->name, layer_kind_name(layer->kind),
		       (double)b->forward_ns[i] * ms, (double)b->weight_ns[i] * ms, (double)b->input_ns[i] * ms,
		       flops * (double)steps / (double)total_ns);
	}
	printf("load %.3f ms, loss %.3f ms, optimizer %.3f ms\n", (double)b->load_ns * ms, (double)b->loss_ns * ms,
	       (double)b->optimizer_ns * ms);
}

static bool run(struct bench *b, uint64_t warmup, uint64_t steps, bool layers, struct error *error)
{
	for (uint64_t i = 0; i < warmup; i++)
		if (!run_step(b, error))
			return false;
	memset(b->forward_ns, 0, sizeof(b->forward_ns));
	memset(b->weight_ns, 0, sizeof(b->weight_ns));
	memset(b->input_ns, 0, sizeof(b->input_ns));
	b->load_ns = b->loss_ns = b->optimizer_ns = 0;
	uint64_t start_ns = clock_now_ns();
	for (uint64_t i = 0; i < steps; i++)
		if (!run_step(b, error))
			return false;
	double seconds = (double)(clock_now_ns() - start_ns) * 1e-9;
	if (layers)
		print_layers(b, steps);
	printf("{\"samples_per_second\": %.3f, \"step_seconds\": %.6f, \"loss\": %.6f}\n",
	       (double)(steps * b->spec.micro_batch_size) / seconds, seconds / (double)steps, (double)b->loss);
	return true;
}

int main(int argc, char **argv)
{
	if (argc < 7) {
		fprintf(stderr, "usage: single_stage MODEL BATCH IMAGE-SIZE THREADS WARM-UP-STEPS STEPS [--layers]\n");
		return 2;
	}
	struct error error = {0};
	struct bench b = {0};
	int64_t batch, size, threads, warmup, steps;
	if (!strings_parse_integer(argv[2], 1, 4096, &batch, &error) ||
	    !strings_parse_integer(argv[3], 1, MODEL_MAXIMUM_IMAGE_SIZE, &size, &error) ||
	    !strings_parse_integer(argv[4], 1, 1024, &threads, &error) ||
	    !strings_parse_integer(argv[5], 0, MAXIMUM_STEPS, &warmup, &error) ||
	    !strings_parse_integer(argv[6], 1, MAXIMUM_STEPS, &steps, &error)) {
		fprintf(stderr, "single_stage: %s\n", error.message);
		return 2;
	}
	b.spec = (struct program_spec){
		.micro_batch_size = (uint32_t)batch,
		.micro_batches = 1,
		.slots = 1,
		.optimizer = {.kind = OPTIMIZER_SGD},
		.seed = 1,
		.training = true,
		.raw_image_size = RAW,
		.mean = {0.485f, 0.456f, 0.406f},
		.standard_deviation = {0.229f, 0.224f, 0.225f},
	};
	struct device_options options = {
		.name = "cpu", .threads = (uint32_t)threads, .tuning_file = getenv("PENSTOCK_TUNING_FILE")};
	bool done = model_create(argv[1], (uint32_t)size, 10, -1.0f, &b.model, &error) &&
		    device_find("cpu", &b.ops, &error) && b.ops->create(&options, &b.device, &error);
	if (done) {
		b.spec.model = &b.model;
		b.spec.end_layer = b.model.layer_count;
		done = b.ops->program_create(b.device, &b.spec, &b.program, &error) && fill(&b, &error) &&
		       run(&b, (uint64_t)warmup, (uint64_t)steps, argc > 7 && strcmp(argv[7], "--layers") == 0, &error);
	}
	if (b.ops != NULL) {
		b.ops->program_destroy(b.program);
		b.ops->destroy(b.device);
	}
	free(b.images);
	free(b.labels);
	if (!done)
		fprintf(stderr, "single_stage: %s\n", error.message);
	return done ? 0 : 1;
}
