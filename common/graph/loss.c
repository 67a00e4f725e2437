// Softmax cross entropy as torch.nn.CrossEntropyLoss defines it, with the classes in the last dimension: the mean over the targets
// of a micro-batch that count. See operation.h.
#include <string.h>

#include "common/graph/rules.h"

static bool shapes_fit(const struct value *logits, const struct value *targets)
{
	return logits->rank == targets->rank + 1 && logits->per_sample && targets->per_sample &&
	       memcmp(logits->dims, targets->dims, targets->rank * sizeof(targets->dims[0])) == 0;
}

static bool infer(const struct operation_view *view, struct error *error)
{
	const struct value *logits = view->inputs[0], *targets = view->inputs[1];
	char dims[2][DIMS_TEXT_SIZE];
	if (!rules_check_real(view, 0, error) || !rules_check_type(view, 1, VALUE_INT32, error))
		return false;
	if (!shapes_fit(logits, targets))
		return error_set(error, ERROR_USAGE,
				 "takes samples of (..., classes) and (...), but %s has %s and %s has %s", logits->name,
				 value_format_dims(logits->rank, logits->dims, dims[0], DIMS_TEXT_SIZE), targets->name,
				 value_format_dims(targets->rank, targets->dims, dims[1], DIMS_TEXT_SIZE));
	float smoothing = view->operation->attributes.cross_entropy.label_smoothing;
	if (!(smoothing >= 0 && smoothing <= 1))
		return error_set(error, ERROR_USAGE, "label_smoothing is %g, must be from 0 to 1", (double)smoothing);
	for (uint32_t i = 0; i < 2; i++) {
		view->outputs[i]->type = i == 0 ? VALUE_FLOAT32 : VALUE_INT32;
		view->outputs[i]->per_sample = false;
		view->outputs[i]->rank = 0;
	}
	return true;
}

// The logarithm of the sum of each row.
static void kept(const struct operation_view *view, struct operation_kept *ret_kept)
{
	*ret_kept = (struct operation_kept){
		.statistics_elements = value_elements(view->inputs[1]),
		.statistics_are_per_sample = true,
	};
}

const struct operation_rules cross_entropy_rules = {
	.name = "CrossEntropyLoss",
	.minimum_inputs = 2,
	.maximum_inputs = 2,
	.minimum_outputs = 2, // the mean loss, and how many targets are the largest logit
	.maximum_outputs = 2,
	.is_loss = true,
	.needs_for_input = NEEDS_INPUTS | NEEDS_STATISTICS,
	.infer = infer,
	.kept = kept,
};
