// One cell of a sweep: a job over the cell's nodes, and the figures that it gives. One thread.
#pragma once

#include "coordinator/command/job_setup.h"
#include "coordinator/command/sweep_arguments.h"
#include "coordinator/dataset/dataset.h"
#include "coordinator/numerics/numerics.h"
#include "coordinator/sweep/result.h"

struct sweep_cell_options {
	const struct sweep_arguments *arguments;
	const struct job_nodes *nodes; // started, for sweep_cell_run
	const struct dataset *dataset;
	struct numerics *numerics; // of all cells
	// Called after each step with its number, from 1, and the throughput so far (0 while warming up).
	void (*progress)(void *user, uint64_t step, double samples_per_second);
	// The cell's devices differ, in words: its losses depend on where the model is cut.
	void (*warn)(void *user, const char *text);
	void *user;
};

// Whether the cell makes sense at all: ERROR_USAGE where its plan, or its batch, cannot be. Asks no daemon.
bool sweep_cell_check(const struct sweep_cell_options *options, const struct cell *cell, struct error *error);
// Fills the result of a cell that is not empty: done, out of memory or failed. Its nodes are free again afterwards, or lost. The
// error is that of the job, with no code where it is done.
void sweep_cell_run(const struct sweep_cell_options *options, struct sweep_result *result, struct error *ret_error);
