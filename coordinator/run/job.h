// One training job over its ranks, the stages of all its replicas (plan_rank): opens them, loads parameters, links them, runs the steps, saves, closes. A straight
// line in one thread, which waits for one thing at a time: the next event of any rank.
#pragma once

#include "common/job/memory.h"
#include "common/metrics/phases.h"
#include "common/rpc/tls.h"
#include "coordinator/checkpoint/safetensors.h"
#include "coordinator/config/deepspeed_config.h"
#include "coordinator/dataset/dataset.h"
#include "coordinator/dataset/sampler.h"
#include "coordinator/numerics/numerics.h"
#include "coordinator/plan/plan.h"

// What a rank said about a step; times in ns.
struct job_rank_step {
	uint64_t step_ns, phase_ns[PHASE_COUNT];
	uint64_t sent_bytes, received_bytes;
};

struct job_step {
	uint64_t step;
	double loss;          // mean over the step's samples
	uint32_t correct;     // samples whose largest score is their label
	double learning_rate; // the shortest decimal of the float that the optimizers get
	double gradient_norm; // over all stages and samples, before clipping; 0 when the plan asks for no norms
	// [parameters] the sum of squares of each parameter's gradient, of the scaled loss with float16; NULL: as above
	const double *gradient_squares;
	double loss_scale, next_loss_scale; // with float16; 0 otherwise
	bool diverged;                      // the loss, or the norm of a step that is not skipped, is not finite
	bool skipped;                       // with float16: a gradient overflowed, and nothing was changed
	uint32_t stuck;                     // steps skipped in a row up to this one with a scale that cannot fall
	double seconds;                     // since the step before was done
	const struct job_rank_step *ranks;  // [ranks]
};

// A pass of a layer, and the kernel that computes it on a rank.
struct job_kernel {
	uint32_t layer;       // of the model
	const char *question; // operation, pass, type and shape: the same for a layer wherever the model is cut
	const char *choice;   // NULL: there is only one
};

// Which kernels the job uses. Two jobs give the same bits where each layer's questions and choices are the same and were answered for
// the same machine.
struct job_numerics {
	const char *const *machines;             // [ranks]: processor or GPU, library, instruction set, threads
	const struct job_kernel *const *kernels; // [ranks][kernel_counts[rank]], in the layers' order
	const uint32_t *kernel_counts;           // [ranks]
	bool machines_differ;                    // so the bits depend on where the model is cut
};

struct job_events {
	void (*opened)(void *user, uint32_t rank, const struct stage_memory *memory);
	void (*settled)(void *user, const struct job_numerics *numerics); // once all ranks are open; NULL: not wanted
	void (*started)(void *user);                                      // the first step is ordered
	void (*step)(void *user, const struct job_step *step);
};

// Takes the final parameters, in addition to `save`. A parameter comes in chunks, in any order. False ends the job with `error`.
struct job_sink {
	bool (*put)(void *user, uint32_t parameter, uint64_t offset_bytes, const void *data, uint64_t size_bytes,
		    struct error *error);
	void *user;
};

struct job_options {
	const char *name; // for people
	const struct plan *plan;
	const char *const *addresses; // [ranks]
	const uint32_t *devices;      // [ranks]; index in the daemon's list
	struct rpc_tls *tls;          // to the daemons; NULL: without
	const struct deepspeed_config *config;
	const struct dataset *dataset;
	struct sampler *sampler;
	uint64_t steps;
	const struct safetensors *load; // NULL: the initial values are drawn from the seed
	const bool *load_skips;         // [parameters] those that are drawn all the same; NULL: none
	const char *save;               // NULL: nothing is saved
	const struct job_sink *sink;    // NULL: none
	struct numerics *numerics;      // where answers about kernels are, and are kept; NULL: for this job alone
	bool stop_on_nan;     // the job ends with ERROR_DIVERGED at the first step that diverged, and saves nothing
	bool reduce_in_group; // see StagePlan; every device of the job can
	uint32_t connections, chunk_bytes;
	uint32_t progress_timeout_s; // how long all ranks may stand still, at least; 0: for ever. See progress.h
	const struct job_events *events;
	void *user;
};

// Between rpc_start and rpc_stop. Errors name the daemon and, once steps run, the step.
bool job_run(const struct job_options *options, struct error *error);
// Any thread: the running job ends soon, with ERROR_CANCELLED.
void job_interrupt(void);
bool job_is_interrupted(void); // any thread
// Whether the parameter is in the file, with the model's shape and a type that can be read. Asked before any daemon is.
bool job_check_load(const struct parameter *parameter, const struct safetensors *file, struct error *error);
