// The search for a plan that keeps to a limit: it is found where there is one, costs nothing where nothing is needed, and says what it
// gave up.
#include "tests/unit/cmocka_all.h"

#include <math.h>
#include <string.h>

#include "coordinator/plan/fit.h"
#include "coordinator/models/models.h"

static struct plan_options options_of(uint32_t p, uint32_t m)
{
	return (struct plan_options){.partition_method = "flops",
				     .schedule = "1f1b",
				     .pipeline_size = p,
				     .data_parallel_size = 1,
				     .micro_batch_size = 8,
				     .micro_batches = m,
				     .raw_image_size = 32};
}

static struct model vgg11(void)
{
	struct model model;
	struct error error = {0};
	assert_true(models_create_chain("vgg11", 128, 10, -1, &model, &error));
	return model;
}

static struct plan *fit(const struct plan_options *options)
{
	struct model model = vgg11();
	struct plan *plan = NULL;
	struct error error = {0};
	if (!fit_plan(&model, options, &plan, &error))
		fail_msg("%s", error.message);
	return plan;
}

static struct plan *create(const struct plan_options *options)
{
	struct model model = vgg11();
	struct plan *plan = NULL;
	struct error error = {0};
	if (!plan_create(&model, options, &plan, &error))
		fail_msg("%s", error.message);
	return plan;
}

static void plan_with_room_gives_up_nothing(void **state)
{
	struct plan_options options = options_of(4, 8);
	char text[FIT_TEXT_SIZE];
	options.memory_limit_bytes = UINT64_C(1) << 40;
	struct plan *plan = fit(&options);
	assert_true(plan_fits(plan));
	assert_int_equal(plan->options.in_flight, 0);
	assert_int_equal(plan->options.checkpoint_interval, 0);
	assert_false(plan->cut_differs);
	assert_true(fabs(plan->cost - 1) < 1e-9);
	assert_string_equal(fit_describe(plan, text, sizeof(text)), "fits without changes");
	plan_destroy(plan);
}

// The least limit that can be kept, found by asking for 1 byte: each limit from there on is kept, and none costs more than a tighter one.
static void plan_of_every_limit_from_the_least_on_fits_and_more_room_is_never_slower(void **state)
{
	struct plan_options options = options_of(3, 6);
	options.memory_limit_bytes = 1;
	struct plan *least = fit(&options);
	uint64_t from = plan_largest_memory(least);
	double before = INFINITY;
	assert_false(plan_fits(least));
	for (uint64_t limit = from; limit < from + (UINT64_C(400) << 20); limit += 16 << 20) {
		char text[FIT_TEXT_SIZE];
		options.memory_limit_bytes = limit;
		struct plan *plan = fit(&options);
		assert_true(plan_fits(plan));
		assert_true(plan->cost <= before * (1 + 1e-9));
		assert_true(plan->cost >= 1 - 1e-9);
		fit_describe(plan, text, sizeof(text));
		assert_int_equal(strstr(text, "layers") != NULL, plan->options.checkpoint_interval > 0);
		assert_int_equal(strstr(text, "in flight") != NULL, plan->options.in_flight > 0);
		before = plan->cost;
		plan_destroy(plan);
	}
	plan_destroy(least);
}

static void plan_when_nothing_fits_is_the_nearest_and_says_by_how_much(void **state)
{
	struct plan_options options = options_of(2, 4);
	struct error error = {0};
	options.memory_limit_bytes = 100 << 20;
	struct plan *plan = fit(&options), *plain = create(&options);
	assert_false(plan_fits(plan));
	assert_true(plan_largest_memory(plan) <= plan_largest_memory(plain));
	assert_false(fit_refuse(plan, true, &error));
	assert_int_equal(error_exit_code(&error), 3);
	assert_non_null(strstr(error.message, "more than the limit of 100.0 MiB"));
	assert_false(fit_refuse(plan, false, &error));
	assert_non_null(strstr(error.message, "--fit"));
	plan_destroy(plan);
	plan_destroy(plain);
}

// The nearest has one micro-batch in flight, which is where the search ends; the time it takes is that of one interval after another.
static void plan_of_many_stages_when_nothing_fits_has_one_in_flight_and_is_no_worse(void **state)
{
	struct plan_options options = options_of(16, 32);
	options.memory_limit_bytes = 100 << 20;
	struct plan *plan = fit(&options);
	assert_false(plan_fits(plan));
	assert_int_equal(plan->options.in_flight, 1);
	for (uint32_t in_flight = 1; in_flight <= 16; in_flight += 5)
		for (uint32_t interval = 0; interval <= 6; interval += 2) {
			options.in_flight = in_flight;
			options.checkpoint_interval = interval;
			struct plan *other = create(&options);
			assert_true(plan_largest_memory(plan) <= plan_largest_memory(other));
			plan_destroy(other);
		}
	plan_destroy(plan);
}

static void plan_keeps_what_was_given(void **state)
{
	struct plan_options options = options_of(3, 6);
	options.memory_limit_bytes = UINT64_C(1) << 40;
	options.in_flight = 2;
	options.checkpoint_interval = 4;
	options.split = "5,9";
	struct plan *plan = fit(&options);
	assert_int_equal(plan->options.in_flight, 2);
	assert_int_equal(plan->options.checkpoint_interval, 4);
	assert_int_equal(plan->stages[1].first_layer, 5);
	assert_true(plan->cost > 1);
	plan_destroy(plan);
}

// A limit alone moves the cut; what was asked for is no change.
static void changed_is_what_the_limit_did_and_not_what_was_asked_for(void **state)
{
	struct plan_options options = options_of(3, 6);
	options.in_flight = 2;
	options.checkpoint_interval = 4;
	struct plan *plan = create(&options);
	uint64_t largest = plan_largest_memory(plan);
	plan_destroy(plan);
	for (int room = 1; room >= 0; room--) {
		options.memory_limit_bytes = room ? largest : largest - 1;
		plan = create(&options);
		assert_int_equal(plan->cut_differs, !room);
		assert_int_equal(fit_changed(plan, 2, 4), !room);
		assert_true(fit_changed(plan, 0, 4));
		assert_true(fit_changed(plan, 2, 0));
		plan_destroy(plan);
	}
	options.partition_method = "memory";
	plan = create(&options);
	assert_true(plan->cut_differs);
	assert_false(fit_changed(plan, 2, 4));
	plan_destroy(plan);
}

static void plan_by_gpipe_is_fitted_without_fewer_in_flight(void **state)
{
	struct plan_options options = options_of(2, 4);
	options.schedule = "gpipe";
	struct plan *plain = create(&options);
	options.memory_limit_bytes = plan_largest_memory(plain) - 1;
	struct plan *plan = fit(&options);
	assert_true(plan_fits(plan));
	assert_int_equal(plan->options.in_flight, 0);
	plan_destroy(plan);
	plan_destroy(plain);
}

// One stage, two runs of layers: the first is computed again, which is a forward pass of its layers for each micro-batch.
static void plan_cost_of_checkpoints_is_the_forward_pass_that_is_done_again(void **state)
{
	struct plan_options options = options_of(1, 4);
	struct model model = vgg11();
	uint32_t interval = 20;
	uint64_t again = 0, all = 0;
	options.checkpoint_interval = interval;
	for (uint32_t i = 0; i < model.layer_count; i++) {
		again += i < interval ? layer_forward_flops(&model.layers[i]) : 0;
		all += partition_layer_flops(&model, i);
	}
	struct plan *plan = create(&options);
	assert_true(fabs(plan->cost - (double)(all + again) / (double)all) < 1e-9);
	plan_destroy(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plan_with_room_gives_up_nothing),
		cmocka_unit_test(plan_of_every_limit_from_the_least_on_fits_and_more_room_is_never_slower),
		cmocka_unit_test(plan_when_nothing_fits_is_the_nearest_and_says_by_how_much),
		cmocka_unit_test(plan_of_many_stages_when_nothing_fits_has_one_in_flight_and_is_no_worse),
		cmocka_unit_test(plan_keeps_what_was_given),
		cmocka_unit_test(changed_is_what_the_limit_did_and_not_what_was_asked_for),
		cmocka_unit_test(plan_by_gpipe_is_fitted_without_fewer_in_flight),
		cmocka_unit_test(plan_cost_of_checkpoints_is_the_forward_pass_that_is_done_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
