// Parameters and the optimizer; gradients.c has the gradients. All of them are float32 and lie at the same places in their regions,
// with gaps of zeros between them that stay zero, so that one kernel steps over everything.
#include <stdlib.h>

#include "stage_server/device/cuda/kernels/kernels.h"
#include "stage_server/device/cuda/program.h"
#include "stage_server/device/cuda/status.h"
#include "stage_server/device/program_spec.h"

static void describe(struct program *program, uint32_t i)
{
	struct parameter_state *parameter = &program->parameters[i];
	struct parameter *description = &parameter->description;
	model_parameter(&program->model, program->first_parameter + i, description);
	parameter->place = program->floats;
	parameter->gradient_is_zero = true;
	program->floats += (description->count + PARAMETER_ALIGNMENT - 1) / PARAMETER_ALIGNMENT * PARAMETER_ALIGNMENT;
	if (description->rank == 4) {
		parameter->filters = description->dimensions[0];
		parameter->channels = description->dimensions[1];
		parameter->positions = description->dimensions[2] * description->dimensions[3];
		cuda_need_weight_temporary(program, description->count * sizeof(float));
	}
	cuda_need_scratch(program, kernel_squares_scratch(description->count));
	if (program->optimizer.kind == OPTIMIZER_LAMB)
		cuda_need_scratch(program, kernel_lamb_scratch(description->count));
	struct layer_state *layer = &program->layers[description->layer - program->first_layer];
	if (description->is_bias)
		layer->bias = parameter;
	else
		layer->weight = parameter;
}

static bool place(struct program *program, struct error *error)
{
	uint64_t bytes = program->floats * sizeof(float);
	if (!cuda_reserve(program, REGION_PARAMETERS, bytes, &program->values, error))
		return false;
	if (program->type != DATA_FLOAT32 &&
	    !cuda_reserve(program, REGION_PARAMETERS, program->floats * data_type_bytes(program->type), &program->copy,
			  error))
		return false;
	if (!program->training)
		return true;
	for (uint32_t s = 0; s < optimizer_state_tensors(&program->optimizer); s++)
		if (!cuda_reserve(program, REGION_OPTIMIZER, bytes, &program->state[s], error))
			return false;
	return cuda_gradients_plan(program, error);
}

bool cuda_parameters_prepare(struct program *program, struct error *error)
{
	program->first_parameter = model_first_parameter(&program->model, program->first_layer);
	program->parameter_count =
		model_first_parameter(&program->model, program->end_layer) - program->first_parameter;
	program->momentum_is_unset = true;
	if (program->parameter_count == 0)
		return true;
	program->parameters = calloc(program->parameter_count, sizeof(program->parameters[0]));
	if (program->parameters == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	for (uint32_t i = 0; i < program->parameter_count; i++)
		describe(program, i);
	return place(program, error);
}

bool cuda_parameters_pad(struct program *program, struct parameter_state *weight, uint32_t channels,
			 struct error *error)
{
	weight->padded_channels = channels;
	if (channels == weight->channels)
		return true;
	uint64_t count = (uint64_t)weight->filters * weight->positions * channels;
	return cuda_reserve(program, REGION_PARAMETERS, count * data_type_bytes(program->type), &weight->padded, error);
}

// ---- where they are

static float *in_floats(const struct program *program, const struct block *block,
			const struct parameter_state *parameter)
{
	return (float *)program_pointer(program, block, 0) + parameter->place;
}

float *cuda_parameter_values(const struct program *program, const struct parameter_state *parameter)
{
	return in_floats(program, &program->values, parameter);
}

float *cuda_parameter_gradient(const struct program *program, const struct parameter_state *parameter)
{
	return in_floats(program, &program->gradients, parameter);
}

static void *copy_of(const struct program *program, const struct parameter_state *parameter)
{
	uint8_t *copy = program_pointer(program, &program->copy, 0);
	return copy + parameter->place * data_type_bytes(program->type);
}

void *cuda_parameter_weights(const struct program *program, const struct parameter_state *weight)
{
	if (weight->padded.bytes > 0)
		return program_pointer(program, &weight->padded, 0);
	return program->type == DATA_FLOAT32 ? cuda_parameter_values(program, weight) : copy_of(program, weight);
}

// ---- in and out

struct parameter_state *cuda_parameter_find(struct program *program, uint32_t index, struct error *error)
{
	if (index >= program->first_parameter && index - program->first_parameter < program->parameter_count)
		return &program->parameters[index - program->first_parameter];
	error_set(error, ERROR_FAILED, "parameter %u is not in this stage, [%u, %u)", index, program->first_parameter,
		  program->first_parameter + program->parameter_count);
	return NULL;
}

static bool pad(struct program *program, const struct parameter_state *parameter)
{
	return parameter->padded.bytes == 0 ||
	       cuda_ok(kernel_pad_rows(program->compute, (uint64_t)parameter->filters * parameter->positions,
				       parameter->channels, parameter->padded_channels,
				       cuda_parameter_values(program, parameter), program->type,
				       program_pointer(program, &parameter->padded, 0)),
		       &program->fault, "pad the weights");
}

bool cuda_floats_in(struct program *program, const struct parameter_state *parameter, cudaStream_t stream,
		    const float *values, float *plain, float *to)
{
	struct error *error = &program->fault;
	bool is_convolution = parameter->positions > 0;
	return cuda_ok(cudaMemcpyAsync(is_convolution ? plain : to, values,
				       parameter->description.count * sizeof(float), cudaMemcpyDefault, stream),
		       error, "copy to the GPU") &&
	       (!is_convolution ||
		cuda_ok(kernel_to_channels_last(stream, parameter->filters, parameter->channels, parameter->positions,
						DATA_FLOAT32, plain, DATA_FLOAT32, to),
			error, "change the layout"));
}

bool cuda_floats_out(struct program *program, const struct parameter_state *parameter, cudaStream_t stream,
		     const float *from, float *plain, float *ret_values)
{
	struct error *error = &program->fault;
	bool is_convolution = parameter->positions > 0;
	return (!is_convolution ||
		cuda_ok(kernel_to_channels_first(stream, parameter->filters, parameter->channels, parameter->positions,
						 DATA_FLOAT32, from, DATA_FLOAT32, plain),
			error, "change the layout")) &&
	       cuda_ok(cudaMemcpyAsync(ret_values, is_convolution ? plain : from,
				       parameter->description.count * sizeof(float), cudaMemcpyDefault, stream),
		       error, "copy from the GPU");
}

static bool write_values(struct program *program, const struct parameter_state *parameter, const float *values)
{
	struct error *error = &program->fault;
	uint64_t count = parameter->description.count;
	float *to = cuda_parameter_values(program, parameter);
	float *plain = program_pointer(program, &program->weight_temporary, 0);
	if (!cuda_group_finish(program) || !cuda_floats_in(program, parameter, program->compute, values, plain, to))
		return false;
	if (program->type != DATA_FLOAT32 && !cuda_ok(kernel_convert(program->compute, count, DATA_FLOAT32, to,
								     program->type, copy_of(program, parameter)),
						      error, "change the type"))
		return false;
	return pad(program, parameter) && cuda_ok(cudaStreamSynchronize(program->compute), error, "wait for the GPU");
}

bool cuda_write_parameter(struct program *program, uint32_t index, const float *values, struct error *error)
{
	struct parameter_state *parameter = cuda_parameter_find(program, index, error);
	if (parameter == NULL || !cuda_enter(program, "write_parameter", 0, false, error))
		return false;
	return cuda_leave(program, write_values(program, parameter, values), error, "write_parameter of %s",
			  parameter->description.name);
}

bool cuda_read_parameter(struct program *program, uint32_t index, float *ret_values, struct error *error)
{
	struct parameter_state *parameter = cuda_parameter_find(program, index, error);
	if (parameter == NULL || !cuda_enter(program, "read_parameter", 0, false, error))
		return false;
	bool ok = cuda_group_finish(program) &&
		  cuda_floats_out(program, parameter, program->compute, cuda_parameter_values(program, parameter),
				  program_pointer(program, &program->weight_temporary, 0), ret_values) &&
		  cuda_ok(cudaStreamSynchronize(program->compute), &program->fault, "wait for the GPU");
	return cuda_leave(program, ok, error, "read_parameter of %s", parameter->description.name);
}

// ---- the optimizer

static float *state_of(const struct program *program, uint32_t s)
{
	return program->state[s].bytes > 0 ? program_pointer(program, &program->state[s], 0) : NULL;
}

// Of the first `count` floats. `first`: the momentum is not set yet.
static bool issue_update(struct program *program, const struct optimizer_step *step, bool first, uint64_t count)
{
	void *copy = program->copy.bytes > 0 ? program_pointer(program, &program->copy, 0) : NULL;
	return cuda_ok(kernel_optimizer_step(program->compute, &program->optimizer, step, first, count,
					     program_pointer(program, &program->values, 0),
					     program_pointer(program, &program->gradients, 0), state_of(program, 0),
					     state_of(program, 1), program->type, copy),
		       &program->fault, "step");
}

// A tensor at a time: Lamb's steps are as long as a tensor's norm says.
static bool issue_lamb(struct program *program, const struct optimizer_step *step)
{
	for (uint32_t i = 0; i < program->parameter_count; i++) {
		const struct parameter_state *parameter = &program->parameters[i];
		void *copy = program->copy.bytes > 0 ? copy_of(program, parameter) : NULL;
		if (!cuda_ok(kernel_lamb_step(program->compute, &program->optimizer, step, parameter->description.count,
					      cuda_parameter_values(program, parameter),
					      cuda_parameter_gradient(program, parameter),
					      in_floats(program, &program->state[0], parameter),
					      in_floats(program, &program->state[1], parameter), program->type, copy,
					      program_pointer(program, &program->scratch, 0)),
			     &program->fault, "step"))
			return false;
	}
	return true;
}

static bool pad_all(struct program *program)
{
	for (uint32_t i = 0; i < program->parameter_count; i++)
		if (!pad(program, &program->parameters[i]))
			return false;
	return true;
}

static bool issue_step(struct program *program, const struct optimizer_step *step)
{
	for (uint32_t i = 0; i < program->parameter_count; i++)
		if (!cuda_gradient_fill(program, &program->parameters[i]))
			return false;
	if (program->floats == 0)
		return true;
	if (program->optimizer.kind == OPTIMIZER_LAMB)
		return issue_lamb(program, step) && pad_all(program);
	if (!issue_update(program, step, program->momentum_is_unset, program->floats))
		return false;
	if (step->beta1 != 0.0f)
		program->momentum_is_unset = false;
	return pad_all(program);
}

// SGD's momentum comes with each step, and has a kernel of its own where it is none, where it is not set yet, and where it is.
static bool rehearse_updates(struct program *program)
{
	static const float momenta[] = {0.0f, 0.9f, 0.9f};
	int count = program->optimizer.kind == OPTIMIZER_SGD && program->optimizer.no_momentum ? 1 : 3;
	for (int i = 0; i < count; i++) {
		struct optimizer_step step = {.beta1 = momenta[i], .beta2 = 0.999f, .gradient_scale = 1.0f};
		if (program->optimizer.kind == OPTIMIZER_LAMB) {
			if (!issue_lamb(program, &step))
				return false;
			break;
		}
		if (!issue_update(program, &step, i == 1, PARAMETER_ALIGNMENT))
			return false;
	}
	return pad_all(program);
}

// A convolution's parameters change their layout on their way in and out, and so do their gradients: by one kernel for all shapes.
static bool rehearse_layouts(struct program *program)
{
	float *plain = program_pointer(program, &program->weight_temporary, 0);
	const struct parameter_state *parameter = program->parameters, *end = parameter + program->parameter_count;
	while (parameter < end && parameter->positions == 0)
		parameter++;
	if (parameter == end)
		return true;
	float *values = cuda_parameter_values(program, parameter);
	return cuda_floats_out(program, parameter, program->compute, values, plain, values) &&
	       cuda_floats_in(program, parameter, program->compute, values, plain, values);
}

bool cuda_parameters_rehearse(struct program *program)
{
	return program->parameter_count == 0 ||
	       (rehearse_layouts(program) && (!program->training || rehearse_updates(program)));
}

bool cuda_optimizer_step(struct program *program, const struct optimizer_step *step, struct error *error)
{
	return cuda_enter(program, "optimizer_step", 0, true, error) &&
	       program_spec_check_step(&program->optimizer, step, error) &&
	       cuda_leave(program, issue_step(program, step), error, "optimizer_step");
}
