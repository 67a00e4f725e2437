// The command line over ds_config.json: an option means what its key means.
#include "tests/unit/config/deepspeed_texts.h"

#include <math.h>

struct override_case {
	const char *file;
	struct deepspeed_overrides overrides; // numbers of 0 are not given, for this table's sake
	const char *same_as;                  // the file that says it all itself
};

static struct deepspeed_overrides with_nan(struct deepspeed_overrides overrides)
{
	double *const numbers[] = {&overrides.learning_rate, &overrides.momentum, &overrides.weight_decay};
	for (size_t i = 0; i < 3; i++)
		if (*numbers[i] == 0)
			*numbers[i] = NAN;
	if (overrides.checkpoint_interval == 0)
		overrides.checkpoint_interval = -1;
	return overrides;
}

// Everything but unknown_keys.
static void describe(const struct deepspeed_config *config, char *into, size_t size)
{
	const struct learning_rate_schedule *s = &config->schedule;
	snprintf(into, size,
		 "batch %u %u %u, %s decay %a dampening %a nesterov %d eps %a, lr %a, betas %a %a, schedule %d: "
		 "%a %a %u %d %u, %a %a %d %a %a, clipping %a, print %u %d, types %d %d tf32 %d, scale %d %a %a %u %u "
		 "%d, interval %u",
		 config->train_batch_size, config->micro_batch_size, config->gradient_accumulation_steps,
		 optimizer_name(config->optimizer.kind), config->optimizer.weight_decay, config->optimizer.dampening,
		 config->optimizer.nesterov, config->optimizer.epsilon, config->learning_rate, config->beta1,
		 config->beta2, s->kind, s->warmup_min_lr, s->warmup_max_lr, s->warmup_num_steps, s->warmup_linear,
		 s->total_num_steps, s->cycle_min_lr, s->cycle_max_lr, s->cycle_momentum, s->cycle_min_mom,
		 s->cycle_max_mom, config->gradient_clipping, config->steps_per_print, config->wall_clock_breakdown,
		 config->compute_type, config->communication_type, config->allow_tf32, config->loss_scaling.dynamic,
		 config->loss_scaling.scale, config->loss_scaling.minimum, config->loss_scaling.window,
		 config->loss_scaling.hysteresis, config->loss_scaling.consecutive_hysteresis,
		 config->checkpoint_interval);
}

static struct deepspeed_config read_over(const char *text, struct deepspeed_overrides overrides)
{
	struct deepspeed_config config;
	struct error error = {0};
	if (text != NULL)
		write_test_file(text);
	overrides = with_nan(overrides);
	if (!deepspeed_config_read(text != NULL ? test_path : NULL, &overrides, &config, &error))
		fail_msg("%s: %s", text != NULL ? text : "no file", error.message);
	return config;
}

#define CYCLE SCHEDULER("OneCycle", "\"cycle_min_lr\": 0.001, \"cycle_max_lr\": 1")

static void overrides_mean_what_the_key_means(void **state)
{
	static const struct override_case cases[] = {
		// What is derived follows: OneCycle leaves SGD's momentum alone, WarmupLR's peak is the optimizer's rate.
		{"{" WITH_ADAM CYCLE "}",
		 {.optimizer = "SGD"},
		 "{\"optimizer\": {\"type\": \"SGD\", \"params\": {\"lr\": 0.02}}, " CYCLE "}"},
		{"{" CYCLE "}", {.optimizer = "AdamW"}, "{\"optimizer\": {\"type\": \"AdamW\"}, " CYCLE "}"},
		{"{" WITH_ADAM SCHEDULER("WarmupLR", "") "}",
		 {.learning_rate = 0.3},
		 "{\"optimizer\": {\"type\": \"Adam\", \"params\": {\"lr\": 0.3}}, " SCHEDULER("WarmupLR", "") "}"},
		{"{" SCHEDULER("WarmupLR", "") "}",
		 {.learning_rate = 0.3},
		 "{\"optimizer\": {\"type\": \"SGD\", \"params\": {\"lr\": 0.3}}, " SCHEDULER("WarmupLR", "") "}"},
		{"{" SCHEDULER("WarmupLR", "\"warmup_max_lr\": 1") "}",
		 {.learning_rate = 0.3},
		 "{\"optimizer\": {\"type\": \"SGD\", \"params\": {\"lr\": 0.3}}, " SCHEDULER(
			 "WarmupLR", "\"warmup_max_lr\": 1") "}"},
		// DeepSpeed's Adam decays as AdamW does, unless adam_w_mode is false.
		{ADAM("Adam", "\"lr\": 1"), {.weight_decay = 0.1}, ADAM("Adam", "\"lr\": 1, \"weight_decay\": 0.1")},
		{ADAM("Adam", "\"adam_w_mode\": false"),
		 {.weight_decay = 0.1},
		 ADAM("Adam", "\"adam_w_mode\": false, \"weight_decay\": 0.1")},
		{ADAM("Adam", "\"adam_w_mode\": false"),
		 {.optimizer = "adamw", .weight_decay = 0.1},
		 ADAM("AdamW", "\"weight_decay\": 0.1")},
		// The file's other parameters stand, as far as the other optimizer has them.
		{ADAM("SGD", "\"lr\": 0.5, \"weight_decay\": 0.1, \"momentum\": 0.9, \"nesterov\": true"),
		 {.optimizer = "Adam"},
		 ADAM("Adam", "\"lr\": 0.5, \"weight_decay\": 0.1")},
		{ADAM("Adam", "\"betas\": [0.5, 0.6], \"eps\": 1"), {.optimizer = "SGD"}, ADAM("SGD", "")},
		{ADAM("Adam", "\"betas\": [0.5, 0.6]"), {.optimizer = "AdamW"}, ADAM("AdamW", "\"betas\": [0.5, 0.6]")},
		{ADAM("SGD", "\"momentum\": 0.5, \"nesterov\": true"),
		 {.momentum = 0.9},
		 ADAM("SGD", "\"momentum\": 0.9, \"nesterov\": true")},
		{"{\"optimizer\": null}", {.momentum = 0.9}, ADAM("SGD", "\"momentum\": 0.9")},
		{"{\"optimizer\": {\"type\": \"SGD\", \"params\": null}}",
		 {.learning_rate = 2},
		 ADAM("SGD", "\"lr\": 2")},
		{"{\"optimizer\": {\"params\": {\"lr\": 3}}}", {.optimizer = "SGD"}, ADAM("SGD", "\"lr\": 3")},
		{ADAM("Lamb", "\"lr\": 3"), {.optimizer = "SGD"}, ADAM("SGD", "\"lr\": 3")},
		// One precision stands for all keys that choose it; how float16 is scaled stays the file's.
		{"{\"bf16\": {\"enabled\": true}, \"fp16\": {\"hysteresis\": 5}}",
		 {.precision = "fp16"},
		 FP16("\"hysteresis\": 5")},
		{FP16("\"hysteresis\": 5"), {.precision = "BF16"}, "{\"bf16\": {\"enabled\": true}}"},
		{"{\"bfloat16\": {\"enabled\": true}}", {.precision = "fp32"}, "{}"},
		{"{\"bfloat16\": {\"enabled\": false}}", {.precision = "bf16"}, "{\"bf16\": {\"enabled\": true}}"},
		{FP16("\"hysteresis\": 5"), {.precision = "tf32"}, "{\"penstock\": {\"tf32\": true}}"},
		{"{\"penstock\": {\"tf32\": true}}", {.precision = "fp32"}, "{}"},
		{"{\"communication_data_type\": \"fp32\"}",
		 {.precision = "bf16"},
		 "{\"bf16\": {\"enabled\": true}, \"communication_data_type\": \"fp32\"}"},
		{"{\"bf16\": {\"enabled\": true}, \"communication_data_type\": \"fp32\"}",
		 {.communication_type = "bfp16"},
		 "{\"bf16\": {\"enabled\": true}}"},
		{"{\"pipeline\": {\"activation_checkpoint_interval\": 7}}",
		 {.checkpoint_interval = 2},
		 "{\"pipeline\": {\"activation_checkpoint_interval\": 2}}"},
		{"{}", {.checkpoint_interval = 2}, "{\"pipeline\": {\"activation_checkpoint_interval\": 2}}"},
		{NULL,
		 {.precision = "fp16", .train_batch_size = 8},
		 "{\"gradient_clipping\": 0, \"train_batch_size\": 8, \"fp16\": {\"enabled\": true}}"},
		// Without a file: PyTorch's optimizers.
		{NULL,
		 {.optimizer = "Adam", .weight_decay = 0.1},
		 "{\"gradient_clipping\": 0, \"train_micro_batch_size_per_gpu\": 32, \"gradient_accumulation_steps\": "
		 "4,"
		 "\"optimizer\": {\"type\": \"Adam\", \"params\": {\"adam_w_mode\": false, \"weight_decay\": 0.1}}}"},
		{NULL,
		 {.optimizer = "AdamW", .micro_batch_size = 8},
		 "{\"gradient_clipping\": 0, \"train_micro_batch_size_per_gpu\": 8,"
		 "\"optimizer\": {\"type\": \"AdamW\", \"params\": {\"weight_decay\": 0.01}}}"},
		{NULL,
		 {.learning_rate = 0.1, .momentum = 0.9, .train_batch_size = 8},
		 "{\"gradient_clipping\": 0, \"train_batch_size\": 8,"
		 "\"optimizer\": {\"type\": \"SGD\", \"params\": {\"lr\": 0.1, \"momentum\": 0.9}}}"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char ours[512], expected[512];
		struct deepspeed_config config = read_over(cases[i].file, cases[i].overrides);
		describe(&config, ours, sizeof(ours));
		config = read_text(cases[i].same_as);
		describe(&config, expected, sizeof(expected));
		if (strcmp(ours, expected) != 0)
			fail_msg("case %zu, %s:\n%s, not as %s:\n%s", i,
				 cases[i].file != NULL ? cases[i].file : "no file", ours, cases[i].same_as, expected);
	}
}

static void overrides_leave_out_what_the_other_optimizer_lacks(void **state)
{
	struct deepspeed_config config =
		read_over(ADAM("Adam", "\"betas\": [0.5, 0.6]"), (struct deepspeed_overrides){.optimizer = "SGD"});
	assert_string_equal(config.unknown_keys, "optimizer.params.betas"); // and says so
	config = read_over(NULL, (struct deepspeed_overrides){.optimizer = "AdamW"});
	assert_string_equal(config.unknown_keys, "");
}

static void overrides_that_are_zero_count(void **state)
{
	struct deepspeed_overrides overrides = {.learning_rate = 0, .momentum = 0, .weight_decay = 0};
	struct deepspeed_config config;
	struct error error = {0};
	write_test_file("{\"optimizer\": {\"type\": \"SGD\", \"params\": {\"lr\": 1, \"momentum\": 0.5,"
			" \"weight_decay\": 0.1}}, \"pipeline\": {\"activation_checkpoint_interval\": 4}}");
	assert_true(deepspeed_config_read(test_path, &overrides, &config, &error));
	assert_true(config.learning_rate == 0 && config.beta1 == 0 && config.optimizer.weight_decay == 0);
	assert_int_equal(config.checkpoint_interval, 0);
}

static void overrides_of_batch_sizes_follow_the_rule(void **state)
{
	static const struct {
		uint32_t file[3], given[3], expected[3]; // train batch, micro-batch, accumulation
	} cases[] = {
		{{64, 8, 8}, {0, 4, 0}, {32, 4, 8}}, // of three, the train batch follows
		{{64, 8, 8}, {0, 0, 4}, {32, 8, 4}},    {{64, 8, 8}, {32, 0, 0}, {32, 8, 4}}, // or the accumulation
		{{64, 8, 8}, {32, 4, 0}, {32, 4, 8}},   {{64, 8, 8}, {0, 4, 4}, {16, 4, 4}},
		{{64, 8, 8}, {30, 0, 10}, {30, 3, 10}}, {{64, 8, 8}, {6, 3, 2}, {6, 3, 2}},
		{{64, 8, 0}, {0, 4, 0}, {64, 4, 16}}, // in the place of its key
		{{64, 8, 0}, {32, 0, 0}, {32, 8, 4}},   {{64, 8, 0}, {0, 0, 2}, {16, 8, 2}},
		{{64, 0, 8}, {32, 0, 0}, {32, 4, 8}},   {{64, 0, 8}, {0, 0, 4}, {64, 16, 4}},
		{{64, 0, 8}, {0, 4, 0}, {32, 4, 8}},    {{0, 8, 8}, {0, 4, 0}, {32, 4, 8}},
		{{0, 8, 8}, {32, 0, 0}, {32, 8, 4}},    {{64, 0, 0}, {0, 4, 0}, {64, 4, 16}},
		{{0, 8, 0}, {64, 0, 0}, {64, 8, 8}},    {{0, 0, 8}, {64, 0, 0}, {64, 8, 8}},
		{{0, 0, 0}, {64, 0, 0}, {64, 64, 1}},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[200], number[3][16];
		for (int k = 0; k < 3; k++)
			snprintf(number[k], sizeof(number[k]), cases[i].file[k] > 0 ? "%u" : "null", cases[i].file[k]);
		snprintf(text, sizeof(text),
			 "{\"train_batch_size\": %s, \"train_micro_batch_size_per_gpu\": %s,"
			 " \"gradient_accumulation_steps\": %s}",
			 number[0], number[1], number[2]);
		const uint32_t *given = cases[i].given, *expected = cases[i].expected;
		struct deepspeed_config config =
			read_over(text, (struct deepspeed_overrides){.train_batch_size = given[0],
								     .micro_batch_size = given[1],
								     .gradient_accumulation_steps = given[2]});
		struct error error = {0};
		if (!deepspeed_config_resolve_batch(&config, 1, &error))
			fail_msg("case %zu: %s", i, error.message);
		if (config.train_batch_size != expected[0] || config.micro_batch_size != expected[1] ||
		    config.gradient_accumulation_steps != expected[2])
			fail_msg("case %zu: %u %u %u", i, config.train_batch_size, config.micro_batch_size,
				 config.gradient_accumulation_steps);
	}
}

static void overrides_do_not_mend_what_is_wrong_in_the_file(void **state)
{
	static const struct {
		const char *text;
		struct deepspeed_overrides overrides;
		const char *expected;
	} bad[] = {
		{"{\"optimizer\": \"Adam\"}", {.optimizer = "SGD"}, "optimizer is a string; expected an object"},
		{ADAM("Muon", ""), {.learning_rate = 1}, "optimizer.type \"Muon\" is unknown"},
		{"{\"optimizer\": {}}", {.learning_rate = 1}, "optimizer.type is missing"},
		{"{\"optimizer\": {\"type\": \"SGD\", \"params\": 4}}", {.learning_rate = 1}, "optimizer.params is 4"},
		{"{\"fp16\": 16}", {.precision = "fp16"}, "fp16 is 16; expected an object"},
		{"{\"pipeline\": true}", {.checkpoint_interval = 1}, "pipeline is true; expected an object"},
		{FP16("\"hysteresis\": 0"), {.precision = "fp16"}, "fp16.hysteresis is 0"},
		{"{}",
		 {.learning_rate = -1},
		 "command line: optimizer.params.lr is -1; expected a number of at least 0"},
		{"{}", {.learning_rate = INFINITY}, "--lr inf"},
		{ADAM("Adam", ""), {.weight_decay = -INFINITY}, "--weight-decay -inf: each must be finite"},
		{"{}", {.precision = "fp8"}, "--precision: unknown type \"fp8\"; known: fp32, tf32, bf16 and fp16"},
		{"{}",
		 {.communication_type = "tf32"},
		 "--communication-data-type: unknown type \"tf32\"; known: fp32, bf16 and fp16"},
		{ADAM("Adam", ""), {.momentum = 0.9}, "--momentum applies to SGD; the optimizer Adam"},
		{ADAM("SGD", ""),
		 {.optimizer = "Adagrad", .momentum = 0.9},
		 "--momentum applies to SGD; the optimizer Adagrad has none"},
		{ADAM("SGD", ""),
		 {.optimizer = "AdamW", .momentum = 0.9},
		 "--momentum applies to SGD; the optimizer AdamW"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct deepspeed_overrides overrides = with_nan(bad[i].overrides);
		struct deepspeed_config config;
		struct error error = {0};
		write_test_file(bad[i].text);
		assert_false(deepspeed_config_read(test_path, &overrides, &config, &error));
		if (strstr(error.message, bad[i].expected) == NULL)
			fail_msg("expected \"%s\", got \"%s\"", bad[i].expected, error.message);
		assert_int_equal(error.code, ERROR_USAGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overrides_mean_what_the_key_means),
		cmocka_unit_test(overrides_leave_out_what_the_other_optimizer_lacks),
		cmocka_unit_test(overrides_that_are_zero_count),
		cmocka_unit_test(overrides_of_batch_sizes_follow_the_rule),
		cmocka_unit_test(overrides_do_not_mend_what_is_wrong_in_the_file),
	};
	return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
