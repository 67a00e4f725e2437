// From the command line and a hostfile to stages, replicas and batch sizes; and where the ranks are then.
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/command/job_setup.h"

enum { MAXIMUM_WORDS = 24 };

static char hostfile_path[] = "/tmp/penstock-test-job-setup-XXXXXX";

static char config_path[] = "/tmp/penstock-test-job-setup-XXXXXX";

static bool write_file(char *path, const char *text)
{
	int descriptor = mkstemp(path);
	bool ok = descriptor >= 0 && write(descriptor, text, strlen(text)) == (ssize_t)strlen(text);
	if (descriptor >= 0)
		close(descriptor);
	return ok;
}

static int write_files(void **state)
{
	return write_file(hostfile_path, "a slots=2\nb:1 slots=1\nc slots=3\nd slots=2\n") &&
			       write_file(config_path,
					  "train_batch_size: 128, optimizer: {type: 'Adam'}, scheduler: {type: "
					  "'OneCycle'\n"
					  "params: {cycle_min_lr: 0.1, cycle_max_lr: 1, cycle_first_step_size: 5,"
					  " cycle_max_mom: 1}}")
		       ? 0
		       : -1;
}

static int remove_files(void **state)
{
	return unlink(hostfile_path) + unlink(config_path);
}

struct given {
	struct job_arguments arguments;
	struct job_nodes nodes;
	struct job_setup setup;
	struct error error;
	bool ok;
	char text[512];
};

// `text` is the command line; HOSTFILE and CONFIG stand for the files above.
static void give(struct given *given, const char *text)
{
	char *words[MAXIMUM_WORDS + 1] = {"plan"}, *rest = NULL;
	int count = 1;
	memset(given, 0, sizeof(*given));
	snprintf(given->text, sizeof(given->text), "%s", text);
	for (char *word = strtok_r(given->text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
		assert_true(count < MAXIMUM_WORDS);
		words[count++] = strcmp(word, "HOSTFILE") == 0 ? hostfile_path
				 : strcmp(word, "CONFIG") == 0 ? config_path
							       : word;
	}
	given->ok = job_arguments_parse(JOB_COMMAND_PLAN, count, words, NULL, NULL, &given->arguments, &given->error) ==
			    OPTIONS_RUN &&
		    job_nodes_read(&given->arguments, &given->nodes, &given->error);
	if (given->ok)
		given->ok = job_setup_init(&given->arguments, &given->nodes, NULL, &given->setup, &given->error);
}

static void end(struct given *given)
{
	if (given->ok)
		job_setup_fini(&given->setup);
	job_nodes_fini(&given->nodes);
}

static void assert_grid(const char *text, uint32_t stages, uint32_t replicas, uint32_t train_batch)
{
	struct given given;
	give(&given, text);
	if (!given.ok)
		fail_msg("%s: %s", text, given.error.message);
	const struct plan_options *options = &given.setup.plan->options;
	if (given.setup.pipeline_size != stages || given.setup.data_parallel_size != replicas)
		fail_msg("%s: %u stages x %u replicas", text, given.setup.pipeline_size,
			 given.setup.data_parallel_size);
	assert_int_equal(options->pipeline_size, stages);
	assert_int_equal(options->data_parallel_size, replicas);
	assert_int_equal(plan_rank_count(given.setup.plan), stages * replicas);
	assert_int_equal(given.setup.config.train_batch_size, train_batch);
	assert_int_equal(options->micro_batch_size * options->micro_batches * replicas, train_batch);
	end(&given);
}

static void assert_refused(const char *text, const char *words)
{
	struct given given;
	give(&given, text);
	assert_false(given.ok);
	assert_int_equal(given.error.code, ERROR_USAGE);
	if (strstr(given.error.message, words) == NULL)
		fail_msg("%s: \"%s\" is not in: %s", text, words, given.error.message);
	end(&given);
}

static void init_replicas_are_devices_over_stages(void **state)
{
	assert_grid("", 1, 1, 128);
	assert_grid("-p 3", 3, 1, 128);
	assert_grid("-p 0", 1, 1, 128);
	assert_grid("--nodes 4", 4, 1, 128);
	assert_grid("--nodes 4 -p 2", 2, 2, 256);
	assert_grid("--num-nodes 4 -p 0", 1, 4, 512);
	assert_grid("--num_nodes 4 -p 1", 1, 4, 512);
	assert_grid("--local 6 -p 3", 3, 2, 256);
	assert_grid("--local 6", 6, 1, 128);
	assert_grid("--nodes 256 -p 0", 1, 256, 32768);
	assert_grid("--nodes 1024 -p 4", 4, 256, 32768);
	assert_grid("-H HOSTFILE", 8, 1, 128);
	assert_grid("-H HOSTFILE -p 2", 2, 4, 512);
	assert_grid("-H HOSTFILE -p 0", 1, 8, 1024);
}

static void init_nodes_takes_the_first_hosts_with_all_their_slots(void **state)
{
	assert_grid("-H HOSTFILE --nodes 1", 2, 1, 128);
	assert_grid("-H HOSTFILE --nodes 2", 3, 1, 128);
	assert_grid("-H HOSTFILE --nodes 3 -p 3", 3, 2, 256);
	assert_grid("-H HOSTFILE --nodes 4 -p 4", 4, 2, 256);
}

static void init_batch_sizes_count_the_replicas(void **state)
{
	struct given given;
	assert_grid("--nodes 4 -p 2 --micro-batch-size 8 --gradient-accumulation-steps 3", 2, 2, 48);
	assert_grid("--nodes 4 -p 0 --train-batch-size 64 --micro-batch-size 8", 1, 4, 64);
	give(&given, "--nodes 4 -p 0 --train-batch-size 64 --micro-batch-size 8");
	assert_true(given.ok);
	assert_int_equal(given.setup.config.gradient_accumulation_steps, 2);
	end(&given);
	assert_refused("--nodes 3 -p 0 --train-batch-size 64 --micro-batch-size 8",
		       "train_batch_size 64 is not train_micro_batch_size_per_gpu 8 x gradient_accumulation_steps 2 x "
		       "data-parallel size 3");
}

static void assert_accumulation(const char *text, uint32_t expected)
{
	struct given given;
	uint32_t steps = 0;
	give(&given, text);
	if (!given.ok || !job_setup_accumulation(&given.arguments, &steps, &given.error))
		fail_msg("%s: %s", text, given.error.message);
	assert_int_equal(steps, expected);
	end(&given);
}

static void accumulation_is_the_options_or_the_files_or_4(void **state)
{
	char path[] = "/tmp/penstock-test-job-setup-config-XXXXXX", text[128];
	static const char config[] = "{\"train_micro_batch_size_per_gpu\": 2, \"gradient_accumulation_steps\": 3}";
	int descriptor = mkstemp(path);
	assert_true(descriptor >= 0);
	assert_int_equal(write(descriptor, config, strlen(config)), strlen(config));
	close(descriptor);
	snprintf(text, sizeof(text), "--deepspeed-config %s", path);
	assert_accumulation(text, 3);
	snprintf(text, sizeof(text), "--deepspeed-config %s --gradient-accumulation-steps 5", path);
	assert_accumulation(text, 5);
	unlink(path);
	assert_accumulation("", 4);
	assert_accumulation("--micro-batch-size 2", 4);
}

static void init_bucket_size_reaches_the_plan(void **state)
{
	struct given given;
	give(&given, "-p 0 --nodes 2");
	assert_true(given.ok);
	assert_int_equal(given.setup.plan->options.reduce_bucket_bytes, 25 << 20);
	end(&given);
	give(&given, "-p 0 --nodes 2 --reduce-bucket-size 64KiB");
	assert_true(given.ok);
	assert_int_equal(given.setup.plan->options.reduce_bucket_bytes, 64 << 10);
	end(&given);
	assert_refused("--reduce-bucket-size 4095", "--reduce-bucket-size: \"4095\" is not from 4.0 KiB to 1.0 GiB");
	assert_refused("--reduce-bucket-size 2GiB", "--reduce-bucket-size: \"2GiB\" is not from 4.0 KiB");
	assert_refused("--reduce-bucket-size big", "--reduce-bucket-size: \"big\"");
}

static void init_uneven_devices_are_refused_with_both_numbers(void **state)
{
	assert_refused("-H HOSTFILE -p 3", "pipeline size 3 does not divide the 8 devices of /tmp/");
	assert_refused("-H HOSTFILE -p 3", "fewer nodes with --nodes");
	assert_refused("-H HOSTFILE --nodes 2 -p 2", "pipeline size 2 does not divide the 3 devices");
	assert_refused("--local 7 -p 3", "does not divide the 7 devices of --local");
	assert_refused("--local 7 -p 3", "or --local 6");
	assert_refused("--nodes 7 -p 3", "or --nodes 6");
	assert_refused("--local 2 -p 3", "pipeline size 3: --local has only 2 slots");
	assert_refused("-H HOSTFILE --nodes 1 -p 3", "has only 2 slots");
}

static void init_too_many_are_refused(void **state)
{
	assert_refused("-H HOSTFILE --nodes 5", "has only 4 nodes");
	assert_refused("--local 1 -p 3", "--local has only 1 slot; each stage needs one");
	assert_refused("-p 2 --split 3 --partition-method uniform",
		       "--split and --partition-method exclude each other");
	assert_refused("--nodes 65", "choose their number with -p");
	assert_refused("--nodes 257 -p 0", "257 replicas: the number must be from 1 to 256");
	assert_refused("--nodes 1025", "--nodes: \"1025\" is not a whole number from 1 to 1024");
	assert_refused("-p 65", "--pipeline-size: \"65\" is not a whole number from 0 to 64");
}

static void read_nodes_and_local_exclude_each_other(void **state)
{
	assert_refused("--local 2 --nodes 2", "--nodes and --local exclude each other");
	assert_refused("--local 2 -H HOSTFILE", "--hostfile and --local exclude each other");
}

// The first ranks' places are the same, however many there are: a sweep starts daemons once.
static void place_ranks_go_through_the_slots_in_order(void **state)
{
	static const struct {
		const char *address;
		uint32_t device;
	} expected[] = {{"a:7070", 0}, {"a:7070", 1}, {"b:1", 0},    {"c:7070", 0},
			{"c:7070", 1}, {"c:7070", 2}, {"d:7070", 0}, {"d:7070", 1}};
	struct given given;
	give(&given, "-H HOSTFILE -p 2");
	assert_true(given.ok);
	assert_true(job_nodes_start(&given.nodes, &given.error)); // which starts nothing
	assert_int_equal(job_nodes_count(&given.nodes), 4);
	assert_int_equal(job_nodes_devices(&given.nodes, 3), 6);
	for (uint32_t ranks = 1; ranks <= 8; ranks++) {
		struct job_place place;
		assert_true(job_nodes_place(&given.nodes, ranks, &place, &given.error));
		for (uint32_t r = 0; r < ranks; r++) {
			assert_string_equal(place.addresses[r], expected[r].address);
			assert_int_equal(place.devices[r], expected[r].device);
		}
		job_place_fini(&place);
	}
	end(&given);
}

static void start_nodes_that_are_only_planned_for_are_refused(void **state)
{
	struct given given;
	give(&given, "--nodes 4");
	assert_true(given.ok);
	assert_false(job_nodes_start(&given.nodes, &given.error));
	assert_int_equal(given.error.code, ERROR_USAGE);
	assert_non_null(strstr(given.error.message, "-H HOSTFILE"));
	end(&given);
}

static void init_takes_the_options_of_deepspeeds_scripts(void **state)
{
	struct given given;
	assert_grid("--deepspeed --deepspeed_config CONFIG -s 10 -p 2 --local_rank=0 --backend nccl", 2, 1, 128);
	assert_grid("--deepspeed --deepspeed_config CONFIG --steps=10 --pipeline-parallel-size 2 --local_rank -1", 2, 1,
		    128);
	give(&given, "--backend=gloo --local-rank 3 --deepspeed -p 1");
	assert_true(given.ok && given.arguments.deepspeed && given.arguments.local_rank == 3);
	assert_string_equal(given.arguments.backend, "gloo");
	end(&given);
	give(&given, "--deepspeed CONFIG"); // it is a switch
	assert_false(given.ok);
	assert_non_null(strstr(given.error.message, "unexpected argument"));
	end(&given);
}

static void init_refuses_a_schedule_that_leaves_its_range_within_the_steps(void **state)
{
	struct given given;
	give(&given, "--deepspeed-config CONFIG --steps 11 -p 1");
	assert_false(given.ok);
	assert_int_equal(given.error.code, ERROR_USAGE);
	assert_non_null(strstr(given.error.message, config_path));
	assert_non_null(strstr(given.error.message, "OneCycle: at step 11 of 11 the first beta of the optimizer is 1"));
	end(&given);
	assert_grid("--deepspeed-config CONFIG --steps 10 -p 1", 1, 1, 128);
}

static void parse_refuses_numbers_that_are_not_finite(void **state)
{
	static const char *const options[] = {"--lr", "--momentum", "--dropout"};
	static const char *const values[] = {"nan", "-nan", "inf", "-inf", "1e999", "-1"};
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
			char text[64];
			struct given given;
			snprintf(text, sizeof(text), "-p 1 %s %s", options[i], values[k]);
			give(&given, text);
			if (given.ok || strstr(given.error.message, "is not a number from 0") == NULL)
				fail_msg("%s: %s", text, given.ok ? "taken" : given.error.message);
			end(&given);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(init_replicas_are_devices_over_stages),
		cmocka_unit_test(init_nodes_takes_the_first_hosts_with_all_their_slots),
		cmocka_unit_test(init_batch_sizes_count_the_replicas),
		cmocka_unit_test(accumulation_is_the_options_or_the_files_or_4),
		cmocka_unit_test(init_bucket_size_reaches_the_plan),
		cmocka_unit_test(init_uneven_devices_are_refused_with_both_numbers),
		cmocka_unit_test(init_too_many_are_refused),
		cmocka_unit_test(read_nodes_and_local_exclude_each_other),
		cmocka_unit_test(place_ranks_go_through_the_slots_in_order),
		cmocka_unit_test(start_nodes_that_are_only_planned_for_are_refused),
		cmocka_unit_test(init_takes_the_options_of_deepspeeds_scripts),
		cmocka_unit_test(init_refuses_a_schedule_that_leaves_its_range_within_the_steps),
		cmocka_unit_test(parse_refuses_numbers_that_are_not_finite),
	};
	return cmocka_run_group_tests(tests, write_files, remove_files);
}
