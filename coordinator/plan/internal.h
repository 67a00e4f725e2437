// What plan.c and fit.c share.
#pragma once

#include "coordinator/plan/plan.h"

// plan_create but for the comparison below: cost and cut_differs are not set.
bool plan_make(const struct model *model, const struct plan_options *options, struct plan **ret_plan,
	       struct error *error);
// Sets cost and cut_differs, against the same job without limits.
bool plan_compare(struct plan *plan, struct error *error);
