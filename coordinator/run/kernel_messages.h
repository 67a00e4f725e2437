// The messages about kernels: checks of what a rank sent, searches in it, and the KernelAnswers that it is sent. What is chosen and
// when: kernel_choices.c. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "coordinator/numerics/numerics.h"
#include "penstock/v1/stage_server.pb-c.h"

struct job;

// The question about `key`; NULL: there is none. Borrowed.
const Penstock__V1__KernelQuestion *kernel_messages_find(Penstock__V1__KernelQuestion *const *questions, size_t count,
							 const char *key);
// Whether an earlier question has the key of questions[i].
bool kernel_messages_is_repeated(Penstock__V1__KernelQuestion *const *questions, size_t i);

// Both return false with ERROR_PROTOCOL, which names the rank.
bool kernel_messages_check_questions(const struct job *job, uint32_t rank, const Penstock__V1__KernelQuestions *message,
				     struct error *error);
// `asked`: what the same rank asked before.
bool kernel_messages_check_candidates(const struct job *job, uint32_t rank, const Penstock__V1__KernelQuestions *asked,
				      const Penstock__V1__KernelCandidates *message, struct error *error);

struct kernel_answers {
	Penstock__V1__KernelAnswers message;
	Penstock__V1__KernelAnswer *all;
	Penstock__V1__KernelAnswer **list;
};

// False: out of memory; then there is nothing to fini.
bool kernel_answers_init(struct kernel_answers *answers, size_t capacity, struct error *error);
void kernel_answers_fini(struct kernel_answers *answers);
// Borrows the answer's texts until kernel_answers_fini.
void kernel_answers_add(struct kernel_answers *answers, const struct numerics_answer *answer);
