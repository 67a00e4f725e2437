// Softmax, and torch.nn.functional.scaled_dot_product_attention. See operation.h.
#include <inttypes.h>
#include <math.h>

#include "common/graph/rules.h"

static bool infer_softmax(const struct operation_view *view, struct error *error)
{
	if (!rules_check_real(view, 0, error) || !rules_check_axis(view, view->operation->attributes.axis.axis, error))
		return false;
	rules_copy_shape(view);
	return true;
}

static bool shapes_fit(const struct value *q, const struct value *k, const struct value *v)
{
	return q->rank == 3 && k->rank == 3 && v->rank == 3 && q->per_sample && k->per_sample && v->per_sample &&
	       k->dims[0] == q->dims[0] && v->dims[0] == q->dims[0] && k->dims[2] == q->dims[2] &&
	       v->dims[1] == k->dims[1];
}

static bool infer_attention(const struct operation_view *view, struct error *error)
{
	const struct value *q = view->inputs[0], *k = view->inputs[1], *v = view->inputs[2];
	for (uint32_t i = 0; i < 3; i++)
		if (!rules_check_real(view, i, error))
			return false;
	char dims[3][DIMS_TEXT_SIZE];
	if (!shapes_fit(q, k, v))
		return error_set(
			error, ERROR_USAGE,
			"takes samples of (heads, t, d), (heads, s, d) and (heads, s, e), but has %s, %s and %s",
			value_format_dims(q->rank, q->dims, dims[0], DIMS_TEXT_SIZE),
			value_format_dims(k->rank, k->dims, dims[1], DIMS_TEXT_SIZE),
			value_format_dims(v->rank, v->dims, dims[2], DIMS_TEXT_SIZE));
	const uint64_t maximum_scores = UINT64_C(1) << 40;
	if ((uint64_t)q->dims[0] * q->dims[1] * k->dims[1] > maximum_scores)
		return error_set(error, ERROR_USAGE, "has over %" PRIu64 " scores per sample", maximum_scores);
	float scale = view->operation->attributes.attention.scale;
	if (!(isfinite(scale) && scale >= 0))
		return error_set(error, ERROR_USAGE, "scale is %g, must be finite and not negative", (double)scale);
	rules_copy_shape(view);
	view->outputs[0]->dims[2] = v->dims[2];
	return rules_check_probability(view->operation->attributes.attention.probability, error);
}

// As PyTorch's counter: a causal mask halves nothing, and the backward pass computes the scores again.
static void flops(const struct operation_view *view, struct operation_flops *ret_flops)
{
	const struct value *q = view->inputs[0], *k = view->inputs[1], *v = view->inputs[2];
	uint64_t scores = (uint64_t)q->dims[0] * q->dims[1] * k->dims[1], d = q->dims[2], e = v->dims[2];
	*ret_flops = (struct operation_flops){2 * scores * (d + e), 2 * scores * (3 * d + 2 * e), 0};
}

// The logarithm of the sum of each row; with dropout, which weights were kept.
static void kept(const struct operation_view *view, struct operation_kept *ret_kept)
{
	const struct value *q = view->inputs[0], *k = view->inputs[1];
	uint64_t rows = (uint64_t)q->dims[0] * q->dims[1];
	*ret_kept = (struct operation_kept){
		.mask_elements = view->operation->attributes.attention.probability > 0 ? rows * k->dims[1] : 0,
		.statistics_elements = rows,
		.statistics_are_per_sample = true,
	};
}

const struct operation_rules softmax_rules = {
	.name = "Softmax",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.in_place = true,
	.needs_for_input = NEEDS_OUTPUTS,
	.infer = infer_softmax,
};

const struct operation_rules attention_rules = {
	.name = "scaled_dot_product_attention",
	.minimum_inputs = 3,
	.maximum_inputs = 3,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.is_random = true,
	.needs_for_input = NEEDS_INPUTS | NEEDS_OUTPUTS | NEEDS_MASK | NEEDS_STATISTICS,
	.infer = infer_attention,
	.flops = flops,
	.kept = kept,
};
