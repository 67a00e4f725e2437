// A question about a layer's pass, whose candidates are tried on the GPU.
#pragma once

#include "stage_server/device/cuda/program.h"

// Puts the question. prepare gives it candidates; `issue` begins one on the compute stream.
void cuda_ask(struct program *program, struct layer_state *state, enum pass pass, const char *key,
	      bool (*issue)(const struct trial *trial, uint32_t candidate, struct error *error));
