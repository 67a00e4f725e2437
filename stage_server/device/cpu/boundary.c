// What crosses the program's borders: between the host's memory, row-major and in the boundary's type, and the layouts inside.
#include "stage_server/device/cpu/program.h"

#include "stage_server/device/cpu/vector.h"

struct conversion {
	enum data_type type;
	const void *from;
	void *to;
};

static void widen(void *context, uint64_t begin, uint64_t end)
{
	const struct conversion *c = context;
	const uint8_t *from = c->from;
	data_type_widen(c->type, end - begin, from + begin * data_type_bytes(c->type), (float *)c->to + begin);
}

static void narrow(void *context, uint64_t begin, uint64_t end)
{
	const struct conversion *c = context;
	uint8_t *to = c->to;
	data_type_narrow(c->type, end - begin, (const float *)c->from + begin, to + begin * data_type_bytes(c->type));
}

// `kernel` NULL: the layout inside is the plain one.
static bool bring_in(struct program *program, const struct layout *plain, struct kernel *kernel, const void *values,
		     void *to)
{
	if (program->boundary_type == DATA_FLOAT32)
		return program_convert(program, kernel, values, to, layout_bytes(plain));
	void *wide = kernel == NULL ? to : program_pointer(program, &program->plain_temporary, 0);
	struct conversion conversion = {.type = program->boundary_type, .from = values, .to = wide};
	vector_for(program->device->threads, layout_bytes(plain) / sizeof(float), VECTOR_CHUNK, widen, &conversion);
	return kernel == NULL || program_convert(program, kernel, wide, to, 0);
}

static bool bring_out(struct program *program, const struct layout *plain, struct kernel *kernel, const void *from,
		      void *ret_values)
{
	if (program->boundary_type == DATA_FLOAT32)
		return program_convert(program, kernel, from, ret_values, layout_bytes(plain));
	void *wide = program_pointer(program, &program->plain_temporary, 0);
	if (kernel != NULL && !program_convert(program, kernel, from, wide, 0))
		return false;
	struct conversion conversion = {
		.type = program->boundary_type, .from = kernel == NULL ? from : wide, .to = ret_values};
	vector_for(program->device->threads, layout_bytes(plain) / sizeof(float), VECTOR_CHUNK, narrow, &conversion);
	return true;
}

static bool finish(bool ok, const char *operation, struct device_completion completion, struct error *error)
{
	if (!ok)
		return error_set(error, ERROR_FAILED, "%s failed in oneDNN", operation);
	device_complete(completion, true);
	return true;
}

bool cpu_write_input(struct program *program, uint32_t slot, const void *values, struct device_completion completion,
		     struct error *error)
{
	return program_enter(program, "write_input", slot, false, error) &&
	       finish(bring_in(program, program->layers[0].plain_input, program->input_import, values,
			       program_pointer(program, &program->input, slot)),
		      "write_input", completion, error);
}

bool cpu_read_output(struct program *program, uint32_t slot, void *ret_values, struct device_completion completion,
		     struct error *error)
{
	struct layer_state *last = program_last_layer(program);
	return program_enter(program, "read_output", slot, false, error) &&
	       finish(program_hold(program, slot, last) &&
			      bring_out(program, last->plain_output, program->output_export,
					program_pointer(program, &last->output.block, slot), ret_values),
		      "read_output", completion, error);
}

bool cpu_write_output_gradient(struct program *program, const void *values, struct device_completion completion,
			       struct error *error)
{
	return program_enter(program, "write_output_gradient", 0, true, error) &&
	       finish(bring_in(program, program_last_layer(program)->plain_output, program->output_gradient_import,
			       values, program_gradient(program)),
		      "write_output_gradient", completion, error);
}

bool cpu_read_input_gradient(struct program *program, void *ret_values, struct device_completion completion,
			     struct error *error)
{
	struct layer_state *first = &program->layers[0];
	if (first->is_first)
		return error_set(error, ERROR_FAILED, "read_input_gradient: the first stage has no input gradient");
	return program_enter(program, "read_input_gradient", 0, true, error) &&
	       finish(bring_out(program, first->plain_input, program->input_gradient_export, program_gradient(program),
				ret_values),
		      "read_input_gradient", completion, error);
}
