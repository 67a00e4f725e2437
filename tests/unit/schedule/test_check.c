// The checker: what it refuses, and that it names the place. Each case breaks a sound schedule in one way.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/base/random.h"
#include "common/schedule/schedule.h"

static struct schedule *create(const char *name, uint32_t stages, uint32_t micro_batches)
{
	struct schedule *schedule = NULL;
	struct error error = {0};
	assert_true(schedule_create(name, stages, micro_batches, 0, &schedule, &error));
	return schedule;
}

static uint32_t find(const struct stage_schedule *list, enum instruction_kind kind, uint32_t micro_batch)
{
	for (uint32_t i = 0; i < list->count; i++)
		if (list->instructions[i].kind == kind && list->instructions[i].micro_batch == micro_batch)
			return i;
	fail_msg("no %s of micro-batch %u", instruction_name(kind), micro_batch);
	return 0;
}

static void drop(struct stage_schedule *list, uint32_t index)
{
	list->count--;
	memmove(&list->instructions[index], &list->instructions[index + 1],
		(list->count - index) * sizeof(list->instructions[0]));
}

static void insert(struct stage_schedule *list, uint32_t index, enum instruction_kind kind, uint32_t micro_batch)
{
	list->instructions = realloc(list->instructions, (list->count + 1) * sizeof(list->instructions[0]));
	assert_non_null(list->instructions);
	memmove(&list->instructions[index + 1], &list->instructions[index],
		(list->count - index) * sizeof(list->instructions[0]));
	list->instructions[index] = (struct instruction){kind, micro_batch};
	list->count++;
}

// Moves the instruction at `from` so that it stands at `to`.
static void move(struct stage_schedule *list, uint32_t from, uint32_t to)
{
	struct instruction moved = list->instructions[from];
	drop(list, from);
	insert(list, to, moved.kind, moved.micro_batch);
}

static void expect_sound(bool sound, const struct error *error)
{
	if (!sound)
		fail_msg("%s", error->message);
}

// Takes the schedule; the message must hold both texts.
static void expect_refused(struct schedule *schedule, const char *where, const char *why)
{
	struct error error = {0};
	assert_false(schedule_check(schedule, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	if (strstr(error.message, where) == NULL || strstr(error.message, why) == NULL)
		fail_msg("\"%s\" names not both \"%s\" and \"%s\"", error.message, where, why);
	schedule_destroy(schedule);
}

static void check_dropped_activation_send_is_refused(void **state)
{
	struct schedule *s = create("gpipe", 3, 4);
	drop(&s->stage[1], find(&s->stage[1], INSTRUCTION_SEND_ACTIVATION, 2));
	expect_refused(s, "recv_gradient of micro-batch 2", "no send_activation");
}

static void check_dropped_gradient_send_is_refused(void **state)
{
	struct schedule *s = create("1f1b", 3, 4);
	drop(&s->stage[2], find(&s->stage[2], INSTRUCTION_SEND_GRADIENT, 3));
	expect_refused(s, "stage 2", "no send_gradient of micro-batch 3");
}

static void check_dropped_receives_are_refused(void **state)
{
	struct schedule *s = create("1f1b", 2, 4);
	drop(&s->stage[1], find(&s->stage[1], INSTRUCTION_RECV_ACTIVATION, 1));
	expect_refused(s, "stage 1", "no recv_activation");
	s = create("1f1b", 2, 4);
	drop(&s->stage[0], find(&s->stage[0], INSTRUCTION_RECV_GRADIENT, 1));
	expect_refused(s, "stage 0", "no recv_gradient");
}

static void check_dropped_input_is_refused(void **state)
{
	struct schedule *s = create("gpipe", 2, 2);
	drop(&s->stage[0], find(&s->stage[0], INSTRUCTION_LOAD_INPUT, 1));
	expect_refused(s, "stage 0", "no load_input");
	s = create("gpipe", 2, 2); // the last stage's labels
	drop(&s->stage[1], find(&s->stage[1], INSTRUCTION_LOAD_INPUT, 0));
	expect_refused(s, "stage 1", "no load_input");
}

static void check_input_of_a_middle_stage_is_refused(void **state)
{
	struct schedule *s = create("gpipe", 3, 2);
	insert(&s->stage[1], 0, INSTRUCTION_LOAD_INPUT, 0);
	expect_refused(s, "stage 1, instruction 0, load_input", "only the first and the last");
}

static void check_inputs_out_of_order_are_refused(void **state)
{
	struct schedule *s = create("gpipe", 1, 4);
	struct instruction *in = s->stage[0].instructions;
	for (uint32_t i = 0; i < 2; i++) { // the whole forward of 0 and of 1
		in[i].micro_batch = 1;
		in[2 + i].micro_batch = 0;
	}
	expect_refused(s, "load_input of micro-batch 1", "0 is next");
}

static void check_repeated_micro_batch_is_refused(void **state)
{
	struct schedule *s = create("gpipe", 2, 4);
	s->stage[1].instructions[find(&s->stage[1], INSTRUCTION_FORWARD, 1)].micro_batch = 0;
	expect_refused(s, "forward of micro-batch 0", "duplicate instruction");
	s = create("gpipe", 2, 4);
	s->stage[1].instructions[find(&s->stage[1], INSTRUCTION_BACKWARD, 1)].micro_batch = 0;
	expect_refused(s, "backward of micro-batch 0", "");
}

static void check_micro_batch_beyond_the_step_is_refused(void **state)
{
	struct schedule *s = create("1f1b", 2, 4);
	s->stage[0].instructions[find(&s->stage[0], INSTRUCTION_FORWARD, 3)].micro_batch = 4;
	expect_refused(s, "forward of micro-batch 4", "4 micro-batches");
	s = create("1f1b", 2, 4);
	s->stage[0].instructions[0].micro_batch = UINT32_MAX;
	expect_refused(s, "load_input", "4 micro-batches");
}

static void check_backward_before_forward_is_refused(void **state)
{
	struct schedule *s = create("1f1b", 1, 3);
	move(&s->stage[0], find(&s->stage[0], INSTRUCTION_BACKWARD, 1), 0);
	expect_refused(s, "stage 0, instruction 0, backward of micro-batch 1", "no forward");
}

static void check_backwards_out_of_order_are_refused(void **state)
{
	struct schedule *s = create("gpipe", 1, 4);
	uint32_t i = find(&s->stage[0], INSTRUCTION_BACKWARD, 1);
	move(&s->stage[0], i, i + 1);
	expect_refused(s, "backward of micro-batch 2", "1 is next");
}

static void check_too_few_slots_are_refused(void **state)
{
	struct schedule *s = create("gpipe", 2, 4);
	s->stage[0].slots = 3;
	expect_refused(s, "load_input of micro-batch 3", "slot 0 still holds micro-batch 0");
	s = create("1f1b", 4, 8);
	s->stage[1].slots = 2;
	expect_refused(s, "stage 1", "slot 0 still holds micro-batch 0");
	s = create("1f1b", 4, 8);
	s->stage[3].slots = 0;
	expect_refused(s, "stage 3", "0 slots");
	s = create("1f1b", 4, 8);
	s->stage[3].slots = 9;
	expect_refused(s, "stage 3", "9 slots");
}

static void check_swapped_order_on_a_boundary_is_refused(void **state)
{
	// Each stage's own list stays sound; only the two ends of the boundary disagree.
	struct schedule *s = create("gpipe", 2, 4);
	uint32_t one = find(&s->stage[1], INSTRUCTION_RECV_ACTIVATION, 1),
		 two = find(&s->stage[1], INSTRUCTION_RECV_ACTIVATION, 2);
	uint32_t load = find(&s->stage[1], INSTRUCTION_LOAD_INPUT, 2);
	move(&s->stage[1], load, one);
	move(&s->stage[1], two, one + 1);
	struct error error = {0};
	expect_sound(schedule_check_stage(&s->stage[1], 1, 2, 4, &error), &error);
	expect_refused(s, "stage 1, instruction", "sends micro-batch 1 next");
}

static void check_deadlock_is_refused(void **state)
{
	// Stage 0 wants the gradient of 0 before it sends 1; stage 1 wants the activations of all before its
	// first backward.
	struct schedule *s = create("gpipe", 2, 4), *alone = create("1f1b", 1, 4);
	struct stage_schedule kept = s->stage[0];
	s->stage[0] = alone->stage[0];
	alone->stage[0] = kept;
	schedule_destroy(alone);
	for (uint32_t b = 0; b < 4; b++) {
		uint32_t backward = find(&s->stage[0], INSTRUCTION_BACKWARD, b);
		insert(&s->stage[0], backward, INSTRUCTION_RECV_GRADIENT, b);
		insert(&s->stage[0], backward, INSTRUCTION_SEND_ACTIVATION, b);
	}
	struct error error = {0};
	for (uint32_t stage = 0; stage < 2; stage++)
		expect_sound(schedule_check_stage(&s->stage[stage], stage, 2, 4, &error), &error);
	expect_refused(s, "stage 0, instruction 3, recv_gradient of micro-batch 0", "deadlock");
}

static void check_two_gradients_in_hand_are_refused(void **state)
{
	struct schedule *s = create("gpipe", 2, 3);
	move(&s->stage[0], find(&s->stage[0], INSTRUCTION_RECV_GRADIENT, 1),
	     find(&s->stage[0], INSTRUCTION_BACKWARD, 0));
	expect_refused(s, "recv_gradient of micro-batch 1", "micro-batch 0 has not been used");
	s = create("gpipe", 2, 3);
	move(&s->stage[1], find(&s->stage[1], INSTRUCTION_BACKWARD, 1),
	     find(&s->stage[1], INSTRUCTION_SEND_GRADIENT, 0));
	expect_refused(s, "backward of micro-batch 1", "micro-batch 0 has not been sent");
}

static void check_traffic_over_the_ends_is_refused(void **state)
{
	static const enum instruction_kind of_first[] = {INSTRUCTION_RECV_ACTIVATION, INSTRUCTION_SEND_GRADIENT};
	static const enum instruction_kind of_last[] = {INSTRUCTION_SEND_ACTIVATION, INSTRUCTION_RECV_GRADIENT};
	for (int i = 0; i < 2; i++) {
		struct schedule *s = create("1f1b", 2, 2);
		insert(&s->stage[0], 3, of_first[i], 0);
		expect_refused(s, "stage 0, instruction 3", "no stage before it");
		s = create("1f1b", 2, 2);
		insert(&s->stage[1], 3, of_last[i], 0);
		expect_refused(s, "stage 1, instruction 3", "no stage after it");
	}
}

static void check_end_of_the_step_out_of_place_is_refused(void **state)
{
	struct schedule *s = create("1f1b", 1, 2);
	drop(&s->stage[0], s->stage[0].count - 1);
	expect_refused(s, "stage 0", "does not end with optimizer_step");
	s = create("1f1b", 1, 2);
	drop(&s->stage[0], s->stage[0].count - 2);
	expect_refused(s, "optimizer_step", "no reduce_gradients");
	s = create("1f1b", 1, 2);
	move(&s->stage[0], s->stage[0].count - 2, find(&s->stage[0], INSTRUCTION_BACKWARD, 1));
	expect_refused(s, "reduce_gradients", "1 of 2 micro-batches");
	s = create("1f1b", 1, 2);
	insert(&s->stage[0], s->stage[0].count, INSTRUCTION_OPTIMIZER_STEP, 0);
	expect_refused(s, "optimizer_step", "ends the list");
	s = create("1f1b", 1, 2);
	s->stage[0].instructions[s->stage[0].count - 1].micro_batch = 1;
	expect_refused(s, "optimizer_step", "micro-batch must be 0");
	s = create("1f1b", 1, 2);
	s->stage[0].count = 0;
	expect_refused(s, "stage 0", "does not end");
}

static void check_unknown_instruction_is_refused(void **state)
{
	struct schedule *s = create("1f1b", 1, 2);
	s->stage[0].instructions[1].kind = (enum instruction_kind)99;
	expect_refused(s, "instruction 1, unknown", "kind 99");
}

// The zero-bubble shape: input gradients go back at once, weight gradients follow later.
static void check_halves_of_a_backward_are_accepted(void **state)
{
	struct schedule *s = create("gpipe", 2, 3);
	for (uint32_t stage = 0; stage < 2; stage++) {
		struct stage_schedule *list = &s->stage[stage];
		for (uint32_t b = 0; b < 3; b++) {
			list->instructions[find(list, INSTRUCTION_BACKWARD, b)].kind = INSTRUCTION_BACKWARD_INPUT;
			insert(list, find(list, INSTRUCTION_REDUCE_GRADIENTS, 0), INSTRUCTION_BACKWARD_WEIGHT, b);
		}
	}
	struct error error = {0};
	expect_sound(schedule_check(s, &error), &error);
	schedule_destroy(s);
}

static void check_halves_that_are_wrong_are_refused(void **state)
{
	struct schedule *s = create("gpipe", 1, 2); // a weight half without an input half
	s->stage[0].instructions[find(&s->stage[0], INSTRUCTION_BACKWARD, 0)].kind = INSTRUCTION_BACKWARD_WEIGHT;
	expect_refused(s, "backward_weight of micro-batch 0", "no backward_input");
	s = create("gpipe", 1, 2); // an input half without a weight half
	s->stage[0].instructions[find(&s->stage[0], INSTRUCTION_BACKWARD, 1)].kind = INSTRUCTION_BACKWARD_INPUT;
	expect_refused(s, "reduce_gradients", "1 of 2 micro-batches");
	s = create("gpipe", 1, 2); // a half twice
	insert(&s->stage[0], find(&s->stage[0], INSTRUCTION_BACKWARD, 0), INSTRUCTION_BACKWARD_INPUT, 0);
	expect_refused(s, "backward of micro-batch 0", "duplicate instruction");
}

static void check_sizes_out_of_range_are_refused(void **state)
{
	struct schedule *s = create("1f1b", 2, 2);
	struct error error = {0};
	assert_false(schedule_check_stage(&s->stage[0], 2, 2, 2, &error));
	assert_false(schedule_check_stage(&s->stage[0], 0, 0, 2, &error));
	assert_false(schedule_check_stage(&s->stage[0], 0, SCHEDULE_MAXIMUM_STAGES + 1, 2, &error));
	assert_false(schedule_check_stage(&s->stage[0], 0, 2, 0, &error));
	assert_false(schedule_check_stage(&s->stage[0], 0, 2, UINT32_MAX, &error));
	s->stages = SCHEDULE_MAXIMUM_STAGES + 1;
	assert_false(schedule_check(s, &error));
	s->stages = 0;
	assert_false(schedule_check(s, &error));
	schedule_destroy(s);
}

// One change at a random place of a sound list: dropped, doubled, moved or given to another micro-batch.
// Every such list is refused, unless the change leaves the list as it was or moves an instruction past others
// that do not depend on it, which an executor may run. Whatever it is, the checker reads no memory that is
// not its own (sanitizers watch).
static void check_random_mutations_that_lose_or_repeat_are_refused(void **state)
{
	struct random_key key = random_key_make(1, RANDOM_DATASET, 0);
	for (uint32_t round = 0; round < 4000; round++) {
		uint64_t draw = (uint64_t)round * 8;
		uint32_t stages = 1 + random_below(key, draw, 5), micro_batches = 2 + random_below(key, draw + 1, 6);
		struct schedule *s = create(round % 2 ? "gpipe" : "1f1b", stages, micro_batches);
		struct stage_schedule *list = &s->stage[random_below(key, draw + 2, stages)];
		uint32_t index = random_below(key, draw + 3, list->count);
		struct instruction in = list->instructions[index];
		struct error error = {0};
		bool may_pass = false;
		switch (random_below(key, draw + 4, 4)) {
		case 0:
			drop(list, index);
			break;
		case 1:
			insert(list, random_below(key, draw + 5, list->count + 1), in.kind, in.micro_batch);
			break;
		case 2:
			list->instructions[index].micro_batch = (in.micro_batch + 1) % micro_batches;
			break;
		case 3:
			move(list, index, random_below(key, draw + 5, list->count));
			may_pass = true;
			break;
		}
		assert_true(!schedule_check(s, &error) || may_pass);
		schedule_destroy(s);
	}
}

// Lists of noise, as a peer may send them: kinds and micro-batches in and out of range, and always refused,
// since noise does not end with the two instructions that end a step after all the others.
static void check_stage_noise_is_refused(void **state)
{
	enum { COUNT = 64 };
	struct random_key key = random_key_make(2, RANDOM_DATASET, 0);
	struct instruction instructions[COUNT];
	for (uint64_t round = 0; round < 5000; round++) {
		uint32_t words[4];
		for (uint64_t i = 0; i < COUNT; i++) {
			random_block(key, round, i, words);
			instructions[i].kind = (enum instruction_kind)(words[0] % 16 ? words[0] % 12 : words[1]);
			instructions[i].micro_batch = words[2] % 16 ? words[2] % 5 : words[3];
		}
		struct stage_schedule list = {.instructions = instructions, .count = COUNT, .slots = words[0] % 5};
		struct error error = {0};
		assert_false(schedule_check_stage(&list, words[1] % 4, 1 + words[2] % 4, words[3] % 5, &error));
		assert_int_equal(error.code, ERROR_USAGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_dropped_activation_send_is_refused),
		cmocka_unit_test(check_dropped_gradient_send_is_refused),
		cmocka_unit_test(check_dropped_receives_are_refused),
		cmocka_unit_test(check_dropped_input_is_refused),
		cmocka_unit_test(check_input_of_a_middle_stage_is_refused),
		cmocka_unit_test(check_inputs_out_of_order_are_refused),
		cmocka_unit_test(check_repeated_micro_batch_is_refused),
		cmocka_unit_test(check_micro_batch_beyond_the_step_is_refused),
		cmocka_unit_test(check_backward_before_forward_is_refused),
		cmocka_unit_test(check_backwards_out_of_order_are_refused),
		cmocka_unit_test(check_too_few_slots_are_refused),
		cmocka_unit_test(check_swapped_order_on_a_boundary_is_refused),
		cmocka_unit_test(check_deadlock_is_refused),
		cmocka_unit_test(check_two_gradients_in_hand_are_refused),
		cmocka_unit_test(check_traffic_over_the_ends_is_refused),
		cmocka_unit_test(check_end_of_the_step_out_of_place_is_refused),
		cmocka_unit_test(check_unknown_instruction_is_refused),
		cmocka_unit_test(check_halves_of_a_backward_are_accepted),
		cmocka_unit_test(check_halves_that_are_wrong_are_refused),
		cmocka_unit_test(check_sizes_out_of_range_are_refused),
		cmocka_unit_test(check_random_mutations_that_lose_or_repeat_are_refused),
		cmocka_unit_test(check_stage_noise_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
