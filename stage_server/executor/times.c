// Where a step's time goes: what the executor's thread waits for and copies by the host's clock, what the device computes by its own marks.
#include "common/base/clock.h"
#include "stage_server/executor/step.h"

void step_count_time(uint64_t *sum, uint64_t begin)
{
	*sum += clock_now_ns() - begin;
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

void step_end_wait(struct executor *executor, uint64_t *sum, uint64_t begin)
{
	step_count_time(sum, begin);
	step_turn_to_device(executor);
}

bool step_mark(struct executor *executor, enum mark mark, uint32_t micro_batch, struct error *error)
{
	return executor->ops->mark(executor->program, stage_plan_mark(executor->plan, mark, micro_batch), error);
}

bool step_sum_times(struct executor *executor, struct error *error)
{
	const struct stage_plan *plan = executor->plan;
	struct step_report *report = &executor->report;
	const struct {
		enum mark begin, end;
		uint32_t count;
		uint64_t *sum;
	} works[] = {
		{MARK_FORWARD_BEGIN, MARK_FORWARD_END, plan->micro_batches, &report->forward_ns},
		{MARK_BACKWARD_BEGIN, MARK_BACKWARD_END, plan->micro_batches, &report->backward_ns},
		{MARK_OPTIMIZER_BEGIN, MARK_OPTIMIZER_END, 1, &report->optimizer_ns},
		{MARK_REDUCE_BEGIN, MARK_REDUCE_END, plan->reduce_in_group, &report->wait_replicas_ns},
	};
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
		for (uint32_t b = 0; b < works[i].count; b++) {
			uint64_t ns = 0;
			if (!executor->ops->elapsed(executor->program, stage_plan_mark(plan, works[i].begin, b),
						    stage_plan_mark(plan, works[i].end, b), &ns, error))
				return false;
			*works[i].sum += ns;
		}
	report->optimizer_ns += report->norms_ns;
	return true;
}

static void count_metrics(struct executor *executor)
{
	const struct step_report *report = &executor->report;
	const struct stage_metrics *metrics = &executor->metrics;
	const struct stage_plan *plan = executor->plan;
	metric_add(metrics->steps, 1);
	metric_add(metrics->micro_batches, plan->micro_batches);
	metric_add(metrics->samples, (uint64_t)plan->micro_batches * plan->micro_batch_size);
	metric_add(metrics->copy, report->copy_ns);
	metric_add(metrics->forward, report->forward_ns);
	metric_add(metrics->backward, report->backward_ns);
	metric_add(metrics->optimizer, report->optimizer_ns);
	metric_add(metrics->wait_previous, report->wait_ns[NEIGHBOUR_PREVIOUS]);
	metric_add(metrics->wait_next, report->wait_ns[NEIGHBOUR_NEXT]);
	metric_add(metrics->wait_replicas, report->wait_replicas_ns);
	metric_add(metrics->wait_coordinator, report->wait_coordinator_ns);
}

// Before its first step a stage waits until all others have opened, which is no step's time: `waited_ns` for the order.
static void add_to_totals(struct executor *executor, uint64_t waited_ns)
{
	const struct step_report *report = &executor->report;
	const struct stage_plan *plan = executor->plan;
	struct step_totals *totals = &executor->totals;
	pthread_mutex_lock(&executor->lock);
	totals->counted_ns = clock_now_ns();
	totals->wait_coordinator_ns += report->wait_coordinator_ns - (totals->steps == 0 ? waited_ns : 0);
	totals->steps++;
	totals->samples += (uint64_t)plan->micro_batches * plan->micro_batch_size;
	totals->copy_ns += report->copy_ns;
	totals->forward_ns += report->forward_ns;
	totals->backward_ns += report->backward_ns;
	totals->optimizer_ns += report->optimizer_ns;
	for (int side = 0; side <= NEIGHBOUR_NEXT; side++)
		totals->wait_ns[side] += report->wait_ns[side];
	totals->wait_replicas_ns += report->wait_replicas_ns;
	pthread_mutex_unlock(&executor->lock);
}

void step_count(struct executor *executor, uint64_t waited_ns)
{
	count_metrics(executor);
	add_to_totals(executor, waited_ns);
}
