// Where a step's time goes: the one list of it, from which both programs take what they count, send, scrape and print. First what a stage does,
// then whom it waits for. Any thread.
#pragma once

#include <stdint.h>

#include "common/metrics/metrics.h"

// Each is `<name>_ns` in penstock.v1's StepReport and StageCounters, and `<name>_seconds` in JSON.
#define PHASES(X, ...)                                                                                                 \
	X(FORWARD, forward, __VA_ARGS__)                                                                               \
	X(BACKWARD, backward, __VA_ARGS__)                                                                             \
	X(OPTIMIZER, optimizer, __VA_ARGS__)                                                                           \
	X(COPY, copy, __VA_ARGS__)                                                                                     \
	X(WAIT_PREVIOUS, wait_previous, __VA_ARGS__)                                                                   \
	X(WAIT_NEXT, wait_next, __VA_ARGS__)                                                                           \
	X(WAIT_REPLICAS, wait_replicas, __VA_ARGS__)                                                                   \
	X(WAIT_COORDINATOR, wait_coordinator, __VA_ARGS__)

#define PHASE_MEMBER(NAME, name, ...) PHASE_##NAME,
enum phase { PHASES(PHASE_MEMBER, ) PHASE_COUNT, PHASE_FIRST_WAIT = PHASE_WAIT_PREVIOUS };

const char *phase_seconds_name(enum phase phase); // "forward_seconds": its key in JSON
// The series of a stage: of `busy` by phase="forward", of `waiting` by on="previous".
void phases_series(struct metrics *metrics, const struct metric_family *busy, const struct metric_family *waiting,
		   uint32_t pipeline_stage, struct metric *ret_series[PHASE_COUNT]);
