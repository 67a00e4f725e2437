// "scheduler" of ds_config.json: the parameters of DeepSpeed's learning-rate schedules, with its defaults.
// What they mean is in learning_rate.c.
#include <float.h>
#include <string.h>

#include "coordinator/config/deepspeed_sections.h"

enum { TYPE_SIZE = 40, MAXIMUM_STEPS = 1000000000, MAXIMUM_STAIRS = 1000000 };

static const double largest = FLT_MAX;

static void require(struct json_keys *params, const char *name, enum learning_rate_kind kind)
{
	if (!json_keys_has(params, name))
		json_keys_mistake(params, name, "%s needs %s%s", learning_rate_name(kind), params->prefix, name);
}

static void read_warmup(struct json_keys *params, double learning_rate, struct learning_rate_schedule *schedule)
{
	char type[TYPE_SIZE] = "log";
	schedule->warmup_num_steps = 1000;
	schedule->cos_min_ratio = 0.0001;
	schedule->warmup_max_lr = schedule->kind == LEARNING_RATE_WARMUP_DECAY ? 0.001 : learning_rate;
	if (schedule->kind == LEARNING_RATE_WARMUP_COSINE) {
		json_keys_number(params, "warmup_min_ratio", 0, largest, &schedule->warmup_min_ratio);
		json_keys_number(params, "cos_min_ratio", 0, largest, &schedule->cos_min_ratio);
	} else {
		json_keys_number(params, "warmup_min_lr", 0, largest, &schedule->warmup_min_lr);
		json_keys_number(params, "warmup_max_lr", 0, largest, &schedule->warmup_max_lr);
	}
	json_keys_count(params, "warmup_num_steps", 1, MAXIMUM_STEPS, &schedule->warmup_num_steps);
	json_keys_string(params, "warmup_type", type, sizeof(type));
	schedule->warmup_linear = strcmp(type, "linear") == 0;
	if (!schedule->warmup_linear && strcmp(type, "log") != 0)
		json_keys_mistake(params, "warmup_type", "%swarmup_type is \"%s\"; expected \"log\" or \"linear\"",
				  params->prefix, type);
	if (schedule->kind == LEARNING_RATE_WARMUP)
		return;
	require(params, "total_num_steps", schedule->kind);
	json_keys_count(params, "total_num_steps", 1, MAXIMUM_STEPS, &schedule->total_num_steps);
}

static void read_range_test(struct json_keys *params, struct learning_rate_schedule *schedule)
{
	schedule->range_test_min_lr = 1e-3;
	schedule->range_test_step_rate = 1.0;
	schedule->range_test_step_size = 2000;
	json_keys_number(params, "lr_range_test_min_lr", 0, largest, &schedule->range_test_min_lr);
	json_keys_number(params, "lr_range_test_step_rate", 0, largest, &schedule->range_test_step_rate);
	json_keys_count(params, "lr_range_test_step_size", 1, MAXIMUM_STEPS, &schedule->range_test_step_size);
	json_keys_boolean(params, "lr_range_test_staircase", &schedule->range_test_staircase);
}

static void read_cycle_shape(struct json_keys *params, struct learning_rate_schedule *schedule)
{
	schedule->cycle_first_step_size = 2000;
	json_keys_count(params, "cycle_first_step_size", 1, MAXIMUM_STEPS, &schedule->cycle_first_step_size);
	schedule->cycle_second_step_size = schedule->cycle_first_step_size;
	json_keys_count(params, "cycle_second_step_size", 0, MAXIMUM_STEPS, &schedule->cycle_second_step_size);
	json_keys_count(params, "cycle_first_stair_count", 0, MAXIMUM_STAIRS, &schedule->cycle_first_stair_count);
	schedule->cycle_second_stair_count = schedule->cycle_first_stair_count;
	json_keys_count(params, "cycle_second_stair_count", 0, MAXIMUM_STAIRS, &schedule->cycle_second_stair_count);
	json_keys_count(params, "decay_step_size", 0, MAXIMUM_STEPS, &schedule->decay_step_size);
}

static void read_one_cycle(struct json_keys *params, struct deepspeed_config *config)
{
	struct learning_rate_schedule *schedule = &config->schedule;
	schedule->cycle_momentum = true;
	schedule->cycle_min_mom = 0.8;
	schedule->cycle_max_mom = 0.9;
	require(params, "cycle_min_lr", schedule->kind);
	require(params, "cycle_max_lr", schedule->kind);
	read_cycle_shape(params, schedule);
	json_keys_number(params, "cycle_min_lr", 0, largest, &schedule->cycle_min_lr);
	json_keys_number(params, "cycle_max_lr", 0, largest, &schedule->cycle_max_lr);
	json_keys_number(params, "decay_lr_rate", 0, largest, &schedule->decay_lr_rate);
	json_keys_boolean(params, "cycle_momentum", &schedule->cycle_momentum);
	json_keys_number(params, "cycle_min_mom", 0, 1, &schedule->cycle_min_mom);
	json_keys_number(params, "cycle_max_mom", 0, 1, &schedule->cycle_max_mom);
	json_keys_number(params, "decay_mom_rate", 0, largest, &schedule->decay_mom_rate);
	// DeepSpeed cycles the first beta of an optimizer that has betas, and sets the second to 0.99. It does not change
	// SGD's momentum.
	if (!optimizer_has_betas(config->optimizer.kind))
		schedule->cycle_momentum = false;
	if (schedule->cycle_momentum)
		config->beta2 = 0.99f;
}

static bool read_type(struct json_keys *section, enum learning_rate_kind *ret_kind)
{
	static const char known[] = "WarmupLR, WarmupDecayLR, WarmupCosineLR, LRRangeTest and OneCycle";
	char type[TYPE_SIZE] = "";
	if (!json_keys_string(section, "type", type, sizeof(type)))
		return false;
	if (type[0] == '\0')
		return json_keys_mistake(section, "type", "scheduler.type is missing; known: %s", known);
	for (int i = LEARNING_RATE_CONSTANT + 1; i < LEARNING_RATE_KINDS; i++)
		if (strcasecmp(type, learning_rate_name((enum learning_rate_kind)i)) == 0) {
			*ret_kind = (enum learning_rate_kind)i;
			return true;
		}
	return json_keys_mistake(section, "type", "scheduler.type \"%s\" is unknown; known: %s", type, known);
}

void deepspeed_scheduler_read(struct json_keys *top, double learning_rate, struct deepspeed_config *config)
{
	struct json_keys section, params;
	bool is_known = json_keys_open(&section, top, "scheduler") && read_type(&section, &config->schedule.kind);
	json_keys_open(&params, &section, "params");
	if (is_known) {
		if (config->schedule.kind == LEARNING_RATE_ONE_CYCLE)
			read_one_cycle(&params, config);
		else if (config->schedule.kind == LEARNING_RATE_RANGE_TEST)
			read_range_test(&params, &config->schedule);
		else
			read_warmup(&params, learning_rate, &config->schedule);
		json_keys_list_unknown(&section, config->unknown_keys, sizeof(config->unknown_keys));
		json_keys_list_unknown(&params, config->unknown_keys, sizeof(config->unknown_keys));
	}
	json_keys_fini(&params);
	json_keys_fini(&section);
}
