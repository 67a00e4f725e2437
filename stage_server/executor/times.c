// Where a step's time goes: what the executor's thread waits for and copies by the host's clock, what the device computes by its own marks.
#include "common/base/clock.h"
#include "stage_server/executor/step.h"

void step_count_time(struct executor *executor, enum phase phase, uint64_t begin)
{
	executor->report.phase_ns[phase] += clock_now_ns() - begin;
}

void step_turn_to_device(struct executor *executor)
{
	atomic_store_explicit(&executor->device_since_ns, clock_now_ns(), memory_order_relaxed);
}

uint64_t step_begin_wait(struct executor *executor)
{
	atomic_store_explicit(&executor->device_since_ns, 0, memory_order_relaxed);
	return clock_now_ns();
}

void step_end_wait(struct executor *executor, enum phase phase, uint64_t begin)
{
	step_count_time(executor, phase, begin);
	step_turn_to_device(executor);
}

bool step_mark(struct executor *executor, enum mark mark, uint32_t micro_batch, struct error *error)
{
	return executor->ops->mark(executor->program, stage_plan_mark(executor->plan, mark, micro_batch), error);
}

bool step_sum_times(struct executor *executor, struct error *error)
{
	const struct stage_plan *plan = executor->plan;
	const struct {
		enum mark begin, end;
		uint32_t count;
		enum phase phase;
	} works[] = {
		{MARK_FORWARD_BEGIN, MARK_FORWARD_END, plan->micro_batches, PHASE_FORWARD},
		{MARK_BACKWARD_BEGIN, MARK_BACKWARD_END, plan->micro_batches, PHASE_BACKWARD},
		{MARK_OPTIMIZER_BEGIN, MARK_OPTIMIZER_END, 1, PHASE_OPTIMIZER},
		{MARK_REDUCE_BEGIN, MARK_REDUCE_END, plan->reduce_in_group, PHASE_WAIT_REPLICAS},
	};
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
		for (uint32_t b = 0; b < works[i].count; b++) {
			uint64_t ns = 0;
			if (!executor->ops->elapsed(executor->program, stage_plan_mark(plan, works[i].begin, b),
						    stage_plan_mark(plan, works[i].end, b), &ns, error))
				return false;
			executor->report.phase_ns[works[i].phase] += ns;
		}
	return true;
}

static void count_metrics(struct executor *executor, uint64_t samples)
{
	const struct stage_metrics *metrics = &executor->metrics;
	metric_add(metrics->steps, 1);
	metric_add(metrics->micro_batches, executor->plan->micro_batches);
	metric_add(metrics->samples, samples);
	for (int phase = 0; phase < PHASE_COUNT; phase++)
		metric_add(metrics->phases[phase], executor->report.phase_ns[phase]);
}

// Before its first step a stage waits until all others have opened, which is no step's time: `waited_ns` for the order.
static void add_to_totals(struct executor *executor, uint64_t samples, uint64_t waited_ns)
{
	struct step_totals *totals = &executor->totals;
	pthread_mutex_lock(&executor->lock);
	totals->counted_ns = clock_now_ns();
	for (int phase = 0; phase < PHASE_COUNT; phase++)
		totals->phase_ns[phase] += executor->report.phase_ns[phase];
	if (totals->steps == 0)
		totals->phase_ns[PHASE_WAIT_COORDINATOR] -= waited_ns;
	totals->steps++;
	totals->samples += samples;
	pthread_mutex_unlock(&executor->lock);
}

void step_count(struct executor *executor, uint64_t waited_ns)
{
	uint64_t samples = (uint64_t)executor->plan->micro_batches * executor->plan->micro_batch_size;
	count_metrics(executor, samples);
	add_to_totals(executor, samples, waited_ns);
}
