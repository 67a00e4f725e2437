// What the codec itself refuses, with the words that a coordinator shows; and what it leaves to others.
#include "tests/unit/cmocka_all.h"

#include <grpc/grpc.h>
#include <stdio.h>
#include <string.h>

#include "common/wire/exchange.h"
#include "common/wire/request.h"
#include "penstock/v1/stage_server.pb-c.h"
#include "tests/unit/wire/coverage.h"
#include "tests/unit/wire/samples.h"

// The sample's plan as a message, in the arena.
static Penstock__V1__StagePlan *plan_in(struct arena *arena)
{
	static struct model model;
	static struct instruction instructions[2];
	model = sample_model();
	struct stage_spec *plan = arena_allocate(arena, sizeof(*plan));
	*plan = sample_plan(&model, instructions);
	return (Penstock__V1__StagePlan *)codec_write(&wire_stage_codec, plan, arena);
}

static void no_model(Penstock__V1__StagePlan *plan)
{
	plan->model = NULL;
}
static void long_model_name(Penstock__V1__StagePlan *plan)
{
	plan->model->name = "a name that has no place in thirty-two characters";
}
static void long_layer_name(Penstock__V1__StagePlan *plan)
{
	plan->model->layers[1]->name = "12345678901234567890123456789012";
}
static void many_layers(Penstock__V1__StagePlan *plan)
{
	static Penstock__V1__Layer *layers[65];
	for (int i = 0; i < 65; i++)
		layers[i] = plan->model->layers[0];
	plan->model->layers = layers;
	plan->model->n_layers = 65;
}
static void no_optimizer(Penstock__V1__StagePlan *plan)
{
	plan->optimizer = NULL;
}
static void unknown_optimizer(Penstock__V1__StagePlan *plan)
{
	plan->optimizer->name = "Muon";
}
static void two_means(Penstock__V1__StagePlan *plan)
{
	plan->n_mean = 2;
}
static void four_deviations(Penstock__V1__StagePlan *plan)
{
	static float four[4] = {1, 1, 1, 1};
	plan->standard_deviation = four;
	plan->n_standard_deviation = 4;
}
static void bytes_as_type(Penstock__V1__StagePlan *plan)
{
	plan->compute_type = PENSTOCK__V1__DATA_TYPE__DATA_TYPE_UINT8;
}
static void unknown_type(Penstock__V1__StagePlan *plan)
{
	plan->boundary_type = (Penstock__V1__DataType)77;
}

static struct wire_request *read_plan(Penstock__V1__StagePlan *plan)
{
	struct error error = {0};
	Penstock__V1__Open open = PENSTOCK__V1__OPEN__INIT;
	Penstock__V1__SessionRequest request = PENSTOCK__V1__SESSION_REQUEST__INIT;
	request.body_case = PENSTOCK__V1__SESSION_REQUEST__BODY_OPEN;
	request.open = &open;
	open.plan = plan;
	open.protocol_version = 99; // told first, by whoever reads it
	struct wire_request *read = read_bytes(&wire_request_codec, &request.base, &error);
	if (read == NULL)
		fail_msg("%s", error.message);
	assert_int_equal(read->open.protocol_version, 99);
	return read;
}

static void open_plan_that_is_refused_leaves_the_reason(void **state)
{
	static const struct {
		void (*damage)(Penstock__V1__StagePlan *plan);
		enum error_code code;
		const char *why;
	} cases[] = {
		{no_model, ERROR_PROTOCOL, "plan of stage 3: the plan has no model"},
		{long_model_name, ERROR_USAGE,
		 "plan of stage 3: the model's name \"a name that has no place in thirty-two c...\" is longer than 31 "
		 "characters"},
		{long_layer_name, ERROR_USAGE,
		 "plan of stage 3: a layer's name \"12345678901234567890123456789012...\" is longer than 31 "
		 "characters"},
		{many_layers, ERROR_USAGE, "plan of stage 3: the model's number of layers is 65, must be from 1 to 64"},
		{no_optimizer, ERROR_PROTOCOL, "plan of stage 3: the plan has no optimizer"},
		{unknown_optimizer, ERROR_USAGE, "plan of stage 3: unknown optimizer \"Muon\""},
		{two_means, ERROR_PROTOCOL, "plan of stage 3: mean and standard_deviation need three channels each"},
		{four_deviations, ERROR_PROTOCOL,
		 "plan of stage 3: mean and standard_deviation need three channels each"},
		{bytes_as_type, ERROR_USAGE, "plan of stage 3: compute_type is 2, which is not a floating-point type"},
		{unknown_type, ERROR_USAGE, "plan of stage 3: boundary_type is 77, which is not a floating-point type"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct arena *arena = arena_create();
		Penstock__V1__StagePlan *plan = plan_in(arena);
		cases[i].damage(plan);
		struct wire_request *read = read_plan(plan);
		assert_null(read->open.plan);
		assert_non_null(read->open.plan_error);
		assert_int_equal(read->open.plan_error->code, cases[i].code);
		assert_string_equal(read->open.plan_error->message, cases[i].why);
		wire_request_free(read);
		arena_destroy(arena);
	}
}

static void open_plan_that_is_missing_is_no_error(void **state)
{
	struct wire_request *read = read_plan(NULL);
	assert_null(read->open.plan);
	assert_null(read->open.plan_error);
	wire_request_free(read);
}

static void open_types_that_are_left_out_have_defaults(void **state)
{
	struct arena *arena = arena_create();
	Penstock__V1__StagePlan *plan = plan_in(arena);
	plan->boundary_type = PENSTOCK__V1__DATA_TYPE__DATA_TYPE_UNSPECIFIED;
	struct wire_request *read = read_plan(plan);
	assert_int_equal(read->open.plan->boundary_type, DATA_FLOAT16); // the compute type
	wire_request_free(read);
	plan->compute_type = PENSTOCK__V1__DATA_TYPE__DATA_TYPE_UNSPECIFIED;
	read = read_plan(plan);
	assert_int_equal(read->open.plan->compute_type, DATA_FLOAT32);
	wire_request_free(read);
	arena_destroy(arena);
}

// The semantic checks name the number.
static void open_unknown_kinds_are_passed_on(void **state)
{
	struct arena *arena = arena_create();
	Penstock__V1__StagePlan *plan = plan_in(arena);
	plan->model->layers[0]->kind = (Penstock__V1__LayerKind)99;
	plan->instructions[0]->kind = (Penstock__V1__InstructionKind)98;
	struct wire_request *read = read_plan(plan);
	assert_int_equal(read->open.plan->model->layers[0].kind, 99);
	assert_int_equal(read->open.plan->schedule.instructions[0].kind, 98);
	wire_request_free(read);
	arena_destroy(arena);
}

static void batch_of_unknown_kind_is_refused_with_its_number(void **state)
{
	static const int kinds[] = {0, 3, 9, -5};
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		char why[100];
		struct error error = {0};
		Penstock__V1__Batch batch = PENSTOCK__V1__BATCH__INIT;
		Penstock__V1__SessionRequest request = PENSTOCK__V1__SESSION_REQUEST__INIT;
		request.body_case = PENSTOCK__V1__SESSION_REQUEST__BODY_BATCH;
		request.batch = &batch;
		batch.kind = (Penstock__V1__Batch__Kind)kinds[i];
		assert_null(read_bytes(&wire_request_codec, &request.base, &error));
		assert_int_equal(error.code, ERROR_PROTOCOL);
		snprintf(why, sizeof(why), "unknown kind of batch %d: expected images or labels", kinds[i]);
		assert_string_equal(error.message, why);
	}
}

static void chunk_of_unknown_kind_and_type_is_left_to_the_mailbox(void **state)
{
	struct error error = {0};
	Penstock__V1__TensorChunk chunk = PENSTOCK__V1__TENSOR_CHUNK__INIT;
	Penstock__V1__ExchangeMessage message = PENSTOCK__V1__EXCHANGE_MESSAGE__INIT;
	message.body_case = PENSTOCK__V1__EXCHANGE_MESSAGE__BODY_CHUNK;
	message.chunk = &chunk;
	chunk.kind = (Penstock__V1__TensorKind)42;
	chunk.dtype = (Penstock__V1__DataType)43;
	struct wire_exchange *read = read_bytes(&wire_exchange_codec, &message.base, &error);
	assert_int_equal(read->chunk.kind, 42);
	assert_int_equal(read->chunk.dtype, 43);
	wire_exchange_free(read);
}

// Bytes of another type are refused by protobuf; a field that is not known is passed over.
static void other_messages_are_refused_or_unknown(void **state)
{
	struct error error = {0};
	Penstock__V1__DescribeResponse other = PENSTOCK__V1__DESCRIBE_RESPONSE__INIT;
	other.version = "not a message of field 1";
	assert_null(read_bytes(&wire_exchange_codec, &other.base, &error));
	assert_int_equal(error.code, ERROR_PROTOCOL);
	assert_non_null(strstr(error.message, "not a penstock.v1.ExchangeMessage"));
	Penstock__V1__SessionRequest later = PENSTOCK__V1__SESSION_REQUEST__INIT;
	Penstock__V1__KernelAnswers answers = PENSTOCK__V1__KERNEL_ANSWERS__INIT;
	later.body_case =
		PENSTOCK__V1__SESSION_REQUEST__BODY_KERNEL_ANSWERS; // field 10, which an exchange does not have
	later.kernel_answers = &answers;
	struct wire_exchange *read = read_bytes(&wire_exchange_codec, &later.base, &error);
	assert_int_equal(read->kind, EXCHANGE_UNKNOWN);
	wire_exchange_free(read);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_plan_that_is_refused_leaves_the_reason),
		cmocka_unit_test(open_plan_that_is_missing_is_no_error),
		cmocka_unit_test(open_types_that_are_left_out_have_defaults),
		cmocka_unit_test(open_unknown_kinds_are_passed_on),
		cmocka_unit_test(batch_of_unknown_kind_is_refused_with_its_number),
		cmocka_unit_test(chunk_of_unknown_kind_and_type_is_left_to_the_mailbox),
		cmocka_unit_test(other_messages_are_refused_or_unknown),
	};
	grpc_init();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	grpc_shutdown();
	return failed;
}
