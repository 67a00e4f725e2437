// See kernel_messages.h.
#include "coordinator/run/kernel_messages.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/run/internal.h"

_Static_assert((int)PROTOCOL_MAXIMUM_KERNELS == (int)NUMERICS_MAXIMUM_CANDIDATES &&
		       (int)PROTOCOL_MAXIMUM_KERNEL_TEXT == (int)NUMERICS_TEXT_SIZE - 1,
	       "struct numerics_answer holds every valid answer of a rank");

const Penstock__V1__KernelQuestion *kernel_messages_find(Penstock__V1__KernelQuestion *const *questions, size_t count,
							 const char *key)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(questions[i]->key, key) == 0)
			return questions[i];
	return NULL;
}

bool kernel_messages_is_repeated(Penstock__V1__KernelQuestion *const *questions, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (strcmp(questions[j]->key, questions[i]->key) == 0)
			return true;
	return false;
}

// ---- What a rank sent

bool kernel_messages_check_questions(const struct job *job, uint32_t rank, const Penstock__V1__KernelQuestions *message,
				     struct error *error)
{
	if (!numerics_is_text(message->machine))
		return job_refuse(job, rank, "its KernelQuestions have no valid machine name", error);
	if (message->n_questions > PROTOCOL_MAXIMUM_KERNEL_QUESTIONS)
		return job_refuse(job, rank, "it sent more than 1024 questions about kernels", error);
	for (size_t i = 0; i < message->n_questions; i++) {
		const Penstock__V1__KernelQuestion *question = message->questions[i];
		if (!numerics_is_text(question->key) || question->layer >= job->plan->model.layer_count ||
		    question->n_candidates > 0)
			return job_refuse(job, rank, "an invalid question about kernels", error);
	}
	return true;
}

bool kernel_messages_check_candidates(const struct job *job, uint32_t rank, const Penstock__V1__KernelQuestions *asked,
				      const Penstock__V1__KernelCandidates *message, struct error *error)
{
	bool ok = message->n_questions > 0 && message->n_questions <= asked->n_questions;
	for (size_t i = 0; i < message->n_questions && ok; i++) {
		const Penstock__V1__KernelQuestion *question = message->questions[i];
		ok = kernel_messages_find(asked->questions, asked->n_questions, question->key) != NULL &&
		     question->n_candidates > 0 && question->n_candidates <= PROTOCOL_MAXIMUM_KERNELS;
		for (size_t j = 0; j < question->n_candidates && ok; j++)
			ok = numerics_is_text(question->candidates[j]);
	}
	return ok || job_refuse(job, rank, "KernelCandidates without candidates, or for a question that it did not ask",
				error);
}

// ---- What it is sent

void kernel_answers_fini(struct kernel_answers *answers)
{
	free(answers->all);
	free(answers->list);
}

bool kernel_answers_init(struct kernel_answers *answers, size_t capacity, struct error *error)
{
	penstock__v1__kernel_answers__init(&answers->message);
	answers->all = calloc(capacity + 1, sizeof(answers->all[0]));
	answers->list = calloc(capacity + 1, sizeof(struct Penstock__V1__KernelAnswer *));
	answers->message.answers = answers->list;
	if (answers->all != NULL && answers->list != NULL)
		return true;
	kernel_answers_fini(answers);
	return error_set(error, ERROR_FAILED, "out of memory");
}

void kernel_answers_add(struct kernel_answers *answers, const struct numerics_answer *answer)
{
	Penstock__V1__KernelAnswer *into = &answers->all[answers->message.n_answers];
	penstock__v1__kernel_answer__init(into);
	into->key = (char *)answer->question;
	into->choice = (char *)answer->names[answer->choice];
	answers->list[answers->message.n_answers++] = into;
}
