// A plan as a JSON object, for --json of penstock plan and penstock train. docs/memory.md lists its members.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/error.h"
#include "coordinator/plan/plan.h"

// Both return owned, NULL: out of memory; the second takes `stages`, of which it has no more to say.
json_t *plan_json_stage(const struct plan *plan, uint32_t s);
json_t *plan_json_object(const struct plan *plan, json_t *stages);
// One line. `nodes`: on how many; 0: none are named.
bool plan_json_write(FILE *file, const struct plan *plan, uint32_t nodes, struct error *error);
