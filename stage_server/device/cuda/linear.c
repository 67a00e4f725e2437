// Linear layers as products of cuBLASLt; bias and ReLU are one pass behind the forward product (matmul.c); the weight gradient in float32,
// written by the first micro-batch and added to by the others.
#include <stdio.h>

#include "stage_server/device/cuda/kernels/kernels.h"
#include "stage_server/device/cuda/program.h"
#include "stage_server/device/cuda/status.h"
#include "stage_server/device/cuda/trial.h"

_Static_assert((int)MATMUL_MAXIMUM_ALGORITHMS <= (int)CHOICE_MAXIMUM_CANDIDATES, "a question takes all algorithms");

static const char *const pass_names[PASS_COUNT] = {"forward", "backward-input", "backward-weight", "add-weight"};

// x (N, I), w (O, I), y (N, O):
//   y = x w^T + bias      dx = dy w      dw (+)= dy^T x
static struct matmul_spec spec_of(const struct program *program, const struct layer_state *state, enum pass pass)
{
	uint32_t in = state->layer->in_channels, out = state->layer->out_channels;
	struct matmul_spec spec = {
		.type = program->type,
		.output_type = program->type,
		.allow_tf32 = program->allow_tf32,
	};
	switch (pass) {
	case PASS_FORWARD:
		spec.m = program->n, spec.n = out, spec.k = in;
		spec.transpose_b = spec.bias = true;
		spec.relu = state->relu_follows;
		break;
	case PASS_BACKWARD_INPUT:
		spec.m = program->n, spec.n = in, spec.k = out;
		break;
	default:
		spec.m = out, spec.n = in, spec.k = program->n;
		spec.transpose_a = true;
		spec.output_type = DATA_FLOAT32;
		spec.add = pass == PASS_ADD_WEIGHT;
		break;
	}
	return spec;
}

static bool is_needed(const struct program *program, const struct layer_state *state, enum pass pass)
{
	if (pass == PASS_FORWARD)
		return true;
	return program->training && (pass != PASS_BACKWARD_INPUT || !state->is_first);
}

struct operands {
	struct program *program;
	const struct matmul *product;
	const void *a, *b;
	const float *bias;
	void *c;
};

static struct operands operands_of(struct program *program, const struct layer_state *state, enum pass pass,
				   uint32_t slot)
{
	void *input = program_pointer(program, &state->input.block, slot);
	struct operands o = {.program = program, .product = state->products[pass]};
	switch (pass) {
	case PASS_FORWARD:
		o.a = input;
		o.b = cuda_parameter_weights(program, state->weight);
		o.bias = cuda_parameter_values(program, state->bias);
		o.c = program_pointer(program, &state->output.block, slot);
		break;
	case PASS_BACKWARD_INPUT:
		o.a = program_gradient(program);
		o.b = cuda_parameter_weights(program, state->weight);
		o.c = program_next_gradient(program);
		break;
	default:
		o.a = program_gradient(program);
		o.b = input;
		o.c = cuda_parameter_gradient(program, state->weight);
		break;
	}
	return o;
}

static bool issue(const struct operands *o, uint32_t algorithm, struct error *error)
{
	return matmul_run(o->product, algorithm, o->program->compute, o->a, o->b, o->bias, o->c,
			  program_pointer(o->program, &o->program->scratch, 0), error);
}

static bool run(struct program *program, const struct layer_state *state, enum pass pass, uint32_t slot,
		struct error *error)
{
	struct operands operands = operands_of(program, state, pass, slot);
	return issue(&operands, state->choice[pass], error);
}

static bool issue_trial(const struct trial *trial, uint32_t algorithm, struct error *error)
{
	struct operands operands = operands_of(trial->program, trial->state, trial->pass, 0);
	return issue(&operands, algorithm, error);
}

// The key does not say whether a ReLU follows: a cut between the two must not change which algorithm computes the product.
static void ask(struct program *program, struct layer_state *state)
{
	for (enum pass pass = 0; pass < PASS_COUNT; pass++) {
		char key[CHOICE_TEXT_SIZE];
		if (!is_needed(program, state, pass))
			continue;
		snprintf(key, sizeof(key), "linear-%s/%s%s/n=%u/in=%u/out=%u", pass_names[pass],
			 data_type_name(program->type), program->allow_tf32 ? "/tf32" : "", program->n,
			 state->layer->in_channels, state->layer->out_channels);
		cuda_ask(program, state, pass, key, issue_trial);
	}
}

static void offer(const struct matmul *product, struct choice *question)
{
	question->count = matmul_count(product);
	for (uint32_t i = 0; i < question->count; i++)
		matmul_name(product, i, question->names[i], sizeof(question->names[i]));
}

static void settle(struct program *program, struct layer_state *state)
{
	for (enum pass pass = 0; pass < PASS_COUNT; pass++)
		state->choice[pass] = choice_index(state->question[pass]);
}

static bool prepare(struct program *program, struct layer_state *state, struct error *error)
{
	if (state->input.positions != 1)
		return error_set(error, ERROR_USAGE, "a linear layer needs a flatten before it");
	for (enum pass pass = 0; pass < PASS_COUNT; pass++) {
		struct choice *question = state->question[pass];
		if (question == NULL)
			continue;
		struct matmul_spec spec = spec_of(program, state, pass);
		if (!matmul_create(program->cublas, &spec, CUDA_WORKSPACE_LIMIT_BYTES, &state->products[pass], error))
			return error_wrap(error, "%s", pass_names[pass]);
		offer(state->products[pass], question);
		cuda_need_scratch(program, matmul_workspace_bytes(state->products[pass]));
	}
	if (program->training)
		cuda_need_scratch(program, kernel_column_sums_scratch(program->n, state->layer->out_channels));
	return cuda_place_output(program, state, error);
}

static bool forward(struct program *program, struct layer_state *state, uint32_t slot, uint64_t first_sample,
		    struct error *error)
{
	return run(program, state, PASS_FORWARD, slot, error);
}

static bool backward_weight(struct program *program, struct layer_state *state, uint32_t slot, struct error *error)
{
	struct parameter_state *weight = state->weight;
	if (!cuda_bias_backward(program, state, slot, error) ||
	    !run(program, state, weight->gradient_is_zero ? PASS_BACKWARD_WEIGHT : PASS_ADD_WEIGHT, slot, error))
		return false;
	weight->gradient_is_zero = false;
	return true;
}

static bool backward_input(struct program *program, struct layer_state *state, uint32_t slot, struct error *error)
{
	if (!run(program, state, PASS_BACKWARD_INPUT, slot, error))
		return false;
	program_swap_gradients(program);
	return true;
}

const struct layer_class cuda_linear_class = {
	.ask = ask,
	.prepare = prepare,
	.settle = settle,
	.forward = forward,
	.backward_weight = backward_weight,
	.backward_input = backward_input,
};
