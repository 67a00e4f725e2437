// What the tests of devices share: an open device, programs filled by rule, passes over all
// layers of a program, and comparisons. Failures end the cmocka test that called.
#pragma once

#include "stage_server/device/device.h"

struct harness {
	const struct device_ops *ops;
	struct device *device;
};

// Sanitizers keep memory of their own, and ThreadSanitizer cannot see how a team of threads (libgomp) synchronises.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HARNESS_IS_SANITIZED 1
#else
#define HARNESS_IS_SANITIZED 0
#endif

// One thread under ThreadSanitizer. Programs use the first of their kernels, unless a test's spec has a chooser.
struct harness *harness_open(const struct device_ops *ops, uint32_t threads);
void harness_close(struct harness *harness);

// A network of every layer kind with channel counts that fill vectors and that do not; `dropout` of both dropouts.
void harness_small_model(float dropout, struct model *ret_model);

// A spec of layers [first, end) in training with one micro-batch and one slot; SGD with momentum.
struct program_spec harness_spec(const struct model *model, uint32_t first, uint32_t end, uint32_t n);
// Creates it and fills each parameter by rule under its name.
struct program *harness_program(struct harness *harness, const struct program_spec *spec);
float harness_scale(const struct model *model, const struct parameter *parameter); // of a parameter's rule
void harness_forward(struct harness *harness, struct program *program, const struct program_spec *spec, uint32_t slot,
		     uint64_t first_sample);
// The loss of the slot as that of `micro_batch`, and read back.
void harness_loss(const struct device_ops *ops, struct program *program, uint32_t slot, uint32_t micro_batch,
		  float *ret_loss, uint32_t *ret_correct);
void harness_backward(struct harness *harness, struct program *program, const struct program_spec *spec, uint32_t slot);

// What a program of the spec would allocate; nothing is allocated.
struct memory_use harness_plan_memory(struct harness *harness, const struct program_spec *spec);

// The transfer is over when the operation returns.
#define HARNESS_WAIT ((struct device_completion){0})

float *harness_floats(uint64_t count);                                // zeroed, owned; never NULL
float *harness_filled(const char *name, float scale, uint64_t count); // by rule
// Fails unless max |value - expected| <= tolerance * max |expected|.
void harness_assert_close(const char *what, uint64_t count, const float *values, const double *expected,
			  double tolerance);
#define harness_check(call, error)                                                                                     \
	do {                                                                                                           \
		if (!(call))                                                                                           \
			fail_msg("%s: %s", #call, (error).message);                                                    \
	} while (0)
