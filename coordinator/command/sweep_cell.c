// See sweep_cell.h.
#include "coordinator/command/sweep_cell.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/strings.h"
#include "coordinator/command/job_reduction.h"
#include "coordinator/daemons/describe.h"
#include "coordinator/plan/fit.h"
#include "coordinator/report/report.h"
#include "coordinator/report/totals.h"
#include "coordinator/run/job.h"

enum { FREE_TIMEOUT_MS = 20000 }; // more than a daemon takes to notice a coordinator that is gone

struct run {
	const struct sweep_cell_options *options;
	const struct plan *plan;
	const struct job_place *place;
	struct totals totals;
	double *step_seconds; // [steps]; of the measured ones
};

static struct job_arguments arguments_of(const struct sweep_arguments *sweep, const struct cell *cell)
{
	struct job_arguments arguments = sweep->job;
	arguments.nodes = cell->nodes;
	arguments.pipeline_size = (int32_t)cell->pipeline_size;
	arguments.overrides.micro_batch_size = cell->micro_batch_size;
	arguments.overrides.gradient_accumulation_steps = sweep->gradient_accumulation_steps;
	return arguments;
}

static bool make_sampler(const struct sweep_cell_options *options, const struct job_setup *setup,
			 struct sampler **ret_sampler, struct error *error)
{
	return sampler_create(dataset_count(options->dataset), setup->config.train_batch_size,
			      !options->arguments->job.no_shuffle, options->arguments->job.seed, ret_sampler, error);
}

bool sweep_cell_check(const struct sweep_cell_options *options, const struct cell *cell, struct error *error)
{
	struct job_arguments arguments = arguments_of(options->arguments, cell);
	struct job_setup setup = {0};
	struct sampler *sampler = NULL;
	char label[SWEEP_LABEL_SIZE];
	bool ok = job_setup_init(&arguments, options->nodes, options->dataset, &setup, error) &&
		  make_sampler(options, &setup, &sampler, error);
	sampler_destroy(sampler);
	job_setup_fini(&setup);
	return ok || error_wrap(error, "cell %s", sweep_label(cell, label));
}

// ---- What the job says

static void on_opened(void *user, uint32_t rank, const struct stage_memory *memory)
{
	struct run *run = user;
	totals_memory(&run->totals, rank, memory);
}

static void on_settled(void *user, const struct job_numerics *numerics)
{
	const struct run *run = user;
	char text[REPORT_MACHINES_SIZE];
	if (numerics->machines_differ)
		run->options->warn(run->options->user,
				   report_machines(run->plan, run->place->addresses, numerics, text, sizeof(text)));
}

static void on_started(void *user)
{
}

static void on_step(void *user, const struct job_step *step)
{
	struct run *run = user;
	totals_step(&run->totals, step);
	if (run->totals.measured_steps > 0)
		run->step_seconds[run->totals.measured_steps - 1] = step->seconds;
	run->options->progress(run->options->user, run->totals.steps_done, totals_throughput(&run->totals));
}

// ---- The figures

static int compare_seconds(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void fill_spread(struct run *run, struct sweep_figures *figures)
{
	double *seconds = run->step_seconds, squares = 0.0;
	size_t n = run->totals.measured_steps;
	double mean = run->totals.measured_seconds / (double)n;
	qsort(seconds, n, sizeof(*seconds), compare_seconds);
	for (size_t i = 0; i < n; i++)
		squares += (seconds[i] - mean) * (seconds[i] - mean);
	figures->step_seconds_median = n % 2 == 1 ? seconds[n / 2] : 0.5 * (seconds[n / 2 - 1] + seconds[n / 2]);
	figures->step_seconds_minimum = seconds[0];
	figures->step_seconds_maximum = seconds[n - 1];
	figures->step_seconds_deviation = n > 1 ? sqrt(squares / (double)(n - 1)) : 0.0;
}

static void fill_shares(const struct totals *totals, struct sweep_figures *figures)
{
	double all = totals->measured_seconds * totals->ranks;
	for (uint32_t r = 0; r < totals->ranks; r++) {
		const struct rank_totals *rank = &totals->rank[r];
		uint64_t bytes = totals_memory_bytes(totals, r);
		figures->bubble += totals_bubble(totals, r) / totals->ranks;
		figures->compute_share += (rank->seconds[PHASE_FORWARD] + rank->seconds[PHASE_BACKWARD] +
					   rank->seconds[PHASE_OPTIMIZER]) /
					  all;
		figures->copy_share += rank->seconds[PHASE_COPY] / all;
		figures->wait_previous_share += rank->seconds[PHASE_WAIT_PREVIOUS] / all;
		figures->wait_next_share += rank->seconds[PHASE_WAIT_NEXT] / all;
		figures->wait_replicas_share += rank->seconds[PHASE_WAIT_REPLICAS] / all;
		figures->wait_coordinator_share += rank->seconds[PHASE_WAIT_COORDINATOR] / all;
		figures->memory_bytes = bytes > figures->memory_bytes ? bytes : figures->memory_bytes;
	}
}

static void fill_figures(struct run *run, const struct job_setup *setup, struct sweep_figures *ret_figures)
{
	struct sweep_figures figures = {.devices = run->totals.ranks,
					.stages = setup->pipeline_size,
					.replicas = setup->data_parallel_size,
					.gradient_accumulation_steps = setup->config.gradient_accumulation_steps,
					.train_batch_size = setup->config.train_batch_size,
					.steps = run->totals.measured_steps,
					.warm_up_steps = run->totals.warm_up_steps,
					.samples_per_second = totals_throughput(&run->totals)};
	fill_spread(run, &figures);
	fill_shares(&run->totals, &figures);
	*ret_figures = figures;
}

// ---- The job

// Memory that others hold is not the cell's fault, and may be free another time: then it is no result.
static void blame_others(const struct job_place *place, uint32_t ranks, const char *name, struct error *error)
{
	char message[ERROR_MESSAGE_SIZE], others[ERROR_MESSAGE_SIZE];
	if (error->code != ERROR_OUT_OF_MEMORY ||
	    !describe_others(place->addresses, ranks, place->tls, name, others, sizeof(others)))
		return;
	snprintf(message, sizeof(message), "%s", error->message);
	error_set(error, ERROR_FAILED, "other jobs run on the cell's nodes: %s; %s", others, message);
}

static bool run_job(struct run *run, const struct job_arguments *arguments, const struct job_setup *setup,
		    const struct job_place *place, struct sampler *sampler, struct error *error)
{
	static const struct job_events events = {
		.opened = on_opened, .settled = on_settled, .started = on_started, .step = on_step};
	static unsigned number;
	char name[64]; // of its own: describe_until_free looks for it
	snprintf(name, sizeof(name), "sweep-%s-%d-%u", setup->plan->model.name, (int)getpid(), ++number);
	struct job_options options = {.name = name,
				      .plan = setup->plan,
				      .addresses = place->addresses,
				      .devices = place->devices,
				      .tls = place->tls,
				      .config = &setup->config,
				      .dataset = run->options->dataset,
				      .sampler = sampler,
				      .numerics = run->options->numerics,
				      .steps = arguments->steps,
				      .stop_on_nan = true,
				      .connections = arguments->connections,
				      .progress_timeout_s = arguments->progress_timeout_s,
				      .chunk_bytes = arguments->chunk_bytes,
				      .events = &events,
				      .user = run};
	run->plan = setup->plan;
	run->place = place;
	bool done = job_reduction_choose(arguments, setup->plan, place, &options.reduce_in_group, error) &&
		    job_run(&options, error);
	if (!done)
		blame_others(place, plan_rank_count(setup->plan), name, error);
	describe_until_free(place->addresses, plan_rank_count(setup->plan), place->tls, name, FREE_TIMEOUT_MS);
	return done;
}

static bool run_cell(const struct sweep_cell_options *options, const struct job_arguments *arguments,
		     const struct job_setup *setup, struct sweep_figures *ret_figures, struct error *error)
{
	uint32_t ranks = plan_rank_count(setup->plan);
	struct run run = {.options = options, .step_seconds = calloc(arguments->steps, sizeof(*run.step_seconds))};
	struct job_place place = {0};
	struct sampler *sampler = NULL;
	bool ok = run.step_seconds != NULL || error_set(error, ERROR_FAILED, "out of memory");
	ok = ok &&
	     totals_init(ranks, setup->config.train_batch_size, options->arguments->job.warm_up_steps, &run.totals,
			 error) &&
	     job_nodes_place(options->nodes, ranks, &place, error) && make_sampler(options, setup, &sampler, error) &&
	     run_job(&run, arguments, setup, &place, sampler, error);
	if (ok)
		fill_figures(&run, setup, ret_figures);
	sampler_destroy(sampler);
	job_place_fini(&place);
	totals_fini(&run.totals);
	free(run.step_seconds);
	return ok;
}

// How the plan was made to fit: a limit alone changes cuts. With --fit also that nothing does, without asking a daemon.
static bool check_fit(const struct job_arguments *arguments, const struct job_setup *setup, struct sweep_result *result,
		      struct error *error)
{
	const struct plan *plan = setup->plan;
	if (arguments->fit && !plan_fits(plan))
		return fit_refuse(plan, true, error);
	if (fit_changed(plan, arguments->in_flight, setup->config.checkpoint_interval))
		fit_describe(plan, result->fit, sizeof(result->fit));
	return true;
}

void sweep_cell_run(const struct sweep_cell_options *options, struct sweep_result *result, struct error *ret_error)
{
	struct job_arguments arguments = arguments_of(options->arguments, &result->cell);
	struct job_setup setup = {0};
	struct error error = {0};
	bool done = job_setup_init(&arguments, options->nodes, options->dataset, &setup, &error) &&
		    check_fit(&arguments, &setup, result, &error) &&
		    run_cell(options, &arguments, &setup, &result->figures, &error);
	job_setup_fini(&setup);
	result->outcome = done                                ? SWEEP_DONE
			  : error.code == ERROR_OUT_OF_MEMORY ? SWEEP_OUT_OF_MEMORY
			  : error.code == ERROR_DIVERGED      ? SWEEP_DIVERGED
							      : SWEEP_FAILED;
	strings_printable(done ? "" : error.message, result->message, sizeof(result->message));
	if (done)
		error.code = ERROR_NONE;
	*ret_error = error;
}
