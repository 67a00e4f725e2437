// penstock train
#include <stdio.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/strings.h"
#include "common/rpc/rpc.h"
#include "coordinator/command/command.h"
#include "coordinator/command/output.h"
#include "coordinator/command/job_dataset.h"
#include "coordinator/command/job_inputs.h"
#include "coordinator/command/job_numerics.h"
#include "coordinator/command/job_reduction.h"
#include "coordinator/command/job_setup.h"
#include "coordinator/run/job.h"
#include "coordinator/report/report.h"

enum { NETWORK_THREADS = 2 };

static const char introduction[] = "Usage: penstock train --dataset PATH (-H HOSTFILE | --local N) [OPTION]...\n"
				   "Trains a model whose layers are cut into stages over several daemons, in one or\n"
				   "more replicas.\n"
				   "\n";

struct train {
	struct job_arguments arguments;
	struct job_nodes nodes;
	struct dataset *dataset;
	struct job_setup setup;
	struct job_place place;
	struct job_inputs inputs;
	struct json_output *json; // NULL: no --json
	struct numerics *numerics;
	struct report *report;
	bool rpc_is_started;
};

static bool place_ranks(struct train *train, struct error *error)
{
	return job_nodes_start(&train->nodes, error) &&
	       job_nodes_place(&train->nodes, plan_rank_count(train->setup.plan), &train->place, error);
}

static bool open_json(struct train *train, struct error *error)
{
	return train->arguments.json == NULL || json_output_open(train->arguments.json, &train->json, error);
}

static bool open_report(struct train *train, struct error *error)
{
	const struct job_arguments *arguments = &train->arguments;
	const struct job_setup *setup = &train->setup;
	struct report_options options = {.plan = setup->plan,
					 .addresses = train->place.addresses,
					 .devices = train->place.devices,
					 .steps = arguments->steps,
					 .train_batch_size = setup->config.train_batch_size,
					 .steps_per_print = setup->config.steps_per_print,
					 .wall_clock_breakdown = setup->config.wall_clock_breakdown,
					 .json = train->json,
					 .metrics_listen = arguments->metrics_listen};
	if (!report_create(&options, &train->report, error))
		return false;
	job_inputs_say(setup->plan, train->dataset);
	report_plan(train->report);
	return true;
}

static void on_opened(void *user, uint32_t rank, const struct stage_memory *memory)
{
	report_memory(user, rank, memory);
}

static void on_settled(void *user, const struct job_numerics *numerics)
{
	report_numerics(user, numerics);
}

static void on_started(void *user)
{
	report_start(user);
}

static void on_step(void *user, const struct job_step *step)
{
	report_step(user, step);
}

static bool run(struct train *train, struct error *error)
{
	static const struct job_events events = {
		.opened = on_opened, .settled = on_settled, .started = on_started, .step = on_step};
	const struct job_arguments *arguments = &train->arguments;
	const struct job_setup *setup = &train->setup;
	char name[64];
	snprintf(name, sizeof(name), "%s-%d", setup->plan->model.name, (int)getpid());
	if (!rpc_start(NETWORK_THREADS, error))
		return false;
	train->rpc_is_started = true;
	struct job_options options = {.name = name,
				      .plan = setup->plan,
				      .addresses = train->place.addresses,
				      .devices = train->place.devices,
				      .tls = train->place.tls,
				      .config = &setup->config,
				      .dataset = train->dataset,
				      .sampler = train->inputs.sampler,
				      .steps = arguments->steps,
				      .load = train->inputs.load,
				      .load_skips = train->inputs.load_skips,
				      .save = arguments->save,
				      .numerics = train->numerics,
				      .stop_on_nan = arguments->stop_on_nan,
				      .connections = arguments->connections,
				      .progress_timeout_s = arguments->progress_timeout_s,
				      .chunk_bytes = arguments->chunk_bytes,
				      .events = &events,
				      .user = train->report};
	bool done = job_reduction_choose(arguments, setup->plan, &train->place, &options.reduce_in_group, error) &&
		    job_run(&options, error);
	if (!done)
		strings_make_printable(error->message); // a daemon's words, which go into the JSON lines as well
	output_wait_for_readers();
	report_finish(train->report, done ? NULL : error);
	return done;
}

static bool close_all(struct train *train, struct error *error)
{
	if (train->rpc_is_started)
		rpc_stop();
	report_destroy(train->report);
	bool ok = json_output_close(train->json, error);
	numerics_close(train->numerics);
	job_inputs_fini(&train->inputs);
	dataset_close(train->dataset);
	job_place_fini(&train->place);
	job_nodes_fini(&train->nodes);
	job_setup_fini(&train->setup);
	return ok;
}

// A file of parameters does not say how far a training was.
static void tell_schedule(const struct job_arguments *arguments, const struct deepspeed_config *config)
{
	if (arguments->load != NULL && config->schedule.kind != LEARNING_RATE_CONSTANT)
		log_info("--load %s: scheduler %s begins at step 0, because the file has parameters and no step; to go "
			 "on "
			 "from a later step, change scheduler.params",
			 arguments->load, learning_rate_name(config->schedule.kind));
}

int command_train(int argc, char **argv)
{
	struct train train = {0};
	struct error error;
	int code;
	if (!command_goes_on(
		    job_arguments_parse(JOB_COMMAND_TRAIN, argc, argv, introduction, NULL, &train.arguments, &error),
		    &error, &code))
		return code;
	command_catch_signals();
	output_guard();
	// Everything that can be wrong in files is found before a daemon is asked.
	bool ok = job_nodes_read(&train.arguments, &train.nodes, &error) &&
		  job_dataset_open(&train.arguments, &train.dataset, &error) &&
		  job_setup_init(&train.arguments, &train.nodes, train.dataset, &train.setup, &error);
	if (ok) {
		job_setup_warn(&train.setup, &train.arguments);
		tell_schedule(&train.arguments, &train.setup.config);
	}
	ok = ok && job_setup_check_fit(&train.setup, &train.arguments, &error) &&
	     job_inputs_read(&train.arguments, &train.setup, train.dataset, &train.inputs, &error) &&
	     job_numerics_open(&train.arguments, &train.numerics, &error) && open_json(&train, &error) &&
	     place_ranks(&train, &error) && open_report(&train, &error) && run(&train, &error);
	struct error close_error;
	if (!close_all(&train, &close_error) && ok) {
		error = close_error;
		ok = false;
	}
	return ok ? 0 : command_fail(&error);
}
