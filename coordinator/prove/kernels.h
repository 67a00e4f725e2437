// Which kernels a training used on which machines, and where two trainings used others: kernels round differently, so this is where
// different bits come from. One thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "coordinator/run/job.h"

// A pass of a layer on a rank. Texts are owned by the list.
struct kernel_use {
	uint32_t layer, rank;
	char *question, *choice; // as struct job_kernel has them; the second "the only one" where there is no choice
};

struct kernel_list {
	char **machines; // [rank_count], as struct job_numerics has them
	uint32_t rank_count;
	struct kernel_use *uses; // ordered by rank, then by layer
	uint32_t count;
};

// Copies what the job settled.
bool kernels_copy(const struct job_numerics *numerics, uint32_t ranks, struct kernel_list *ret_list,
		  struct error *error);
void kernels_fini(struct kernel_list *list);
bool kernels_share_machine(const struct kernel_list *reference,
			   const struct kernel_list *pipeline); // all ranks of both

// A pass for which the pipeline used another kernel than the reference, or a kernel on another kind of machine.
struct kernel_difference {
	uint32_t layer, rank;             // the rank is of the pipeline, unless that did not ask the question
	const char *question;             // borrowed from the lists, as all texts
	const char *reference, *pipeline; // the kernels; NULL: that training did not ask the question
	const char *reference_machine, *pipeline_machine; // likewise
};

// In the order of layers. Replica r of the pipeline, whose ranks are r more than a multiple of `replicas`, is compared with rank r of the
// reference; what replicas share is told once. Returns how many there are; the first `size` of them are in `ret_differences`.
uint32_t kernels_compare(const struct kernel_list *reference, const struct kernel_list *pipeline, uint32_t replicas,
			 struct kernel_difference *ret_differences, uint32_t size);
