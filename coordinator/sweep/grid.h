// The cells of an experiment: every combination of micro-batch size, number of nodes and pipeline size, in the order in which
// they are run and printed. Which cells stay empty, and why. Pure functions; any thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum { GRID_MAXIMUM_VALUES = 32, GRID_REASON_SIZE = 160 };

struct cell {
	uint32_t nodes;
	uint32_t pipeline_size; // 0: no pipeline, every device holds the whole model
	uint32_t micro_batch_size;
};

struct grid_list { // without duplicates, in the order given
	uint32_t values[GRID_MAXIMUM_VALUES];
	uint32_t count; // from 1
};

struct grid {
	struct grid_list micro_batch_sizes, nodes, pipeline_sizes;
};

// Lists such as "0,2,4". ERROR_USAGE names the option (--pipeline-sizes, --micro-batches, --nodes) and the word.
bool grid_parse(const char *pipeline_sizes, const char *micro_batch_sizes, const char *nodes, struct grid *ret_grid,
		struct error *error);
uint32_t grid_count(const struct grid *grid);
// Cell `index` of grid_count: by micro-batch size, then nodes, then pipeline size, each in the order given.
struct cell grid_cell(const struct grid *grid, uint32_t index);
uint32_t grid_most_nodes(const struct grid *grid); // of any cell

// Stages of the cell's pipeline: 1 without one.
static inline uint32_t cell_stages(const struct cell *cell)
{
	return cell->pipeline_size > 0 ? cell->pipeline_size : 1;
}
// Whether the cell's nodes, which have `devices` devices together, cannot make whole pipelines; then the reason goes to `into`
// (GRID_REASON_SIZE is enough). Otherwise there are devices / cell_stages replicas, and `into` stays untouched.
bool cell_is_empty(const struct cell *cell, uint32_t devices, char *into, size_t size);
