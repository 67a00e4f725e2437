// The CUDA device's memory (stage_server/device/cuda): tensors with their channels last, nothing rounded. See memory_rules.h.
#include "coordinator/plan/memory_rules.h"

// What kernels may take as scratch memory (device/cuda/program.h); in float32 a convolution as much as its own tensors and the second.
#define SCRATCH_BYTES (UINT64_C(256) << 20)
#define SUMS_BYTES    (UINT64_C(32) << 20)

// Images get more channels where tensor cores read them.
static struct shape input(const struct memory_context *c)
{
	struct shape shape = c->model->layers[c->stage->first_layer].input;
	if (c->stage->first_layer == 0 && (c->element < 4 || c->options->allow_tf32))
		shape.channels = c->element < 4 ? 8 : 4;
	return shape;
}

// It puts the channels first, which with one pixel is only another name.
static uint64_t kept_of_flatten(const struct memory_context *c, uint32_t i)
{
	const struct layer *layer = &c->model->layers[i];
	return layer->input.height * layer->input.width > 1 ? memory_tensor(c, layer->output) : 0;
}

static uint64_t kept_of_average_pool(const struct memory_context *c, uint32_t i)
{
	return memory_tensor(c, c->model->layers[i].output);
}

static bool relu_is_in_place(const struct memory_context *c, uint32_t i)
{
	return true;
}

static uint64_t scratch(const struct memory_context *c, const struct layer *layer)
{
	bool rearranges = layer->kind == LAYER_CONVOLUTION && c->element == 4 && !c->options->allow_tf32;
	return memory_larger(SCRATCH_BYTES, rearranges
						    ? memory_tensor(c, layer->input) + memory_tensor(c, layer->output) +
							      memory_weight_bytes(layer) + SUMS_BYTES
						    : 0);
}

// A weight in another layout, the kernels' scratch memory, two buffers each for what comes in and goes out, and, with replicas, one
// each way in which a convolution's gradient changes its layout.
static uint64_t workspace(const struct memory_context *c)
{
	uint64_t temporary = 0, most_scratch = 0, gradient = 0, n = c->options->micro_batch_size,
		 pixels = c->options->raw_image_size;
	for (uint32_t i = c->stage->first_layer; i < c->stage->end_layer; i++) {
		const struct layer *layer = &c->model->layers[i];
		most_scratch = memory_larger(most_scratch, scratch(c, layer));
		if (layer->kind == LAYER_CONVOLUTION || layer->kind == LAYER_LINEAR)
			temporary = memory_larger(temporary, memory_weight_bytes(layer));
		if (layer->kind == LAYER_CONVOLUTION && c->options->data_parallel_size > 1)
			gradient = memory_larger(gradient, memory_weight_bytes(layer));
	}
	bool is_first = c->stage->first_layer == 0;
	uint64_t in = is_first ? n * 3 * pixels * pixels : c->stage->input_bytes;
	uint64_t out = shape_count(c->model->layers[c->stage->end_layer - 1].output) * n *
		       data_type_bytes(c->options->boundary_type);
	return temporary + most_scratch + 2 * gradient + 2 * memory_larger(in, out) +
	       2 * memory_larger(is_first ? 0 : in, out);
}

const struct memory_rules memory_cuda = {
	.tensor_unit = 1,
	.region_unit = 1,
	.input = input,
	.kept_of_flatten = kept_of_flatten,
	.kept_of_average_pool = kept_of_average_pool,
	.relu_is_in_place = relu_is_in_place,
	.workspace = workspace,
	.run_ends_are_kept = true,
	.recomputes_in_workspace = true,
};
