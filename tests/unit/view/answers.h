// A daemon's answers, made by hand: one stage, whose counters the tests move.
#pragma once

#include "common/job/node.h"

#define SECOND UINT64_C(1000000000)

struct answer {
	struct node_description response;
	struct node_device device;
	struct running_stage stage;
	struct stage_counters counters;
	struct link_traffic next;
};

// Of a session that began at second 10 of the daemon's clock, asked at second 20.
static inline void answer_init(struct answer *answer)
{
	*answer = (struct answer){0};
	answer->response.devices = &answer->device;
	answer->response.running = &answer->stage;
	answer->response.device_count = answer->response.running_count = 1;
	answer->response.clock_ns = 20 * SECOND;
	answer->device.name = "cpu";
	answer->device.memory_limit_bytes = UINT64_C(1) << 30;
	answer->stage.job = "job";
	answer->stage.model = "alexnet";
	answer->stage.began_ns = 10 * SECOND;
	answer->stage.memory_bytes = UINT64_C(1) << 20;
	answer->stage.counters = &answer->counters;
	answer->counters.next = &answer->next;
}

// Steps until second `counted`: half of the time forward, a quarter backward, the rest waiting for the next stage.
static inline void answer_steps(struct answer *answer, uint64_t steps, uint64_t counted)
{
	uint64_t ns = (counted - 10) * SECOND;
	answer->stage.step = steps;
	answer->counters.steps = steps;
	answer->counters.samples = steps * 100;
	answer->counters.counted_ns = counted * SECOND;
	answer->counters.phase_ns[PHASE_FORWARD] = ns / 2;
	answer->counters.phase_ns[PHASE_BACKWARD] = ns / 4;
	answer->counters.phase_ns[PHASE_WAIT_NEXT] = ns / 4;
}
