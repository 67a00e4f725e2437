// Times training steps of one whole model in one program of a device, no daemon around it: images as uint8 in, resized,
// normalised, forward, loss, backward, SGD with momentum. Prints JSON lines. single_stage.py runs it beside PyTorch.
//
// With --resident the images are loaded once, before the first step: what is timed is forward, backward and optimizer on
// data that lies on the device. With --layers it prints how long each layer's passes take on the device. With --turns it
// is one side of a comparison: it gets ready, and then each line "round STEPS" or "layers STEPS" on its input is answered
// by one line.
#include <getopt.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/strings.h"
#include "coordinator/models/models.h"
#include "stage_server/device/device.h"
#include "tests/bench/single_stage/fastest.h"

enum { RAW = 32, MAXIMUM_STEPS = 100000 };

// Points in time of a step: its start, then the end of each thing it does. Layers are timed by the marks of their passes.
#define MARKS(layers) (4 + 3 * (layers))

struct bench {
	const struct device_ops *ops;
	struct device *device;
	struct program *program;
	struct program_spec spec;
	struct model model;
	uint8_t *images, *labels; // of host_allocate
	uint64_t steps;           // of this round
	bool resident;
	atomic_bool transfer_failed;
	uint64_t step;        // of the run
	bool marking;         // whether the steps of this round mark
	uint32_t marks;       // set so far in this step
	uint64_t *elapsed_ns; // MARKS, summed over a round's steps: of what ended at each mark
	float loss_scale;     // float16's range is too small for a mean's gradients
};

static void transferred(void *user, bool ok)
{
	struct bench *b = user;
	if (!ok)
		atomic_store(&b->transfer_failed, true);
}

static bool mark(struct bench *b, struct error *error)
{
	return !b->marking || b->ops->mark(b->program, b->marks++, error);
}

static bool load(struct bench *b, struct error *error)
{
	struct device_completion completion = {.call = transferred, .user = b};
	return b->ops->load_images(b->program, 0, b->images, completion, error) &&
	       b->ops->load_labels(b->program, 0, b->labels, completion, error);
}

static bool run_step(struct bench *b, struct error *error)
{
	const struct device_ops *ops = b->ops;
	b->marks = 0;
	if (!mark(b, error) || !ops->zero_gradients(b->program, error) || (!b->resident && !load(b, error)) ||
	    !mark(b, error))
		return false;
	for (uint32_t layer = 0; layer < b->model.layer_count; layer++)
		if (!ops->forward(b->program, 0, layer, b->step * b->spec.micro_batch_size, error) || !mark(b, error))
			return false;
	if (!ops->loss(b->program, 0, 0, error) || !ops->loss_backward(b->program, 0, b->loss_scale, error) ||
	    !mark(b, error))
		return false;
	for (uint32_t layer = b->model.layer_count; layer-- > 0;)
		if (!ops->backward_weight(b->program, 0, layer, error) || !mark(b, error) ||
		    !ops->backward_input(b->program, 0, layer, error) || !mark(b, error))
			return false;
	struct optimizer_step settings = {
		.step = b->step++, .learning_rate = 0.01f, .beta1 = 0.9f, .gradient_scale = 1.0f / b->loss_scale};
	return ops->optimizer_step(b->program, &settings, error) && mark(b, error);
}

static bool add_elapsed(struct bench *b, struct error *error)
{
	for (uint32_t i = 1; i < b->marks; i++) {
		uint64_t ns;
		if (!b->ops->elapsed(b->program, i - 1, i, &ns, error))
			return false;
		b->elapsed_ns[i] += ns;
	}
	return true;
}

// `marking` waits for the device after each step, so those times do not add up to what a round without it takes.
static bool run_round(struct bench *b, bool marking, double *ret_seconds, float *ret_loss, struct error *error)
{
	uint32_t correct;
	b->marking = marking;
	memset(b->elapsed_ns, 0, MARKS(b->model.layer_count) * sizeof(*b->elapsed_ns));
	if (!b->ops->synchronize(b->program, error))
		return false;
	uint64_t start_ns = clock_now_ns();
	for (uint64_t i = 0; i < b->steps; i++)
		if (!run_step(b, error) ||
		    (marking && !(b->ops->synchronize(b->program, error) && add_elapsed(b, error))))
			return false;
	if (!b->ops->synchronize(b->program, error))
		return false;
	*ret_seconds = (double)(clock_now_ns() - start_ns) * 1e-9;
	if (atomic_load(&b->transfer_failed))
		return error_set(error, ERROR_FAILED, "the device failed while images were copied to it");
	return b->ops->read_losses(b->program, 1, ret_loss, &correct, error);
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
	b->images = b->ops->host_allocate(b->device, (size_t)n * 3 * RAW * RAW);
	b->labels = b->ops->host_allocate(b->device, n);
	if (b->images == NULL || b->labels == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	for (size_t i = 0; i < (size_t)n * 3 * RAW * RAW; i++)
		b->images[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
	for (uint32_t i = 0; i < n; i++)
		b->labels[i] = (uint8_t)(i % 10);
	return !b->resident || load(b, error);
}

// Of a layer's backward pass; the first layer's input gradient is nobody's, and not computed.
static double backward_flops(const struct bench *b, uint32_t layer)
{
	double flops = (double)layer_backward_flops(&b->model.layers[layer]) * b->spec.micro_batch_size;
	return layer == 0 ? flops / 2 : flops;
}

static double forward_flops(const struct bench *b, uint32_t layer)
{
	return (double)layer_forward_flops(&b->model.layers[layer]) * b->spec.micro_batch_size;
}

static double step_flops(const struct bench *b)
{
	double flops = 0.0;
	for (uint32_t i = 0; i < b->model.layer_count; i++)
		flops += forward_flops(b, i) + backward_flops(b, i);
	return flops;
}

struct layer_times {
	double forward_ms, weight_ms, input_ms;
};

static struct layer_times layer_times(const struct bench *b, uint32_t layer)
{
	uint32_t count = b->model.layer_count, backward = 3 + count + 2 * (count - 1 - layer);
	double ms = 1e-6 / (double)b->steps;
	return (struct layer_times){
		.forward_ms = (double)b->elapsed_ns[2 + layer] * ms,
		.weight_ms = (double)b->elapsed_ns[backward] * ms,
		.input_ms = (double)b->elapsed_ns[backward + 1] * ms,
	};
}

static void print_table(const struct bench *b)
{
	uint32_t count = b->model.layer_count;
	double ms = 1e-6 / (double)b->steps;
	printf("%-16s %-20s %10s %10s %10s %9s\n", "layer", "kind", "forward ms", "weight ms", "input ms", "GFLOP/s");
	for (uint32_t i = 0; i < count; i++) {
		struct layer_times t = layer_times(b, i);
		double total_ms = t.forward_ms + t.weight_ms + t.input_ms;
		double flops = forward_flops(b, i) + backward_flops(b, i);
		printf("%-16s %-20s %10.3f %10.3f %10.3f %9.1f\n", b->model.layers[i].name,
		       layer_kind_name(b->model.layers[i].kind), t.forward_ms, t.weight_ms, t.input_ms,
		       total_ms > 0.0 ? flops / total_ms * 1e-6 : 0.0);
	}
	printf("load %.3f ms, loss %.3f ms, optimizer %.3f ms\n", (double)b->elapsed_ns[1] * ms,
	       (double)b->elapsed_ns[2 + count] * ms, (double)b->elapsed_ns[3 + 3 * count] * ms);
}

static void print_layers(const struct bench *b)
{
	uint32_t count = b->model.layer_count;
	double ms = 1e-6 / (double)b->steps;
	printf("{\"load_ms\": %.6f, \"loss_ms\": %.6f, \"optimizer_ms\": %.6f, \"layers\": [",
	       (double)b->elapsed_ns[1] * ms, (double)b->elapsed_ns[2 + count] * ms,
	       (double)b->elapsed_ns[3 + 3 * count] * ms);
	for (uint32_t i = 0; i < count; i++) {
		struct layer_times t = layer_times(b, i);
		printf("%s{\"name\": \"%s\", \"kind\": \"%s\", \"forward_ms\": %.6f, \"weight_ms\": %.6f, "
		       "\"input_ms\": %.6f, \"flops\": %.0f}",
		       i == 0 ? "" : ", ", b->model.layers[i].name, layer_kind_name(b->model.layers[i].kind),
		       t.forward_ms, t.weight_ms, t.input_ms, forward_flops(b, i) + backward_flops(b, i));
	}
	printf("]}\n");
}

static void print_round(const struct bench *b, double seconds, float loss)
{
	char number[32] = "null";
	if (isfinite(loss))
		snprintf(number, sizeof(number), "%.6f", (double)loss);
	printf("{\"samples_per_second\": %.3f, \"step_seconds\": %.9f, \"step_flops\": %.0f, \"loss\": %s}\n",
	       (double)(b->steps * b->spec.micro_batch_size) / seconds, seconds / (double)b->steps, step_flops(b),
	       number);
}

static bool take_turns(struct bench *b, struct error *error)
{
	struct device_info info;
	struct memory_use use;
	b->ops->describe(b->device, &info);
	b->ops->program_memory(b->program, &use);
	printf("{\"ready\": \"%s\", \"memory_bytes\": %llu}\n", info.name, (unsigned long long)memory_use_total(&use));
	fflush(stdout);
	char line[64], word[16];
	while (fgets(line, sizeof(line), stdin) != NULL) {
		unsigned long long steps;
		double seconds;
		float loss;
		if (sscanf(line, "%15s %llu", word, &steps) != 2 || steps < 1 || steps > MAXIMUM_STEPS ||
		    (strcmp(word, "round") != 0 && strcmp(word, "layers") != 0))
			return error_set(error, ERROR_USAGE, "expected a line \"round STEPS\" or \"layers STEPS\"");
		bool layers = strcmp(word, "layers") == 0;
		b->steps = steps;
		if (!run_round(b, layers, &seconds, &loss, error))
			return false;
		if (layers)
			print_layers(b);
		else
			print_round(b, seconds, loss);
		fflush(stdout);
	}
	return true;
}

static bool run(struct bench *b, uint64_t warmup, uint64_t steps, bool layers, bool turns, struct error *error)
{
	double seconds;
	float loss;
	b->steps = warmup;
	if (!run_round(b, false, &seconds, &loss, error))
		return false;
	if (turns)
		return take_turns(b, error);
	b->steps = steps;
	if (layers) {
		if (!run_round(b, true, &seconds, &loss, error))
			return false;
		print_table(b);
	}
	if (!run_round(b, false, &seconds, &loss, error))
		return false;
	print_round(b, seconds, loss);
	return true;
}

static bool parse_precision(const char *text, struct program_spec *spec, struct error *error)
{
	spec->allow_tf32 = strcmp(text, "tf32") == 0;
	spec->compute_type = DATA_FLOAT32;
	if (!spec->allow_tf32 && !data_type_parse(text, &spec->compute_type))
		return error_set(error, ERROR_USAGE, "precision %s is unknown; known: fp32, tf32, bf16 and fp16", text);
	spec->boundary_type = spec->compute_type;
	return true;
}

static const char usage[] = "usage: single_stage [--device NAME] [--precision fp32|tf32|bf16|fp16] [--threads N] "
			    "[--resident] [--layers] [--turns]\n"
			    "                    MODEL BATCH IMAGE-SIZE WARM-UP-STEPS STEPS\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {{"device", required_argument, NULL, 'd'},
						{"precision", required_argument, NULL, 'p'},
						{"threads", required_argument, NULL, 't'},
						{"resident", no_argument, NULL, 'r'},
						{"layers", no_argument, NULL, 'l'},
						{"turns", no_argument, NULL, 'u'},
						{0}};
	struct error error = {0};
	struct bench b = {0};
	const char *device = "cpu", *precision = "fp32", *threads_text = "0";
	bool layers = false, turns = false;
	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (option) {
		case 'd':
			device = optarg;
			break;
		case 'p':
			precision = optarg;
			break;
		case 't':
			threads_text = optarg;
			break;
		case 'r':
			b.resident = true;
			break;
		case 'l':
			layers = true;
			break;
		case 'u':
			turns = true;
			break;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (argc - optind != 5) {
		fputs(usage, stderr);
		return 2;
	}
	char **words = argv + optind;
	int64_t batch, size, threads, warmup, steps;
	b.spec = (struct program_spec){
		.micro_batches = 1,
		.slots = 1,
		.optimizer = {.kind = OPTIMIZER_SGD},
		.seed = 1,
		.training = true,
		.raw_image_size = RAW,
		.mean = {0.485f, 0.456f, 0.406f},
		.standard_deviation = {0.229f, 0.224f, 0.225f},
	};
	if (!strings_parse_integer(words[1], 1, 4096, &batch, &error) ||
	    !strings_parse_integer(words[2], 1, MODEL_MAXIMUM_IMAGE_SIZE, &size, &error) ||
	    !strings_parse_integer(words[3], 1, MAXIMUM_STEPS, &warmup, &error) ||
	    !strings_parse_integer(words[4], 1, MAXIMUM_STEPS, &steps, &error) ||
	    !strings_parse_integer(threads_text, 0, 1024, &threads, &error) ||
	    !parse_precision(precision, &b.spec, &error)) {
		fprintf(stderr, "single_stage: %s\n", error.message);
		return 2;
	}
	b.spec.micro_batch_size = (uint32_t)batch;
	b.loss_scale = b.spec.compute_type == DATA_FLOAT16 ? 1024.0f : 1.0f;
	struct device_options device_options = {.name = device, .threads = (uint32_t)threads};
	struct fastest *fastest = NULL;
	bool done = models_create_chain(words[0], (uint32_t)size, 10, -1.0f, &b.model, &error) &&
		    device_find(device, &b.ops, &error) && b.ops->create(&device_options, &b.device, &error) &&
		    fastest_create(b.ops, b.device, getenv("PENSTOCK_TUNING_FILE"), &fastest, &error);
	if (done) {
		b.spec.model = &b.model;
		b.spec.chooser = fastest_chooser(fastest);
		b.spec.end_layer = b.model.layer_count;
		b.spec.marks = MARKS(b.model.layer_count);
		b.elapsed_ns = calloc(b.spec.marks, sizeof(*b.elapsed_ns));
		done = b.elapsed_ns != NULL && b.ops->program_create(b.device, &b.spec, &b.program, &error) &&
		       b.ops->program_allocate(b.program, &error) && fill(&b, &error) &&
		       run(&b, (uint64_t)warmup, (uint64_t)steps, layers, turns, &error);
	}
	if (b.ops != NULL) {
		b.ops->program_destroy(b.program);
		if (b.device != NULL) {
			b.ops->host_free(b.device, b.images);
			b.ops->host_free(b.device, b.labels);
		}
		b.ops->destroy(b.device);
	}
	free(b.elapsed_ns);
	fastest_destroy(fastest);
	if (!done)
		fprintf(stderr, "single_stage: %s\n", error.message);
	return done ? 0 : 1;
}
