// Keys of ds_config.json that penstock does not read, with values that ask for nothing: DeepSpeed's defaults, and what penstock
// does in any case. Private to this folder.
#pragma once

#include <jansson.h>
#include <stdbool.h>

// `prefix` is that of json_keys: "", "optimizer.params.".
bool deepspeed_default_is(const char *prefix, const char *name, const json_t *value);
