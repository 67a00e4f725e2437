// Daemons of one's own: --local N starts N penstockd on Unix sockets in a new folder, and stops them.
// Threads: the one that creates also destroys; it must not end before (the daemons end with it).
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

enum { LOCAL_MAXIMUM_DAEMONS = 64 };

struct local_options {
	uint32_t count;           // from 1 to LOCAL_MAXIMUM_DAEMONS
	uint32_t threads;         // of each; 0: the processors that this process may use in equal shares, at least one
	const char *memory_limit; // as penstockd takes it; NULL: none
};

struct local_daemons;

uint32_t local_daemons_threads(const struct local_options *options); // that each daemon gets

// Finds penstockd beside this program, in $PENSTOCKD or in PATH. Before rpc_start: it forks. Returns when all listen.
bool local_daemons_start(const struct local_options *options, struct local_daemons **ret_daemons, struct error *error);
const char *local_daemons_address(const struct local_daemons *daemons, uint32_t index);
void local_daemons_stop(struct local_daemons *daemons); // takes NULL; waits for their ends, removes the folder
