// Groups of programs that sum their gradients among themselves, on the stand-in for CUDA and NCCL: a device and a thread for each member.
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "stage_server/device/cuda/cuda.h"
#include "tests/cuda_stand_in/stand_in.h"
#include "tests/unit/device/harness.h"
#include "tests/unit/device/rule.h"

enum { N = 2, MOST_MEMBERS = 3, MOST_PARAMETERS = 16, STEPS = 3 };

static const struct device_ops *const ops = &cuda_device_ops;

struct member {
	struct group *group;
	uint32_t replica;
	pthread_t thread;
	struct device *device;
	struct program *program;
	atomic_bool stopped;
	bool joined, stepped;
	struct error error;
	unsigned long allocations; // of the process, when all members had joined
	float *own[MOST_PARAMETERS], *sums[MOST_PARAMETERS], *values[MOST_PARAMETERS];
	double squares[MOST_PARAMETERS];
};

struct group {
	struct model model;
	struct program_spec spec;
	uint32_t members, count;
	struct parameter parameters[MOST_PARAMETERS];
	uint8_t id[DEVICE_GROUP_ID_BYTES];
	bool same_device;
	struct member member[MOST_MEMBERS];
};

#define check(call) harness_check(call, error)

static struct group *group_open(uint32_t members, bool same_device)
{
	struct error error = {0};
	struct group *group = calloc(1, sizeof(*group));
	assert_non_null(group);
	setenv("PENSTOCK_STAND_IN_DEVICES", "3", 1);
	harness_small_model(0.0f, &group->model);
	group->spec = harness_spec(&group->model, 0, group->model.layer_count, N);
	group->spec.micro_batches = members;
	group->spec.group = true;
	group->members = members;
	group->same_device = same_device;
	group->count = model_parameter_count(&group->model);
	for (uint32_t i = 0; i < group->count; i++)
		model_parameter(&group->model, i, &group->parameters[i]);
	for (uint32_t r = 0; r < members; r++) {
		struct member *member = &group->member[r];
		char name[16];
		snprintf(name, sizeof(name), "cuda:%u", same_device ? 0 : r);
		struct device_options options = {.name = name, .threads = 1};
		member->group = group;
		member->replica = r;
		check(ops->create(&options, &member->device, &error));
		check(ops->program_create(member->device, &group->spec, &member->program, &error));
		check(ops->program_allocate(member->program, &error));
		for (uint32_t i = 0; i < group->count; i++) {
			uint64_t count = group->parameters[i].count;
			float *drawn = harness_filled(group->parameters[i].name,
						      harness_scale(&group->model, &group->parameters[i]), count);
			check(ops->write_parameter(member->program, i, drawn, &error));
			free(drawn);
			member->own[i] = harness_floats(count);
			member->sums[i] = harness_floats(count);
			member->values[i] = harness_floats(count);
		}
	}
	check(ops->group_id(group->member[0].device, group->id, &error));
	return group;
}

static void group_close(struct group *group)
{
	for (uint32_t r = 0; r < group->members; r++) {
		struct member *member = &group->member[r];
		ops->program_destroy(member->program);
		ops->destroy(member->device);
		for (uint32_t i = 0; i < group->count; i++) {
			free(member->own[i]);
			free(member->sums[i]);
			free(member->values[i]);
		}
	}
	free(group);
	unsetenv("PENSTOCK_STAND_IN_DEVICES");
}

// ---- on a member's thread; false leaves the reason in member->error

static bool join(struct member *member)
{
	member->joined = ops->group_join(member->program, member->group->id, member->group->members, member->replica,
					 &member->stopped, &member->error);
	return member->joined;
}

static bool forward(struct member *member)
{
	struct error *error = &member->error;
	uint8_t images[N * 3 * 32 * 32], labels[N];
	char name[32];
	snprintf(name, sizeof(name), "replica %u", member->replica);
	rule_fill_bytes(name, sizeof(images), images);
	rule_fill_labels(name, N, 10, labels);
	bool ok = ops->zero_gradients(member->program, error) &&
		  ops->load_images(member->program, 0, images, HARNESS_WAIT, error) &&
		  ops->load_labels(member->program, 0, labels, HARNESS_WAIT, error);
	for (uint32_t layer = 0; layer < member->group->model.layer_count && ok; layer++)
		ok = ops->forward(member->program, 0, layer, 0, error);
	return ok && ops->loss(member->program, 0, 0, error) && ops->loss_backward(member->program, 0, 1.0f, error);
}

static bool backward(struct member *member, bool reduces)
{
	struct error *error = &member->error;
	bool ok = true;
	for (uint32_t layer = member->group->model.layer_count; layer-- > 0 && ok;)
		ok = ops->backward_weight(member->program, 0, layer, error) &&
		     (!reduces || ops->group_reduce(member->program, layer, error)) &&
		     ops->backward_input(member->program, 0, layer, error);
	return ok && (!reduces || ops->group_wait(member->program, error));
}

static bool read_gradients(struct member *member, float *const *into)
{
	bool ok = true;
	for (uint32_t i = 0; i < member->group->count && ok; i++)
		ok = ops->read_gradient(member->program, i, into[i], HARNESS_WAIT, &member->error);
	return ok;
}

static bool step(struct member *member)
{
	struct optimizer_step order = {.learning_rate = 0.1f, .beta1 = 0.9f, .gradient_scale = 1.0f};
	return forward(member) && backward(member, true) &&
	       ops->gradient_squares(member->program, member->squares, &member->error) &&
	       ops->optimizer_step(member->program, &order, &member->error) &&
	       ops->synchronize(member->program, &member->error);
}

static void *learn(void *argument)
{
	struct member *member = argument;
	bool ok = join(member);
	member->allocations = stand_in_allocations();
	ok = ok && forward(member) && backward(member, false) && read_gradients(member, member->own) &&
	     forward(member) && backward(member, true) && read_gradients(member, member->sums);
	for (int i = 0; i < STEPS && ok; i++)
		ok = step(member);
	for (uint32_t i = 0; i < member->group->count && ok; i++)
		ok = ops->read_parameter(member->program, i, member->values[i], &member->error);
	member->stepped = ok;
	return NULL;
}

static void *join_alone(void *argument)
{
	join(argument);
	return NULL;
}

static void *join_and_step(void *argument)
{
	struct member *member = argument;
	member->stepped = join(member) && step(member);
	return NULL;
}

static void start(struct group *group, uint32_t replica, void *(*body)(void *))
{
	assert_int_equal(pthread_create(&group->member[replica].thread, NULL, body, &group->member[replica]), 0);
}

static void end(struct group *group, uint32_t replica)
{
	assert_int_equal(pthread_join(group->member[replica].thread, NULL), 0);
}

// ---- cases

static void members_learn_the_sums(uint32_t members)
{
	struct group *group = group_open(members, false);
	for (uint32_t r = 0; r < members; r++)
		start(group, r, learn);
	for (uint32_t r = 0; r < members; r++)
		end(group, r);
	for (uint32_t r = 0; r < members; r++) {
		struct member *member = &group->member[r], *first = &group->member[0];
		if (!member->stepped)
			fail_msg("replica %u: %s", r, member->error.message);
		for (uint32_t i = 0; i < group->count; i++) {
			uint64_t bytes = group->parameters[i].count * sizeof(float);
			bool differs = r > 0 && memcmp(member->own[i], first->own[i], bytes) != 0;
			assert_true(r == 0 || differs); // or a sum proves nothing
			for (uint64_t j = 0; j < group->parameters[i].count; j++) {
				float sum = 0.0f;
				for (uint32_t other = 0; other < members; other++)
					sum += group->member[other].own[i][j];
				if (member->sums[i][j] != sum)
					fail_msg("%s of replica %u, %llu: %g, wanted %g", group->parameters[i].name, r,
						 (unsigned long long)j, (double)member->sums[i][j], (double)sum);
			}
			assert_memory_equal(member->values[i], first->values[i], bytes);
			assert_true(member->squares[i] > 0.0 && member->squares[i] == first->squares[i]);
		}
	}
	group_close(group);
}

static void group_reduce_of_two_gives_the_sums_and_the_same_bits(void **state)
{
	members_learn_the_sums(2);
}

static void group_reduce_of_three_gives_the_sums_and_the_same_bits(void **state)
{
	members_learn_the_sums(3);
}

static void steps_in_a_group_allocate_nothing(void **state)
{
	struct group *group = group_open(2, false);
	for (uint32_t r = 0; r < 2; r++)
		start(group, r, learn);
	for (uint32_t r = 0; r < 2; r++)
		end(group, r);
	assert_true(group->member[0].stepped && group->member[1].stepped);
	for (uint32_t r = 0; r < 2; r++)
		assert_int_equal(group->member[r].allocations, stand_in_allocations());
	group_close(group);
}

static void wait_until_stopped(struct group *group, void *(*body)(void *), const char *operation)
{
	struct member *member = &group->member[0];
	start(group, 0, body);
	usleep(200000);
	atomic_store(&member->stopped, true);
	end(group, 0);
	assert_int_equal(member->error.code, ERROR_CANCELLED);
	assert_non_null(strstr(member->error.message, operation));
}

static void group_join_alone_ends_when_stopped(void **state)
{
	struct group *group = group_open(2, false);
	wait_until_stopped(group, join_alone, "group_join as replica 0 of 2");
	assert_false(group->member[0].joined);
	group_close(group);
}

static void step_without_the_other_member_ends_when_stopped(void **state)
{
	struct group *group = group_open(2, false);
	start(group, 1, join_alone); // and never steps
	wait_until_stopped(group, join_and_step, "gradient_squares");
	end(group, 1);
	assert_true(group->member[0].joined && !group->member[0].stepped);
	group_close(group);
}

// Freed in the middle of a reduction.
static void program_destroy_while_others_are_waited_for_ends_when_stopped(void **state)
{
	struct error error = {0};
	struct group *group = group_open(2, false);
	struct member *member = &group->member[0];
	start(group, 1, join_alone);
	check(join(member) || (error = member->error, false));
	check((forward(member) && backward(member, true)) || (error = member->error, false));
	end(group, 1);
	atomic_store(&member->stopped, true);
	group_close(group);
}

// A member that gives up while it waits for the others aborts; the others, where they can, tell.
static void step_whose_member_is_gone_is_unreachable_when_noticed(void **state)
{
	struct group *group = group_open(3, false);
	setenv("PENSTOCK_STAND_IN_NCCL_NOTICES", "1", 1);
	start(group, 2, join_alone); // and never steps
	start(group, 1, join_and_step);
	start(group, 0, join_and_step);
	end(group, 2);
	usleep(100000);
	atomic_store(&group->member[1].stopped, true);
	end(group, 1);
	end(group, 0);
	assert_int_equal(group->member[1].error.code, ERROR_CANCELLED);
	assert_int_equal(group->member[0].error.code, ERROR_UNREACHABLE);
	assert_non_null(strstr(group->member[0].error.message, "remote process exited"));
	unsetenv("PENSTOCK_STAND_IN_NCCL_NOTICES");
	group_close(group);
}

static void group_join_with_one_gpu_twice_says_what_to_do(void **state)
{
	struct group *group = group_open(2, true);
	for (uint32_t r = 0; r < 2; r++)
		start(group, r, join_alone);
	for (uint32_t r = 0; r < 2; r++) {
		end(group, r);
		assert_false(group->member[r].joined);
		assert_non_null(strstr(group->member[r].error.message, "Duplicate GPU detected"));
		assert_non_null(strstr(group->member[r].error.message, "--reduce ring"));
	}
	group_close(group);
}

static void operations_outside_a_group_are_refused(void **state)
{
	struct error error = {0};
	struct group *group = group_open(1, false);
	struct member *member = &group->member[0];
	assert_false(ops->group_reduce(member->program, 0, &error));
	assert_string_equal(error.message, "group_reduce: the program is not in a group");
	assert_false(ops->group_reduce(member->program, 99, &error));
	assert_non_null(strstr(error.message, "layer 99 is not in this stage"));
	ops->program_destroy(member->program);
	group->spec.group = false;
	check(ops->program_create(member->device, &group->spec, &member->program, &error));
	check(ops->program_allocate(member->program, &error));
	assert_false(join(member));
	assert_string_equal(member->error.message, "group_join: the program was planned without a group");
	group_close(group);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(group_reduce_of_two_gives_the_sums_and_the_same_bits),
		cmocka_unit_test(group_reduce_of_three_gives_the_sums_and_the_same_bits),
		cmocka_unit_test(steps_in_a_group_allocate_nothing),
		cmocka_unit_test(group_join_alone_ends_when_stopped),
		cmocka_unit_test(step_without_the_other_member_ends_when_stopped),
		cmocka_unit_test(program_destroy_while_others_are_waited_for_ends_when_stopped),
		cmocka_unit_test(step_whose_member_is_gone_is_unreachable_when_noticed),
		cmocka_unit_test(group_join_with_one_gpu_twice_says_what_to_do),
		cmocka_unit_test(operations_outside_a_group_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
