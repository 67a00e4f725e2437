// SessionResponses, each written where its contents are known.
#include <stdlib.h>

#include "stage_server/session/internal.h"

#define REPLY(session, CASE, field, message)                                                                           \
	do {                                                                                                           \
		Penstock__V1__SessionResponse response = PENSTOCK__V1__SESSION_RESPONSE__INIT;                         \
		response.body_case = PENSTOCK__V1__SESSION_RESPONSE__BODY_##CASE;                                      \
		response.field = &(message);                                                                           \
		rpc_stream_send((session)->stream, &response.base, NULL, 0, 0);                                        \
	} while (0)

void reply_opened(struct session *session, uint64_t parameters, const uint8_t *group_id)
{
	Penstock__V1__MemoryUse memory = PENSTOCK__V1__MEMORY_USE__INIT;
	Penstock__V1__Opened opened = PENSTOCK__V1__OPENED__INIT;
	memory.parameter_bytes = session->memory.parameter_bytes;
	memory.gradient_bytes = session->memory.gradient_bytes;
	memory.optimizer_bytes = session->memory.optimizer_bytes;
	memory.stash_bytes = session->memory.stash_bytes;
	memory.workspace_bytes = session->memory.workspace_bytes;
	memory.exchange_bytes = atomic_load(&session->exchange_bytes);
	opened.memory = &memory;
	opened.parameters = parameters;
	opened.version = PENSTOCK_VERSION;
	if (group_id != NULL)
		opened.group_id = (ProtobufCBinaryData){.data = (uint8_t *)group_id, .len = DEVICE_GROUP_ID_BYTES};
	REPLY(session, OPENED, opened, opened);
}

// Without memory for it the stream ends, which ends the session.
static bool refuse_without_memory(struct session *session, const void *memory)
{
	if (memory == NULL)
		rpc_stream_finish(session->stream, RPC_RESOURCE_EXHAUSTED, "no memory for the stage's questions");
	return memory == NULL;
}

struct questions {
	Penstock__V1__KernelQuestion **list; // [count]
	Penstock__V1__KernelQuestion *questions;
	char *(*names)[CHOICE_MAXIMUM_CANDIDATES];
};

static void questions_fini(struct questions *questions)
{
	free(questions->list);
	free(questions->questions);
	free(questions->names);
}

static bool questions_init(struct questions *questions, uint32_t count)
{
	questions->list = calloc((size_t)count + 1, sizeof(questions->list[0]));
	questions->questions = calloc((size_t)count + 1, sizeof(questions->questions[0]));
	questions->names = calloc((size_t)count + 1, sizeof(questions->names[0]));
	if (questions->list != NULL && questions->questions != NULL && questions->names != NULL)
		return true;
	questions_fini(questions);
	return false;
}

static void set_question(struct questions *questions, uint32_t i, const struct choice *choice, bool with_candidates)
{
	Penstock__V1__KernelQuestion *question = &questions->questions[i];
	penstock__v1__kernel_question__init(question);
	question->layer = choice->layer;
	question->key = (char *)choice->key;
	if (with_candidates) {
		for (uint32_t j = 0; j < choice->count; j++)
			questions->names[i][j] = (char *)choice->names[j];
		question->n_candidates = choice->count;
		question->candidates = questions->names[i];
	}
	questions->list[i] = question;
}

void reply_questions(struct session *session, const struct choice *choices, uint32_t count)
{
	Penstock__V1__KernelQuestions message = PENSTOCK__V1__KERNEL_QUESTIONS__INIT;
	struct questions questions;
	if (refuse_without_memory(session, questions_init(&questions, count) ? questions.list : NULL))
		return;
	for (uint32_t i = 0; i < count; i++)
		set_question(&questions, i, &choices[i], false);
	message.machine = (char *)session->slot->machine;
	message.n_questions = count;
	message.questions = questions.list;
	REPLY(session, KERNEL_QUESTIONS, kernel_questions, message);
	questions_fini(&questions);
}

void reply_candidates(struct session *session, struct choice *const *open, uint32_t count)
{
	Penstock__V1__KernelCandidates message = PENSTOCK__V1__KERNEL_CANDIDATES__INIT;
	struct questions questions;
	if (refuse_without_memory(session, questions_init(&questions, count) ? questions.list : NULL))
		return;
	for (uint32_t i = 0; i < count; i++)
		set_question(&questions, i, open[i], true);
	message.n_questions = count;
	message.questions = questions.list;
	REPLY(session, KERNEL_CANDIDATES, kernel_candidates, message);
	questions_fini(&questions);
}

void reply_times(struct session *session, const struct choice *choice, const uint64_t *ns)
{
	Penstock__V1__KernelTimes message = PENSTOCK__V1__KERNEL_TIMES__INIT;
	message.key = (char *)choice->key;
	message.n_ns = choice->count;
	message.ns = (uint64_t *)ns;
	REPLY(session, KERNEL_TIMES, kernel_times, message);
}

void reply_loaded(struct session *session, const struct parameter *parameter)
{
	Penstock__V1__Loaded loaded = PENSTOCK__V1__LOADED__INIT;
	loaded.name = (char *)parameter->name;
	REPLY(session, LOADED, loaded, loaded);
}

void reply_ready(struct session *session)
{
	Penstock__V1__Ready ready = PENSTOCK__V1__READY__INIT;
	REPLY(session, READY, ready, ready);
}

void reply_heartbeat(struct session *session)
{
	Penstock__V1__Heartbeat heartbeat = PENSTOCK__V1__HEARTBEAT__INIT;
	if (session->executor != NULL) {
		heartbeat.instructions = executor_instructions(session->executor);
		heartbeat.device_ns = executor_device_ns(session->executor);
	}
	REPLY(session, HEARTBEAT, heartbeat, heartbeat);
}

void reply_closed(struct session *session)
{
	Penstock__V1__Closed closed = PENSTOCK__V1__CLOSED__INIT;
	REPLY(session, CLOSED, closed, closed);
}

void reply_failed(struct session *session, const struct error *error, uint64_t step, bool lost, enum neighbour side)
{
	Penstock__V1__Failed failed = PENSTOCK__V1__FAILED__INIT;
	failed.code = error->code;
	failed.message = (char *)error->message;
	failed.step = step;
	failed.drained = session->drained_steps > 0;
	failed.lost_peer = lost;
	if (lost && side == NEIGHBOUR_COUNT) {
		failed.peer_replica = session->plan.data_parallel_size; // which no replica is: one of them
	} else if (lost) {
		failed.peer_stage = stage_plan_peer_stage(&session->plan, side);
		failed.peer_replica = stage_plan_peer_replica(&session->plan, side);
	}
	REPLY(session, FAILED, failed, failed);
}

void reply_step(struct session *session, const struct step_report *report)
{
	Penstock__V1__StepReport message = PENSTOCK__V1__STEP_REPORT__INIT;
	message.step = report->step;
	message.loss = report->loss;
	message.correct = report->correct;
	message.step_ns = report->step_ns;
	PHASES_WRITE(&message, report->phase_ns);
	message.sent_bytes = report->sent_bytes;
	message.received_bytes = report->received_bytes;
	REPLY(session, STEP_REPORT, step_report, message);
}

void reply_norms(struct session *session, uint64_t step, uint32_t first, const double *squares, uint32_t count)
{
	Penstock__V1__GradientNorms norms = PENSTOCK__V1__GRADIENT_NORMS__INIT;
	norms.step = step;
	norms.first_parameter = first;
	norms.n_squares = count;
	norms.squares = (double *)squares;
	REPLY(session, GRADIENT_NORMS, gradient_norms, norms);
}

void reply_parameter(struct session *session, const struct parameter *parameter, struct buffer *values,
		     uint64_t offset_bytes, uint64_t size_bytes)
{
	Penstock__V1__SavedParameter saved = PENSTOCK__V1__SAVED_PARAMETER__INIT;
	Penstock__V1__SessionResponse response = PENSTOCK__V1__SESSION_RESPONSE__INIT;
	saved.name = (char *)parameter->name;
	saved.n_shape = parameter->rank;
	saved.shape = (uint32_t *)parameter->dimensions;
	saved.offset_bytes = offset_bytes;
	response.body_case = PENSTOCK__V1__SESSION_RESPONSE__BODY_SAVED_PARAMETER;
	response.saved_parameter = &saved;
	rpc_stream_send(session->stream, &response.base, values, 0, size_bytes);
}

void reply_saved(struct session *session, uint32_t parameters)
{
	Penstock__V1__Saved saved = PENSTOCK__V1__SAVED__INIT;
	saved.parameters = parameters;
	REPLY(session, SAVED, saved, saved);
}
