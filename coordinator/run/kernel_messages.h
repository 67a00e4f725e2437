// What a rank says about kernels: checks of it, and searches in it. What is chosen and when: kernel_choices.c. One thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/job/kernels.h"

struct job;

// Finds the question that has this key. Returns it borrowed, or NULL where no question has the key.
const struct kernel_question *kernel_messages_find(const struct kernel_questions *questions, const char *key);
// Whether an earlier question has the key of question i.
bool kernel_messages_is_repeated(const struct kernel_questions *questions, uint32_t i);

// Both return false with ERROR_PROTOCOL, which names the rank.
bool kernel_messages_check_questions(const struct job *job, uint32_t rank, const struct kernel_questions *message,
				     struct error *error);
// `asked`: what the same rank asked before.
bool kernel_messages_check_candidates(const struct job *job, uint32_t rank, const struct kernel_questions *asked,
				      const struct kernel_questions *message, struct error *error);
