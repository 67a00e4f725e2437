// A choice among a layer's candidates by timing them on the GPU, once per shape; the tuning file remembers it (tuning.h).
#pragma once

#include "stage_server/device/cuda/program.h"
#include "stage_server/device/tuning.h"

struct trial {
	char key[TUNING_KEY_SIZE]; // the operation and its shape; no white space
	uint32_t count;
	char names[TUNING_MAXIMUM_CANDIDATES][TUNING_NAME_SIZE];
	bool (*issue)(void *context, uint32_t candidate, struct error *error); // on the compute stream
	void *context;
};

// An answer is below trial->count. Waits for the GPU.
uint32_t cuda_trial_choose(struct program *program, const struct trial *trial);
