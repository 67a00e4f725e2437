// See plan_json.h.
#include "coordinator/report/plan_json.h"

#include "common/base/strings.h"
#include "coordinator/plan/fit.h"
#include "coordinator/report/json_text.h"

json_t *plan_json_stage(const struct plan *plan, uint32_t s)
{
	const struct plan_stage *stage = &plan->stages[s];
	uint64_t limit = plan->options.memory_limit_bytes;
	return json_pack("{s:i, s:i, s:i, s:I, s:I, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}",
			 "pipeline_stage", (int)s, "first_layer", (int)stage->first_layer, "end_layer",
			 (int)stage->end_layer, "parameters", (json_int_t)stage->parameters, "flops_per_sample",
			 (json_int_t)stage->flops, "slots", (int)plan->schedule->stage[s].slots, "output_bytes",
			 (json_int_t)stage->output_bytes, "parameter_bytes", (json_int_t)stage->parameter_bytes,
			 "gradient_bytes", (json_int_t)stage->gradient_bytes, "optimizer_bytes",
			 (json_int_t)stage->optimizer_bytes, "stash_bytes", (json_int_t)stage->stash_bytes,
			 "workspace_bytes", (json_int_t)stage->workspace_bytes, "exchange_bytes",
			 (json_int_t)stage->exchange_bytes, "memory_bytes", (json_int_t)stage->memory_bytes, "fits",
			 limit == 0 || stage->memory_bytes <= limit);
}

static json_t *channels(const float values[3])
{
	return json_pack("[f, f, f]", strings_shortest_decimal(values[0]), strings_shortest_decimal(values[1]),
			 strings_shortest_decimal(values[2]));
}

json_t *plan_json_object(const struct plan *plan, json_t *stages)
{
	const struct plan_options *options = &plan->options;
	char text[FIT_TEXT_SIZE];
	json_t *object = json_pack(
		"{s:s, s:s, s:i, s:i, s:i, s:s, s:i, s:i, s:s, s:s, s:b, s:i, s:i, s:I, s:b, s:f, s:f, s:f, s:f, s:o}",
		"type", "plan", "model", plan->model.name, "image_size", (int)plan->model.image_size, "pipeline_size",
		(int)options->pipeline_size, "data_parallel_size", (int)options->data_parallel_size, "schedule",
		options->schedule, "micro_batches", (int)options->micro_batches, "micro_batch_size",
		(int)options->micro_batch_size, "compute_type", data_type_name(options->compute_type), "boundary_type",
		data_type_name(options->boundary_type), "tf32", options->allow_tf32, "activation_checkpoint_interval",
		(int)options->checkpoint_interval, "in_flight", (int)options->in_flight, "memory_limit_bytes",
		(json_int_t)options->memory_limit_bytes, "fits", plan_fits(plan), "ideal_bubble", plan->ideal_bubble,
		"bubble", plan->bubble, "balance", plan->balance, "cost", plan->cost, "stages", stages);
	json_object_set_new(object, "mean", channels(options->mean));
	json_object_set_new(object, "standard_deviation", channels(options->standard_deviation));
	if (object != NULL && options->memory_limit_bytes > 0 && plan_fits(plan))
		json_object_set_new(object, "how", json_string(fit_describe(plan, text, sizeof(text))));
	return object;
}

bool plan_json_write(FILE *file, const struct plan *plan, uint32_t nodes, struct error *error)
{
	json_t *stages = json_array();
	for (uint32_t s = 0; s < plan->options.pipeline_size; s++)
		json_array_append_new(stages, plan_json_stage(plan, s));
	json_t *object = plan_json_object(plan, stages);
	if (object != NULL)
		json_object_set_new(object, "nodes", json_integer(nodes));
	return json_text_write(file, object, error);
}
