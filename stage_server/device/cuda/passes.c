// One pass of one layer, marks in the program's work, and how a fault of the GPU is told: once by the operation that met it, and by
// every operation after it. A kernel's fault shows where the GPU is asked next, which may be some operations later.
#include "stage_server/device/cuda/program.h"

#include <stdarg.h>
#include <stdio.h>

#include "stage_server/device/cuda/status.h"

bool cuda_enter(struct program *program, const char *operation, uint32_t slot, bool needs_training, struct error *error)
{
	if (program->failed)
		return error_set(error, program->fault.code, "%s: the GPU failed before: %s", operation,
				 program->fault.message);
	if (slot >= program->slots)
		return error_set(error, ERROR_FAILED, "%s: slot %u of %u", operation, slot, program->slots);
	if (needs_training && !program->training)
		return error_set(error, ERROR_FAILED, "%s: the program is not for training", operation);
	program->fault = (struct error){0};
	return cuda_leave(
		program,
		cuda_ok(cudaSetDevice(program->device->gpu), &program->fault, "use GPU %d", program->device->gpu),
		error, "%s", operation);
}

bool cuda_leave(struct program *program, bool ok, struct error *error, const char *operation, ...)
{
	if (ok)
		return true;
	char text[128];
	va_list arguments;
	va_start(arguments, operation);
	vsnprintf(text, sizeof(text), operation, arguments);
	va_end(arguments);
	error_wrap(&program->fault, "%s", text);
	program->failed = true;
	if (error != NULL)
		*error = program->fault;
	cuda_group_abort(program); // or what follows may wait for ever
	// The caller's memory is its own again once this returns, so no copy may be under way.
	cuda_ok(cudaStreamSynchronize(program->copy_in), NULL, "wait for copies");
	cuda_ok(cudaStreamSynchronize(program->copy_out), NULL, "wait for copies");
	return false;
}

static struct layer_state *enter_layer(struct program *program, const char *operation, uint32_t slot, uint32_t layer,
				       bool needs_training, struct error *error)
{
	if (layer < program->first_layer || layer >= program->end_layer) {
		error_set(error, ERROR_FAILED, "%s: layer %u is not in this stage, [%u, %u)", operation, layer,
			  program->first_layer, program->end_layer);
		return NULL;
	}
	return cuda_enter(program, operation, slot, needs_training, error)
		       ? &program->layers[layer - program->first_layer]
		       : NULL;
}

static bool leave_layer(struct program *program, const struct layer_state *state, bool ok, struct error *error,
			const char *operation)
{
	return cuda_leave(program, ok, error, "%s of layer %s (%s)", operation, state->layer->name,
			  layer_kind_name(state->layer->kind));
}

bool cuda_forward(struct program *program, uint32_t slot, uint32_t layer, uint64_t first_sample, struct error *error)
{
	struct layer_state *state = enter_layer(program, "forward", slot, layer, false, error);
	if (state == NULL)
		return false;
	cuda_checkpoint_begin_forward(program, state, slot, first_sample);
	bool ok = state->class->forward == NULL ||
		  state->class->forward(program, state, slot, first_sample, &program->fault);
	return leave_layer(program, state, ok, error, "forward");
}

bool cuda_backward_weight(struct program *program, uint32_t slot, uint32_t layer, struct error *error)
{
	struct layer_state *state = enter_layer(program, "backward_weight", slot, layer, true, error);
	if (state == NULL)
		return false;
	if (state->class->backward_weight == NULL)
		return true;
	bool ok = cuda_gradient_take(program, state->weight) && cuda_gradient_take(program, state->bias) &&
		  cuda_checkpoint_restore(program, state, slot, &program->fault) &&
		  state->class->backward_weight(program, state, slot, &program->fault);
	return leave_layer(program, state, ok, error, "backward_weight");
}

bool cuda_backward_input(struct program *program, uint32_t slot, uint32_t layer, struct error *error)
{
	struct layer_state *state = enter_layer(program, "backward_input", slot, layer, true, error);
	if (state == NULL)
		return false;
	if (state->is_first || state->class->backward_input == NULL || state->is_backward_elsewhere)
		return true;
	bool ok = cuda_checkpoint_restore(program, state, slot, &program->fault) &&
		  state->class->backward_input(program, state, slot, &program->fault);
	return leave_layer(program, state, ok, error, "backward_input");
}

bool cuda_synchronize(struct program *program, struct error *error)
{
	if (!cuda_enter(program, "synchronize", 0, false, error))
		return false;
	bool ok = cuda_group_finish(program) &&
		  cuda_ok(cudaStreamSynchronize(program->copy_in), &program->fault, "wait for copies") &&
		  cuda_ok(cudaStreamSynchronize(program->compute), &program->fault, "wait for kernels") &&
		  cuda_ok(cudaStreamSynchronize(program->copy_out), &program->fault, "wait for copies");
	return cuda_leave(program, ok, error, "synchronize");
}

bool cuda_mark(struct program *program, uint32_t mark, struct error *error)
{
	if (mark >= program->mark_count)
		return error_set(error, ERROR_FAILED, "mark: %u of %u", mark, program->mark_count);
	return cuda_enter(program, "mark", 0, false, error) &&
	       cuda_leave(program,
			  cuda_ok(cudaEventRecord(program->marks[mark], program->compute), &program->fault,
				  "record an event"),
			  error, "mark");
}

bool cuda_elapsed(struct program *program, uint32_t from, uint32_t to, uint64_t *ret_ns, struct error *error)
{
	if (from >= program->mark_count || to >= program->mark_count)
		return error_set(error, ERROR_FAILED, "elapsed: time marks %u and %u, the stage has %u", from, to,
				 program->mark_count);
	if (!cuda_enter(program, "elapsed", 0, false, error))
		return false;
	float milliseconds = 0.0f;
	// A mark that was not made, or not reached yet, is the caller's mistake, and no fault of the GPU.
	if (!cuda_ok(cudaEventElapsedTime(&milliseconds, program->marks[from], program->marks[to]), error,
		     "elapsed: between marks %u and %u", from, to))
		return false;
	*ret_ns = milliseconds > 0.0f ? (uint64_t)llround((double)milliseconds * 1e6) : 0;
	return true;
}
