// coordinator/config's ds_config.json, and its Hjson: what is accepted lies within the limits that its reader states, its batch sizes
// agree, and its schedule gives only values that an optimizer takes at every step, or is refused.
#include <math.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/config/deepspeed_config.h"
#include "coordinator/config/learning_rate_course.h"
#include "tests/fuzz/fuzz.h"

static void check_rates(const struct deepspeed_config *config)
{
	static const uint64_t steps[] = {0, 1, 2, 3, 10, 999, 1000, 1001, 2000, 4001, 999999};
	struct error error;
	if (!learning_rate_check_course(&config->schedule, config->learning_rate, config->beta1, 1000000, &error))
		return;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct learning_rate_value value =
			learning_rate_at(&config->schedule, steps[i], config->learning_rate, config->beta1);
		float rate = (float)value.learning_rate, momentum = (float)value.momentum;
		DEMAND(isfinite(rate) && rate >= 0 && isfinite(momentum) && momentum >= 0);
		DEMAND(!config->schedule.cycle_momentum || momentum < 1);
	}
}

static void check_batches(const struct deepspeed_config *read)
{
	for (uint32_t replicas = 0; replicas < 5; replicas++) {
		struct deepspeed_config config = *read, again;
		struct error error = {0};
		if (!deepspeed_config_resolve_batch(&config, replicas, &error)) {
			DEMAND(error.code == ERROR_USAGE && memcmp(&config, read, sizeof(config)) == 0);
			continue;
		}
		DEMAND(config.micro_batch_size > 0 && config.gradient_accumulation_steps > 0);
		DEMAND(config.train_batch_size ==
		       (uint64_t)config.micro_batch_size * config.gradient_accumulation_steps * replicas);
		DEMAND(read->train_batch_size == 0 || config.train_batch_size == read->train_batch_size);
		DEMAND(read->micro_batch_size == 0 || config.micro_batch_size == read->micro_batch_size);
		again = config;
		DEMAND(deepspeed_config_resolve_batch(&again, replicas, &error));
		DEMAND(memcmp(&again, &config, sizeof(config)) == 0);
	}
}

static void check(const struct deepspeed_config *config)
{
	char shown[sizeof(config->unknown_keys)];
	DEMAND(config->gradient_clipping >= 0 && isfinite(config->gradient_clipping));
	DEMAND(config->steps_per_print >= 1 && config->learning_rate >= 0 && isfinite(config->learning_rate));
	bool is_sgd = config->optimizer.kind == OPTIMIZER_SGD; // whose momentum PyTorch does not limit
	DEMAND(config->beta1 >= 0 && (config->beta1 < 1 || (is_sgd && isfinite(config->beta1))));
	DEMAND(config->beta2 >= 0 && config->beta2 < 1);
	DEMAND(isfinite(config->optimizer.weight_decay) && isfinite(config->optimizer.epsilon));
	DEMAND((unsigned)config->compute_type < DATA_TYPE_COUNT &&
	       (unsigned)config->communication_type < DATA_TYPE_COUNT);
	DEMAND(config->checkpoint_interval <= DEEPSPEED_MAXIMUM_CHECKPOINT_INTERVAL);
	if (config->compute_type == DATA_FLOAT16)
		DEMAND(config->loss_scaling.scale > 0 && isfinite(config->loss_scaling.scale));
	if (config->compute_type == DATA_FLOAT16 && config->loss_scaling.dynamic)
		DEMAND(config->loss_scaling.window >= 1 && config->loss_scaling.minimum >= 1);
	DEMAND(memchr(config->unknown_keys, '\0', sizeof(config->unknown_keys)) != NULL);
	DEMAND(strcmp(strings_printable(config->unknown_keys, shown, sizeof(shown)), config->unknown_keys) == 0);
	check_rates(config);
	check_batches(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct deepspeed_config config;
	struct error error = {0};
	const char *path = fuzz_file(data, size);
	if (deepspeed_config_read(path, NULL, &config, &error)) {
		check(&config);
	} else {
		char shown[ERROR_MESSAGE_SIZE]; // it goes to a terminal
		DEMAND(error.code == ERROR_USAGE && strstr(error.message, path) != NULL);
		strings_printable(error.message, shown, sizeof(shown));
		for (size_t i = 0; error.message[i] != '\0'; i++) // a line for each mistake
			DEMAND(shown[i] == error.message[i] || error.message[i] == '\n');
	}
	return 0;
}
