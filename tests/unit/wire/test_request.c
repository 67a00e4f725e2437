// SessionRequest: what each of ours is on the wire, field by field, and back.
#include "tests/unit/cmocka_all.h"

#include <grpc/grpc.h>
#include <string.h>

#include "common/wire/request.h"
#include "tests/unit/wire/coverage.h"
#include "tests/unit/wire/samples.h"

static struct byte_span bytes_of(const char *text)
{
	return (struct byte_span){(const uint8_t *)text, strlen(text)};
}

static struct wire_request *check(const struct wire_request *sample, const char *expected)
{
	struct wire_request *read = round_trip(&wire_request_codec, sample, expected);
	assert_int_equal(read->kind, sample->kind);
	return read;
}

static void open_is_a_whole_plan(void **state)
{
	struct model model = sample_model();
	struct instruction instructions[2];
	struct stage_spec plan = sample_plan(&model, instructions);
	struct wire_request *read = check(
		&(struct wire_request){.kind = REQUEST_OPEN,
				       .open = {.protocol_version = 4,
						.job = "job-1",
						.plan = &plan,
						.link_token = bytes_of("0123456789abcdef"),
						.connections = 5,
						.chunk_bytes = 6,
						.replica_token = bytes_of("z")}},
		"{ open { protocol_version: 4 job: \"job-1\" plan " SAMPLE_PLAN_TEXT
		" link_token: 30313233343536373839616263646566 connections: 5 chunk_bytes: 6 replica_token: 7a } }");
	assert_null(read->open.plan_error);
	assert_memory_equal(read->open.plan->model, &model, sizeof(model));
	assert_memory_equal(&read->open.plan->optimizer, &plan.optimizer, sizeof(plan.optimizer));
	assert_memory_equal(read->open.plan->schedule.instructions, instructions, sizeof(instructions));
	assert_int_equal(read->open.plan->boundary_type, DATA_BFLOAT16);
	wire_request_free(read);
}

static void connect_has_both_neighbours(void **state)
{
	wire_request_free(check(&(struct wire_request){.kind = REQUEST_CONNECT,
						       .connect = {.next_address = "b:1",
								   .next_link_token = bytes_of("a"),
								   .next_replica_address = "c:2",
								   .next_replica_token = bytes_of("b"),
								   .group_id = bytes_of("c")}},
				"{ connect { next_address: \"b:1\" next_link_token: 61 next_replica_address: \"c:2\" "
				"next_replica_token: 62 group_id: 63 } }"));
	struct wire_request *read = check(&(struct wire_request){.kind = REQUEST_CONNECT}, "{ connect { } }");
	assert_string_equal(read->connect.next_address, "");
	assert_int_equal(read->connect.group_id.size, 0);
	wire_request_free(read);
}

static void data_stands_before_its_payload(void **state)
{
	static const uint32_t shape[] = {7, 8, 9};
	struct wire_request *read = check(
		&(struct wire_request){
			.kind = REQUEST_LOAD_PARAMETER,
			.load_parameter = {.name = "w", .shape = shape, .rank = 3, .offset_bytes = 4096}},
		"{ load_parameter { name: \"w\" shape: 7 shape: 8 shape: 9 offset_bytes: 4096 } }");
	assert_int_equal(read->load_parameter.rank, 3);
	assert_memory_equal(read->load_parameter.shape, shape, sizeof(shape));
	wire_request_free(read);
	read = check(
		&(struct wire_request){.kind = REQUEST_BATCH, .batch = {.step = 1, .micro_batch = 2, BATCH_LABELS}},
		"{ batch { step: 1 micro_batch: 2 kind: KIND_LABELS } }");
	assert_int_equal(read->batch.kind, BATCH_LABELS);
	wire_request_free(read);
	read = check(&(struct wire_request){.kind = REQUEST_BATCH, .batch = {.kind = BATCH_IMAGES}},
		     "{ batch { kind: KIND_IMAGES } }");
	wire_request_free(read);
}

static void steps_carry_their_numbers(void **state)
{
	struct wire_request *read = check(&(struct wire_request){.kind = REQUEST_RUN_STEP,
								 .run_step = {.step = 1,
									      .learning_rate = 0.5f,
									      .beta1 = 0.25f,
									      .beta2 = 0.125f,
									      .first_sample = 5}},
					  "{ run_step { step: 1 learning_rate: 0.5 beta1: 0.25 beta2: 0.125 "
					  "first_sample: 5 } }");
	assert_true(read->run_step.beta1 == 0.25f && read->run_step.beta2 == 0.125f);
	wire_request_free(read);
	read = check(&(struct wire_request){.kind = REQUEST_GRADIENT_SCALE,
					    .gradient_scale = {.step = 1,
							       .scale = 0.5f,
							       .skip = true,
							       .next_loss_scale = 2,
							       .learning_rate = 0.25f}},
		     "{ gradient_scale { step: 1 scale: 0.5 skip: true next_loss_scale: 2 learning_rate: 0.25 } }");
	assert_true(read->gradient_scale.skip && read->gradient_scale.scale == 0.5f);
	wire_request_free(read);
	wire_request_free(check(
		&(struct wire_request){.kind = REQUEST_HEARTBEAT, .heartbeat = {.instructions = 1, .device_ns = 2}},
		"{ heartbeat { instructions: 1 device_ns: 2 } }"));
}

static void empty_ones_are_told_apart(void **state)
{
	wire_request_free(check(&(struct wire_request){.kind = REQUEST_SAVE}, "{ save { } }"));
	wire_request_free(check(&(struct wire_request){.kind = REQUEST_CLOSE}, "{ close { } }"));
	wire_request_free(check(&(struct wire_request){.kind = REQUEST_UNKNOWN}, "{ }"));
}

static void kernels_are_lists(void **state)
{
	static const struct kernel_answer answers[] = {{"k1", "c1"}, {"k2", "c2"}};
	static const char *const keys[] = {"k3", "k4"};
	struct wire_request *read = check(
		&(struct wire_request){.kind = REQUEST_KERNEL_ANSWERS, .kernel_answers = {answers, 2}},
		"{ kernel_answers { answers { key: \"k1\" choice: \"c1\" } answers { key: \"k2\" choice: \"c2\" } } }");
	assert_int_equal(read->kernel_answers.count, 2);
	assert_string_equal(read->kernel_answers.answers[1].choice, "c2");
	wire_request_free(read);
	read = check(&(struct wire_request){.kind = REQUEST_TIME_KERNELS, .time_kernels = {keys, 2}},
		     "{ time_kernels { keys: \"k3\" keys: \"k4\" } }");
	assert_string_equal(read->time_kernels.keys[1], "k4");
	wire_request_free(read);
}

static void names_are_the_contracts(void **state)
{
	assert_string_equal(wire_request_name(REQUEST_OPEN), "open");
	assert_string_equal(wire_request_name(REQUEST_RUN_STEP), "run_step");
	assert_null(wire_request_name(REQUEST_UNKNOWN));
	for (enum request_kind kind = REQUEST_OPEN; kind < REQUEST_COUNT; kind++)
		assert_non_null(wire_request_name(kind));
}

static void samples_set_each_field(void **state)
{
	demand_all_fields(wire_request_codec.type);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_is_a_whole_plan),           cmocka_unit_test(connect_has_both_neighbours),
		cmocka_unit_test(data_stands_before_its_payload), cmocka_unit_test(steps_carry_their_numbers),
		cmocka_unit_test(empty_ones_are_told_apart),      cmocka_unit_test(kernels_are_lists),
		cmocka_unit_test(names_are_the_contracts),
		cmocka_unit_test(samples_set_each_field), // the last
	};
	grpc_init();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	grpc_shutdown();
	return failed;
}
