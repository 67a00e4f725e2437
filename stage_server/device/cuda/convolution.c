// Convolution layers: cuDNN's plans, of which each pass takes the fastest for the shape; bias and ReLU belong to the forward pass.
// cuDNN writes a weight gradient in the compute type and overwrites; the sum over micro-batches is float32, so it is added by a
// kernel of our own, which also leaves out the channels that images were padded with.
#include <stdio.h>

#include "stage_server/device/cuda/kernels/kernels.h"
#include "stage_server/device/cuda/program.h"
#include "stage_server/device/cuda/status.h"
#include "stage_server/device/cuda/trial.h"

_Static_assert((int)CONVOLUTION_MAXIMUM_PLANS <= (int)CHOICE_MAXIMUM_CANDIDATES, "a question takes all plans");
_Static_assert((int)PASS_FORWARD == (int)CONVOLUTION_FORWARD &&
		       (int)PASS_BACKWARD_INPUT == (int)CONVOLUTION_BACKWARD_INPUT &&
		       (int)PASS_BACKWARD_WEIGHT == (int)CONVOLUTION_BACKWARD_WEIGHT,
	       "one numbering of passes");

static const char *const pass_names[] = {"forward", "backward-input", "backward-weight"};

static struct convolution_spec spec_of(const struct program *program, const struct layer_state *state)
{
	const struct layer *layer = state->layer;
	return (struct convolution_spec){
		.n = program->n,
		.channels = cuda_input_channels(program, state),
		.height = layer->input.height,
		.width = layer->input.width,
		.output_channels = layer->out_channels,
		.output_height = layer->output.height,
		.output_width = layer->output.width,
		.kernel_size = layer->kernel_size,
		.stride = layer->stride,
		.padding = layer->padding,
		.type = program->type,
		.allow_tf32 = program->allow_tf32,
	};
}

// Of the output: what the bias's gradient sums over.
static uint64_t rows_of(const struct program *program, const struct layer_state *state)
{
	return (uint64_t)program->n * state->output.positions;
}

struct operands {
	struct program *program;
	const struct convolution_plans *plans;
	struct convolution_tensors tensors;
};

// cuDNN's pass of the weight writes where `w` says.
static struct operands operands_of(struct program *program, const struct layer_state *state, enum pass pass,
				   uint32_t slot)
{
	struct operands o = {.program = program, .plans = state->plans[pass]};
	struct convolution_tensors *t = &o.tensors;
	t->x = pass == PASS_BACKWARD_INPUT ? program_next_gradient(program)
					   : program_pointer(program, &state->input.block, slot);
	t->w = pass == PASS_BACKWARD_WEIGHT ? program_pointer(program, &program->weight_temporary, 0)
					    : cuda_parameter_weights(program, state->weight);
	t->bias = pass == PASS_FORWARD ? cuda_parameter_values(program, state->bias) : NULL;
	t->typed_bias = pass == PASS_FORWARD ? cuda_parameter_weights(program, state->bias) : NULL;
	t->y = pass == PASS_FORWARD ? program_pointer(program, &state->output.block, slot) : program_gradient(program);
	return o;
}

static bool issue(const struct operands *o, uint32_t plan, struct error *error)
{
	struct program *program = o->program;
	return convolution_plans_run(o->plans, plan, program->cudnn, program->compute, &o->tensors,
				     program_pointer(program, &program->scratch, 0), error);
}

// ---- the choice

static bool issue_trial(const struct trial *trial, uint32_t plan, struct error *error)
{
	struct operands operands = operands_of(trial->program, trial->state, trial->pass, 0);
	return issue(&operands, plan, error);
}

// The key does not say whether a ReLU follows: a cut between the two must not change which engine computes the convolution.
static void ask(struct program *program, struct layer_state *state)
{
	struct convolution_spec s = spec_of(program, state);
	for (enum pass pass = PASS_FORWARD; pass <= PASS_BACKWARD_WEIGHT; pass++) {
		char key[CHOICE_TEXT_SIZE];
		if (pass != PASS_FORWARD && (!program->training || (pass == PASS_BACKWARD_INPUT && state->is_first)))
			continue;
		snprintf(key, sizeof(key), "convolution-%s/%s%s/n=%u/in=%ux%ux%u/out=%u/k=%u/s=%u/p=%u",
			 pass_names[pass], data_type_name(s.type), s.allow_tf32 ? "/tf32" : "", s.n, s.channels,
			 s.height, s.width, s.output_channels, s.kernel_size, s.stride, s.padding);
		cuda_ask(program, state, pass, key, issue_trial);
	}
}

static void offer(const struct convolution_plans *plans, struct choice *question)
{
	question->count = convolution_plans_count(plans);
	for (uint32_t i = 0; i < question->count; i++)
		convolution_plans_name(plans, i, question->names[i], sizeof(question->names[i]));
}

static void settle(struct program *program, struct layer_state *state)
{
	for (enum pass pass = PASS_FORWARD; pass <= PASS_BACKWARD_WEIGHT; pass++)
		state->choice[pass] = choice_index(state->question[pass]);
}

// ---- plans and memory

// An answer that is known already is the only plan that is built, where it can be built.
static bool prepare(struct program *program, struct layer_state *state, struct error *error)
{
	struct convolution_spec spec = spec_of(program, state);
	struct parameter_state *weight = state->weight;
	for (enum pass pass = PASS_FORWARD; pass <= PASS_BACKWARD_WEIGHT; pass++) {
		struct choice *question = state->question[pass];
		if (question == NULL)
			continue;
		if (!convolution_plans_create(program->cudnn, &spec, (enum convolution_pass)pass,
					      pass == PASS_FORWARD && state->relu_follows,
					      convolution_plans_limit(&spec, CUDA_WORKSPACE_LIMIT_BYTES),
					      question->answer[0] != '\0' ? question->answer : NULL,
					      &state->plans[pass], error))
			return error_wrap(error, "%s", pass_names[pass]);
		offer(state->plans[pass], question);
		cuda_need_scratch(program, convolution_plans_workspace_bytes(state->plans[pass]));
	}
	if (!cuda_parameters_pad(program, weight, state->input.channels, error) ||
	    !cuda_place_output(program, state, error))
		return false;
	if (!program->training)
		return true;
	cuda_need_weight_temporary(program, (uint64_t)weight->filters * weight->positions * state->input.channels *
						    data_type_bytes(program->type));
	cuda_need_scratch(program, kernel_column_sums_scratch(rows_of(program, state), state->layer->out_channels));
	return true;
}

// ---- the passes

static bool forward(struct program *program, struct layer_state *state, uint32_t slot, uint64_t first_sample,
		    struct error *error)
{
	struct operands operands = operands_of(program, state, PASS_FORWARD, slot);
	return issue(&operands, state->choice[PASS_FORWARD], error);
}

// Where nothing was added yet and the type and channels are the sum's, cuDNN writes the sum.
static bool backward_weight(struct program *program, struct layer_state *state, uint32_t slot, struct error *error)
{
	struct parameter_state *weight = state->weight;
	struct operands operands = operands_of(program, state, PASS_BACKWARD_WEIGHT, slot);
	float *sum = cuda_parameter_gradient(program, weight);
	bool is_direct = program->type == DATA_FLOAT32 && weight->padded.bytes == 0 && weight->gradient_is_zero;
	if (is_direct)
		operands.tensors.w = sum;
	if (!cuda_bias_backward(program, state, slot, error) ||
	    !issue(&operands, state->choice[PASS_BACKWARD_WEIGHT], error))
		return false;
	if (!is_direct && !cuda_ok(kernel_accumulate(program->compute, (uint64_t)weight->filters * weight->positions,
						     weight->channels, state->input.channels, program->type,
						     operands.tensors.w, !weight->gradient_is_zero, sum),
				   error, "kernel_accumulate"))
		return false;
	weight->gradient_is_zero = false;
	return true;
}

static bool backward_input(struct program *program, struct layer_state *state, uint32_t slot, struct error *error)
{
	struct operands operands = operands_of(program, state, PASS_BACKWARD_INPUT, slot);
	if (!issue(&operands, state->choice[PASS_BACKWARD_INPUT], error))
		return false;
	program_swap_gradients(program);
	return true;
}

const struct layer_class cuda_convolution_class = {
	.ask = ask,
	.prepare = prepare,
	.settle = settle,
	.forward = forward,
	.backward_weight = backward_weight,
	.backward_input = backward_input,
};
