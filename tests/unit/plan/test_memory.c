// The plan's memory against what the CPU device itself counts for the same stages, and the executor for its buffers. Programs are
// planned, not allocated, so networks of any size are compared.
#include "tests/unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/rpc/protocol.h"
#include "coordinator/plan/plan.h"
#include "coordinator/models/models.h"
#include "stage_server/exchange/link.h"
#include "stage_server/executor/batches.h"
#include "stage_server/executor/stage_plan.h"

enum {
	PAGE = 4096, // to which a device rounds a kind of memory
	SCRATCH = 128 << 20,
};

struct row {
	const char *model;
	uint32_t image_size, micro_batch_size, pipeline_size, micro_batches, checkpoint_interval, in_flight;
	const char *schedule;
	enum data_type boundary_type;
};

static const struct row rows[] = {
	{"alexnet", 64, 8, 1, 4, 0, 0, "1f1b", DATA_FLOAT32},    {"alexnet", 256, 64, 2, 4, 0, 0, "1f1b", DATA_FLOAT32},
	{"alexnet", 256, 128, 4, 4, 0, 0, "1f1b", DATA_FLOAT32}, {"alexnet", 256, 8, 2, 6, 5, 0, "gpipe", DATA_FLOAT32},
	{"alexnet", 128, 16, 3, 4, 3, 0, "1f1b", DATA_BFLOAT16}, {"vgg11", 64, 8, 4, 4, 0, 0, "1f1b", DATA_FLOAT32},
	{"vgg11", 128, 16, 3, 8, 2, 2, "1f1b", DATA_FLOAT32},    {"vgg11", 224, 4, 8, 8, 7, 0, "1f1b", DATA_FLOAT16},
	{"vgg16", 224, 8, 4, 4, 0, 1, "1f1b", DATA_FLOAT32},     {"vgg16", 512, 8, 1, 4, 0, 0, "1f1b", DATA_FLOAT32},
	{"vgg16", 512, 8, 4, 4, 3, 0, "1f1b", DATA_FLOAT32},     {"vgg16", 512, 32, 8, 4, 0, 0, "1f1b", DATA_FLOAT32},
	{"vgg16", 512, 32, 2, 4, 10, 1, "1f1b", DATA_FLOAT32},   {"vgg16", 96, 2, 8, 4, 1, 0, "1f1b", DATA_FLOAT32},
	{"alexnet", 64, 1, 8, 4, 0, 0, "1f1b", DATA_FLOAT32},    {"alexnet", 64, 7, 20, 4, 0, 0, "1f1b", DATA_BFLOAT16},
	{"alexnet", 64, 3, 22, 64, 0, 0, "gpipe", DATA_FLOAT32}, {"vgg11", 32, 5, 24, 8, 2, 0, "1f1b", DATA_FLOAT32},
};

static struct plan *create(const struct row *row)
{
	struct model model;
	struct plan *plan = NULL;
	struct error error = {0};
	struct plan_options options = {
		.partition_method = "flops",
		.schedule = row->schedule,
		.pipeline_size = row->pipeline_size,
		.data_parallel_size = 1,
		.micro_batch_size = row->micro_batch_size,
		.micro_batches = row->micro_batches,
		.in_flight = row->in_flight,
		.boundary_type = row->boundary_type,
		.checkpoint_interval = row->checkpoint_interval,
		.raw_image_size = 32,
		.standard_deviation = {1, 1, 1},
	};
	// The optimizers in turn, and SGD without a momentum.
	size_t kind = (size_t)(row - rows) % (OPTIMIZER_COUNT + 1);
	optimizer_defaults(kind < OPTIMIZER_COUNT ? (enum optimizer_kind)kind : OPTIMIZER_SGD, &options.optimizer);
	options.optimizer.no_momentum = kind == OPTIMIZER_COUNT;
	if (!models_create_chain(row->model, row->image_size, 10, -1, &model, &error) ||
	    !plan_create(&model, &options, &plan, &error))
		fail_msg("%s", error.message);
	return plan;
}

static void expect_near(const struct row *row, uint32_t s, const char *what, uint64_t planned, uint64_t counted,
			uint64_t allowance)
{
	uint64_t tolerance = counted / 200 + 4 * PAGE;
	if (planned + tolerance < counted || planned > counted + allowance + tolerance)
		fail_msg("%s at %u, micro-batches of %u, stage %u of %u: %s: planned %llu, the device counts %llu",
			 row->model, row->image_size, row->micro_batch_size, s, row->pipeline_size, what,
			 (unsigned long long)planned, (unsigned long long)counted);
}

static void compare_device(const struct row *row, uint32_t s, const struct plan_stage *stage,
			   const struct memory_use *use)
{
	expect_near(row, s, "parameters", stage->parameter_bytes, use->parameter_bytes, 0);
	expect_near(row, s, "gradients", stage->gradient_bytes, use->gradient_bytes, 0);
	expect_near(row, s, "optimizer", stage->optimizer_bytes, use->optimizer_bytes, 0);
	expect_near(row, s, "stash", stage->stash_bytes, use->stash_bytes, 0);
	expect_near(row, s, "workspace", stage->workspace_bytes, use->workspace_bytes, SCRATCH);
}

// A plan that fits must not be refused for some bytes.
static void expect_not_below(const struct row *row, uint32_t s, const struct plan_stage *stage,
			     const struct memory_use *use, uint64_t exchange)
{
	const uint64_t pairs[][2] = {
		{stage->parameter_bytes, use->parameter_bytes},          {stage->gradient_bytes, use->gradient_bytes},
		{stage->optimizer_bytes, use->optimizer_bytes},          {stage->stash_bytes, use->stash_bytes},
		{stage->workspace_bytes, use->workspace_bytes},          {stage->exchange_bytes, exchange},
		{stage->memory_bytes, memory_use_total(use) + exchange},
	};
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (pairs[i][0] < pairs[i][1])
			fail_msg(
				"%s at %u, micro-batches of %u, stage %u of %u: kind %zu: planned %llu, below the %llu "
				"that are counted",
				row->model, row->image_size, row->micro_batch_size, s, row->pipeline_size, i,
				(unsigned long long)pairs[i][0], (unsigned long long)pairs[i][1]);
}

// As the executor adds it up before it opens, of neighbours in other daemons.
static uint64_t exchange_of(const struct stage_plan *plan)
{
	struct batches_options batches = {
		.bytes = {[BATCH_IMAGES] = stage_plan_is_first(plan) ? stage_plan_image_bytes(plan) : 0,
			  [BATCH_LABELS] = stage_plan_is_last(plan) ? plan->micro_batch_size : 0},
		.micro_batches = plan->micro_batches,
		.steps = PROTOCOL_MAXIMUM_QUEUED_STEPS,
		.classes = plan->model.classes,
	};
	uint64_t bytes = batches_bytes(&batches);
	for (int side = 0; side < NEIGHBOUR_COUNT; side++)
		if (plan->boundary[side].exists)
			bytes += link_bytes(
				&(struct link_options){.incoming = {.shape = plan->boundary[side].shape,
								    .depth = plan->boundary[side].receive_depth,
								    .connections = 1},
						       .send_depth = plan->boundary[side].send_depth});
	return bytes;
}

static void compare_stage(const struct device_ops *ops, struct device *device, const struct row *row,
			  const struct plan *plan, uint32_t s)
{
	struct plan_place place = {0};
	struct stage_plan read;
	struct program_spec spec;
	struct program *program = NULL;
	struct memory_use use;
	struct error error = {0};
	struct stage_spec given;
	plan_stage_spec(plan, 0, s, &place, &given);
	if (!stage_plan_read(&given, &read, &error))
		fail_msg("%s", error.message);
	stage_plan_program_spec(&read, &spec);
	if (!ops->program_create(device, &spec, &program, &error))
		fail_msg("%s", error.message);
	ops->program_memory(program, &use);
	compare_device(row, s, &plan->stages[s], &use);
	expect_near(row, s, "exchange", plan->stages[s].exchange_bytes, exchange_of(&read), 0);
	expect_not_below(row, s, &plan->stages[s], &use, exchange_of(&read));
	ops->program_destroy(program);
	stage_plan_fini(&read);
}

static void fill_of_every_stage_is_what_the_cpu_counts(void **state)
{
	const struct device_ops *ops;
	struct device *device = NULL;
	struct error error = {0};
	assert_true(device_find("cpu", &ops, &error));
	if (!ops->create(&(struct device_options){.name = "cpu", .threads = 1}, &device, &error))
		fail_msg("%s", error.message);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct plan *plan = create(&rows[i]);
		for (uint32_t s = 0; s < rows[i].pipeline_size; s++)
			compare_stage(ops, device, &rows[i], plan, s);
		plan_destroy(plan);
	}
	ops->destroy(device);
}

static struct plan *create_replicas(uint32_t replicas, enum plan_device device)
{
	struct model model;
	struct plan *plan = NULL;
	struct error error = {0};
	struct plan_options options = {.partition_method = "flops",
				       .schedule = "1f1b",
				       .pipeline_size = 1,
				       .data_parallel_size = replicas,
				       .micro_batch_size = 8,
				       .micro_batches = 2,
				       .reduce_bucket_bytes = 25 << 20,
				       .device = device,
				       .raw_image_size = 32};
	if (!models_create_chain("vgg11", 64, 10, -1, &model, &error) || !plan_create(&model, &options, &plan, &error))
		fail_msg("%s", error.message);
	return plan;
}

// What four replicas take more than one.
static void fill_of_replicas_counts_the_ring(void **state)
{
	for (int device = PLAN_DEVICE_CPU; device <= PLAN_DEVICE_CUDA; device++) {
		struct plan *one = create_replicas(1, device), *four = create_replicas(4, device);
		uint64_t more = four->stages[0].exchange_bytes - one->stages[0].exchange_bytes;
		uint64_t vector = one->stages[0].parameters * sizeof(float), pieces = 4 * (25 << 20) / 4;
		assert_in_range(more, vector, vector + (25 << 20) + pieces); // whole buckets
		if (device == PLAN_DEVICE_CPU)
			assert_int_equal(four->stages[0].memory_bytes - one->stages[0].memory_bytes, more);
		plan_destroy(one);
		plan_destroy(four);
	}
}

// VGG's largest convolution has 512 x 512 x 3 x 3 weights; the ring is the host's.
static void fill_of_replicas_on_a_gpu_counts_two_buffers_for_gradients(void **state)
{
	struct plan *one = create_replicas(1, PLAN_DEVICE_CUDA), *four = create_replicas(4, PLAN_DEVICE_CUDA);
	uint64_t buffers = 2 * 512 * 512 * 9 * sizeof(float);
	assert_int_equal(four->stages[0].workspace_bytes - one->stages[0].workspace_bytes, buffers);
	assert_int_equal(four->stages[0].memory_bytes - one->stages[0].memory_bytes, buffers);
	plan_destroy(one);
	plan_destroy(four);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fill_of_every_stage_is_what_the_cpu_counts),
		cmocka_unit_test(fill_of_replicas_counts_the_ring),
		cmocka_unit_test(fill_of_replicas_on_a_gpu_counts_two_buffers_for_gradients),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
