// The figures that DeepSpeed reached on one 16 GB Tesla P100 a node, which this system was asked to reproduce, as sweeps.
// Outcomes are those of the cells; of the figures there is only the throughput, and counts that follow from the cell.
#pragma once

#include <string.h>

#include "tests/unit/cmocka_all.h"

#include "coordinator/sweep/result.h"

enum { OOM = -1 };

static inline uint32_t one_device_each(const void *nodes, uint32_t n)
{
	return n;
}

// `rates` in the grid's order; 0 where the cell is empty, OOM where it was out of memory.
static inline struct sweep *make_sweep(const char *pipeline_sizes, const char *micro_batch_sizes, const char *nodes,
				       json_t *setting, const double *rates)
{
	struct grid grid;
	struct sweep *sweep = NULL;
	struct error error = {0};
	if (!grid_parse(pipeline_sizes, micro_batch_sizes, nodes, &grid, &error) ||
	    !sweep_create(&grid, setting, &sweep, &error))
		fail_msg("%s", error.message);
	sweep_mark_empty(sweep, one_device_each, NULL);
	for (uint32_t i = 0; i < sweep->count; i++) {
		struct sweep_result *result = &sweep->results[i];
		assert_int_equal(result->outcome == SWEEP_EMPTY, rates[i] == 0);
		if (rates[i] == OOM) {
			result->outcome = SWEEP_OUT_OF_MEMORY;
			strcpy(result->message, "CUDA out of Memory");
		}
		if (rates[i] <= 0)
			continue;
		result->outcome = SWEEP_DONE;
		struct sweep_figures *figures = &result->figures;
		figures->devices = result->cell.nodes;
		figures->stages = cell_stages(&result->cell);
		figures->replicas = figures->devices / figures->stages;
		figures->samples_per_second = rates[i];
	}
	return sweep;
}

static inline struct sweep *deepspeed_alexnet(void)
{
	static const double rates[] = {
		1013.259, 0, 0, 1574.769, 797.796, 0, 3138.038, 1552.092, 832.914, // micro-batches of 128
		792.117,  0, 0, 1914.268, 788.122, 0, 3238.214, 1506.1,   759.003, // 64
	};
	struct sweep *sweep = make_sweep("0,2,4", "128,64", "1,2,4", json_pack("{s:s}", "model", "alexnet"), rates);
	strcpy(sweep->title, "alexnet, image size 256 (DeepSpeed, one Tesla P100 a node)");
	return sweep;
}

static inline struct sweep *deepspeed_vgg(void)
{
	static const double rates[] = {
		OOM,    0, 0, 0, OOM,    OOM,   OOM,    0, OOM,     OOM,     OOM,   OOM,    // micro-batches of 32
		21.036, 0, 0, 0, 73.975, 52.15, 40.483, 0, 144.542, 103.946, 77.05, 56.155, // 8
	};
	struct sweep *sweep = make_sweep("0,2,4,8", "32,8", "1,4,8", json_pack("{s:s}", "model", "vgg"), rates);
	strcpy(sweep->title, "vgg, image size 512 (DeepSpeed, one Tesla P100 a node)");
	return sweep;
}
