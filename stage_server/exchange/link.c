// See link.h: what is done by the kind of link.
#include "stage_server/exchange/internal.h"

#include <inttypes.h>

uint64_t link_bytes(const struct link_options *options)
{
	return options->send_depth * options->incoming.shape.bytes +
	       (options->local ? 0 : mailbox_bytes(&options->incoming));
}

bool link_create(const struct link_options *options, struct link **ret_link, struct error *error)
{
	return options->local ? local_link_create(options, ret_link, error)
			      : stream_link_create(options, ret_link, error);
}

bool link_join(struct link *upstream, struct link *downstream, struct error *error)
{
	if (upstream == NULL || downstream == NULL || !upstream->options.local || !downstream->options.local)
		return error_set(error, ERROR_PROTOCOL, "only one of the two plans says that the link is local");
	return local_link_join(upstream, downstream, error);
}

bool link_init(struct link *link, const struct link_class *class, const struct link_options *options,
	       struct error *error)
{
	link->class = class;
	link->references = 1;
	link->options = *options;
	link->pool = buffer_pool_create(options->incoming.shape.bytes, options->send_depth, options->memory);
	return link->pool != NULL ||
	       error_set(error, ERROR_OUT_OF_MEMORY, "no memory for %u tensors of %" PRIu64 " bytes to send",
			 options->send_depth, options->incoming.shape.bytes);
}

void link_count_sent(struct link *link, uint64_t bytes, uint64_t messages)
{
	atomic_fetch_add_explicit(&link->sent_bytes, bytes, memory_order_relaxed);
	metric_add(link->options.counters.sent_bytes, bytes);
	metric_add(link->options.counters.sent_messages, messages);
}

void link_count_received(struct link *link, uint64_t bytes)
{
	atomic_fetch_add_explicit(&link->received_bytes, bytes, memory_order_relaxed);
	metric_add(link->options.counters.received_bytes, bytes);
	metric_add(link->options.counters.received_messages, 1);
}

struct link_traffic link_traffic(const struct link *link)
{
	return (struct link_traffic){
		.sent_bytes = atomic_load_explicit(&link->sent_bytes, memory_order_relaxed),
		.received_bytes = atomic_load_explicit(&link->received_bytes, memory_order_relaxed),
	};
}

void link_ref(struct link *link)
{
	atomic_fetch_add(&link->references, 1);
}

void link_unref(struct link *link)
{
	if (link == NULL || atomic_fetch_sub(&link->references, 1) != 1)
		return;
	struct buffer_pool *pool = link->pool;
	link->class->destroy(link); // which may still hold some of its buffers
	buffer_pool_destroy(pool);
}

struct buffer *link_take_buffer(struct link *link)
{
	return buffer_pool_take(link->pool);
}

void link_flush(struct link *link)
{
	buffer_pool_wait(link->pool);
}

void link_send(struct link *link, uint64_t step, uint32_t number, struct buffer *tensor)
{
	link->class->send(link, step, number, tensor);
}

enum mailbox_status link_receive(struct link *link, const void **ret_values)
{
	return link->class->receive(link, ret_values);
}

void link_release(struct link *link)
{
	link->class->release(link);
}

void link_close(struct link *link, bool in_good_order)
{
	link->class->close(link, in_good_order);
}

void link_wake(struct link *link)
{
	link->class->wake(link);
}
