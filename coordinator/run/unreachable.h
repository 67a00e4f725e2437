// The nodes that a job could not reach when it opened, for one message that names them all. Pure data; one thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

enum { UNREACHABLE_NAMED = 8, UNREACHABLE_WHY_SIZE = 320 };

struct unreachable {    // zero at first
	uint32_t count; // of nodes; several ranks of one node count once
	struct {
		const char *address; // borrowed
		char why[UNREACHABLE_WHY_SIZE];
	} nodes[UNREACHABLE_NAMED]; // the first ones
};

// `why`: "cause: what to do".
void unreachable_add(struct unreachable *nodes, const char *address, const char *why);
// Of two or more nodes: "2 nodes cannot be reached: a:7070 (cause), b:7070 (cause): what to do; what to do".
void unreachable_explain(const struct unreachable *nodes, struct error *ret_error);
