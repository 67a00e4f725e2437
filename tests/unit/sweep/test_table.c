// sweep.md and sweep.csv, held against texts that were written by hand.
#include "tests/unit/sweep/deepspeed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/sweep/csv.h"
#include "coordinator/sweep/table.h"

static char *text_of(const struct sweep *sweep, void (*write)(const struct sweep *sweep, FILE *out))
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	write(sweep, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void assert_has(const char *text, const char *expected)
{
	if (text == NULL || strstr(text, expected) == NULL)
		fail_msg("expected\n%s\nin\n%s", expected, text != NULL ? text : "nothing");
}

// Two nodes, micro-batches of 8: one cell of every outcome.
static struct sweep *small_sweep(void)
{
	static const double rates[] = {10, 0, OOM, 15, OOM, OOM};
	struct sweep *sweep =
		make_sweep("0,2", "8", "1,2,4", json_pack("{s:s, s:i}", "model", "alexnet", "steps", 7), rates);
	strcpy(sweep->title, "alexnet, image size 63");
	strcpy(sweep->note, "4 daemons on one machine of 2 cores");
	struct sweep_result *done = &sweep->results[0], *second = &sweep->results[3];
	done->figures = (struct sweep_figures){.devices = 1,
					       .stages = 1,
					       .replicas = 1,
					       .gradient_accumulation_steps = 4,
					       .train_batch_size = 32,
					       .steps = 5,
					       .warm_up_steps = 2,
					       .samples_per_second = 10,
					       .step_seconds_median = 3.2,
					       .step_seconds_minimum = 3.125,
					       .step_seconds_maximum = 3.5,
					       .step_seconds_deviation = 0.25,
					       .bubble = 0.0625,
					       .compute_share = 0.875,
					       .copy_share = 0.0625,
					       .wait_coordinator_share = 0.03125,
					       .memory_bytes = 3 * 1024 * 1024};
	second->figures.bubble = 0.5;
	second->figures.compute_share = 0.5;
	second->figures.wait_next_share = 0.25;
	second->figures.wait_previous_share = 0.125;
	second->figures.wait_replicas_share = 0.0625;
	strcpy(second->fit, "recomputed every 3 layers, 5 % slower");
	strcpy(sweep->results[2].message, "stage 0 needs \"9 GiB\", and 1 is free");
	sweep->results[4].outcome = SWEEP_FAILED;
	strcpy(sweep->results[4].message, "stage 1 on a_b: *lost*");
	sweep->results[5].outcome = SWEEP_MISSING;
	sweep->results[5].message[0] = '\0';
	return sweep;
}

static void check_small_sweep(void (*write)(const struct sweep *sweep, FILE *out), const char *expected)
{
	struct sweep *sweep = small_sweep();
	char *text = text_of(sweep, write);
	assert_string_equal(text, expected);
	free(text);
	sweep_destroy(sweep);
}

static void csv_of_every_outcome_is_the_golden_text(void **state)
{
	static const char expected[] =
		"nodes,pipeline_size,micro_batch_size,outcome,efficiency,devices,stages,replicas,gradient_accumulation_"
		"steps,"
		"train_batch_size,steps,warm_up_steps,samples_per_second,step_seconds_median,step_seconds_minimum,"
		"step_seconds_maximum,step_seconds_deviation,bubble,compute_share,copy_share,wait_previous_share,"
		"wait_next_share,wait_replicas_share,wait_coordinator_share,memory_bytes,fit,message\n"
		"1,0,8,done,1,1,1,1,4,32,5,2,10,3.2,3.125,3.5,0.25,0.0625,0.875,0.0625,0,0,0,0.03125,3145728,,\n"
		"1,2,8,empty,,,,,,,,,,,,,,,,,,,,,,,\"2 stages, but 1 node with 1 device\"\n"
		"2,0,8,out of memory,,,,,,,,,,,,,,,,,,,,,,,\"stage 0 needs \"\"9 GiB\"\", and 1 is free\"\n"
		"2,2,8,done,0.75,2,2,1,0,0,0,0,15,0,0,0,0,0.5,0.5,0,0.125,0.25,0.0625,0,0,"
		"\"recomputed every 3 layers, 5 % slower\",\n"
		"4,0,8,failed,,,,,,,,,,,,,,,,,,,,,,,stage 1 on a_b: *lost*\n"
		"4,2,8,missing,,,,,,,,,,,,,,,,,,,,,,,\n";
	check_small_sweep(sweep_csv_write, expected);
}

static void table_of_every_outcome_is_the_golden_text(void **state)
{
	static const char expected[] =
		"# Sweep: alexnet, image size 63\n"
		"\n"
		"**4 daemons on one machine of 2 cores**\n"
		"\n"
		"## Throughput\n"
		"\n"
		"Samples/s by nodes, size of the micro-batches (µb) and pipeline size (p; 0: no pipeline, every device "
		"holds the whole model).\n"
		"\n"
		"| nodes | µb 8: p=0 | p=2 |\n"
		"|---|---:|---:|\n"
		"| 1 | 10.00 |  |\n"
		"| 2 | out of memory | 15.00 |\n"
		"| 4 | failed | not run |\n"
		"\n"
		"## Efficiency\n"
		"\n"
		"Samples/s over devices x samples/s of one device with the same micro-batch: 1 is ideal.\n"
		"\n"
		"| nodes | µb 8: p=0 | p=2 |\n"
		"|---|---:|---:|\n"
		"| 1 | 1.00 |  |\n"
		"| 2 |  | 0.75 |\n"
		"| 4 |  |  |\n"
		"\n"
		"## Where the time goes\n"
		"\n"
		"Shares of a step in %, means over the devices. They add up to 100: other is what no part accounts "
		"for, "
		"and where a device computes while its stage waits, all are shown in proportion. The bubble is all but "
		"computing and copying. The memory is that of the device that reserves most.\n"
		"\n"
		"| nodes | p | µb | ms/step | min | max | computing | copying | waiting: previous | next | replicas | "
		"coordinator | other | bubble | memory |\n"
		"|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
		"| 1 | 0 | 8 | 3200.0 | 3125.0 | 3500.0 | 87.5 | 6.3 | 0.0 | 0.0 | 0.0 | 3.1 | 3.1 | 6.2 | 3.0 MiB |\n"
		"| 2 | 2 | 8 | 0.0 | 0.0 | 0.0 | 50.0 | 0.0 | 12.5 | 25.0 | 6.3 | 0.0 | 6.2 | 50.0 | 0 B |\n"
		"\n"
		"## How cells were made to fit\n"
		"\n"
		"- 2 nodes, pipeline size 2, micro-batches of 8: recomputed every 3 layers, 5 % slower\n"
		"\n"
		"## Out of memory\n"
		"\n"
		"- 2 nodes, pipeline size 0, micro-batches of 8: stage 0 needs \"9 GiB\", and 1 is free\n"
		"\n"
		"## Failed\n"
		"\n"
		"- 4 nodes, pipeline size 0, micro-batches of 8: stage 1 on a\\_b: \\*lost\\*\n"
		"\n"
		"## Empty cells\n"
		"\n"
		"- 1 node, pipeline size 2: 2 stages, but 1 node with 1 device\n"
		"\n"
		"## Setting\n"
		"\n"
		"- model: alexnet\n"
		"- steps: 7\n";
	check_small_sweep(sweep_table_write, expected);
}

static void table_of_deepspeeds_figures_has_the_layout_of_the_original(void **state)
{
	struct sweep *sweep = deepspeed_vgg();
	char *text = text_of(sweep, sweep_table_write);
	assert_has(text, "| nodes | µb 32: p=0 | p=2 | p=4 | p=8 | µb 8: p=0 | p=2 | p=4 | p=8 |\n"
			 "|---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
			 "| 1 | out of memory |  |  |  | 21.04 |  |  |  |\n"
			 "| 4 | out of memory | out of memory | out of memory |  | 73.97 | 52.15 | 40.48 |  |\n"
			 "| 8 | out of memory | out of memory | out of memory | out of memory | 144.5 | 103.9 | 77.05 "
			 "| 56.16 |\n");
	// 56.155 / (8 x 21.036), as the issue reads them
	assert_has(text, "| 8 |  |  |  |  | 0.86 | 0.62 | 0.46 | 0.33 |\n");
	assert_has(text, "\nNone for micro-batches of 32: the cell they refer to, 1 node at pipeline size 0, is out of "
			 "memory.\n");
	free(text);
	sweep_destroy(sweep);
}

// What diverged would diverge again: it is a result, with its reason, and no throughput.
static void diverged_cell_is_a_result(void **state)
{
	struct sweep *sweep = small_sweep();
	sweep->results[4].outcome = SWEEP_DIVERGED;
	strcpy(sweep->results[4].message, "step 3: training diverged");
	sweep->results[5].outcome = SWEEP_DONE;
	assert_true(sweep_is_complete(sweep));
	enum sweep_outcome outcome = SWEEP_MISSING;
	assert_true(sweep_outcome_parse(sweep_outcome_name(SWEEP_DIVERGED), &outcome));
	assert_int_equal(outcome, SWEEP_DIVERGED);
	char *text = text_of(sweep, sweep_table_write);
	assert_has(text, "| 4 | diverged |");
	assert_has(text, "## Diverged");
	assert_has(text, "step 3: training diverged");
	free(text);
	sweep_destroy(sweep);
}

static void efficiency_without_a_cell_of_one_device_is_not_invented(void **state)
{
	static const double rates[] = {30, 15, 40, 20};
	struct sweep *sweep = make_sweep("0,2", "8", "2,4", json_object(), rates);
	for (uint32_t i = 0; i < sweep->count; i++)
		assert_true(isnan(sweep_efficiency(sweep, &sweep->results[i])));
	assert_null(sweep_base(sweep, 8));
	char *text = text_of(sweep, sweep_table_write);
	assert_has(text, "None for micro-batches of 8: the sweep has no cell of 1 node at pipeline size 0 or 1");
	free(text);
	sweep_destroy(sweep);
}

static void efficiency_with_two_devices_a_node_is_not_invented(void **state)
{
	static const double rates[] = {30};
	struct sweep *sweep = make_sweep("0", "8", "1", json_object(), rates);
	assert_true(sweep_efficiency(sweep, &sweep->results[0]) == 1.0);
	sweep->results[0].figures.devices = 2;
	assert_true(isnan(sweep_efficiency(sweep, &sweep->results[0])));
	char *text = text_of(sweep, sweep_table_write);
	assert_has(text, "None for micro-batches of 8: 1 node has 2 devices");
	free(text);
	sweep_destroy(sweep);
}

static void efficiency_refers_to_one_stage_where_there_is_no_pipeline_size_0(void **state)
{
	static const double rates[] = {20, 0, 30, 10};
	struct sweep *sweep = make_sweep("1,2", "8", "1,2", json_object(), rates);
	assert_true(sweep_efficiency(sweep, &sweep->results[2]) == 0.75);
	assert_true(sweep_efficiency(sweep, &sweep->results[3]) == 0.25);
	sweep->results[0].outcome = SWEEP_FAILED;
	assert_true(isnan(sweep_efficiency(sweep, &sweep->results[2])));
	sweep_destroy(sweep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(csv_of_every_outcome_is_the_golden_text),
		cmocka_unit_test(table_of_every_outcome_is_the_golden_text),
		cmocka_unit_test(table_of_deepspeeds_figures_has_the_layout_of_the_original),
		cmocka_unit_test(diverged_cell_is_a_result),
		cmocka_unit_test(efficiency_without_a_cell_of_one_device_is_not_invented),
		cmocka_unit_test(efficiency_with_two_devices_a_node_is_not_invented),
		cmocka_unit_test(efficiency_refers_to_one_stage_where_there_is_no_pipeline_size_0),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
