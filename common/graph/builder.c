// See builder.h. The graph that is built has room for as much as a graph may have, most of it never touched; builder_finish
// returns a copy of the right size.
#include "common/graph/builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/graph/rules.h"

struct builder {
	struct graph *graph;
	struct error error; // the first one
};

static bool failed(const struct builder *builder)
{
	return builder->error.code != ERROR_NONE;
}

static void set_name(struct builder *builder, char into[GRAPH_NAME_SIZE], const char *name)
{
	if (snprintf(into, GRAPH_NAME_SIZE, "%s", name) >= GRAPH_NAME_SIZE && !failed(builder))
		error_set(&builder->error, ERROR_USAGE, "the name %s is longer than %d characters", name,
			  GRAPH_NAME_SIZE - 1);
}

// The next id, or 0 and an error where there is no room.
static uint32_t next_id(struct builder *builder, const char *what, uint32_t *count, uint32_t maximum)
{
	if (*count < maximum)
		return (*count)++;
	if (!failed(builder))
		error_set(&builder->error, ERROR_USAGE, "the graph has over %u %s", maximum, what);
	return 0;
}

bool builder_create(const char *name, struct builder **ret_builder, struct error *error)
{
	struct builder *builder = calloc(1, sizeof(*builder));
	if (builder == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory for a graph");
	if (!graph_create(GRAPH_MAXIMUM_OPERATIONS, GRAPH_MAXIMUM_VALUES, GRAPH_MAXIMUM_TENSORS, GRAPH_MAXIMUM_TENSORS,
			  0, &builder->graph, error)) {
		free(builder);
		return false;
	}
	struct graph *graph = builder->graph;
	graph->operation_count = graph->value_count = graph->parameter_count = graph->buffer_count = 0;
	set_name(builder, graph->name, name);
	*ret_builder = builder;
	return true;
}

void builder_destroy(struct builder *builder)
{
	if (builder == NULL)
		return;
	graph_destroy(builder->graph);
	free(builder);
}

bool builder_finish(struct builder *builder, struct graph **ret_graph, struct error *error)
{
	struct graph *graph = NULL;
	bool ok = !failed(builder);
	if (!ok && error != NULL)
		*error = builder->error;
	ok = ok && graph_copy(builder->graph, &graph, error) && graph_check(graph, error);
	builder_destroy(builder);
	if (!ok) {
		graph_destroy(graph);
		return false;
	}
	*ret_graph = graph;
	return true;
}

static uint32_t add_value(struct builder *builder, const char *name)
{
	uint32_t id = next_id(builder, "values", &builder->graph->value_count, GRAPH_MAXIMUM_VALUES);
	set_name(builder, builder->graph->values[id].name, name);
	return id;
}

uint32_t builder_input(struct builder *builder, const char *name, enum value_type type, uint32_t rank,
		       const uint32_t *dims)
{
	uint32_t id = add_value(builder, name);
	struct value *value = &builder->graph->values[id];
	value->type = type;
	value->per_sample = true;
	value->rank = rank;
	memcpy(value->dims, dims, rank * sizeof(dims[0]));
	return id;
}

const struct value *builder_value(const struct builder *builder, uint32_t value)
{
	return &builder->graph->values[value];
}

static void fill_tensor(struct builder *builder, struct tensor *tensor, const char *name, uint32_t rank,
			const uint32_t *dims, struct initializer initializer)
{
	set_name(builder, tensor->name, name);
	tensor->rank = rank;
	memcpy(tensor->dims, dims, rank * sizeof(dims[0]));
	tensor->initializer = initializer;
}

uint32_t builder_parameter(struct builder *builder, const char *name, uint32_t rank, const uint32_t *dims,
			   struct initializer initializer)
{
	uint32_t id = next_id(builder, "parameters", &builder->graph->parameter_count, GRAPH_MAXIMUM_TENSORS);
	fill_tensor(builder, &builder->graph->parameters[id], name, rank, dims, initializer);
	return id;
}

uint32_t builder_buffer(struct builder *builder, const char *name, uint32_t rank, const uint32_t *dims,
			struct initializer initializer)
{
	uint32_t id = next_id(builder, "buffers", &builder->graph->buffer_count, GRAPH_MAXIMUM_TENSORS);
	fill_tensor(builder, &builder->graph->buffers[id], name, rank, dims, initializer);
	return id;
}

// "layer1.0.conv1" and "weight" make "layer1.0.conv1.weight".
static const char *join(char into[2 * GRAPH_NAME_SIZE], const char *name, const char *end)
{
	snprintf(into, (size_t)2 * GRAPH_NAME_SIZE, "%s.%s", name, end);
	return into;
}

static void add_outputs(struct builder *builder, struct operation *operation)
{
	for (uint32_t i = 0; i < operation->output_count; i++) {
		char name[2 * GRAPH_NAME_SIZE], number[16];
		snprintf(number, sizeof(number), "%u", i);
		operation->outputs[i] = add_value(
			builder, operation->output_count == 1 ? operation->name : join(name, operation->name, number));
	}
}

uint32_t builder_add(struct builder *builder, const struct builder_operation *operation)
{
	if (failed(builder))
		return 0;
	uint32_t id = next_id(builder, "operations", &builder->graph->operation_count, GRAPH_MAXIMUM_OPERATIONS);
	struct operation *added = &builder->graph->operations[id];
	set_name(builder, added->name, operation->name);
	added->kind = operation->kind;
	added->attributes = operation->attributes;
	added->input_count = operation->input_count;
	added->output_count = operation->output_count > 0 ? operation->output_count : 1;
	added->parameter_count = operation->parameter_count;
	added->buffer_count = operation->buffer_count;
	memcpy(added->inputs, operation->inputs, sizeof(added->inputs));
	memcpy(added->parameters, operation->parameters, sizeof(added->parameters));
	memcpy(added->buffers, operation->buffers, sizeof(added->buffers));
	add_outputs(builder, added);
	if (!failed(builder))
		rules_infer(builder->graph, id, &builder->error);
	return added->outputs[0];
}

static uint32_t add_simple(struct builder *builder, enum operation_kind kind, const char *name, uint32_t x,
			   union attributes attributes)
{
	const struct builder_operation operation = {
		.kind = kind, .name = name, .attributes = attributes, .input_count = 1, .inputs = {x}};
	return builder_add(builder, &operation);
}

static uint32_t or_one(uint32_t number)
{
	return number > 0 ? number : 1;
}

static struct window square(uint32_t kernel, uint32_t stride, uint32_t padding, uint32_t dilation)
{
	stride = or_one(stride);
	return (struct window){{kernel, kernel}, {stride, stride}, {padding, padding}, {dilation, dilation}};
}

uint32_t builder_convolution(struct builder *builder, const char *name, uint32_t x,
			     const struct builder_convolution *convolution)
{
	char full[2 * GRAPH_NAME_SIZE];
	if (failed(builder))
		return 0;
	uint32_t groups = or_one(convolution->groups), channels = builder_value(builder, x)->dims[0];
	const uint32_t dims[4] = {convolution->channels, channels / groups, convolution->kernel, convolution->kernel};
	struct builder_operation operation = {
		.kind = OPERATION_CONVOLUTION,
		.name = name,
		.attributes.convolution = {square(convolution->kernel, convolution->stride, convolution->padding,
						  or_one(convolution->dilation)),
					   groups},
		.input_count = 1,
		.inputs = {x},
		.parameter_count = convolution->no_bias ? 1 : 2,
	};
	operation.parameters[0] = builder_parameter(builder, join(full, name, "weight"), 4, dims, convolution->weight);
	if (!convolution->no_bias)
		operation.parameters[1] =
			builder_parameter(builder, join(full, name, "bias"), 1, dims, convolution->bias);
	return builder_add(builder, &operation);
}

uint32_t builder_linear(struct builder *builder, const char *name, uint32_t x, uint32_t features,
			struct initializer weight, struct initializer bias)
{
	char full[2 * GRAPH_NAME_SIZE];
	if (failed(builder))
		return 0;
	const struct value *input = builder_value(builder, x);
	const uint32_t dims[2] = {features, input->rank > 0 ? input->dims[input->rank - 1] : 0};
	struct builder_operation operation = {
		.kind = OPERATION_LINEAR, .name = name, .input_count = 1, .inputs = {x}, .parameter_count = 2};
	operation.parameters[0] = builder_parameter(builder, join(full, name, "weight"), 2, dims, weight);
	operation.parameters[1] = builder_parameter(builder, join(full, name, "bias"), 1, dims, bias);
	return builder_add(builder, &operation);
}

uint32_t builder_relu(struct builder *builder, const char *name, uint32_t x)
{
	return add_simple(builder, OPERATION_RELU, name, x, (union attributes){0});
}

uint32_t builder_sum(struct builder *builder, const char *name, uint32_t a, uint32_t b)
{
	const struct builder_operation operation = {
		.kind = OPERATION_ADD, .name = name, .input_count = 2, .inputs = {a, b}};
	return builder_add(builder, &operation);
}

uint32_t builder_dropout(struct builder *builder, const char *name, uint32_t x, float probability)
{
	return add_simple(builder, OPERATION_DROPOUT, name, x, (union attributes){.dropout = {probability}});
}

uint32_t builder_flatten(struct builder *builder, const char *name, uint32_t x)
{
	if (failed(builder))
		return 0;
	uint32_t rank = builder_value(builder, x)->rank;
	return add_simple(builder, OPERATION_FLATTEN, name, x, (union attributes){.flatten = {0, rank}});
}

uint32_t builder_max_pool(struct builder *builder, const char *name, uint32_t x, uint32_t kernel, uint32_t stride,
			  uint32_t padding)
{
	return add_simple(builder, OPERATION_MAX_POOL, name, x,
			  (union attributes){.pool = {.window = square(kernel, stride, padding, 1)}});
}

uint32_t builder_adaptive_average_pool(struct builder *builder, const char *name, uint32_t x, uint32_t size)
{
	return add_simple(builder, OPERATION_ADAPTIVE_AVERAGE_POOL, name, x,
			  (union attributes){.adaptive_pool = {{size, size}}});
}

// Weight 1 and bias 0, as both kinds of normalisation begin.
static void add_affine(struct builder *builder, struct builder_operation *operation, uint32_t length)
{
	char full[2 * GRAPH_NAME_SIZE];
	operation->parameter_count = 2;
	operation->parameters[0] =
		builder_parameter(builder, join(full, operation->name, "weight"), 1, &length, initializer_constant(1));
	operation->parameters[1] =
		builder_parameter(builder, join(full, operation->name, "bias"), 1, &length, initializer_constant(0));
}

uint32_t builder_batch_norm(struct builder *builder, const char *name, uint32_t x)
{
	char full[2 * GRAPH_NAME_SIZE];
	if (failed(builder))
		return 0;
	uint32_t channels = builder_value(builder, x)->dims[0];
	struct builder_operation operation = {.kind = OPERATION_BATCH_NORM,
					      .name = name,
					      .attributes.norm = {1e-5f, 0.1f},
					      .input_count = 1,
					      .inputs = {x},
					      .buffer_count = 2};
	add_affine(builder, &operation, channels);
	operation.buffers[0] =
		builder_buffer(builder, join(full, name, "running_mean"), 1, &channels, initializer_constant(0));
	operation.buffers[1] =
		builder_buffer(builder, join(full, name, "running_var"), 1, &channels, initializer_constant(1));
	return builder_add(builder, &operation);
}

uint32_t builder_layer_norm(struct builder *builder, const char *name, uint32_t x, float epsilon)
{
	if (failed(builder))
		return 0;
	const struct value *input = builder_value(builder, x);
	uint32_t length = input->rank > 0 ? input->dims[input->rank - 1] : 0;
	struct builder_operation operation = {.kind = OPERATION_LAYER_NORM,
					      .name = name,
					      .attributes.norm = {.epsilon = epsilon},
					      .input_count = 1,
					      .inputs = {x}};
	add_affine(builder, &operation, length);
	return builder_add(builder, &operation);
}

uint32_t builder_cross_entropy(struct builder *builder, const char *name, uint32_t logits, uint32_t targets)
{
	const struct builder_operation operation = {.kind = OPERATION_CROSS_ENTROPY,
						    .name = name,
						    .input_count = 2,
						    .output_count = 2,
						    .inputs = {logits, targets}};
	return builder_add(builder, &operation);
}
