// What a stage and the coordinator say about kernels: which pass of which layer can be computed by several, how long each takes, and
// which one is used. Plain data: texts and arrays are borrowed. Any thread.
#pragma once

#include <stdint.h>

struct kernel_question {
	uint32_t layer;                // index in the model
	const char *key;               // operation, pass, type and shape; nothing of the stage
	const char *const *candidates; // [candidate_count] names of kernels
	uint32_t candidate_count;      // 0: they are not asked for yet
};

struct kernel_questions {
	const char *machine; // what answers depend on as well; of what is still open: ""
	const struct kernel_question *questions;
	uint32_t count;
};

struct kernel_answer { // for all questions of a stage that have the key
	const char *key;
	const char *choice; // a kernel's name
};

struct kernel_answers {
	const struct kernel_answer *answers;
	uint32_t count;
};

struct kernel_keys { // of questions that are to be timed
	const char *const *keys;
	uint32_t count;
};

struct kernel_times {
	const char *key;
	const uint64_t *ns; // of each candidate; the largest number: it cannot be used
	uint32_t count;
};
