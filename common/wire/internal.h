// The tables that several message families, and the tests, look at.
#pragma once

#include "common/wire/codec.h"

extern const struct codec wire_model_codec;                                                // model.c
extern const struct codec wire_stage_codec;                                                // stage.c
extern const struct codec wire_questions_codec, wire_candidates_codec, wire_answers_codec; // kernels.c
extern const struct codec wire_keys_codec, wire_times_codec;                               // kernels.c
extern const struct codec wire_heartbeat_codec;                                            // heartbeat.c
extern const struct codec wire_request_codec;                                              // request.c
extern const struct codec wire_response_codec;                                             // response.c
extern const struct codec wire_exchange_codec;                                             // exchange.c
extern const struct codec wire_describe_codec;                                             // describe.c
extern const struct codec wire_health_request_codec, wire_health_response_codec;           // health.c
extern const struct codec wire_reflection_codec;                                           // reflection.c

struct wire_reflection;
struct reflection_answer;
// reflection.c; in the arena. NULL: memory is out.
ProtobufCMessage *wire_reflection_write(const struct wire_reflection *request, const struct reflection_answer *answer,
					struct arena *arena);
