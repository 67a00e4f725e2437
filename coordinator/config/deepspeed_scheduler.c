// "scheduler" of ds_config.json: the parameters of DeepSpeed's learning-rate schedules, with its defaults.
// What they mean is in learning_rate.c.
#include <float.h>
#include <string.h>

#include "coordinator/config/deepspeed_sections.h"

enum { TYPE_SIZE = 40, MAXIMUM_STEPS = 1000000000, MAXIMUM_STAIRS = 1000000 };

static const double largest = FLT_MAX;

static bool require(struct json_keys *params, const char *name, const char *type, struct error *error)
{
	return json_keys_has(params, name) ||
	       error_set(error, ERROR_USAGE, "%s: %s needs %s%s", params->path, type, params->prefix, name);
}

static bool read_warmup(struct json_keys *params, double learning_rate, struct learning_rate_schedule *schedule,
			struct error *error)
{
	bool decays = schedule->kind == LEARNING_RATE_WARMUP_DECAY;
	char type[TYPE_SIZE] = "log";
	schedule->warmup_min_lr = 0;
	schedule->warmup_max_lr = decays ? 0.001 : learning_rate;
	schedule->warmup_num_steps = 1000;
	if (!json_keys_number(params, "warmup_min_lr", 0, largest, &schedule->warmup_min_lr, error) ||
	    !json_keys_number(params, "warmup_max_lr", 0, largest, &schedule->warmup_max_lr, error) ||
	    !json_keys_count(params, "warmup_num_steps", 1, MAXIMUM_STEPS, &schedule->warmup_num_steps, error) ||
	    !json_keys_string(params, "warmup_type", type, sizeof(type), error))
		return false;
	if (strcmp(type, "log") != 0 && strcmp(type, "linear") != 0)
		return error_set(error, ERROR_USAGE, "%s: %swarmup_type is \"%s\"; expected \"log\" or \"linear\"",
				 params->path, params->prefix, type);
	schedule->warmup_linear = strcmp(type, "linear") == 0;
	if (!decays)
		return true;
	return require(params, "total_num_steps", "WarmupDecayLR", error) &&
	       json_keys_count(params, "total_num_steps", 1, MAXIMUM_STEPS, &schedule->total_num_steps, error);
}

static bool read_cycle_shape(struct json_keys *params, struct learning_rate_schedule *schedule, struct error *error)
{
	schedule->cycle_first_step_size = 2000;
	if (!json_keys_count(params, "cycle_first_step_size", 1, MAXIMUM_STEPS, &schedule->cycle_first_step_size,
			     error) ||
	    !json_keys_count(params, "cycle_second_step_size", 1, MAXIMUM_STEPS, &schedule->cycle_second_step_size,
			     error) ||
	    !json_keys_count(params, "cycle_first_stair_count", 0, MAXIMUM_STAIRS, &schedule->cycle_first_stair_count,
			     error))
		return false;
	schedule->cycle_second_stair_count = schedule->cycle_first_stair_count;
	return json_keys_count(params, "cycle_second_stair_count", 0, MAXIMUM_STAIRS,
			       &schedule->cycle_second_stair_count, error) &&
	       json_keys_count(params, "decay_step_size", 0, MAXIMUM_STEPS, &schedule->decay_step_size, error);
}

static bool read_one_cycle(struct json_keys *params, struct deepspeed_config *config, struct error *error)
{
	struct learning_rate_schedule *schedule = &config->schedule;
	schedule->cycle_momentum = true;
	schedule->cycle_min_mom = 0.8;
	schedule->cycle_max_mom = 0.9;
	if (!require(params, "cycle_min_lr", "OneCycle", error) ||
	    !require(params, "cycle_max_lr", "OneCycle", error) || !read_cycle_shape(params, schedule, error) ||
	    !json_keys_number(params, "cycle_min_lr", 0, largest, &schedule->cycle_min_lr, error) ||
	    !json_keys_number(params, "cycle_max_lr", 0, largest, &schedule->cycle_max_lr, error) ||
	    !json_keys_number(params, "decay_lr_rate", 0, largest, &schedule->decay_lr_rate, error) ||
	    !json_keys_boolean(params, "cycle_momentum", &schedule->cycle_momentum, error) ||
	    !json_keys_number(params, "cycle_min_mom", 0, 1, &schedule->cycle_min_mom, error) ||
	    !json_keys_number(params, "cycle_max_mom", 0, 1, &schedule->cycle_max_mom, error) ||
	    !json_keys_number(params, "decay_mom_rate", 0, largest, &schedule->decay_mom_rate, error))
		return false;
	// DeepSpeed cycles the betas of an optimizer that has them, and sets the second to 0.99 as it does;
	// SGD's momentum it leaves alone.
	if (config->optimizer.kind == OPTIMIZER_SGD)
		schedule->cycle_momentum = false;
	if (schedule->cycle_momentum)
		config->beta2 = 0.99f;
	return true;
}

static bool read_section(struct json_keys *section, double learning_rate, struct deepspeed_config *config,
			 struct error *error)
{
	static const char *const types[] = {
		[LEARNING_RATE_WARMUP] = "WarmupLR",
		[LEARNING_RATE_WARMUP_DECAY] = "WarmupDecayLR",
		[LEARNING_RATE_ONE_CYCLE] = "OneCycle",
	};
	char type[TYPE_SIZE] = "";
	const json_t *object = NULL;
	if (!json_keys_string(section, "type", type, sizeof(type), error) ||
	    !json_keys_object(section, "params", &object, error))
		return false;
	enum learning_rate_kind kind = LEARNING_RATE_CONSTANT;
	for (int i = LEARNING_RATE_WARMUP; i <= LEARNING_RATE_ONE_CYCLE; i++)
		if (strcasecmp(type, types[i]) == 0)
			kind = (enum learning_rate_kind)i;
	if (type[0] == '\0')
		return error_set(error, ERROR_USAGE,
				 "%s: scheduler.type is missing: write WarmupLR, WarmupDecayLR or OneCycle",
				 section->path);
	if (kind == LEARNING_RATE_CONSTANT)
		return error_set(error, ERROR_USAGE,
				 "%s: scheduler.type \"%s\" is unknown; there are WarmupLR, WarmupDecayLR and OneCycle",
				 section->path, type);
	config->schedule.kind = kind;
	struct json_keys params;
	bool ok = json_keys_init(&params, section->path, "scheduler.params.", object, error) &&
		  (kind == LEARNING_RATE_ONE_CYCLE ? read_one_cycle(&params, config, error)
						   : read_warmup(&params, learning_rate, &config->schedule, error));
	if (ok) {
		json_keys_list_unknown(section, config->unknown_keys, sizeof(config->unknown_keys));
		json_keys_list_unknown(&params, config->unknown_keys, sizeof(config->unknown_keys));
	}
	json_keys_fini(&params);
	return ok;
}

bool deepspeed_scheduler_read(struct json_keys *top, double learning_rate, struct deepspeed_config *config,
			      struct error *error)
{
	const json_t *object = NULL;
	if (!json_keys_object(top, "scheduler", &object, error))
		return false;
	if (object == NULL)
		return true;
	struct json_keys section;
	bool ok = json_keys_init(&section, top->path, "scheduler.", object, error) &&
		  read_section(&section, learning_rate, config, error);
	json_keys_fini(&section);
	return ok;
}
