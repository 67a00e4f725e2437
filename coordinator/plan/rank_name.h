// What people are told of a rank: "stage 1 on node-b:7070", or "stage 1 of replica 2 on node-b:7070" where there are
// several. Pure; any thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "coordinator/plan/plan.h"

enum { RANK_NAME_SIZE = 320 };

// Returns `into`. `address` is the rank's.
const char *rank_name(const struct plan *plan, uint32_t rank, const char *address, char *into, size_t size);
