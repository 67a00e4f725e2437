// What a coordinator sends over a Session (penstock.v1.SessionRequest). Any thread.
#pragma once

#include "common/job/kernels.h"
#include "common/job/parameter.h"
#include "common/job/session.h"
#include "common/job/step.h"
#include "common/rpc/rpc.h"

enum request_kind {
	REQUEST_UNKNOWN, // of a later protocol, or empty
	REQUEST_OPEN,
	REQUEST_CONNECT,
	REQUEST_LOAD_PARAMETER, // its values are the payload
	REQUEST_BATCH,          // its images or labels are the payload
	REQUEST_RUN_STEP,
	REQUEST_GRADIENT_SCALE,
	REQUEST_SAVE,  // sends every parameter of the stage back, then `saved`
	REQUEST_CLOSE, // finish what is queued, answer `closed`, free everything
	REQUEST_HEARTBEAT,
	REQUEST_KERNEL_ANSWERS,
	REQUEST_TIME_KERNELS,
	REQUEST_COUNT,
};

struct wire_request {
	struct arena *arena; // what was read lies in it; NULL in one that is sent
	enum request_kind kind;
	union {
		struct open_order open;
		struct connect_order connect;
		struct parameter_chunk load_parameter;
		struct batch batch;
		struct step_order run_step;
		struct gradient_answer gradient_scale;
		struct heartbeat_report heartbeat;
		struct kernel_answers kernel_answers;
		struct kernel_keys time_kernels;
	};
};

// Returns owned, all that it points to with it; NULL with ERROR_PROTOCOL when the bytes are no such message. What is wrong with a plan
// is left in open.plan_error.
struct wire_request *wire_request_read(const struct rpc_incoming *incoming, struct error *error);
void wire_request_free(struct wire_request *request); // takes NULL
// As rpc_stream_send; the request is borrowed until it returns.
bool wire_request_send(struct rpc_stream *stream, const struct wire_request *request, struct buffer *payload,
		       size_t size);
const char *wire_request_name(enum request_kind kind); // as in the contract: "run_step"; NULL: unknown
