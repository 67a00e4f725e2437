// A plan as a JSON object, for --json of penstock plan and penstock train. docs/memory.md lists its members.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/error.h"
#include "coordinator/plan/plan.h"

// Both return owned; NULL: out of memory. The second takes `stages`.
json_t *plan_json_stage(const struct plan *plan, uint32_t s);
json_t *plan_json_object(const struct plan *plan, json_t *stages);
// Writes one line. `nodes`: how many nodes the plan uses; 0: unknown.
bool plan_json_write(FILE *file, const struct plan *plan, uint32_t nodes, struct error *error);
