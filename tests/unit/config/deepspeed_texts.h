// Texts of ds_config.json for the tests of it.
#pragma once

#include "coordinator/config/deepspeed_config.h"
#include "tests/unit/config/files.h"

#define ADAM(type, params)      "{\"optimizer\": {\"type\": \"" type "\", \"params\": {" params "}}}"
#define SCHEDULER(type, params) "\"scheduler\": {\"type\": \"" type "\", \"params\": {" params "}}"
#define WITH_ADAM               "\"optimizer\": {\"type\": \"Adam\", \"params\": {\"lr\": 0.02}}, "
#define FP16(settings)          "{\"fp16\": {\"enabled\": true, " settings "}}"

static inline struct deepspeed_config read_text(const char *text)
{
	struct deepspeed_config config;
	struct error error = {0};
	write_test_file(text);
	if (!deepspeed_config_read(test_path, NULL, &config, &error))
		fail_msg("%s: %s", text, error.message);
	return config;
}
