// See response.h.
#include "common/wire/response.h"

#include "common/wire/internal.h"
#include "penstock/v1/stage_server.pb-c.h"

static const struct field memory_fields[] = {
	SAME(MemoryUse, stage_memory, parameter_bytes), SAME(MemoryUse, stage_memory, gradient_bytes),
	SAME(MemoryUse, stage_memory, optimizer_bytes), SAME(MemoryUse, stage_memory, stash_bytes),
	SAME(MemoryUse, stage_memory, workspace_bytes), SAME(MemoryUse, stage_memory, exchange_bytes),
};
static const struct codec memory_codec = CODEC(penstock__v1__memory_use__descriptor, stage_memory, memory_fields);

static const struct field opened_fields[] = {
	PART(Opened, opened_report, memory, memory_codec),
	SAME(Opened, opened_report, parameters),
	SAME(Opened, opened_report, version),
	SAME(Opened, opened_report, group_id),
};
static const struct codec opened_codec = CODEC(penstock__v1__opened__descriptor, opened_report, opened_fields);

static const struct field report_fields[] = {
	SAME(StepReport, step_report, step),
	SAME(StepReport, step_report, loss),
	SAME(StepReport, step_report, correct),
	SAME(StepReport, step_report, step_ns),
	PHASES(PHASE, StepReport, step_report) SAME(StepReport, step_report, sent_bytes),
	SAME(StepReport, step_report, received_bytes),
};
static const struct codec report_codec = CODEC(penstock__v1__step_report__descriptor, step_report, report_fields);

static const struct field norms_fields[] = {
	SAME(GradientNorms, gradient_norms, step),
	SAME(GradientNorms, gradient_norms, first_parameter),
	ARRAY(GradientNorms, gradient_norms, squares, squares, count),
};
static const struct codec norms_codec = CODEC(penstock__v1__gradient_norms__descriptor, gradient_norms, norms_fields);

static const struct field saved_parameter_fields[] = {
	SAME(SavedParameter, parameter_chunk, name),
	ARRAY(SavedParameter, parameter_chunk, shape, shape, rank),
	SAME(SavedParameter, parameter_chunk, offset_bytes),
};
static const struct codec saved_parameter_codec =
	CODEC(penstock__v1__saved_parameter__descriptor, parameter_chunk, saved_parameter_fields);

// Of a single number or text, which lies in the response itself.
static const struct field saved_fields[] = {
	{.kind = FIELD_32_BITS, .theirs = THEIRS(Saved, parameters)},
};
static const struct codec saved_codec = {.type = &penstock__v1__saved__descriptor, TABLE(saved_fields)};

static const struct field loaded_fields[] = {
	{.kind = FIELD_TEXT, .theirs = THEIRS(Loaded, name)},
};
static const struct codec loaded_codec = {.type = &penstock__v1__loaded__descriptor, TABLE(loaded_fields)};

static const struct field failed_fields[] = {
	SAME(Failed, failure, code),      SAME(Failed, failure, message),    SAME(Failed, failure, step),
	SAME(Failed, failure, lost_peer), SAME(Failed, failure, peer_stage), SAME(Failed, failure, peer_replica),
	SAME(Failed, failure, drained),
};
static const struct codec failed_codec = CODEC(penstock__v1__failed__descriptor, failure, failed_fields);

static const struct codec ready_codec = {.type = &penstock__v1__ready__descriptor};
static const struct codec closed_codec = {.type = &penstock__v1__closed__descriptor};

#define BODY(NAME_, member, codec_)                                                                                    \
	CASE(SessionResponse, wire_response, PENSTOCK__V1__SESSION_RESPONSE__BODY_##NAME_, member, member,             \
	     RESPONSE_##NAME_, codec_)
#define EMPTY(NAME_, member, codec_)                                                                                   \
	CASE(SessionResponse, wire_response, PENSTOCK__V1__SESSION_RESPONSE__BODY_##NAME_, member, kind,               \
	     RESPONSE_##NAME_, codec_)
static const struct field response_fields[] = {
	BODY(OPENED, opened, opened_codec),
	EMPTY(READY, ready, ready_codec),
	BODY(STEP_REPORT, step_report, report_codec),
	BODY(GRADIENT_NORMS, gradient_norms, norms_codec),
	BODY(SAVED_PARAMETER, saved_parameter, saved_parameter_codec),
	BODY(SAVED, saved, saved_codec),
	BODY(FAILED, failed, failed_codec),
	EMPTY(CLOSED, closed, closed_codec),
	BODY(HEARTBEAT, heartbeat, wire_heartbeat_codec),
	BODY(LOADED, loaded, loaded_codec),
	BODY(KERNEL_QUESTIONS, kernel_questions, wire_questions_codec),
	BODY(KERNEL_CANDIDATES, kernel_candidates, wire_candidates_codec),
	BODY(KERNEL_TIMES, kernel_times, wire_times_codec),
};
const struct codec wire_response_codec = {.type = &penstock__v1__session_response__descriptor,
					  .size = sizeof(struct wire_response),
					  TABLE(response_fields),
					  .their_case = THEIRS(SessionResponse, body_case),
					  .our_case = OURS(wire_response, kind)};

struct wire_response *wire_response_read(const struct rpc_incoming *incoming, struct error *error)
{
	return wire_read(&wire_response_codec, incoming, error);
}

void wire_response_free(struct wire_response *response)
{
	wire_free(response);
}

bool wire_response_send(struct rpc_stream *stream, const struct wire_response *response, struct buffer *payload,
			size_t size)
{
	return wire_send(&wire_response_codec, response, stream, payload, 0, size);
}
