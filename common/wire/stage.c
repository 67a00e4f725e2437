// StagePlan: one stage of one job, whole.
#include "common/job/stage.h"

#include <string.h>

#include "common/wire/internal.h"
#include "penstock/v1/stage_server.pb-c.h"

// ---- The optimizer, which goes by its name

static bool read_optimizer_name(const void *message, void *ours, struct error *error)
{
	const Penstock__V1__Optimizer *optimizer = message;
	return optimizer_parse(optimizer->name, &((struct optimizer *)ours)->kind) ||
	       error_set(error, ERROR_USAGE, "unknown optimizer \"%.40s\"", optimizer->name);
}

static void write_optimizer_name(const void *ours, void *message)
{
	((Penstock__V1__Optimizer *)message)->name = (char *)optimizer_name(((const struct optimizer *)ours)->kind);
}

static const struct field optimizer_fields[] = {
	{.kind = FIELD_OWN,
	 PLACE(Optimizer, optimizer, name, kind),
	 .read = read_optimizer_name,
	 .write = write_optimizer_name},
	SAME(Optimizer, optimizer, weight_decay),
	SAME(Optimizer, optimizer, dampening),
	SAME(Optimizer, optimizer, nesterov),
	SAME(Optimizer, optimizer, epsilon),
	SAME(Optimizer, optimizer, no_momentum),
	SAME(Optimizer, optimizer, epsilon_inside_root),
	SAME(Optimizer, optimizer, no_bias_correction),
	SAME(Optimizer, optimizer, minimum_coefficient),
	SAME(Optimizer, optimizer, maximum_coefficient),
};
static const struct codec optimizer_codec = CODEC(penstock__v1__optimizer__descriptor, optimizer, optimizer_fields);

// ---- The schedule

static const struct field instruction_fields[] = {
	ENUM(Instruction, instruction, kind, wire_instruction_kinds),
	SAME(Instruction, instruction, micro_batch),
};
static const struct codec instruction_codec =
	CODEC(penstock__v1__instruction__descriptor, instruction, instruction_fields);

// ---- The normalisation: three channels

static bool read_channels(size_t count, const float *from, float into[3], struct error *error)
{
	if (count != 3)
		return error_set(error, ERROR_PROTOCOL, "mean and standard_deviation need three channels each");
	memcpy(into, from, 3 * sizeof(float));
	return true;
}

static bool read_mean(const void *message, void *ours, struct error *error)
{
	const Penstock__V1__StagePlan *plan = message;
	return read_channels(plan->n_mean, plan->mean, ((struct stage_spec *)ours)->mean, error);
}

static void write_mean(const void *ours, void *message)
{
	Penstock__V1__StagePlan *plan = message;
	plan->n_mean = 3;
	plan->mean = (float *)((const struct stage_spec *)ours)->mean;
}

static bool read_deviation(const void *message, void *ours, struct error *error)
{
	const Penstock__V1__StagePlan *plan = message;
	return read_channels(plan->n_standard_deviation, plan->standard_deviation,
			     ((struct stage_spec *)ours)->standard_deviation, error);
}

static void write_deviation(const void *ours, void *message)
{
	Penstock__V1__StagePlan *plan = message;
	plan->n_standard_deviation = 3;
	plan->standard_deviation = (float *)((const struct stage_spec *)ours)->standard_deviation;
}

// ---- The stage

// Types that a plan leaves out are the ones before them.
static bool read_type(int number, enum data_type unspecified, const char *what, enum data_type *type,
		      struct error *error)
{
	if (number == PENSTOCK__V1__DATA_TYPE__DATA_TYPE_UNSPECIFIED)
		*type = unspecified;
	return enum_write(&wire_data_types, (int)*type) != 0 ||
	       error_set(error, ERROR_USAGE, "%s is %d, which is not a floating-point type", what, number);
}

static bool check_types(const void *message, void *ours, struct error *error)
{
	const Penstock__V1__StagePlan *plan = message;
	struct stage_spec *spec = ours;
	return read_type((int)plan->compute_type, DATA_FLOAT32, "compute_type", &spec->compute_type, error) &&
	       read_type((int)plan->boundary_type, spec->compute_type, "boundary_type", &spec->boundary_type, error);
}

static void explain(const void *message, struct error *error)
{
	error_wrap(error, "plan of stage %u", ((const Penstock__V1__StagePlan *)message)->pipeline_stage);
}

static const struct field stage_fields[] = {
	{.kind = FIELD_PART,
	 PLACE(StagePlan, stage_spec, model, model),
	 .codec = &wire_model_codec,
	 .what = "the plan has no model"},
	SAME(StagePlan, stage_spec, first_layer),
	SAME(StagePlan, stage_spec, end_layer),
	SAME(StagePlan, stage_spec, pipeline_stage),
	SAME(StagePlan, stage_spec, pipeline_size),
	SAME(StagePlan, stage_spec, replica),
	SAME(StagePlan, stage_spec, data_parallel_size),
	SAME(StagePlan, stage_spec, micro_batch_size),
	SAME(StagePlan, stage_spec, micro_batches),
	AS(StagePlan, stage_spec, slots, schedule.slots),
	LIST(StagePlan, stage_spec, instructions, schedule.instructions, schedule.count, instruction_codec),
	{.kind = FIELD_WHOLE,
	 PLACE(StagePlan, stage_spec, optimizer, optimizer),
	 .codec = &optimizer_codec,
	 .what = "the plan has no optimizer"},
	SAME(StagePlan, stage_spec, seed),
	SAME(StagePlan, stage_spec, gradient_clipping),
	SAME(StagePlan, stage_spec, raw_image_size),
	{.kind = FIELD_OWN, PLACE(StagePlan, stage_spec, mean, mean), .read = read_mean, .write = write_mean},
	{.kind = FIELD_OWN,
	 PLACE(StagePlan, stage_spec, standard_deviation, standard_deviation),
	 .read = read_deviation,
	 .write = write_deviation},
	SAME(StagePlan, stage_spec, receive_depth_from_previous),
	SAME(StagePlan, stage_spec, receive_depth_from_next),
	SAME(StagePlan, stage_spec, send_depth_to_previous),
	SAME(StagePlan, stage_spec, send_depth_to_next),
	SAME(StagePlan, stage_spec, device_index),
	ENUM(StagePlan, stage_spec, compute_type, wire_data_types),
	ENUM(StagePlan, stage_spec, boundary_type, wire_data_types),
	SAME(StagePlan, stage_spec, allow_tf32),
	SAME(StagePlan, stage_spec, checkpoint_interval),
	SAME(StagePlan, stage_spec, loss_scaling),
	SAME(StagePlan, stage_spec, initial_loss_scale),
	SAME(StagePlan, stage_spec, previous_is_local),
	SAME(StagePlan, stage_spec, next_is_local),
	SAME(StagePlan, stage_spec, previous_replica_is_local),
	SAME(StagePlan, stage_spec, next_replica_is_local),
	SAME(StagePlan, stage_spec, reduce_bucket_bytes),
	SAME(StagePlan, stage_spec, reduce_in_group),
};
const struct codec wire_stage_codec = {.type = &penstock__v1__stage_plan__descriptor,
				       .size = sizeof(struct stage_spec),
				       TABLE(stage_fields),
				       .check = check_types,
				       .explain = explain};
