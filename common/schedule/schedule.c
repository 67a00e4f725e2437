// The table of schedules, and what their generators share.
#include <stdlib.h>
#include <string.h>

#include "common/schedule/internal.h"

enum { INSTRUCTIONS_PER_MICRO_BATCH = 7, INSTRUCTIONS_PER_STEP = 2 }; // at most

static const struct generator {
	const char *name;
	void (*generate)(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batches);
} generators[] = {
	{"gpipe", gpipe_generate},
	{"1f1b", one_f_one_b_generate},
};

const char *schedule_names(void)
{
	return "gpipe, 1f1b";
}

const char *instruction_name(enum instruction_kind kind)
{
	static const char *const names[] = {
		[INSTRUCTION_LOAD_INPUT] = "load_input",
		[INSTRUCTION_FORWARD] = "forward",
		[INSTRUCTION_BACKWARD] = "backward",
		[INSTRUCTION_BACKWARD_INPUT] = "backward_input",
		[INSTRUCTION_BACKWARD_WEIGHT] = "backward_weight",
		[INSTRUCTION_SEND_ACTIVATION] = "send_activation",
		[INSTRUCTION_RECV_ACTIVATION] = "recv_activation",
		[INSTRUCTION_SEND_GRADIENT] = "send_gradient",
		[INSTRUCTION_RECV_GRADIENT] = "recv_gradient",
		[INSTRUCTION_REDUCE_GRADIENTS] = "reduce_gradients",
		[INSTRUCTION_OPTIMIZER_STEP] = "optimizer_step",
	};
	bool known = kind >= INSTRUCTION_LOAD_INPUT && kind <= INSTRUCTION_OPTIMIZER_STEP;
	return known ? names[kind] : "unknown";
}

void schedule_append(struct stage_schedule *list, enum instruction_kind kind, uint32_t micro_batch)
{
	list->instructions[list->count++] = (struct instruction){kind, micro_batch};
}

void schedule_append_forward(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batch)
{
	bool first = stage == 0, last = stage + 1 == stages;
	if (first || last)
		schedule_append(list, INSTRUCTION_LOAD_INPUT, micro_batch);
	if (!first)
		schedule_append(list, INSTRUCTION_RECV_ACTIVATION, micro_batch);
	schedule_append(list, INSTRUCTION_FORWARD, micro_batch);
	if (!last)
		schedule_append(list, INSTRUCTION_SEND_ACTIVATION, micro_batch);
}

void schedule_append_backward(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batch)
{
	if (stage + 1 < stages)
		schedule_append(list, INSTRUCTION_RECV_GRADIENT, micro_batch);
	schedule_append(list, INSTRUCTION_BACKWARD, micro_batch);
	if (stage > 0)
		schedule_append(list, INSTRUCTION_SEND_GRADIENT, micro_batch);
}

static bool generate(const struct generator *generator, struct schedule *schedule, struct error *error)
{
	size_t most = (size_t)INSTRUCTIONS_PER_MICRO_BATCH * schedule->micro_batches + INSTRUCTIONS_PER_STEP;
	for (uint32_t s = 0; s < schedule->stages; s++) {
		struct stage_schedule *list = &schedule->stage[s];
		list->instructions = calloc(most, sizeof(*list->instructions));
		if (list->instructions == NULL)
			return error_set(error, ERROR_FAILED, "no memory for a schedule of %u stages", schedule->stages);
		generator->generate(list, s, schedule->stages, schedule->micro_batches);
		schedule_append(list, INSTRUCTION_REDUCE_GRADIENTS, 0);
		schedule_append(list, INSTRUCTION_OPTIMIZER_STEP, 0);
	}
	return schedule_check(schedule, error);
}

bool schedule_create(const char *name, uint32_t stages, uint32_t micro_batches, struct schedule **ret_schedule,
		     struct error *error)
{
	const struct generator *generator = NULL;
	for (size_t i = 0; i < sizeof(generators) / sizeof(generators[0]); i++)
		if (strcmp(generators[i].name, name) == 0)
			generator = &generators[i];
	if (generator == NULL)
		return error_set(error, ERROR_USAGE, "there is no schedule \"%.40s\"; there are: %s", name, schedule_names());
	if (stages < 1 || stages > SCHEDULE_MAXIMUM_STAGES)
		return error_set(error, ERROR_USAGE, "%u stages: must be from 1 to %d", stages, SCHEDULE_MAXIMUM_STAGES);
	if (micro_batches < 1 || micro_batches > SCHEDULE_MAXIMUM_MICRO_BATCHES)
		return error_set(error, ERROR_USAGE, "%u micro-batches: must be from 1 to %d", micro_batches,
				 SCHEDULE_MAXIMUM_MICRO_BATCHES);
	struct schedule *schedule = calloc(1, sizeof(*schedule));
	if (schedule == NULL)
		return error_set(error, ERROR_FAILED, "no memory for a schedule");
	strcpy(schedule->name, generator->name);
	schedule->stages = stages;
	schedule->micro_batches = micro_batches;
	if (!generate(generator, schedule, error)) {
		schedule_destroy(schedule);
		return false;
	}
	*ret_schedule = schedule;
	return true;
}

void schedule_destroy(struct schedule *schedule)
{
	if (schedule == NULL)
		return;
	for (uint32_t s = 0; s < schedule->stages; s++)
		free(schedule->stage[s].instructions);
	free(schedule);
}
