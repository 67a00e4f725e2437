// Which kernels compute the job's layers. All ranks on machines of one name get the same answer, so the numbers do not depend on where
// the model is cut. A rank asks questions; known answers are sent at once. When every rank has sent its open questions, each is timed
// by one rank of each machine name, and all ranks get the answers. The messages and their order are in
// proto/penstock/v1/stage_server.proto; kernel_messages.c checks them.
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/strings.h"
#include "coordinator/plan/rank_name.h"
#include "coordinator/run/internal.h"
#include "coordinator/run/kernel_messages.h"

// What a rank has sent. The messages are owned.
struct kernel_rank {
	struct wire_response *asked; // KernelQuestions
	struct wire_response *open;  // KernelCandidates; NULL: no question is open
	bool answered;               // its open questions
	bool opened;
	struct job_kernel *kernels; // [as many as it asked]; owned
	uint32_t to_time;           // questions that it has to time, and has not yet
};

// An open question of the ranks on machines of one name. Texts are borrowed from the ranks' messages.
struct open_question {
	struct numerics_answer answer; // its candidates are those that all these ranks have
	uint32_t timer;                // the rank that times it
	bool is_timed;
	const struct numerics_answer *refused; // the known answer, which these ranks cannot use; NULL: none was known
	const struct numerics_answer *settled;
};

struct kernel_choices {
	struct numerics *numerics;
	bool owns_numerics;
	uint32_t rank_count;
	struct kernel_rank *ranks;             // [rank_count]
	bool owes_nothing[PLAN_MAXIMUM_RANKS]; // the rank has opened, or waits for answers
	struct open_question *open;            // [open_count]
	uint32_t open_count, capacity;
	bool is_settling; // all ranks have sent their open questions
};

bool kernel_choices_create(struct job *job, struct error *error)
{
	struct kernel_choices *kernels = calloc(1, sizeof(*kernels));
	job->kernels = kernels;
	if (kernels == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	kernels->numerics = job->options.numerics;
	kernels->owns_numerics = kernels->numerics == NULL;
	if (kernels->owns_numerics)
		kernels->numerics = numerics_create();
	kernels->rank_count = job->ranks;
	kernels->ranks = calloc(job->ranks, sizeof(*kernels->ranks));
	return (kernels->numerics != NULL && kernels->ranks != NULL) || error_set(error, ERROR_FAILED, "out of memory");
}

void kernel_choices_destroy(struct kernel_choices *kernels)
{
	if (kernels == NULL)
		return;
	for (uint32_t r = 0; kernels->ranks != NULL && r < kernels->rank_count; r++) {
		wire_response_free(kernels->ranks[r].asked);
		wire_response_free(kernels->ranks[r].open);
		free(kernels->ranks[r].kernels);
	}
	if (kernels->owns_numerics)
		numerics_close(kernels->numerics);
	free(kernels->ranks);
	free(kernels->open);
	free(kernels);
}

static const char *machine_of(const struct job *job, uint32_t rank)
{
	return job->kernels->ranks[rank].asked->kernel_questions.machine;
}

// ---- Questions

static struct kernel_answer answer_of(const struct numerics_answer *answer)
{
	return (struct kernel_answer){answer->question, answer->names[answer->choice]};
}

// Sends the known answers at once.
static bool take_questions(struct job *job, uint32_t rank, struct error *error)
{
	struct kernel_rank *of = &job->kernels->ranks[rank];
	const struct kernel_questions *message = &of->asked->kernel_questions;
	if (!kernel_messages_check_questions(job, rank, message, error))
		return false;
	uint32_t known = 0;
	_cleanup_free_ struct kernel_answer *answers = calloc((size_t)message->count + 1, sizeof(*answers));
	of->kernels = calloc((size_t)message->count + 1, sizeof(*of->kernels));
	if (of->kernels == NULL || answers == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	for (uint32_t i = 0; i < message->count; i++) {
		const struct numerics_answer *answer =
			numerics_find(job->kernels->numerics, message->machine, message->questions[i].key);
		of->kernels[i].layer = message->questions[i].layer;
		of->kernels[i].question = message->questions[i].key;
		of->kernels[i].choice = answer != NULL ? answer->names[answer->choice] : NULL;
		if (answer != NULL && !kernel_messages_is_repeated(message, i))
			answers[known++] = answer_of(answer);
	}
	stage_session_kernel_answers(job->sessions[rank], &(struct kernel_answers){answers, known});
	return true;
}

static bool has_asked(const struct kernel_rank *rank, const char *key)
{
	return kernel_messages_find(&rank->asked->kernel_questions, key) != NULL;
}

// The rank's open question about the key, with its candidates; NULL: there is none.
static const struct kernel_question *open_at(const struct kernel_rank *rank, const char *key)
{
	return rank->open != NULL ? kernel_messages_find(&rank->open->kernel_candidates, key) : NULL;
}

// ---- Open questions

static bool refuse_strangers(const struct job *job, const char *key, uint32_t a, uint32_t b, struct error *error)
{
	char first[RANK_NAME_SIZE], second[RANK_NAME_SIZE];
	return error_set(error, ERROR_VERSION,
			 "%s and %s are of one kind (%s), but have different kernels for %s: install the same release "
			 "of penstockd and its libraries on both",
			 rank_name(job->plan, a, job->options.addresses[a], first, sizeof(first)),
			 rank_name(job->plan, b, job->options.addresses[b], second, sizeof(second)), machine_of(job, a),
			 key);
}

static struct open_question *find_open(struct kernel_choices *kernels, const char *machine, const char *key)
{
	for (uint32_t i = 0; i < kernels->open_count; i++) {
		const struct numerics_answer *answer = &kernels->open[i].answer;
		if (answer->question != NULL && strcmp(answer->question, key) == 0 &&
		    strcmp(answer->machine, machine) == 0)
			return &kernels->open[i];
	}
	return NULL;
}

// Removes the candidates that the rank does not have.
static void keep_common(struct numerics_answer *answer, const struct kernel_question *question)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < answer->count; i++)
		for (size_t j = 0; j < question->candidate_count; j++)
			if (strcmp(answer->names[i], question->candidates[j]) == 0) {
				answer->names[count++] = answer->names[i];
				break;
			}
	answer->count = count;
}

static bool reserve_open(struct kernel_choices *kernels, struct error *error)
{
	size_t capacity = 0;
	for (uint32_t r = 0; r < kernels->rank_count; r++)
		if (kernels->ranks[r].open != NULL)
			capacity += kernels->ranks[r].open->kernel_candidates.count;
	kernels->open = calloc(capacity + 1, sizeof(*kernels->open));
	return kernels->open != NULL || error_set(error, ERROR_FAILED, "out of memory");
}

// The rank cannot use the known answer. An answer in the cache is replaced; an answer in a file that the user named ends the job.
static bool check_refused(const struct job *job, uint32_t rank, const struct kernel_question *question,
			  struct error *error)
{
	const struct numerics *numerics = job->kernels->numerics;
	const struct numerics_answer *known = numerics_find(numerics, machine_of(job, rank), question->key);
	char names[400] = "", who[RANK_NAME_SIZE];
	if (known == NULL)
		return true;
	for (size_t i = 0; i < question->candidate_count; i++) {
		size_t length = strlen(names);
		snprintf(names + length, sizeof(names) - length, "%s%s", i == 0 ? "" : ", ", question->candidates[i]);
	}
	rank_name(job->plan, rank, job->options.addresses[rank], who, sizeof(who));
	if (numerics_is_named(numerics))
		return error_set(
			error, ERROR_USAGE,
			"%s: the choice %s for %s is unknown to %s, whose kernels are %s: correct the line or remove "
			"it",
			numerics_path(numerics), known->names[known->choice], question->key, who, names);
	log_warning("%s does not have the kernel %s for %s, which %s names: its kernels are timed again", who,
		    known->names[known->choice], question->key,
		    numerics_path(numerics) != NULL ? numerics_path(numerics) : "the job before");
	return true;
}

// Ranks on machines of one name have the same kernels. So if the question is open for one of them, it is open for each that asked it.
static bool add_open(struct job *job, uint32_t rank, const struct kernel_question *question, struct error *error)
{
	struct kernel_choices *kernels = job->kernels;
	const char *machine = machine_of(job, rank);
	if (find_open(kernels, machine, question->key) != NULL)
		return true;
	if (!check_refused(job, rank, question, error))
		return false;
	struct open_question *open = &kernels->open[kernels->open_count++];
	open->answer = (struct numerics_answer){
		.machine = machine, .question = question->key, .count = question->candidate_count};
	for (size_t i = 0; i < question->candidate_count; i++)
		open->answer.names[i] = question->candidates[i];
	open->refused = numerics_find(kernels->numerics, machine, question->key);
	open->timer = rank;
	for (uint32_t r = 0; r < kernels->rank_count; r++) {
		const struct kernel_rank *other = &kernels->ranks[r];
		if (strcmp(machine_of(job, r), machine) != 0 || !has_asked(other, question->key))
			continue;
		const struct kernel_question *same = open_at(other, question->key);
		if (same != NULL)
			keep_common(&open->answer, same);
		if (same == NULL || open->answer.count == 0)
			return refuse_strangers(job, question->key, rank, r, error);
		if (other->to_time < kernels->ranks[open->timer].to_time)
			open->timer = r;
	}
	open->is_timed = open->answer.count == 1;
	kernels->ranks[open->timer].to_time += !open->is_timed;
	return true;
}

static void order_times(const struct job *job, uint32_t rank, const char **keys)
{
	const struct kernel_choices *kernels = job->kernels;
	uint32_t count = 0;
	for (uint32_t i = 0; i < kernels->open_count; i++)
		if (kernels->open[i].timer == rank && !kernels->open[i].is_timed)
			keys[count++] = kernels->open[i].answer.question;
	if (count > 0)
		stage_session_time_kernels(job->sessions[rank], &(struct kernel_keys){keys, count});
}

// Distributes the open questions over the ranks that asked them: each question is timed once.
static bool begin_timing(struct job *job, struct error *error)
{
	struct kernel_choices *kernels = job->kernels;
	kernels->is_settling = true;
	if (!reserve_open(kernels, error))
		return false;
	for (uint32_t r = 0; r < kernels->rank_count; r++) {
		const struct wire_response *open = kernels->ranks[r].open;
		for (size_t i = 0; open != NULL && i < open->kernel_candidates.count; i++)
			if (!add_open(job, r, &open->kernel_candidates.questions[i], error))
				return false;
	}
	_cleanup_free_ const char **keys = calloc((size_t)kernels->open_count + 1, sizeof(*keys));
	if (keys == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	for (uint32_t r = 0; r < kernels->rank_count; r++)
		order_times(job, r, keys);
	return true;
}

static bool take_times(struct job *job, uint32_t rank, const struct kernel_times *message, struct error *error)
{
	struct kernel_choices *kernels = job->kernels;
	struct open_question *open = find_open(kernels, machine_of(job, rank), message->key);
	const struct kernel_question *question = open_at(&kernels->ranks[rank], message->key);
	if (open == NULL || question == NULL || open->timer != rank || open->is_timed ||
	    message->count != question->candidate_count)
		return job_refuse(job, rank, "times of kernels that it was not asked to time", error);
	for (uint32_t i = 0; i < open->answer.count; i++)
		for (size_t j = 0; j < question->candidate_count; j++)
			if (strcmp(open->answer.names[i], question->candidates[j]) == 0)
				open->answer.ns[i] = message->ns[j];
	open->is_timed = true;
	kernels->ranks[rank].to_time--;
	return true;
}

// ---- The answers

// If all kernels of a question failed, no answer is kept: the first kernel will fail again in a step, with a message.
static bool settle_question(struct kernel_choices *kernels, struct open_question *open, struct error *error)
{
	struct numerics_answer *answer = &open->answer;
	uint32_t fastest = answer->count == 1 ? 0 : numerics_fastest(answer->count, answer->ns);
	open->settled = answer;
	answer->choice = fastest < answer->count ? fastest : 0;
	if (fastest == answer->count)
		return true;
	const struct numerics_answer *kept;
	if (!numerics_add(kernels->numerics, answer, open->refused, &kept, error))
		return false;
	// Another job may have answered in the meantime. Its answer is used if these ranks have that kernel.
	for (uint32_t i = 0; i < answer->count; i++)
		if (strcmp(answer->names[i], kept->names[kept->choice]) == 0)
			open->settled = kept;
	return true;
}

static bool send_answers(struct job *job, uint32_t rank, struct error *error)
{
	struct kernel_choices *kernels = job->kernels;
	struct kernel_rank *of = &kernels->ranks[rank];
	const struct kernel_questions *open = &of->open->kernel_candidates;
	uint32_t count = 0;
	_cleanup_free_ struct kernel_answer *answers = calloc((size_t)open->count + 1, sizeof(*answers));
	if (answers == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	for (uint32_t i = 0; i < open->count; i++) {
		const struct numerics_answer *settled =
			find_open(kernels, machine_of(job, rank), open->questions[i].key)->settled;
		if (!kernel_messages_is_repeated(open, i))
			answers[count++] = answer_of(settled);
		for (size_t j = 0; j < of->asked->kernel_questions.count; j++)
			if (strcmp(of->kernels[j].question, settled->question) == 0)
				of->kernels[j].choice = settled->names[settled->choice];
	}
	stage_session_kernel_answers(job->sessions[rank], &(struct kernel_answers){answers, count});
	of->answered = true;
	return true;
}

static bool answer_all(struct job *job, struct error *error)
{
	struct kernel_choices *kernels = job->kernels;
	for (uint32_t i = 0; i < kernels->open_count; i++)
		if (!settle_question(kernels, &kernels->open[i], error))
			return false;
	for (uint32_t r = 0; r < kernels->rank_count; r++)
		if (kernels->ranks[r].open != NULL && !send_answers(job, r, error))
			return false;
	return true;
}

// ---- From Open to Opened

static bool all_have_said(const struct kernel_choices *kernels)
{
	for (uint32_t r = 0; r < kernels->rank_count; r++)
		if (!kernels->ranks[r].opened && kernels->ranks[r].open == NULL)
			return false;
	return true;
}

static bool all_is_timed(const struct kernel_choices *kernels)
{
	for (uint32_t i = 0; i < kernels->open_count; i++)
		if (!kernels->open[i].is_timed)
			return false;
	return true;
}

// May keep the event's message.
static bool take_event(struct job *job, struct stage_event *event, struct error *error)
{
	struct kernel_rank *rank = &job->kernels->ranks[event->rank];
	switch (event->response->kind) {
	case RESPONSE_KERNEL_QUESTIONS:
		if (rank->asked != NULL)
			break;
		rank->asked = steal_pointer(event->response);
		return take_questions(job, event->rank, error);
	case RESPONSE_KERNEL_CANDIDATES:
		if (rank->kernels == NULL || rank->open != NULL || rank->opened)
			break;
		rank->open = steal_pointer(event->response);
		return kernel_messages_check_candidates(job, event->rank, &rank->asked->kernel_questions,
							&rank->open->kernel_candidates, error);
	case RESPONSE_KERNEL_TIMES:
		if (!job->kernels->is_settling)
			break;
		return take_times(job, event->rank, &event->response->kernel_times, error);
	case RESPONSE_OPENED:
		if (rank->kernels == NULL || rank->opened || (rank->open != NULL && !rank->answered))
			break;
		rank->opened = true;
		return true;
	default:
		break;
	}
	return job_unexpected(job, event, error);
}

static void tell(const struct job *job)
{
	const struct kernel_choices *kernels = job->kernels;
	_cleanup_free_ const char **machines = calloc(kernels->rank_count, sizeof(*machines));
	_cleanup_free_ const struct job_kernel **of = calloc(kernels->rank_count, sizeof(struct job_kernel *));
	_cleanup_free_ uint32_t *counts = calloc(kernels->rank_count, sizeof(*counts));
	if (job->options.events->settled == NULL || machines == NULL || of == NULL || counts == NULL)
		return;
	struct job_numerics numerics = {.machines = machines, .kernels = of, .kernel_counts = counts};
	for (uint32_t r = 0; r < kernels->rank_count; r++) {
		machines[r] = machine_of(job, r);
		of[r] = kernels->ranks[r].kernels;
		counts[r] = kernels->ranks[r].asked->kernel_questions.count;
		numerics.machines_differ |= strcmp(machines[r], machines[0]) != 0;
	}
	job->options.events->settled(job->options.user, &numerics);
}

// Marks the ranks for which the job does not wait; the limit on progress applies to the others.
static void note_debts(struct kernel_choices *kernels)
{
	for (uint32_t r = 0; r < kernels->rank_count; r++) {
		const struct kernel_rank *rank = &kernels->ranks[r];
		kernels->owes_nothing[r] =
			rank->opened || (rank->open != NULL && !rank->answered && rank->to_time == 0);
	}
}

static bool settle(struct job *job, void (*take)(struct job *job, uint32_t rank, const struct wire_response *response),
		   struct error *error)
{
	struct kernel_choices *kernels = job->kernels;
	bool is_answered = false;
	for (uint32_t missing = job->ranks; missing > 0;) {
		struct stage_event *event = job_next_event(job, error);
		if (event == NULL)
			return false;
		bool is_opened = event->response->kind == RESPONSE_OPENED;
		bool ok = take_event(job, event, error);
		if (ok && is_opened) {
			take(job, event->rank, event->response);
			missing--;
		}
		stage_event_free(event);
		if (ok && !kernels->is_settling && all_have_said(kernels))
			ok = begin_timing(job, error);
		if (ok && kernels->is_settling && !is_answered && all_is_timed(kernels))
			is_answered = ok = answer_all(job, error);
		if (!ok)
			return false;
		note_debts(kernels);
	}
	return true;
}

bool kernel_choices_settle(struct job *job,
			   void (*take)(struct job *job, uint32_t rank, const struct wire_response *response),
			   struct error *error)
{
	job_await(job, "its Opened", job->kernels->owes_nothing);
	bool ok = settle(job, take, error);
	job_await(job, NULL, NULL);
	if (ok)
		tell(job);
	return ok;
}
