// A small network with a residual connection around two convolutions, for the tests of cuts and of the backward pass.
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/graph/builder.h"

enum { STEM, CONV1, RELU1, CONV2, ADD, POOL, FLATTEN, FC, LOSS, OPERATIONS };
enum { LABELS, IMAGES, OF_STEM, OF_CONV1, OF_RELU1, OF_CONV2, OF_ADD, OF_POOL, OF_FLATTEN, OF_FC };

static inline struct graph *residual_create(void)
{
	struct builder *b = NULL;
	struct graph *graph = NULL;
	struct error error = {0};
	const uint32_t dims[3] = {3, 16, 16};
	const struct builder_convolution convolution = {.channels = 8,
							.kernel = 3,
							.padding = 1,
							.weight = initializer_kaiming_normal(72),
							.bias = initializer_constant(0)};
	assert_true(builder_create("residual", &b, &error));
	uint32_t labels = builder_input(b, "labels", VALUE_INT32, 0, dims);
	uint32_t x = builder_convolution(b, "stem", builder_input(b, "images", VALUE_COMPUTE, 3, dims), &convolution);
	uint32_t y = builder_convolution(b, "conv1", x, &convolution);
	y = builder_convolution(b, "conv2", builder_relu(b, "relu1", y), &convolution);
	y = builder_sum(b, "add", y, x);
	y = builder_flatten(b, "flatten", builder_adaptive_average_pool(b, "pool", y, 1));
	y = builder_linear(b, "fc", y, 10, initializer_default(8), initializer_default(8));
	builder_cross_entropy(b, "loss", y, labels);
	if (!builder_finish(b, &graph, &error))
		fail_msg("%s", error.message);
	assert_int_equal(graph->operation_count, OPERATIONS);
	return graph;
}
