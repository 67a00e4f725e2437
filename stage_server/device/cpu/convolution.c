// Convolution layers. Layouts are those of the library's direct kernels, which are blocked; what computes a pass is the
// fastest of the methods that there are for the shape (convolution_methods.h), timed once.
#include <stdio.h>
#include <string.h>

#include "stage_server/device/cpu/convolution_methods.h"
#include "stage_server/device/cpu/program.h"
#include "stage_server/device/cpu/vector.h"

// A trial of a pass has at most these operations, on as many of the samples: more of them would only repeat it. Where a
// single sample has more nothing is timed. It runs in the program's own memory.
#define TRIAL_FLOPS ((double)(1ull << 34))

_Static_assert((int)METHOD_NAME_SIZE == (int)CHOICE_TEXT_SIZE && (int)METHOD_COUNT <= (int)CHOICE_MAXIMUM_CANDIDATES,
	       "a question takes all methods");

static struct window_shape shape_of(const struct program *program, const struct layer *layer)
{
	return (struct window_shape){
		.n = program->n,
		.channels = layer->in_channels,
		.height = layer->input.height,
		.width = layer->input.width,
		.filters = layer->out_channels,
		.kernel_size = layer->kernel_size,
		.stride = layer->stride,
		.padding = layer->padding,
		.output_height = layer->output.height,
		.output_width = layer->output.width,
	};
}

static int64_t trial_samples(const struct window_shape *s)
{
	double flops = 2.0 * (double)s->filters * (double)s->channels * (double)s->kernel_size *
		       (double)s->kernel_size * (double)s->output_height * (double)s->output_width;
	return flops * (double)s->n <= TRIAL_FLOPS ? s->n : (int64_t)(TRIAL_FLOPS / flops);
}

static bool make_methods(struct program *program, struct layer_state *state, struct error *error)
{
	struct window_shape shape = shape_of(program, state->layer);
	struct onednn *onednn = program->device->onednn;
	if (!convolution_methods_create(onednn, &shape, program->training, !state->is_first, &state->methods, error))
		return false;
	int64_t samples = trial_samples(&shape);
	if (samples == shape.n || samples == 0)
		return true;
	shape.n = samples;
	return convolution_methods_create(onednn, &shape, program->training, !state->is_first, &state->trial, error);
}

static bool run(struct program *program, const struct convolution_methods *methods, enum kernel_pass pass,
		enum convolution_method method, bool add, void *const pointers[ARGUMENT_COUNT])
{
	return convolution_methods_run(methods, pass, method, program->device->threads,
				       program_pointer(program, &program->scratchpad, 0), add, pointers);
}

// ---- the choice

static const struct convolution_methods *trial_methods(const struct layer_state *state)
{
	return state->trial != NULL ? state->trial : state->methods;
}

// Whether every tensor of fewer samples fits where the tensors of all of them are.
static bool fits(const struct convolution_methods *trial, const struct convolution_methods *all, enum kernel_pass pass)
{
	static const enum kernel_argument arguments[3][4] = {
		[PASS_FORWARD] = {ARGUMENT_SOURCE, ARGUMENT_WEIGHTS, ARGUMENT_BIAS, ARGUMENT_DESTINATION},
		[PASS_BACKWARD_INPUT] = {ARGUMENT_DESTINATION_GRADIENT, ARGUMENT_WEIGHTS, ARGUMENT_SOURCE_GRADIENT,
					 ARGUMENT_SOURCE_GRADIENT},
		[PASS_BACKWARD_WEIGHT] = {ARGUMENT_SOURCE, ARGUMENT_DESTINATION_GRADIENT, ARGUMENT_WEIGHTS_GRADIENT,
					  ARGUMENT_BIAS_GRADIENT},
	};
	const struct kernel *forward = trial->kernels[PASS_FORWARD][METHOD_DIRECT]; // whose source every pass takes
	if (layout_bytes(kernel_layout(forward, ARGUMENT_SOURCE)) >
	    layout_bytes(kernel_layout(all->kernels[PASS_FORWARD][METHOD_DIRECT], ARGUMENT_SOURCE)))
		return false;
	for (int i = 0; i < 4; i++)
		if (layout_bytes(kernel_layout(trial->kernels[pass][METHOD_DIRECT], arguments[pass][i])) >
		    layout_bytes(kernel_layout(all->kernels[pass][METHOD_DIRECT], arguments[pass][i])))
			return false;
	return true;
}

static void set_pointers(const struct trial *t, void *p[ARGUMENT_COUNT])
{
	struct program *program = t->program;
	struct layer_state *state = t->state;
	bool has_copy = state->weights_copy.bytes > state->weight->value.bytes;
	p[ARGUMENT_SOURCE] = program_pointer(program, &state->input.block, 0);
	p[ARGUMENT_DESTINATION] = program_pointer(program, &state->output.block, 0);
	p[ARGUMENT_WEIGHTS] = program_pointer(
		program, has_copy && t->pass == PASS_BACKWARD_INPUT ? &state->weights_copy : &state->weight->value, 0);
	p[ARGUMENT_BIAS] = program_pointer(program, &state->bias->value, 0);
	if (t->pass == PASS_FORWARD)
		return;
	p[ARGUMENT_DESTINATION_GRADIENT] = program_gradient(program);
	p[ARGUMENT_SOURCE_GRADIENT] = program_next_gradient(program);
	p[ARGUMENT_WEIGHTS_GRADIENT] = program_pointer(program, &state->weight->gradient, 0);
	p[ARGUMENT_BIAS_GRADIENT] = program_pointer(program, &state->bias->gradient, 0);
}

// The candidates are the methods that the shape has, in their order; METHOD_COUNT: there are not so many.
static enum convolution_method method_of(const struct layer_state *state, enum kernel_pass pass, uint32_t candidate)
{
	enum convolution_method method = METHOD_DIRECT;
	for (; method < METHOD_COUNT; method++)
		if (convolution_methods_have(state->methods, pass, method) && candidate-- == 0)
			return method;
	return method;
}

// A weight gradient is timed with what it costs to bring it to the value's layout, as in a step of one micro-batch: in a step of
// more, the methods that must be brought there gain, because they add in place.
static bool try_method(void *context, uint32_t candidate)
{
	const struct trial *t = context;
	struct program *program = t->program;
	const struct convolution_methods *methods = trial_methods(t->state);
	enum convolution_method method = method_of(t->state, t->pass, candidate);
	void *pointers[ARGUMENT_COUNT] = {0};
	set_pointers(t, pointers);
	if (!convolution_methods_have(methods, t->pass, method) ||
	    !run(program, methods, t->pass, method, false, pointers))
		return false;
	if (t->pass != PASS_BACKWARD_WEIGHT)
		return true;
	struct kernel *align = t->state->weight->forms[method == METHOD_IM2COL].align;
	return align == NULL || program_convert(program, align, pointers[ARGUMENT_WEIGHTS_GRADIENT],
						program_pointer(program, &program->weight_temporary, 0), 0);
}

// The key does not say whether a ReLU follows: a cut between the two must not change which kernel computes the convolution.
static void convolution_ask(struct program *program, struct layer_state *state)
{
	static const char *const passes[] = {"forward", "backward-input", "backward-weight"};
	struct window_shape s = shape_of(program, state->layer);
	for (enum kernel_pass pass = PASS_FORWARD; pass <= PASS_BACKWARD_WEIGHT; pass++) {
		char key[CHOICE_TEXT_SIZE];
		if (pass != PASS_FORWARD && (!program->training || (pass == PASS_BACKWARD_INPUT && state->is_first)))
			continue;
		snprintf(key, sizeof(key), "convolution-%s/n=%lld/in=%lldx%lldx%lld/out=%lld/k=%lld/s=%lld/p=%lld",
			 passes[pass], (long long)s.n, (long long)s.channels, (long long)s.height, (long long)s.width,
			 (long long)s.filters, (long long)s.kernel_size, (long long)s.stride, (long long)s.padding);
		program_ask(program, state, pass, key, try_method);
	}
}

// Where no trial can be run, the direct kernel is the only candidate.
static void convolution_offer(const struct layer_state *state)
{
	for (enum kernel_pass pass = PASS_FORWARD; pass <= PASS_BACKWARD_WEIGHT; pass++) {
		struct choice *question = state->question[pass];
		if (question == NULL)
			continue;
		bool is_open =
			trial_samples(&state->methods->shape) > 0 && fits(trial_methods(state), state->methods, pass);
		enum convolution_method method;
		for (uint32_t i = 0; (method = method_of(state, pass, i)) < (is_open ? METHOD_COUNT : METHOD_WINOGRAD);
		     i++)
			convolution_methods_name(state->methods, pass, method, question->names[question->count++]);
	}
}

static void convolution_settle(struct program *program, struct layer_state *state)
{
	for (enum kernel_pass pass = PASS_FORWARD; pass <= PASS_BACKWARD_WEIGHT; pass++)
		state->choice[pass] = method_of(state, pass, choice_index(state->question[pass]));
	convolution_methods_destroy(state->trial);
	state->trial = NULL;
	state->weight->form = state->choice[PASS_BACKWARD_WEIGHT] == METHOD_IM2COL;
	if (state->weights_reorder == NULL || state->choice[PASS_BACKWARD_INPUT] == METHOD_DIRECT)
		return;
	const struct kernel *kernel = state->methods->kernels[PASS_BACKWARD_INPUT][METHOD_WINOGRAD];
	if (layout_equal(kernel_layout(kernel, ARGUMENT_WEIGHTS), state->weight->layout)) {
		kernel_destroy(state->weights_reorder);
		state->weights_reorder = NULL;
	}
}

// ---- layouts and memory

static bool convolution_prepare(struct program *program, struct layer_state *state, struct error *error)
{
	if (!make_methods(program, state, error))
		return false;
	convolution_offer(state);
	const struct convolution_methods *m = state->methods;
	const struct kernel *forward = m->kernels[PASS_FORWARD][METHOD_DIRECT];
	const struct kernel *backward_weight = m->kernels[PASS_BACKWARD_WEIGHT][METHOD_DIRECT];
	const struct kernel *backward_input = m->kernels[PASS_BACKWARD_INPUT][METHOD_DIRECT];
	state->wanted_input = kernel_layout(forward, ARGUMENT_SOURCE);
	state->given_output = kernel_layout(forward, ARGUMENT_DESTINATION);
	state->weight->layout = kernel_layout(forward, ARGUMENT_WEIGHTS);
	state->bias->layout = state->bias->forms[0].layout = kernel_layout(forward, ARGUMENT_BIAS);
	if (backward_weight == NULL)
		return true;
	state->wanted_for_weight = kernel_layout(backward_weight, ARGUMENT_DESTINATION_GRADIENT);
	state->weight->forms[0].layout = kernel_layout(backward_weight, ARGUMENT_WEIGHTS_GRADIENT);
	if (m->im2col != NULL)
		state->weight->forms[1].layout = im2col_layout(m->im2col);
	if (backward_input == NULL)
		return true;
	state->wanted_for_input = kernel_layout(backward_input, ARGUMENT_DESTINATION_GRADIENT);
	state->given_gradient = kernel_layout(backward_input, ARGUMENT_SOURCE_GRADIENT);
	state->backward_weights_layout = kernel_layout(backward_input, ARGUMENT_WEIGHTS);
	return program_reorder(program, state->weight->layout, state->backward_weights_layout, &state->weights_reorder,
			       error);
}

static uint64_t part_bytes(const struct layer_state *state)
{
	return (layout_bytes(state->weight->forms[0].layout) / BLOCK_ALIGNMENT + 1) * BLOCK_ALIGNMENT;
}

// Enough for every method, whichever is chosen.
static bool convolution_place(struct program *program, struct layer_state *state, struct error *error)
{
	program_need_scratchpad(program, convolution_methods_scratchpad_bytes(state->methods));
	program_need_scratchpad(program, convolution_methods_scratchpad_bytes(state->trial));
	if (!program_reserve(program, REGION_STASH, layout_bytes(state->given_output), &state->output.block, error))
		return false;
	if (program->training) {
		uint64_t bytes = part_bytes(state) + layout_bytes(state->bias->layout);
		if (bytes > program->weight_temporary_bytes)
			program->weight_temporary_bytes = bytes;
	}
	if (state->weights_reorder == NULL)
		return true;
	return program_reserve(program, REGION_WORKSPACE, layout_bytes(state->backward_weights_layout),
			       &state->weights_copy, error);
}

// ---- the passes

// The library's own ReLU turns NaN into 0, so it is not asked for one. A cut behind the convolution then cannot change which of
// its kernels computes it, either.
static bool convolution_forward(struct program *program, struct layer_state *state, uint32_t slot,
				uint64_t first_sample)
{
	float *output = program_pointer(program, &state->output.block, slot);
	if (!run(program, state->methods, PASS_FORWARD, state->choice[PASS_FORWARD], false,
		 (void *[ARGUMENT_COUNT]){
			 [ARGUMENT_SOURCE] = program_pointer(program, &state->input.block, slot),
			 [ARGUMENT_WEIGHTS] = program_pointer(program, &state->weight->value, 0),
			 [ARGUMENT_BIAS] = program_pointer(program, &state->bias->value, 0),
			 [ARGUMENT_DESTINATION] = output,
		 }))
		return false;
	if (state->relu_follows)
		vector_relu(program->device->threads, layout_bytes(state->given_output) / sizeof(float), output);
	return true;
}

// The first micro-batch's gradient is written where it belongs; each later one is added in place, or computed beside it and
// added, in order.
static bool convolution_backward_weight(struct program *program, struct layer_state *state, uint32_t slot)
{
	struct parameter_state *weight = state->weight, *bias = state->bias;
	uint32_t threads = program->device->threads;
	enum convolution_method method = state->choice[PASS_BACKWARD_WEIGHT];
	bool add = !weight->gradient_is_zero || !bias->gradient_is_zero, add_after = add && method != METHOD_IM2COL;
	float *weight_sum = program_pointer(program, &weight->gradient, 0), *weight_part = weight_sum;
	float *bias_sum = program_pointer(program, &bias->gradient, 0), *bias_part = bias_sum;
	if (add) {
		weight_sum = parameter_gradient_values(program, weight);
		bias_sum = parameter_gradient_values(program, bias);
	}
	if (add_after) {
		uint8_t *temporary = program_pointer(program, &program->weight_temporary, 0);
		weight_part = (float *)temporary;
		bias_part = (float *)(temporary + part_bytes(state));
	}
	if (!run(program, state->methods, PASS_BACKWARD_WEIGHT, method, add,
		 (void *[ARGUMENT_COUNT]){
			 [ARGUMENT_SOURCE] = program_pointer(program, &state->input.block, slot),
			 [ARGUMENT_DESTINATION_GRADIENT] = program_gradient(program),
			 [ARGUMENT_WEIGHTS_GRADIENT] = weight_part,
			 [ARGUMENT_BIAS_GRADIENT] = bias_part,
		 }))
		return false;
	if (add_after) {
		vector_add(threads, parameter_form(weight)->floats, weight_part, weight_sum);
		vector_add(threads, parameter_form(bias)->floats, bias_part, bias_sum);
	}
	weight->gradient_is_zero = bias->gradient_is_zero = false;
	return true;
}

static bool convolution_backward_input(struct program *program, struct layer_state *state, uint32_t slot)
{
	void *weights = program_pointer(program, &state->weight->value, 0);
	if (state->weights_reorder != NULL) {
		void *copy = program_pointer(program, &state->weights_copy, 0);
		if (!state->weights_copy_is_current &&
		    !program_convert(program, state->weights_reorder, weights, copy, 0))
			return false;
		state->weights_copy_is_current = true;
		weights = copy;
	}
	if (!run(program, state->methods, PASS_BACKWARD_INPUT, state->choice[PASS_BACKWARD_INPUT], false,
		 (void *[ARGUMENT_COUNT]){
			 [ARGUMENT_DESTINATION_GRADIENT] = program_gradient(program),
			 [ARGUMENT_WEIGHTS] = weights,
			 [ARGUMENT_SOURCE_GRADIENT] = program_next_gradient(program),
		 }))
		return false;
	program_swap_gradients(program);
	return true;
}

const struct layer_class convolution_class = {
	.ask = convolution_ask,
	.prepare = convolution_prepare,
	.place = convolution_place,
	.settle = convolution_settle,
	.forward = convolution_forward,
	.backward_weight = convolution_backward_weight,
	.backward_input = convolution_backward_input,
};
