// See kernel_messages.h.
#include "coordinator/run/kernel_messages.h"

#include <string.h>

#include "coordinator/run/internal.h"

_Static_assert((int)PROTOCOL_MAXIMUM_KERNELS == (int)NUMERICS_MAXIMUM_CANDIDATES &&
		       (int)PROTOCOL_MAXIMUM_KERNEL_TEXT == (int)NUMERICS_TEXT_SIZE - 1,
	       "struct numerics_answer holds every valid answer of a rank");

const struct kernel_question *kernel_messages_find(const struct kernel_questions *questions, const char *key)
{
	for (uint32_t i = 0; i < questions->count; i++)
		if (strcmp(questions->questions[i].key, key) == 0)
			return &questions->questions[i];
	return NULL;
}

bool kernel_messages_is_repeated(const struct kernel_questions *questions, uint32_t i)
{
	for (uint32_t j = 0; j < i; j++)
		if (strcmp(questions->questions[j].key, questions->questions[i].key) == 0)
			return true;
	return false;
}

bool kernel_messages_check_questions(const struct job *job, uint32_t rank, const struct kernel_questions *message,
				     struct error *error)
{
	if (!numerics_is_text(message->machine))
		return job_refuse(job, rank, "its KernelQuestions have no valid machine name", error);
	if (message->count > PROTOCOL_MAXIMUM_KERNEL_QUESTIONS)
		return job_refuse(job, rank, "it sent more than 1024 questions about kernels", error);
	for (uint32_t i = 0; i < message->count; i++) {
		const struct kernel_question *question = &message->questions[i];
		if (!numerics_is_text(question->key) || question->layer >= job->plan->model.layer_count ||
		    question->candidate_count > 0)
			return job_refuse(job, rank, "an invalid question about kernels", error);
	}
	return true;
}

bool kernel_messages_check_candidates(const struct job *job, uint32_t rank, const struct kernel_questions *asked,
				      const struct kernel_questions *message, struct error *error)
{
	bool ok = message->count > 0 && message->count <= asked->count;
	for (uint32_t i = 0; i < message->count && ok; i++) {
		const struct kernel_question *question = &message->questions[i];
		ok = kernel_messages_find(asked, question->key) != NULL && question->candidate_count > 0 &&
		     question->candidate_count <= PROTOCOL_MAXIMUM_KERNELS;
		for (uint32_t j = 0; j < question->candidate_count && ok; j++)
			ok = numerics_is_text(question->candidates[j]);
	}
	return ok || job_refuse(job, rank, "KernelCandidates without candidates, or for a question that it did not ask",
				error);
}
