// Making a plan fit: the search for the fastest plan whose stages keep to the memory limit. Pure functions; any thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/plan/plan.h"

enum { FIT_TEXT_SIZE = 256 };

// Of the cuts within options->memory_limit_bytes (method "flops"), the micro-batches in flight and the checkpoint intervals, takes the
// plan with the smallest predicted step; of equally fast ones the first: more in flight, then the shorter interval. What the
// options give already (in_flight, checkpoint_interval, split, another method) stays. When nothing fits (!plan_fits), the result is
// the plan that misses by least. Errors are plan_create's.
bool fit_plan(const struct model *model, const struct plan_options *options, struct plan **ret_plan,
	      struct error *error);
// "fits as it is", or "made to fit by: ...; predicted cost 1.31 times the time of a plan without limits". Returns `into`.
char *fit_describe(const struct plan *plan, char *into, size_t size);
// Whether the memory limit made the plan another one than was asked for: with `in_flight` and `checkpoint_interval` (of plan_options)
// as they were given. A cut that an option names (split, a method other than "flops") is as it was asked for.
bool fit_changed(const struct plan *plan, uint32_t in_flight, uint32_t checkpoint_interval);
// ERROR_OUT_OF_MEMORY that names the largest stage, by how much it misses and what to do. Always returns false.
bool fit_refuse(const struct plan *plan, bool was_searched, struct error *error);
