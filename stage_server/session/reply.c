// SessionResponses, each written where its contents are known.
#include <stdlib.h>

#include "common/base/strings.h"
#include "common/wire/response.h"
#include "stage_server/session/internal.h"

static void reply(struct session *session, const struct wire_response *response)
{
	wire_response_send(session->stream, response, NULL, 0);
}

void reply_opened(struct session *session, uint64_t parameters, const uint8_t *group_id)
{
	struct stage_memory memory = {.parameter_bytes = session->memory.parameter_bytes,
				      .gradient_bytes = session->memory.gradient_bytes,
				      .optimizer_bytes = session->memory.optimizer_bytes,
				      .stash_bytes = session->memory.stash_bytes,
				      .workspace_bytes = session->memory.workspace_bytes,
				      .exchange_bytes = atomic_load(&session->exchange_bytes)};
	struct wire_response response = {
		.kind = RESPONSE_OPENED,
		.opened = {.memory = &memory, .parameters = parameters, .version = PENSTOCK_VERSION}};
	if (group_id != NULL)
		response.opened.group_id = (struct byte_span){group_id, DEVICE_GROUP_ID_BYTES};
	reply(session, &response);
}

// Without memory for it the stream ends, which ends the session.
static bool refuse_without_memory(struct session *session, const void *memory)
{
	if (memory == NULL)
		rpc_stream_finish(session->stream, RPC_RESOURCE_EXHAUSTED, "no memory for the stage's questions");
	return memory == NULL;
}

void reply_questions(struct session *session, const struct choice *choices, uint32_t count)
{
	_cleanup_free_ struct kernel_question *questions = calloc((size_t)count + 1, sizeof(*questions));
	if (refuse_without_memory(session, questions))
		return;
	for (uint32_t i = 0; i < count; i++)
		questions[i] = (struct kernel_question){.layer = choices[i].layer, .key = choices[i].key};
	reply(session, &(struct wire_response){.kind = RESPONSE_KERNEL_QUESTIONS,
					       .kernel_questions = {session->slot->machine, questions, count}});
}

void reply_candidates(struct session *session, struct choice *const *open, uint32_t count)
{
	_cleanup_free_ struct kernel_question *questions = calloc((size_t)count + 1, sizeof(*questions));
	_cleanup_free_ const char *(*names)[CHOICE_MAXIMUM_CANDIDATES] = calloc((size_t)count + 1, sizeof(*names));
	if (refuse_without_memory(session, questions) || refuse_without_memory(session, names))
		return;
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t k = 0; k < open[i]->count; k++)
			names[i][k] = open[i]->names[k];
		questions[i] = (struct kernel_question){open[i]->layer, open[i]->key, names[i], open[i]->count};
	}
	reply(session, &(struct wire_response){.kind = RESPONSE_KERNEL_CANDIDATES,
					       .kernel_candidates = {.questions = questions, .count = count}});
}

void reply_times(struct session *session, const struct choice *choice, const uint64_t *ns)
{
	reply(session,
	      &(struct wire_response){.kind = RESPONSE_KERNEL_TIMES, .kernel_times = {choice->key, ns, choice->count}});
}

void reply_loaded(struct session *session, const struct parameter *parameter)
{
	reply(session, &(struct wire_response){.kind = RESPONSE_LOADED, .loaded = {parameter->name}});
}

void reply_ready(struct session *session)
{
	reply(session, &(struct wire_response){.kind = RESPONSE_READY});
}

void reply_heartbeat(struct session *session)
{
	struct wire_response response = {.kind = RESPONSE_HEARTBEAT};
	if (session->executor != NULL) {
		response.heartbeat.instructions = executor_instructions(session->executor);
		response.heartbeat.device_ns = executor_device_ns(session->executor);
	}
	reply(session, &response);
}

void reply_closed(struct session *session)
{
	reply(session, &(struct wire_response){.kind = RESPONSE_CLOSED});
}

void reply_failed(struct session *session, const struct error *error, uint64_t step, bool lost, enum neighbour side)
{
	struct failure failed = {.code = error->code,
				 .message = error->message,
				 .step = step,
				 .lost_peer = lost,
				 .drained = session->drained_steps > 0};
	if (lost && side == NEIGHBOUR_COUNT) {
		failed.peer_replica = session->plan.data_parallel_size; // which no replica is: one of them
	} else if (lost) {
		failed.peer_stage = stage_plan_peer_stage(&session->plan, side);
		failed.peer_replica = stage_plan_peer_replica(&session->plan, side);
	}
	reply(session, &(struct wire_response){.kind = RESPONSE_FAILED, .failed = failed});
}

void reply_step(struct session *session, const struct step_report *report)
{
	reply(session, &(struct wire_response){.kind = RESPONSE_STEP_REPORT, .step_report = *report});
}

void reply_norms(struct session *session, uint64_t step, uint32_t first, const double *squares, uint32_t count)
{
	reply(session, &(struct wire_response){.kind = RESPONSE_GRADIENT_NORMS,
					       .gradient_norms = {step, first, squares, count}});
}

void reply_parameter(struct session *session, const struct parameter *parameter, struct buffer *values,
		     uint64_t offset_bytes, uint64_t size_bytes)
{
	struct wire_response response = {
		.kind = RESPONSE_SAVED_PARAMETER,
		.saved_parameter = {parameter->name, parameter->dimensions, parameter->rank, offset_bytes}};
	wire_response_send(session->stream, &response, values, size_bytes);
}

void reply_saved(struct session *session, uint32_t parameters)
{
	reply(session, &(struct wire_response){.kind = RESPONSE_SAVED, .saved = {parameters}});
}
