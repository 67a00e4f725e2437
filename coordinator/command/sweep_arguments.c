// See sweep_arguments.h.
#include "coordinator/command/sweep_arguments.h"

#include <ctype.h>
#include <string.h>

#include "common/base/strings.h"

enum { DEFAULT_MICRO_BATCHES = 4, DEFAULT_WARM_UP_STEPS = 2, MAXIMUM_WARM_UP_STEPS = 1000000 };

static const char usage[] =
	"Usage: penstock sweep --dataset DIR --output DIR (-H HOSTFILE | --local [N]) [OPTION]...\n"
	"Trains a little in every combination of nodes, pipeline size and micro-batch size, one after another,\n"
	"and writes what came of it as a table, as data and as a picture.\n"
	"\n"
	"  --pipeline-sizes A,B,...  stages; 0: no pipeline, every device holds the whole model (default 0,2,4)\n"
	"  --micro-batches A,B,...   samples in a micro-batch (default 128,64)\n"
	"  --nodes A,B,...           the first so many nodes (default 1,2,4)\n"
	"  --local [N]               N daemons on this machine (default: the largest number of nodes)\n"
	"  --output DIR              sweep.md, .csv, .json, .png and .svg; a sweep that is there is gone on with\n"
	"  --warm-up N               of each cell's --steps, the first N are not measured (default 2)\n"
	"  --gradient-accumulation-steps N\n"
	"                            micro-batches per step and replica (default: that of ds_config.json, or 4);\n"
	"                            the train batch grows with the replicas\n"
	"\n"
	"The nodes decide the replicas: devices / stages. Of the options below, -p, --micro-batch-size,\n"
	"--train-batch-size, --load, --save and --json have no place here. Exit codes: 0 every cell is done or out of\n"
	"memory, 1 one failed otherwise, 2 wrong usage, 4 a node was lost.\n"
	"\n";

enum own { OWN_PIPELINE_SIZES, OWN_MICRO_BATCHES, OWN_NODES, OWN_OUTPUT, OWN_WARM_UP, OWN_OPTIONS };

static const char *const own_names[OWN_OPTIONS] = {"--pipeline-sizes", "--micro-batches", "--nodes", "--output",
						   "--warm-up"};

// Whether `word` is the option, alone ("--nodes": its value is the next word) or with its value ("--nodes=1,2").
static bool is_option(const char *word, const char *name, const char **ret_value)
{
	size_t length = strlen(name);
	if (strncmp(word, name, length) != 0 || (word[length] != '\0' && word[length] != '='))
		return false;
	*ret_value = word[length] == '=' ? word + length + 1 : NULL;
	return true;
}

static bool take_own(int argc, char **argv, int *at, const char **values, bool *ret_taken, struct error *error)
{
	const char *value;
	*ret_taken = false;
	for (int i = 0; i < OWN_OPTIONS; i++) {
		if (!is_option(argv[*at], own_names[i], &value))
			continue;
		if (value == NULL && *at + 1 == argc)
			return error_set(error, ERROR_USAGE, "option %s needs a value; see penstock sweep --help",
					 own_names[i]);
		values[i] = value != NULL ? value : argv[++*at];
		*ret_taken = true;
		return *values[i] != '\0' || error_set(error, ERROR_USAGE, "%s: its value is empty", own_names[i]);
	}
	return true;
}

// "--local" without a number after it.
static bool is_bare_local(int argc, char **argv, int at)
{
	return strcmp(argv[at], "--local") == 0 && (at + 1 == argc || !isdigit((unsigned char)argv[at + 1][0]));
}

// Moves what is not the sweep's own to the front.
static bool split_words(int argc, char **argv, const char **values, bool *ret_bare_local, int *ret_rest,
			struct error *error)
{
	int rest = 1;
	for (int at = 1; at < argc; at++) {
		bool taken;
		if (!take_own(argc, argv, &at, values, &taken, error))
			return false;
		if (!taken && is_bare_local(argc, argv, at))
			*ret_bare_local = true;
		else if (!taken)
			argv[rest++] = argv[at];
	}
	argv[rest] = NULL; // argv[argc] is NULL: there is place for it
	*ret_rest = rest;
	return true;
}

static bool refuse_what_cells_decide(const struct job_arguments *job, struct error *error)
{
	const char *name = job->pipeline_size >= 0               ? "-p"
			   : job->overrides.micro_batch_size > 0 ? "--micro-batch-size"
			   : job->overrides.train_batch_size > 0 ? "--train-batch-size"
			   : job->load != NULL                   ? "--load"
			   : job->save != NULL                   ? "--save"
			   : job->json != NULL                   ? "--json"
								 : NULL;
	const char *instead = job->pipeline_size >= 0               ? "say --pipeline-sizes"
			      : job->overrides.micro_batch_size > 0 ? "say --micro-batches"
			      : job->overrides.train_batch_size > 0
				      ? "it follows from the cell and from --gradient-accumulation-steps"
			      : job->json != NULL ? "--output DIR gets a sweep.json"
						  : "a sweep measures, and keeps no parameters";
	return name == NULL || error_set(error, ERROR_USAGE, "%s has no place in a sweep: %s", name, instead);
}

// The option stands for the file's key here, too.
static bool find_micro_batches(struct sweep_arguments *arguments, struct error *error)
{
	struct deepspeed_config config;
	arguments->micro_batches = arguments->job.overrides.gradient_accumulation_steps;
	if (arguments->micro_batches == 0 && arguments->job.deepspeed_config != NULL) {
		if (!deepspeed_config_read(arguments->job.deepspeed_config, &arguments->job.overrides, &config, error))
			return false;
		arguments->micro_batches = config.gradient_accumulation_steps;
	}
	if (arguments->micro_batches == 0)
		arguments->micro_batches = DEFAULT_MICRO_BATCHES;
	return true;
}

static bool check(struct sweep_arguments *arguments, const char **values, bool bare_local, struct error *error)
{
	int64_t warm_up = DEFAULT_WARM_UP_STEPS;
	struct job_arguments *job = &arguments->job;
	if (values[OWN_OUTPUT] == NULL)
		return error_set(error, ERROR_USAGE, "--output DIR is missing; see penstock sweep --help");
	arguments->output = values[OWN_OUTPUT];
	if (!refuse_what_cells_decide(job, error) || !grid_parse(values[OWN_PIPELINE_SIZES], values[OWN_MICRO_BATCHES],
								 values[OWN_NODES], &arguments->grid, error))
		return false;
	if (values[OWN_WARM_UP] != NULL &&
	    !strings_parse_integer(values[OWN_WARM_UP], 0, MAXIMUM_WARM_UP_STEPS, &warm_up, error))
		return error_wrap(error, "--warm-up");
	arguments->warm_up_steps = (uint32_t)warm_up;
	if (job->steps <= arguments->warm_up_steps)
		return error_set(error, ERROR_USAGE,
				 "--steps %u: of each cell's steps %u are for warming up (--warm-up), and none would "
				 "be measured",
				 (unsigned)job->steps, arguments->warm_up_steps);
	if (bare_local)
		job->local = grid_most_nodes(&arguments->grid);
	return find_micro_batches(arguments, error);
}

enum job_arguments_result sweep_arguments_parse(int argc, char **argv, struct sweep_arguments *ret_arguments,
						struct error *error)
{
	const char *values[OWN_OPTIONS] = {
		[OWN_PIPELINE_SIZES] = "0,2,4", [OWN_MICRO_BATCHES] = "128,64", [OWN_NODES] = "1,2,4"};
	struct sweep_arguments arguments = {0};
	bool bare_local = false;
	int rest;
	if (!split_words(argc, argv, values, &bare_local, &rest, error))
		return JOB_ARGUMENTS_WRONG;
	enum job_arguments_result result = job_arguments_parse(rest, argv, usage, &arguments.job, error);
	if (result != JOB_ARGUMENTS_RUN)
		return result;
	if (!check(&arguments, values, bare_local, error))
		return JOB_ARGUMENTS_WRONG;
	*ret_arguments = arguments;
	return JOB_ARGUMENTS_RUN;
}
