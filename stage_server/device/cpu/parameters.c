// Parameters and their gradients: where they lie, in which layout, and how they go in and out.
#include <stdlib.h>
#include <string.h>

#include "stage_server/device/cpu/program.h"
#include "stage_server/device/cpu/vector.h"

bool parameters_prepare(struct program *program, struct error *error)
{
	program->first_parameter = model_first_parameter(&program->model, program->first_layer);
	program->parameter_count =
		model_first_parameter(&program->model, program->end_layer) - program->first_parameter;
	if (program->parameter_count == 0)
		return true;
	program->parameters = calloc(program->parameter_count, sizeof(program->parameters[0]));
	if (program->parameters == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	for (uint32_t i = 0; i < program->parameter_count; i++) {
		struct parameter_state *parameter = &program->parameters[i];
		struct parameter *description = &parameter->description;
		parameter->index = program->first_parameter + i;
		model_parameter(&program->model, parameter->index, description);
		int64_t dimensions[4] = {0};
		for (uint32_t d = 0; d < description->rank; d++)
			dimensions[d] = description->dimensions[d];
		parameter->plain = layout_create_plain(description->rank, dimensions);
		if (parameter->plain == NULL)
			return error_set(error, ERROR_OUT_OF_MEMORY, "parameter %s: no layout for it",
					 description->name);
		parameter->layout = parameter->forms[0].layout = parameter->plain;
		parameter->gradient_is_zero = parameter->momentum_is_unset = true;
		struct layer_state *layer = &program->layers[description->layer - program->first_layer];
		if (description->is_bias)
			layer->bias = parameter;
		else
			layer->weight = parameter;
	}
	return true;
}

static bool place_gradient(struct program *program, struct parameter_state *parameter, uint64_t *max_chunks,
			   struct error *error)
{
	uint64_t value_bytes = layout_bytes(parameter->layout), bytes = 0;
	for (uint32_t f = 0; f < 2; f++) {
		struct gradient_form *form = &parameter->forms[f];
		if (form->layout == NULL)
			continue;
		uint64_t form_bytes = layout_bytes(form->layout);
		bytes = form_bytes > bytes ? form_bytes : bytes;
		form->floats = form_bytes / sizeof(float);
		if (!program_reorder(program, parameter->plain, form->layout, &form->import, error) ||
		    !program_reorder(program, form->layout, parameter->plain, &form->export, error) ||
		    !program_reorder(program, form->layout, parameter->layout, &form->align, error))
			return false;
		if (form->align != NULL && value_bytes > program->weight_temporary_bytes)
			program->weight_temporary_bytes = value_bytes;
		uint64_t chunks = (form->floats + VECTOR_CHUNK - 1) / VECTOR_CHUNK;
		if (chunks > *max_chunks)
			*max_chunks = chunks;
	}
	return program_reserve(program, REGION_GRADIENTS, bytes, &parameter->gradient, error);
}

static bool place(struct program *program, struct parameter_state *parameter, uint64_t *max_chunks, struct error *error)
{
	uint64_t bytes = layout_bytes(parameter->layout);
	parameter->floats = bytes / sizeof(float);
	if (!program_reserve(program, REGION_PARAMETERS, bytes, &parameter->value, error) ||
	    !program_reorder(program, parameter->plain, parameter->layout, &parameter->import, error) ||
	    !program_reorder(program, parameter->layout, parameter->plain, &parameter->export, error))
		return false;
	if (!program->training)
		return true;
	uint64_t chunks = (parameter->floats + VECTOR_CHUNK - 1) / VECTOR_CHUNK;
	*max_chunks = chunks > *max_chunks ? chunks : *max_chunks;
	if (!place_gradient(program, parameter, max_chunks, error))
		return false;
	for (uint32_t s = 0; s < optimizer_state_tensors(&program->optimizer); s++)
		if (!program_reserve(program, REGION_OPTIMIZER, bytes, &parameter->state[s], error))
			return false;
	return true;
}

bool parameters_place(struct program *program, struct error *error)
{
	uint64_t max_chunks = 0;
	for (uint32_t i = 0; i < program->parameter_count; i++)
		if (!place(program, &program->parameters[i], &max_chunks, error))
			return error_wrap(error, "parameter %s", program->parameters[i].description.name);
	uint64_t sums = program->optimizer.kind == OPTIMIZER_LAMB ? 2 : 1; // a chunk: of values and of updates
	return program_reserve(program, REGION_WORKSPACE, sums * max_chunks * sizeof(double), &program->squares, error);
}

void parameters_release(struct program *program)
{
	for (uint32_t i = 0; program->parameters != NULL && i < program->parameter_count; i++) {
		struct parameter_state *parameter = &program->parameters[i];
		kernel_destroy(parameter->import);
		kernel_destroy(parameter->export);
		for (uint32_t f = 0; f < 2; f++) {
			kernel_destroy(parameter->forms[f].import);
			kernel_destroy(parameter->forms[f].export);
			kernel_destroy(parameter->forms[f].align);
		}
		layout_destroy(parameter->plain);
	}
	free(program->parameters);
}

static struct parameter_state *find(struct program *program, uint32_t parameter, struct error *error)
{
	if (parameter >= program->first_parameter && parameter - program->first_parameter < program->parameter_count)
		return &program->parameters[parameter - program->first_parameter];
	error_set(error, ERROR_FAILED, "parameter %u is not in this stage, [%u, %u)", parameter,
		  program->first_parameter, program->first_parameter + program->parameter_count);
	return NULL;
}

static bool fault(const struct parameter_state *parameter, const char *operation, struct error *error)
{
	return error_set(error, ERROR_FAILED, "%s of %s failed in oneDNN", operation, parameter->description.name);
}

bool cpu_write_parameter(struct program *program, uint32_t index, const float *values, struct error *error)
{
	struct parameter_state *parameter = find(program, index, error);
	if (parameter == NULL)
		return false;
	program->layers[parameter->description.layer - program->first_layer].weights_copy_is_current = false;
	return program_convert(program, parameter->import, values, program_pointer(program, &parameter->value, 0),
			       parameter->description.count * sizeof(float)) ||
	       fault(parameter, "write_parameter", error);
}

bool cpu_read_parameter(struct program *program, uint32_t index, float *ret_values, struct error *error)
{
	struct parameter_state *parameter = find(program, index, error);
	if (parameter == NULL)
		return false;
	return program_convert(program, parameter->export, program_pointer(program, &parameter->value, 0), ret_values,
			       parameter->description.count * sizeof(float)) ||
	       fault(parameter, "read_parameter", error);
}

bool cpu_read_gradient(struct program *program, uint32_t index, float *ret_values, struct device_completion completion,
		       struct error *error)
{
	struct parameter_state *parameter = find(program, index, error);
	if (parameter == NULL || !program_enter(program, "read_gradient", 0, true, error))
		return false;
	if (!program_convert(program, parameter_form(parameter)->export, parameter_gradient_values(program, parameter),
			     ret_values, parameter->description.count * sizeof(float)))
		return fault(parameter, "read_gradient", error);
	device_complete(completion, true);
	return true;
}

// A blocked layout's padding comes out as zeros.
bool cpu_write_gradient(struct program *program, uint32_t index, const float *values,
			struct device_completion completion, struct error *error)
{
	struct parameter_state *parameter = find(program, index, error);
	if (parameter == NULL || !program_enter(program, "write_gradient", 0, true, error))
		return false;
	if (!program_convert(program, parameter_form(parameter)->import, values,
			     program_pointer(program, &parameter->gradient, 0),
			     parameter->description.count * sizeof(float)))
		return fault(parameter, "write_gradient", error);
	parameter->gradient_is_zero = false;
	device_complete(completion, true);
	return true;
}

// Lazy: the next backward pass overwrites.
bool cpu_zero_gradients(struct program *program, struct error *error)
{
	for (uint32_t i = 0; i < program->parameter_count; i++)
		program->parameters[i].gradient_is_zero = true;
	return true;
}

float *parameter_gradient_values(struct program *program, struct parameter_state *parameter)
{
	float *values = program_pointer(program, &parameter->gradient, 0);
	if (parameter->gradient_is_zero) {
		memset(values, 0, parameter_form(parameter)->floats * sizeof(float));
		parameter->gradient_is_zero = false;
	}
	return values;
}

bool cpu_gradient_squares(struct program *program, double *ret_squares, struct error *error)
{
	if (!program->training)
		return error_set(error, ERROR_FAILED, "gradient_squares: the program is not for training");
	double *partial = program_pointer(program, &program->squares, 0);
	for (uint32_t i = 0; i < program->parameter_count; i++) {
		struct parameter_state *parameter = &program->parameters[i];
		ret_squares[i] = vector_squares(program->device->threads, parameter_form(parameter)->floats,
						parameter_gradient_values(program, parameter), partial);
	}
	return true;
}
