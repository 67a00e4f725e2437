// See learning_rate_course.h.
//
// A run may have 10^9 steps, so not every one is looked at. Each schedule is made of a few pieces in which rate and momentum rise,
// fall or stay: within one the values that are out of range are at its ends, and the first of them is found by halving.
#include "coordinator/config/learning_rate_course.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>

enum { MAXIMUM_PIECES = 6 };

struct course {
	const struct learning_rate_schedule *schedule;
	double base_lr, base_momentum;
};

// The last step of each piece but the last piece, in order. Returns how many there are.
static size_t list_pieces(const struct learning_rate_schedule *schedule, uint64_t ends[MAXIMUM_PIECES])
{
	size_t count = 0;
	uint64_t warmup = schedule->warmup_num_steps < 2 ? 2 : schedule->warmup_num_steps;
	uint64_t first = schedule->cycle_first_step_size, second = schedule->cycle_second_step_size;
	switch (schedule->kind) {
	case LEARNING_RATE_CONSTANT:
	case LEARNING_RATE_KINDS:
	case LEARNING_RATE_RANGE_TEST:
		break;
	case LEARNING_RATE_WARMUP:
	case LEARNING_RATE_WARMUP_DECAY:
	case LEARNING_RATE_WARMUP_COSINE:
		ends[count++] = 0;
		ends[count++] = warmup; // step = last_batch_iteration + 1, see learning_rate.c
		if (schedule->total_num_steps > warmup)
			ends[count++] = schedule->total_num_steps;
		break;
	case LEARNING_RATE_ONE_CYCLE:
		ends[count++] = 0;
		ends[count++] = first;
		if (second > 1)
			ends[count++] = first + second - 1;
		ends[count++] = first + second;
		break;
	}
	return count;
}

static bool is_right(const struct course *course, uint64_t step)
{
	struct learning_rate_value value =
		learning_rate_at(course->schedule, step, course->base_lr, course->base_momentum);
	float rate = (float)value.learning_rate, momentum = (float)value.momentum;
	return isfinite(rate) && rate >= 0 && (!course->schedule->cycle_momentum || (momentum >= 0 && momentum < 1));
}

// The first wrong step of a piece; `end` if there is none but that.
static uint64_t find_first(const struct course *course, uint64_t begin, uint64_t end)
{
	if (!is_right(course, begin))
		return begin;
	while (end - begin > 1) { // begin is right, end is wrong
		uint64_t middle = begin + (end - begin) / 2;
		if (is_right(course, middle))
			begin = middle;
		else
			end = middle;
	}
	return end;
}

static bool refuse(const struct course *course, uint64_t step, uint64_t steps, struct error *error)
{
	const struct learning_rate_schedule *schedule = course->schedule;
	struct learning_rate_value value = learning_rate_at(schedule, step, course->base_lr, course->base_momentum);
	const char *name = learning_rate_name(schedule->kind);
	if (!isfinite((float)value.learning_rate) || value.learning_rate < 0)
		return error_set(
			error, ERROR_USAGE,
			"scheduler %s: at step %" PRIu64 " of %" PRIu64
			" the learning rate is %.9g; the largest that a float holds is 3.4e38: change scheduler.params",
			name, step + 1, steps, value.learning_rate);
	return error_set(
		error, ERROR_USAGE,
		"scheduler %s: at step %" PRIu64 " of %" PRIu64
		" the first beta of the optimizer is %.9g, as a float %.9g; it must be from 0 to below 1: lower "
		"cycle_max_mom or decay_mom_rate, or write \"cycle_momentum\": false",
		name, step + 1, steps, value.momentum, (double)(float)value.momentum);
}

bool learning_rate_check_course(const struct learning_rate_schedule *schedule, double base_lr, double base_momentum,
				uint64_t steps, struct error *error)
{
	const struct course course = {schedule, base_lr, base_momentum};
	uint64_t ends[MAXIMUM_PIECES], begin = 0;
	size_t count = list_pieces(schedule, ends);
	ends[count++] = UINT64_MAX;
	for (size_t i = 0; i < count && begin < steps; i++) {
		uint64_t end = ends[i] < steps ? ends[i] : steps - 1;
		if (!is_right(&course, begin) || !is_right(&course, end))
			return refuse(&course, find_first(&course, begin, end), steps, error);
		begin = end + 1;
	}
	return true;
}
