// A step on zeros, before the first one. CUDA, cuDNN and cuBLASLt load a kernel's code when it is first launched (CUDA Programming Guide,
// "Lazy Loading"): that takes memory which is not planned, and may wait for all that runs on the GPU, among it a reduction that waits for
// other replicas. So whatever a step may launch is launched here, also where the tuning file knew each choice and nothing was
// timed; what a GPU will not run, or has no room for, is told before the first step.
//
// Loading everything at once instead (CUDA_MODULE_LOADING=EAGER) would load all of cuDNN's engines.
#include <stdlib.h>

#include "stage_server/device/cuda/program.h"

static bool go_forward(struct program *program, struct error *error)
{
	for (uint32_t i = program->first_layer; i < program->end_layer; i++)
		if (!cuda_forward(program, 0, i, 0, error))
			return false;
	return !program->has_labels || cuda_loss(program, 0, 0, error);
}

// The first of two passes of a weight writes its gradient, the second one adds to it.
static bool go_backward(struct program *program, struct error *error)
{
	if (program->has_labels && !cuda_loss_backward(program, 0, 1.0f, error))
		return false;
	for (uint32_t i = program->end_layer; i-- > program->first_layer;)
		if (!cuda_backward_weight(program, 0, i, error) || !cuda_backward_weight(program, 0, i, error) ||
		    !cuda_backward_input(program, 0, i, error))
			return false;
	return true;
}

// A convolution's parameters change their layout on their way in and out, and so do their gradients.
static bool change_layouts(struct program *program)
{
	float *plain = program_pointer(program, &program->weight_temporary, 0);
	for (uint32_t i = 0; i < program->parameter_count; i++) {
		const struct parameter_state *parameter = &program->parameters[i];
		float *values = cuda_parameter_values(program, parameter);
		if (parameter->positions > 0 &&
		    (!cuda_floats_out(program, parameter, program->compute, values, plain, values) ||
		     !cuda_floats_in(program, parameter, program->compute, values, plain, values)))
			return false;
	}
	return true;
}

static bool sum_squares(struct program *program, struct error *error)
{
	double *squares = calloc(program->parameter_count + 1, sizeof(*squares));
	if (squares == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	bool ok = cuda_gradient_squares(program, squares, error);
	free(squares);
	return ok;
}

// SGD's momentum comes with each step: without, with one that is unset, and with one that is set.
static bool step(struct program *program, struct error *error)
{
	static const float momenta[] = {0.0f, 0.9f, 0.9f};
	for (int i = 0; i < 3; i++) {
		struct optimizer_step settings = {.beta1 = momenta[i], .beta2 = 0.999f, .gradient_scale = 1.0f};
		if (!cuda_optimizer_step(program, &settings, error))
			return false;
	}
	return true;
}

static bool forget(struct program *program, struct error *error)
{
	program->gradient_current = 0;
	program->held_slot = program->slots;
	program->momentum_is_unset = true;
	for (uint32_t i = 0; i < program->parameter_count; i++)
		program->parameters[i].gradient_is_zero = true;
	return cuda_zero(program, error);
}

bool cuda_rehearse(struct program *program, struct error *error)
{
	bool issued = cuda_transfers_rehearse(program) && change_layouts(program);
	bool ok = cuda_leave(program, issued, error, "boundaries") && go_forward(program, error) &&
		  (!program->training ||
		   (go_backward(program, error) && sum_squares(program, error) && step(program, error))) &&
		  cuda_synchronize(program, error) && forget(program, error);
	return ok || error_wrap(error, "before the first step");
}
