// What came of a sweep: an outcome for every cell of the grid, and for a cell that was run its figures. Plain data and
// arithmetic; any thread.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "coordinator/sweep/grid.h"

enum { SWEEP_TITLE_SIZE = 120, SWEEP_NOTE_SIZE = 200, SWEEP_FIT_SIZE = 256, SWEEP_LABEL_SIZE = 80 };

enum sweep_outcome {
	SWEEP_MISSING,       // not run yet
	SWEEP_DONE,          // it has figures
	SWEEP_OUT_OF_MEMORY, // the plan does not fit a device; the message has the numbers
	SWEEP_FAILED,        // the message says why
	SWEEP_DIVERGED, // the loss or the gradient norm was not finite; the message has the step. It would be again
	SWEEP_EMPTY,    // its nodes make no whole pipelines; the message says why
};

// Of the measured steps. Shares are of the time that these took, as means over the devices.
struct sweep_figures {
	uint64_t devices, stages, replicas;
	uint64_t gradient_accumulation_steps; // micro-batches per step and replica
	uint64_t train_batch_size;            // samples per step, over all replicas
	uint64_t steps, warm_up_steps;
	double samples_per_second;
	double step_seconds_median, step_seconds_minimum, step_seconds_maximum, step_seconds_deviation;
	double bubble; // what is neither computing nor copying
	double compute_share, copy_share;
	double wait_previous_share, wait_next_share, wait_replicas_share, wait_coordinator_share;
	uint64_t memory_bytes; // of the device that reserves most
};

struct sweep_result {
	struct cell cell;
	enum sweep_outcome outcome;
	struct sweep_figures figures;     // where it is done
	char fit[SWEEP_FIT_SIZE];         // how it was made to fit; "": nothing was needed
	char message[ERROR_MESSAGE_SIZE]; // printable, one line; "" where it is done
};

struct sweep {
	struct grid grid;
	struct sweep_result *results; // [grid_count], in the grid's order
	uint32_t count;
	json_t *setting;              // object: all that the figures depend on, beside the cell
	char title[SWEEP_TITLE_SIZE]; // "alexnet, image size 256"
	char note[SWEEP_NOTE_SIZE];   // what a reader must know of the machine; "": nothing
};

// All cells are missing. Takes `setting`, also on failure; NULL is a failure.
bool sweep_create(const struct grid *grid, json_t *setting, struct sweep **ret_sweep, struct error *error);
void sweep_destroy(struct sweep *sweep); // takes NULL
// Cells that cannot be made are empty from here on. `devices_of` tells how many devices the first n nodes have.
void sweep_mark_empty(struct sweep *sweep, uint32_t (*devices_of)(const void *nodes, uint32_t n), const void *nodes);

// NULL where the grid has no such cell.
struct sweep_result *sweep_find(const struct sweep *sweep, struct cell cell);
// Throughput over what the cell's devices would reach, were each as fast as one alone: devices x samples/s of the cell with one
// device and the same micro-batch. NAN where either is not done.
double sweep_efficiency(const struct sweep *sweep, const struct sweep_result *result);
// The cell that efficiencies with this micro-batch refer to: one node, no pipeline or one stage. NULL where the grid has none;
// it may not be done, or have more than one device, and then there are no efficiencies.
const struct sweep_result *sweep_base(const struct sweep *sweep, uint32_t micro_batch_size);

// "done", "out of memory", ...: in files. The second is false for an unknown name.
const char *sweep_outcome_name(enum sweep_outcome outcome);
bool sweep_outcome_parse(const char *name, enum sweep_outcome *ret_outcome);
// "2 nodes, pipeline size 2, micro-batches of 64"; returns `into`, of SWEEP_LABEL_SIZE.
char *sweep_label(const struct cell *cell, char *into);
bool sweep_is_complete(const struct sweep *sweep); // no cell is missing or failed

// The figures one by one, for files.
struct sweep_column {
	const char *name; // with its unit
	bool is_count;    // uint64_t; else double
	size_t offset;    // in struct sweep_figures
};
enum { SWEEP_COLUMNS = 20 };
extern const struct sweep_column sweep_columns[SWEEP_COLUMNS];
