// A training drawn at random from a number: the network, how it is cut and scheduled, where its stages run and with how many threads, its
// batch and its optimizer. Pure; any thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/config/deepspeed_config.h"
#include "coordinator/plan/plan.h"

enum { DRAW_MAXIMUM_RANKS = 24, DRAW_TEXT_SIZE = 1024 };

struct draw {
	uint64_t seed;
	struct model model;
	struct plan_options options; // of the pipeline
	char split[SCHEDULE_MAXIMUM_STAGES * 4];
	struct deepspeed_config config;
	uint32_t steps;
	bool shuffle;
	uint32_t connections, chunk_bytes;
	uint32_t daemon_of[DRAW_MAXIMUM_RANKS]; // which daemon holds each rank
	bool two_threads;                       // the daemons compute with two threads each; else with one
};

// A pure function of its arguments. `daemons` is at least 1.
void draw_make(uint64_t seed, uint32_t daemons, struct draw *ret_draw);
// The whole draw in words, in one line. Returns `into`, of DRAW_TEXT_SIZE.
char *draw_text(const struct draw *draw, char *into);
