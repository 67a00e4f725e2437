// What goes between a program and the host's memory: images, labels, activations and gradients at its boundaries. A boundary is
// (N, C, P) in the boundary type, a value inside is (N, P, C) in the compute type.
//
// In: copy-in brings the host's bytes to a landing buffer; compute changes type and layout from there into the slot. Out: the
// other way, through a departure buffer. There are two of each, used in turn, so that one is filled while the other is read. The
// copy streams never touch a slot, so a slot's order is that of the compute stream alone. Nobody waits on the executor's thread:
//
//   copy-in:   wait free[i], copy to landing[i], record full[i], record the completion's event
//   compute:   wait full[i], convert from landing[i], record free[i]
//
//   compute:   wait free[i], convert to departure[i], record full[i]
//   copy-out:  wait full[i], copy from departure[i], record free[i], record the completion's event
#include "stage_server/device/cuda/completions.h"
#include "stage_server/device/cuda/kernels/kernels.h"
#include "stage_server/device/cuda/program.h"
#include "stage_server/device/cuda/status.h"

static struct shape input_shape(const struct program *program)
{
	return program->layers[0].layer->input;
}

static struct shape output_shape(const struct program *program)
{
	return program_last_layer(program)->layer->output;
}

// Of so many samples of a boundary.
static uint64_t boundary_bytes(const struct program *program, uint32_t n, struct shape shape)
{
	return n * shape_count(shape) * data_type_bytes(program->boundary_type);
}

static uint64_t images_bytes(const struct program *program)
{
	return 3ull * program->n * program->raw_image_size * program->raw_image_size;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

// The first stage's images come as bytes; as floats they may come a sample at a time (write_input), through small buffers.
bool cuda_transfers_plan(struct program *program, struct error *error)
{
	struct shape in = input_shape(program), out = output_shape(program);
	bool is_first = program->first_layer == 0;
	uint64_t landing = boundary_bytes(program, is_first ? 1 : program->n, in);
	uint64_t departure = boundary_bytes(program, program->n, out);
	if (is_first)
		landing = larger(landing, images_bytes(program));
	if (program->has_labels)
		landing = larger(landing, program->n);
	if (program->training)
		landing = larger(landing, boundary_bytes(program, program->n, out));
	if (program->training && !is_first)
		departure = larger(departure, boundary_bytes(program, program->n, in));
	if (program->layers[0].input.channels > in.channels)
		departure = larger(departure, shape_count(in) * sizeof(float));
	for (int i = 0; i < 2; i++)
		if (!cuda_reserve(program, REGION_WORKSPACE, landing, &program->landing[i].block, error) ||
		    !cuda_reserve(program, REGION_WORKSPACE, departure, &program->departure[i].block, error))
			return false;
	return true;
}

bool cuda_transfers_create(struct program *program, struct error *error)
{
	struct station *stations[] = {&program->landing[0], &program->landing[1], &program->departure[0],
				      &program->departure[1]};
	for (int i = 0; i < 4; i++)
		if (!cuda_ok(cudaEventCreateWithFlags(&stations[i]->full, cudaEventDisableTiming), error,
			     "create an event") ||
		    !cuda_ok(cudaEventCreateWithFlags(&stations[i]->free, cudaEventDisableTiming), error,
			     "create an event"))
			return false;
	return completions_create(program->device->gpu, &program->landed, error) &&
	       completions_create(program->device->gpu, &program->departed, error);
}

void cuda_transfers_destroy(struct program *program)
{
	completions_destroy(program->landed);
	completions_destroy(program->departed);
	struct station *stations[] = {&program->landing[0], &program->landing[1], &program->departure[0],
				      &program->departure[1]};
	for (int i = 0; i < 4; i++) {
		if (stations[i]->full != NULL)
			cuda_ok(cudaEventDestroy(stations[i]->full), NULL, "destroy an event");
		if (stations[i]->free != NULL)
			cuda_ok(cudaEventDestroy(stations[i]->free), NULL, "destroy an event");
	}
}

// ---- streams

bool cuda_record(cudaEvent_t event, cudaStream_t stream, struct error *error)
{
	return cuda_ok(cudaEventRecord(event, stream), error, "record an event");
}

bool cuda_wait_for(cudaStream_t stream, cudaEvent_t event, struct error *error)
{
	return cuda_ok(cudaStreamWaitEvent(stream, event, 0), error, "wait for an event");
}

// From the host, or from what another stage of this process wrote, into the next landing buffer; what is issued on compute afterwards finds it there.
static bool land(struct program *program, const void *from, uint64_t bytes, struct station **ret_station)
{
	struct error *error = &program->fault;
	struct station *station = &program->landing[program->landing_next];
	program->landing_next = 1 - program->landing_next;
	*ret_station = station;
	return cuda_wait_for(program->copy_in, station->free, error) &&
	       cuda_ok(cudaMemcpyAsync(program_pointer(program, &station->block, 0), from, bytes, cudaMemcpyDefault,
				       program->copy_in),
		       error, "copy to the GPU") &&
	       cuda_record(station->full, program->copy_in, error) &&
	       cuda_wait_for(program->compute, station->full, error);
}

bool cuda_complete(struct program *program, struct completions *completions, cudaStream_t stream,
		   struct device_completion completion)
{
	return completion.call != NULL ? completions_add(completions, stream, completion, &program->fault)
				       : cuda_ok(cudaStreamSynchronize(stream), &program->fault, "wait for a copy");
}

// ---- types and layouts

static bool copy_on_device(struct program *program, const void *from, void *to, uint64_t bytes)
{
	return cuda_ok(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, program->compute), &program->fault,
		       "copy on the GPU");
}

// (n, C, P) in the boundary type to (n, P, C) in the compute type.
static bool import_values(struct program *program, uint32_t n, struct shape shape, const void *from, void *to)
{
	uint32_t positions = shape.height * shape.width;
	uint64_t count = n * shape_count(shape);
	if (positions > 1)
		return cuda_ok(kernel_to_channels_last(program->compute, n, shape.channels, positions,
						       program->boundary_type, from, program->type, to),
			       &program->fault, "change the layout");
	if (program->boundary_type == program->type)
		return copy_on_device(program, from, to, count * data_type_bytes(program->type));
	return cuda_ok(kernel_convert(program->compute, count, program->boundary_type, from, program->type, to),
		       &program->fault, "change the type");
}

static bool export_values(struct program *program, struct shape shape, const void *from, void *to)
{
	uint32_t positions = shape.height * shape.width;
	uint64_t count = program->n * shape_count(shape);
	if (positions > 1)
		return cuda_ok(kernel_to_channels_first(program->compute, program->n, shape.channels, positions,
							program->type, from, program->boundary_type, to),
			       &program->fault, "change the layout");
	if (program->boundary_type == program->type)
		return copy_on_device(program, from, to, count * data_type_bytes(program->type));
	return cuda_ok(kernel_convert(program->compute, count, program->type, from, program->boundary_type, to),
		       &program->fault, "change the type");
}

// The same into a value of more channels, by way of a departure buffer.
static bool import_padded(struct program *program, uint32_t n, struct shape shape, uint32_t channels, const void *from,
			  void *to)
{
	struct station *station = &program->departure[0];
	float *plain = program_pointer(program, &station->block, 0); // (n, P, C)
	uint32_t positions = shape.height * shape.width;
	return cuda_wait_for(program->compute, station->free, &program->fault) &&
	       cuda_ok(kernel_to_channels_last(program->compute, n, shape.channels, positions, program->boundary_type,
					       from, DATA_FLOAT32, plain),
		       &program->fault, "change the layout") &&
	       cuda_ok(kernel_pad_rows(program->compute, (uint64_t)n * positions, shape.channels, channels, plain,
				       program->type, to),
		       &program->fault, "pad the channels");
}

// ---- in

static bool import_images(struct program *program, uint32_t slot, const uint8_t *images)
{
	const struct value *input = &program->layers[0].input;
	struct image_kernel spec = {.n = program->n,
				    .raw_size = program->raw_image_size,
				    .size = program->model.image_size,
				    .channels = input->channels};
	for (int i = 0; i < 3; i++) {
		spec.mean[i] = program->mean[i];
		spec.standard_deviation[i] = program->standard_deviation[i];
	}
	return cuda_ok(kernel_images(program->compute, program->type, &spec, images,
				     program_pointer(program, &input->block, slot)),
		       &program->fault, "resize");
}

static bool issue_images(struct program *program, uint32_t slot, const uint8_t *images)
{
	struct station *station = NULL;
	return land(program, images, images_bytes(program), &station) &&
	       import_images(program, slot, program_pointer(program, &station->block, 0)) &&
	       cuda_record(station->free, program->compute, &program->fault);
}

bool cuda_load_images(struct program *program, uint32_t slot, const uint8_t *images,
		      struct device_completion completion, struct error *error)
{
	if (program->first_layer != 0)
		return error_set(error, ERROR_FAILED, "load_images: the stage begins with layer %u, not 0",
				 program->first_layer);
	if (!cuda_enter(program, "load_images", slot, false, error))
		return false;
	bool ok = issue_images(program, slot, images) &&
		  cuda_complete(program, program->landed, program->copy_in, completion);
	return cuda_leave(program, ok, error, "load_images");
}

static bool issue_labels(struct program *program, uint32_t slot, const uint8_t *labels)
{
	struct station *station = NULL;
	return land(program, labels, program->n, &station) &&
	       copy_on_device(program, program_pointer(program, &station->block, 0),
			      program_pointer(program, &program->labels, slot), program->n) &&
	       cuda_record(station->free, program->compute, &program->fault);
}

bool cuda_load_labels(struct program *program, uint32_t slot, const uint8_t *labels,
		      struct device_completion completion, struct error *error)
{
	if (!program->has_labels)
		return error_set(error, ERROR_FAILED,
				 "load_labels: the last layer of the stage does not give one value per class");
	if (!cuda_enter(program, "load_labels", slot, false, error))
		return false;
	uint64_t classes = shape_count(output_shape(program));
	for (uint32_t i = 0; i < program->n; i++)
		if (labels[i] >= classes)
			return error_set(error, ERROR_USAGE, "label %u of sample %u: the model has %llu classes",
					 labels[i], i, (unsigned long long)classes);
	bool ok = issue_labels(program, slot, labels) &&
		  cuda_complete(program, program->landed, program->copy_in, completion);
	return cuda_leave(program, ok, error, "load_labels");
}

// As many samples at a time as a landing buffer holds: all of them, but for images that come as floats.
static bool issue_input(struct program *program, uint32_t slot, const uint8_t *values)
{
	const struct value *input = &program->layers[0].input;
	struct shape shape = input_shape(program);
	bool is_padded = input->channels > shape.channels;
	uint64_t sample_bytes = boundary_bytes(program, 1, shape),
		 most = program->landing[0].block.bytes / sample_bytes;
	if (is_padded) {
		uint64_t held = program->departure[0].block.bytes / (shape_count(shape) * sizeof(float));
		most = held < most ? held : most;
	}
	uint64_t row_bytes = value_bytes(program, input) / program->n;
	for (uint32_t begin = 0, count = 0; begin < program->n; begin += count) {
		struct station *station = NULL;
		count = program->n - begin < most ? program->n - begin : (uint32_t)most;
		if (!land(program, values + begin * sample_bytes, count * sample_bytes, &station))
			return false;
		const void *from = program_pointer(program, &station->block, 0);
		void *to = (uint8_t *)program_pointer(program, &input->block, slot) + begin * row_bytes;
		if (is_padded ? !import_padded(program, count, shape, input->channels, from, to)
			      : !import_values(program, count, shape, from, to))
			return false;
		if (!cuda_record(station->free, program->compute, &program->fault))
			return false;
	}
	return true;
}

bool cuda_write_input(struct program *program, uint32_t slot, const void *values, struct device_completion completion,
		      struct error *error)
{
	if (!cuda_enter(program, "write_input", slot, false, error))
		return false;
	bool ok = issue_input(program, slot, values) &&
		  cuda_complete(program, program->landed, program->copy_in, completion);
	return cuda_leave(program, ok, error, "write_input");
}

static bool issue_output_gradient(struct program *program, const void *values)
{
	struct shape shape = output_shape(program);
	struct station *station = NULL;
	return land(program, values, boundary_bytes(program, program->n, shape), &station) &&
	       import_values(program, program->n, shape, program_pointer(program, &station->block, 0),
			     program_gradient(program)) &&
	       cuda_record(station->free, program->compute, &program->fault);
}

bool cuda_write_output_gradient(struct program *program, const void *values, struct device_completion completion,
				struct error *error)
{
	if (!cuda_enter(program, "write_output_gradient", 0, true, error))
		return false;
	bool ok = issue_output_gradient(program, values) &&
		  cuda_complete(program, program->landed, program->copy_in, completion);
	return cuda_leave(program, ok, error, "write_output_gradient");
}

// ---- out

static bool depart(struct program *program, struct shape shape, const void *from, void *to)
{
	struct error *error = &program->fault;
	struct station *station = &program->departure[program->departure_next];
	program->departure_next = 1 - program->departure_next;
	void *buffer = program_pointer(program, &station->block, 0);
	return cuda_wait_for(program->compute, station->free, error) && export_values(program, shape, from, buffer) &&
	       cuda_record(station->full, program->compute, error) &&
	       cuda_wait_for(program->copy_out, station->full, error) &&
	       cuda_ok(cudaMemcpyAsync(to, buffer, boundary_bytes(program, program->n, shape), cudaMemcpyDefault,
				       program->copy_out),
		       error, "copy from the GPU") &&
	       cuda_record(station->free, program->copy_out, error);
}

bool cuda_read_output(struct program *program, uint32_t slot, void *ret_values, struct device_completion completion,
		      struct error *error)
{
	if (!cuda_enter(program, "read_output", slot, false, error))
		return false;
	const void *output = program_pointer(program, &program_last_layer(program)->output.block, slot);
	bool ok = depart(program, output_shape(program), output, ret_values) &&
		  cuda_complete(program, program->departed, program->copy_out, completion);
	return cuda_leave(program, ok, error, "read_output");
}

bool cuda_read_input_gradient(struct program *program, void *ret_values, struct device_completion completion,
			      struct error *error)
{
	if (program->first_layer == 0)
		return error_set(error, ERROR_FAILED, "read_input_gradient: the first stage has no input gradient");
	if (!cuda_enter(program, "read_input_gradient", 0, true, error))
		return false;
	bool ok = depart(program, input_shape(program), program_gradient(program), ret_values) &&
		  cuda_complete(program, program->departed, program->copy_out, completion);
	return cuda_leave(program, ok, error, "read_input_gradient");
}

// ---- before the first step

// Images that come as floats are no part of a step.
bool cuda_transfers_rehearse(struct program *program)
{
	bool is_first = program->first_layer == 0;
	struct shape in = input_shape(program), out = output_shape(program);
	const void *landing = program_pointer(program, &program->landing[0].block, 0);
	void *departure = program_pointer(program, &program->departure[0].block, 0);
	const void *output = program_pointer(program, &program_last_layer(program)->output.block, 0);
	void *input = program_pointer(program, &program->layers[0].input.block, 0);
	if (is_first ? !import_images(program, 0, landing) : !import_values(program, program->n, in, landing, input))
		return false;
	if (!export_values(program, out, output, departure))
		return false;
	return !program->training || (import_values(program, program->n, out, landing, program_gradient(program)) &&
				      (is_first || export_values(program, in, program_gradient(program), departure)));
}
