// See result.h.
#include "coordinator/sweep/result.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(member)                                                                                                  \
	{                                                                                                              \
#member, true, offsetof(struct sweep_figures, member)                                                  \
	}
#define NUMBER(member)                                                                                                 \
	{                                                                                                              \
#member, false, offsetof(struct sweep_figures, member)                                                 \
	}
const struct sweep_column sweep_columns[SWEEP_COLUMNS] = {
	COUNT(devices),
	COUNT(stages),
	COUNT(replicas),
	COUNT(gradient_accumulation_steps),
	COUNT(train_batch_size),
	COUNT(steps),
	COUNT(warm_up_steps),
	NUMBER(samples_per_second),
	NUMBER(step_seconds_median),
	NUMBER(step_seconds_minimum),
	NUMBER(step_seconds_maximum),
	NUMBER(step_seconds_deviation),
	NUMBER(bubble),
	NUMBER(compute_share),
	NUMBER(copy_share),
	NUMBER(wait_previous_share),
	NUMBER(wait_next_share),
	NUMBER(wait_replicas_share),
	NUMBER(wait_coordinator_share),
	COUNT(memory_bytes),
};

static const char *const outcome_names[] = {
	[SWEEP_MISSING] = "missing", [SWEEP_DONE] = "done",   [SWEEP_OUT_OF_MEMORY] = "out of memory",
	[SWEEP_FAILED] = "failed",   [SWEEP_EMPTY] = "empty", [SWEEP_DIVERGED] = "diverged",
};
enum { OUTCOMES = sizeof(outcome_names) / sizeof(outcome_names[0]) };

const char *sweep_outcome_name(enum sweep_outcome outcome)
{
	return outcome_names[outcome];
}

bool sweep_outcome_parse(const char *name, enum sweep_outcome *ret_outcome)
{
	for (int i = 0; i < OUTCOMES; i++)
		if (strcmp(outcome_names[i], name) == 0) {
			*ret_outcome = (enum sweep_outcome)i;
			return true;
		}
	return false;
}

char *sweep_label(const struct cell *cell, char *into)
{
	snprintf(into, SWEEP_LABEL_SIZE, "%u node%s, pipeline size %u, micro-batches of %u", cell->nodes,
		 cell->nodes == 1 ? "" : "s", cell->pipeline_size, cell->micro_batch_size);
	return into;
}

bool sweep_create(const struct grid *grid, json_t *setting, struct sweep **ret_sweep, struct error *error)
{
	struct sweep *sweep = calloc(1, sizeof(*sweep));
	uint32_t count = grid_count(grid);
	struct sweep_result *results = calloc(count, sizeof(*results));
	if (sweep == NULL || results == NULL || setting == NULL) {
		free(sweep);
		free(results);
		json_decref(setting);
		return error_set(error, ERROR_FAILED, "out of memory");
	}
	*sweep = (struct sweep){.grid = *grid, .results = results, .count = count, .setting = setting};
	for (uint32_t i = 0; i < count; i++)
		results[i].cell = grid_cell(grid, i);
	*ret_sweep = sweep;
	return true;
}

void sweep_mark_empty(struct sweep *sweep, uint32_t (*devices_of)(const void *nodes, uint32_t n), const void *nodes)
{
	for (uint32_t i = 0; i < sweep->count; i++) {
		struct sweep_result *result = &sweep->results[i];
		if (cell_is_empty(&result->cell, devices_of(nodes, result->cell.nodes), result->message,
				  sizeof(result->message)))
			result->outcome = SWEEP_EMPTY;
	}
}

void sweep_destroy(struct sweep *sweep)
{
	if (sweep == NULL)
		return;
	json_decref(sweep->setting);
	free(sweep->results);
	free(sweep);
}

struct sweep_result *sweep_find(const struct sweep *sweep, struct cell cell)
{
	for (uint32_t i = 0; i < sweep->count; i++) {
		const struct cell *other = &sweep->results[i].cell;
		if (other->nodes == cell.nodes && other->pipeline_size == cell.pipeline_size &&
		    other->micro_batch_size == cell.micro_batch_size)
			return &sweep->results[i];
	}
	return NULL;
}

const struct sweep_result *sweep_base(const struct sweep *sweep, uint32_t micro_batch_size)
{
	const struct sweep_result *base = NULL;
	for (uint32_t p = 0; p <= 1; p++) { // the same work under two names: the one that is done
		const struct sweep_result *result = sweep_find(
			sweep, (struct cell){.nodes = 1, .pipeline_size = p, .micro_batch_size = micro_batch_size});
		if (result != NULL && (base == NULL || base->outcome != SWEEP_DONE))
			base = result;
	}
	return base;
}

double sweep_efficiency(const struct sweep *sweep, const struct sweep_result *result)
{
	const struct sweep_result *base = sweep_base(sweep, result->cell.micro_batch_size);
	if (result->outcome != SWEEP_DONE || base == NULL || base->outcome != SWEEP_DONE ||
	    base->figures.devices != 1 || !(base->figures.samples_per_second > 0.0))
		return NAN;
	return result->figures.samples_per_second /
	       ((double)result->figures.devices * base->figures.samples_per_second);
}

bool sweep_is_complete(const struct sweep *sweep)
{
	for (uint32_t i = 0; i < sweep->count; i++)
		if (sweep->results[i].outcome == SWEEP_MISSING || sweep->results[i].outcome == SWEEP_FAILED)
			return false;
	return true;
}
