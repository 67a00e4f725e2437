// GPT-2 as Hugging Face's GPT2LMHeadModel has it: Radford et al., "Language models are unsupervised multitask learners" (2019). Parameters
// have the names of its state_dict; linear layers hold their weights as (in, out) (Conv1D); lm_head shares wte's. Initial values are those of
// GPT2PreTrainedModel._init_weights.
#include "coordinator/models/gpt2.h"

#include <math.h>
#include <stdio.h>

#include "common/graph/builder.h"

const struct gpt2_options gpt2_small = {
	.layers = 12, .heads = 12, .width = 768, .words = 50257, .positions = 1024, .tokens = 1024, .dropout = 0.1f};
const struct gpt2_options gpt2_tiny = {
	.layers = 4, .heads = 4, .width = 64, .words = 256, .positions = 64, .tokens = 64, .dropout = 0.1f};

static const float epsilon = 1e-5f;

// The network under construction; names of a layer's operations are below "transformer.h.0.".
struct gpt2 {
	struct builder *builder;
	const struct gpt2_options *options;
	char path[32];
	char name[GRAPH_NAME_SIZE];
};

static const char *below(struct gpt2 *gpt2, const char *name)
{
	snprintf(gpt2->name, sizeof(gpt2->name), "%s%s", gpt2->path, name);
	return gpt2->name;
}

static uint32_t apply(struct gpt2 *gpt2, enum operation_kind kind, const char *name, uint32_t x,
		      union attributes attributes)
{
	const struct builder_operation operation = {
		.kind = kind, .name = below(gpt2, name), .attributes = attributes, .input_count = 1, .inputs = {x}};
	return builder_add(gpt2->builder, &operation);
}

static uint32_t parameter(struct gpt2 *gpt2, const char *name, const char *end, uint32_t rank, uint32_t rows,
			  uint32_t columns, struct initializer initializer)
{
	char full[GRAPH_NAME_SIZE];
	const uint32_t dims[2] = {rows, columns};
	snprintf(full, sizeof(full), "%s%s.%s", gpt2->path, name, end);
	return builder_parameter(gpt2->builder, full, rank, dims, initializer);
}

// x (tokens, in) times a weight of (in, out), and a bias.
static uint32_t convolve_1d(struct gpt2 *gpt2, const char *name, uint32_t x, uint32_t in, uint32_t out, float deviation)
{
	struct builder_operation operation = {.kind = OPERATION_LINEAR,
					      .attributes.linear = {true},
					      .input_count = 1,
					      .inputs = {x},
					      .parameter_count = 2};
	operation.parameters[0] = parameter(gpt2, name, "weight", 2, in, out, initializer_normal(deviation));
	operation.parameters[1] = parameter(gpt2, name, "bias", 1, out, 0, initializer_constant(0));
	operation.name = below(gpt2, name);
	return builder_add(gpt2->builder, &operation);
}

static uint32_t dropout(struct gpt2 *gpt2, const char *name, uint32_t x)
{
	return builder_dropout(gpt2->builder, below(gpt2, name), x, gpt2->options->dropout);
}

// (tokens, width) to (heads, tokens, width / heads).
static uint32_t split_heads(struct gpt2 *gpt2, const char *reshape, const char *permute, uint32_t x)
{
	const struct gpt2_options *o = gpt2->options;
	union attributes shape = {.reshape = {3, {o->tokens, o->heads, o->width / o->heads}}};
	union attributes axes = {.permute = {{1, 0, 2}}};
	return apply(gpt2, OPERATION_PERMUTE, permute, apply(gpt2, OPERATION_RESHAPE, reshape, x, shape), axes);
}

static uint32_t merge_heads(struct gpt2 *gpt2, uint32_t x)
{
	union attributes axes = {.permute = {{1, 0, 2}}};
	union attributes shape = {.reshape = {2, {gpt2->options->tokens, gpt2->options->width}}};
	x = apply(gpt2, OPERATION_PERMUTE, "attn.merge.permute", x, axes);
	return apply(gpt2, OPERATION_RESHAPE, "attn.merge", x, shape);
}

static uint32_t build_attention(struct gpt2 *gpt2, uint32_t x)
{
	const struct gpt2_options *o = gpt2->options;
	x = convolve_1d(gpt2, "attn.c_attn", x, o->width, 3 * o->width, 0.02f);
	struct builder_operation split = {.kind = OPERATION_SPLIT,
					  .name = below(gpt2, "attn.split"),
					  .attributes.axis = {1},
					  .input_count = 1,
					  .output_count = 3,
					  .inputs = {x}};
	uint32_t first = builder_add(gpt2->builder, &split);
	struct builder_operation attention = {
		.kind = OPERATION_ATTENTION,
		.attributes.attention = {.causal = true, .probability = o->dropout},
		.input_count = 3,
	};
	attention.inputs[0] = split_heads(gpt2, "attn.query.reshape", "attn.query", first);
	attention.inputs[1] = split_heads(gpt2, "attn.key.reshape", "attn.key", first + 1);
	attention.inputs[2] = split_heads(gpt2, "attn.value.reshape", "attn.value", first + 2);
	attention.name = below(gpt2, "attn.attention");
	x = merge_heads(gpt2, builder_add(gpt2->builder, &attention));
	float deviation = (float)(0.02 / sqrt(2.0 * o->layers)); // of what is added to the residual
	x = convolve_1d(gpt2, "attn.c_proj", x, o->width, o->width, deviation);
	return dropout(gpt2, "attn.resid_dropout", x);
}

static uint32_t build_mlp(struct gpt2 *gpt2, uint32_t x)
{
	const struct gpt2_options *o = gpt2->options;
	x = convolve_1d(gpt2, "mlp.c_fc", x, o->width, 4 * o->width, 0.02f);
	x = apply(gpt2, OPERATION_GELU, "mlp.act", x, (union attributes){.gelu = {true}});
	x = convolve_1d(gpt2, "mlp.c_proj", x, 4 * o->width, o->width, (float)(0.02 / sqrt(2.0 * o->layers)));
	return dropout(gpt2, "mlp.dropout", x);
}

static uint32_t build_layer(struct gpt2 *gpt2, uint32_t x)
{
	uint32_t y = build_attention(gpt2, builder_layer_norm(gpt2->builder, below(gpt2, "ln_1"), x, epsilon));
	x = builder_sum(gpt2->builder, below(gpt2, "attn.add"), y, x);
	y = build_mlp(gpt2, builder_layer_norm(gpt2->builder, below(gpt2, "ln_2"), x, epsilon));
	return builder_sum(gpt2->builder, below(gpt2, "mlp.add"), y, x);
}

static uint32_t embed(struct gpt2 *gpt2, enum operation_kind kind, const char *name, uint32_t tokens, uint32_t rows,
		      uint32_t *ret_weight)
{
	struct builder_operation operation = {.kind = kind, .input_count = 1, .inputs = {tokens}, .parameter_count = 1};
	*ret_weight = operation.parameters[0] =
		parameter(gpt2, name, "weight", 2, rows, gpt2->options->width, initializer_normal(0.02f));
	operation.name = below(gpt2, name);
	return builder_add(gpt2->builder, &operation);
}

static void build(struct gpt2 *gpt2)
{
	const struct gpt2_options *o = gpt2->options;
	struct builder *builder = gpt2->builder;
	uint32_t words, positions;
	uint32_t tokens = builder_input(builder, "tokens", VALUE_INT32, 1, &o->tokens);
	uint32_t targets = builder_input(builder, "targets", VALUE_INT32, 1, &o->tokens);
	snprintf(gpt2->path, sizeof(gpt2->path), "transformer.");
	uint32_t x = embed(gpt2, OPERATION_EMBEDDING, "wte", tokens, o->words, &words);
	uint32_t p = embed(gpt2, OPERATION_POSITION_EMBEDDING, "wpe", tokens, o->positions, &positions);
	x = dropout(gpt2, "drop", builder_sum(builder, "transformer.add", x, p));
	for (uint32_t i = 0; i < o->layers; i++) {
		snprintf(gpt2->path, sizeof(gpt2->path), "transformer.h.%u.", i);
		x = build_layer(gpt2, x);
	}
	x = builder_layer_norm(builder, "transformer.ln_f", x, epsilon);
	const struct builder_operation head = {.kind = OPERATION_LINEAR,
					       .name = "lm_head",
					       .input_count = 1,
					       .inputs = {x},
					       .parameter_count = 1,
					       .parameters = {words}};
	builder_cross_entropy(builder, "loss", builder_add(builder, &head), targets);
}

bool gpt2_create_graph(const char *name, const struct gpt2_options *options, struct graph **ret_graph,
		       struct error *error)
{
	if (options->heads == 0 || options->width % options->heads != 0)
		return error_set(error, ERROR_USAGE, "%u heads do not divide a width of %u", options->heads,
				 options->width);
	struct gpt2 gpt2 = {.options = options};
	if (!builder_create(name, &gpt2.builder, error))
		return false;
	build(&gpt2);
	return builder_finish(gpt2.builder, ret_graph, error);
}
