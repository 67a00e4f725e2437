// What the figures of a sweep depend on, beside the cell: kept with them, so that figures of two settings never come into one table. One thread.
#pragma once

#include <jansson.h>

#include "coordinator/command/job_nodes.h"
#include "coordinator/command/sweep_arguments.h"

// Returns owned.
bool sweep_setting(const struct sweep_arguments *arguments, const struct job_nodes *nodes, json_t **ret_setting,
		   struct error *error);
// What is to be said of the first `count` nodes where all are on this machine; "" otherwise. `into` is of SWEEP_NOTE_SIZE.
void sweep_note(const struct job_nodes *nodes, uint32_t count, char *into, size_t size);
