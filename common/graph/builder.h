// Builds a graph, one operation after the other, as a network's forward function reads. A builder remembers its first error:
// calls after it do nothing, and builder_finish reports it, so that a network is written without a check at each line.
//
// Values are ids; each function returns the id of its output, whose name is the operation's. Parameters get the operation's name
// with ".weight" and ".bias" behind it. One thread a builder.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/graph/graph.h"

struct builder;

// `name`: of the model. ERROR_OUT_OF_MEMORY.
bool builder_create(const char *name, struct builder **ret_builder, struct error *error);
void builder_destroy(struct builder *builder); // takes NULL
// Takes the builder. Returns owned, checked.
bool builder_finish(struct builder *builder, struct graph **ret_graph, struct error *error);

// An input of the graph; before all operations.
uint32_t builder_input(struct builder *builder, const char *name, enum value_type type, uint32_t rank,
		       const uint32_t *dims);
const struct value *builder_value(const struct builder *builder,
				  uint32_t value); // its shape so far; until the next call

struct builder_convolution {
	uint32_t channels;                // of the output
	uint32_t kernel, stride, padding; // square; stride 0: 1
	uint32_t groups, dilation;        // 0: 1
	bool no_bias;
	struct initializer weight, bias;
};
uint32_t builder_convolution(struct builder *builder, const char *name, uint32_t x,
			     const struct builder_convolution *convolution);
uint32_t builder_linear(struct builder *builder, const char *name, uint32_t x, uint32_t features,
			struct initializer weight, struct initializer bias);
// Any operation: `attributes` and parameters as operation.h says. Outputs are named after it; of several, "name.0", "name.1".
// Returns the first output's id; the others follow it.
struct builder_operation {
	enum operation_kind kind;
	const char *name;
	union attributes attributes;
	uint32_t input_count, output_count, parameter_count, buffer_count; // output_count 0: 1
	uint32_t inputs[OPERATION_MAXIMUM_INPUTS];
	uint32_t parameters[OPERATION_MAXIMUM_PARAMETERS]; // of builder_parameter
	uint32_t buffers[OPERATION_MAXIMUM_BUFFERS];       // of builder_buffer
};
uint32_t builder_add(struct builder *builder, const struct builder_operation *operation);
// A parameter for one or several operations.
uint32_t builder_parameter(struct builder *builder, const char *name, uint32_t rank, const uint32_t *dims,
			   struct initializer initializer);
uint32_t builder_buffer(struct builder *builder, const char *name, uint32_t rank, const uint32_t *dims,
			struct initializer initializer);

uint32_t builder_relu(struct builder *builder, const char *name, uint32_t x);
uint32_t builder_sum(struct builder *builder, const char *name, uint32_t a, uint32_t b);
uint32_t builder_dropout(struct builder *builder, const char *name, uint32_t x, float probability);
uint32_t builder_flatten(struct builder *builder, const char *name, uint32_t x); // all dimensions
uint32_t builder_max_pool(struct builder *builder, const char *name, uint32_t x, uint32_t kernel, uint32_t stride,
			  uint32_t padding);
uint32_t builder_adaptive_average_pool(struct builder *builder, const char *name, uint32_t x, uint32_t size);
uint32_t builder_batch_norm(struct builder *builder, const char *name, uint32_t x); // with PyTorch's defaults
uint32_t builder_layer_norm(struct builder *builder, const char *name, uint32_t x, float epsilon);
// Mean over the micro-batch. `smoothing` 0, nothing ignored: torch.nn.CrossEntropyLoss() as it is.
uint32_t builder_cross_entropy(struct builder *builder, const char *name, uint32_t logits, uint32_t targets);
