// See job_arguments.h.
#include "coordinator/command/job_arguments.h"

#include <ctype.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/model/model.h"
#include "common/rpc/protocol.h"
#include "common/schedule/schedule.h"
#include "coordinator/command/command.h"
#include "coordinator/config/hostfile.h"
#include "coordinator/dataset/cifar10.h"
#include "coordinator/run/local.h"

enum {
	DEFAULT_IMAGE_SIZE = 64,
	DEFAULT_STEPS = 50,
	MAXIMUM_STEPS = 1000000000,
	MAXIMUM_BATCH = 1 << 24,
	DEFAULT_WARM_UP_STEPS = 2,
	MAXIMUM_WARM_UP_STEPS = 1000000,
};

const char job_arguments_help[] =
	"Model and data:\n"
	"  --model NAME              alexnet (default), vgg11, vgg13, vgg16 or vgg19\n"
	"  --image-size N            images are resized to N x N (default 64)\n"
	"  --classes N               of the model (default 10)\n"
	"  --dropout P               probability in place of the model's own\n"
	"  --dataset DIR             CIFAR-10's binary files; see penstock dataset synthesize\n"
	"  --no-shuffle              samples in the files' order, not in a new order each epoch\n"
	"  --seed N                  of initial values, shuffling and dropout (default 1)\n"
	"  --load FILE, --save FILE  initial and final parameters, safetensors under torchvision's names\n"
	"\n"
	"Training (an option stands for the file's key, and wins over it):\n"
	"  --deepspeed-config FILE   ds_config.json\n"
	"  --steps N                 optimizer steps (default 50)\n"
	"  --train-batch-size N, --micro-batch-size N, --gradient-accumulation-steps N\n"
	"                            any two give the third (default: micro-batches of 32, 4 of them)\n"
	"  --optimizer NAME          SGD, Adam or AdamW (default SGD)\n"
	"  --lr X, --momentum X, --weight-decay X\n"
	"  --precision NAME          fp32 (default), tf32, bf16 or fp16; parameters are fp32 in any case\n"
	"  --communication-data-type NAME\n"
	"                            of what crosses between stages: fp32, bf16 or fp16 (default: the precision's)\n"
	"  --activation-checkpoint-interval N\n"
	"                            keep the input of every N layers alone, and compute the rest again (default 0: "
	"keep\n"
	"                            all)\n"
	"\n"
	"Pipeline and replicas:\n"
	"  -H, --hostfile FILE       the nodes, a line \"host[:port] slots=N\" each; a slot is a device\n"
	"  --nodes N                 the first N of the hostfile's nodes (default: all); to plan without a\n"
	"                            hostfile, N nodes of one device\n"
	"  --local N                 N daemons on this machine, started and stopped for the job\n"
	"  -p, --pipeline-size N     stages (default: as many as there are devices); devices / N are the replicas.\n"
	"                            0: no pipeline, every device holds the whole model\n"
	"  --partition-method NAME   flops (default; within --memory-limit where that can be), memory, uniform,\n"
	"                            parameters or type:REGEX\n"
	"  --split A,B,...           the first layer of each stage but the first, in place of a method\n"
	"  --schedule NAME           1f1b (default) or gpipe\n"
	"  --in-flight N             at most N micro-batches alive in a stage, with 1f1b (default: as many as it "
	"takes)\n"
	"  --threads N               threads of each daemon that --local starts (default: the cores in equal shares)\n"
	"  --memory-limit SIZE       of each device, to plan with; daemons that --local starts get it, others were\n"
	"                            started with theirs\n"
	"  --fit                     search for the fastest plan that keeps to --memory-limit\n"
	"  --plan-device NAME        whose memory is planned: cpu or cuda (default: cpu, and cuda with tf32, bf16, "
	"fp16)\n"
	"  --connections N           connections per boundary between stages (default 2)\n"
	"  --chunk-size SIZE         largest piece in which tensors are sent (default 2MiB)\n"
	"  --reduce NAME             how replicas sum their gradients: auto (default), ring, over the stages' own\n"
	"                            connections, or nccl, between GPUs; auto takes nccl where all devices have it\n"
	"  --reduce-bucket-size SIZE gradients that are summed at once around the ring (default 25MiB)\n"
	"\n" TLS_ARGUMENTS_HELP;

enum option_code {
	OPTION_MODEL = COMMAND_OPTION_HELP + 1,
	OPTION_IMAGE_SIZE,
	OPTION_CLASSES,
	OPTION_DROPOUT,
	OPTION_DATASET,
	OPTION_NO_SHUFFLE,
	OPTION_SEED,
	OPTION_LOAD,
	OPTION_SAVE,
	OPTION_DEEPSPEED_CONFIG,
	OPTION_STEPS,
	OPTION_TRAIN_BATCH_SIZE,
	OPTION_MICRO_BATCH_SIZE,
	OPTION_GRADIENT_ACCUMULATION_STEPS,
	OPTION_OPTIMIZER,
	OPTION_LR,
	OPTION_MOMENTUM,
	OPTION_WEIGHT_DECAY,
	OPTION_PRECISION,
	OPTION_COMMUNICATION_DATA_TYPE,
	OPTION_CHECKPOINT_INTERVAL,
	OPTION_LOCAL,
	OPTION_NODES,
	OPTION_PARTITION_METHOD,
	OPTION_SPLIT,
	OPTION_SCHEDULE,
	OPTION_THREADS,
	OPTION_MEMORY_LIMIT,
	OPTION_CONNECTIONS,
	OPTION_CHUNK_SIZE,
	OPTION_IN_FLIGHT,
	OPTION_FIT,
	OPTION_PLAN_DEVICE,
	OPTION_PIPELINE_SIZES,
	OPTION_MICRO_BATCHES,
	OPTION_REDUCE,
	OPTION_REDUCE_BUCKET_SIZE,
	OPTION_JSON,
	OPTION_METRICS_LISTEN,
	OPTION_OUTPUT,
	OPTION_WARM_UP,
};

static const struct option known[] = {
	{"model", required_argument, NULL, OPTION_MODEL},
	{"image-size", required_argument, NULL, OPTION_IMAGE_SIZE},
	{"classes", required_argument, NULL, OPTION_CLASSES},
	{"dropout", required_argument, NULL, OPTION_DROPOUT},
	{"dataset", required_argument, NULL, OPTION_DATASET},
	{"no-shuffle", no_argument, NULL, OPTION_NO_SHUFFLE},
	{"seed", required_argument, NULL, OPTION_SEED},
	{"load", required_argument, NULL, OPTION_LOAD},
	{"save", required_argument, NULL, OPTION_SAVE},
	{"deepspeed-config", required_argument, NULL, OPTION_DEEPSPEED_CONFIG},
	{"deepspeed_config", required_argument, NULL, OPTION_DEEPSPEED_CONFIG},
	{"steps", required_argument, NULL, OPTION_STEPS},
	{"train-batch-size", required_argument, NULL, OPTION_TRAIN_BATCH_SIZE},
	{"micro-batch-size", required_argument, NULL, OPTION_MICRO_BATCH_SIZE},
	{"gradient-accumulation-steps", required_argument, NULL, OPTION_GRADIENT_ACCUMULATION_STEPS},
	{"optimizer", required_argument, NULL, OPTION_OPTIMIZER},
	{"lr", required_argument, NULL, OPTION_LR},
	{"momentum", required_argument, NULL, OPTION_MOMENTUM},
	{"weight-decay", required_argument, NULL, OPTION_WEIGHT_DECAY},
	{"precision", required_argument, NULL, OPTION_PRECISION},
	{"communication-data-type", required_argument, NULL, OPTION_COMMUNICATION_DATA_TYPE},
	{"activation-checkpoint-interval", required_argument, NULL, OPTION_CHECKPOINT_INTERVAL},
	{"hostfile", required_argument, NULL, 'H'},
	{"local", optional_argument, NULL, OPTION_LOCAL}, // or the next word: find_local_value
	{"nodes", required_argument, NULL, OPTION_NODES},
	{"num-nodes", required_argument, NULL, OPTION_NODES},
	{"num_nodes", required_argument, NULL, OPTION_NODES}, // DeepSpeed's launcher has it
	{"pipeline-size", required_argument, NULL, 'p'},
	{"partition-method", required_argument, NULL, OPTION_PARTITION_METHOD},
	{"split", required_argument, NULL, OPTION_SPLIT},
	{"schedule", required_argument, NULL, OPTION_SCHEDULE},
	{"threads", required_argument, NULL, OPTION_THREADS},
	{"memory-limit", required_argument, NULL, OPTION_MEMORY_LIMIT},
	{"connections", required_argument, NULL, OPTION_CONNECTIONS},
	{"chunk-size", required_argument, NULL, OPTION_CHUNK_SIZE},
	{"reduce", required_argument, NULL, OPTION_REDUCE},
	{"reduce-bucket-size", required_argument, NULL, OPTION_REDUCE_BUCKET_SIZE},
	{"in-flight", required_argument, NULL, OPTION_IN_FLIGHT},
	{"fit", no_argument, NULL, OPTION_FIT},
	{"plan-device", required_argument, NULL, OPTION_PLAN_DEVICE},
	{"pipeline-sizes", required_argument, NULL, OPTION_PIPELINE_SIZES},
	{"micro-batches", required_argument, NULL, OPTION_MICRO_BATCHES},
	{"json", required_argument, NULL, OPTION_JSON},
	{"metrics-listen", required_argument, NULL, OPTION_METRICS_LISTEN},
	{"output", required_argument, NULL, OPTION_OUTPUT},
	{"warm-up", required_argument, NULL, OPTION_WARM_UP},
	TLS_ARGUMENTS_ROWS,
	{"help", no_argument, NULL, COMMAND_OPTION_HELP},
	{0},
};

static const char *option_name(int code)
{
	for (const struct option *option = known; option->name != NULL; option++)
		if (option->val == code)
			return option->name;
	return "?";
}

static const char *const command_names[] = {"train", "plan", "sweep"};

// The options that not every command has, with the commands that do (1 << enum job_command), and what to say to the others.
static const struct {
	int code;
	unsigned commands;
	const char *instead;
} restricted[] = {
	{'p', 1 << JOB_COMMAND_TRAIN | 1 << JOB_COMMAND_PLAN, "say --pipeline-sizes"},
	{OPTION_MICRO_BATCH_SIZE, 1 << JOB_COMMAND_TRAIN | 1 << JOB_COMMAND_PLAN, "say --micro-batches"},
	{OPTION_TRAIN_BATCH_SIZE, 1 << JOB_COMMAND_TRAIN | 1 << JOB_COMMAND_PLAN,
	 "it follows from the cell and from --gradient-accumulation-steps"},
	{OPTION_LOAD, 1 << JOB_COMMAND_TRAIN | 1 << JOB_COMMAND_PLAN, "a sweep measures, and keeps no parameters"},
	{OPTION_SAVE, 1 << JOB_COMMAND_TRAIN | 1 << JOB_COMMAND_PLAN, "a sweep measures, and keeps no parameters"},
	{OPTION_JSON, 1 << JOB_COMMAND_TRAIN | 1 << JOB_COMMAND_PLAN, "--output DIR gets a sweep.json"},
	{OPTION_METRICS_LISTEN, 1 << JOB_COMMAND_TRAIN, "it is penstock train's"},
	{OPTION_PIPELINE_SIZES, 1 << JOB_COMMAND_PLAN | 1 << JOB_COMMAND_SWEEP,
	 "cells are penstock plan's and penstock sweep's; say -p"},
	{OPTION_MICRO_BATCHES, 1 << JOB_COMMAND_PLAN | 1 << JOB_COMMAND_SWEEP,
	 "cells are penstock plan's and penstock sweep's; say --micro-batch-size"},
	{OPTION_OUTPUT, 1 << JOB_COMMAND_SWEEP, "it is penstock sweep's; say --json FILE"},
	{OPTION_WARM_UP, 1 << JOB_COMMAND_SWEEP, "it is penstock sweep's"},
};

static bool check_command(int code, enum job_command command, struct error *error)
{
	for (size_t i = 0; i < sizeof(restricted) / sizeof(restricted[0]); i++)
		if (restricted[i].code == code && (restricted[i].commands & 1U << command) == 0)
			return error_set(error, ERROR_USAGE, "--%s has no place in penstock %s: %s", option_name(code),
					 command_names[command], restricted[i].instead);
	return true;
}

static bool take_integer(int code, int64_t minimum, int64_t maximum, uint32_t *into, struct error *error)
{
	int64_t value;
	if (!strings_parse_integer(optarg, minimum, maximum, &value, error))
		return error_wrap(error, "--%s", option_name(code));
	*into = (uint32_t)value;
	return true;
}

static bool take_number(int code, double minimum, double maximum, double *into, struct error *error)
{
	double value;
	if (!strings_parse_number(optarg, &value, error))
		return error_wrap(error, "--%s", option_name(code));
	if (!(value >= minimum && value <= maximum))
		return error_set(error, ERROR_USAGE, "--%s %s: must be from %g to %g", option_name(code), optarg,
				 minimum, maximum);
	*into = value;
	return true;
}

static bool take_long(int code, int64_t minimum, int64_t maximum, uint64_t *into, struct error *error)
{
	int64_t value;
	if (!strings_parse_integer(optarg, minimum, maximum, &value, error))
		return error_wrap(error, "--%s", option_name(code));
	*into = (uint64_t)value;
	return true;
}

static bool take_optimizer(struct deepspeed_overrides *overrides, struct error *error)
{
	enum optimizer_kind kind;
	overrides->optimizer = optarg;
	return optimizer_parse(optarg, &kind) ||
	       error_set(error, ERROR_USAGE, "--optimizer: there is no \"%.40s\"; there are SGD, Adam and AdamW",
			 optarg);
}

static bool take_checkpoint_interval(struct deepspeed_overrides *overrides, struct error *error)
{
	uint32_t interval = 0;
	if (!take_integer(OPTION_CHECKPOINT_INTERVAL, 0, DEEPSPEED_MAXIMUM_CHECKPOINT_INTERVAL, &interval, error))
		return false;
	overrides->checkpoint_interval = interval;
	return true;
}

static bool take_bytes(int code, uint64_t minimum, uint64_t maximum, uint64_t *into, struct error *error)
{
	uint64_t bytes;
	if (!strings_parse_bytes(optarg, &bytes, error))
		return error_wrap(error, "--%s", option_name(code));
	if (bytes < minimum || bytes > maximum)
		return error_set(error, ERROR_USAGE, "--%s %s: must be from %" PRIu64 " to %" PRIu64 " bytes",
				 option_name(code), optarg, minimum, maximum);
	*into = bytes;
	return true;
}

static bool take_chunk_size(struct job_arguments *arguments, struct error *error)
{
	uint64_t bytes;
	if (!take_bytes(OPTION_CHUNK_SIZE, PROTOCOL_MINIMUM_CHUNK_BYTES, PROTOCOL_MAXIMUM_CHUNK_BYTES, &bytes, error))
		return false;
	arguments->chunk_bytes = (uint32_t)bytes;
	return true;
}

static bool take_reduce(struct job_arguments *arguments, struct error *error)
{
	static const char *const names[] = {"auto", "ring", "nccl"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(optarg, names[i]) == 0) {
			arguments->reduce = names[i];
			return true;
		}
	return error_set(error, ERROR_USAGE, "--reduce: there is no \"%.40s\"; there are auto, ring and nccl", optarg);
}

static bool take_pipeline_size(struct job_arguments *arguments, struct error *error)
{
	uint32_t size = 0;
	if (!take_integer('p', 0, SCHEDULE_MAXIMUM_STAGES, &size, error))
		return false;
	arguments->pipeline_size = (int32_t)size;
	return true;
}

enum { MINIMUM_MEMORY_LIMIT = 1 << 20 }; // as of the daemons, which get it

static bool take_memory_limit(struct job_arguments *arguments, struct error *error)
{
	uint64_t bytes;
	if (!strings_parse_bytes(optarg, &bytes, error))
		return error_wrap(error, "--memory-limit");
	if (bytes < MINIMUM_MEMORY_LIMIT)
		return error_set(error, ERROR_USAGE,
				 "--memory-limit %.40s: must be at least 1 MiB; is the unit missing, as in 16GiB?",
				 optarg);
	arguments->memory_limit = optarg; // the daemons read it themselves
	arguments->memory_limit_bytes = bytes;
	return true;
}

static bool take_plan_device(struct job_arguments *arguments, struct error *error)
{
	arguments->plan_device = optarg;
	return strcmp(optarg, "cuda") == 0 || strcmp(optarg, "cpu") == 0 ||
	       error_set(error, ERROR_USAGE, "--plan-device: there is no \"%.40s\"; there are cpu and cuda", optarg);
}

// A number; or a list, which penstock plan may have, and a sweep always.
static bool take_nodes(enum job_command command, struct job_arguments *arguments, struct error *error)
{
	if (command != JOB_COMMAND_SWEEP && (command == JOB_COMMAND_TRAIN || strchr(optarg, ',') == NULL))
		return take_integer(OPTION_NODES, 1, HOSTFILE_MAXIMUM_HOSTS, &arguments->nodes, error);
	arguments->node_counts = optarg;
	return true;
}

// getopt has no option whose value may be the next word and may be left out, as a sweep's may.
static void find_local_value(enum job_command command, int argc, char **argv)
{
	if (optarg == NULL && optind < argc &&
	    (command != JOB_COMMAND_SWEEP || isdigit((unsigned char)argv[optind][0])))
		optarg = argv[optind++];
}

static bool take_local(enum job_command command, struct job_arguments *arguments, struct error *error)
{
	arguments->local_for_all = optarg == NULL;
	if (optarg != NULL)
		return take_integer(OPTION_LOCAL, 1, LOCAL_MAXIMUM_DAEMONS, &arguments->local, error);
	return command == JOB_COMMAND_SWEEP ||
	       error_set(error, ERROR_USAGE, "option --local needs a value; see penstock %s --help",
			 command_names[command]);
}

// The options that are strings, kept as they are.
static const char **string_place(int code, struct job_arguments *arguments)
{
	switch (code) {
	case OPTION_MODEL:
		return &arguments->model;
	case OPTION_DATASET:
		return &arguments->dataset;
	case OPTION_LOAD:
		return &arguments->load;
	case OPTION_SAVE:
		return &arguments->save;
	case OPTION_DEEPSPEED_CONFIG:
		return &arguments->deepspeed_config;
	case 'H':
		return &arguments->hostfile;
	case OPTION_PARTITION_METHOD:
		return &arguments->partition_method;
	case OPTION_SPLIT:
		return &arguments->split;
	case OPTION_SCHEDULE:
		return &arguments->schedule;
	case OPTION_PIPELINE_SIZES:
		return &arguments->pipeline_sizes;
	case OPTION_MICRO_BATCHES:
		return &arguments->micro_batch_sizes;
	case OPTION_JSON:
		return &arguments->json;
	case OPTION_METRICS_LISTEN:
		return &arguments->metrics_listen;
	case OPTION_OUTPUT:
		return &arguments->output;
	case OPTION_PRECISION:
		return &arguments->overrides.precision;
	case OPTION_COMMUNICATION_DATA_TYPE:
		return &arguments->overrides.communication_type;
	default:
		return NULL;
	}
}

static bool take(enum job_command command, int code, struct job_arguments *arguments, struct error *error)
{
	const char **place = string_place(code, arguments);
	bool ok;
	if (tls_arguments_take(&arguments->tls, code, &ok, error))
		return ok;
	if (place != NULL) {
		*place = optarg;
		return *optarg != '\0' || error_set(error, ERROR_USAGE, "--%s: its value is empty", option_name(code));
	}
	switch (code) {
	case OPTION_IMAGE_SIZE:
		return take_integer(code, 1, MODEL_MAXIMUM_IMAGE_SIZE, &arguments->image_size, error);
	case OPTION_CLASSES:
		return take_integer(code, CIFAR10_CLASSES, 256, &arguments->classes, error);
	case OPTION_DROPOUT:
		return take_number(code, 0.0, 1.0, &arguments->dropout, error);
	case OPTION_NO_SHUFFLE:
		arguments->shuffle = false;
		return true;
	case OPTION_SEED:
		return take_long(code, 0, INT64_MAX, &arguments->seed, error);
	case OPTION_STEPS:
		return take_long(code, 1, MAXIMUM_STEPS, &arguments->steps, error);
	case OPTION_WARM_UP:
		return take_integer(code, 0, MAXIMUM_WARM_UP_STEPS, &arguments->warm_up_steps, error);
	case OPTION_TRAIN_BATCH_SIZE:
		return take_integer(code, 1, MAXIMUM_BATCH, &arguments->overrides.train_batch_size, error);
	case OPTION_MICRO_BATCH_SIZE:
		return take_integer(code, 1, MAXIMUM_BATCH, &arguments->overrides.micro_batch_size, error);
	case OPTION_GRADIENT_ACCUMULATION_STEPS:
		return take_integer(code, 1, MAXIMUM_BATCH, &arguments->overrides.gradient_accumulation_steps, error);
	case OPTION_OPTIMIZER:
		return take_optimizer(&arguments->overrides, error);
	case OPTION_LR:
		return take_number(code, 0.0, 1e9, &arguments->overrides.learning_rate, error);
	case OPTION_MOMENTUM:
		return take_number(code, 0.0, 1e9, &arguments->overrides.momentum, error);
	case OPTION_WEIGHT_DECAY:
		return take_number(code, 0.0, 1e9, &arguments->overrides.weight_decay, error);
	case OPTION_CHECKPOINT_INTERVAL:
		return take_checkpoint_interval(&arguments->overrides, error);
	case OPTION_LOCAL:
		return take_local(command, arguments, error);
	case OPTION_NODES:
		return take_nodes(command, arguments, error);
	case 'p':
		return take_pipeline_size(arguments, error);
	case OPTION_THREADS:
		return take_integer(code, 1, 1024, &arguments->threads, error);
	case OPTION_IN_FLIGHT:
		return take_integer(code, 1, SCHEDULE_MAXIMUM_MICRO_BATCHES, &arguments->in_flight, error);
	case OPTION_FIT:
		arguments->fit = true;
		return true;
	case OPTION_PLAN_DEVICE:
		return take_plan_device(arguments, error);
	case OPTION_MEMORY_LIMIT:
		return take_memory_limit(arguments, error);
	case OPTION_CONNECTIONS:
		return take_integer(code, 1, PROTOCOL_MAXIMUM_CONNECTIONS, &arguments->connections, error);
	case OPTION_REDUCE:
		return take_reduce(arguments, error);
	case OPTION_REDUCE_BUCKET_SIZE:
		return take_bytes(code, PROTOCOL_MINIMUM_BUCKET_BYTES, PROTOCOL_MAXIMUM_BUCKET_BYTES,
				  &arguments->reduce_bucket_bytes, error);
	default:
		return take_chunk_size(arguments, error);
	}
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
	return !arguments->fit || arguments->memory_limit != NULL ||
	       error_set(error, ERROR_USAGE, "--fit: into what? say --memory-limit SIZE, such as 16GiB");
}

enum job_arguments_result job_arguments_parse(enum job_command command, int argc, char **argv, const char *usage,
					      struct job_arguments *ret_arguments, struct error *error)
{
	struct job_arguments arguments = {
		.model = "alexnet",
		.image_size = DEFAULT_IMAGE_SIZE,
		.classes = CIFAR10_CLASSES,
		.dropout = -1.0,
		.shuffle = true,
		.seed = 1,
		.steps = DEFAULT_STEPS,
		.warm_up_steps = DEFAULT_WARM_UP_STEPS,
		.schedule = "1f1b",
		.pipeline_size = -1,
		.connections = PROTOCOL_DEFAULT_CONNECTIONS,
		.chunk_bytes = PROTOCOL_DEFAULT_CHUNK_BYTES,
		.reduce = "auto",
		.reduce_bucket_bytes = PROTOCOL_DEFAULT_BUCKET_BYTES,
	};
	deepspeed_overrides_init(&arguments.overrides);
	int code;
	opterr = 0;
	optind = 1;
	while ((code = getopt_long(argc, argv, ":H:p:h", known, NULL)) != -1) {
		if (code == COMMAND_OPTION_HELP || code == 'h') {
			printf("%s%s", usage, job_arguments_help);
			return JOB_ARGUMENTS_DONE;
		}
		if (code == '?' || code == ':') {
			command_refuse_option(code, argv, error);
			return JOB_ARGUMENTS_WRONG;
		}
		if (code == OPTION_LOCAL)
			find_local_value(command, argc, argv);
		if (!check_command(code, command, error) || !take(command, code, &arguments, error))
			return JOB_ARGUMENTS_WRONG;
	}
	if (optind < argc) {
		error_set(error, ERROR_USAGE, "unexpected argument \"%.80s\"; see penstock %s --help", argv[optind],
			  argv[0]);
		return JOB_ARGUMENTS_WRONG;
	}
	if (!check_together(command, &arguments, error))
		return JOB_ARGUMENTS_WRONG;
	if (arguments.partition_method == NULL)
		arguments.partition_method = "flops";
	*ret_arguments = arguments;
	return JOB_ARGUMENTS_RUN;
}
