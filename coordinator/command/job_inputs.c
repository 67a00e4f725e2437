// See job_inputs.h.
#include "coordinator/command/job_inputs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/strings.h"
#include "coordinator/run/job.h"

// The first parameter that does not fit speaks for all.
static bool refuse_mismatched(const struct error *first, uint32_t mismatched, uint32_t count, struct error *error)
{
	char more[40] = "";
	if (mismatched > 1)
		snprintf(more, sizeof(more), " (and %u more of %u do not fit)", mismatched - 1, count);
	return error_set(error, ERROR_USAGE, "%s%s; with --skip-mismatched, what does not fit is drawn from the seed",
			 first->message, more);
}

// Fills `skips`, which is [parameters].
static bool check_parameters(const struct job_arguments *arguments, const struct model *model,
			     const struct safetensors *file, bool *skips, struct error *error)
{
	uint32_t count = model_parameter_count(model), mismatched = 0;
	struct error first;
	for (uint32_t i = 0; i < count; i++) {
		struct parameter parameter;
		struct error mismatch;
		model_parameter(model, i, &parameter);
		skips[i] = !job_check_load(&parameter, file, &mismatch);
		if (!skips[i])
			continue;
		if (mismatched++ == 0)
			first = mismatch;
		if (arguments->skip_mismatched)
			log_warning("--load %s: %s: it is drawn from the seed", arguments->load, mismatch.message);
	}
	if (mismatched == count)
		return error_set(error, ERROR_USAGE, "no parameter of %s fits: %s", model->name, first.message);
	return mismatched == 0 || arguments->skip_mismatched || refuse_mismatched(&first, mismatched, count, error);
}

static bool read_parameters(const struct job_arguments *arguments, const struct job_setup *setup,
			    struct job_inputs *inputs, struct error *error)
{
	const struct model *model = &setup->plan->model;
	if (arguments->load == NULL)
		return true;
	if (!safetensors_open(arguments->load, &inputs->load, error))
		return error_wrap(error, "--load");
	inputs->load_skips = calloc(model_parameter_count(model), sizeof(*inputs->load_skips));
	if (inputs->load_skips == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	return check_parameters(arguments, model, inputs->load, inputs->load_skips, error) ||
	       error_wrap(error, "--load %s", arguments->load);
}

void job_inputs_say(const struct plan *plan, const struct dataset *dataset)
{
	const float *mean = plan->options.mean, *deviation = plan->options.standard_deviation;
	char line[DATASET_TEXT_SIZE];
	strings_write_wrapped(dataset_describe(dataset, line), stderr);
	fprintf(stderr, "images resized to %u x %u;\n", plan->model.image_size, plan->model.image_size);
	snprintf(line, sizeof(line), "normalised by mean %.9g,%.9g,%.9g and std %.9g,%.9g,%.9g",
		 strings_shortest_decimal(mean[0]), strings_shortest_decimal(mean[1]),
		 strings_shortest_decimal(mean[2]), strings_shortest_decimal(deviation[0]),
		 strings_shortest_decimal(deviation[1]), strings_shortest_decimal(deviation[2]));
	strings_write_wrapped(line, stderr);
}

bool job_inputs_read(const struct job_arguments *arguments, const struct job_setup *setup,
		     const struct dataset *dataset, struct job_inputs *ret_inputs, struct error *error)
{
	struct job_inputs inputs = {0};
	if (!sampler_create(dataset_count(dataset), setup->config.train_batch_size, !arguments->no_shuffle,
			    arguments->seed, &inputs.sampler, error) ||
	    !read_parameters(arguments, setup, &inputs, error)) {
		job_inputs_fini(&inputs);
		return false;
	}
	*ret_inputs = inputs;
	return true;
}

void job_inputs_fini(struct job_inputs *inputs)
{
	safetensors_close(inputs->load);
	free(inputs->load_skips);
	sampler_destroy(inputs->sampler);
	*inputs = (struct job_inputs){0};
}
