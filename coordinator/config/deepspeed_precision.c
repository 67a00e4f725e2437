// The number types of a training, and the scaling of float16's gradients: "fp16", "bf16" and "communication_data_type" of
// ds_config.json, and our own "penstock.tf32". See docs/deepspeed_config.md.
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

static void read_loss_scaling(struct json_keys *fp16, struct loss_scaling *scaling)
{
	double scale = 0;
	uint32_t power = 16, minimum = 1;
	*scaling = (struct loss_scaling){.window = 1000, .hysteresis = 2};
	bool ok = json_keys_number(fp16, "loss_scale", 0, largest_scale, &scale);
	ok = json_keys_count(fp16, "initial_scale_power", 0, MAXIMUM_SCALE_POWER, &power) && ok;
	json_keys_count(fp16, "loss_scale_window", 1, MAXIMUM_STEPS, &scaling->window);
	json_keys_count(fp16, "hysteresis", 1, MAXIMUM_STEPS, &scaling->hysteresis);
	json_keys_boolean(fp16, "consecutive_hysteresis", &scaling->consecutive_hysteresis);
	ok = json_keys_count(fp16, "min_loss_scale", 1, MAXIMUM_MINIMUM_SCALE, &minimum) && ok;
	if (scale > 0 && scale < smallest_scale)
		json_keys_mistake(fp16, "loss_scale",
				  "%sloss_scale is %.9g; expected 0, for a dynamic scale, or at least %.9g",
				  fp16->prefix, scale, smallest_scale);
	scaling->dynamic = scale == 0;
	scaling->scale = scaling->dynamic ? ldexp(1.0, (int)power) : scale;
	scaling->minimum = minimum;
	if (ok && scaling->dynamic && scaling->minimum > scaling->scale)
		json_keys_mistake(fp16, "min_loss_scale",
				  "%smin_loss_scale is %u, more than the first scale, 2 to the power "
				  "%sinitial_scale_power, %u",
				  fp16->prefix, minimum, fp16->prefix, power);
	json_keys_ignore_where(fp16, "auto_cast", false);
	json_keys_ignore_where(fp16, "fp16_master_weights_and_grads", false);
}

static void read_fp16(struct json_keys *fp16, struct deepspeed_config *config, bool *enabled)
{
	json_keys_boolean(fp16, "enabled", enabled);
	if (!*enabled) // then the rest of the section means nothing
		return;
	read_loss_scaling(fp16, &config->loss_scaling);
	json_keys_list_unknown(fp16, config->unknown_keys, sizeof(config->unknown_keys));
}

static void read_bf16(struct json_keys *bf16, struct deepspeed_config *config, bool *enabled)
{
	json_keys_boolean(bf16, "enabled", enabled);
	if (!*enabled)
		return;
	json_keys_ignore_where(bf16, "immediate_grad_update", false);
	json_keys_ignore_where(bf16, "check_grad_overflow", false);
	json_keys_ignore_where(bf16, "bf16_master_weights_and_grads", false);
	json_keys_ignore_where(bf16, "bf16_optimizer_states", false);
	json_keys_list_unknown(bf16, config->unknown_keys, sizeof(config->unknown_keys));
}

static void read_own(struct json_keys *own, struct deepspeed_config *config, bool *tf32)
{
	json_keys_boolean(own, "tf32", tf32);
	json_keys_list_unknown(own, config->unknown_keys, sizeof(config->unknown_keys));
}

// Reads the section `name`, where it is there, with `read`.
static void read_section(struct json_keys *top, const char *name, struct deepspeed_config *config, bool *value,
			 void (*read)(struct json_keys *section, struct deepspeed_config *config, bool *value))
{
	struct json_keys section;
	if (json_keys_open(&section, top, name))
		read(&section, config, value);
	json_keys_fini(&section);
}

void deepspeed_precision_read(struct json_keys *top, struct deepspeed_config *config)
{
	// DeepSpeed looks at the old name only where the new one is not there.
	const char *bf16_name = !json_keys_has(top, "bf16") && json_keys_has(top, "bfloat16") ? "bfloat16" : "bf16";
	bool fp16 = false, bf16 = false, tf32 = false;
	char type[TYPE_SIZE] = "";
	read_section(top, "fp16", config, &fp16, read_fp16);
	read_section(top, bf16_name, config, &bf16, read_bf16);
	read_section(top, "penstock", config, &tf32, read_own);
	if (fp16 && bf16)
		json_keys_mistake(top, bf16_name, "fp16.enabled and %s.enabled are both true: choose one", bf16_name);
	config->compute_type = fp16 ? DATA_FLOAT16 : bf16 ? DATA_BFLOAT16 : DATA_FLOAT32;
	config->communication_type = config->compute_type;
	config->allow_tf32 = tf32 && config->compute_type == DATA_FLOAT32;
	if (json_keys_string(top, "communication_data_type", type, sizeof(type)) &&
	    json_keys_has(top, "communication_data_type") && !data_type_parse(type, &config->communication_type))
		json_keys_mistake(top, "communication_data_type",
				  "communication_data_type \"%s\" is unknown; known: fp32, bf16 and fp16", type);
}
