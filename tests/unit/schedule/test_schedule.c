// What the generators make: sizes, slots, order, and the step time and bubble that theory promises.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/schedule/schedule.h"

static const char *const names[] = {"gpipe", "1f1b"};

static struct schedule *create(const char *name, uint32_t stages, uint32_t micro_batches)
{
	struct schedule *schedule = NULL;
	struct error error = {0};
	if (!schedule_create(name, stages, micro_batches, 0, &schedule, &error))
		fail_msg("%s p=%u m=%u: %s", name, stages, micro_batches, error.message);
	return schedule;
}

static void create_every_size_passes_the_check(void **state)
{
	for (int n = 0; n < 2; n++)
		for (uint32_t p = 1; p <= 16; p++)
			for (uint32_t m = 1; m <= 40; m++) {
				struct schedule *schedule = create(names[n], p, m);
				struct error error = {0};
				assert_true(schedule_check(schedule, &error));
				assert_int_equal(schedule->stages, p);
				assert_int_equal(schedule->micro_batches, m);
				assert_string_equal(schedule->name, names[n]);
				schedule_destroy(schedule);
			}
}

static void create_largest_size_passes_the_check(void **state)
{
	for (int n = 0; n < 2; n++)
		schedule_destroy(create(names[n], SCHEDULE_MAXIMUM_STAGES, SCHEDULE_MAXIMUM_MICRO_BATCHES));
}

static void create_slots_are_what_stays_alive(void **state)
{
	struct schedule *gpipe = create("gpipe", 4, 6), *one = create("1f1b", 4, 6), *few = create("1f1b", 4, 2);
	const uint32_t expected[4] = {4, 3, 2, 1}, expected_few[4] = {2, 2, 2, 1};
	for (uint32_t s = 0; s < 4; s++) {
		assert_int_equal(gpipe->stage[s].slots, 6);
		assert_int_equal(one->stage[s].slots, expected[s]);
		assert_int_equal(few->stage[s].slots, expected_few[s]);
	}
	schedule_destroy(gpipe);
	schedule_destroy(one);
	schedule_destroy(few);
}

// Slots are tight: counted on the list, as many micro-batches are between forward and backward at once.
static void create_slots_equal_the_peak_of_live_activations(void **state)
{
	for (int n = 0; n < 2; n++)
		for (uint32_t p = 1; p <= 6; p++)
			for (uint32_t m = 1; m <= 12; m++) {
				struct schedule *schedule = create(names[n], p, m);
				for (uint32_t s = 0; s < p; s++) {
					const struct stage_schedule *list = &schedule->stage[s];
					uint32_t alive = 0, peak = 0;
					for (uint32_t i = 0; i < list->count; i++) {
						alive += list->instructions[i].kind == INSTRUCTION_FORWARD;
						alive -= list->instructions[i].kind == INSTRUCTION_BACKWARD;
						peak = alive > peak ? alive : peak;
					}
					assert_int_equal(peak, list->slots);
				}
				schedule_destroy(schedule);
			}
}

static void create_1f1b_with_fewer_in_flight_passes_the_check_and_keeps_no_more(void **state)
{
	for (uint32_t p = 1; p <= 12; p++)
		for (uint32_t m = 1; m <= 20; m++)
			for (uint32_t most = 1; most <= p + 1; most++) {
				struct schedule *schedule = NULL, *free = create("1f1b", p, m);
				struct error error = {0};
				if (!schedule_create("1f1b", p, m, most, &schedule, &error))
					fail_msg("p=%u m=%u in flight %u: %s", p, m, most, error.message);
				assert_true(schedule_check(schedule, &error));
				for (uint32_t s = 0; s < p; s++) {
					uint32_t slots = free->stage[s].slots;
					assert_int_equal(schedule->stage[s].slots, slots < most ? slots : most);
					assert_true(schedule_receive_depth(&schedule->stage[s]) <= most);
				}
				schedule_destroy(schedule);
				schedule_destroy(free);
			}
}

static void create_gpipe_with_fewer_in_flight_is_refused_with_what_to_do(void **state)
{
	struct schedule *schedule = NULL;
	struct error error = {0};
	assert_false(schedule_create("gpipe", 2, 4, 3, &schedule, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, "--schedule 1f1b"));
	assert_true(schedule_create("gpipe", 2, 4, 4, &schedule, &error)); // as many as there are
	schedule_destroy(schedule);
}

struct step {
	enum instruction_kind kind;
	uint32_t micro_batch;
};

static void expect_list(const struct stage_schedule *list, const struct step *expected, uint32_t count)
{
	assert_int_equal(list->count, count);
	for (uint32_t i = 0; i < count; i++) {
		assert_string_equal(instruction_name(list->instructions[i].kind), instruction_name(expected[i].kind));
		assert_int_equal(list->instructions[i].micro_batch, expected[i].micro_batch);
	}
}

static void create_1f1b_of_two_stages_is_the_list_of_the_paper(void **state)
{
	struct schedule *schedule = create("1f1b", 2, 3);
	static const struct step first[] = {
		{INSTRUCTION_LOAD_INPUT, 0},       {INSTRUCTION_FORWARD, 0},         {INSTRUCTION_SEND_ACTIVATION, 0},
		{INSTRUCTION_LOAD_INPUT, 1},       {INSTRUCTION_FORWARD, 1},         {INSTRUCTION_SEND_ACTIVATION, 1},
		{INSTRUCTION_RECV_GRADIENT, 0},    {INSTRUCTION_BACKWARD, 0},        {INSTRUCTION_LOAD_INPUT, 2},
		{INSTRUCTION_FORWARD, 2},          {INSTRUCTION_SEND_ACTIVATION, 2}, {INSTRUCTION_RECV_GRADIENT, 1},
		{INSTRUCTION_BACKWARD, 1},         {INSTRUCTION_RECV_GRADIENT, 2},   {INSTRUCTION_BACKWARD, 2},
		{INSTRUCTION_REDUCE_GRADIENTS, 0}, {INSTRUCTION_OPTIMIZER_STEP, 0},
	};
	static const struct step last[] = {
		{INSTRUCTION_LOAD_INPUT, 0},       {INSTRUCTION_RECV_ACTIVATION, 0}, {INSTRUCTION_FORWARD, 0},
		{INSTRUCTION_BACKWARD, 0},         {INSTRUCTION_SEND_GRADIENT, 0},   {INSTRUCTION_LOAD_INPUT, 1},
		{INSTRUCTION_RECV_ACTIVATION, 1},  {INSTRUCTION_FORWARD, 1},         {INSTRUCTION_BACKWARD, 1},
		{INSTRUCTION_SEND_GRADIENT, 1},    {INSTRUCTION_LOAD_INPUT, 2},      {INSTRUCTION_RECV_ACTIVATION, 2},
		{INSTRUCTION_FORWARD, 2},          {INSTRUCTION_BACKWARD, 2},        {INSTRUCTION_SEND_GRADIENT, 2},
		{INSTRUCTION_REDUCE_GRADIENTS, 0}, {INSTRUCTION_OPTIMIZER_STEP, 0},
	};
	expect_list(&schedule->stage[0], first, sizeof(first) / sizeof(first[0]));
	expect_list(&schedule->stage[1], last, sizeof(last) / sizeof(last[0]));
	schedule_destroy(schedule);
}

static void create_gpipe_runs_all_forwards_first(void **state)
{
	struct schedule *schedule = create("gpipe", 1, 2);
	static const struct step only[] = {
		{INSTRUCTION_LOAD_INPUT, 0},       {INSTRUCTION_FORWARD, 0},        {INSTRUCTION_LOAD_INPUT, 1},
		{INSTRUCTION_FORWARD, 1},          {INSTRUCTION_BACKWARD, 0},       {INSTRUCTION_BACKWARD, 1},
		{INSTRUCTION_REDUCE_GRADIENTS, 0}, {INSTRUCTION_OPTIMIZER_STEP, 0},
	};
	expect_list(&schedule->stage[0], only, sizeof(only) / sizeof(only[0]));
	schedule_destroy(schedule);
}

// Times in units of one forward; a backward takes two; tensors take none. A step takes (m + p - 1) * 3 in
// both schedules.
static uint32_t step_time(const struct schedule *schedule)
{
	enum { P = 8, M = 32 };
	static uint32_t activation[P][M], gradient[P][M];
	uint32_t now[P] = {0}, next[P] = {0}, end = 0;
	memset(activation, 0xff, sizeof(activation));
	memset(gradient, 0xff, sizeof(gradient));
	for (bool moved = true; moved;) {
		moved = false;
		for (uint32_t s = 0; s < schedule->stages; s++)
			for (; next[s] < schedule->stage[s].count; next[s]++, moved = true) {
				struct instruction in = schedule->stage[s].instructions[next[s]];
				uint32_t b = in.micro_batch, from = 0;
				if (in.kind == INSTRUCTION_RECV_ACTIVATION)
					from = activation[s - 1][b];
				if (in.kind == INSTRUCTION_RECV_GRADIENT)
					from = gradient[s + 1][b];
				if (from == UINT32_MAX)
					break;
				now[s] = from > now[s] ? from : now[s];
				now[s] += in.kind == INSTRUCTION_FORWARD ? 1 : in.kind == INSTRUCTION_BACKWARD ? 2 : 0;
				if (in.kind == INSTRUCTION_SEND_ACTIVATION)
					activation[s][b] = now[s];
				if (in.kind == INSTRUCTION_SEND_GRADIENT)
					gradient[s][b] = now[s];
				end = now[s] > end ? now[s] : end;
			}
	}
	for (uint32_t s = 0; s < schedule->stages; s++)
		assert_int_equal(next[s], schedule->stage[s].count);
	return end;
}

static void create_step_time_is_the_ideal_of_equal_stages(void **state)
{
	for (int n = 0; n < 2; n++)
		for (uint32_t p = 1; p <= 8; p++)
			for (uint32_t m = p; m <= 32; m += 5) {
				struct schedule *schedule = create(names[n], p, m);
				assert_int_equal(step_time(schedule), 3 * (m + p - 1));
				schedule_destroy(schedule);
			}
}

static void create_bad_request_is_refused(void **state)
{
	struct schedule *schedule = NULL;
	struct error error = {0};
	assert_false(schedule_create("interleaved", 2, 2, 0, &schedule, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, "interleaved"));
	assert_non_null(strstr(error.message, schedule_names()));
	assert_false(schedule_create("gipe", 2, 2, 0, &schedule, &error));
	assert_non_null(strstr(error.message, "unknown schedule \"gipe\" (did you mean gpipe?)"));
	assert_string_equal(schedule_find("1F1B", &error), "1f1b");
	assert_false(schedule_create("1f1b", 0, 2, 0, &schedule, &error));
	assert_false(schedule_create("1f1b", SCHEDULE_MAXIMUM_STAGES + 1, 2, 0, &schedule, &error));
	assert_non_null(strstr(error.message, "from 1 to 64"));
	assert_false(schedule_create("1f1b", 2, 0, 0, &schedule, &error));
	assert_false(schedule_create("gpipe", 2, SCHEDULE_MAXIMUM_MICRO_BATCHES + 1, 0, &schedule, &error));
	assert_non_null(strstr(error.message, "4096"));
	assert_null(schedule);
	schedule_destroy(NULL);
}

static void receive_depth_is_the_slots_up_to_the_maximum(void **state)
{
	const uint32_t slots[] = {1, 3, 4, 5, SCHEDULE_MAXIMUM_MICRO_BATCHES}, depth[] = {1, 3, 4, 4, 4};
	for (int i = 0; i < 5; i++) {
		struct stage_schedule list = {.slots = slots[i]};
		assert_int_equal(schedule_receive_depth(&list), depth[i]);
	}
}

static void instruction_name_unknown_kind_is_named_unknown(void **state)
{
	assert_string_equal(instruction_name(INSTRUCTION_OPTIMIZER_STEP), "optimizer_step");
	assert_string_equal(instruction_name((enum instruction_kind)0), "unknown");
	assert_string_equal(instruction_name((enum instruction_kind)12), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(create_every_size_passes_the_check),
		cmocka_unit_test(create_largest_size_passes_the_check),
		cmocka_unit_test(create_1f1b_with_fewer_in_flight_passes_the_check_and_keeps_no_more),
		cmocka_unit_test(create_gpipe_with_fewer_in_flight_is_refused_with_what_to_do),
		cmocka_unit_test(create_slots_are_what_stays_alive),
		cmocka_unit_test(create_slots_equal_the_peak_of_live_activations),
		cmocka_unit_test(create_1f1b_of_two_stages_is_the_list_of_the_paper),
		cmocka_unit_test(create_gpipe_runs_all_forwards_first),
		cmocka_unit_test(create_step_time_is_the_ideal_of_equal_stages),
		cmocka_unit_test(create_bad_request_is_refused),
		cmocka_unit_test(receive_depth_is_the_slots_up_to_the_maximum),
		cmocka_unit_test(instruction_name_unknown_kind_is_named_unknown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
