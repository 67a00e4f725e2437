// Where everything lies in the GPU's memory: regions are planned by adding up sizes, and then allocated, each at once.
#include <inttypes.h>

#include "stage_server/device/cuda/program.h"
#include "stage_server/device/cuda/status.h"

// A block or region beyond this is refused, so that no sum of sizes overflows: 2^47 * 65536 slots is below 2^64.
#define MAXIMUM_REGION_BYTES (1ull << 46)

static uint64_t aligned(uint64_t bytes)
{
	return (bytes + BLOCK_ALIGNMENT - 1) / BLOCK_ALIGNMENT * BLOCK_ALIGNMENT;
}

bool cuda_reserve(struct program *program, enum region region, uint64_t bytes, struct block *ret_block,
		  struct error *error)
{
	if (bytes > MAXIMUM_REGION_BYTES || program->region_bytes[region] > MAXIMUM_REGION_BYTES)
		return error_set(error, ERROR_OUT_OF_MEMORY, "the program needs more than 64 TiB");
	*ret_block = (struct block){.region = region, .offset = program->region_bytes[region], .bytes = bytes};
	program->region_bytes[region] += aligned(bytes);
	return true;
}

void cuda_need_scratch(struct program *program, uint64_t bytes)
{
	if (bytes > program->scratch_bytes)
		program->scratch_bytes = bytes;
}

void cuda_need_weight_temporary(struct program *program, uint64_t bytes)
{
	if (bytes > program->weight_temporary_bytes)
		program->weight_temporary_bytes = bytes;
}

static bool keeps_place(const struct program *program, const struct layer_state *state)
{
	return state->class->keeps_place != NULL && state->class->keeps_place(program, state->layer);
}

// Whether a new place for the layer's output will be the output of its run: all that follows in the run works in place.
static bool ends_run(const struct program *program, const struct layer_state *state)
{
	const struct layer_state *end = &program->layers[program->runs[state->run].end];
	for (const struct layer_state *next = state + 1; next < end; next++)
		if (!keeps_place(program, next))
			return false;
	return true;
}

bool cuda_place_output(struct program *program, struct layer_state *state, struct error *error)
{
	state->output = state->input;
	if (keeps_place(program, state) && !state->input.is_saved)
		return true;
	struct shape shape = state->layer->output;
	state->output = (struct value){.positions = shape.height * shape.width, .channels = shape.channels};
	return cuda_reserve(program, ends_run(program, state) ? REGION_STASH : program->inner_region,
			    value_bytes(program, &state->output), &state->output.block, error);
}

bool cuda_bring_input(struct program *program, const struct layer_state *state, uint32_t slot, struct error *error)
{
	void *from = program_pointer(program, &state->input.block, slot);
	void *to = program_pointer(program, &state->output.block, slot);
	return from == to || cuda_ok(cudaMemcpyAsync(to, from, value_bytes(program, &state->output),
						     cudaMemcpyDeviceToDevice, program->compute),
				     error, "copy the input");
}

static uint64_t allocated_bytes(const struct program *program, enum region region)
{
	return program->region_bytes[region] * (region == REGION_STASH ? program->slots : 1);
}

void cuda_program_memory(const struct program *program, struct memory_use *ret_use)
{
	*ret_use = (struct memory_use){
		.parameter_bytes = allocated_bytes(program, REGION_PARAMETERS),
		.gradient_bytes = allocated_bytes(program, REGION_GRADIENTS),
		.optimizer_bytes = allocated_bytes(program, REGION_OPTIMIZER),
		.stash_bytes = allocated_bytes(program, REGION_STASH),
		.workspace_bytes = allocated_bytes(program, REGION_SHARED) + allocated_bytes(program, REGION_WORKSPACE),
	};
}

static bool refuse(const struct program *program, size_t free_bytes, size_t total_bytes, struct error *error)
{
	struct memory_use use;
	cuda_program_memory(program, &use);
	const double gib = 1ull << 30;
	return error_set(
		error, ERROR_OUT_OF_MEMORY,
		"the stage needs %.2f GiB of GPU %d's memory (parameters %.2f, gradients %.2f, optimizer %.2f, "
		"stash %.2f, workspace %.2f), and %.2f of %.2f GiB are free",
		(double)memory_use_total(&use) / gib, program->device->gpu, (double)use.parameter_bytes / gib,
		(double)use.gradient_bytes / gib, (double)use.optimizer_bytes / gib, (double)use.stash_bytes / gib,
		(double)use.workspace_bytes / gib, (double)free_bytes / gib, (double)total_bytes / gib);
}

bool cuda_allocate(struct program *program, struct error *error)
{
	struct memory_use use;
	cuda_program_memory(program, &use);
	size_t free_bytes = 0, total_bytes = 0;
	if (!cuda_ok(cudaMemGetInfo(&free_bytes, &total_bytes), error, "query the GPU's memory"))
		return false;
	if (memory_use_total(&use) > free_bytes)
		return refuse(program, free_bytes, total_bytes, error);
	for (enum region region = 0; region < REGION_COUNT; region++) {
		uint64_t bytes = allocated_bytes(program, region);
		if (bytes == 0)
			continue;
		void *memory = NULL;
		cudaError_t status = cudaMalloc(&memory, bytes);
		if (status == cudaErrorMemoryAllocation) { // in pieces, or somebody else was faster
			(void)cudaGetLastError();
			return refuse(program, free_bytes, total_bytes, error);
		}
		if (!cuda_ok(status, error, "allocate %" PRIu64 " bytes on GPU %d", bytes, program->device->gpu))
			return false;
		program->region[region] = memory;
	}
	return cuda_zero(program, error);
}

bool cuda_zero(struct program *program, struct error *error)
{
	for (enum region region = 0; region < REGION_COUNT; region++)
		if (program->region[region] != NULL &&
		    !cuda_ok(cudaMemsetAsync(program->region[region], 0, allocated_bytes(program, region),
					     program->compute),
			     error, "zero the GPU's memory"))
			return false;
	return cuda_ok(cudaStreamSynchronize(program->compute), error, "zero the GPU's memory");
}

void cuda_release(struct program *program)
{
	for (enum region region = 0; region < REGION_COUNT; region++)
		if (program->region[region] != NULL)
			cuda_ok(cudaFree(program->region[region]), NULL, "free the GPU's memory");
}
