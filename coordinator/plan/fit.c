// See fit.h. The search is exhaustive: a plan is made in well under a millisecond, and there are some hundreds of them.
#include "coordinator/plan/fit.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/strings.h"
#include "coordinator/plan/internal.h"

// Simulated times are sums of many doubles.
static bool is_faster(double a, double b)
{
	return a < b * (1 - 1e-9);
}

static bool is_better(const struct plan *plan, const struct plan *best)
{
	if (best == NULL || plan_fits(plan) != plan_fits(best))
		return best == NULL || plan_fits(plan);
	return plan_fits(plan) ? is_faster(plan->step_flops, best->step_flops)
			       : plan_largest_memory(plan) < plan_largest_memory(best);
}

// Keeps the better of the two.
static bool try_plan(const struct model *model, const struct plan_options *options, struct plan **best,
		     struct error *error)
{
	struct plan *plan = NULL;
	if (!plan_make(model, options, &plan, error))
		return false;
	if (is_better(plan, *best)) {
		plan_destroy(*best);
		*best = plan;
	} else {
		plan_destroy(plan);
	}
	return true;
}

// How many numbers of micro-batches in flight there are to try: the schedule's own, and each smaller one from 1 on.
static uint32_t in_flight_choices(const struct plan_options *options)
{
	bool can = options->in_flight == 0 && strcmp(options->schedule, "1f1b") == 0;
	uint32_t alive =
		options->pipeline_size < options->micro_batches ? options->pipeline_size : options->micro_batches;
	return can ? alive : 1;
}

// Every interval, with so many micro-batches in flight (0: as the options say).
static bool try_intervals(const struct model *model, const struct plan_options *options, uint32_t in_flight,
			  struct plan **best, struct error *error)
{
	uint32_t intervals = options->checkpoint_interval > 0 ? 0 : model->layer_count;
	for (uint32_t interval = 0; interval <= intervals; interval++) {
		struct plan_options trial = *options;
		if (in_flight > 0)
			trial.in_flight = in_flight;
		if (interval > 0)
			trial.checkpoint_interval = interval;
		if (!try_plan(model, &trial, best, error))
			return false;
	}
	return true;
}

// More in flight never take less memory: where not even one in flight fits, nothing does, and the nearest is among these.
static bool search(const struct model *model, const struct plan_options *options, struct plan **best,
		   struct error *error)
{
	uint32_t choices = in_flight_choices(options);
	struct plan *with_one = NULL;
	if (choices > 1 && !try_intervals(model, options, 1, &with_one, error)) {
		plan_destroy(with_one);
		return false;
	}
	bool ok = true;
	if (with_one == NULL || plan_fits(with_one)) {
		ok = try_intervals(model, options, 0, best, error);
		for (uint32_t in_flight = choices - 1; ok && in_flight > 1; in_flight--)
			ok = try_intervals(model, options, in_flight, best, error);
	}
	if (ok && with_one != NULL && is_better(with_one, *best)) {
		plan_destroy(*best);
		*best = with_one;
		return true;
	}
	plan_destroy(with_one);
	return ok;
}

bool fit_plan(const struct model *model, const struct plan_options *options, struct plan **ret_plan,
	      struct error *error)
{
	struct plan *best = NULL;
	if (!search(model, options, &best, error) || !plan_compare(best, error)) {
		plan_destroy(best);
		return false;
	}
	*ret_plan = best;
	return true;
}

bool fit_changed(const struct plan *plan, uint32_t in_flight, uint32_t checkpoint_interval)
{
	const struct plan_options *options = &plan->options;
	bool may_move_cut = options->split == NULL && strcasecmp(options->partition_method, "flops") == 0;
	return options->memory_limit_bytes > 0 &&
	       ((may_move_cut && plan->cut_differs) || options->in_flight != in_flight ||
		(checkpoint_interval == 0 && options->checkpoint_interval > 0));
}

static void append(char *into, size_t size, const char *separator, const char *text)
{
	size_t length = strlen(into);
	snprintf(into + length, size - length, "%s%s", length > 0 ? separator : "", text);
}

char *fit_describe(const struct plan *plan, char *into, size_t size)
{
	char list[FIT_TEXT_SIZE] = "", text[80];
	if (plan->cut_differs)
		append(list, sizeof(list), ", ", "partition by memory");
	if (plan->options.checkpoint_interval > 0) {
		snprintf(text, sizeof(text), "activations kept every %u layer%s", plan->options.checkpoint_interval,
			 strings_plural(plan->options.checkpoint_interval));
		append(list, sizeof(list), ", ", text);
	}
	if (plan->options.in_flight > 0) {
		snprintf(text, sizeof(text), "at most %u micro-batch%s in flight", plan->options.in_flight,
			 plan->options.in_flight == 1 ? "" : "es");
		append(list, sizeof(list), ", ", text);
	}
	if (list[0] == '\0')
		snprintf(into, size, "fits without changes");
	else
		snprintf(into, size, "made to fit by: %s; predicted cost %.2f times the time of a plan without limits",
			 list, plan->cost);
	return into;
}

bool fit_refuse(const struct plan *plan, bool was_searched, struct error *error)
{
	uint64_t limit = plan->options.memory_limit_bytes, largest = plan_largest_memory(plan);
	uint32_t s = 0;
	char need[32], most[32], missing[32];
	while (plan->stages[s].memory_bytes < largest)
		s++;
	return error_set(error, ERROR_OUT_OF_MEMORY, "stage %u needs %s, %s more than the limit of %s%s", s,
			 strings_format_bytes(largest, need, sizeof(need)),
			 strings_format_bytes(largest - limit, missing, sizeof(missing)),
			 strings_format_bytes(limit, most, sizeof(most)),
			 was_searched ? ": this is the closest plan that was found; use smaller micro-batches, more "
					"stages, or a larger limit"
				      : ": use --fit, which searches for a plan within the limit, smaller "
					"micro-batches, or more stages");
}
