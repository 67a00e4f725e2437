// AlexNet and VGG-11 whole, against PyTorch's values: logits, loss, gradients and three optimizer steps. The files and their
// meaning: tests/golden/make_golden.py, whose table of cases this one repeats.
#include "tests/unit/device/suite.h"

#include <math.h>
#include <string.h>

#include "coordinator/checkpoint/safetensors.h"
#include "coordinator/models/models.h"
#include "tests/unit/device/rule.h"

enum { STEPS = 3, RAW = 32, CLASSES = 10, MAXIMUM_BATCH = 4 };

static const struct golden {
	const char *name, *model;
	uint32_t image_size, batch;
	struct optimizer optimizer;
	float learning_rate, beta1, beta2;
	int images[STEPS]; // which draw each step takes: see make_golden.py
} goldens[] = {
	{"alexnet-63-sgd",
	 "alexnet",
	 63,
	 2,
	 {.kind = OPTIMIZER_SGD, .nesterov = true, .weight_decay = 0.01f},
	 0.0002f,
	 0.9f,
	 0,
	 {0, 1, 2}},
	{"alexnet-64-adam",
	 "alexnet",
	 64,
	 3,
	 {.kind = OPTIMIZER_ADAM, .epsilon = 0.01f, .weight_decay = 0.01f},
	 0.0001f,
	 0.9f,
	 0.999f,
	 {0, 1, 2}},
	{"alexnet-65-adamw",
	 "alexnet",
	 65,
	 4,
	 {.kind = OPTIMIZER_ADAMW, .epsilon = 0.01f, .weight_decay = 0.1f},
	 0.0001f,
	 0.9f,
	 0.999f,
	 {0, 1, 2}},
	{"alexnet-66-sgd", "alexnet", 66, 2, {.kind = OPTIMIZER_SGD, .dampening = 0.2f}, 0.0002f, 0.9f, 0, {0, 1, 2}},
	{"alexnet-67-sgd", "alexnet", 67, 4, {.kind = OPTIMIZER_SGD}, 0.0005f, 0, 0, {0, 1, 2}},
	{"vgg11-32-sgd",
	 "vgg11",
	 32,
	 2,
	 {.kind = OPTIMIZER_SGD, .nesterov = true, .weight_decay = 0.01f},
	 0.00005f,
	 0.9f,
	 0,
	 {32700, 1045, 2325}},
};

static uint64_t sample(const struct parameter *parameter, uint64_t i)
{
	return parameter->count > RULE_SAMPLES ? rule_sample(parameter->name, (uint32_t)i, parameter->count) : i;
}

static const float *golden_tensor(const struct safetensors *file, const char *prefix, const char *name, uint64_t count)
{
	static float values[MAXIMUM_BATCH * CLASSES + RULE_SAMPLES]; // until the next call
	char full[96];
	struct error error = {0};
	snprintf(full, sizeof(full), "%s%s", prefix, name);
	const struct safetensors_entry *entry = safetensors_find(file, full);
	if (entry == NULL || entry->count != count || count > sizeof(values) / sizeof(values[0]))
		fail_msg("the golden file has no %s of %llu elements", full, (unsigned long long)count);
	harness_check(safetensors_read(file, entry, 0, count, values, &error), error);
	return values;
}

static void assert_equals_golden(const char *what, uint64_t count, const float *values, const float *golden,
				 double tolerance)
{
	double expected[MAXIMUM_BATCH * CLASSES + RULE_SAMPLES];
	for (uint64_t i = 0; i < count; i++)
		expected[i] = golden[i];
	harness_assert_close(what, count, values, expected, tolerance);
}

struct run {
	const struct golden *golden;
	struct harness *harness;
	struct model model;
	struct program_spec spec;
	struct program *program;
	struct safetensors *file;
};

static void step(struct run *r, uint64_t number)
{
	const struct device_ops *ops = r->harness->ops;
	struct error error = {0};
	uint8_t images[MAXIMUM_BATCH * 3 * RAW * RAW], labels[MAXIMUM_BATCH];
	float logits[MAXIMUM_BATCH * CLASSES], loss = 0.0f;
	uint32_t batch = r->golden->batch, correct;
	char name[32];
	snprintf(name, sizeof(name), "images %d", r->golden->images[number]);
	rule_fill_bytes(name, batch * 3ull * RAW * RAW, images);
	snprintf(name, sizeof(name), "labels %d", (int)number);
	rule_fill_labels(name, batch, CLASSES, labels);
	harness_check(ops->zero_gradients(r->program, &error), error);
	harness_check(ops->load_images(r->program, 0, images, HARNESS_WAIT, &error), error);
	harness_check(ops->load_labels(r->program, 0, labels, HARNESS_WAIT, &error), error);
	harness_forward(r->harness, r->program, &r->spec, 0, 0);
	harness_check(ops->read_output(r->program, 0, logits, HARNESS_WAIT, &error), error);
	harness_loss(ops, r->program, 0, 0, &loss, &correct);
	if (number == 0) {
		assert_equals_golden("logits", batch * CLASSES, logits,
				     golden_tensor(r->file, "", "logits", batch * CLASSES), 1e-5);
		assert_equals_golden("loss", 1, &loss, golden_tensor(r->file, "", "loss", 1), 1e-5);
	}
	harness_check(ops->loss_backward(r->program, 0, 1.0f, &error), error);
	harness_backward(r->harness, r->program, &r->spec, 0);
}

static void check_gradient(struct run *r, uint32_t index)
{
	struct error error = {0};
	struct parameter parameter;
	model_parameter(&r->model, index, &parameter);
	float *values = harness_floats(parameter.count), sampled[RULE_SAMPLES];
	harness_check(r->harness->ops->read_gradient(r->program, index, values, HARNESS_WAIT, &error), error);
	uint64_t count = parameter.count < RULE_SAMPLES ? parameter.count : RULE_SAMPLES;
	for (uint64_t i = 0; i < count; i++)
		sampled[i] = values[sample(&parameter, i)];
	char what[96];
	snprintf(what, sizeof(what), "gradient of %.40s", parameter.name);
	assert_equals_golden(what, count, sampled, golden_tensor(r->file, "gradient.", parameter.name, count), 1e-5);
	free(values);
}

// The parameter to 1e-5 of its largest, and its change, which is much smaller, as closely as float32 can hold it.
static void check_change(struct run *r, uint32_t index)
{
	struct error error = {0};
	struct parameter parameter;
	model_parameter(&r->model, index, &parameter);
	float *values = harness_floats(parameter.count);
	float *initial = harness_filled(parameter.name, harness_scale(&r->model, &parameter), parameter.count);
	harness_check(r->harness->ops->read_parameter(r->program, index, values, &error), error);
	uint64_t count = parameter.count < RULE_SAMPLES ? parameter.count : RULE_SAMPLES;
	const float *changes = golden_tensor(r->file, "change.", parameter.name, count);
	double largest = 0.0, largest_change = 0.0;
	for (uint64_t i = 0; i < count; i++) {
		largest = fmax(largest, fabs(initial[sample(&parameter, i)]));
		largest_change = fmax(largest_change, fabs(changes[i]));
	}
	for (uint64_t i = 0; i < count; i++) {
		uint64_t s = sample(&parameter, i);
		double difference = fabs((double)values[s] - initial[s] - changes[i]);
		if (!(difference <= 1e-5 * largest && difference <= 1e-4 * largest_change + STEPS * 0x1p-23 * largest))
			fail_msg("change of %s: element %llu changed by %.9g, expected %.9g; largest %.9g",
				 parameter.name, (unsigned long long)s, (double)values[s] - initial[s], changes[i],
				 largest_change);
	}
	free(values);
	free(initial);
}

static void train(const struct device_ops *ops, const struct golden *golden)
{
	struct error error = {0};
	struct run r = {.golden = golden, .harness = harness_open(ops, 2)};
	char path[512];
	const char *source = getenv("PENSTOCK_SOURCE"); // of a bundle, which is unpacked somewhere else
	snprintf(path, sizeof(path), "%s/tests/golden/%s.safetensors", source != NULL ? source : PENSTOCK_SOURCE_DIR,
		 golden->name);
	harness_check(safetensors_open(path, &r.file, &error), error);
	harness_check(models_create_chain(golden->model, golden->image_size, CLASSES, 0.0f, &r.model, &error), error);
	r.spec = harness_spec(&r.model, 0, r.model.layer_count, golden->batch);
	r.spec.optimizer = golden->optimizer;
	memcpy(r.spec.mean, (float[]){0.485f, 0.456f, 0.406f}, sizeof(r.spec.mean));
	memcpy(r.spec.standard_deviation, (float[]){0.229f, 0.224f, 0.225f}, sizeof(r.spec.standard_deviation));
	r.program = harness_program(r.harness, &r.spec);
	uint32_t parameters = model_parameter_count(&r.model);
	assert_int_equal(safetensors_count(r.file), 2 + 2 * parameters);
	for (uint64_t number = 0; number < STEPS; number++) {
		step(&r, number);
		for (uint32_t p = 0; p < parameters && number == 0; p++)
			check_gradient(&r, p);
		struct optimizer_step settings = {
			.step = number,
			.learning_rate = golden->learning_rate,
			.beta1 = golden->beta1,
			.beta2 = golden->beta2,
			.gradient_scale = 1.0f,
		};
		harness_check(ops->optimizer_step(r.program, &settings, &error), error);
	}
	for (uint32_t p = 0; p < parameters; p++)
		check_change(&r, p);
	ops->program_destroy(r.program);
	safetensors_close(r.file);
	harness_close(r.harness);
}

static void steps_alexnet_63_sgd_equal_pytorch(void **state)
{
	train(*state, &goldens[0]);
}

static void steps_alexnet_64_adam_equal_pytorch(void **state)
{
	train(*state, &goldens[1]);
}

static void steps_alexnet_65_adamw_equal_pytorch(void **state)
{
	train(*state, &goldens[2]);
}

static void steps_alexnet_66_sgd_equal_pytorch(void **state)
{
	train(*state, &goldens[3]);
}

static void steps_alexnet_67_sgd_equal_pytorch(void **state)
{
	train(*state, &goldens[4]);
}

static void steps_vgg11_32_sgd_equal_pytorch(void **state)
{
	train(*state, &goldens[5]);
}

static const struct suite_case cases[] = {
	SUITE_CASE(steps_alexnet_63_sgd_equal_pytorch),   SUITE_CASE(steps_alexnet_64_adam_equal_pytorch),
	SUITE_CASE(steps_alexnet_65_adamw_equal_pytorch), SUITE_CASE(steps_alexnet_66_sgd_equal_pytorch),
	SUITE_CASE(steps_alexnet_67_sgd_equal_pytorch),   SUITE_CASE(steps_vgg11_32_sgd_equal_pytorch),
};

int main(void)
{
	return suite_run("device golden", cases, sizeof(cases) / sizeof(cases[0]));
}
