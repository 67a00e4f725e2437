// See reference.h.
#include "coordinator/prove/reference.h"

bool reference_plan(struct plan *pipeline, struct plan **ret_reference, struct error *error)
{
	struct plan_options options = pipeline->options;
	options.gradient_clipping = true;
	options.pipeline_size = 1;
	options.in_flight = 1;
	options.checkpoint_interval = 0;
	options.schedule = "1f1b";
	options.partition_method = "flops";
	options.split = NULL;
	if (!plan_create(&pipeline->model, &options, ret_reference, error))
		return error_wrap(error, "without a pipeline");
	pipeline->options.gradient_clipping = true;
	return true;
}
