// Asks all daemons at once, again and again, over connections that stay: one that does not answer costs one time limit, however many
// there are. One thread, between rpc_start and rpc_stop.
#pragma once

#include "common/job/node.h"
#include "common/rpc/tls.h"
#include "common/wire/health.h"
#include "coordinator/config/hostfile.h"

struct poll_node {
	const struct host *host;
	// Of the last round:
	const struct node_description *answer; // NULL: `error` says why
	struct error error;
	bool has_health; // else the daemon has no answer to that
	enum health_state health;
};

struct poll;

// Borrows the hosts, and `tls` (NULL: without).
bool poll_create(const struct hostfile *hosts, struct rpc_tls *tls, struct poll **ret_poll, struct error *error);
void poll_destroy(struct poll *poll); // takes NULL; a round that runs is ended
// A round begins. Its end is waited for; what was answered before is gone then.
void poll_begin(struct poll *poll, uint32_t deadline_ms);
bool poll_is_over(const struct poll *poll);
void poll_end(struct poll *poll);
uint32_t poll_count(const struct poll *poll);
const struct poll_node *poll_node(const struct poll *poll, uint32_t index);
// "serving", "not serving", ...
const char *poll_health_name(const struct poll_node *node);
// "HOST cannot be reached: why"
const char *poll_complaint(const struct poll_node *node, struct error *ret_error);
