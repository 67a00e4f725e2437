// What a daemon sends over a Session (penstock.v1.SessionResponse). Any thread.
#pragma once

#include "common/job/failure.h"
#include "common/job/kernels.h"
#include "common/job/parameter.h"
#include "common/job/session.h"
#include "common/job/step.h"
#include "common/rpc/rpc.h"

enum response_kind {      // numbered as in the contract, for messages that quote the number
	RESPONSE_UNKNOWN, // of a later protocol, or empty
	RESPONSE_OPENED,
	RESPONSE_READY, // links to all neighbours stand, and the replicas' group is joined
	RESPONSE_STEP_REPORT,
	RESPONSE_GRADIENT_NORMS,
	RESPONSE_SAVED_PARAMETER, // its values are the payload
	RESPONSE_SAVED,
	RESPONSE_FAILED,
	RESPONSE_CLOSED,
	RESPONSE_HEARTBEAT,
	RESPONSE_LOADED,
	RESPONSE_KERNEL_QUESTIONS,
	RESPONSE_KERNEL_CANDIDATES,
	RESPONSE_KERNEL_TIMES,
	RESPONSE_COUNT,
};

struct wire_response {
	struct arena *arena; // what was read lies in it; NULL in one that is sent
	enum response_kind kind;
	union {
		struct opened_report opened;
		struct step_report step_report;
		struct gradient_norms gradient_norms;
		struct parameter_chunk saved_parameter;
		struct {
			uint32_t parameters; // tensors sent
		} saved;
		struct failure failed;
		struct heartbeat_report heartbeat;
		struct {
			const char *name;
		} loaded; // the stage has this parameter now
		struct kernel_questions kernel_questions;
		struct kernel_questions kernel_candidates; // what is open, without the machine
		struct kernel_times kernel_times;
	};
};

// Returns owned, all that it points to with it; NULL with ERROR_PROTOCOL when the bytes are no such message.
struct wire_response *wire_response_read(const struct rpc_incoming *incoming, struct error *error);
void wire_response_free(struct wire_response *response); // takes NULL
// As rpc_stream_send; the response is borrowed until it returns.
bool wire_response_send(struct rpc_stream *stream, const struct wire_response *response, struct buffer *payload,
			size_t size);
