// The CPU device's memory (stage_server/device/cpu): oneDNN's blocked tensors in regions of whole pages. See memory_rules.h.
#include "coordinator/plan/memory_rules.h"

enum {
	BLOCK = 128,            // device/cpu/program.h
	PAGE = 4096,            // device/cpu/memory.h
	SUMS_CHUNK = 16 * 1024, // floats of a gradient whose squares are summed at once
};
// What Winograd kernels may take as scratch memory (device/cpu/convolution_methods.c).
#define SCRATCH_BYTES (UINT64_C(128) << 20)

static struct shape input(const struct memory_context *c)
{
	return c->model->layers[c->stage->first_layer].input;
}

static uint64_t kept_of_flatten(const struct memory_context *c, uint32_t i)
{
	return 0;
}

// It reads rows, and what comes from another layer lies in blocks of channels.
static uint64_t kept_of_average_pool(const struct memory_context *c, uint32_t i)
{
	const struct layer *layer = &c->model->layers[i];
	bool is_identity = layer->input.height == layer->output.height && layer->input.width == layer->output.width;
	return (i > c->stage->first_layer ? memory_tensor(c, layer->input) : 0) +
	       (is_identity ? 0 : memory_tensor(c, layer->output));
}

// Convolution and linear layer compute it with their own.
static bool relu_is_in_place(const struct memory_context *c, uint32_t i)
{
	const struct layer *layers = c->model->layers;
	return i == c->stage->first_layer ||
	       (layers[i - 1].kind != LAYER_CONVOLUTION && layers[i - 1].kind != LAYER_LINEAR);
}

// A weight's gradient of one micro-batch; the weights of convolutions as the input's gradient wants them; what sums of squares and
// losses are added up in; and in plain order what is widened and narrowed at a boundary.
static uint64_t workspace(const struct memory_context *c)
{
	uint64_t bytes = 0, most = 0, squares = 0;
	bool has_convolution = false;
	for (uint32_t i = c->stage->first_layer; i < c->stage->end_layer; i++) {
		const struct layer *layer = &c->model->layers[i];
		squares = memory_larger(squares, (layer_parameter_count(layer) / SUMS_CHUNK + 1) * sizeof(double));
		if (layer->kind != LAYER_CONVOLUTION)
			continue;
		has_convolution = true;
		most = memory_larger(most,
				     memory_block(c, memory_weight_bytes(layer) + BLOCK + memory_bias_bytes(layer)));
		bytes += i > 0 ? memory_block(c, memory_weight_bytes(layer)) : 0;
	}
	if (c->options->boundary_type != DATA_FLOAT32)
		bytes += memory_larger(memory_tensor(c, c->model->layers[c->stage->first_layer].input),
				       memory_tensor(c, c->model->layers[c->stage->end_layer - 1].output));
	uint64_t losses = memory_is_last(c) ? sizeof(double) * 2 * c->options->micro_batch_size : 0;
	squares *= c->options->optimizer.kind == OPTIMIZER_LAMB ? 2 : 1; // of values and of updates
	return bytes + most + memory_block(c, squares) + memory_block(c, losses) +
	       (has_convolution ? SCRATCH_BYTES : 0);
}

const struct memory_rules memory_cpu = {
	.tensor_unit = BLOCK,
	.region_unit = PAGE,
	.input = input,
	.kept_of_flatten = kept_of_flatten,
	.kept_of_average_pool = kept_of_average_pool,
	.relu_is_in_place = relu_is_in_place,
	.workspace = workspace,
	.keeps_labels = true,
	.holds_exchange = true,
};
