// A plan as a JSON object, for penstock plan --json. docs/memory.md lists its members.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/error.h"
#include "coordinator/plan/plan.h"

// One line. `nodes`: on how many; 0: none are named.
bool plan_json_write(FILE *file, const struct plan *plan, uint32_t nodes, struct error *error);
