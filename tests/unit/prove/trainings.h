// A training of a tiny network that no daemon did: the same numbers each time, for the tests of what compares them.
#pragma once

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/prove/capture.h"

enum { TRAINING_STEPS = 3 };

// A convolution, its ReLU and a linear layer: four parameters.
static inline void training_model(struct model *ret_model)
{
	*ret_model = (struct model){.name = "tiny",
				    .image_size = 4,
				    .classes = 10,
				    .layer_count = 4,
				    .layers = {{.kind = LAYER_CONVOLUTION,
						.name = "features.0",
						.in_channels = 3,
						.out_channels = 2,
						.kernel_size = 3,
						.stride = 1,
						.padding = 1,
						.initializer = INITIALIZER_PYTORCH_DEFAULT},
					       {.kind = LAYER_RELU, .name = "features.1"},
					       {.kind = LAYER_FLATTEN, .name = "flatten"},
					       {.kind = LAYER_LINEAR,
						.name = "classifier.0",
						.in_channels = 32,
						.out_channels = 10,
						.initializer = INITIALIZER_PYTORCH_DEFAULT}}};
	struct error error;
	if (!model_infer_shapes(ret_model, &error))
		abort();
}

static inline struct capture *training_create(void)
{
	struct model model;
	struct capture *capture = NULL;
	struct error error;
	training_model(&model);
	bool ok = capture_create(&model, TRAINING_STEPS, &capture, &error);
	for (uint64_t s = 0; s < TRAINING_STEPS && ok; s++) {
		double squares[4];
		for (int i = 0; i < 4; i++)
			squares[i] = 0.1 + (double)s + 0.01 * i;
		struct job_step step = {.step = s,
					.loss = 2.3 - 0.1 * (double)s,
					.gradient_norm = 1.5,
					.gradient_squares = squares,
					.correct = (uint32_t)s};
		ok = capture_add_step(capture, &step, &error);
	}
	for (uint32_t i = 0; i < 4 && ok; i++) {
		struct parameter parameter;
		model_parameter(&model, i, &parameter);
		float *values = malloc(parameter.count * sizeof(*values));
		if (values == NULL)
			abort();
		model_draw_parameter(&model, &parameter, 1, values);
		ok = capture_put(capture, i, 0, values, parameter.count * sizeof(*values), &error);
		free(values);
	}
	if (!ok || !capture_check_whole(capture, &error))
		abort();
	return capture;
}
