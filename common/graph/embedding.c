// Embeddings: torch.nn.Embedding of tokens, and of their positions 0, 1, ... See operation.h.
#include "common/graph/rules.h"

static bool check_tokens(const struct operation_view *view, struct error *error)
{
	const struct value *tokens = view->inputs[0];
	const struct tensor *weight = view->parameters[0];
	char dims[DIMS_TEXT_SIZE];
	if (!rules_check_type(view, 0, VALUE_INT32, error))
		return false;
	if (tokens->rank >= VALUE_MAXIMUM_RANK)
		return error_set(error, ERROR_USAGE, "takes tokens of at most %d dimensions, but %s has %u",
				 VALUE_MAXIMUM_RANK - 1, tokens->name, tokens->rank);
	return weight->rank == 2 ||
	       error_set(error, ERROR_USAGE, "%s has the shape %s, must have (words, features)", weight->name,
			 value_format_dims(weight->rank, weight->dims, dims, sizeof(dims)));
}

static bool infer_embedding(const struct operation_view *view, struct error *error)
{
	if (!check_tokens(view, error))
		return false;
	rules_copy_shape(view);
	struct value *output = view->outputs[0];
	output->type = VALUE_COMPUTE;
	output->dims[output->rank++] = view->parameters[0]->dims[1];
	return true;
}

static bool infer_position_embedding(const struct operation_view *view, struct error *error)
{
	const struct value *tokens = view->inputs[0];
	if (!infer_embedding(view, error))
		return false;
	if (tokens->rank != 1)
		return error_set(error, ERROR_USAGE, "takes one row of tokens, but %s has %u dimensions", tokens->name,
				 tokens->rank);
	return tokens->dims[0] <= view->parameters[0]->dims[0] ||
	       error_set(error, ERROR_USAGE, "%u tokens, but %s has %u positions", tokens->dims[0],
			 view->parameters[0]->name, view->parameters[0]->dims[0]);
}

const struct operation_rules embedding_rules = {
	.name = "Embedding",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.minimum_parameters = 1,
	.maximum_parameters = 1,
	.needs_for_weight = NEEDS_INPUTS,
	.infer = infer_embedding,
};

const struct operation_rules position_embedding_rules = {
	.name = "position embedding",
	.minimum_inputs = 1,
	.maximum_inputs = 1,
	.minimum_outputs = 1,
	.maximum_outputs = 1,
	.minimum_parameters = 1,
	.maximum_parameters = 1,
	.infer = infer_position_embedding,
};
