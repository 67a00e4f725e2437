// See plan_cells.h.
#include "coordinator/command/plan_cells.h"

#include <string.h>

#include "common/base/strings.h"
#include "coordinator/command/job_setup.h"
#include "coordinator/plan/fit.h"
#include "coordinator/report/plan_json.h"
#include "coordinator/sweep/grid.h"

struct cells {
	struct job_arguments arguments; // of every cell, but for what is the cell's own
	struct job_nodes nodes;
	struct grid grid;
	FILE *json;
	bool all_fit, is_warned;
};

static bool check(const struct job_arguments *arguments, struct error *error)
{
	const char *name = arguments->pipeline_size >= 0               ? "-p"
			   : arguments->local > 0                      ? "--local"
			   : arguments->overrides.micro_batch_size > 0 ? "--micro-batch-size"
			   : arguments->overrides.train_batch_size > 0 ? "--train-batch-size"
								       : NULL;
	if (name != NULL)
		return error_set(error, ERROR_USAGE,
				 "%s cannot be combined with --pipeline-sizes, --micro-batches and --nodes: each cell "
				 "sets its own",
				 name);
	return (arguments->pipeline_sizes != NULL && arguments->micro_batch_sizes != NULL) ||
	       error_set(error, ERROR_USAGE, "cells need both lists, --pipeline-sizes and --micro-batches");
}

static bool parse(const struct job_arguments *arguments, struct grid *ret_grid, struct error *error)
{
	char count[16];
	snprintf(count, sizeof(count), "%u", arguments->nodes > 0 ? arguments->nodes : 1);
	return check(arguments, error) &&
	       grid_parse(arguments->pipeline_sizes, arguments->micro_batch_sizes,
			  arguments->node_counts != NULL ? arguments->node_counts : count, ret_grid, error);
}

static void print_outcome(const struct plan *plan, bool was_searched)
{
	char text[FIT_TEXT_SIZE];
	struct error why;
	if (plan->options.memory_limit_bytes == 0)
		return;
	if (plan_fits(plan)) {
		strings_write_wrapped(fit_describe(plan, text, sizeof(text)), stdout);
		return;
	}
	fit_refuse(plan, was_searched, &why);
	error_wrap(&why, "does not fit");
	strings_write_wrapped(why.message, stdout);
}

static bool plan_cell(struct cells *cells, const struct cell *cell, struct error *error)
{
	struct job_arguments own = cells->arguments;
	struct job_setup setup;
	own.nodes = cell->nodes;
	own.pipeline_size = (int32_t)cell->pipeline_size;
	own.overrides.micro_batch_size = cell->micro_batch_size;
	if (!job_setup_init(&own, &cells->nodes, NULL, &setup, error))
		return false;
	if (!cells->is_warned) // once: all cells have the same files
		job_setup_warn(&setup, &own);
	cells->is_warned = true;
	printf("%u replica%s of %u stage%s, %u sample%s per step\n", setup.data_parallel_size,
	       strings_plural(setup.data_parallel_size), setup.pipeline_size, strings_plural(setup.pipeline_size),
	       setup.config.train_batch_size, strings_plural(setup.config.train_batch_size));
	plan_print_memory(setup.plan, stdout);
	print_outcome(setup.plan, own.fit);
	cells->all_fit = cells->all_fit && plan_fits(setup.plan);
	bool ok = cells->json == NULL || plan_json_write(cells->json, setup.plan, cell->nodes, error);
	job_setup_fini(&setup);
	return ok;
}

static bool plan_each(struct cells *cells, struct error *error)
{
	for (uint32_t i = 0; i < grid_count(&cells->grid); i++) {
		struct cell cell = grid_cell(&cells->grid, i);
		char reason[GRID_REASON_SIZE];
		printf("%smicro-batch %u, %u node%s, pipeline size %u\n", i > 0 ? "\n" : "", cell.micro_batch_size,
		       cell.nodes, cell.nodes == 1 ? "" : "s", cell.pipeline_size);
		if (cell_is_empty(&cell, job_nodes_devices(&cells->nodes, cell.nodes), reason, sizeof(reason)))
			printf("empty: %s\n", reason);
		else if (!plan_cell(cells, &cell, error))
			return false;
	}
	return true;
}

bool plan_cells(const struct job_arguments *arguments, FILE *json, bool *ret_all_fit, struct error *error)
{
	struct cells cells = {.arguments = *arguments, .json = json, .all_fit = true};
	if (!parse(arguments, &cells.grid, error) ||
	    !job_setup_accumulation(arguments, &cells.arguments.overrides.gradient_accumulation_steps, error) ||
	    !job_nodes_read(arguments, &cells.nodes, error))
		return false;
	uint32_t there = job_nodes_count(&cells.nodes), most = grid_most_nodes(&cells.grid);
	bool ok = there == 0 || most <= there ||
		  error_set(error, ERROR_USAGE, "--nodes %u: %s has only %u node%s", most, cells.nodes.name, there,
			    there == 1 ? "" : "s");
	ok = ok && plan_each(&cells, error);
	job_nodes_fini(&cells.nodes);
	*ret_all_fit = cells.all_fit;
	return ok;
}
