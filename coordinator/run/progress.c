// See progress.h.
#include "coordinator/run/progress.h"

#define MS UINT64_C(1000000)

void progress_note(struct progress *progress, uint64_t moved_ns, bool is_measured)
{
	if (moved_ns <= progress->last_ns)
		return;
	uint64_t stretch_ns = progress->last_ns != 0 ? moved_ns - progress->last_ns : 0;
	if (is_measured && stretch_ns > progress->longest_ns)
		progress->longest_ns = stretch_ns;
	progress->last_ns = moved_ns;
}

uint64_t progress_limit_ms(const struct progress *progress, bool is_opening)
{
	if (progress->floor_ms == 0)
		return UINT64_MAX;
	if (is_opening)
		return progress->floor_ms * PROGRESS_OPENING_FACTOR;
	uint64_t past_ms = progress->longest_ns / MS * PROGRESS_FACTOR;
	return past_ms > progress->floor_ms ? past_ms : progress->floor_ms;
}

static bool holds_more(const struct progress_rank *a, const struct progress_rank *b)
{
	return a->device_ns != b->device_ns ? a->device_ns > b->device_ns : a->moved_ns < b->moved_ns;
}

uint32_t progress_find_holder(const struct progress_rank *ranks, uint32_t count)
{
	uint32_t holder = count;
	for (uint32_t r = 0; r < count; r++)
		if (ranks[r].is_awaited && (holder == count || holds_more(&ranks[r], &ranks[holder])))
			holder = r;
	return holder;
}
