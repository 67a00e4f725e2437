// The table of kinds. See operation.h.
#include <stddef.h>

#include "common/graph/rules.h"

static const struct operation_rules *const table[OPERATION_KIND_END] = {
	[OPERATION_CONVOLUTION] = &convolution_rules,
	[OPERATION_RELU] = &relu_rules,
	[OPERATION_MAX_POOL] = &max_pool_rules,
	[OPERATION_ADAPTIVE_AVERAGE_POOL] = &adaptive_average_pool_rules,
	[OPERATION_FLATTEN] = &flatten_rules,
	[OPERATION_DROPOUT] = &dropout_rules,
	[OPERATION_LINEAR] = &linear_rules,
	[OPERATION_AVERAGE_POOL] = &average_pool_rules,
	[OPERATION_BATCH_NORM] = &batch_norm_rules,
	[OPERATION_LAYER_NORM] = &layer_norm_rules,
	[OPERATION_GELU] = &gelu_rules,
	[OPERATION_ADD] = &add_rules,
	[OPERATION_MULTIPLY] = &multiply_rules,
	[OPERATION_MATMUL] = &matmul_rules,
	[OPERATION_RESHAPE] = &reshape_rules,
	[OPERATION_PERMUTE] = &permute_rules,
	[OPERATION_SPLIT] = &split_rules,
	[OPERATION_EMBEDDING] = &embedding_rules,
	[OPERATION_POSITION_EMBEDDING] = &position_embedding_rules,
	[OPERATION_SOFTMAX] = &softmax_rules,
	[OPERATION_ATTENTION] = &attention_rules,
	[OPERATION_CROSS_ENTROPY] = &cross_entropy_rules,
};

const struct operation_rules *operation_rules(enum operation_kind kind)
{
	return (unsigned)kind < OPERATION_KIND_END ? table[kind] : NULL;
}

const char *operation_kind_name(enum operation_kind kind)
{
	const struct operation_rules *rules = operation_rules(kind);
	return rules != NULL ? rules->name : "unknown";
}

void operation_flops(const struct graph *graph, uint32_t operation, struct operation_flops *ret_flops)
{
	const struct operation_rules *rules = operation_rules(graph->operations[operation].kind);
	*ret_flops = (struct operation_flops){0};
	if (rules->flops == NULL)
		return;
	struct operation_view view;
	rules_view(graph, &graph->operations[operation], &view);
	rules->flops(&view, ret_flops);
}

void operation_kept(const struct graph *graph, uint32_t operation, struct operation_kept *ret_kept)
{
	const struct operation_rules *rules = operation_rules(graph->operations[operation].kind);
	*ret_kept = (struct operation_kept){0};
	if (rules->kept == NULL)
		return;
	struct operation_view view;
	rules_view(graph, &graph->operations[operation], &view);
	rules->kept(&view, ret_kept);
}
