// SessionResponse: what each of ours is on the wire, field by field, and back.
#include "tests/unit/cmocka_all.h"

#include <grpc/grpc.h>
#include <string.h>

#include "common/wire/response.h"
#include "tests/unit/wire/coverage.h"

static struct wire_response *check(const struct wire_response *sample, const char *expected)
{
	struct wire_response *read = round_trip(&wire_response_codec, sample, expected);
	assert_int_equal(read->kind, sample->kind);
	return read;
}

static void opened_says_what_is_reserved(void **state)
{
	static const struct stage_memory memory = {1, 2, 3, 4, 5, 6};
	struct wire_response *read =
		check(&(struct wire_response){.kind = RESPONSE_OPENED,
					      .opened = {.memory = &memory,
							 .parameters = 7,
							 .version = "1.2",
							 .group_id = {(const uint8_t *)"id", 2}}},
		      "{ opened { memory { parameter_bytes: 1 gradient_bytes: 2 optimizer_bytes: 3 "
		      "stash_bytes: 4 workspace_bytes: 5 exchange_bytes: 6 } parameters: 7 version: "
		      "\"1.2\" group_id: 6964 } }");
	assert_memory_equal(read->opened.memory, &memory, sizeof(memory));
	wire_response_free(read);
	read = check(&(struct wire_response){.kind = RESPONSE_OPENED}, "{ opened { } }");
	assert_null(read->opened.memory);
	assert_string_equal(read->opened.version, "");
	wire_response_free(read);
}

static void step_report_has_each_phase(void **state)
{
	static const struct step_report report = {
		.step = 1,
		.loss = 0.5,
		.correct = 2,
		.step_ns = 3,
		.phase_ns = {[PHASE_FORWARD] = 10,
			     [PHASE_BACKWARD] = 11,
			     [PHASE_OPTIMIZER] = 12,
			     [PHASE_COPY] = 13,
			     [PHASE_WAIT_PREVIOUS] = 14,
			     [PHASE_WAIT_NEXT] = 15,
			     [PHASE_WAIT_REPLICAS] = 16,
			     [PHASE_WAIT_COORDINATOR] = 17},
		.sent_bytes = 4,
		.received_bytes = 5,
	};
	struct wire_response *read =
		check(&(struct wire_response){.kind = RESPONSE_STEP_REPORT, .step_report = report},
		      "{ step_report { step: 1 loss: 0.5 correct: 2 step_ns: 3 forward_ns: 10 backward_ns: 11 "
		      "optimizer_ns: 12 copy_ns: 13 wait_previous_ns: 14 wait_next_ns: 15 wait_coordinator_ns: 17 "
		      "sent_bytes: 4 received_bytes: 5 wait_replicas_ns: 16 } }");
	assert_memory_equal(&read->step_report, &report, sizeof(report));
	wire_response_free(read);
}

static void gradient_norms_are_doubles(void **state)
{
	static const double squares[] = {0.5, 1e300};
	struct wire_response *read = check(
		&(struct wire_response){
			.kind = RESPONSE_GRADIENT_NORMS,
			.gradient_norms = {.step = 1, .first_parameter = 2, .squares = squares, .count = 2}},
		"{ gradient_norms { step: 1 first_parameter: 2 squares: 0.5 squares: 1e+300 } }");
	assert_int_equal(read->gradient_norms.count, 2);
	assert_memory_equal(read->gradient_norms.squares, squares, sizeof(squares));
	wire_response_free(read);
}

static void parameters_are_named(void **state)
{
	static const uint32_t shape[] = {7, 8};
	struct wire_response *read =
		check(&(struct wire_response){.kind = RESPONSE_SAVED_PARAMETER, .saved_parameter = {"w", shape, 2, 9}},
		      "{ saved_parameter { name: \"w\" shape: 7 shape: 8 offset_bytes: 9 } }");
	assert_string_equal(read->saved_parameter.name, "w");
	wire_response_free(read);
	read = check(&(struct wire_response){.kind = RESPONSE_SAVED, .saved = {3}}, "{ saved { parameters: 3 } }");
	assert_int_equal(read->saved.parameters, 3);
	wire_response_free(read);
	read = check(&(struct wire_response){.kind = RESPONSE_LOADED, .loaded = {"b"}}, "{ loaded { name: \"b\" } }");
	assert_string_equal(read->loaded.name, "b");
	wire_response_free(read);
}

static void failed_names_the_lost_peer(void **state)
{
	struct wire_response *read = check(&(struct wire_response){.kind = RESPONSE_FAILED,
								   .failed = {.code = 1,
									      .message = "why",
									      .step = 2,
									      .lost_peer = true,
									      .peer_stage = 3,
									      .peer_replica = 4,
									      .drained = true}},
					   "{ failed { code: 1 message: \"why\" step: 2 lost_peer: true peer_stage: 3 "
					   "peer_replica: 4 drained: true } }");
	assert_true(read->failed.lost_peer && read->failed.drained && read->failed.peer_replica == 4);
	wire_response_free(read);
}

static void short_ones_are_told_apart(void **state)
{
	wire_response_free(check(&(struct wire_response){.kind = RESPONSE_READY}, "{ ready { } }"));
	wire_response_free(check(&(struct wire_response){.kind = RESPONSE_CLOSED}, "{ closed { } }"));
	wire_response_free(check(&(struct wire_response){.kind = RESPONSE_UNKNOWN}, "{ }"));
	wire_response_free(check(
		&(struct wire_response){.kind = RESPONSE_HEARTBEAT, .heartbeat = {.instructions = 1, .device_ns = 2}},
		"{ heartbeat { instructions: 1 device_ns: 2 } }"));
}

static void kernels_have_candidates_and_times(void **state)
{
	static const char *const candidates[] = {"a", "b"};
	static const uint64_t ns[] = {5, UINT64_MAX};
	static const struct kernel_question asked[] = {{.layer = 3, .key = "k"}, {.layer = 4, .key = "l"}};
	static const struct kernel_question open[] = {{4, "l", candidates, 2}};
	struct wire_response *read =
		check(&(struct wire_response){.kind = RESPONSE_KERNEL_QUESTIONS, .kernel_questions = {"cpu", asked, 2}},
		      "{ kernel_questions { machine: \"cpu\" questions { layer: 3 key: \"k\" } "
		      "questions { layer: 4 key: \"l\" } } }");
	assert_int_equal(read->kernel_questions.questions[1].layer, 4);
	assert_int_equal(read->kernel_questions.questions[1].candidate_count, 0);
	wire_response_free(read);
	read = check(&(struct wire_response){.kind = RESPONSE_KERNEL_CANDIDATES,
					     .kernel_candidates = {.questions = open, .count = 1}},
		     "{ kernel_candidates { questions { layer: 4 key: \"l\" candidates: \"a\" candidates: \"b\" } } }");
	assert_string_equal(read->kernel_candidates.questions[0].candidates[1], "b");
	wire_response_free(read);
	read = check(&(struct wire_response){.kind = RESPONSE_KERNEL_TIMES, .kernel_times = {"l", ns, 2}},
		     "{ kernel_times { key: \"l\" ns: 5 ns: 18446744073709551615 } }");
	assert_true(read->kernel_times.ns[1] == UINT64_MAX);
	wire_response_free(read);
}

// Messages quote the number of an answer that nobody expected.
static void kinds_are_numbered_as_in_the_contract(void **state)
{
	for (size_t i = 0; i < wire_response_codec.count; i++)
		assert_int_equal(wire_response_codec.fields[i].our_case, wire_response_codec.fields[i].their_case);
	assert_int_equal(wire_response_codec.count, RESPONSE_COUNT - 1);
}

static void samples_set_each_field(void **state)
{
	demand_all_fields(wire_response_codec.type);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opened_says_what_is_reserved),
		cmocka_unit_test(step_report_has_each_phase),
		cmocka_unit_test(gradient_norms_are_doubles),
		cmocka_unit_test(parameters_are_named),
		cmocka_unit_test(failed_names_the_lost_peer),
		cmocka_unit_test(short_ones_are_told_apart),
		cmocka_unit_test(kernels_have_candidates_and_times),
		cmocka_unit_test(kinds_are_numbered_as_in_the_contract),
		cmocka_unit_test(samples_set_each_field), // the last
	};
	grpc_init();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	grpc_shutdown();
	return failed;
}
