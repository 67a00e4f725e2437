// The table of schedules, and the building of one by name.
#include "common/schedule/schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/schedule/generator.h"

enum {
	INSTRUCTIONS_PER_MICRO_BATCH = 7, // at most, in what generator_add_forward and _backward append
	INSTRUCTIONS_PER_STEP = 2,
};

static const struct {
	const char *name;
	bool keeps_all; // micro-batches alive in every stage, so that no fewer may be in flight
	void (*generate)(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batches,
			 uint32_t most);
} generators[] = {
	{"gpipe", true, gpipe_generate},
	{"1f1b", false, one_f_one_b_generate},
};

static const char *const instruction_names[] = {
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

const char *instruction_name(enum instruction_kind kind)
{
	return kind >= INSTRUCTION_LOAD_INPUT && kind <= INSTRUCTION_OPTIMIZER_STEP ? instruction_names[kind]
										    : "unknown";
}

const char *schedule_names(void)
{
	return "gpipe, 1f1b";
}

uint32_t schedule_receive_depth(const struct stage_schedule *list)
{
	return list->slots < SCHEDULE_MAXIMUM_RECEIVE_DEPTH ? list->slots : SCHEDULE_MAXIMUM_RECEIVE_DEPTH;
}

static void add(struct stage_schedule *list, enum instruction_kind kind, uint32_t micro_batch)
{
	list->instructions[list->count++] = (struct instruction){kind, micro_batch};
}

void generator_add_forward(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batch)
{
	if (stage == 0 || stage + 1 == stages)
		add(list, INSTRUCTION_LOAD_INPUT, micro_batch);
	if (stage > 0)
		add(list, INSTRUCTION_RECV_ACTIVATION, micro_batch);
	add(list, INSTRUCTION_FORWARD, micro_batch);
	if (stage + 1 < stages)
		add(list, INSTRUCTION_SEND_ACTIVATION, micro_batch);
}

void generator_add_backward(struct stage_schedule *list, uint32_t stage, uint32_t stages, uint32_t micro_batch)
{
	if (stage + 1 < stages)
		add(list, INSTRUCTION_RECV_GRADIENT, micro_batch);
	add(list, INSTRUCTION_BACKWARD, micro_batch);
	if (stage > 0)
		add(list, INSTRUCTION_SEND_GRADIENT, micro_batch);
}

const char *schedule_find(const char *name, struct error *error)
{
	struct strings_guess guess = {.word = name};
	char hint[STRINGS_GUESS_SIZE];
	for (size_t i = 0; i < sizeof(generators) / sizeof(generators[0]); i++) {
		if (strcasecmp(name, generators[i].name) == 0)
			return generators[i].name;
		strings_guess_try(&guess, generators[i].name);
	}
	error_set(error, ERROR_USAGE, "unknown schedule \"%.40s\"%s; known: %s", name,
		  strings_guess_write(&guess, "", hint, sizeof(hint)), schedule_names());
	return NULL;
}

bool schedule_create(const char *name, uint32_t stages, uint32_t micro_batches, uint32_t in_flight,
		     struct schedule **ret_schedule, struct error *error)
{
	size_t row = 0;
	name = schedule_find(name, error);
	if (name == NULL)
		return false;
	while (generators[row].name != name)
		row++;
	if (stages < 1 || stages > SCHEDULE_MAXIMUM_STAGES)
		return error_set(error, ERROR_USAGE, "%u stages: the number must be from 1 to %d", stages,
				 SCHEDULE_MAXIMUM_STAGES);
	if (micro_batches < 1 || micro_batches > SCHEDULE_MAXIMUM_MICRO_BATCHES)
		return error_set(error, ERROR_USAGE, "%u micro-batches in a step: the number must be from 1 to %d",
				 micro_batches, SCHEDULE_MAXIMUM_MICRO_BATCHES);
	uint32_t most = in_flight > 0 && in_flight < micro_batches ? in_flight : micro_batches;
	if (most < micro_batches && generators[row].keeps_all)
		return error_set(error, ERROR_USAGE,
				 "schedule %s keeps all %u micro-batches of a step in flight, so --in-flight %u is too "
				 "few: use --schedule 1f1b, or fewer micro-batches per step",
				 name, micro_batches, in_flight);

	struct schedule *schedule = calloc(1, sizeof(*schedule));
	if (schedule == NULL)
		return error_set(error, ERROR_FAILED, "no memory for a schedule");
	snprintf(schedule->name, sizeof(schedule->name), "%s", name);
	schedule->stages = stages;
	schedule->micro_batches = micro_batches;
	for (uint32_t s = 0; s < stages; s++) {
		struct stage_schedule *list = &schedule->stage[s];
		list->instructions =
			calloc((size_t)INSTRUCTIONS_PER_MICRO_BATCH * micro_batches + INSTRUCTIONS_PER_STEP,
			       sizeof(*list->instructions));
		if (list->instructions == NULL) {
			schedule_destroy(schedule);
			return error_set(error, ERROR_FAILED, "no memory for a schedule");
		}
		generators[row].generate(list, s, stages, micro_batches, most);
		add(list, INSTRUCTION_REDUCE_GRADIENTS, 0);
		add(list, INSTRUCTION_OPTIMIZER_STEP, 0);
	}
	if (!schedule_check(schedule, error)) {
		schedule_destroy(schedule);
		return error_wrap(error, "schedule %s", name);
	}
	*ret_schedule = schedule;
	return true;
}

void schedule_destroy(struct schedule *schedule)
{
	if (schedule == NULL)
		return;
	for (uint32_t s = 0; s < SCHEDULE_MAXIMUM_STAGES; s++)
		free(schedule->stage[s].instructions);
	free(schedule);
}
