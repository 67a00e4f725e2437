// See job_inputs.h.
#include "coordinator/command/job_inputs.h"

#include "coordinator/run/job.h"

static bool read_data(const struct job_arguments *arguments, const struct job_setup *setup, struct job_inputs *inputs,
		      struct error *error)
{
	if (arguments->dataset == NULL)
		return error_set(error, ERROR_USAGE,
				 "--dataset DIR is missing; penstock dataset synthesize DIR makes a small set");
	return cifar10_read(arguments->dataset, false, &inputs->dataset, error) &&
	       sampler_create(inputs->dataset.count, setup->config.train_batch_size, !arguments->no_shuffle,
			      arguments->seed, &inputs->sampler, error);
}

static bool read_parameters(const struct job_arguments *arguments, const struct job_setup *setup,
			    struct job_inputs *inputs, struct error *error)
{
	if (arguments->load == NULL)
		return true;
	if (!safetensors_open(arguments->load, &inputs->load, error))
		return error_wrap(error, "--load");
	return job_check_load(setup->plan, inputs->load, error) || error_wrap(error, "--load %s", arguments->load);
}

bool job_inputs_read(const struct job_arguments *arguments, const struct job_setup *setup,
		     struct job_inputs *ret_inputs, struct error *error)
{
	struct job_inputs inputs = {0};
	if (!read_data(arguments, setup, &inputs, error) || !read_parameters(arguments, setup, &inputs, error)) {
		job_inputs_fini(&inputs);
		return false;
	}
	*ret_inputs = inputs;
	return true;
}

void job_inputs_fini(struct job_inputs *inputs)
{
	safetensors_close(inputs->load);
	sampler_destroy(inputs->sampler);
	cifar10_fini(&inputs->dataset);
	*inputs = (struct job_inputs){0};
}
