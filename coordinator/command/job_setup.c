// See job_setup.h.
#include "coordinator/command/job_setup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/strings.h"
#include "coordinator/config/learning_rate_course.h"
#include "coordinator/models/models.h"
#include "coordinator/plan/fit.h"

enum { DEFAULT_ACCUMULATION_STEPS = 4, DEFAULT_CLASSES = 10, DEFAULT_RAW_IMAGE_SIZE = 32 };

static bool read_config(const struct job_arguments *arguments, struct deepspeed_config *ret_config, struct error *error)
{
	struct deepspeed_config config;
	if (!deepspeed_config_read(arguments->deepspeed_config, &arguments->overrides, &config, error))
		return false;
	if (!learning_rate_check_course(&config.schedule, config.learning_rate, config.beta1, arguments->steps,
					error)) {
		error_wrap(error, "%s", arguments->deepspeed_config);
		return false;
	}
	*ret_config = config;
	return true;
}

// The number of devices of the nodes that are used; 0 if neither nodes nor a hostfile are given: then the pipeline size decides.
static bool count_devices(const struct job_arguments *arguments, const struct job_nodes *nodes, uint32_t *ret_devices,
			  struct error *error)
{
	uint32_t there = job_nodes_count(nodes), used = arguments->nodes > 0 ? arguments->nodes : there;
	if (there > 0 && used > there)
		return error_set(error, ERROR_USAGE, "--nodes %u: %s has only %u node%s", used, nodes->name, there,
				 there == 1 ? "" : "s");
	*ret_devices = job_nodes_devices(nodes, used);
	return true;
}

static bool refuse_devices(const struct job_nodes *nodes, uint32_t pipeline_size, uint32_t devices, struct error *error)
{
	uint32_t even = devices - devices % pipeline_size;
	char fewer[64];
	if (even == 0)
		return error_set(error, ERROR_USAGE, "pipeline size %u: %s has only %u slot%s; each stage needs one",
				 pipeline_size, nodes->name, devices, devices == 1 ? "" : "s");
	if (nodes->hostfile.count > 0)
		snprintf(fewer, sizeof(fewer), "fewer nodes with --nodes");
	else
		snprintf(fewer, sizeof(fewer), "%s %u", nodes->name, even);
	return error_set(error, ERROR_USAGE,
			 "pipeline size %u does not divide the %u devices of %s, which are all used: choose one that "
			 "does, or %s",
			 pipeline_size, devices, nodes->name, fewer);
}

static bool count_stages(struct job_setup *setup, const struct job_arguments *arguments, const struct job_nodes *nodes,
			 struct error *error)
{
	uint32_t devices = 0;
	if (!count_devices(arguments, nodes, &devices, error))
		return false;
	if (arguments->pipeline_size < 0 && devices > SCHEDULE_MAXIMUM_STAGES)
		return error_set(error, ERROR_USAGE,
				 "%s has %u devices, but a pipeline has at most %d stages: choose their number with -p",
				 nodes->name, devices, SCHEDULE_MAXIMUM_STAGES);
	uint32_t stages = arguments->pipeline_size < 0 ? devices : (uint32_t)arguments->pipeline_size;
	setup->pipeline_size = stages > 0 ? stages : 1;
	if (devices == 0)
		devices = setup->pipeline_size;
	if (devices % setup->pipeline_size != 0)
		return refuse_devices(nodes, setup->pipeline_size, devices, error);
	setup->data_parallel_size = devices / setup->pipeline_size;
	return true;
}

// Types of fewer bits than float32 need a GPU.
static enum plan_device device_of(const struct job_arguments *arguments, const struct deepspeed_config *config)
{
	bool is_cuda = arguments->plan_device != NULL ? strcmp(arguments->plan_device, "cuda") == 0
						      : config->compute_type != DATA_FLOAT32 || config->allow_tf32;
	return is_cuda ? PLAN_DEVICE_CUDA : PLAN_DEVICE_CPU;
}

static bool make_plan(struct job_setup *setup, const struct job_arguments *arguments, const struct dataset *dataset,
		      struct error *error)
{
	const struct deepspeed_config *config = &setup->config;
	uint32_t classes = arguments->classes > 0 ? arguments->classes : DEFAULT_CLASSES;
	struct model model;
	if (!models_create_chain(arguments->model, arguments->image_size, classes, (float)arguments->dropout, &model,
				 error))
		return false;
	if (config->gradient_accumulation_steps > SCHEDULE_MAXIMUM_MICRO_BATCHES)
		return error_set(error, ERROR_USAGE, "gradient_accumulation_steps is %u; the maximum is %d",
				 config->gradient_accumulation_steps, SCHEDULE_MAXIMUM_MICRO_BATCHES);
	struct plan_options options = {
		.partition_method = arguments->partition_method,
		.split = arguments->split,
		.schedule = arguments->schedule,
		.pipeline_size = setup->pipeline_size,
		.data_parallel_size = setup->data_parallel_size,
		.micro_batch_size = config->micro_batch_size,
		.micro_batches = config->gradient_accumulation_steps,
		.in_flight = arguments->in_flight,
		.device = device_of(arguments, config),
		.memory_limit_bytes = arguments->memory_limit_bytes,
		.reduce_bucket_bytes = arguments->reduce_bucket_bytes,
		.optimizer = config->optimizer,
		.gradient_clipping = config->gradient_clipping > 0.0,
		.compute_type = config->compute_type,
		.boundary_type = config->communication_type,
		.allow_tf32 = config->allow_tf32,
		.initial_loss_scale = (float)config->loss_scaling.scale,
		.checkpoint_interval = config->checkpoint_interval,
		.seed = arguments->seed,
		.raw_image_size = dataset != NULL ? dataset_tensor(dataset, DATASET_IMAGES)->dimensions[1]
						  : DEFAULT_RAW_IMAGE_SIZE,
	};
	memcpy(options.mean, arguments->mean, sizeof(options.mean));
	memcpy(options.standard_deviation, arguments->standard_deviation, sizeof(options.standard_deviation));
	return (arguments->fit ? fit_plan : plan_create)(&model, &options, &setup->plan, error);
}

bool job_setup_init(const struct job_arguments *arguments, const struct job_nodes *nodes, const struct dataset *dataset,
		    struct job_setup *ret_setup, struct error *error)
{
	struct job_setup setup = {0};
	if (!count_stages(&setup, arguments, nodes, error) || !read_config(arguments, &setup.config, error) ||
	    !deepspeed_config_resolve_batch(&setup.config, setup.data_parallel_size, error) ||
	    !make_plan(&setup, arguments, dataset, error)) {
		job_setup_fini(&setup);
		return false;
	}
	*ret_setup = setup;
	return true;
}

bool job_setup_accumulation(const struct job_arguments *arguments, uint32_t *ret_steps, struct error *error)
{
	struct deepspeed_config config;
	if (!read_config(arguments, &config, error))
		return false;
	*ret_steps = config.gradient_accumulation_steps > 0 ? config.gradient_accumulation_steps
							    : DEFAULT_ACCUMULATION_STEPS;
	return true;
}

void job_setup_warn(const struct job_setup *setup, const struct job_arguments *arguments)
{
	if (setup->config.unknown_keys[0] != '\0')
		log_warning("%s: ignored keys: %s", arguments->deepspeed_config, setup->config.unknown_keys);
	if (arguments->local_rank > 0)
		log_warning("--local-rank %" PRId64
			    " is ignored: a launcher has started several processes; penstock is started once, for all "
			    "devices",
			    arguments->local_rank);
	if (arguments->backend != NULL)
		log_info(
			"--backend %.40s is ignored: stages exchange tensors over gRPC; --reduce says how replicas sum "
			"their gradients",
			arguments->backend);
}

bool job_setup_check_fit(const struct job_setup *setup, const struct job_arguments *arguments, struct error *error)
{
	char text[FIT_TEXT_SIZE];
	if (!arguments->fit)
		return true;
	if (!plan_fits(setup->plan))
		return fit_refuse(setup->plan, true, error);
	strings_write_wrapped(fit_describe(setup->plan, text, sizeof(text)), stderr);
	return true;
}

void job_setup_fini(struct job_setup *setup)
{
	plan_destroy(setup->plan);
	setup->plan = NULL;
}
