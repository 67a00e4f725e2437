// Convolution layers: cuDNN's plans, of which each pass takes the fastest for the shape; bias and ReLU belong to the forward pass.
// cuDNN writes a weight gradient in the compute type and overwrites; the sum over micro-batches is float32, so it is added by a
// kernel of our own, which also leaves out the channels that images were padded with.
#include <stdio.h>

#include "stage_server/device/cuda/kernels/kernels.h"
#include "stage_server/device/cuda/program.h"
#include "stage_server/device/cuda/status.h"
#include "stage_server/device/cuda/trial.h"

_Static_assert((int)CONVOLUTION_MAXIMUM_PLANS <= (int)TUNING_MAXIMUM_CANDIDATES, "the file takes all plans");
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
		.channels = state->input.channels,
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

// The key does not say whether a ReLU follows: a cut between the two must not change which engine computes the convolution.
static void key_of(const struct convolution_spec *s, enum pass pass, char into[TUNING_KEY_SIZE])
{
	snprintf(into, TUNING_KEY_SIZE, "convolution-%s/%s%s/n=%u/in=%ux%ux%u/out=%u/k=%u/s=%u/p=%u", pass_names[pass],
		 data_type_name(s->type), s->allow_tf32 ? "/tf32" : "", s->n, s->channels, s->height, s->width,
		 s->output_channels, s->kernel_size, s->stride, s->padding);
}

// A choice that the file knows already is the only plan that is built.
static bool prepare(struct program *program, struct layer_state *state, struct error *error)
{
	struct convolution_spec spec = spec_of(program, state);
	struct parameter_state *weight = state->weight;
	for (enum pass pass = PASS_FORWARD; pass <= PASS_BACKWARD_WEIGHT; pass++) {
		if (pass != PASS_FORWARD && (!program->training || (pass == PASS_BACKWARD_INPUT && state->is_first)))
			continue;
		char key[TUNING_KEY_SIZE], known[TUNING_NAME_SIZE];
		key_of(&spec, pass, key);
		bool is_known = tuning_recall(program->device->tuning, key, known);
		if (!convolution_plans_create(program->cudnn, &spec, (enum convolution_pass)pass,
					      pass == PASS_FORWARD && state->relu_follows,
					      convolution_plans_limit(&spec, CUDA_WORKSPACE_LIMIT_BYTES),
					      is_known ? known : NULL, &state->plans[pass], error))
			return error_wrap(error, "%s", pass_names[pass]);
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

static bool issue(void *context, uint32_t plan, struct error *error)
{
	const struct operands *o = context;
	struct program *program = o->program;
	return convolution_plans_run(o->plans, plan, program->cudnn, program->compute, &o->tensors,
				     program_pointer(program, &program->scratch, 0), error);
}

static void choose(struct program *program, struct layer_state *state)
{
	struct convolution_spec s = spec_of(program, state);
	for (enum pass pass = PASS_FORWARD; pass <= PASS_BACKWARD_WEIGHT; pass++) {
		const struct convolution_plans *plans = state->plans[pass];
		if (plans == NULL)
			continue;
		struct operands operands = operands_of(program, state, pass, 0);
		struct trial trial = {.count = convolution_plans_count(plans), .issue = issue, .context = &operands};
		key_of(&s, pass, trial.key);
		for (uint32_t i = 0; i < trial.count; i++)
			convolution_plans_name(plans, i, trial.names[i], sizeof(trial.names[i]));
		state->choice[pass] = cuda_trial_choose(program, &trial);
	}
}

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
	.prepare = prepare,
	.choose = choose,
	.forward = forward,
	.backward_weight = backward_weight,
	.backward_input = backward_input,
};
