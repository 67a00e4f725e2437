// See request.h.
#include "common/wire/request.h"

#include "common/wire/internal.h"
#include "penstock/v1/stage_server.pb-c.h"

static const struct field open_fields[] = {
	SAME(Open, open_order, protocol_version),
	SAME(Open, open_order, job),
	{.kind = FIELD_TRIED,
	 PLACE(Open, open_order, plan, plan),
	 .our_error = OURS(open_order, plan_error),
	 .codec = &wire_stage_codec},
	SAME(Open, open_order, link_token),
	SAME(Open, open_order, connections),
	SAME(Open, open_order, chunk_bytes),
	SAME(Open, open_order, replica_token),
};
static const struct codec open_codec = CODEC(penstock__v1__open__descriptor, open_order, open_fields);

static const struct field connect_fields[] = {
	SAME(Connect, connect_order, next_address),
	SAME(Connect, connect_order, next_link_token),
	SAME(Connect, connect_order, next_replica_address),
	SAME(Connect, connect_order, next_replica_token),
	SAME(Connect, connect_order, group_id),
};
static const struct codec connect_codec = CODEC(penstock__v1__connect__descriptor, connect_order, connect_fields);

static const struct field load_fields[] = {
	SAME(LoadParameter, parameter_chunk, name),
	ARRAY(LoadParameter, parameter_chunk, shape, shape, rank),
	SAME(LoadParameter, parameter_chunk, offset_bytes),
};
static const struct codec load_codec = CODEC(penstock__v1__load_parameter__descriptor, parameter_chunk, load_fields);

static bool check_batch(const void *message, void *ours, struct error *error)
{
	int kind = (int)((const Penstock__V1__Batch *)message)->kind;
	return enum_write(&wire_batch_kinds, (int)((const struct batch *)ours)->kind) != 0 ||
	       error_set(error, ERROR_PROTOCOL, "unknown kind of batch %d: expected images or labels", kind);
}

static const struct field batch_fields[] = {
	SAME(Batch, batch, step),
	SAME(Batch, batch, micro_batch),
	ENUM(Batch, batch, kind, wire_batch_kinds),
};
static const struct codec batch_codec = {.type = &penstock__v1__batch__descriptor,
					 .size = sizeof(struct batch),
					 TABLE(batch_fields),
					 .check = check_batch};

static const struct field step_fields[] = {
	SAME(RunStep, step_order, step),  SAME(RunStep, step_order, learning_rate), SAME(RunStep, step_order, beta1),
	SAME(RunStep, step_order, beta2), SAME(RunStep, step_order, first_sample),
};
static const struct codec step_codec = CODEC(penstock__v1__run_step__descriptor, step_order, step_fields);

static const struct field scale_fields[] = {
	SAME(GradientScale, gradient_answer, step),          SAME(GradientScale, gradient_answer, scale),
	SAME(GradientScale, gradient_answer, skip),          SAME(GradientScale, gradient_answer, next_loss_scale),
	SAME(GradientScale, gradient_answer, learning_rate),
};
static const struct codec scale_codec = CODEC(penstock__v1__gradient_scale__descriptor, gradient_answer, scale_fields);

static const struct codec save_codec = {.type = &penstock__v1__save__descriptor};
static const struct codec close_codec = {.type = &penstock__v1__close__descriptor};

#define BODY(CASE_, member, kind_, codec_)                                                                             \
	CASE(SessionRequest, wire_request, PENSTOCK__V1__SESSION_REQUEST__BODY_##CASE_, member, member, kind_, codec_)
#define EMPTY(CASE_, member, kind_, codec_)                                                                            \
	CASE(SessionRequest, wire_request, PENSTOCK__V1__SESSION_REQUEST__BODY_##CASE_, member, kind, kind_, codec_)
static const struct field request_fields[] = {
	BODY(OPEN, open, REQUEST_OPEN, open_codec),
	BODY(CONNECT, connect, REQUEST_CONNECT, connect_codec),
	BODY(LOAD_PARAMETER, load_parameter, REQUEST_LOAD_PARAMETER, load_codec),
	BODY(BATCH, batch, REQUEST_BATCH, batch_codec),
	BODY(RUN_STEP, run_step, REQUEST_RUN_STEP, step_codec),
	BODY(GRADIENT_SCALE, gradient_scale, REQUEST_GRADIENT_SCALE, scale_codec),
	EMPTY(SAVE, save, REQUEST_SAVE, save_codec),
	EMPTY(CLOSE, close, REQUEST_CLOSE, close_codec),
	BODY(HEARTBEAT, heartbeat, REQUEST_HEARTBEAT, wire_heartbeat_codec),
	BODY(KERNEL_ANSWERS, kernel_answers, REQUEST_KERNEL_ANSWERS, wire_answers_codec),
	BODY(TIME_KERNELS, time_kernels, REQUEST_TIME_KERNELS, wire_keys_codec),
};
const struct codec wire_request_codec = {.type = &penstock__v1__session_request__descriptor,
					 .size = sizeof(struct wire_request),
					 TABLE(request_fields),
					 .their_case = THEIRS(SessionRequest, body_case),
					 .our_case = OURS(wire_request, kind)};

struct wire_request *wire_request_read(const struct rpc_incoming *incoming, struct error *error)
{
	return wire_read(&wire_request_codec, incoming, error);
}

void wire_request_free(struct wire_request *request)
{
	wire_free(request);
}

bool wire_request_send(struct rpc_stream *stream, const struct wire_request *request, struct buffer *payload,
		       size_t size)
{
	return wire_send(&wire_request_codec, request, stream, payload, 0, size);
}

const char *wire_request_name(enum request_kind kind)
{
	return codec_case_name(&wire_request_codec, (int)kind);
}
