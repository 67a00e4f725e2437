// See job_setup.h.
#include "coordinator/command/job_setup.h"

#include "common/base/log.h"
#include "coordinator/dataset/cifar10.h"

static bool read_config(struct job_setup *setup, const struct job_arguments *arguments, struct error *error)
{
	struct deepspeed_config *config = &setup->config;
	if (!deepspeed_config_read(arguments->deepspeed_config, &arguments->overrides, config, error))
		return false;
	if (config->unknown_keys[0] != '\0')
		log_warning("%s: not honoured here: %s", arguments->deepspeed_config, config->unknown_keys);
	return deepspeed_config_resolve_batch(config, 1, error);
}

static bool read_nodes(struct job_setup *setup, const struct job_arguments *arguments, struct error *error)
{
	if (arguments->hostfile != NULL && arguments->local > 0)
		return error_set(error, ERROR_USAGE, "--hostfile and --local exclude each other");
	uint32_t slots = arguments->local;
	if (arguments->hostfile != NULL) {
		if (!hostfile_read(arguments->hostfile, &setup->hostfile, error))
			return false;
		slots = hostfile_slots(&setup->hostfile);
	}
	setup->pipeline_size = arguments->pipeline_size;
	if (setup->pipeline_size == 0) // planning needs no nodes
		setup->pipeline_size = slots == 0                        ? 1
				       : slots < SCHEDULE_MAXIMUM_STAGES ? slots
									 : SCHEDULE_MAXIMUM_STAGES;
	if (slots > 0 && setup->pipeline_size > slots)
		return error_set(error, ERROR_USAGE, "pipeline size %u: %s has only %u slots, and a stage needs one",
				 setup->pipeline_size, arguments->hostfile != NULL ? arguments->hostfile : "--local",
				 slots);
	return true;
}

static bool make_plan(struct job_setup *setup, const struct job_arguments *arguments, struct error *error)
{
	const struct deepspeed_config *config = &setup->config;
	struct model model;
	if (!model_create(arguments->model, arguments->image_size, arguments->classes, (float)arguments->dropout,
			  &model, error))
		return false;
	if (config->gradient_accumulation_steps > SCHEDULE_MAXIMUM_MICRO_BATCHES)
		return error_set(error, ERROR_USAGE,
				 "gradient_accumulation_steps is %u, at most %d micro-batches make a step",
				 config->gradient_accumulation_steps, SCHEDULE_MAXIMUM_MICRO_BATCHES);
	struct plan_options options = {
		.partition_method = arguments->partition_method,
		.split = arguments->split,
		.schedule = arguments->schedule,
		.pipeline_size = setup->pipeline_size,
		.data_parallel_size = 1,
		.micro_batch_size = config->micro_batch_size,
		.micro_batches = config->gradient_accumulation_steps,
		.optimizer = config->optimizer,
		.gradient_clipping = config->gradient_clipping > 0.0,
		.compute_type = config->compute_type,
		.boundary_type = config->communication_type,
		.allow_tf32 = config->allow_tf32,
		.initial_loss_scale = (float)config->loss_scaling.scale,
		.checkpoint_interval = config->checkpoint_interval,
		.seed = arguments->seed,
		.raw_image_size = CIFAR10_IMAGE_SIZE,
		// ImageNet's, as torchvision's own networks are trained with
		.mean = {0.485f, 0.456f, 0.406f},
		.standard_deviation = {0.229f, 0.224f, 0.225f},
	};
	return plan_create(&model, &options, &setup->plan, error);
}

bool job_setup_init(const struct job_arguments *arguments, struct job_setup *ret_setup, struct error *error)
{
	struct job_setup setup = {0};
	if (!read_config(&setup, arguments, error) || !read_nodes(&setup, arguments, error) ||
	    !make_plan(&setup, arguments, error)) {
		job_setup_fini(&setup);
		return false;
	}
	*ret_setup = setup;
	return true;
}

void job_setup_fini(struct job_setup *setup)
{
	hostfile_fini(&setup->hostfile);
	plan_destroy(setup->plan);
	setup->plan = NULL;
}
