// The way to a neighbour, a stage or a replica, of the same daemon. A tensor's buffer itself is handed over, so nothing is copied: the sender's
// device wrote it, the receiver's reads it, and it returns to the sender's pool when it is released. The pool's size is all that
// holds a sender back.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "stage_server/exchange/internal.h"

struct local_link {
	struct link base;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct local_link *neighbour; // a reference; NULL until joined, and once either is closed
	struct buffer **arrived;      // [capacity], a ring: number n in place n % capacity
	uint32_t capacity;
	uint64_t put, taken, released;
	bool joined, lost, closed;
	bool woken; // nobody is to wait here any more
};

static struct local_link *local_of(struct link *link)
{
	return (struct local_link *)link;
}

// The neighbour, with a reference for the caller, or NULL.
static struct local_link *neighbour_of(struct local_link *local)
{
	pthread_mutex_lock(&local->lock);
	struct local_link *neighbour = local->neighbour;
	if (neighbour != NULL)
		link_ref(&neighbour->base);
	pthread_mutex_unlock(&local->lock);
	return neighbour;
}

static void send_tensor(struct link *link, uint64_t step, uint32_t number, struct buffer *tensor)
{
	struct local_link *neighbour = neighbour_of(local_of(link));
	if (neighbour == NULL) {
		buffer_unref(tensor);
		return;
	}
	link_count_sent(link, link->options.incoming.shape.bytes, 1);
	pthread_mutex_lock(&neighbour->lock);
	// There is room: each unreleased tensor holds one of the pool's buffers, and there are no more than places.
	bool taken = !neighbour->closed;
	if (taken)
		neighbour->arrived[neighbour->put++ % neighbour->capacity] = tensor;
	pthread_cond_signal(&neighbour->changed);
	pthread_mutex_unlock(&neighbour->lock);
	if (!taken)
		buffer_unref(tensor);
	link_unref(&neighbour->base);
}

static enum mailbox_status receive(struct link *link, const void **ret_values)
{
	struct local_link *local = local_of(link);
	pthread_mutex_lock(&local->lock);
	while (local->taken == local->put && !local->lost && !local->closed && !local->woken)
		pthread_cond_wait(&local->changed, &local->lock);
	enum mailbox_status status = local->closed || local->woken ? MAILBOX_CLOSED
				     : local->taken == local->put  ? MAILBOX_LOST
								   : MAILBOX_OK;
	if (status == MAILBOX_OK)
		*ret_values = local->arrived[local->taken++ % local->capacity]->data;
	pthread_mutex_unlock(&local->lock);
	if (status == MAILBOX_OK)
		link_count_received(link, link->options.incoming.shape.bytes);
	return status;
}

static void release(struct link *link)
{
	struct local_link *local = local_of(link);
	pthread_mutex_lock(&local->lock);
	struct buffer *tensor = local->arrived[local->released++ % local->capacity];
	pthread_mutex_unlock(&local->lock);
	buffer_unref(tensor);
}

// The neighbour is gone; what it sent whole can still be received.
static void lose(struct local_link *local, bool in_good_order)
{
	struct error error;
	error_set(&error, ERROR_UNREACHABLE, "its session on this daemon ended");
	pthread_mutex_lock(&local->lock);
	struct local_link *neighbour = local->neighbour;
	local->neighbour = NULL;
	local->lost = true;
	// Under the lock, so that link_close returns after it: the user is valid until then.
	if (!local->closed)
		local->base.options.events->lost(&local->base, in_good_order ? NULL : &error, local->base.options.user);
	pthread_cond_signal(&local->changed);
	pthread_mutex_unlock(&local->lock);
	buffer_pool_close(local->base.pool);
	link_unref(neighbour != NULL ? &neighbour->base : NULL);
}

static void close_link(struct link *link, bool in_good_order)
{
	struct local_link *local = local_of(link);
	pthread_mutex_lock(&local->lock);
	bool first = !local->closed;
	struct local_link *neighbour = local->neighbour;
	local->neighbour = NULL;
	local->closed = true;
	pthread_cond_signal(&local->changed);
	pthread_mutex_unlock(&local->lock);
	buffer_pool_close(local->base.pool);
	if (neighbour != NULL) {
		lose(neighbour, in_good_order);
		link_unref(&neighbour->base);
	}
	if (first)
		link->options.events->over(link, link->options.user);
}

static void wake(struct link *link)
{
	struct local_link *local = local_of(link);
	pthread_mutex_lock(&local->lock);
	local->woken = true;
	pthread_cond_signal(&local->changed);
	pthread_mutex_unlock(&local->lock);
	buffer_pool_close(local->base.pool);
}

static void destroy(struct link *link)
{
	struct local_link *local = local_of(link);
	for (; local->released < local->put; local->released++)
		buffer_unref(local->arrived[local->released % local->capacity]);
	free(local->arrived);
	pthread_cond_destroy(&local->changed);
	pthread_mutex_destroy(&local->lock);
	free(local);
}

bool local_link_create(const struct link_options *options, struct link **ret_link, struct error *error)
{
	static const struct link_class class = {.send = send_tensor,
						.receive = receive,
						.release = release,
						.close = close_link,
						.wake = wake,
						.destroy = destroy};
	struct local_link *local = calloc(1, sizeof(*local));
	if (local == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "no memory for a link");
	pthread_mutex_init(&local->lock, NULL);
	pthread_cond_init(&local->changed, NULL);
	if (!link_init(&local->base, &class, options, error)) {
		link_unref(&local->base);
		return false;
	}
	*ret_link = &local->base;
	return true;
}

// With the lock of neither held. Room for whatever `from` can have on its way.
static bool make_room(struct local_link *local, const struct local_link *from)
{
	local->capacity = from->base.options.send_depth;
	local->arrived = calloc(local->capacity + 1, sizeof(*local->arrived));
	return local->arrived != NULL;
}

// Both sessions' links are closed by the thread that joins them, so neither is being closed.
static void join(struct local_link *local, struct local_link *neighbour)
{
	link_ref(&neighbour->base);
	pthread_mutex_lock(&local->lock);
	local->joined = true;
	local->neighbour = neighbour;
	local->base.options.events->ready(&local->base, local->base.options.user);
	pthread_mutex_unlock(&local->lock);
}

bool local_link_join(struct link *upstream, struct link *downstream, struct error *error)
{
	struct local_link *up = local_of(upstream), *down = local_of(downstream);
	const struct tensor_shape *a = &upstream->options.incoming.shape, *b = &downstream->options.incoming.shape;
	if (up->joined || down->joined || up->closed || down->closed)
		return error_set(error, ERROR_PROTOCOL, "the two sessions are already linked, or one has ended");
	bool same_kinds = upstream->options.outgoing == downstream->options.incoming.kind &&
			  downstream->options.outgoing == upstream->options.incoming.kind;
	if (!same_kinds || a->bytes != b->bytes || a->type != b->type || a->rank != b->rank ||
	    memcmp(a->dimensions, b->dimensions, a->rank * sizeof(a->dimensions[0])) != 0)
		return error_set(error, ERROR_PROTOCOL, "the two plans disagree on the tensors between them");
	if (!make_room(up, down) || !make_room(down, up))
		return error_set(error, ERROR_FAILED, "no memory for a link");
	join(up, down);
	join(down, up);
	return true;
}
