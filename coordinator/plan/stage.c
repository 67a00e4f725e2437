// What a stage's daemon is told: each gets the whole model and its own list of instructions.
#include <string.h>

#include "coordinator/plan/plan.h"

static void fill_precision(const struct plan_options *options, struct stage_spec *spec)
{
	spec->compute_type = options->compute_type;
	spec->boundary_type = options->boundary_type;
	spec->allow_tf32 = options->allow_tf32;
	spec->checkpoint_interval = options->checkpoint_interval;
	spec->loss_scaling = options->compute_type == DATA_FLOAT16;
	spec->initial_loss_scale = spec->loss_scaling ? options->initial_loss_scale : 0.0f;
}

// What may be on its way to a neighbour at once. One in the same daemon reads tensors where they are, so what may be unread there
// counts, too.
static uint32_t send_depth(const struct plan *plan, uint32_t s, bool to_next, bool is_local)
{
	uint32_t depth = plan_send_depth(plan, s, to_next);
	if (is_local)
		depth += plan_receive_depth(plan, to_next ? s + 1 : s - 1);
	return depth < plan->options.micro_batches ? depth : plan->options.micro_batches;
}

static void fill_place(const struct plan *plan, uint32_t s, const struct plan_place *place, struct stage_spec *spec)
{
	const struct plan_options *options = &plan->options;
	spec->first_layer = plan->stages[s].first_layer;
	spec->end_layer = plan->stages[s].end_layer;
	spec->pipeline_stage = s;
	spec->pipeline_size = options->pipeline_size;
	spec->data_parallel_size = options->data_parallel_size;
	spec->micro_batch_size = options->micro_batch_size;
	spec->micro_batches = options->micro_batches;
	spec->seed = options->seed;
	spec->gradient_clipping = options->gradient_clipping;
	spec->raw_image_size = options->raw_image_size;
	spec->previous_replica_is_local = place->previous_replica_is_local;
	spec->next_replica_is_local = place->next_replica_is_local;
	spec->reduce_bucket_bytes = options->reduce_bucket_bytes;
	spec->reduce_in_group = place->reduce_in_group;
	if (s > 0) {
		spec->receive_depth_from_previous = plan_receive_depth(plan, s);
		spec->send_depth_to_previous = send_depth(plan, s, false, place->previous_is_local);
		spec->previous_is_local = place->previous_is_local;
	}
	if (s + 1 < options->pipeline_size) {
		spec->receive_depth_from_next = plan_receive_depth(plan, s);
		spec->send_depth_to_next = send_depth(plan, s, true, place->next_is_local);
		spec->next_is_local = place->next_is_local;
	}
}

void plan_stage_spec(const struct plan *plan, uint32_t replica, uint32_t stage, const struct plan_place *place,
		     struct stage_spec *ret_spec)
{
	const struct plan_options *options = &plan->options;
	*ret_spec = (struct stage_spec){.model = &plan->model,
					.schedule = plan->schedule->stage[stage],
					.optimizer = options->optimizer,
					.replica = replica,
					.device_index = place->device};
	memcpy(ret_spec->mean, options->mean, sizeof(options->mean));
	memcpy(ret_spec->standard_deviation, options->standard_deviation, sizeof(options->standard_deviation));
	fill_place(plan, stage, place, ret_spec);
	fill_precision(options, ret_spec);
}
