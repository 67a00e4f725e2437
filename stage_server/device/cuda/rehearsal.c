// A step on zeros, before the first one. CUDA, cuDNN and cuBLASLt load a kernel's code when it is first launched (CUDA Programming Guide,
// "Lazy Loading"): that takes memory which is not planned, and may wait for all that runs on the GPU, among it a reduction that waits for
// other replicas. So whatever a step may launch is launched here, also where the tuning file knew each choice and nothing was
// timed; what a GPU will not run, or has no room for, is told before the first step.
//
// Loading everything at once instead (CUDA_MODULE_LOADING=EAGER) would load all of cuDNN's engines.
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
	for (uint32_t i = program->end_layer; i-- > program->first_layer;) {
		for (int pass = 0; pass < 2; pass++)
			if (!cuda_backward_weight(program, 0, i, error))
				return false;
		if (!cuda_backward_input(program, 0, i, error))
			return false;
	}
	return true;
}

static bool issue_the_rest(struct program *program)
{
	return cuda_transfers_rehearse(program) && cuda_parameters_rehearse(program) &&
	       (!program->training || cuda_gradients_rehearse(program));
}

static bool forget(struct program *program, struct error *error)
{
	program->gradient_current = 0;
	program->held_slot = program->slots;
	for (uint32_t i = 0; i < program->parameter_count; i++)
		program->parameters[i].gradient_is_zero = true;
	return cuda_zero(program, error);
}

bool cuda_rehearse(struct program *program, struct error *error)
{
	bool ok = go_forward(program, error) && (!program->training || go_backward(program, error)) &&
		  cuda_leave(program, issue_the_rest(program), error, "operations outside the layers") &&
		  cuda_synchronize(program, error) && forget(program, error);
	return ok || error_wrap(error, "warm-up before the first step");
}
