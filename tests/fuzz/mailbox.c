// stage_server/exchange/mailbox: whatever chunks come, in whatever order, over whatever connections, between takes and releases: one is
// taken exactly where a plain model of the protocol has it next, and what is taken out is what was put in.
#include <string.h>

#include "common/wire/types.h"
#include "stage_server/exchange/mailbox.h"
#include "tests/fuzz/fuzz.h"

enum {
	MAXIMUM_DEPTH = 3,
	MAXIMUM_CONNECTIONS = 3,
	TENSORS_PER_STEP = 4,
	MAXIMUM_TENSORS = 64,
	MAXIMUM_CHUNKS = 5,
	CHUNK = 16
};

static const uint32_t orders[2][TENSORS_PER_STEP] = {{0, 1, 2, 3}, {2, 0, 3, 1}};

struct model {
	struct mailbox_options options;
	struct mailbox *mailbox;
	uint32_t chunks;
	uint32_t next_tensor[MAXIMUM_CONNECTIONS], next_chunk[MAXIMUM_CONNECTIONS];
	uint32_t arrived[MAXIMUM_TENSORS + 1]; // chunks of each
	uint32_t taken, released;
};

static uint8_t value_of(uint32_t tensor, uint32_t chunk)
{
	return (uint8_t)(tensor * 31 + chunk + 1);
}

static size_t size_of(const struct model *model, uint32_t chunk)
{
	uint64_t offset = (uint64_t)chunk * CHUNK, rest = model->options.shape.bytes - offset;
	return rest < CHUNK ? rest : CHUNK;
}

// What the protocol has next on the connection. `ret_shape` has four.
static struct tensor_chunk next_of(const struct model *model, uint32_t connection, uint32_t *ret_shape)
{
	struct tensor_chunk chunk = {0};
	uint32_t tensor = model->next_tensor[connection];
	memcpy(ret_shape, model->options.shape.dimensions, sizeof(model->options.shape.dimensions));
	chunk.step = tensor / TENSORS_PER_STEP;
	chunk.micro_batch =
		(model->options.order != NULL ? model->options.order : orders[0])[tensor % TENSORS_PER_STEP];
	chunk.kind = model->options.kind;
	chunk.dtype = wire_data_type(DATA_FLOAT32);
	chunk.rank = model->options.shape.rank;
	chunk.shape = ret_shape;
	chunk.offset_bytes = (uint64_t)model->next_chunk[connection] * CHUNK;
	return chunk;
}

// Whether it made a difference.
static bool damage(struct tensor_chunk *chunk, uint32_t *shape, size_t *size, struct fuzz_choices *choices)
{
	struct tensor_chunk before = *chunk;
	size_t size_before = *size;
	uint32_t field = fuzz_choose_from(choices, 0, 7), value = fuzz_choose(choices), first = shape[0];
	switch (field) {
	case 0:
		chunk->step = value > 200 ? UINT64_MAX - value : value;
		break;
	case 1:
		chunk->micro_batch = value > 200 ? UINT32_MAX - value : value;
		break;
	case 2:
		chunk->kind = (enum tensor_kind)(value % 8);
		break;
	case 3:
		chunk->dtype = value % 8;
		break;
	case 4:
		chunk->rank = value % 5;
		break;
	case 5:
		shape[0] = value;
		break;
	case 6:
		chunk->offset_bytes = value > 200 ? UINT64_MAX - value : (uint64_t)value;
		break;
	case 7:
		*size = value > 200 ? SIZE_MAX - value : value;
		break;
	}
	return chunk->step != before.step || chunk->micro_batch != before.micro_batch || chunk->kind != before.kind ||
	       chunk->dtype != before.dtype || chunk->rank != before.rank || shape[0] != first ||
	       chunk->offset_bytes != before.offset_bytes || *size != size_before;
}

static void put(struct model *model, uint32_t connection, bool damaged, struct fuzz_choices *choices)
{
	uint32_t tensor = model->next_tensor[connection], index = model->next_chunk[connection], shape[4];
	bool carries = index < model->chunks;
	size_t size = carries ? size_of(model, index) : 0;
	struct tensor_chunk chunk = next_of(model, connection, shape);
	bool wrong = damaged && damage(&chunk, shape, &size, choices);
	bool expected = carries && !wrong && tensor < model->released + model->options.depth;
	uint8_t *destination = NULL;
	struct error error = {0};
	bool ok = mailbox_begin_chunk(model->mailbox, connection, &chunk, size, &destination, &error);
	DEMAND(ok == expected && (ok || error.code == ERROR_PROTOCOL));
	if (!ok)
		return;
	memset(destination, value_of(tensor, index),
	       size); // a place outside the mailbox's memory is the sanitizer's finding
	mailbox_end_chunk(model->mailbox, connection);
	model->arrived[tensor]++;
	model->next_chunk[connection] += model->options.connections;
	if (model->next_chunk[connection] >= model->chunks) {
		model->next_tensor[connection]++;
		model->next_chunk[connection] = connection;
	}
}

static void take(struct model *model)
{
	const void *values = NULL;
	if (model->arrived[model->taken] < model->chunks) // it would wait
		return;
	DEMAND(mailbox_take(model->mailbox, &values) == MAILBOX_OK);
	for (uint64_t i = 0; i < model->options.shape.bytes; i++)
		DEMAND(((const uint8_t *)values)[i] == value_of(model->taken, (uint32_t)(i / CHUNK)));
	model->taken++;
}

// At the end nobody waits for what will not come.
static void lose(struct model *model, bool close)
{
	const void *values = NULL;
	(close ? mailbox_close : mailbox_lose)(model->mailbox);
	bool whole = model->arrived[model->taken] == model->chunks;
	DEMAND(mailbox_take(model->mailbox, &values) == (close ? MAILBOX_CLOSED : whole ? MAILBOX_OK : MAILBOX_LOST));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_choices choices = {data, size};
	struct error error;
	uint32_t order = fuzz_choose_from(&choices, 0, 2),
		 floats = fuzz_choose_from(&choices, 1, MAXIMUM_CHUNKS * CHUNK / 4);
	struct model model = {
		.options = {.shape = {.rank = 2, .dimensions = {1, floats}, .bytes = floats * sizeof(float)},
			    .kind = TENSOR_GRADIENT,
			    .depth = fuzz_choose_from(&choices, 1, MAXIMUM_DEPTH),
			    .connections = fuzz_choose_from(&choices, 1, MAXIMUM_CONNECTIONS),
			    .chunk_bytes = CHUNK,
			    .tensors_per_step = TENSORS_PER_STEP,
			    .order = order < 2 ? orders[order] : NULL,
			    .memory = &buffer_library_memory}};
	model.chunks = (uint32_t)((model.options.shape.bytes + CHUNK - 1) / CHUNK);
	for (uint32_t i = 0; i < model.options.connections; i++)
		model.next_chunk[i] = i;
	DEMAND(mailbox_create(&model.options, &model.mailbox, &error));
	while (choices.size > 0 && model.taken + MAXIMUM_DEPTH < MAXIMUM_TENSORS) {
		uint32_t connection = fuzz_choose_from(&choices, 0, model.options.connections - 1);
		switch (fuzz_choose(&choices) % 4) {
		case 0:
			put(&model, connection, false, &choices);
			break;
		case 1:
			put(&model, connection, true, &choices);
			break;
		case 2:
			take(&model);
			break;
		case 3:
			if (model.released < model.taken) {
				mailbox_release(model.mailbox);
				model.released++;
			}
			break;
		}
	}
	lose(&model, size % 2 == 1);
	mailbox_destroy(model.mailbox);
	return 0;
}
