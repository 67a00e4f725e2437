// The table of the options of train, plan, sweep and prove. See job_arguments.h.
#include "coordinator/command/job_arguments.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/output_path.h"
#include "common/base/strings.h"
#include "common/model/model.h"
#include "common/rpc/protocol.h"
#include "common/schedule/schedule.h"
#include "coordinator/command/command.h"
#include "coordinator/config/hostfile.h"
#include "coordinator/daemons/local.h"
#include "coordinator/models/models.h"

#define PLACE(field) offsetof(struct job_arguments, field)

enum {
	MAXIMUM_STEPS = 1000000000,
	MAXIMUM_PROGRESS_TIMEOUT_S = 7 * 24 * 3600,
	MAXIMUM_PROOF_STEPS = 1000000, // whose losses and norms are kept in memory
	MAXIMUM_BATCH = 1 << 24,
	MAXIMUM_WARM_UP_STEPS = 1000000,
	MINIMUM_CLASSES = 2,
	MAXIMUM_CLASSES = 256, // a label is a byte
	MAXIMUM_THREADS = 1024,
	MINIMUM_MEMORY_LIMIT = 1 << 20, // as of the daemons, which get it
};
#define MAXIMUM_RATE 1e9

// ---- Options that are more than a value at a place

static bool take_model(void *into, const char *value, struct error *error)
{
	struct job_arguments *arguments = into;
	arguments->model = models_find(value, error);
	return arguments->model != NULL;
}

static bool take_schedule(void *into, const char *value, struct error *error)
{
	struct job_arguments *arguments = into;
	arguments->schedule = schedule_find(value, error);
	return arguments->schedule != NULL;
}

static bool take_optimizer(void *into, const char *value, struct error *error)
{
	struct job_arguments *arguments = into;
	enum optimizer_kind kind;
	arguments->overrides.optimizer = value;
	return optimizer_parse(value, &kind) ||
	       error_set(error, ERROR_USAGE, "unknown optimizer \"%.40s\"; known: %s", value, optimizer_names());
}

// The daemons read it themselves.
static bool take_memory_limit(void *into, const char *value, struct error *error)
{
	static const struct option_row bytes = {.kind = OPTION_BYTES,
						.place = PLACE(memory_limit_bytes),
						.minimum = MINIMUM_MEMORY_LIMIT,
						.maximum = UINT64_MAX};
	struct job_arguments *arguments = into;
	arguments->memory_limit = value;
	return option_set(&bytes, value, into, error);
}

static bool take_stop_on_nan(void *into, const char *value, struct error *error)
{
	struct job_arguments *arguments = into;
	arguments->stop_on_nan = value == NULL || strcmp(value, "yes") == 0;
	return arguments->stop_on_nan || strcmp(value, "no") == 0 ||
	       error_set(error, ERROR_USAGE, "\"%.40s\" is neither yes nor no", value);
}

static bool take_no_stop_on_nan(void *into, const char *value, struct error *error)
{
	struct job_arguments *arguments = into;
	arguments->stop_on_nan = false;
	return true;
}

static const struct option_row local_count = {
	.kind = OPTION_COUNT, .place = PLACE(local), .minimum = 1, .maximum = LOCAL_MAXIMUM_DAEMONS};

static bool take_local_for_all(void *into, const char *value, struct error *error)
{
	struct job_arguments *arguments = into;
	arguments->local_for_all = value == NULL;
	return value == NULL || option_set(&local_count, value, into, error);
}

static const struct option_row node_count = {
	.kind = OPTION_COUNT, .place = PLACE(nodes), .minimum = 1, .maximum = HOSTFILE_MAXIMUM_HOSTS};

static bool take_nodes_or_list(void *into, const char *value, struct error *error)
{
	struct job_arguments *arguments = into;
	if (strchr(value, ',') == NULL)
		return option_set(&node_count, value, into, error);
	arguments->node_counts = value;
	return true;
}

// "R,G,B" to float32, each of which `is_valid`.
static bool take_channels(const char *value, float into[3], bool (*is_valid)(float number), const char *expected,
			  struct error *error)
{
	char text[100], *rest = text;
	float channels[3];
	int count = 0;
	snprintf(text, sizeof(text), "%s", value);
	for (const char *part = strsep(&rest, ","); part != NULL; part = strsep(&rest, ",")) {
		double number;
		if (count == 3 || !strings_parse_number(part, &number, NULL) || !is_valid((float)number))
			return error_set(error, ERROR_USAGE, "\"%.40s\": expected %s", value, expected);
		channels[count++] = (float)number;
	}
	if (count != 3)
		return error_set(error, ERROR_USAGE, "\"%.40s\": expected %s", value, expected);
	memcpy(into, channels, sizeof(channels));
	return true;
}

static bool is_finite(float number)
{
	return isfinite(number);
}

static bool is_divisor(float number)
{
	return isfinite(number) && number > 0.0f && isfinite(1.0f / number);
}

static bool take_mean(void *into, const char *value, struct error *error)
{
	struct job_arguments *arguments = into;
	arguments->mean_is_given = true;
	return take_channels(value, arguments->mean, is_finite, "three finite numbers R,G,B", error);
}

static bool take_standard_deviation(void *into, const char *value, struct error *error)
{
	struct job_arguments *arguments = into;
	arguments->deviation_is_given = true;
	return take_channels(value, arguments->standard_deviation, is_divisor, "three numbers R,G,B above 0", error);
}

// ---- The table

enum {
	TRAIN = 1 << JOB_COMMAND_TRAIN,
	PLAN = 1 << JOB_COMMAND_PLAN,
	SWEEP = 1 << JOB_COMMAND_SWEEP,
	PROVE = 1 << JOB_COMMAND_PROVE,
};

// Of options that say how a job runs.
#define OF_RUNS .only = TRAIN | SWEEP | PROVE, .instead = "it trains nothing"

static const char *const plan_devices[] = {"cpu", "cuda", NULL};
static const char *const reductions[] = {"auto", "ring", "nccl", NULL};

static const struct option_row rows[] = {
	// What differs between the commands
	{"json", "FILE", OPTION_TEXT, PLACE(json), .only = TRAIN, .instead = "--output DIR gets a sweep.json",
	 .help = "write results as JSON lines: the plan, the kernels, each step, a summary; - is stdout, and "
		 "all other output then goes to stderr"},
	{"json", "FILE", OPTION_TEXT, PLACE(json), .only = PLAN,
	 .help = "write the plan as a JSON object; with cells, a line for each"},
	{"json", "FILE", OPTION_TEXT, PLACE(json), .only = PROVE,
	 .help = "write the proof as JSON lines: both trainings, each step, the verdict"},
	{"against", "FILE", OPTION_TEXT, PLACE(against), .only = PROVE, .instead = "it applies only to penstock prove",
	 .help = "also compare the pipeline's final parameters with those of a safetensors file, such as one from "
		 "PyTorch"},
	{"against-relative", "X", OPTION_NUMBER, PLACE(against_relative), .lowest = 0.0, .highest = 1.0, .only = PROVE,
	 .preset = "1e-4",
	 .help = "a parameter agrees with the file if the norm of the difference is at most X times the norm of the "
		 "file's tensor"},
	{"against-ulp", "N", OPTION_LONG, PLACE(against_ulp), 0, UINT32_MAX, .only = PROVE, .preset = "0",
	 .help = "or if no element is more than N units in the last place (ULP) away from the file's"},
	{"metrics-listen", "ADDRESS", OPTION_TEXT, PLACE(metrics_listen), .only = TRAIN,
	 .instead = "it applies only to penstock train",
	 .help = "serve /metrics over HTTP on HOST:PORT while the job runs (default: nowhere)"},
	{"pipeline-sizes", "A,B,...", OPTION_TEXT, PLACE(pipeline_sizes), .only = PLAN,
	 .instead = "only penstock plan and penstock sweep have cells; use -p", .help = "stages of the cells"},
	{"pipeline-sizes", "A,B,...", OPTION_TEXT, PLACE(pipeline_sizes), .only = SWEEP, .preset = "0,2,4",
	 .help = "stages; 0: no pipeline, every device holds the whole model"},
	{"micro-batches", "A,B,...", OPTION_TEXT, PLACE(micro_batch_sizes), .only = PLAN,
	 .instead = "only penstock plan and penstock sweep have cells; use --micro-batch-size",
	 .help = "samples in a micro-batch of the cells"},
	{"micro-batches", "A,B,...", OPTION_TEXT, PLACE(micro_batch_sizes), .only = SWEEP, .preset = "128,64",
	 .help = "samples in a micro-batch"},
	{"nodes", "A,B,...", OPTION_TEXT, PLACE(node_counts), .also = {"num-nodes", "num_nodes"}, .only = SWEEP,
	 .preset = "1,2,4", .help = "numbers of nodes; a cell uses the first ones of the hostfile"},
	{"local", "N", OPTION_OWN, .take = take_local_for_all, .value_may_lack = true, .value_is_digits = true,
	 .only = SWEEP, .help = "start N daemons on this machine (default: the largest number of nodes)"},
	{"output", "DIR", OPTION_TEXT, PLACE(output), .only = SWEEP,
	 .instead = "it applies only to penstock sweep; use --json FILE",
	 .help = "folder for sweep.md, .csv, .json, .png and .svg; an unfinished sweep in it is continued"},
	{"warm-up", "N", OPTION_COUNT, PLACE(warm_up_steps), 0, MAXIMUM_WARM_UP_STEPS, .only = SWEEP,
	 .instead = "it applies only to penstock sweep", .preset = "2",
	 .help = "the first N of each cell's --steps are not measured"},
	{"gradient-accumulation-steps", "N", OPTION_COUNT, PLACE(overrides.gradient_accumulation_steps), 1,
	 MAXIMUM_BATCH, .only = SWEEP,
	 .help = "micro-batches per step and replica (default: from ds_config.json, or 4); the train batch grows with "
		 "the replicas"},

	{"model", "NAME", OPTION_OWN, .take = take_model, .heading = "Model and data:", .preset = "alexnet",
	 .help = "alexnet, vgg11, vgg13, vgg16 or vgg19"},
	{"image-size", "N", OPTION_COUNT, PLACE(image_size), 1, MODEL_MAXIMUM_IMAGE_SIZE, .preset = "64",
	 .help = "images are resized to N x N"},
	{"classes", "N", OPTION_COUNT, PLACE(classes), MINIMUM_CLASSES, MAXIMUM_CLASSES,
	 .help = "classes of the model, more than the highest label of the dataset "
		 "(default: the dataset's; 10 without a dataset)"},
	{"dropout", "P", OPTION_NUMBER, PLACE(dropout), .lowest = 0.0, .highest = 1.0,
	 .help = "dropout probability (default: the model's own)"},
	{"dataset", "PATH", OPTION_TEXT, PLACE(dataset), OF_RUNS,
	 .help = "CIFAR-10 or CIFAR-100 (folder or archive), a folder of classes of JPEG or PNG images, "
		 "or a tar archive of them in WebDataset's form; see penstock dataset synthesize"},
	{"mean", "R,G,B", OPTION_OWN, .take = take_mean, OF_RUNS,
	 .help = "mean of each channel, subtracted from values of 0 to 1 (default: ImageNet's, "
		 "0.485,0.456,0.406)"},
	{"std", "R,G,B", OPTION_OWN, .take = take_standard_deviation, OF_RUNS,
	 .help = "standard deviation of each channel, by which the results are divided (default: ImageNet's, "
		 "0.229,0.224,0.225)"},
	{"no-shuffle", NULL, OPTION_SWITCH, PLACE(no_shuffle), OF_RUNS,
	 .help = "keep the order of the files instead of shuffling each epoch"},
	{"seed", "N", OPTION_LONG, PLACE(seed), 0, INT64_MAX, .preset = "1", OF_RUNS,
	 .help = "seed of initial values, shuffling and dropout"},
	{"load", "FILE", OPTION_TEXT, PLACE(load), .only = PROVE, .help = "initial parameters, safetensors"},
	{"load", "FILE", OPTION_TEXT, PLACE(load), .only = TRAIN,
	 .instead = "it applies only to penstock train and penstock prove"},
	{"skip-mismatched", NULL, OPTION_SWITCH, PLACE(skip_mismatched), .only = TRAIN | PROVE,
	 .instead = "it applies only to penstock train and penstock prove",
	 .help = "draw parameters from the seed if --load lacks them or has another shape"},
	{"save", "FILE", OPTION_TEXT, PLACE(save), .only = TRAIN, .instead = "it applies only to penstock train",
	 .help = "initial and final parameters: safetensors with torchvision's names"},

	{"deepspeed-config", "FILE", OPTION_TEXT, PLACE(deepspeed_config),
	 .also = {"deepspeed_config", "deepscale_config"},
	 .heading = "Training (an option overrides the file's key):", .help = "ds_config.json"},
	{"steps", "N", OPTION_LONG, PLACE(steps), 1, MAXIMUM_STEPS, .letter = 's', .only = TRAIN | PLAN | SWEEP,
	 .preset = "50", .help = "optimizer steps"},
	{"steps", "N", OPTION_LONG, PLACE(steps), 1, MAXIMUM_PROOF_STEPS, .letter = 's', .only = PROVE, .preset = "5",
	 .help = "optimizer steps of both trainings"},
	{"train-batch-size", "N", OPTION_COUNT, PLACE(overrides.train_batch_size), 1, MAXIMUM_BATCH,
	 .only = TRAIN | PLAN | PROVE, .instead = "each cell sets it, with --gradient-accumulation-steps"},
	{"micro-batch-size", "N", OPTION_COUNT, PLACE(overrides.micro_batch_size), 1, MAXIMUM_BATCH,
	 .only = TRAIN | PLAN | PROVE, .instead = "use --micro-batches"},
	{"gradient-accumulation-steps", "N", OPTION_COUNT, PLACE(overrides.gradient_accumulation_steps), 1,
	 MAXIMUM_BATCH, .only = TRAIN | PLAN | PROVE,
	 .help = "any two give the third (default: micro-batches of 32, 4 of them)"},
	{"stop-on-nan", "WORD", OPTION_OWN, .take = take_stop_on_nan, .value_may_lack = true, .only = TRAIN,
	 .instead = "penstock sweep records a cell that diverges as diverged"},
	{"no-stop-on-nan", NULL, OPTION_OWN, .take = take_no_stop_on_nan, .only = TRAIN,
	 .help = "yes (default): end at a loss or gradient norm that is not finite, and save nothing; no: continue"},
	{"optimizer", "NAME", OPTION_OWN, .take = take_optimizer,
	 .help = "SGD, Adam, AdamW, Lamb, Lion or Adagrad (default SGD)"},
	{"lr", "X", OPTION_NUMBER, PLACE(overrides.learning_rate), .lowest = 0.0, .highest = MAXIMUM_RATE},
	{"momentum", "X", OPTION_NUMBER, PLACE(overrides.momentum), .lowest = 0.0, .highest = MAXIMUM_RATE,
	 .only = TRAIN | SWEEP | PROVE},
	{"momentum", "X", OPTION_NUMBER, PLACE(overrides.momentum), .lowest = 0.0, .highest = MAXIMUM_RATE,
	 .only = PLAN, .help = "of the optimizer"},
	{"weight-decay", "X", OPTION_NUMBER, PLACE(overrides.weight_decay), .lowest = 0.0, .highest = MAXIMUM_RATE,
	 OF_RUNS, .help = "of the optimizer"},
	{"numerics", "FILE", OPTION_TEXT, PLACE(numerics), OF_RUNS,
	 .help = "file with the choice of kernels: read, and extended with new choices (default: in the cache folder)"},
	{"precision", "NAME", OPTION_TEXT, PLACE(overrides.precision),
	 .help = "fp32 (default), tf32, bf16 or fp16; parameters are fp32 in any case"},
	{"communication-data-type", "NAME", OPTION_TEXT, PLACE(overrides.communication_type),
	 .help = "type of the tensors sent between stages: fp32, bf16 or fp16 (default: the precision's)"},
	{"activation-checkpoint-interval", "N", OPTION_LONG, PLACE(overrides.checkpoint_interval), 0,
	 DEEPSPEED_MAXIMUM_CHECKPOINT_INTERVAL,
	 .help = "keep only the input of every N layers, and recompute the rest (default 0: keep all)"},

	{"hostfile", "FILE", OPTION_TEXT, PLACE(hostfile), .letter = 'H', .heading = "Pipeline and replicas:",
	 .help = "file of nodes, with a line \"host[:port] slots=N\" for each; a slot is a device"},
	{"nodes", "N", OPTION_COUNT, PLACE(nodes), 1, HOSTFILE_MAXIMUM_HOSTS, .also = {"num-nodes", "num_nodes"},
	 .only = TRAIN | PROVE, .help = "use the first N nodes of the hostfile (default: all)"},
	{"nodes", "N", OPTION_OWN, .take = take_nodes_or_list, .also = {"num-nodes", "num_nodes"}, .only = PLAN,
	 .help = "use the first N nodes of the hostfile (default: all); without a hostfile, N nodes of one device; for "
		 "cells, a list A,B,..."},
	{"local", "N", OPTION_COUNT, PLACE(local), 1, LOCAL_MAXIMUM_DAEMONS, .only = TRAIN | PLAN | PROVE,
	 .help = "start N daemons on this machine, and stop them after the job"},
	{"pipeline-size", "N", OPTION_COUNT, PLACE(pipeline_size), 0, SCHEDULE_MAXIMUM_STAGES, .letter = 'p',
	 .also = {"pipeline-parallel-size", "pipeline_parallel_size"}, .only = TRAIN | PLAN | PROVE,
	 .instead = "use --pipeline-sizes",
	 .help = "number of stages (default: the number of devices); there are devices / N replicas. 0: no pipeline, "
		 "every device holds the whole model"},
	{"partition-method", "NAME", OPTION_TEXT, PLACE(partition_method),
	 .help = "flops (default; within --memory-limit if possible), memory, uniform, parameters or type:REGEX"},
	{"split", "A,B,...", OPTION_TEXT, PLACE(split),
	 .help = "first layer of each stage after the first, instead of a method"},
	{"schedule", "NAME", OPTION_OWN, .take = take_schedule, .preset = "1f1b", .help = "1f1b or gpipe"},
	{"in-flight", "N", OPTION_COUNT, PLACE(in_flight), 1, SCHEDULE_MAXIMUM_MICRO_BATCHES,
	 .help = "at most N micro-batches in flight in a stage, for 1f1b (default: as many as the schedule needs)"},
	{"threads", "N", OPTION_COUNT, PLACE(threads), 1, MAXIMUM_THREADS, OF_RUNS,
	 .help = "threads of each daemon that --local starts (default: an equal share of the processors it may use)"},
	{"memory-limit", "SIZE", OPTION_OWN, .take = take_memory_limit,
	 .help = "memory limit of each device for the plan; daemons that --local starts get it, others keep their own"},
	{"fit", NULL, OPTION_SWITCH, PLACE(fit), .help = "search for the fastest plan that fits --memory-limit"},
	{"plan-device", "NAME", OPTION_NAME, PLACE(plan_device), .choices = plan_devices,
	 .help = "device whose memory is planned: cpu or cuda (default: cpu, and cuda with tf32, bf16, fp16)"},
	{"connections", "N", OPTION_COUNT, PLACE(connections), 1, PROTOCOL_MAXIMUM_CONNECTIONS, .preset = "2", OF_RUNS,
	 .help = "connections per boundary between stages"},
	{"progress-timeout", "SECONDS", OPTION_COUNT, PLACE(progress_timeout_s), 0, MAXIMUM_PROGRESS_TIMEOUT_S,
	 .preset = "600", OF_RUNS,
	 .help = "end the job if no stage makes progress for this time and for 10 times the longest wait so far; "
		 "while stages are opened, the limit is three times as long; 0: never"},
	{"chunk-size", "SIZE", OPTION_BYTES, PLACE(chunk_bytes), PROTOCOL_MINIMUM_CHUNK_BYTES,
	 PROTOCOL_MAXIMUM_CHUNK_BYTES, .preset = "2MiB", OF_RUNS, .help = "largest chunk in which a tensor is sent"},
	{"reduce", "NAME", OPTION_NAME, PLACE(reduce), .choices = reductions, .preset = "auto", OF_RUNS,
	 .help = "how replicas sum gradients: ring (over the stages' connections), nccl (between GPUs) or auto (nccl "
		 "if all devices have it)"},
	{"reduce-bucket-size", "SIZE", OPTION_BYTES, PLACE(reduce_bucket_bytes), PROTOCOL_MINIMUM_BUCKET_BYTES,
	 PROTOCOL_MAXIMUM_BUCKET_BYTES, .preset = "25MiB",
	 .help = "size of the buckets in which the ring sums gradients"},

	// The other options of DeepSpeed's own scripts
	{"deepspeed", NULL, OPTION_SWITCH, PLACE(deepspeed), .also = {"deepscale"},
	 .heading = "Options of DeepSpeed's scripts, without effect here:",
	 .help = "enables DeepSpeed in a script; --deepspeed-config names the file"},
	{"local-rank", "N", OPTION_LONG, PLACE(local_rank), (uint64_t)-1, INT32_MAX, .also = {"local_rank"},
	 .help = "number of the process on its node, from a launcher; ignored, because penstock is started once"},
	{"backend", "NAME", OPTION_TEXT, PLACE(backend),
	 .help = "PyTorch's communication library; ignored, see --reduce"},

	TLS_ARGUMENTS_ROWS(struct job_arguments, tls., OF_RUNS),
};

_Static_assert(sizeof(rows) / sizeof(rows[0]) <= OPTION_TABLE_MAXIMUM, "every row has its place");

// What is written over must not be what is read, nor what else is written, also by another name or through a link.
static bool check_files(const struct job_arguments *arguments, struct error *error)
{
	enum { JSON, SAVE, WRITTEN, LOAD = WRITTEN, FILES = 7 };
	const struct {
		const char *name, *path;
	} files[FILES] = {[JSON] = {"--json", arguments->json},
			  [SAVE] = {"--save", arguments->save},
			  [LOAD] = {"--load", arguments->load},
			  {"--against", arguments->against},
			  {"--numerics", arguments->numerics},
			  {"--hostfile", arguments->hostfile},
			  {"--deepspeed-config", arguments->deepspeed_config}};
	for (int w = 0; w < WRITTEN; w++)
		for (int o = w + 1; o < FILES; o++) {
			bool may_be_same = w == SAVE && o == LOAD; // --save may replace what --load has read
			if (files[w].path != NULL && files[o].path != NULL && !may_be_same &&
			    output_path_is_same(files[w].path, files[o].path))
				return error_set(error, ERROR_USAGE,
						 "%s %.200s and %s %.200s are the same file: name another",
						 files[w].name, files[w].path, files[o].name, files[o].path);
		}
	return true;
}

static bool check_together(enum job_command command, const struct job_arguments *arguments, struct error *error)
{
	bool has_cells = arguments->pipeline_sizes != NULL || arguments->micro_batch_sizes != NULL;
	if (command == JOB_COMMAND_PLAN && arguments->node_counts != NULL && !has_cells)
		return error_set(error, ERROR_USAGE,
				 "--nodes %.80s: a list needs --pipeline-sizes and --micro-batches, too",
				 arguments->node_counts);
	if (arguments->split != NULL && arguments->partition_method != NULL)
		return error_set(error, ERROR_USAGE,
				 "--split and --partition-method exclude each other: both say where to cut");
	if (arguments->fit && arguments->memory_limit == NULL)
		return error_set(error, ERROR_USAGE, "--fit needs --memory-limit SIZE, such as 16GiB");
	if (arguments->numerics != NULL && strcmp(arguments->numerics, "-") == 0)
		return error_set(error, ERROR_USAGE,
				 "--numerics -: the file is read and written, so it cannot be stdin or stdout: name a "
				 "file, such as kernels.jsonl");
	return check_files(arguments, error);
}

enum options_result job_arguments_parse(enum job_command command, int argc, char **argv, const char *introduction,
					const char *conclusion, struct job_arguments *ret_arguments,
					struct error *error)
{
	static const char *const programs[] = {"penstock train", "penstock plan", "penstock sweep", "penstock prove"};
	const struct option_table table = {.program = programs[command],
					   .rows = rows,
					   .count = sizeof(rows) / sizeof(rows[0]),
					   .command = command,
					   .introduction = introduction,
					   .conclusion = conclusion,
					   .version = COMMAND_VERSION};
	struct job_arguments arguments = {
		.dropout = -1.0,
		.pipeline_size = -1,
		.stop_on_nan = true,
		// ImageNet's, as torchvision's own networks are trained with
		.mean = {0.485f, 0.456f, 0.406f},
		.standard_deviation = {0.229f, 0.224f, 0.225f},
	};
	deepspeed_overrides_init(&arguments.overrides);
	enum options_result result = options_parse(&table, argc, argv, &arguments, NULL, error);
	if (result != OPTIONS_RUN)
		return result;
	if (!check_together(command, &arguments, error))
		return OPTIONS_WRONG;
	if (arguments.partition_method == NULL)
		arguments.partition_method = "flops";
	*ret_arguments = arguments;
	return OPTIONS_RUN;
}
