// See totals.h.
#include "coordinator/report/totals.h"

#include <stdlib.h>

bool totals_init(uint32_t ranks, uint32_t train_batch_size, uint32_t warm_up_steps, struct totals *ret_totals,
		 struct error *error)
{
	struct totals totals = {.ranks = ranks,
				.train_batch_size = train_batch_size,
				.warm_up_steps = warm_up_steps,
				.rank = calloc(ranks, sizeof(*totals.rank)),
				.memory = calloc(ranks, sizeof(*totals.memory))};
	if (totals.rank == NULL || totals.memory == NULL) {
		totals_fini(&totals);
		return error_set(error, ERROR_FAILED, "out of memory");
	}
	*ret_totals = totals;
	return true;
}

void totals_fini(struct totals *totals)
{
	free(totals->rank);
	free(totals->memory);
	*totals = (struct totals){0};
}

void totals_memory(struct totals *totals, uint32_t rank, const struct stage_memory *memory)
{
	totals->memory[rank] = *memory;
}

static void add_rank(struct rank_totals *totals, const struct job_rank_step *rank)
{
	for (int phase = 0; phase < PHASE_COUNT; phase++)
		totals->seconds[phase] += (double)rank->phase_ns[phase] * 1e-9;
	totals->sent_bytes += rank->sent_bytes;
	totals->received_bytes += rank->received_bytes;
}

void totals_step(struct totals *totals, const struct job_step *step)
{
	totals->steps_done++;
	totals->all_seconds += step->seconds;
	if (step->step < totals->warm_up_steps)
		return;
	totals->measured_steps++;
	totals->measured_seconds += step->seconds;
	for (uint32_t r = 0; r < totals->ranks; r++)
		add_rank(&totals->rank[r], &step->ranks[r]);
}

double totals_accuracy(const struct totals *totals, const struct job_step *step)
{
	return (double)step->correct / totals->train_batch_size;
}

double totals_throughput(const struct totals *totals)
{
	if (totals->measured_seconds <= 0.0)
		return 0.0;
	return (double)totals->measured_steps * totals->train_batch_size / totals->measured_seconds;
}

double totals_busy(const struct totals *totals, uint32_t rank)
{
	double busy = 0.0;
	for (int phase = 0; phase < PHASE_FIRST_WAIT; phase++)
		busy += totals->rank[rank].seconds[phase];
	return busy;
}

double totals_bubble(const struct totals *totals, uint32_t rank)
{
	if (totals->measured_seconds <= 0.0)
		return 0.0;
	double share = 1.0 - totals_busy(totals, rank) / totals->measured_seconds;
	return share > 0.0 ? share : 0.0;
}

uint64_t totals_memory_bytes(const struct totals *totals, uint32_t rank)
{
	const struct stage_memory *of = &totals->memory[rank];
	return of->parameter_bytes + of->gradient_bytes + of->optimizer_bytes + of->stash_bytes + of->workspace_bytes +
	       of->exchange_bytes;
}
