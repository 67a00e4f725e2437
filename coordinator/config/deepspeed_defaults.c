// See deepspeed_defaults.h. The values are those of DeepSpeed 0.19.8 (deepspeed/runtime/constants.py, config.py and the pages of
// its sections).
#include "coordinator/config/deepspeed_defaults.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { PATH_SIZE = 160 };

// `values` is a list in JSON; NULL: any value, because the key changes nothing that penstock has.
static const struct {
	const char *path, *values;
} defaults[] = {
	{"aio", NULL}, // of offloading to files
	{"checkpoint.tag_validation", NULL},
	{"data_types.buffer_dtype", "[\"fp32\"]"},
	{"data_types.grad_accum_dtype", "[\"fp32\", \"float32\"]"},
	{"data_types.keep_in_fp32_modules", "[\"auto\"]"},
	{"data_types.param_dtype", "[\"fp32\", \"float32\"]"},
	{"dataloader_drop_last", NULL}, // each step has a whole batch
	{"disable_allgather", "[false]"},
	{"disable_python_gc", NULL},
	{"dump_state", "[false]"},
	{"gradient_allreduce_op", "[\"mean\"]"},
	{"gradient_predivide_factor", "[1]"},
	{"graph_harvesting", "[false]"},
	{"managed_gradient_accumulation", "[true]"},
	{"memory_breakdown", "[false]"},
	{"optimizer.legacy_fusion", "[false]"},
	{"optimizer.params.capturable", NULL}, // this, foreach and fused choose an implementation
	{"optimizer.params.differentiable", "[false]"},
	{"optimizer.params.foreach", NULL},
	{"optimizer.params.fused", NULL},
	{"optimizer.params.maximize", "[false]"},
	{"pipeline.grad_partitioned", "[true]"},
	{"pipeline.partition", "[\"best\"]"},
	{"pipeline.pipe_partitioned", "[true]"},
	{"pipeline.seed_layers", "[false]"},
	{"pipeline.stages", "[\"auto\"]"},
	{"prescale_gradients", "[false]"},
	{"seq_parallel_communication_data_type", "[\"fp32\"]"},
	{"sequence_parallel_size", "[1]"},
	{"sparse_gradients", "[false]"},
	{"tensor_parallel.autotp_size", "[0, 1]"},
	{"timers", NULL},
	{"use_data_before_expert_parallelism", "[false]"},
	{"vocabulary_size", NULL},
	{"zero_allow_untested_optimizer", NULL},
	{"zero_force_ds_cpu_optimizer", NULL},
	{"zero_optimization", "[false]"}, // its old form
};

// Sections that are off unless their member says otherwise; then the other members mean nothing.
static const struct {
	const char *path, *member;
} switches[] = {
	{"amp", "enabled"},
	{"autotuning", "enabled"},
	{"comet", "enabled"},
	{"comms_logger", "enabled"},
	{"compile", "deepcompile"},
	{"csv_monitor", "enabled"},
	{"curriculum_learning", "enabled"},
	{"data_efficiency", "enabled"},
	{"eigenvalue", "enabled"},
	{"elasticity", "enabled"},
	{"flops_profiler", "enabled"},
	{"hybrid_engine", "enabled"},
	{"nebula", "enabled"},
	{"progressive_layer_drop", "enabled"},
	{"tensorboard", "enabled"},
	{"torch_autocast", "enabled"},
	{"wandb", "enabled"},
	{"zero_optimization", "stage"},
};

static bool equals(const json_t *value, const json_t *expected)
{
	if (json_is_number(value) && json_is_number(expected))
		return json_number_value(value) == json_number_value(expected);
	if (json_is_string(value) && json_is_string(expected))
		return strcasecmp(json_string_value(value), json_string_value(expected)) == 0;
	return json_equal(value, expected);
}

static bool is_in_table(const char *path, const json_t *value)
{
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
		if (strcmp(defaults[i].path, path) != 0)
			continue;
		if (defaults[i].values == NULL)
			return true;
		json_t *values = json_loads(defaults[i].values, 0, NULL), *expected;
		bool found = false;
		size_t k;
		json_array_foreach(values, k, expected) found = found || equals(value, expected);
		json_decref(values);
		return found;
	}
	return false;
}

static bool is_off(const json_t *value)
{
	return value == NULL || json_is_null(value) || json_is_false(value) ||
	       (json_is_integer(value) && json_integer_value(value) == 0);
}

// Whether a section is switched off as a whole.
static bool is_switched_off(const char *path, const json_t *section)
{
	if (json_is_false(json_object_get(section, "enabled")))
		return true;
	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++)
		if (strcmp(switches[i].path, path) == 0)
			return is_off(json_object_get(section, switches[i].member));
	return false;
}

// A section in which everything is off asks for nothing, also one that is not known.
static bool asks_for_nothing(const char *path, const json_t *value, bool is_in_section)
{
	const char *name;
	json_t *member;
	if (json_is_null(value) || is_in_table(path, value) || (is_in_section && json_is_false(value)))
		return true;
	if (!json_is_object(value))
		return false;
	if (is_switched_off(path, value))
		return true;
	json_object_foreach((json_t *)value, name, member)
	{
		char inner[PATH_SIZE];
		int length = snprintf(inner, sizeof(inner), "%s.%s", path, name);
		if (length >= (int)sizeof(inner) || !asks_for_nothing(inner, member, true))
			return false;
	}
	return true;
}

bool deepspeed_default_is(const char *prefix, const char *name, const json_t *value)
{
	char path[PATH_SIZE];
	int length = snprintf(path, sizeof(path), "%s%s", prefix, name);
	return json_is_null(value) || (length < (int)sizeof(path) && asks_for_nothing(path, value, false));
}
