// Learning-rate schedules after DeepSpeed's deepspeed/runtime/lr_schedules.py. See learning_rate.h.
//
// DeepSpeed's schedulers keep last_batch_iteration: -1 when they are built, and one more each time the engine
// calls step(), which it does after the optimizer's step. So the optimizer's step number s (from 0) runs with
// the value of last_batch_iteration = s - 1, and step 0 with what the constructor put into the optimizer. The
// arithmetic keeps DeepSpeed's order of operations, in double as Python's, so that the values agree to the
// last bit or two.
#include "coordinator/config/learning_rate.h"

#include <math.h>

const char *learning_rate_name(enum learning_rate_kind kind)
{
	static const char *const names[LEARNING_RATE_KINDS] = {
		[LEARNING_RATE_CONSTANT] = "",
		[LEARNING_RATE_WARMUP] = "WarmupLR",
		[LEARNING_RATE_WARMUP_DECAY] = "WarmupDecayLR",
		[LEARNING_RATE_WARMUP_COSINE] = "WarmupCosineLR",
		[LEARNING_RATE_RANGE_TEST] = "LRRangeTest",
		[LEARNING_RATE_ONE_CYCLE] = "OneCycle",
	};
	return names[kind];
}

// Rises from 0 to 1 over the warm-up; `iteration` is last_batch_iteration and not negative.
static double warmup_fraction(const struct learning_rate_schedule *schedule, double iteration, double warmup_steps)
{
	if (schedule->warmup_linear)
		return iteration / warmup_steps;
	return 1.0 / log(warmup_steps) * log(iteration + 1.0);
}

// At least 2, as in DeepSpeed, which divides by its logarithm.
static double warmup_steps_of(const struct learning_rate_schedule *schedule)
{
	return schedule->warmup_num_steps < 2 ? 2 : schedule->warmup_num_steps;
}

static double warmup_learning_rate(const struct learning_rate_schedule *schedule, uint64_t step)
{
	if (step == 0)
		return schedule->warmup_min_lr;
	double iteration = (double)(step - 1);
	double warmup_steps = warmup_steps_of(schedule);
	double gamma = 1.0;
	if (iteration < warmup_steps) {
		gamma = warmup_fraction(schedule, iteration, warmup_steps);
	} else if (schedule->kind == LEARNING_RATE_WARMUP_DECAY) {
		double total = schedule->total_num_steps;
		gamma = fmax(0.0, (total - iteration) / fmax(1.0, total - warmup_steps));
	}
	return schedule->warmup_min_lr + (schedule->warmup_max_lr - schedule->warmup_min_lr) * gamma;
}

// What the peak is multiplied by.
static double warmup_cosine_ratio(const struct learning_rate_schedule *schedule, uint64_t step)
{
	if (step == 0)
		return 0.0; // whatever warmup_min_ratio says: DeepSpeed's constructor sets it
	double iteration = (double)(step - 1);
	double warmup_steps = warmup_steps_of(schedule);
	if (iteration < warmup_steps)
		return schedule->warmup_min_ratio +
		       warmup_fraction(schedule, iteration, warmup_steps) * (1.0 - schedule->warmup_min_ratio);
	double progress =
		fmin(1.0, (iteration - warmup_steps + 1.0) / fmax(1.0, schedule->total_num_steps - warmup_steps));
	double ratio = (1.0 + cos(M_PI * progress)) / 2.0;
	return fmax(0.0, schedule->cos_min_ratio + (1.0 - schedule->cos_min_ratio) * ratio);
}

static double range_test_learning_rate(const struct learning_rate_schedule *schedule, uint64_t step)
{
	double interval = (double)step / (schedule->range_test_step_size == 0 ? 1 : schedule->range_test_step_size);
	if (schedule->range_test_staircase)
		interval = floor(interval);
	return schedule->range_test_min_lr * (1.0 + schedule->range_test_step_rate * interval);
}

struct cycle {
	double first, second, total; // steps up, down, both
};

static struct cycle cycle_of(const struct learning_rate_schedule *schedule)
{
	struct cycle cycle;
	cycle.first = schedule->cycle_first_step_size == 0 ? 1 : schedule->cycle_first_step_size;
	cycle.second = schedule->cycle_second_step_size;
	cycle.total = cycle.first + cycle.second;
	return cycle;
}

// 0 at the ends of the cycle, 1 at its top; in stairs where a stair count is set.
static double cycle_scale(const struct learning_rate_schedule *schedule, struct cycle cycle, uint64_t step)
{
	double position = (double)step / cycle.total;
	double x = 1.0 + position - floor(1.0 + position);
	double turn = cycle.first / cycle.total;
	bool rising = x <= turn;
	uint32_t stairs = rising ? schedule->cycle_first_stair_count : schedule->cycle_second_stair_count;
	if (stairs == 0)
		return rising ? x / turn : (x - 1.0) / (turn - 1.0);
	// From the whole step number, not from x: x can land just under a stair's edge.
	double offset = fmod((double)step, cycle.total);
	double stair =
		offset <= cycle.first ? offset * stairs / cycle.first : (cycle.total - offset) * stairs / cycle.second;
	return floor(stair) / stairs;
}

static struct learning_rate_value one_cycle(const struct learning_rate_schedule *schedule, uint64_t step,
					    double base_momentum)
{
	struct learning_rate_value value = {.learning_rate = schedule->cycle_min_lr, .momentum = base_momentum};
	struct cycle cycle = cycle_of(schedule);
	if (step == 0) {
		// DeepSpeed's constructor sets the lowest momentum beside the lowest rate, although the cycle
		// itself starts from the highest. We do the same, so that both give the same training.
		if (schedule->cycle_momentum)
			value.momentum = schedule->cycle_min_mom;
		return value;
	}
	if ((double)(step - 1) < cycle.total) {
		double scale = cycle_scale(schedule, cycle, step);
		value.learning_rate += (schedule->cycle_max_lr - schedule->cycle_min_lr) * scale;
		if (schedule->cycle_momentum)
			value.momentum =
				schedule->cycle_max_mom - (schedule->cycle_max_mom - schedule->cycle_min_mom) * scale;
		return value;
	}
	double interval = 0.0; // no decay without a step size
	if (schedule->decay_step_size > 0)
		interval = ((double)step - cycle.total) / schedule->decay_step_size;
	value.learning_rate /= 1.0 + schedule->decay_lr_rate * interval;
	if (schedule->cycle_momentum)
		value.momentum = schedule->cycle_max_mom * (1.0 + schedule->decay_mom_rate * interval);
	return value;
}

struct learning_rate_value learning_rate_at(const struct learning_rate_schedule *schedule, uint64_t step,
					    double base_lr, double base_momentum)
{
	struct learning_rate_value value = {.learning_rate = base_lr, .momentum = base_momentum};
	switch (schedule->kind) {
	case LEARNING_RATE_CONSTANT:
		break;
	case LEARNING_RATE_WARMUP:
	case LEARNING_RATE_WARMUP_DECAY:
		value.learning_rate = warmup_learning_rate(schedule, step);
		break;
	case LEARNING_RATE_WARMUP_COSINE:
		value.learning_rate = schedule->warmup_max_lr * warmup_cosine_ratio(schedule, step);
		break;
	case LEARNING_RATE_RANGE_TEST:
		value.learning_rate = range_test_learning_rate(schedule, step);
		break;
	case LEARNING_RATE_KINDS:
		break;
	case LEARNING_RATE_ONE_CYCLE:
		value = one_cycle(schedule, step, base_momentum);
		break;
	}
	return value;
}
