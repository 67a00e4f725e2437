// What one training did, kept in memory to be compared with another: the kernels that it used, the loss and the gradient norms of each
// step, and the final parameters. One thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/model/model.h"
#include "coordinator/prove/kernels.h"
#include "coordinator/run/job.h"

struct capture_step {
	double loss, gradient_norm;
	uint32_t correct;
	bool skipped; // with float16: a gradient overflowed
};

struct capture {
	struct model model;
	uint32_t parameter_count;
	uint64_t step_count;        // that there is room for
	uint64_t steps_done;        // of them
	struct capture_step *steps; // [step_count]
	double *squares;            // [step_count][parameter_count] sums of squares of each parameter's gradient
	float **values;             // [parameter_count] final, row-major
	uint64_t *received_bytes;   // [parameter_count] of values
	struct kernel_list kernels;
};

// Copies the model. Takes memory for the final parameters now: a training that could not be kept is not begun.
bool capture_create(const struct model *model, uint64_t steps, struct capture **ret_capture, struct error *error);
void capture_destroy(struct capture *capture); // takes NULL

// What capture_run is made of, for tests that have no daemon. A step follows the one before; its losses may be any numbers.
bool capture_add_step(struct capture *capture, const struct job_step *step, struct error *error);
bool capture_put(struct capture *capture, uint32_t parameter, uint64_t offset_bytes, const void *data,
		 uint64_t size_bytes, struct error *error);
bool capture_check_whole(const struct capture *capture,
			 struct error *error); // names the first parameter that lacks values

// Called after each step.
struct capture_progress {
	void (*call)(void *user, const struct capture *capture);
	void *user;
};

// job_run with `options`, whose events and sink are the capture's; its plan asks for gradient norms. Between rpc_start and rpc_stop.
bool capture_run(struct capture *capture, const struct job_options *options, const struct capture_progress *progress,
		 struct error *error);
