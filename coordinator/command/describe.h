// Asking daemons what they are and do. Between rpc_start and rpc_stop.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "penstock/v1/stage_server.pb-c.h"

// Returns owned, to penstock__v1__describe_response__free_unpacked.
bool describe(const char *address, uint32_t deadline_ms, Penstock__V1__DescribeResponse **ret_response,
	      struct error *error);
// A job's end is seen here before a daemon has let go of its memory: returns when none of the daemons (`addresses` may name one
// several times) has the job any more, cannot be reached, or the time is over.
void describe_until_free(const char *const *addresses, uint32_t count, const char *job, uint32_t timeout_ms);
