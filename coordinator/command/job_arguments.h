// The options of train, plan, sweep and prove, as given: nothing is derived from them here, and no file is read. What follows from them is
// in job_setup.h.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/options/table.h"
#include "coordinator/command/tls_arguments.h"
#include "coordinator/config/deepspeed_config.h"

enum job_command { JOB_COMMAND_TRAIN, JOB_COMMAND_PLAN, JOB_COMMAND_SWEEP, JOB_COMMAND_PROVE };

struct job_arguments {
	// Strings stay in argv; NULL: not given.
	const char *model, *dataset, *deepspeed_config, *hostfile, *schedule, *partition_method, *split, *plan_device;
	const char *reduce; // "auto", "ring", "nccl"
	const char *load, *save, *json, *memory_limit, *output, *metrics_listen;
	const char *numerics;    // the file of answers about kernels
	const char *against;     // prove: a file of parameters
	double against_relative; // its tolerances
	uint64_t against_ulp;
	const char *pipeline_sizes, *micro_batch_sizes, *node_counts; // lists, of cells
	uint32_t image_size, classes, threads, warm_up_steps;
	int32_t pipeline_size; // -1: not given; 0: no pipeline
	uint32_t local;        // 0: not given
	bool local_for_all;    // a sweep's --local without a number: as many as its cells need
	uint32_t nodes;        // the first so many of them are used; 0: all
	uint32_t in_flight;    // micro-batches in a stage, at most; 0: the schedule's
	uint32_t connections;
	uint32_t progress_timeout_s;
	uint64_t steps, seed, chunk_bytes, reduce_bucket_bytes;
	double dropout;                       // < 0: the model's
	float mean[3], standard_deviation[3]; // of the images' channels, of values from 0 to 1
	bool mean_is_given, deviation_is_given;
	bool no_shuffle, fit, skip_mismatched;
	// Of DeepSpeed's scripts: taken, and not obeyed.
	bool deepspeed;
	int64_t local_rank;
	const char *backend;
	bool stop_on_nan;
	struct tls_arguments tls;
	uint64_t memory_limit_bytes; // 0: none
	struct deepspeed_overrides overrides;
};

// `introduction` and `conclusion` are printed for --help, before and after the options. An option that the command does not have is
// refused. Of a sweep --nodes is always a list, in node_counts.
enum options_result job_arguments_parse(enum job_command command, int argc, char **argv, const char *introduction,
					const char *conclusion, struct job_arguments *ret_arguments,
					struct error *error);
