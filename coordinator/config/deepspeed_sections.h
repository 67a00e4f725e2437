// The sections of ds_config.json, and the options that replace its keys. Private to this folder.
#pragma once

#include <stdbool.h>

#include "coordinator/config/deepspeed_config.h"
#include "coordinator/config/json_keys.h"

// Each reads its section from the file's top level, where it may be absent, into `config`, and appends unknown
// members to config->unknown_keys. Mistakes go where top->mistakes says. `*learning_rate` is the optimizer's, before it is
// rounded to a float.
void deepspeed_optimizer_read(struct json_keys *top, struct deepspeed_config *config, double *learning_rate);
// After the optimizer: some defaults depend on it.
void deepspeed_scheduler_read(struct json_keys *top, double learning_rate, struct deepspeed_config *config);
// fp16, bf16, communication_data_type, penstock.tf32.
void deepspeed_precision_read(struct json_keys *top, struct deepspeed_config *config);
// pipeline.activation_checkpoint_interval.
void deepspeed_pipeline_read(struct json_keys *top, struct deepspeed_config *config);

// Writes the given options into `root`, the parsed file, in the place of their keys, before any key is read.
bool deepspeed_overrides_apply(const struct deepspeed_overrides *overrides, json_t *root, struct error *error);
// The keys that stand for a file if there is none. Returns owned; NULL when memory is out.
json_t *deepspeed_overrides_base(const struct deepspeed_overrides *overrides);
