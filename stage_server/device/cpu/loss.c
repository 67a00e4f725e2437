// Softmax cross-entropy over the last layer's outputs, and its gradient.
#include <math.h>
#include <omp.h>
#include <string.h>

#include "stage_server/device/cpu/program.h"
#include "stage_server/device/cpu/vector.h"

static uint64_t class_count(const struct program *program)
{
	return shape_count(program_last_layer(program)->layer->output);
}

bool loss_place(struct program *program, struct error *error)
{
	if (!program->has_labels)
		return true;
	if (program->output_export != NULL || program->output_gradient_import != NULL) {
		uint64_t bytes = layout_bytes(program_last_layer(program)->plain_output);
		if (bytes > program->plain_temporary_bytes)
			program->plain_temporary_bytes = bytes;
	}
	return program_reserve(program, REGION_KEPT, program->n, &program->labels, error) &&
	       program_reserve(program, REGION_WORKSPACE, sizeof(double) * 2 * program->n, &program->losses, error);
}

static bool enter(struct program *program, const char *operation, uint32_t slot, struct error *error)
{
	omp_set_num_threads((int)program->device->threads);
	if (program->has_labels && slot < program->slots)
		return true;
	return error_set(error, ERROR_FAILED, "%s: slot %u, the stage has %u%s", operation, slot, program->slots,
			 program->has_labels ? "" : "; its last layer does not give one value per class");
}

bool cpu_load_labels(struct program *program, uint32_t slot, const uint8_t *labels, struct device_completion completion,
		     struct error *error)
{
	if (!enter(program, "load_labels", slot, error))
		return false;
	for (uint32_t i = 0; i < program->n; i++)
		if (labels[i] >= class_count(program))
			return error_set(error, ERROR_USAGE, "label %u of sample %u: the model has %llu classes",
					 labels[i], i, (unsigned long long)class_count(program));
	memcpy(program_pointer(program, &program->labels, slot), labels, program->n);
	device_complete(completion, true);
	return true;
}

struct softmax {
	const float *logits; // (n, classes)
	const uint8_t *labels;
	float *gradient; // (n, classes), or NULL
	double *losses;  // (n, 2): loss, and whether the largest logit is the label's
	uint64_t classes;
	double scale; // of the gradient
};

static void softmax_rows(void *context, uint64_t begin, uint64_t end)
{
	const struct softmax *s = context;
	for (uint64_t row = begin; row < end; row++) {
		const float *x = s->logits + row * s->classes;
		uint64_t largest = 0;
		for (uint64_t c = 1; c < s->classes; c++)
			largest = x[c] > x[largest] ? c : largest;
		double maximum = x[largest], sum = 0.0;
		for (uint64_t c = 0; c < s->classes; c++)
			sum += exp(x[c] - maximum);
		if (s->gradient == NULL) {
			s->losses[2 * row] = log(sum) + maximum - x[s->labels[row]];
			s->losses[2 * row + 1] = largest == s->labels[row];
			continue;
		}
		float *dx = s->gradient + row * s->classes;
		for (uint64_t c = 0; c < s->classes; c++)
			dx[c] = (float)((exp(x[c] - maximum) / sum - (c == s->labels[row])) * s->scale);
	}
}

// The logits, row-major.
static const float *logits(struct program *program, uint32_t slot)
{
	if (!program_hold(program, slot, program_last_layer(program)))
		return NULL;
	const void *output = program_pointer(program, &program_last_layer(program)->output.block, slot);
	if (program->output_export == NULL)
		return output;
	void *plain = program_pointer(program, &program->plain_temporary, 0);
	return program_convert(program, program->output_export, output, plain, 0) ? plain : NULL;
}

bool cpu_loss(struct program *program, uint32_t slot, uint32_t micro_batch, struct error *error)
{
	if (!enter(program, "loss", slot, error))
		return false;
	if (micro_batch >= program->micro_batches)
		return error_set(error, ERROR_FAILED, "loss: micro-batch %u, the step has %u", micro_batch,
				 program->micro_batches);
	struct softmax softmax = {
		.logits = logits(program, slot),
		.labels = program_pointer(program, &program->labels, slot),
		.losses = program_pointer(program, &program->losses, 0),
		.classes = class_count(program),
	};
	if (softmax.logits == NULL)
		return error_set(error, ERROR_FAILED, "loss failed in oneDNN");
	vector_for(program->device->threads, program->n, 8, softmax_rows, &softmax);
	double loss = 0.0, correct = 0.0;
	for (size_t i = 0; i < program->n; i++) {
		loss += softmax.losses[2 * i];
		correct += softmax.losses[2 * i + 1];
	}
	program->mean_losses[micro_batch] = (float)(loss / program->n);
	program->correct[micro_batch] = (uint32_t)correct;
	return true;
}

bool cpu_read_losses(struct program *program, uint32_t count, float *ret_losses, uint32_t *ret_correct,
		     struct error *error)
{
	if (!enter(program, "read_losses", 0, error))
		return false;
	if (count > program->micro_batches)
		return error_set(error, ERROR_FAILED, "read_losses: %u micro-batches, the step has %u", count,
				 program->micro_batches);
	memcpy(ret_losses, program->mean_losses, count * sizeof(ret_losses[0]));
	memcpy(ret_correct, program->correct, count * sizeof(ret_correct[0]));
	return true;
}

bool cpu_loss_backward(struct program *program, uint32_t slot, float scale, struct error *error)
{
	if (!enter(program, "loss_backward", slot, error))
		return false;
	if (!program->training)
		return error_set(error, ERROR_FAILED, "loss_backward: the program is not for training");
	// Logits and their gradient may share the temporary: a row is read before it is written.
	bool is_plain = program->output_gradient_import == NULL;
	struct softmax softmax = {
		.logits = logits(program, slot),
		.labels = program_pointer(program, &program->labels, slot),
		.gradient =
			is_plain ? program_gradient(program) : program_pointer(program, &program->plain_temporary, 0),
		.classes = class_count(program),
		.scale = scale / ((double)program->n * program->micro_batches),
	};
	if (softmax.logits != NULL)
		vector_for(program->device->threads, program->n, 8, softmax_rows, &softmax);
	if (softmax.logits == NULL || (!is_plain && !program_convert(program, program->output_gradient_import,
								     softmax.gradient, program_gradient(program), 0)))
		return error_set(error, ERROR_FAILED, "loss_backward failed in oneDNN");
	return true;
}
