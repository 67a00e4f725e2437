// What stage and coordinator say about kernels.
#include "common/job/kernels.h"

#include "common/wire/internal.h"
#include "penstock/v1/stage_server.pb-c.h"

static const struct field question_fields[] = {
	SAME(KernelQuestion, kernel_question, layer),
	SAME(KernelQuestion, kernel_question, key),
	ARRAY(KernelQuestion, kernel_question, candidates, candidates, candidate_count),
};
static const struct codec question_codec =
	CODEC(penstock__v1__kernel_question__descriptor, kernel_question, question_fields);

static const struct field questions_fields[] = {
	SAME(KernelQuestions, kernel_questions, machine),
	LIST(KernelQuestions, kernel_questions, questions, questions, count, question_codec),
};
const struct codec wire_questions_codec =
	CODEC(penstock__v1__kernel_questions__descriptor, kernel_questions, questions_fields);

// The machine was said before.
static const struct field candidates_fields[] = {
	LIST(KernelCandidates, kernel_questions, questions, questions, count, question_codec),
};
const struct codec wire_candidates_codec =
	CODEC(penstock__v1__kernel_candidates__descriptor, kernel_questions, candidates_fields);

static const struct field answer_fields[] = {
	SAME(KernelAnswer, kernel_answer, key),
	SAME(KernelAnswer, kernel_answer, choice),
};
static const struct codec answer_codec = CODEC(penstock__v1__kernel_answer__descriptor, kernel_answer, answer_fields);

static const struct field answers_fields[] = {
	LIST(KernelAnswers, kernel_answers, answers, answers, count, answer_codec),
};
const struct codec wire_answers_codec = CODEC(penstock__v1__kernel_answers__descriptor, kernel_answers, answers_fields);

static const struct field keys_fields[] = {
	ARRAY(TimeKernels, kernel_keys, keys, keys, count),
};
const struct codec wire_keys_codec = CODEC(penstock__v1__time_kernels__descriptor, kernel_keys, keys_fields);

static const struct field times_fields[] = {
	SAME(KernelTimes, kernel_times, key),
	ARRAY(KernelTimes, kernel_times, ns, ns, count),
};
const struct codec wire_times_codec = CODEC(penstock__v1__kernel_times__descriptor, kernel_times, times_fields);
