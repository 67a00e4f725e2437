// See mailbox.h. Tensors are numbered: number = step * tensors_per_step + position in the order; number n lives in place
// n % depth. A place is free for number n when number n - depth was released.
#include "stage_server/exchange/mailbox.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/types.h"

enum { PLACE_ALIGNMENT = 64 };

// The next chunk of a connection: chunks c, c + connections, ... of each tensor come over connection c.
struct expected {
	uint64_t number;
	uint64_t chunk;
};

struct mailbox {
	struct mailbox_options options;
	uint32_t *order; // [tensors_per_step]; NULL: 0, 1, ...
	uint64_t chunks; // per tensor
	uint64_t place_bytes;
	struct buffer_memory memory;
	uint8_t *places;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct expected *expected; // [connections]
	uint64_t *missing;         // [depth] chunks
	uint64_t taken, released;  // numbers below them were given out, and are done with
	bool lost, closed;
};

static uint64_t place_bytes(const struct mailbox_options *options)
{
	return (options->shape.bytes + PLACE_ALIGNMENT - 1) / PLACE_ALIGNMENT * PLACE_ALIGNMENT;
}

uint64_t mailbox_bytes(const struct mailbox_options *options)
{
	return options->depth * place_bytes(options);
}

bool mailbox_create(const struct mailbox_options *options, struct mailbox **ret_mailbox, struct error *error)
{
	struct mailbox *mailbox = calloc(1, sizeof(*mailbox));
	if (mailbox == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "no memory for a mailbox");
	mailbox->options = *options;
	mailbox->chunks = (options->shape.bytes + options->chunk_bytes - 1) / options->chunk_bytes;
	mailbox->place_bytes = place_bytes(options);
	if (options->order != NULL)
		mailbox->order = calloc(options->tensors_per_step, sizeof(*mailbox->order));
	mailbox->expected = calloc(options->connections, sizeof(*mailbox->expected));
	mailbox->missing = calloc(options->depth + 1, sizeof(*mailbox->missing));
	mailbox->memory = *options->memory;
	if (options->depth > 0)
		mailbox->places = mailbox->memory.allocate(mailbox->memory.user, mailbox_bytes(options));
	pthread_mutex_init(&mailbox->lock, NULL);
	pthread_cond_init(&mailbox->changed, NULL);
	if ((mailbox->order == NULL && options->order != NULL) || mailbox->expected == NULL ||
	    mailbox->missing == NULL || (mailbox->places == NULL && options->depth > 0)) {
		mailbox_destroy(mailbox);
		return error_set(error, ERROR_OUT_OF_MEMORY, "no memory for %" PRIu64 " bytes of mailbox",
				 mailbox_bytes(options));
	}
	if (options->order != NULL)
		memcpy(mailbox->order, options->order, options->tensors_per_step * sizeof(*mailbox->order));
	if (options->depth > 0)
		memset(mailbox->places, 0, mailbox_bytes(options)); // touched now, not inside a step
	for (uint32_t i = 0; i < options->connections; i++)
		mailbox->expected[i].chunk = i;
	for (uint32_t i = 0; i < options->depth; i++)
		mailbox->missing[i] = mailbox->chunks;
	*ret_mailbox = mailbox;
	return true;
}

void mailbox_destroy(struct mailbox *mailbox)
{
	if (mailbox == NULL)
		return;
	pthread_cond_destroy(&mailbox->changed);
	pthread_mutex_destroy(&mailbox->lock);
	free(mailbox->order);
	free(mailbox->expected);
	free(mailbox->missing);
	if (mailbox->places != NULL)
		mailbox->memory.release(mailbox->memory.user, mailbox->places);
	free(mailbox);
}

static const char *kind_name(enum tensor_kind kind)
{
	switch (kind) {
	case TENSOR_ACTIVATION:
		return "an activation";
	case TENSOR_GRADIENT:
		return "a gradient";
	case TENSOR_GRADIENT_SUM:
		return "a sum of gradients";
	default:
		return "a tensor of unknown kind";
	}
}

static bool check_tensor(const struct mailbox *mailbox, const struct tensor_chunk *chunk, struct error *error)
{
	const struct tensor_shape *shape = &mailbox->options.shape;
	if (chunk->kind != mailbox->options.kind)
		return error_set(error, ERROR_PROTOCOL,
				 "step %" PRIu64 ", micro-batch %u: %s came where %s was expected", chunk->step,
				 chunk->micro_batch, kind_name(chunk->kind), kind_name(mailbox->options.kind));
	if (chunk->dtype != wire_data_type(shape->type))
		return error_set(error, ERROR_PROTOCOL,
				 "tensor of step %" PRIu64 ", micro-batch %u has dtype %d, expected %s (%d)",
				 chunk->step, chunk->micro_batch, (int)chunk->dtype, data_type_name(shape->type),
				 (int)wire_data_type(shape->type));
	if (chunk->rank == shape->rank &&
	    memcmp(chunk->shape, shape->dimensions, shape->rank * sizeof(chunk->shape[0])) == 0)
		return true;
	char theirs[DIMENSIONS_TEXT_SIZE], ours[DIMENSIONS_TEXT_SIZE];
	return error_set(error, ERROR_PROTOCOL,
			 "tensor of step %" PRIu64 ", micro-batch %u has shape (%s), expected (%s)", chunk->step,
			 chunk->micro_batch, tensor_dimensions_text(chunk->rank, chunk->shape, theirs),
			 tensor_dimensions_text(shape->rank, shape->dimensions, ours));
}

// With the lock held.
static bool check_place(const struct mailbox *mailbox, uint32_t connection, const struct tensor_chunk *chunk,
			size_t size, struct error *error)
{
	const struct mailbox_options *options = &mailbox->options;
	const struct expected *expected = &mailbox->expected[connection];
	uint64_t step = expected->number / options->tensors_per_step;
	uint32_t position = (uint32_t)(expected->number % options->tensors_per_step);
	uint32_t micro_batch = mailbox->order != NULL ? mailbox->order[position] : position;
	uint64_t offset = expected->chunk * options->chunk_bytes;
	uint64_t rest = offset < options->shape.bytes ? options->shape.bytes - offset : 0;
	uint64_t bytes = rest < options->chunk_bytes ? rest : options->chunk_bytes;
	if (expected->chunk >= mailbox->chunks)
		return error_set(error, ERROR_PROTOCOL, "a chunk came over connection %u, which has none to carry",
				 connection);
	if (chunk->step != step || chunk->micro_batch != micro_batch || chunk->offset_bytes != offset || size != bytes)
		return error_set(error, ERROR_PROTOCOL,
				 "chunk of step %" PRIu64 ", micro-batch %u, bytes %" PRIu64
				 "+%zu came over connection %u, "
				 "expected step %" PRIu64 ", micro-batch %u, bytes %" PRIu64 "+%" PRIu64,
				 chunk->step, chunk->micro_batch, chunk->offset_bytes, size, connection, step,
				 micro_batch, offset, bytes);
	if (expected->number >= mailbox->released + options->depth)
		return error_set(error, ERROR_PROTOCOL,
				 "tensor of step %" PRIu64 ", micro-batch %u came without a credit: %u are unread",
				 step, micro_batch, options->depth);
	return true;
}

bool mailbox_begin_chunk(struct mailbox *mailbox, uint32_t connection, const struct tensor_chunk *chunk, size_t size,
			 uint8_t **ret_destination, struct error *error)
{
	if (!check_tensor(mailbox, chunk, error))
		return false;
	pthread_mutex_lock(&mailbox->lock);
	bool ok = check_place(mailbox, connection, chunk, size, error);
	const struct expected *expected = &mailbox->expected[connection];
	if (ok)
		*ret_destination = mailbox->places + expected->number % mailbox->options.depth * mailbox->place_bytes +
				   expected->chunk * mailbox->options.chunk_bytes;
	pthread_mutex_unlock(&mailbox->lock);
	return ok;
}

void mailbox_end_chunk(struct mailbox *mailbox, uint32_t connection)
{
	pthread_mutex_lock(&mailbox->lock);
	struct expected *expected = &mailbox->expected[connection];
	uint64_t *missing = &mailbox->missing[expected->number % mailbox->options.depth];
	if (--*missing == 0)
		pthread_cond_signal(&mailbox->changed);
	expected->chunk += mailbox->options.connections;
	if (expected->chunk >= mailbox->chunks) {
		expected->number++;
		expected->chunk = connection;
	}
	pthread_mutex_unlock(&mailbox->lock);
}

// The next one to be taken, and not one that was given out already, a whole ring ago.
static bool is_whole(const struct mailbox *mailbox, uint64_t place)
{
	return mailbox->taken < mailbox->released + mailbox->options.depth && mailbox->missing[place] == 0;
}

enum mailbox_status mailbox_take(struct mailbox *mailbox, const void **ret_values)
{
	pthread_mutex_lock(&mailbox->lock);
	uint64_t place = mailbox->taken % mailbox->options.depth;
	while (!is_whole(mailbox, place) && !mailbox->lost && !mailbox->closed)
		pthread_cond_wait(&mailbox->changed, &mailbox->lock);
	enum mailbox_status status = mailbox->closed             ? MAILBOX_CLOSED
				     : !is_whole(mailbox, place) ? MAILBOX_LOST
								 : MAILBOX_OK;
	if (status == MAILBOX_OK) {
		*ret_values = mailbox->places + place * mailbox->place_bytes;
		mailbox->taken++;
	}
	pthread_mutex_unlock(&mailbox->lock);
	return status;
}

void mailbox_release(struct mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->lock);
	mailbox->missing[mailbox->released % mailbox->options.depth] = mailbox->chunks;
	mailbox->released++;
	pthread_cond_signal(&mailbox->changed); // a taker may wait for this very place
	pthread_mutex_unlock(&mailbox->lock);
}

void mailbox_lose(struct mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->lock);
	mailbox->lost = true;
	pthread_cond_signal(&mailbox->changed);
	pthread_mutex_unlock(&mailbox->lock);
}

void mailbox_close(struct mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->lock);
	mailbox->closed = true;
	pthread_cond_signal(&mailbox->changed);
	pthread_mutex_unlock(&mailbox->lock);
}
