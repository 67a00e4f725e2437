// penstock prove
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/rpc/rpc.h"
#include "coordinator/command/command.h"
#include "coordinator/command/output.h"
#include "coordinator/command/job_dataset.h"
#include "coordinator/command/job_inputs.h"
#include "coordinator/command/job_numerics.h"
#include "coordinator/command/job_reduction.h"
#include "coordinator/command/job_setup.h"
#include "coordinator/daemons/describe.h"
#include "coordinator/prove/reference.h"
#include "coordinator/report/json_output.h"
#include "coordinator/prove/verdict.h"
#include "coordinator/report/terminal.h"

enum { NETWORK_THREADS = 2, FREE_TIMEOUT_MS = 15000 };

static const char introduction[] = "Usage: penstock prove --dataset PATH (-H HOSTFILE | --local N) [OPTION]...\n"
				   "Trains twice with the same options: on one device without a pipeline, and in the\n"
				   "pipeline that the options ask for. Then compares every loss, every gradient norm\n"
				   "and every final parameter bit for bit. With replicas, the training without a\n"
				   "pipeline has as many replicas.\n"
				   "\n";
static const char conclusion[] = "\n"
				 "Exit codes: 0 equal, 1 different (also from --against FILE) or failed, 2 wrong\n"
				 "usage, 3 out of memory, 4 a node was lost.\n";

struct prove {
	struct job_arguments arguments;
	struct job_nodes nodes;
	struct dataset *dataset;
	struct job_setup setup;
	struct plan *reference;
	struct job_place place; // of the pipeline's ranks; the first ones are the reference's
	struct job_inputs inputs;
	struct numerics *numerics; // of both trainings
	struct safetensors *against;
	struct json_output *output; // NULL: no --json
	FILE *json;                 // NULL: none
	FILE *text;                 // stdout, or stderr where the JSON lines have that
	bool rpc_is_started;
	bool is_terminal; // stderr
};

// ---- Before the trainings

static bool open_against(struct prove *prove, struct error *error)
{
	const char *path = prove->arguments.against;
	char extra[300];
	if (path == NULL)
		return true;
	if (!safetensors_open(path, &prove->against, error))
		return error_wrap(error, "--against");
	if (!against_check(&prove->setup.plan->model, prove->against, extra, sizeof(extra), error))
		return error_wrap(error, "--against %s", path);
	if (extra[0] != '\0')
		log_warning("--against %s: not compared, because the model has no such parameter: %s", path, extra);
	return true;
}

// Nothing is lost that is in the file: a proof that does not come to a result leaves it as it is.
static bool open_json(struct prove *prove, struct error *error)
{
	const char *path = prove->arguments.json;
	if (path == NULL)
		return true;
	if (!json_output_open(path, &prove->output, error))
		return false;
	prove->json = json_output_stream(prove->output);
	return prove->json != NULL || error_set(error, ERROR_FAILED, "out of memory");
}

static bool start(struct prove *prove, struct error *error)
{
	if (!job_nodes_start(&prove->nodes, error) ||
	    !job_nodes_place(&prove->nodes, plan_rank_count(prove->setup.plan), &prove->place, error) ||
	    !rpc_start(NETWORK_THREADS, error))
		return false;
	prove->rpc_is_started = true;
	job_inputs_say(prove->setup.plan, prove->dataset);
	return true;
}

// ---- The trainings

struct progress {
	const struct prove *prove;
	const char *what;
};

static void show_progress(void *user, const struct capture *capture)
{
	const struct progress *progress = user;
	if (!progress->prove->is_terminal)
		return;
	char line[160];
	snprintf(line, sizeof(line), "%s: step %llu of %llu", progress->what, (unsigned long long)capture->steps_done,
		 (unsigned long long)capture->step_count);
	progress_show(line);
}

static bool train(struct prove *prove, const struct plan *plan, const char *what, struct capture *capture,
		  struct error *error)
{
	const struct job_arguments *arguments = &prove->arguments;
	struct progress user = {.prove = prove, .what = what};
	struct capture_progress progress = {.call = show_progress, .user = &user};
	char name[64]; // of its own: describe_until_free looks for it
	snprintf(name, sizeof(name), "prove-%.32s-%d-%u", plan->model.name, (int)getpid(), plan->options.pipeline_size);
	struct job_options options = {.name = name,
				      .plan = plan,
				      .addresses = prove->place.addresses,
				      .devices = prove->place.devices,
				      .tls = prove->place.tls,
				      .config = &prove->setup.config,
				      .dataset = prove->dataset,
				      .sampler = prove->inputs.sampler,
				      .steps = arguments->steps,
				      .load = prove->inputs.load,
				      .load_skips = prove->inputs.load_skips,
				      .numerics = prove->numerics,
				      .connections = arguments->connections,
				      .progress_timeout_s = arguments->progress_timeout_s,
				      .chunk_bytes = arguments->chunk_bytes};
	if (prove->is_terminal)
		progress_show(what);
	else
		fprintf(stderr, "%s\n", what);
	bool done = job_reduction_choose(arguments, plan, &prove->place, &options.reduce_in_group, error) &&
		    capture_run(capture, &options, &progress, error);
	if (prove->is_terminal)
		progress_clear();
	describe_until_free(prove->place.addresses, plan_rank_count(plan), prove->place.tls, name, FREE_TIMEOUT_MS);
	return done || error_wrap(error, "%s", what);
}

// ---- After them

static bool judge(struct prove *prove, const struct proof *proof, const struct capture *reference,
		  const struct capture *pipeline, bool *ret_holds, struct error *error)
{
	struct comparison comparison;
	struct against against = {0};
	struct against_tolerance tolerance = {.relative = prove->arguments.against_relative,
					      .ulp = prove->arguments.against_ulp};
	compare_captures(reference, pipeline, &comparison);
	if (prove->against != NULL && !against_compare(pipeline, prove->against, &tolerance, &against, error))
		return false;
	struct verdict verdict = {.proof = proof,
				  .reference = reference,
				  .pipeline = pipeline,
				  .comparison = &comparison,
				  .against = prove->against != NULL ? &against : NULL};
	output_wait_for_readers();
	verdict_print(&verdict, prove->text);
	bool ok = prove->json == NULL ||
		  (verdict_write_proof(proof, prove->json, error) && verdict_write(&verdict, prove->json, error));
	*ret_holds = comparison_is_equal(&comparison) && against.agree == against.count;
	against_fini(&against);
	return ok;
}

static bool run(struct prove *prove, bool *ret_holds, struct error *error)
{
	struct proof proof = {.reference = prove->reference,
			      .pipeline = prove->setup.plan,
			      .addresses = prove->place.addresses,
			      .steps = prove->arguments.steps,
			      .against_path = prove->arguments.against};
	struct capture *reference = NULL, *pipeline = NULL;
	verdict_print_proof(&proof, prove->text);
	fflush(prove->text);
	const struct model *model = &prove->setup.plan->model;
	bool ok = capture_create(model, proof.steps, &reference, error) &&
		  capture_create(model, proof.steps, &pipeline, error) &&
		  train(prove, proof.reference, "training without a pipeline", reference, error) &&
		  train(prove, proof.pipeline, "training in the pipeline", pipeline, error) &&
		  judge(prove, &proof, reference, pipeline, ret_holds, error);
	capture_destroy(reference);
	capture_destroy(pipeline);
	return ok;
}

static bool close_all(struct prove *prove, struct error *error)
{
	if (prove->rpc_is_started)
		rpc_stop();
	bool ok = json_output_close(prove->output, error);
	safetensors_close(prove->against);
	job_inputs_fini(&prove->inputs);
	dataset_close(prove->dataset);
	numerics_close(prove->numerics);
	job_place_fini(&prove->place);
	job_nodes_fini(&prove->nodes);
	plan_destroy(prove->reference);
	job_setup_fini(&prove->setup);
	return ok;
}

int command_prove(int argc, char **argv)
{
	struct prove prove = {.is_terminal = terminal_obeys(STDERR_FILENO)};
	struct error error, close_error;
	bool holds = false;
	int code;
	if (!command_goes_on(job_arguments_parse(JOB_COMMAND_PROVE, argc, argv, introduction, conclusion,
						 &prove.arguments, &error),
			     &error, &code))
		return code;
	command_catch_signals();
	output_guard();
	prove.text = stdout;
	bool ok = job_nodes_read(&prove.arguments, &prove.nodes, &error) &&
		  job_dataset_open(&prove.arguments, &prove.dataset, &error) &&
		  job_setup_init(&prove.arguments, &prove.nodes, prove.dataset, &prove.setup, &error);
	if (ok)
		job_setup_warn(&prove.setup, &prove.arguments);
	// Everything that can be wrong in files is found before a daemon is asked.
	ok = ok && job_setup_check_fit(&prove.setup, &prove.arguments, &error) &&
	     reference_plan(prove.setup.plan, &prove.reference, &error) &&
	     job_inputs_read(&prove.arguments, &prove.setup, prove.dataset, &prove.inputs, &error) &&
	     open_against(&prove, &error) && job_numerics_open(&prove.arguments, &prove.numerics, &error) &&
	     open_json(&prove, &error) && start(&prove, &error) && run(&prove, &holds, &error);
	if (!close_all(&prove, &close_error) && ok) {
		error = close_error;
		ok = false;
	}
	if (!ok)
		return command_fail(&error);
	return holds ? 0 : 1;
}
