// GPT-2 as Hugging Face's GPT2LMHeadModel has it. Any thread.
#pragma once

#include <stdint.h>

#include "common/base/error.h"

struct graph;

struct gpt2_options {
	uint32_t layers, heads, width;
	uint32_t words;     // the vocabulary
	uint32_t positions; // the longest sequence
	uint32_t tokens;    // of a sample, at most `positions`
	float dropout;      // of embeddings, attention weights and residual branches
};

extern const struct gpt2_options gpt2_small; // 1024 tokens
extern const struct gpt2_options gpt2_tiny;  // for tests: 4 layers, a vocabulary of 256

// Inputs "tokens" and "targets" (tokens), a cross entropy at the end; target i is the token behind token i. ERROR_USAGE where the heads do
// not divide the width. Returns owned.
bool gpt2_create_graph(const char *name, const struct gpt2_options *options, struct graph **ret_graph,
		       struct error *error);
