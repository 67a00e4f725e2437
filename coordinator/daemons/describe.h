// Asking daemons what they are and do. Between rpc_start and rpc_stop.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/rpc/tls.h"
#include "common/wire/describe.h"

// The one place where a client that asks is made; `tls` NULL: without. Returns owned.
struct rpc_client;
bool describe_client(const char *address, struct rpc_tls *tls, struct rpc_client **ret_client, struct error *error);
// Returns owned, to wire_node_free.
bool describe(const char *address, struct rpc_tls *tls, uint32_t deadline_ms, struct wire_node **ret_node,
	      struct error *error);
// Whether stages of other jobs than `job` run on the daemons. Then `into` names up to two of them, with where and how much memory:
// "vgg16-412 holds 3.1 GiB on b:7070". Daemons that do not answer run nothing.
bool describe_others(const char *const *addresses, uint32_t count, struct rpc_tls *tls, const char *job, char *into,
		     size_t size);
// A job's end is seen here before a daemon has let go of its memory: returns when none of the daemons (`addresses` may name one
// several times) has the job any more, cannot be reached, or the time is over.
void describe_until_free(const char *const *addresses, uint32_t count, struct rpc_tls *tls, const char *job,
			 uint32_t timeout_ms);
