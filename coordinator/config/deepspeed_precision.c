// What is computed in, and how float16's gradients are scaled: "fp16", "bf16", "communication_data_type" of ds_config.json, and
// our own "penstock.tf32". See docs/deepspeed_config.md.
#include <math.h>
#include <stdio.h>

#include "coordinator/config/deepspeed_sections.h"

enum {
	MAXIMUM_STEPS = 1000000000,
	MAXIMUM_SCALE_POWER = 64,
	MAXIMUM_MINIMUM_SCALE = 1 << 24,
	TYPE_SIZE = 40,
};

static const double smallest_scale = 0x1p-24, largest_scale = 0x1p64;

static bool read_loss_scaling(struct json_keys *fp16, struct loss_scaling *scaling, struct error *error)
{
	double scale = 0;
	uint32_t power = 16, minimum = 1;
	*scaling = (struct loss_scaling){.window = 1000, .hysteresis = 2};
	if (!json_keys_number(fp16, "loss_scale", 0, largest_scale, &scale, error) ||
	    !json_keys_count(fp16, "initial_scale_power", 0, MAXIMUM_SCALE_POWER, &power, error) ||
	    !json_keys_count(fp16, "loss_scale_window", 1, MAXIMUM_STEPS, &scaling->window, error) ||
	    !json_keys_count(fp16, "hysteresis", 1, MAXIMUM_STEPS, &scaling->hysteresis, error) ||
	    !json_keys_boolean(fp16, "consecutive_hysteresis", &scaling->consecutive_hysteresis, error) ||
	    !json_keys_count(fp16, "min_loss_scale", 1, MAXIMUM_MINIMUM_SCALE, &minimum, error))
		return false;
	if (scale > 0 && scale < smallest_scale)
		return error_set(error, ERROR_USAGE,
				 "%s: %sloss_scale is %.9g; expected 0, for a dynamic scale, or at least %.9g",
				 fp16->path, fp16->prefix, scale, smallest_scale);
	scaling->dynamic = scale == 0;
	scaling->scale = scaling->dynamic ? ldexp(1.0, (int)power) : scale;
	scaling->minimum = minimum;
	if (scaling->dynamic && scaling->minimum > scaling->scale)
		return error_set(error, ERROR_USAGE,
				 "%s: %smin_loss_scale is %u, more than the first scale, 2 to the power "
				 "%sinitial_scale_power, %u",
				 fp16->path, fp16->prefix, minimum, fp16->prefix, power);
	json_keys_ignore_where(fp16, "auto_cast", false);
	json_keys_ignore_where(fp16, "fp16_master_weights_and_grads", false);
	return true;
}

static bool read_fp16(struct json_keys *fp16, struct deepspeed_config *config, bool *enabled, struct error *error)
{
	if (!json_keys_boolean(fp16, "enabled", enabled, error))
		return false;
	if (!*enabled) // it asks for nothing
		return true;
	if (!read_loss_scaling(fp16, &config->loss_scaling, error))
		return false;
	json_keys_list_unknown(fp16, config->unknown_keys, sizeof(config->unknown_keys));
	return true;
}

static bool read_bf16(struct json_keys *bf16, struct deepspeed_config *config, bool *enabled, struct error *error)
{
	if (!json_keys_boolean(bf16, "enabled", enabled, error))
		return false;
	if (!*enabled)
		return true;
	json_keys_ignore_where(bf16, "immediate_grad_update", false);
	json_keys_ignore_where(bf16, "check_grad_overflow", false);
	json_keys_ignore_where(bf16, "bf16_master_weights_and_grads", false);
	json_keys_ignore_where(bf16, "bf16_optimizer_states", false);
	json_keys_list_unknown(bf16, config->unknown_keys, sizeof(config->unknown_keys));
	return true;
}

static bool read_own(struct json_keys *own, struct deepspeed_config *config, bool *tf32, struct error *error)
{
	if (!json_keys_boolean(own, "tf32", tf32, error))
		return false;
	json_keys_list_unknown(own, config->unknown_keys, sizeof(config->unknown_keys));
	return true;
}

// Reads the section `name`, where it is there, with `read`.
static bool read_section(struct json_keys *top, const char *name, struct deepspeed_config *config, bool *value,
			 bool (*read)(struct json_keys *section, struct deepspeed_config *config, bool *value,
				      struct error *error),
			 struct error *error)
{
	const json_t *object = NULL;
	struct json_keys section;
	char prefix[JSON_KEYS_PREFIX_SIZE];
	if (!json_keys_object(top, name, &object, error))
		return false;
	if (object == NULL)
		return true;
	snprintf(prefix, sizeof(prefix), "%s.", name);
	bool ok = json_keys_init(&section, top->path, prefix, object, error) && read(&section, config, value, error);
	json_keys_fini(&section);
	return ok;
}

bool deepspeed_precision_read(struct json_keys *top, struct deepspeed_config *config, struct error *error)
{
	// DeepSpeed looks at the old name only where the new one is not there.
	const char *bf16_name = !json_keys_has(top, "bf16") && json_keys_has(top, "bfloat16") ? "bfloat16" : "bf16";
	bool fp16 = false, bf16 = false, tf32 = false;
	char type[TYPE_SIZE] = "";
	if (!read_section(top, "fp16", config, &fp16, read_fp16, error) ||
	    !read_section(top, bf16_name, config, &bf16, read_bf16, error) ||
	    !read_section(top, "penstock", config, &tf32, read_own, error) ||
	    !json_keys_string(top, "communication_data_type", type, sizeof(type), error))
		return false;
	if (fp16 && bf16)
		return error_set(error, ERROR_USAGE, "%s: fp16.enabled and %s.enabled are both true: choose one",
				 top->path, bf16_name);
	config->compute_type = fp16 ? DATA_FLOAT16 : bf16 ? DATA_BFLOAT16 : DATA_FLOAT32;
	config->communication_type = config->compute_type;
	config->allow_tf32 = tf32 && config->compute_type == DATA_FLOAT32;
	if (json_keys_has(top, "communication_data_type") && !data_type_parse(type, &config->communication_type))
		return error_set(error, ERROR_USAGE,
				 "%s: communication_data_type \"%s\" is unknown; there are fp32, bf16 and fp16",
				 top->path, type);
	return true;
}
