// See simulate.h. The lists of a schedule that passed its check end the same way however they are interleaved, and sending never
// waits there: so each stage is run as far as it gets, again and again, with a clock of its own.
#include "coordinator/plan/simulate.h"

#include <stdlib.h>

struct simulation {
	const struct schedule *schedule;
	const struct simulate_stage *stages;
	double *activation_sent, *gradient_sent; // [stage][micro-batch]: when, by stage `stage`; negative: not yet
	double clock[SCHEDULE_MAXIMUM_STAGES];
	uint32_t next[SCHEDULE_MAXIMUM_STAGES]; // instruction
	double busy[SCHEDULE_MAXIMUM_STAGES];
};

static void compute(struct simulation *simulation, uint32_t s, double time)
{
	simulation->clock[s] += time;
	simulation->busy[s] += time;
}

// False when the tensor has not been sent.
static bool receive(struct simulation *simulation, uint32_t s, double sent)
{
	if (sent < 0)
		return false;
	if (sent > simulation->clock[s])
		simulation->clock[s] = sent;
	return true;
}

// False when the stage waits.
static bool run_one(struct simulation *simulation, uint32_t s, struct instruction instruction)
{
	uint32_t m = simulation->schedule->micro_batches, b = instruction.micro_batch;
	const struct simulate_stage *stage = &simulation->stages[s];
	switch (instruction.kind) {
	case INSTRUCTION_FORWARD:
		compute(simulation, s, stage->forward);
		return true;
	case INSTRUCTION_BACKWARD:
		compute(simulation, s, stage->backward);
		return true;
	case INSTRUCTION_BACKWARD_INPUT: // the halves are products of one size
	case INSTRUCTION_BACKWARD_WEIGHT:
		compute(simulation, s, stage->backward / 2);
		return true;
	case INSTRUCTION_SEND_ACTIVATION:
		simulation->activation_sent[s * m + b] = simulation->clock[s];
		return true;
	case INSTRUCTION_SEND_GRADIENT:
		simulation->gradient_sent[s * m + b] = simulation->clock[s];
		return true;
	case INSTRUCTION_RECV_ACTIVATION:
		return receive(simulation, s, simulation->activation_sent[(s - 1) * m + b]);
	case INSTRUCTION_RECV_GRADIENT:
		return receive(simulation, s, simulation->gradient_sent[(s + 1) * m + b]);
	default: // the data is there, and the step's end takes no time
		return true;
	}
}

static void run_all(struct simulation *simulation)
{
	for (bool moved = true; moved;) {
		moved = false;
		for (uint32_t s = 0; s < simulation->schedule->stages; s++) {
			const struct stage_schedule *list = &simulation->schedule->stage[s];
			while (simulation->next[s] < list->count &&
			       run_one(simulation, s, list->instructions[simulation->next[s]])) {
				simulation->next[s]++;
				moved = true;
			}
		}
	}
}

static void sum_up(const struct simulation *simulation, struct simulate_result *ret_result)
{
	uint32_t stages = simulation->schedule->stages;
	*ret_result = (struct simulate_result){0};
	for (uint32_t s = 0; s < stages; s++)
		if (simulation->clock[s] > ret_result->step)
			ret_result->step = simulation->clock[s];
	for (uint32_t s = 0; s < stages; s++) {
		ret_result->busy[s] = simulation->busy[s];
		ret_result->waiting[s] = ret_result->step - simulation->busy[s];
		if (ret_result->step > 0)
			ret_result->bubble += ret_result->waiting[s] / ret_result->step / stages;
	}
}

bool simulate(const struct schedule *schedule, const struct simulate_stage *stages, struct simulate_result *ret_result,
	      struct error *error)
{
	size_t tensors = (size_t)schedule->stages * schedule->micro_batches;
	struct simulation simulation = {.schedule = schedule,
					.stages = stages,
					.activation_sent = malloc(tensors * sizeof(double)),
					.gradient_sent = malloc(tensors * sizeof(double))};
	bool ok = simulation.activation_sent != NULL && simulation.gradient_sent != NULL;
	if (ok) {
		for (size_t i = 0; i < tensors; i++)
			simulation.activation_sent[i] = simulation.gradient_sent[i] = -1;
		run_all(&simulation);
		sum_up(&simulation, ret_result);
	}
	free(simulation.activation_sent);
	free(simulation.gradient_sent);
	return ok || error_set(error, ERROR_FAILED, "no memory to simulate a schedule");
}
