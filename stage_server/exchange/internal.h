// What the two kinds of links share. Threads as link.h says.
#pragma once

#include <stdatomic.h>

#include "stage_server/exchange/link.h"

struct link_class {
	void (*send)(struct link *link, uint64_t step, uint32_t number, struct buffer *tensor);
	enum mailbox_status (*receive)(struct link *link, const void **ret_values);
	void (*release)(struct link *link);
	void (*close)(struct link *link, bool in_good_order);
	void (*wake)(struct link *link);
	void (*destroy)(struct link *link); // takes half-built ones; the pool is not its own
};

// The beginning of both kinds.
struct link {
	const struct link_class *class;
	_Atomic(uint32_t) references;
	_Atomic(uint64_t) sent_bytes, received_bytes;
	struct link_options options;
	struct buffer_pool *pool; // of what goes out
};

// With one reference, and its pool. What is half built, link_unref frees.
bool link_init(struct link *link, const struct link_class *class, const struct link_options *options,
	       struct error *error);

// For the scrape, where links of all sessions add up, and for link_traffic.
void link_count_sent(struct link *link, uint64_t bytes, uint64_t messages);
void link_count_received(struct link *link, uint64_t bytes);

bool stream_link_create(const struct link_options *options, struct link **ret_link, struct error *error);
bool local_link_create(const struct link_options *options, struct link **ret_link, struct error *error);
bool local_link_join(struct link *upstream, struct link *downstream, struct error *error);
