// "pipeline" of ds_config.json.
#include "coordinator/config/deepspeed_sections.h"

void deepspeed_pipeline_read(struct json_keys *top, struct deepspeed_config *config)
{
	struct json_keys section;
	if (json_keys_open(&section, top, "pipeline")) {
		json_keys_count(&section, "activation_checkpoint_interval", 0, DEEPSPEED_MAXIMUM_CHECKPOINT_INTERVAL,
				&config->checkpoint_interval);
		json_keys_list_unknown(&section, config->unknown_keys, sizeof(config->unknown_keys));
	}
	json_keys_fini(&section);
}
