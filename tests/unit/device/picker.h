// A chooser for tests: it remembers every question of a program with its candidates, and answers by the test's own rule. Nothing is timed.
#pragma once

#include "stage_server/device/choice.h"

enum { PICKER_MAXIMUM = 256 };

struct picker {
	struct chooser chooser; // for program_spec
	// The place of the answer among the candidates, taken modulo their count. NULL: the first one.
	uint32_t (*pick)(void *user, const struct choice *choice);
	void *user;
	const char *known; // answered to every question before the program is planned; NULL: nothing is
	bool runs_all;     // each candidate is run once, and must say that it can be used
	uint32_t count;    // questions of the last program
	struct choice asked[PICKER_MAXIMUM]; // with the candidates of those that were open
	uint32_t open;                       // of them
	uint32_t recalls;                    // programs
};

void picker_init(struct picker *picker);
// What the last program asked with this text in its key; NULL: nothing.
const struct choice *picker_find(const struct picker *picker, const char *text);
