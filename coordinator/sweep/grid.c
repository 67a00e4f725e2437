// See grid.h.
#include "coordinator/sweep/grid.h"

#include <stdio.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/model/model.h"
#include "common/schedule/schedule.h"
#include "coordinator/config/hostfile.h"

static bool add_value(const char *option, const char *word, int64_t minimum, int64_t maximum, struct grid_list *list,
		      struct error *error)
{
	int64_t value;
	if (!strings_parse_integer(word, minimum, maximum, &value, error))
		return error_wrap(error, "%s", option);
	for (uint32_t i = 0; i < list->count; i++)
		if (list->values[i] == value)
			return error_set(error, ERROR_USAGE, "%s: \"%.40s\" appears twice", option, word);
	if (list->count == GRID_MAXIMUM_VALUES)
		return error_set(error, ERROR_USAGE, "%s: \"%.40s\" is one value too many: the maximum is %d values",
				 option, word, GRID_MAXIMUM_VALUES);
	list->values[list->count++] = (uint32_t)value;
	return true;
}

static bool parse_list(const char *option, const char *text, int64_t minimum, int64_t maximum, struct grid_list *list,
		       struct error *error)
{
	_cleanup_free_ char *copy = strdup(text);
	if (copy == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	char *rest = copy;
	for (char *word = strsep(&rest, ","); word != NULL; word = strsep(&rest, ","))
		if (!add_value(option, word, minimum, maximum, list, error))
			return false;
	return true;
}

bool grid_parse(const char *pipeline_sizes, const char *micro_batch_sizes, const char *nodes, struct grid *ret_grid,
		struct error *error)
{
	struct grid grid = {0};
	if (!parse_list("--pipeline-sizes", pipeline_sizes, 0, SCHEDULE_MAXIMUM_STAGES, &grid.pipeline_sizes, error) ||
	    !parse_list("--micro-batches", micro_batch_sizes, 1, MODEL_MAXIMUM_MICRO_BATCH_SIZE,
			&grid.micro_batch_sizes, error) ||
	    !parse_list("--nodes", nodes, 1, HOSTFILE_MAXIMUM_HOSTS, &grid.nodes, error))
		return false;
	*ret_grid = grid;
	return true;
}

uint32_t grid_count(const struct grid *grid)
{
	return grid->micro_batch_sizes.count * grid->nodes.count * grid->pipeline_sizes.count;
}

struct cell grid_cell(const struct grid *grid, uint32_t index)
{
	uint32_t sizes = grid->pipeline_sizes.count, row = index / sizes;
	return (struct cell){.nodes = grid->nodes.values[row % grid->nodes.count],
			     .pipeline_size = grid->pipeline_sizes.values[index % sizes],
			     .micro_batch_size = grid->micro_batch_sizes.values[row / grid->nodes.count]};
}

uint32_t grid_most_nodes(const struct grid *grid)
{
	uint32_t most = 0;
	for (uint32_t i = 0; i < grid->nodes.count; i++)
		most = grid->nodes.values[i] > most ? grid->nodes.values[i] : most;
	return most;
}

bool cell_is_empty(const struct cell *cell, uint32_t devices, char *into, size_t size)
{
	uint32_t stages = cell_stages(cell);
	if (stages > devices)
		snprintf(into, size, "%u stages, but %u node%s with %u device%s", stages, cell->nodes,
			 cell->nodes == 1 ? "" : "s", devices, devices == 1 ? "" : "s");
	else if (devices % stages != 0)
		snprintf(into, size, "%u devices do not divide evenly by %u stages: %u would be left over", devices,
			 stages, devices % stages);
	else
		return false;
	return true;
}
