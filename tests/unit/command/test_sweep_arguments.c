// A sweep's own options among those that it shares, and what is said of the machine and the setting.
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/command/sweep_arguments.h"
#include "coordinator/command/sweep_setting.h"
#include "coordinator/sweep/result.h"

enum { MAXIMUM_WORDS = 32 };

static char line[512];

static bool give(const char *text, struct sweep_arguments *ret_arguments, struct error *error)
{
	char *words[MAXIMUM_WORDS + 1] = {"sweep"}, *rest = NULL;
	int count = 1;
	snprintf(line, sizeof(line), "%s", text);
	for (char *word = strtok_r(line, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
		assert_true(count < MAXIMUM_WORDS);
		words[count++] = word;
	}
	return sweep_arguments_parse(count, words, ret_arguments, error) == OPTIONS_RUN;
}

static struct sweep_arguments given(const char *text)
{
	struct sweep_arguments arguments = {0};
	struct error error = {0};
	if (!give(text, &arguments, &error))
		fail_msg("%s: %s", text, error.message);
	return arguments;
}

static void parse_of_nothing_but_a_folder_gives_the_defaults(void **state)
{
	struct sweep_arguments arguments = given("--output out");
	assert_string_equal(arguments.job.output, "out");
	assert_int_equal(grid_count(&arguments.grid), 18);
	assert_int_equal(grid_cell(&arguments.grid, 17).nodes, 4);
	assert_int_equal(grid_cell(&arguments.grid, 17).pipeline_size, 4);
	assert_int_equal(grid_cell(&arguments.grid, 17).micro_batch_size, 64);
	assert_int_equal(arguments.job.warm_up_steps, 2);
	assert_int_equal(arguments.gradient_accumulation_steps, 4);
	assert_int_equal(arguments.job.local, 0);
}

static void parse_takes_its_own_options_from_among_the_others(void **state)
{
	struct sweep_arguments arguments =
		given("--steps 9 --nodes=3 --model vgg11 --warm-up 1 --pipeline-sizes 0 --output=a=b "
		      "--gradient-accumulation-steps 8 --micro-batches 5,6 -H hosts");
	assert_string_equal(arguments.job.output, "a=b");
	assert_string_equal(arguments.job.model, "vgg11");
	assert_string_equal(arguments.job.hostfile, "hosts");
	assert_int_equal(arguments.job.steps, 9);
	assert_int_equal(arguments.job.nodes, 0); // the cells say it
	assert_int_equal(arguments.job.warm_up_steps, 1);
	assert_int_equal(arguments.gradient_accumulation_steps, 8);
	assert_int_equal(grid_count(&arguments.grid), 2);
}

static void parse_knows_options_by_their_other_names_and_by_their_beginnings(void **state)
{
	static const char *const words[] = {"--nodes 3,5", "--nodes=3,5", "--num-nodes 3,5", "--num_nodes=3,5",
					    "--nod 3,5"};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		char text[80];
		snprintf(text, sizeof(text), "--output o %s", words[i]);
		struct sweep_arguments arguments = given(text);
		assert_int_equal(arguments.grid.nodes.count, 2);
		assert_int_equal(grid_most_nodes(&arguments.grid), 5);
	}
	assert_int_equal(given("--output o --micro-batche=4").grid.micro_batch_sizes.values[0], 4);
	assert_int_equal(given("--outp o --warm 1").job.warm_up_steps, 1);
}

static void parse_of_local_without_a_number_starts_as_many_as_the_largest_cell_needs(void **state)
{
	assert_int_equal(given("--output o --nodes 1,3 --local").job.local, 3);
	assert_int_equal(given("--output o --local --nodes 1,3").job.local, 3);
	assert_int_equal(given("--local --output o --nodes 1,3").job.local, 3);
	assert_int_equal(given("--output o --local 5 --nodes 1,3").job.local, 5);
	assert_int_equal(given("--output o --local=5 --nodes 1,3").job.local, 5);
}

static void parse_of_what_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *text, *expected;
	} bad[] = {
		{"", "--output DIR is missing"},
		{"--output", "option --output needs a value"},
		{"--output o --micro-batches", "option --micro-batches needs a value"},
		{"--output o --nodes 0", "--nodes: \"0\" is not a whole number from 1"},
		{"--output o --warm-up -1", "--warm-up: \"-1\" is not a whole number from 0"},
		{"--output o --steps 3 --warm-up 3", "--steps 3: the first 3 of each cell are warm-up"},
		{"--output o -p 0", "--pipeline-size is not an option of penstock sweep: use --pipeline-sizes"},
		{"--output o --load x", "--load is not an option of penstock sweep"},
		{"--output o --json x", "--json is not an option of penstock sweep: --output DIR gets a sweep.json"},
		{"--output o --micro-batch-siz 4", "--micro-batch-size is not an option of penstock sweep"},
		{"--output o --micro-batch 4",
		 "option --micro-batch is unknown (is it --micro-batches or --micro-batch-size?)"},
		{"--output o --local 0", "--local: \"0\" is not a whole number from 1"},
		{"--output o stray", "unexpected argument \"stray\""},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sweep_arguments arguments;
		struct error error = {0};
		assert_false(give(bad[i].text, &arguments, &error));
		assert_int_equal(error.code, ERROR_USAGE);
		if (strstr(error.message, bad[i].expected) == NULL)
			fail_msg("%s: expected \"%s\", got \"%s\"", bad[i].text, bad[i].expected, error.message);
	}
}

static void note_is_for_nodes_that_are_all_here(void **state)
{
	struct host hosts[] = {
		{"127.0.0.1:7070", 1}, {"unix:/run/a.sock", 1}, {"localhost:1", 1}, {"[::1]:2", 1}, {"b:7070", 1}};
	struct job_nodes nodes = {.hostfile = {.hosts = hosts, .count = 5}};
	char note[SWEEP_NOTE_SIZE];
	sweep_note(&nodes, 5, note, sizeof(note));
	assert_string_equal(note, "");
	sweep_note(&nodes, 4, note, sizeof(note)); // the one that is elsewhere is not used
	assert_ptr_equal(strstr(note, "4 daemons on one machine of "), note);
	assert_non_null(strstr(note, " cores: measures correctness and overhead, not a cluster"));
	sweep_note(&(struct job_nodes){.local = {.count = 1}}, 1, note, sizeof(note));
	assert_ptr_equal(strstr(note, "1 daemon on one machine of "), note);
}

static json_t *setting_of(const char *text)
{
	struct sweep_arguments arguments = given(text);
	struct job_nodes nodes;
	struct error error = {0};
	json_t *setting = NULL;
	assert_true(job_nodes_read(&arguments.job, &nodes, &error));
	if (!sweep_setting(&arguments, &nodes, &setting, &error))
		fail_msg("%s", error.message);
	job_nodes_fini(&nodes);
	return setting;
}

static void setting_is_what_figures_depend_on_and_not_the_cells(void **state)
{
	static const char base[] = "--output o --local 2 --threads 1";
	static const struct {
		const char *more;
		bool is_same;
	} cases[] = {
		{"", true},
		{"--nodes 1 --micro-batches 3 --pipeline-sizes 1 --output p --dataset d --lr 0.5 --seed 7", true},
		{"--local 4", true}, // as many threads each
		{"--threads 2", false},
		{"--steps 9", false},
		{"--warm-up 3", false},
		{"--image-size 65", false},
		{"--optimizer Adam", false},
		{"--precision bf16", false},
		{"--gradient-accumulation-steps 5", false},
		{"--memory-limit 1GiB", false},
		{"--schedule gpipe", false},
		{"--split 4", false},
		{"--in-flight 1", false},
	};
	json_t *first = setting_of(base);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[256];
		snprintf(text, sizeof(text), "%s %s", base, cases[i].more);
		json_t *other = setting_of(text);
		if (json_equal(first, other) != cases[i].is_same)
			fail_msg("%s", text);
		json_decref(other);
	}
	json_decref(first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_of_nothing_but_a_folder_gives_the_defaults),
		cmocka_unit_test(parse_takes_its_own_options_from_among_the_others),
		cmocka_unit_test(parse_knows_options_by_their_other_names_and_by_their_beginnings),
		cmocka_unit_test(parse_of_local_without_a_number_starts_as_many_as_the_largest_cell_needs),
		cmocka_unit_test(parse_of_what_makes_no_sense_is_refused),
		cmocka_unit_test(note_is_for_nodes_that_are_all_here),
		cmocka_unit_test(setting_is_what_figures_depend_on_and_not_the_cells),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
