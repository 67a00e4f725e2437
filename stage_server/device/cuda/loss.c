// Softmax cross-entropy over the last layer's outputs, and its gradient. Losses stay on the GPU, one for each micro-batch of a
// step, until somebody asks for them.
#include "stage_server/device/cuda/kernels/kernels.h"
#include "stage_server/device/cuda/program.h"
#include "stage_server/device/cuda/status.h"

bool cuda_loss_plan(struct program *program, struct error *error)
{
	if (!program->has_labels)
		return true;
	return cuda_reserve(program, REGION_STASH, program->n, &program->labels, error) &&
	       cuda_reserve(program, REGION_WORKSPACE, program->micro_batches * sizeof(float), &program->losses,
			    error) &&
	       cuda_reserve(program, REGION_WORKSPACE, program->micro_batches * sizeof(uint32_t), &program->correct,
			    error);
}

static bool enter(struct program *program, const char *operation, uint32_t slot, bool needs_training,
		  struct error *error)
{
	if (!program->has_labels)
		return error_set(error, ERROR_FAILED,
				 "%s: the last layer of the stage does not give one value per class", operation);
	return cuda_enter(program, operation, slot, needs_training, error);
}

bool cuda_loss(struct program *program, uint32_t slot, uint32_t micro_batch, struct error *error)
{
	if (micro_batch >= program->micro_batches)
		return error_set(error, ERROR_FAILED, "loss: micro-batch %u, the step has %u", micro_batch,
				 program->micro_batches);
	if (!enter(program, "loss", slot, false, error))
		return false;
	const struct value *logits = &program_last_layer(program)->output; // (N, 1, classes)
	bool ok = cuda_ok(kernel_loss(program->compute, program->type, program->n, logits->channels,
				      program_pointer(program, &logits->block, slot),
				      program_pointer(program, &program->labels, slot),
				      (float *)program_pointer(program, &program->losses, 0) + micro_batch,
				      (uint32_t *)program_pointer(program, &program->correct, 0) + micro_batch),
			  &program->fault, "kernel_loss");
	return cuda_leave(program, ok, error, "loss");
}

bool cuda_read_losses(struct program *program, uint32_t count, float *ret_losses, uint32_t *ret_correct,
		      struct error *error)
{
	if (count > program->micro_batches)
		return error_set(error, ERROR_FAILED, "read_losses: %u micro-batches, the step has %u", count,
				 program->micro_batches);
	if (!enter(program, "read_losses", 0, false, error))
		return false;
	bool ok = cuda_group_finish(program) &&
		  cuda_ok(cudaMemcpyAsync(ret_losses, program_pointer(program, &program->losses, 0),
					  count * sizeof(float), cudaMemcpyDeviceToHost, program->compute),
			  &program->fault, "copy from the GPU") &&
		  cuda_ok(cudaMemcpyAsync(ret_correct, program_pointer(program, &program->correct, 0),
					  count * sizeof(uint32_t), cudaMemcpyDeviceToHost, program->compute),
			  &program->fault, "copy from the GPU") &&
		  cuda_ok(cudaStreamSynchronize(program->compute), &program->fault, "wait for the GPU");
	return cuda_leave(program, ok, error, "read_losses");
}

bool cuda_loss_backward(struct program *program, uint32_t slot, float scale, struct error *error)
{
	if (!enter(program, "loss_backward", slot, true, error))
		return false;
	const struct value *logits = &program_last_layer(program)->output;
	double samples = (double)program->n * program->micro_batches;
	bool ok = cuda_ok(kernel_loss_backward(program->compute, program->type, program->n, logits->channels,
					       program_pointer(program, &logits->block, slot),
					       program_pointer(program, &program->labels, slot),
					       (float)((double)scale / samples), program_gradient(program)),
			  &program->fault, "kernel_loss_backward");
	return cuda_leave(program, ok, error, "loss_backward");
}
