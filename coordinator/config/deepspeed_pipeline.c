// "pipeline" of ds_config.json.
#include "coordinator/config/deepspeed_sections.h"

bool deepspeed_pipeline_read(struct json_keys *top, struct deepspeed_config *config, struct error *error)
{
	const json_t *object = NULL;
	struct json_keys section;
	if (!json_keys_object(top, "pipeline", &object, error))
		return false;
	if (object == NULL)
		return true;
	bool ok = json_keys_init(&section, top->path, "pipeline.", object, error) &&
		  json_keys_count(&section, "activation_checkpoint_interval", 0, DEEPSPEED_MAXIMUM_CHECKPOINT_INTERVAL,
				  &config->checkpoint_interval, error);
	if (ok)
		json_keys_list_unknown(&section, config->unknown_keys, sizeof(config->unknown_keys));
	json_keys_fini(&section);
	return ok;
}
