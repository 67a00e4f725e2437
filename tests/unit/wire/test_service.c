// Describe, health and reflection: what ours are on the wire, field by field, and back.
#include "tests/unit/cmocka_all.h"

#include <grpc/grpc.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/describe.h"
#include "common/wire/health.h"
#include "common/wire/reflection.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "tests/unit/wire/coverage.h"
#include "tests/unit/wire/text.h"

static void describe_lists_devices_and_stages(void **state)
{
	static const struct node_device devices[] = {
		{.name = "cpu", .threads = 1, .memory_limit_bytes = 2, .memory_used_bytes = 3, .group = "nccl"}};
	static const struct link_traffic previous = {4, 5}, next = {6, 7}, before = {8, 9}, after = {10, 11};
	static const struct stage_counters counters = {.counted_ns = 12,
						       .steps = 13,
						       .samples = 14,
						       .phase_ns = {[PHASE_FORWARD] = 20,
								    [PHASE_BACKWARD] = 21,
								    [PHASE_OPTIMIZER] = 22,
								    [PHASE_COPY] = 23,
								    [PHASE_WAIT_PREVIOUS] = 24,
								    [PHASE_WAIT_NEXT] = 25,
								    [PHASE_WAIT_REPLICAS] = 26,
								    [PHASE_WAIT_COORDINATOR] = 27},
						       .previous = &previous,
						       .next = &next,
						       .previous_replica = &before,
						       .next_replica = &after};
	static const struct running_stage stages[] = {{.job = "j",
						       .model = "m",
						       .pipeline_stage = 30,
						       .replica = 31,
						       .device_index = 32,
						       .step = 33,
						       .memory_bytes = 34,
						       .began_ns = 35,
						       .counters = &counters},
						      {.job = "opening"}};
	struct wire_node *read = round_trip(
		&wire_describe_codec,
		&(struct wire_node){.node = {.version = "1",
					     .protocol_version = 40,
					     .devices = devices,
					     .device_count = 1,
					     .running = stages,
					     .running_count = 2,
					     .maximum_sessions = 41,
					     .uptime_seconds = 42,
					     .clock_ns = 43}},
		"{ version: \"1\" protocol_version: 40 devices { name: \"cpu\" threads: 1 memory_limit_bytes: 2 "
		"memory_used_bytes: 3 group: \"nccl\" } running { job: \"j\" pipeline_stage: 30 replica: 31 step: 33 "
		"memory_bytes: 34 model: \"m\" device_index: 32 began_ns: 35 counters { counted_ns: 12 steps: 13 "
		"samples: 14 forward_ns: 20 backward_ns: 21 optimizer_ns: 22 copy_ns: 23 wait_previous_ns: 24 "
		"wait_next_ns: 25 wait_replicas_ns: 26 wait_coordinator_ns: 27 previous { sent_bytes: 4 "
		"received_bytes: "
		"5 } next { sent_bytes: 6 received_bytes: 7 } previous_replica { sent_bytes: 8 received_bytes: 9 } "
		"next_replica { sent_bytes: 10 received_bytes: 11 } } } running { job: \"opening\" } maximum_sessions: "
		"41 uptime_seconds: 42 clock_ns: 43 }");
	assert_int_equal(read->node.running_count, 2);
	assert_null(read->node.running[1].counters);
	assert_string_equal(read->node.running[1].model, "");
	assert_memory_equal(read->node.running[0].counters->phase_ns, counters.phase_ns, sizeof(counters.phase_ns));
	assert_int_equal(read->node.running[0].counters->next->received_bytes, 7);
	wire_node_free(read);
	demand_all_fields(wire_describe_codec.type);
}

static void health_has_service_and_status(void **state)
{
	struct wire_health_request *request = round_trip(
		&wire_health_request_codec, &(struct wire_health_request){.service = "s"}, "{ service: \"s\" }");
	assert_string_equal(request->service, "s");
	wire_health_request_free(request);
	wire_free(round_trip(&wire_health_response_codec, &(struct wire_health_response){.status = HEALTH_NOT_SERVING},
			     "{ status: NOT_SERVING }"));
	demand_all_fields(wire_health_request_codec.type);
	demand_all_fields(wire_health_response_codec.type);
}

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;

static struct wire_reflection *ask(int which, char *text)
{
	Request message = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
	Grpc__Reflection__V1__ExtensionRequest extension = GRPC__REFLECTION__V1__EXTENSION_REQUEST__INIT;
	message.host = "h";
	message.message_request_case = which;
	if (which == GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION)
		message.file_containing_extension = &extension;
	else
		message.file_by_filename = text; // of the union
	struct error error;
	struct wire_reflection *request = read_bytes(&wire_reflection_codec, &message.base, &error);
	assert_non_null(request);
	return request;
}

static void reflection_requests_are_told_apart(void **state)
{
	static const struct {
		int which;
		enum reflection_kind kind;
		const char *text;
	} cases[] = {{3, REFLECTION_FILE_BY_NAME, "t"},
		     {4, REFLECTION_FILE_CONTAINING_SYMBOL, "t"},
		     {5, REFLECTION_FILE_CONTAINING_EXTENSION, ""},
		     {6, REFLECTION_EXTENSION_NUMBERS, "t"},
		     {7, REFLECTION_LIST_SERVICES, ""},
		     {0, REFLECTION_UNKNOWN, ""}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wire_reflection *request = ask(cases[i].which, "t");
		assert_int_equal(request->kind, cases[i].kind);
		assert_string_equal(request->text, cases[i].text);
		wire_reflection_free(request);
	}
}

static void answer(const struct reflection_answer *answer, const char *expected)
{
	uint8_t first[64];
	struct arena arena;
	arena_init(&arena, first, 0);
	struct wire_reflection *request = ask(4, "s");
	char *text = message_text(wire_reflection_write(request, answer, &arena));
	assert_string_equal(text, expected);
	free(text);
	wire_reflection_free(request);
	arena_fini(&arena);
}

#define QUOTED "{ valid_host: \"h\" original_request { host: \"h\" file_containing_symbol: \"s\" } "

static void reflection_answers_quote_the_request(void **state)
{
	static const struct descriptor_file file = {.name = "f", .bytes = (const uint8_t *)"ab", .size = 2};
	static const char *const services[] = {"x", "y"};
	answer(&(struct reflection_answer){.file = &file},
	       QUOTED "file_descriptor_response { file_descriptor_proto: 6162 } }");
	answer(&(struct reflection_answer){.services = services, .service_count = 2},
	       QUOTED "list_services_response { service { name: \"x\" } service { name: \"y\" } } }");
	answer(&(struct reflection_answer){.type_without_extensions = "t"},
	       QUOTED "all_extension_numbers_response { base_type_name: \"t\" } }");
	answer(&(struct reflection_answer){.status = RPC_NOT_FOUND, .error = "no"},
	       QUOTED "error_response { error_code: 5 error_message: \"no\" } }");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(describe_lists_devices_and_stages),
		cmocka_unit_test(health_has_service_and_status),
		cmocka_unit_test(reflection_requests_are_told_apart),
		cmocka_unit_test(reflection_answers_quote_the_request),
	};
	grpc_init();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	grpc_shutdown();
	return failed;
}
