// A daemon's answers, made by hand: one stage, whose counters the tests move.
#pragma once

#include "penstock/v1/stage_server.pb-c.h"

#define SECOND UINT64_C(1000000000)

struct answer {
	Penstock__V1__DescribeResponse response;
	Penstock__V1__Device device, *devices[1];
	Penstock__V1__RunningStage stage, *running[1];
	Penstock__V1__StageCounters counters;
	Penstock__V1__LinkTraffic next;
};

// Of a session that began at second 10 of the daemon's clock, asked at second 20.
static inline void answer_init(struct answer *answer)
{
	penstock__v1__describe_response__init(&answer->response);
	penstock__v1__device__init(&answer->device);
	penstock__v1__running_stage__init(&answer->stage);
	penstock__v1__stage_counters__init(&answer->counters);
	penstock__v1__link_traffic__init(&answer->next);
	answer->devices[0] = &answer->device;
	answer->running[0] = &answer->stage;
	answer->response.devices = answer->devices;
	answer->response.running = answer->running;
	answer->response.n_devices = answer->response.n_running = 1;
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
	answer->counters.forward_ns = ns / 2;
	answer->counters.backward_ns = ns / 4;
	answer->counters.wait_next_ns = ns / 4;
}
