// Max pool, forward by own loops over the library's blocked images, backward by the library; adaptive average pool by own loops
// over row-major images.
#include "stage_server/device/cpu/program.h"
#include "stage_server/device/cpu/vector.h"

static bool max_pool_prepare(struct program *program, struct layer_state *state, struct error *error)
{
	const struct layer *layer = state->layer;
	struct onednn *onednn = program->device->onednn;
	struct window_shape shape = {
		.n = program->n,
		.channels = layer->input.channels,
		.height = layer->input.height,
		.width = layer->input.width,
		.filters = layer->output.channels,
		.kernel_size = layer->kernel_size,
		.stride = layer->stride,
		.output_height = layer->output.height,
		.output_width = layer->output.width,
	};
	if (!kernel_create_max_pool(onednn, PASS_FORWARD, &shape, program->training, NULL, &state->forward, error))
		return false;
	state->wanted_input = kernel_layout(state->forward, ARGUMENT_SOURCE);
	state->given_output = kernel_layout(state->forward, ARGUMENT_DESTINATION);
	if (!program->training || state->is_first)
		return true;
	if (!kernel_create_max_pool(onednn, PASS_BACKWARD_INPUT, &shape, true, state->forward, &state->backward_input,
				    error))
		return false;
	state->wanted_for_input = kernel_layout(state->backward_input, ARGUMENT_DESTINATION_GRADIENT);
	state->given_gradient = kernel_layout(state->backward_input, ARGUMENT_SOURCE_GRADIENT);
	return true;
}

static bool max_pool_place(struct program *program, struct layer_state *state, struct error *error)
{
	program_need_scratchpad(program, kernel_scratchpad_bytes(state->backward_input));
	return program_reserve(program, REGION_STASH, layout_bytes(state->given_output), &state->output.block, error) &&
	       (!program->training ||
		program_reserve(program, REGION_STASH, layout_bytes(kernel_layout(state->forward, ARGUMENT_WORKSPACE)),
				&state->workspace, error));
}

enum { GROUP = 8, POOL_ROWS_CHUNK = 16 };

// Channels that lie together, compared at once. Loads need no alignment.
typedef float group_floats __attribute__((vector_size(GROUP * sizeof(float)), aligned(sizeof(float))));
typedef int32_t group_ints __attribute__((vector_size(GROUP * sizeof(int32_t)), aligned(sizeof(int32_t))));
typedef uint8_t group_bytes __attribute__((vector_size(GROUP), aligned(1)));

// Tensors of (planes, rows, columns, lanes): a plane is a sample's channels that lie together.
struct max_pool {
	const struct layer *layer;
	uint32_t lanes;
	const float *from;
	float *to;
	uint8_t *places;      // of each output: row * window + column of the largest, the first of equals; or
	int32_t *wide_places; // the same, for windows of more than a byte's places; both NULL: not wanted
	bool relu;            // of what is found
};

// Places come as 4 bytes or 1.
static inline __attribute__((always_inline)) void keep_group(const struct max_pool *p, uint64_t at,
							     group_floats largest, group_ints place)
{
	group_ints above = ~(largest <= 0.0f); // NaN, too
	if (p->relu)
		largest = (group_floats)(above & (group_ints)largest);
	*(group_floats *)(p->to + at) = largest;
	if (p->places != NULL)
		*(group_bytes *)(p->places + at) = __builtin_convertvector(place, group_bytes);
	if (p->wide_places != NULL)
		*(group_ints *)(p->wide_places + at) = place;
}

// One output of a group, whose window begins at `from`. NaN wins, as in PyTorch: it must reach the loss.
static inline __attribute__((always_inline)) void pool_group(const struct max_pool *p, uint32_t window,
							     const float *from, uint64_t at)
{
	uint64_t row_floats = (uint64_t)p->layer->input.width * p->lanes;
	group_floats largest = *(const group_floats *)from;
	group_ints place = {0};
	for (uint32_t y = 0; y < window; y++)
		for (uint32_t x = 0; x < window; x++) {
			group_floats values = *(const group_floats *)(from + y * row_floats + (uint64_t)x * p->lanes);
			// NOLINTNEXTLINE(misc-redundant-expression): NaN alone differs from itself
			group_ints wins = (values > largest) | (values != values);
			largest = (group_floats)((wins & (group_ints)values) | (~wins & (group_ints)largest));
			place = (wins & (int32_t)(y * window + x)) | (~wins & place);
		}
	keep_group(p, at, largest, place);
}

// The same of one channel, where the channels fill no vector and lie apart.
static inline __attribute__((always_inline)) void pool_one(const struct max_pool *p, const float *from, uint64_t at)
{
	uint32_t window = p->layer->kernel_size;
	float largest = *from;
	int32_t place = 0;
	for (uint32_t y = 0; y < window; y++)
		for (uint32_t x = 0; x < window; x++) {
			float value = from[(uint64_t)y * p->layer->input.width + x];
			bool wins = value > largest || value != value;
			largest = wins ? value : largest;
			place = wins ? (int32_t)(y * window + x) : place;
		}
	p->to[at] = p->relu && largest <= 0.0f ? 0.0f : largest;
	if (p->places != NULL)
		p->places[at] = (uint8_t)place;
	if (p->wide_places != NULL)
		p->wide_places[at] = place;
}

// Rows of outputs, over all planes. A window that the compiler knows is unrolled.
static inline __attribute__((always_inline)) void pool_rows(const struct max_pool *p, uint32_t window, uint64_t begin,
							    uint64_t end)
{
	struct shape in = p->layer->input, out = p->layer->output;
	for (uint64_t row = begin; row < end; row++) {
		uint64_t plane = row / out.height, top = row % out.height * p->layer->stride;
		const float *from = p->from + (plane * in.height + top) * in.width * p->lanes;
		uint64_t at = row * out.width * p->lanes;
		for (uint32_t x = 0; x < out.width;
		     x++, at += p->lanes, from += (uint64_t)p->layer->stride * p->lanes) {
			if (p->lanes == 1)
				pool_one(p, from, at);
			for (uint32_t lane = 0; lane + GROUP <= p->lanes; lane += GROUP)
				pool_group(p, window, from + lane, at + lane);
		}
	}
}

VECTOR_CLONES static void pool_any(void *context, uint64_t begin, uint64_t end)
{
	const struct max_pool pool = *(const struct max_pool *)context;
	switch (pool.layer->kernel_size) {
	case 2:
		pool_rows(&pool, 2, begin, end);
		break;
	case 3:
		pool_rows(&pool, 3, begin, end);
		break;
	default:
		pool_rows(&pool, pool.layer->kernel_size, begin, end);
	}
}

// The library's own forward pass loses NaN. Where each maximum was goes where and as its backward pass looks for it.
static bool max_pool_forward(struct program *program, struct layer_state *state, uint32_t slot, uint64_t first_sample)
{
	const struct layer *layer = state->layer;
	uint64_t outputs = program->n * shape_count(layer->output);
	void *places = program->training ? program_pointer(program, &state->workspace, slot) : NULL;
	bool wide = state->workspace.bytes > outputs;
	struct max_pool pool = {
		.layer = layer,
		.lanes = onednn_vector_lanes(layer->input.channels),
		.from = program_pointer(program, &state->input.block, slot),
		.to = program_pointer(program, &state->output.block, slot),
		.places = wide ? NULL : places,
		.wide_places = wide ? places : NULL,
		.relu = state->relu_before,
	};
	uint64_t planes = (uint64_t)program->n * layer->input.channels / pool.lanes;
	vector_for(program->device->threads, planes * layer->output.height, POOL_ROWS_CHUNK, pool_any, &pool);
	return true;
}

static bool max_pool_backward_input(struct program *program, struct layer_state *state, uint32_t slot)
{
	if (!program_run(program, state->backward_input,
			 (void *[ARGUMENT_COUNT]){
				 [ARGUMENT_DESTINATION_GRADIENT] = program_gradient(program),
				 [ARGUMENT_SOURCE_GRADIENT] = program_next_gradient(program),
				 [ARGUMENT_WORKSPACE] = program_pointer(program, &state->workspace, slot),
			 }))
		return false;
	program_swap_gradients(program);
	return true;
}

const struct layer_class max_pool_class = {
	.prepare = max_pool_prepare,
	.place = max_pool_place,
	.forward = max_pool_forward,
	.backward_input = max_pool_backward_input,
};

// An adaptive pool from a size to the same size is the identity, to the bit.
static bool is_identity(const struct layer *layer)
{
	return layer->input.height == layer->output.height && layer->input.width == layer->output.width;
}

static bool average_pool_prepare(struct program *program, struct layer_state *state, struct error *error)
{
	state->wanted_input = state->given_gradient = state->plain_input;
	state->given_output = state->wanted_for_input = state->plain_output;
	return true;
}

static bool average_pool_place(struct program *program, struct layer_state *state, struct error *error)
{
	if (is_identity(state->layer)) {
		state->output.block = state->input.block;
		return true;
	}
	return program_reserve(program, REGION_STASH, layout_bytes(state->given_output), &state->output.block, error);
}

enum { PLANES_CHUNK = 256 };

struct windows;

struct planes {
	const struct layer *layer;
	const float *from;
	float *to;
	const struct windows *rows, *columns;
};

// Window o of `out` over `in` elements: [floor(o in / out), ceil((o + 1) in / out)), as PyTorch.
static uint32_t window_begin(uint32_t o, uint32_t in, uint32_t out)
{
	return (uint32_t)((uint64_t)o * in / out);
}

static uint32_t window_end(uint32_t o, uint32_t in, uint32_t out)
{
	return (uint32_t)(((uint64_t)(o + 1) * in + out - 1) / out);
}

// Windows along one axis, and what each output row's or column's share is.
struct windows {
	uint16_t begin[MODEL_MAXIMUM_IMAGE_SIZE], end[MODEL_MAXIMUM_IMAGE_SIZE];
};

static void fill_windows(uint32_t in, uint32_t out, struct windows *windows)
{
	for (uint32_t o = 0; o < out; o++) {
		windows->begin[o] = (uint16_t)window_begin(o, in, out);
		windows->end[o] = (uint16_t)window_end(o, in, out);
	}
}

static void average_planes(void *context, uint64_t begin, uint64_t end)
{
	const struct planes *p = context;
	struct shape in = p->layer->input, out = p->layer->output;
	const struct windows *rows = p->rows, *columns = p->columns;
	for (uint64_t plane = begin; plane < end; plane++) {
		const float *from = p->from + plane * in.height * in.width;
		float *to = p->to + plane * out.height * out.width;
		for (uint32_t y = 0; y < out.height; y++)
			for (uint32_t x = 0; x < out.width; x++) {
				uint32_t area = (uint32_t)(rows->end[y] - rows->begin[y]) *
						(uint32_t)(columns->end[x] - columns->begin[x]);
				float sum = 0.0f;
				for (uint32_t i = rows->begin[y]; i < rows->end[y]; i++)
					for (uint32_t j = columns->begin[x]; j < columns->end[x]; j++)
						sum += from[(uint64_t)i * in.width + j];
				*to++ = sum / (float)area;
			}
	}
}

static void average_planes_backward(void *context, uint64_t begin, uint64_t end)
{
	const struct planes *p = context;
	struct shape in = p->layer->input, out = p->layer->output;
	const struct windows *rows = p->rows, *columns = p->columns;
	for (uint64_t plane = begin; plane < end; plane++) {
		const float *from = p->from + plane * out.height * out.width;
		float *to = p->to + plane * in.height * in.width;
		for (uint64_t i = 0; i < (uint64_t)in.height * in.width; i++)
			to[i] = 0.0f;
		for (uint32_t y = 0; y < out.height; y++)
			for (uint32_t x = 0; x < out.width; x++) {
				uint32_t area = (uint32_t)(rows->end[y] - rows->begin[y]) *
						(uint32_t)(columns->end[x] - columns->begin[x]);
				float share = *from++ / (float)area;
				for (uint32_t i = rows->begin[y]; i < rows->end[y]; i++)
					for (uint32_t j = columns->begin[x]; j < columns->end[x]; j++)
						to[(uint64_t)i * in.width + j] += share;
			}
	}
}

static void run_planes(struct program *program, struct layer_state *state, const float *from, float *to,
		       void (*work)(void *context, uint64_t begin, uint64_t end))
{
	struct windows rows, columns;
	const struct layer *layer = state->layer;
	fill_windows(layer->input.height, layer->output.height, &rows);
	fill_windows(layer->input.width, layer->output.width, &columns);
	struct planes planes = {.layer = layer, .from = from, .to = to, .rows = &rows, .columns = &columns};
	vector_for(program->device->threads, (uint64_t)program->n * layer->input.channels, PLANES_CHUNK, work, &planes);
}

static bool average_pool_forward(struct program *program, struct layer_state *state, uint32_t slot,
				 uint64_t first_sample)
{
	if (!is_identity(state->layer))
		run_planes(program, state, program_pointer(program, &state->input.block, slot),
			   program_pointer(program, &state->output.block, slot), average_planes);
	return true;
}

static bool average_pool_backward_input(struct program *program, struct layer_state *state, uint32_t slot)
{
	if (is_identity(state->layer))
		return true;
	run_planes(program, state, program_gradient(program), program_next_gradient(program), average_planes_backward);
	program_swap_gradients(program);
	return true;
}

const struct layer_class average_pool_class = {
	.prepare = average_pool_prepare,
	.place = average_pool_place,
	.forward = average_pool_forward,
	.backward_input = average_pool_backward_input,
};
