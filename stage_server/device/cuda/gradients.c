// Gradients as a whole: their way out and in, and their squares. Whatever computes with a gradient does so on the compute stream. With
// spec.replicas the copies, and the changes of layout that belong to them, run on the copy streams, and in a group the reductions on a
// stream of their own (group.c), so that they overlap with the passes of other layers. Two events of each parameter order them:
//
//   settled: on compute, when it has done what was issued on the gradient. A copy waits for it.
//   moved:   on a copy stream, behind the gradient's last copy. The next copy waits for it, and so does compute, but not
//            before it uses that gradient again (cuda_gradient_take): what comes between runs beside the copy.
//
// A convolution's gradient changes its layout in a buffer of its copy stream's own, which nobody else touches. Without
// spec.replicas copies are done on the compute stream, and waited for.
#include "stage_server/device/cuda/completions.h"
#include "stage_server/device/cuda/kernels/kernels.h"
#include "stage_server/device/cuda/program.h"
#include "stage_server/device/cuda/status.h"

bool cuda_gradients_plan(struct program *program, struct error *error)
{
	uint64_t buffer_bytes = 0;
	for (uint32_t i = 0; program->replicas && i < program->parameter_count; i++) {
		const struct parameter_state *parameter = &program->parameters[i];
		uint64_t bytes = parameter->positions > 0 ? parameter->description.count * sizeof(float) : 0;
		buffer_bytes = bytes > buffer_bytes ? bytes : buffer_bytes;
	}
	return cuda_reserve(program, REGION_GRADIENTS, program->floats * sizeof(float), &program->gradients, error) &&
	       cuda_reserve(program, REGION_WORKSPACE, program->parameter_count * sizeof(double), &program->squares,
			    error) &&
	       cuda_reserve(program, REGION_WORKSPACE, buffer_bytes, &program->gradient_landing, error) &&
	       cuda_reserve(program, REGION_WORKSPACE, buffer_bytes, &program->gradient_departure, error);
}

bool cuda_gradients_create(struct program *program, struct error *error)
{
	if (program->in_group &&
	    !cuda_ok(cudaEventCreateWithFlags(&program->reduced, cudaEventDisableTiming), error, "create an event"))
		return false;
	for (uint32_t i = 0; (program->replicas || program->in_group) && i < program->parameter_count; i++) {
		struct parameter_state *parameter = &program->parameters[i];
		if (!cuda_ok(cudaEventCreateWithFlags(&parameter->settled, cudaEventDisableTiming), error,
			     "create an event") ||
		    !cuda_ok(cudaEventCreateWithFlags(&parameter->moved, cudaEventDisableTiming), error,
			     "create an event"))
			return false;
	}
	return true;
}

void cuda_gradients_destroy(struct program *program)
{
	if (program->reduced != NULL)
		cuda_ok(cudaEventDestroy(program->reduced), NULL, "destroy an event");
	for (uint32_t i = 0; program->parameters != NULL && i < program->parameter_count; i++) {
		struct parameter_state *parameter = &program->parameters[i];
		if (parameter->settled != NULL)
			cuda_ok(cudaEventDestroy(parameter->settled), NULL, "destroy an event");
		if (parameter->moved != NULL)
			cuda_ok(cudaEventDestroy(parameter->moved), NULL, "destroy an event");
	}
}

// ---- compute's turn

bool cuda_gradient_take(struct program *program, struct parameter_state *parameter)
{
	parameter->is_settled = false;
	if (!parameter->is_moving)
		return true;
	parameter->is_moving = false;
	return cuda_wait_for(program->compute, parameter->moved, &program->fault);
}

static bool make_zeros(struct program *program, struct parameter_state *parameter)
{
	return cuda_gradient_take(program, parameter) &&
	       cuda_ok(cudaMemsetAsync(cuda_parameter_gradient(program, parameter), 0,
				       parameter->description.count * sizeof(float), program->compute),
		       &program->fault, "zero a gradient");
}

bool cuda_gradient_fill(struct program *program, struct parameter_state *parameter)
{
	return parameter->gradient_is_zero ? make_zeros(program, parameter) : cuda_gradient_take(program, parameter);
}

// Lazy: the next backward pass overwrites.
bool cuda_zero_gradients(struct program *program, struct error *error)
{
	if (!cuda_enter(program, "zero_gradients", 0, true, error))
		return false;
	for (uint32_t i = 0; i < program->parameter_count; i++)
		program->parameters[i].gradient_is_zero = true;
	return true;
}

static bool sum_squares(struct program *program, double *ret_squares)
{
	struct error *error = &program->fault;
	double *sums = program_pointer(program, &program->squares, 0);
	void *scratch = program_pointer(program, &program->scratch, 0);
	if (!cuda_group_finish(program))
		return false;
	for (uint32_t i = 0; i < program->parameter_count; i++) {
		struct parameter_state *parameter = &program->parameters[i];
		if (!cuda_gradient_fill(program, parameter) ||
		    !cuda_ok(kernel_squares(program->compute, parameter->description.count,
					    cuda_parameter_gradient(program, parameter), sums + i, scratch),
			     error, "square the gradient of %s", parameter->description.name))
			return false;
	}
	return program->parameter_count == 0 ||
	       (cuda_ok(cudaMemcpyAsync(ret_squares, sums, program->parameter_count * sizeof(double),
					cudaMemcpyDeviceToHost, program->compute),
			error, "copy from the GPU") &&
		cuda_ok(cudaStreamSynchronize(program->compute), error, "wait for the GPU"));
}

bool cuda_gradient_squares(struct program *program, double *ret_squares, struct error *error)
{
	return cuda_enter(program, "gradient_squares", 0, true, error) &&
	       cuda_leave(program, sum_squares(program, ret_squares), error, "gradient_squares");
}

// Those of the squares; the layouts' are the parameters', too.
bool cuda_gradients_rehearse(struct program *program)
{
	return program->parameter_count == 0 || cuda_ok(kernel_squares(program->compute, PARAMETER_ALIGNMENT,
								       program_pointer(program, &program->gradients, 0),
								       program_pointer(program, &program->squares, 0),
								       program_pointer(program, &program->scratch, 0)),
							&program->fault, "square gradients");
}

// ---- a copy's turn

bool cuda_gradient_begin_move(struct program *program, struct parameter_state *parameter, cudaStream_t stream)
{
	struct error *error = &program->fault;
	if (stream == program->compute)
		return cuda_gradient_take(program, parameter);
	if (!parameter->is_settled && !cuda_record(parameter->settled, program->compute, error))
		return false;
	parameter->is_settled = true;
	return cuda_wait_for(stream, parameter->settled, error) &&
	       (!parameter->is_moving || cuda_wait_for(stream, parameter->moved, error));
}

bool cuda_gradient_end_move(struct program *program, struct parameter_state *parameter, cudaStream_t stream)
{
	parameter->is_moving = stream != program->compute;
	return !parameter->is_moving || cuda_record(parameter->moved, stream, &program->fault);
}

// Issued, or on the way to an error: tells who waits, now where the program has no replicas.
static bool finish(struct program *program, bool issued, struct completions *completions, cudaStream_t stream,
		   struct device_completion completion, const char *operation, const struct parameter_state *parameter,
		   struct error *error)
{
	struct device_completion none = {0};
	bool ok = issued && cuda_complete(program, completions, stream, program->replicas ? completion : none);
	if (!cuda_leave(program, ok, error, "%s of %s", operation, parameter->description.name))
		return false;
	if (!program->replicas)
		device_complete(completion, true);
	return true;
}

// The next pass overwrites the zeros that were made for this, so that looking changes no bit.
bool cuda_read_gradient(struct program *program, uint32_t index, float *ret_values, struct device_completion completion,
			struct error *error)
{
	struct parameter_state *parameter = cuda_parameter_find(program, index, error);
	if (parameter == NULL || !cuda_enter(program, "read_gradient", 0, true, error))
		return false;
	cudaStream_t stream = program->replicas ? program->copy_out : program->compute;
	const struct block *plain = program->replicas ? &program->gradient_departure : &program->weight_temporary;
	bool issued = cuda_group_finish(program) && (!parameter->gradient_is_zero || make_zeros(program, parameter)) &&
		      cuda_gradient_begin_move(program, parameter, stream) &&
		      cuda_floats_out(program, parameter, stream, cuda_parameter_gradient(program, parameter),
				      program_pointer(program, plain, 0), ret_values) &&
		      cuda_gradient_end_move(program, parameter, stream);
	return finish(program, issued, program->departed, stream, completion, "read_gradient", parameter, error);
}

bool cuda_write_gradient(struct program *program, uint32_t index, const float *values,
			 struct device_completion completion, struct error *error)
{
	struct parameter_state *parameter = cuda_parameter_find(program, index, error);
	if (parameter == NULL || !cuda_enter(program, "write_gradient", 0, true, error))
		return false;
	cudaStream_t stream = program->replicas ? program->copy_in : program->compute;
	const struct block *plain = program->replicas ? &program->gradient_landing : &program->weight_temporary;
	parameter->gradient_is_zero = false;
	bool issued = cuda_group_finish(program) && cuda_gradient_begin_move(program, parameter, stream) &&
		      cuda_floats_in(program, parameter, stream, values, program_pointer(program, plain, 0),
				     cuda_parameter_gradient(program, parameter)) &&
		      cuda_gradient_end_move(program, parameter, stream);
	return finish(program, issued, program->landed, stream, completion, "write_gradient", parameter, error);
}
