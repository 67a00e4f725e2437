// What a page says of answers made by hand: to the letter.
#include "tests/unit/cmocka_all.h"

#include <string.h>

#include "coordinator/view/bar.h"
#include "coordinator/view/page.h"
#include "coordinator/view/text.h"
#include "tests/unit/view/answers.h"

// Two nodes with a stage each.
struct fixture {
	struct answer answers[2];
	struct rates *rates;
};

static int set_up(void **state)
{
	static struct fixture fixture;
	fixture.rates = rates_create(2);
	for (int i = 0; i < 2; i++) {
		answer_init(&fixture.answers[i]);
		answer_steps(&fixture.answers[i], 4, 18);
		fixture.answers[i].stage.pipeline_stage = 1 - i; // rows are in the order of stages, not of nodes
		assert_true(rates_update(fixture.rates, i, i == 0 ? "a:1" : "b:1", &fixture.answers[i].response));
	}
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	rates_destroy(((struct fixture *)*state)->rates);
	return 0;
}

static void assert_page(const struct rates *rates, const struct page_options *options, const char *expected)
{
	struct page page;
	assert_true(page_init(rates, options, &page));
	assert_string_equal(page.text, expected);
	page_fini(&page);
}

static void page_init_has_a_line_a_job_and_a_row_a_stage(void **state)
{
	struct fixture *fixture = *state;
	assert_page(
		fixture->rates, &(struct page_options){.heading = "top", .complaints = "c:1 is gone\n", .columns = 0},
		"top\n"
		"c:1 is gone\n"
		"job: alexnet, 2 stages, step 4, 50.0 samples/s\n"
		"\n"
		"STAGE  NODE  STEP  SAMPLES/S  BUSY  TIME                                        MEMORY  PREV-IN/S  "
		"PREV-OUT/S  NEXT-IN/S  NEXT-OUT/S  LAST STEP  DEVICE  MODEL\n"
		"    0  b:1      4       50.0   75%  FFFFFFFFFFFFFFFBBBBBBB>>>>>>>>  1.0 MiB of 1.0 GiB                "
		"     "
		"            -           -  2.0 s ago  cpu     alexnet\n"
		"    1  a:1      4       50.0   75%  FFFFFFFFFFFFFFFBBBBBBB>>>>>>>>  1.0 MiB of 1.0 GiB                "
		"     "
		"            -           -  2.0 s ago  cpu     alexnet\n"
		"\n" BAR_LEGEND "\n");
}

static void page_init_says_where_the_bars_are(void **state)
{
	struct fixture *fixture = *state;
	struct page page;
	assert_true(page_init(fixture->rates,
			      &(struct page_options){.heading = "top", .complaints = "x\ny\n", .columns = 0}, &page));
	const char *line = page.text;
	for (uint32_t i = 0; i < page.first_row; i++)
		line = strchr(line, '\n') + 1;
	assert_int_equal(page.row_count, 2);
	assert_memory_equal(line + page.bar_column, "FFFFFFFFFFFFFFFBBBBBBB>>>>>>>>", page.bar_width);
	page_fini(&page);
}

static void page_init_adds_up_replicas_and_shows_their_ring(void **state)
{
	struct fixture *fixture = *state;
	struct link_traffic ring = {0};
	struct page page;
	for (int i = 0; i < 2; i++) {
		fixture->answers[i].stage.pipeline_stage = 0;
		fixture->answers[i].stage.replica = i;
		fixture->answers[i].counters.next_replica = fixture->answers[i].counters.previous_replica = &ring;
		assert_true(rates_update(fixture->rates, i, i == 0 ? "a:1" : "b:1", &fixture->answers[i].response));
	}
	assert_true(page_init(fixture->rates, &(struct page_options){.heading = "", .complaints = "", .columns = 0},
			      &page));
	assert_non_null(strstr(page.text, "job: alexnet, 2 stages of 2 replicas, step 4, 100.0 samples/s\n"));
	assert_non_null(strstr(page.text, "MODEL    RING-IN/S  RING-OUT/S\n"));
	page_fini(&page);
}

static void page_init_for_a_screen_has_nodes_and_bars_within_it(void **state)
{
	struct fixture *fixture = *state;
	static const char *const names[] = {"a-node-with-a-long-name.in-a-long-domain.example.org:7070",
					    "unix:/run/user/1000/penstock-with-a-long-name/1.sock"};
	fixture->answers[1].stage.job = "another-job"; // a column more
	fixture->answers[1].stage.replica = 1;         // and one more
	for (int i = 0; i < 2; i++)
		assert_true(rates_update(fixture->rates, i, names[i], &fixture->answers[i].response));
	for (uint32_t columns = 80; columns <= 130; columns += 50) {
		struct page page;
		assert_true(page_init(fixture->rates,
				      &(struct page_options){.heading = "", .complaints = "", .columns = columns},
				      &page));
		assert_true(page.bar_column + page.bar_width <= columns && page.bar_width >= PAGE_MINIMUM_BAR);
		const char *node = strstr(page.text, "NODE");
		assert_true(node != NULL && (uint32_t)(node - strstr(page.text, "JOB ")) < page.bar_column);
		if (strstr(page.text, columns == 80 ? "\u2026ong-name/1.sock  " : names[1]) == NULL)
			fail_msg("at %u columns\n%s", columns, page.text);
		page_fini(&page);
	}
}

static void page_init_of_one_job_leaves_others_out(void **state)
{
	struct fixture *fixture = *state;
	struct page page;
	fixture->answers[1].stage.job = "other";
	assert_true(rates_update(fixture->rates, 1, "b:1", &fixture->answers[1].response));
	assert_true(page_init(fixture->rates,
			      &(struct page_options){.job = "other", .heading = "", .complaints = "", .columns = 0},
			      &page));
	assert_non_null(strstr(page.text, "other: alexnet, 1 stage, step 4"));
	assert_null(strstr(page.text, "job"));
	page_fini(&page);
	assert_page(fixture->rates,
		    &(struct page_options){.job = "no\nsuch", .heading = "top", .complaints = "", .columns = 0},
		    "top\njob \"no?such\" is not running here\n");
}

static void page_init_without_a_job_says_so(void **state)
{
	struct fixture *fixture = *state;
	for (int i = 0; i < 2; i++)
		assert_true(rates_update(fixture->rates, i, "a:1", NULL));
	assert_page(fixture->rates, &(struct page_options){.heading = "top", .complaints = "", .columns = 0},
		    "top\nno job is running\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(page_init_has_a_line_a_job_and_a_row_a_stage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(page_init_says_where_the_bars_are, set_up, tear_down),
		cmocka_unit_test_setup_teardown(page_init_adds_up_replicas_and_shows_their_ring, set_up, tear_down),
		cmocka_unit_test_setup_teardown(page_init_for_a_screen_has_nodes_and_bars_within_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(page_init_of_one_job_leaves_others_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(page_init_without_a_job_says_so, set_up, tear_down),
	};
	text_use_utf8();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
