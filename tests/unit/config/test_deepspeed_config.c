// ds_config.json: defaults, every key that is honoured, the rule of the batch sizes, and files that are
// wrong.
#include "tests/unit/config/deepspeed_texts.h"

static void assert_refused(const char *text, const char *expected)
{
	struct deepspeed_config config = {.train_batch_size = 77};
	struct error error = {0};
	write_test_file(text);
	if (deepspeed_config_read(test_path, NULL, &config, &error))
		fail_msg("%s: was read", text);
	assert_int_equal(config.train_batch_size, 77); // untouched
	if (strstr(error.message, expected) == NULL || strncmp(error.message, test_path, strlen(test_path)) != 0)
		fail_msg("%s: expected \"%s\", got \"%s\"", text, expected, error.message);
	assert_int_equal(error.code, ERROR_USAGE);
	for (const char *c = error.message; *c != '\0'; c++)
		assert_true((unsigned char)*c >= 0x20);
}

static void read_empty_object_gives_the_defaults(void **state)
{
	struct deepspeed_config config = read_text("{}");
	assert_int_equal(config.train_batch_size, 0);
	assert_int_equal(config.micro_batch_size, 0);
	assert_int_equal(config.gradient_accumulation_steps, 0);
	assert_int_equal(config.optimizer.kind, OPTIMIZER_SGD);
	assert_true(config.learning_rate == 1e-3f && config.beta1 == 0);
	assert_int_equal(config.schedule.kind, LEARNING_RATE_CONSTANT);
	assert_true(config.gradient_clipping == 1.0);
	assert_int_equal(config.steps_per_print, 10);
	assert_false(config.wall_clock_breakdown);
	assert_int_equal(config.compute_type, DATA_FLOAT32);
	assert_int_equal(config.communication_type, DATA_FLOAT32);
	assert_false(config.allow_tf32);
	assert_int_equal(config.checkpoint_interval, 0);
	assert_string_equal(config.unknown_keys, "");
}

static void read_top_level_keys_are_honoured(void **state)
{
	struct deepspeed_config config =
		read_text("{\"train_batch_size\": 256, \"train_micro_batch_size_per_gpu\": 8,"
			  " \"gradient_accumulation_steps\": 16, \"gradient_clipping\": 0.5, \"steps_per_print\": 2000,"
			  " \"wall_clock_breakdown\": true}");
	assert_int_equal(config.train_batch_size, 256);
	assert_int_equal(config.micro_batch_size, 8);
	assert_int_equal(config.gradient_accumulation_steps, 16);
	assert_true(config.gradient_clipping == 0.5);
	assert_int_equal(config.steps_per_print, 2000);
	assert_true(config.wall_clock_breakdown);
	assert_true(read_text("{\"gradient_clipping\": 0}").gradient_clipping == 0);
	assert_int_equal(read_text("{\"train_batch_size\": null}").train_batch_size, 0);
}

static void read_sgd_takes_pytorchs_settings(void **state)
{
	struct deepspeed_config config = read_text("{\"optimizer\": {\"type\": \"sgd\", \"params\": {\"lr\": "
						   "0.1, \"momentum\": 0.9, \"weight_decay\": 5e-4,"
						   " \"nesterov\": true}}}");
	assert_int_equal(config.optimizer.kind, OPTIMIZER_SGD);
	assert_true(config.learning_rate == 0.1f && config.beta1 == 0.9f && config.optimizer.weight_decay == 5e-4f);
	assert_true(config.optimizer.nesterov);
	config = read_text("{\"optimizer\": {\"type\": \"SGD\", \"params\": {\"momentum\": 0.9, \"dampening\": 0.5}}}");
	assert_true(config.optimizer.dampening == 0.5f && config.learning_rate == 1e-3f && !config.optimizer.nesterov);
	config = read_text("{\"optimizer\": {\"type\": \"SGD\"}}");
	assert_true(config.beta1 == 0 && config.optimizer.weight_decay == 0);
}

static void read_adam_takes_deepspeeds_settings(void **state)
{
	struct deepspeed_config config = read_text(ADAM("Adam", ""));
	assert_int_equal(config.optimizer.kind, OPTIMIZER_ADAMW); // adam_w_mode is on
	assert_true(config.learning_rate == 1e-3f && config.beta1 == 0.9f && config.beta2 == 0.999f);
	assert_true(config.optimizer.epsilon == 1e-8f && config.optimizer.weight_decay == 0);
	config = read_text(ADAM("aDaMw", "\"lr\": 3e-5, \"betas\": [0.8, 0.99], \"eps\": 1e-6, \"weight_decay\": 0.1,"
					 "\"bias_correction\": true, \"amsgrad\": false"));
	assert_int_equal(config.optimizer.kind, OPTIMIZER_ADAMW);
	assert_true(config.learning_rate == 3e-5f && config.beta1 == 0.8f && config.beta2 == 0.99f);
	assert_true(config.optimizer.epsilon == 1e-6f && config.optimizer.weight_decay == 0.1f);
	assert_string_equal(config.unknown_keys, "");
}

static void read_adam_modes_choose_the_weight_decay(void **state)
{
	static const struct {
		const char *text;
		enum optimizer_kind kind;
		float weight_decay;
	} cases[] = {
		{ADAM("Adam", ""), OPTIMIZER_ADAMW, 0},
		{ADAM("Adam", "\"adam_w_mode\": false"), OPTIMIZER_ADAM, 0},
		{ADAM("Adam", "\"weight_decay\": 0.1"), OPTIMIZER_ADAMW, 0.1f},
		{ADAM("Adam", "\"weight_decay\": 0.1, \"adam_w_mode\": true"), OPTIMIZER_ADAMW, 0.1f},
		{ADAM("Adam", "\"weight_decay\": 0.1, \"adam_w_mode\": false"), OPTIMIZER_ADAM, 0.1f},
		{ADAM("AdamW", "\"weight_decay\": 0.1, \"adam_w_mode\": false"), OPTIMIZER_ADAMW, 0.1f},
		{ADAM("AdamW", ""), OPTIMIZER_ADAMW, 0},
		{ADAM("AdamW", "\"torch_adam\": true"), OPTIMIZER_ADAMW, 0.01f},
		{ADAM("Adam", "\"torch_adam\": true"), OPTIMIZER_ADAMW, 0.01f},
		{ADAM("Adam", "\"torch_adam\": true, \"adam_w_mode\": false"), OPTIMIZER_ADAM, 0},
		{ADAM("AdamW", "\"torch_adam\": true, \"weight_decay\": 0"), OPTIMIZER_ADAMW, 0},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct deepspeed_config config = read_text(cases[i].text);
		if (config.optimizer.kind != cases[i].kind || config.optimizer.weight_decay != cases[i].weight_decay)
			fail_msg("%s: %s, %g", cases[i].text, optimizer_name(config.optimizer.kind),
				 config.optimizer.weight_decay);
	}
}

// Defaults and all parameters of deepspeed.ops: FusedLamb, FusedLion and CPUAdagrad.
static void read_lamb_lion_and_adagrad_have_deepspeeds_defaults(void **state)
{
	struct deepspeed_config config = read_text("{\"optimizer\": {\"type\": \"Lamb\"}}");
	assert_int_equal(config.optimizer.kind, OPTIMIZER_LAMB);
	assert_true(config.learning_rate == 0.001f && config.beta1 == 0.9f && config.beta2 == 0.999f);
	assert_true(config.optimizer.epsilon == 1e-8f && config.optimizer.weight_decay == 0);
	assert_true(config.optimizer.minimum_coefficient == 0.01f && config.optimizer.maximum_coefficient == 10.0f);
	assert_false(config.optimizer.no_bias_correction || config.optimizer.epsilon_inside_root);
	config = read_text(ADAM("lamb", "\"lr\": 0.5, \"betas\": [0.8, 0.7], \"eps\": 0.25, \"weight_decay\": 0.125, "
					"\"max_coeff\": 4, \"min_coeff\": 0.5, \"bias_correction\": false, "
					"\"eps_inside_sqrt\": true, \"amsgrad\": false"));
	assert_true(config.learning_rate == 0.5f && config.beta1 == 0.8f && config.beta2 == 0.7f);
	assert_true(config.optimizer.epsilon == 0.25f && config.optimizer.weight_decay == 0.125f);
	assert_true(config.optimizer.minimum_coefficient == 0.5f && config.optimizer.maximum_coefficient == 4.0f);
	assert_true(config.optimizer.no_bias_correction && config.optimizer.epsilon_inside_root);
	assert_string_equal(config.unknown_keys, "");
	config = read_text(ADAM("Lion", "\"weight_decay\": 0.5"));
	assert_int_equal(config.optimizer.kind, OPTIMIZER_LION);
	assert_true(config.beta1 == 0.9f && config.beta2 == 0.999f && config.optimizer.weight_decay == 0.5f);
	config = read_text(ADAM("Adagrad", "\"weight_decay\": 0.5"));
	assert_int_equal(config.optimizer.kind, OPTIMIZER_ADAGRAD);
	assert_true(config.learning_rate == 0.01f && config.optimizer.epsilon == 1e-10f);
	assert_true(config.beta1 == 0 && config.beta2 == 0 && config.optimizer.weight_decay == 0.5f);
	config = read_text(ADAM("Adagrad", "\"lr\": 0.5, \"eps\": 0.25, \"amsgrad\": true"));
	assert_true(config.learning_rate == 0.5f && config.optimizer.epsilon == 0.25f);
	assert_string_equal(config.unknown_keys, "optimizer.params.amsgrad");
	// A momentum needs a buffer; without one nothing is kept.
	assert_true(read_text(ADAM("SGD", "")).optimizer.no_momentum);
	assert_true(read_text("{}").optimizer.no_momentum);
	assert_false(read_text(ADAM("SGD", "\"momentum\": 0.5")).optimizer.no_momentum);
}

static void read_warmup_takes_all_parameters(void **state)
{
	struct learning_rate_schedule s = read_text("{" WITH_ADAM SCHEDULER("WarmupLR", "") "}").schedule;
	assert_int_equal(s.kind, LEARNING_RATE_WARMUP);
	assert_true(s.warmup_min_lr == 0 && s.warmup_max_lr == 0.02); // the optimizer's, exactly
	assert_int_equal(s.warmup_num_steps, 1000);
	assert_false(s.warmup_linear);
	assert_true(read_text("{\"scheduler\": {\"type\": \"WarmupLR\"}}").schedule.warmup_max_lr == 0.001);
	s = read_text("{" SCHEDULER("WarmupDecayLR", "\"total_num_steps\": 1e4, \"warmup_min_lr\": 1e-6,"
						     "\"warmup_num_steps\": 5, \"warmup_type\": \"linear\"") "}")
		    .schedule;
	assert_int_equal(s.kind, LEARNING_RATE_WARMUP_DECAY);
	assert_true(s.warmup_min_lr == 1e-6 && s.warmup_max_lr == 0.001 && s.warmup_linear);
	assert_int_equal(s.total_num_steps, 10000);
	assert_int_equal(s.warmup_num_steps, 5);
}

static void read_warmup_cosine_and_range_test_take_all_parameters(void **state)
{
	struct learning_rate_schedule s =
		read_text("{" WITH_ADAM SCHEDULER("WarmupCosineLR", "\"total_num_steps\": 90") "}").schedule;
	assert_int_equal(s.kind, LEARNING_RATE_WARMUP_COSINE);
	assert_true(s.warmup_max_lr == 0.02 && s.warmup_min_ratio == 0 && s.cos_min_ratio == 0.0001);
	assert_true(s.total_num_steps == 90 && s.warmup_num_steps == 1000 && !s.warmup_linear);
	s = read_text("{" WITH_ADAM SCHEDULER("WarmupCosineLR",
					      "\"total_num_steps\": 90, \"warmup_min_ratio\": 0.5, \"cos_min_ratio\":"
					      " 0.25, \"warmup_num_steps\": 9, \"warmup_type\": \"linear\"") "}")
		    .schedule;
	assert_true(s.warmup_min_ratio == 0.5 && s.cos_min_ratio == 0.25 && s.warmup_num_steps == 9 && s.warmup_linear);
	s = read_text("{" WITH_ADAM SCHEDULER("LRRangeTest", "") "}").schedule;
	assert_int_equal(s.kind, LEARNING_RATE_RANGE_TEST);
	assert_true(s.range_test_min_lr == 1e-3 && s.range_test_step_rate == 1 && !s.range_test_staircase);
	assert_int_equal(s.range_test_step_size, 2000);
	s = read_text("{" SCHEDULER("lrrangetest",
				    "\"lr_range_test_min_lr\": 0.1, \"lr_range_test_step_rate\": 5,"
				    "\"lr_range_test_step_size\": 7, \"lr_range_test_staircase\": true") "}")
		    .schedule;
	assert_true(s.range_test_min_lr == 0.1 && s.range_test_step_rate == 5 && s.range_test_staircase);
	assert_int_equal(s.range_test_step_size, 7);
}

static void read_one_cycle_takes_all_parameters(void **state)
{
	struct deepspeed_config config =
		read_text("{" WITH_ADAM SCHEDULER("OneCycle", "\"cycle_min_lr\": 0.001, \"cycle_max_lr\": 1") "}");
	struct learning_rate_schedule *s = &config.schedule;
	assert_int_equal(s->kind, LEARNING_RATE_ONE_CYCLE);
	assert_true(s->cycle_min_lr == 0.001 && s->cycle_max_lr == 1 && s->decay_lr_rate == 0);
	assert_int_equal(s->cycle_first_step_size, 2000);
	assert_int_equal(s->cycle_second_step_size, 2000); // as the first
	assert_int_equal(s->decay_step_size, 0);
	assert_true(s->cycle_momentum && s->cycle_min_mom == 0.8 && s->cycle_max_mom == 0.9 && s->decay_mom_rate == 0);
	assert_true(config.beta2 == 0.99f); // as DeepSpeed sets it
	config = read_text("{" WITH_ADAM SCHEDULER(
		"OneCycle", "\"cycle_min_lr\": 0.001, \"cycle_max_lr\": 1, \"decay_lr_rate\": 0.5,"
			    "\"cycle_first_step_size\": 10, \"cycle_second_step_size\": 20,"
			    "\"cycle_first_stair_count\": 5, \"decay_step_size\": 7, \"cycle_momentum\": false,"
			    "\"cycle_min_mom\": 0.5, \"cycle_max_mom\": 0.6, \"decay_mom_rate\": 0.25") "}");
	assert_true(s->decay_lr_rate == 0.5 && s->cycle_min_mom == 0.5 && s->cycle_max_mom == 0.6 &&
		    s->decay_mom_rate == 0.25);
	assert_int_equal(s->cycle_first_step_size, 10);
	assert_int_equal(s->cycle_second_step_size, 20);
	assert_int_equal(s->cycle_first_stair_count, 5);
	assert_int_equal(s->cycle_second_stair_count, 5); // as the first
	assert_int_equal(s->decay_step_size, 7);
	assert_false(s->cycle_momentum);
	assert_true(config.beta2 == 0.999f);
	config = read_text("{" SCHEDULER("OneCycle", "\"cycle_min_lr\": 0.001, \"cycle_max_lr\": 1") "}");
	assert_false(s->cycle_momentum); // DeepSpeed cycles no SGD's momentum
}

static void read_fp16_takes_deepspeeds_settings(void **state)
{
	struct deepspeed_config config = read_text("{\"fp16\": {\"enabled\": true}}");
	assert_int_equal(config.compute_type, DATA_FLOAT16);
	assert_int_equal(config.communication_type, DATA_FLOAT16);
	const struct loss_scaling *s = &config.loss_scaling;
	assert_true(s->dynamic && s->scale == 65536 && s->minimum == 1 && !s->consecutive_hysteresis);
	assert_int_equal(s->window, 1000);
	assert_int_equal(s->hysteresis, 2);
	config = read_text("{\"fp16\": {\"enabled\": true, \"auto_cast\": false, \"loss_scale\": 0,"
			   " \"initial_scale_power\": 32, \"loss_scale_window\": 500, \"hysteresis\": 4,"
			   " \"consecutive_hysteresis\": true, \"min_loss_scale\": 8,"
			   " \"fp16_master_weights_and_grads\": false}, \"bf16\": {\"enabled\": false}}");
	assert_true(s->dynamic && s->scale == 4294967296.0 && s->minimum == 8 && s->consecutive_hysteresis);
	assert_int_equal(s->window, 500);
	assert_int_equal(s->hysteresis, 4);
	assert_string_equal(config.unknown_keys, "");
	config = read_text("{\"fp16\": {\"enabled\": true, \"loss_scale\": 128, \"min_loss_scale\": 1024}}");
	assert_true(!s->dynamic && s->scale == 128);
	config = read_text("{\"fp16\": {\"enabled\": true, \"loss_scale\": 0.25}}");
	assert_true(!s->dynamic && s->scale == 0.25);
	// What is not there changes nothing, and is said.
	config = read_text("{\"fp16\": {\"enabled\": true, \"auto_cast\": true, \"typo\": 1}}");
	assert_string_equal(config.unknown_keys, "fp16.auto_cast, fp16.typo");
	config = read_text("{\"fp16\": {\"enabled\": false, \"auto_cast\": true, \"loss_scale\": \"what\"}}");
	assert_int_equal(config.compute_type, DATA_FLOAT32);
	assert_string_equal(config.unknown_keys, "");
}

static void read_other_precisions_are_taken(void **state)
{
	static const struct {
		const char *text;
		enum data_type compute, communication;
		bool tf32;
		const char *unknown;
	} cases[] = {
		{"{\"bf16\": {\"enabled\": true}}", DATA_BFLOAT16, DATA_BFLOAT16, false, ""},
		{"{\"bfloat16\": {\"enabled\": true}}", DATA_BFLOAT16, DATA_BFLOAT16, false, ""},
		{"{\"bfloat16\": {\"enabled\": true}, \"bf16\": null}", DATA_BFLOAT16, DATA_BFLOAT16, false, ""},
		{"{\"bfloat16\": {\"enabled\": true}, \"bf16\": {}}", DATA_FLOAT32, DATA_FLOAT32, false,
		 "bfloat16.enabled"},
		{"{\"bf16\": {\"enabled\": true, \"check_grad_overflow\": false, \"immediate_grad_update\": true}}",
		 DATA_BFLOAT16, DATA_BFLOAT16, false, "bf16.immediate_grad_update"},
		{"{\"bf16\": {\"enabled\": true}, \"communication_data_type\": \"fp32\"}", DATA_BFLOAT16, DATA_FLOAT32,
		 false, ""},
		{"{\"communication_data_type\": \"bfp16\"}", DATA_FLOAT32, DATA_BFLOAT16, false, ""},
		{"{\"communication_data_type\": \"BF16\"}", DATA_FLOAT32, DATA_BFLOAT16, false, ""},
		{"{\"communication_data_type\": \"fp16\"}", DATA_FLOAT32, DATA_FLOAT16, false, ""},
		{"{\"communication_data_type\": null}", DATA_FLOAT32, DATA_FLOAT32, false, ""},
		{"{\"penstock\": {\"tf32\": true}}", DATA_FLOAT32, DATA_FLOAT32, true, ""},
		{"{\"penstock\": {\"tf32\": false, \"tf33\": true}}", DATA_FLOAT32, DATA_FLOAT32, false,
		 "penstock.tf33"},
		{"{\"penstock\": {\"tf32\": true}, \"bf16\": {\"enabled\": true}}", DATA_BFLOAT16, DATA_BFLOAT16, false,
		 ""},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct deepspeed_config config = read_text(cases[i].text);
		if (config.compute_type != cases[i].compute || config.communication_type != cases[i].communication ||
		    config.allow_tf32 != cases[i].tf32)
			fail_msg("%s: %s, %s, %d", cases[i].text, data_type_name(config.compute_type),
				 data_type_name(config.communication_type), config.allow_tf32);
		assert_string_equal(config.unknown_keys, cases[i].unknown);
	}
}

static void read_pipeline_takes_the_checkpoint_interval(void **state)
{
	struct deepspeed_config config = read_text("{\"pipeline\": {\"activation_checkpoint_interval\": 3,"
						   " \"stages\": 2}}");
	assert_int_equal(config.checkpoint_interval, 3);
	assert_string_equal(config.unknown_keys, "pipeline.stages");
	assert_int_equal(read_text("{\"pipeline\": {\"activation_checkpoint_interval\": 0}}").checkpoint_interval, 0);
	assert_int_equal(read_text("{\"pipeline\": null}").checkpoint_interval, 0);
}

static void read_unknown_keys_are_collected(void **state)
{
	struct deepspeed_config config = read_text(
		"{\"zero_optimization\": {\"stage\": 2, \"offload\": {\"a\": 1}}, \"fp16\": {\"enabled\": false},"
		" \"amp\": {\"enabled\": true}, \"train_batch\": 4,"
		" \"optimizer\": {\"type\": \"Adam\", \"legacy_fusion\": true,"
		" \"params\": {\"foo\": 1, \"amsgrad\": true, \"bias_correction\": true}},"
		" \"scheduler\": {\"type\": \"WarmupLR\", \"params\": {\"cycle_min_lr\": 1}}}");
	assert_string_equal(config.unknown_keys,
			    "optimizer.legacy_fusion, optimizer.params.foo, optimizer.params.amsgrad, "
			    "scheduler.params.cycle_min_lr, zero_optimization, amp.enabled, train_batch (did you mean "
			    "train_batch_size?)");
}

static void read_many_unknown_keys_are_counted(void **state)
{
	static char text[1 << 16];
	size_t length = 0;
	text[length++] = '{';
	for (int i = 0; i < 1000; i++)
		length += (size_t)sprintf(text + length, "%s\"some_unknown_key_%d\": 1", i == 0 ? "" : ",", i);
	strcpy(text + length, "}");
	struct deepspeed_config config = read_text(text);
	assert_non_null(strstr(config.unknown_keys, "some_unknown_key_0, some_unknown_key_1,"));
	unsigned named = 0, more = 0;
	for (const char *c = config.unknown_keys; (c = strstr(c, "some_")) != NULL; c++)
		named++;
	const char *rest = strstr(config.unknown_keys, " and ");
	assert_non_null(rest);
	assert_int_equal(sscanf(rest, " and %u more", &more), 1);
	assert_int_equal(named + more, 1000);
	assert_string_equal(read_text("{\"a\": null, \"optimizer\": {\"type\": \"Adam\", \"params\": "
				      "{\"amsgrad\": null, \"max_grad_norm\": null}}}")
				    .unknown_keys,
			    "");
	config = read_text("{\"\\u001b[2J\": 1}");
	assert_string_equal(config.unknown_keys, "?[2J");
}

static void read_wrong_value_is_refused_with_its_name(void **state)
{
	static const struct {
		const char *text, *expected;
	} bad[] = {
		{"[]", "expected an object"},
		{"{\"train_batch_size\": \"32\"}",
		 "train_batch_size is a string; expected a whole number from 1 to 16777216"},
		{"{\"train_batch_size\": \"auto\"}", "train_batch_size is \"auto\""},
		{"{\"train_batch_size\": 0}", "train_batch_size is 0; expected"},
		{"{\"train_batch_size\": -4}", "train_batch_size is -4; expected"},
		{"{\"train_batch_size\": 2.5}", "train_batch_size is 2.5; expected"},
		{"{\"train_batch_size\": 4294967297}", "train_batch_size is 4294967297; expected"},
		{"{\"train_batch_size\": true}", "train_batch_size is true; expected"},
		{"{\"train_micro_batch_size_per_gpu\": [1]}", "train_micro_batch_size_per_gpu is a list; expected"},
		{"{\"gradient_accumulation_steps\": {}}", "gradient_accumulation_steps is an object; expected"},
		{"{\"gradient_clipping\": -1}", "gradient_clipping is -1; expected a number of at least 0"},
		{"{\"gradient_clipping\": \"auto\"}", "write a number of at least 0"},
		{"{\"steps_per_print\": 0}", "steps_per_print is 0; expected"},
		{"{\"wall_clock_breakdown\": 1}", "wall_clock_breakdown is 1; expected true or false"},
		{"{\"fp16\": true}", "fp16 is true; expected an object"},
		{"{\"fp16\": {\"enabled\": \"auto\"}}", "fp16.enabled is \"auto\""},
		{"{\"fp16\": {\"enabled\": 1}}", "fp16.enabled is 1; expected true or false"},
		{FP16("\"loss_scale\": -1"), "fp16.loss_scale is -1; expected a number from 0 to"},
		{FP16("\"loss_scale\": \"0\""), "fp16.loss_scale is a string"},
		{FP16("\"loss_scale\": true"), "fp16.loss_scale is true"},
		{FP16("\"loss_scale\": 1e30"), "fp16.loss_scale is 1e+30; expected"},
		{FP16("\"loss_scale\": 1e-30"),
		 "fp16.loss_scale is 1e-30; expected 0, for a dynamic scale, or at least"},
		{FP16("\"initial_scale_power\": 65"),
		 "fp16.initial_scale_power is 65; expected a whole number from 0 to 64"},
		{FP16("\"initial_scale_power\": -1"), "fp16.initial_scale_power is -1; expected"},
		{FP16("\"loss_scale_window\": 0"), "fp16.loss_scale_window is 0; expected"},
		{FP16("\"hysteresis\": 0"), "fp16.hysteresis is 0; expected"},
		{FP16("\"consecutive_hysteresis\": 2"), "fp16.consecutive_hysteresis is 2; expected true or false"},
		{FP16("\"min_loss_scale\": 0.25"), "fp16.min_loss_scale is 0.25; expected a whole number"},
		{FP16("\"min_loss_scale\": 32, \"initial_scale_power\": 4"),
		 "fp16.min_loss_scale is 32, more than the first scale, 2 to the power fp16.initial_scale_power, 4"},
		{"{\"fp16\": {\"enabled\": true}, \"bf16\": {\"enabled\": true}}",
		 "fp16.enabled and bf16.enabled are both true"},
		{"{\"fp16\": {\"enabled\": true}, \"bfloat16\": {\"enabled\": true}}",
		 "fp16.enabled and bfloat16.enabled are both true"},
		{"{\"bf16\": {\"enabled\": \"yes\"}}", "bf16.enabled is a string; expected true or false"},
		{"{\"communication_data_type\": \"int8\"}",
		 "communication_data_type \"int8\" is unknown; known: fp32, bf16 and fp16"},
		{"{\"communication_data_type\": \"\"}", "communication_data_type \"\" is unknown"},
		{"{\"communication_data_type\": 16}", "communication_data_type is 16; expected a string"},
		{"{\"penstock\": {\"tf32\": \"on\"}}", "penstock.tf32 is a string; expected true or false"},
		{"{\"penstock\": []}", "penstock is a list; expected an object"},
		{"{\"pipeline\": 3}", "pipeline is 3; expected an object"},
		{"{\"pipeline\": {\"activation_checkpoint_interval\": -1}}",
		 "pipeline.activation_checkpoint_interval is -1; expected a whole number from 0 to"},
		{"{\"pipeline\": {\"activation_checkpoint_interval\": 1.5}}",
		 "pipeline.activation_checkpoint_interval is 1.5"},
		{"{\"optimizer\": \"Adam\"}", "optimizer is a string; expected an object"},
		{"{\"optimizer\": {}}", "optimizer.type is missing"},
		{"{\"optimizer\": {\"type\": 4}}", "optimizer.type is 4; expected a string"},
		{"{\"optimizer\": {\"type\": \"Muon\"}}",
		 "optimizer.type \"Muon\" is unknown; known: SGD, Adam, AdamW, Lamb, Lion and Adagrad"},
		{ADAM("Lamb", "\"min_coeff\": 20"), "optimizer.params.min_coeff is 20, above max_coeff, 10"},
		{ADAM("Lamb", "\"max_grad_norm\": 1"), "write gradient_clipping at the top level"},
		{"{\"optimizer\": {\"type\": \"Adam\", \"params\": []}}", "optimizer.params is a list"},
		{ADAM("Adam", "\"lr\": \"1e-3\""), "optimizer.params.lr is a string; expected a number of at least 0"},
		{ADAM("Adam", "\"lr\": -1"), "optimizer.params.lr is -1; expected"},
		{ADAM("Adam", "\"lr\": 1e300"), "optimizer.params.lr is 1e+300; expected"},
		{ADAM("Adam", "\"lr\": \"auto\""), "optimizer.params.lr is \"auto\""},
		{ADAM("Adam", "\"betas\": [0.9]"), "optimizer.params.betas is a list; expected a list of two numbers"},
		{ADAM("Adam", "\"betas\": [0.9, 1]"), "optimizer.params.betas"},
		{ADAM("Adam", "\"betas\": 0.9"), "optimizer.params.betas is 0.9; expected a list of two"},
		{ADAM("Adam", "\"betas\": [0.9, \"x\"]"), "optimizer.params.betas"},
		{ADAM("Adam", "\"torch_adam\": \"yes\""),
		 "optimizer.params.torch_adam is a string; expected true or false"},
		{ADAM("Adam", "\"max_grad_norm\": 1"), "write gradient_clipping"},
		{ADAM("SGD", "\"nesterov\": true"), "optimizer.params.nesterov needs a momentum over 0"},
		{ADAM("SGD", "\"nesterov\": true, \"momentum\": 0.9, \"dampening\": 0.1"), "a dampening of 0"},
		{ADAM("SGD", "\"momentum\": -0.1"), "optimizer.params.momentum is -0.1"},
		{"{\"scheduler\": {}}", "scheduler.type is missing"},
		{"{\"scheduler\": 1}", "scheduler is 1; expected an object"},
		{"{" SCHEDULER("CosineLR", "") "}", "scheduler.type \"CosineLR\" is unknown; known: WarmupLR"},
		{"{" SCHEDULER("WarmupCosineLR", "") "}", "WarmupCosineLR needs scheduler.params.total_num_steps"},
		{"{" SCHEDULER("WarmupCosineLR", "\"total_num_steps\": 9, \"cos_min_ratio\": -1") "}",
		 "scheduler.params.cos_min_ratio is -1; expected a number of at least 0"},
		{"{" SCHEDULER("LRRangeTest", "\"lr_range_test_step_size\": 0") "}",
		 "scheduler.params.lr_range_test_step_size is 0; expected a whole number from 1"},
		{"{" SCHEDULER("WarmupDecayLR", "") "}", "WarmupDecayLR needs scheduler.params.total_num_steps"},
		{"{" SCHEDULER("WarmupDecayLR", "\"total_num_steps\": null") "}",
		 "needs scheduler.params.total_num_steps"},
		{"{" SCHEDULER("WarmupLR", "\"warmup_num_steps\": 0") "}", "scheduler.params.warmup_num_steps is 0"},
		{"{" SCHEDULER("WarmupLR", "\"warmup_type\": \"cosine\"") "}",
		 "scheduler.params.warmup_type is \"cosine\""},
		{"{" SCHEDULER("WarmupLR", "\"warmup_max_lr\": [1]") "}", "scheduler.params.warmup_max_lr is a list"},
		{"{" SCHEDULER("OneCycle", "\"cycle_max_lr\": 1") "}", "OneCycle needs scheduler.params.cycle_min_lr"},
		{"{" SCHEDULER("OneCycle",
			       "\"cycle_min_lr\": 0, \"cycle_max_lr\": 1, \"cycle_first_step_size\": 0") "}",
		 "scheduler.params.cycle_first_step_size is 0"},
		{"{" SCHEDULER("OneCycle", "\"cycle_min_lr\": 0, \"cycle_max_lr\": 1, \"cycle_max_mom\": 2") "}",
		 "scheduler.params.cycle_max_mom is 2; expected a number from 0 to 1"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_refused(bad[i].text, bad[i].expected);
}

static void read_wrong_syntax_is_refused_with_line_and_column(void **state)
{
	assert_refused("{\n  \"train_batch_size\": 32,\n  \"steps_per_print\": ten\n}",
		       ": line 3, column 3: steps_per_print is a string; expected a whole number from 1 to 1000000000");
	assert_refused("{\"train_batch_size\": 32\n", ": line 1, column 1: the object that begins here has no closing");
	assert_refused("{\n \"steps_per_print\": 1,\n \"steps_per_print\": 2}",
		       ": line 3, column 2: duplicate key \"steps_per_print\"; the first is at line 2, column 2");
	assert_refused("{\"a\": 1e999}", ": line 1, column 7: ");
	assert_refused("{\"a\": \"\x1b[2J\"}", ": line 1, column 8: ");
	assert_refused("{\"a\": \"\xff\"}", ": line 1, column 8: ");
}

// Each file of tests/unit/config/cases/ was refused, or warned of, once.
static struct deepspeed_config read_case(const char *name)
{
	struct deepspeed_config config;
	struct error error = {0};
	char path[512];
	snprintf(path, sizeof(path), "%s/tests/unit/config/cases/%s", PENSTOCK_SOURCE_DIR, name);
	if (!deepspeed_config_read(path, NULL, &config, &error))
		fail_msg("%s", error.message);
	return config;
}

static void read_hjson_is_read_as_deepspeed_reads_it(void **state)
{
	struct deepspeed_config config = read_case("ds_config_hjson.json");
	assert_int_equal(config.train_batch_size, 32);
	assert_int_equal(config.micro_batch_size, 8);
	assert_int_equal(config.steps_per_print, 5);
	assert_int_equal(config.optimizer.kind, OPTIMIZER_ADAMW);
	assert_true(config.learning_rate == 0.001f && config.optimizer.epsilon == 1e-8f);
	assert_string_equal(config.unknown_keys, "");
	assert_int_equal(read_text("").steps_per_print, 10); // as an empty object
	assert_int_equal(read_text("train_batch_size: 8").train_batch_size, 8);
}

static void read_keys_that_ask_for_nothing_are_not_named(void **state)
{
	static const struct {
		const char *text, *unknown;
	} cases[] = {
		{"{\"zero_optimization\": {\"stage\": 0, \"overlap_comm\": true}}", ""},
		{"{\"zero_optimization\": {\"overlap_comm\": true}}", ""}, // the stage is 0
		{"{\"zero_optimization\": {\"stage\": 1}}", "zero_optimization"},
		{"{\"zero_optimization\": true}", "zero_optimization"},
		{"{\"zero_optimization\": false}", ""},
		{"{\"prescale_gradients\": true, \"gradient_predivide_factor\": 1.0}", "prescale_gradients"},
		{"{\"gradient_predivide_factor\": 2}", "gradient_predivide_factor"},
		{"{\"data_types\": {\"grad_accum_dtype\": \"fp32\"}}", ""},
		{"{\"data_types\": {\"grad_accum_dtype\": \"bf16\"}}", "data_types"},
		{"{\"activation_checkpointing\": {\"number_checkpoints\": null, \"profile\": false}}", ""},
		{"{\"activation_checkpointing\": {\"cpu_checkpointing\": true}}", "activation_checkpointing"},
		{"{\"flops_profiler\": {\"profile_step\": 3}}", ""}, // off unless enabled
		{"{\"flops_profiler\": {\"enabled\": true}}", "flops_profiler.enabled"},
		{"{\"of_others\": {\"a\": false, \"b\": {\"c\": null}}}", ""},
		{"{\"of_others\": {\"a\": false, \"b\": {\"c\": 0}}}", "of_others"},
		{"{\"of_others\": false}", "of_others"},
		{"{\"checkpoint\": {\"tag_validation\": \"Warn\", \"load_universal\": false}}", ""},
		{"{\"compile\": {\"deepcompile\": false, \"double_buffer\": true}}", ""},
		{"{\"pipeline\": {\"stages\": \"auto\", \"partition\": \"best\", \"pipe_partitioned\": true}}", ""},
		{"{\"pipeline\": {\"stages\": 2, \"grad_partitioned\": false}}",
		 "pipeline.stages, pipeline.grad_partitioned"},
		{"{\"gradient_allreduce_op\": \"sum\", \"dump_state\": true}", "gradient_allreduce_op, dump_state"},
		{ADAM("Adam", "\"fused\": true, \"maximize\": false"), ""},
		{ADAM("Adam", "\"maximize\": true"), "optimizer.params.maximize"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct deepspeed_config config = read_text(cases[i].text);
		if (strcmp(config.unknown_keys, cases[i].unknown) != 0)
			fail_msg("%s: %s", cases[i].text, config.unknown_keys);
	}
	assert_string_equal(read_case("ds_config_harmless.json").unknown_keys, "");
}

static void read_all_mistakes_are_told_at_once(void **state)
{
	char path[512];
	struct deepspeed_config config;
	struct error error = {0};
	write_test_file(
		"{\n"
		"  train_batch_size: 0,\n"
		"  steps_per_print: 10, steps_per_print: 10,\n"
		"  optimizer: { type: \"Adma\", params: [] },\n"
		"  scheduler: { type: \"WarmupDecayLR\", params: { warmup_num_steps: 0, warmup_type: \"x\" } },\n"
		"  fp16: { enabled: 1 },\n"
		"}\n");
	assert_false(deepspeed_config_read(test_path, NULL, &config, &error));
	static const char *const expected[] = {
		": 8 mistakes\n",
		"\n  line 2, column 3: train_batch_size is 0; expected a whole number from 1 to 16777216\n",
		"\n  line 3, column 24: duplicate key \"steps_per_print\"; the first is at line 3, column 3\n",
		"\n  line 4, column 16: optimizer.type \"Adma\" is unknown; ",
		"\n  line 4, column 30: optimizer.params is a list; expected an object in braces\n",
		"\n  line 5, column 39: WarmupDecayLR needs scheduler.params.total_num_steps\n",
		"\n  line 5, column 49: scheduler.params.warmup_num_steps is 0; expected",
		"\n  line 5, column 70: scheduler.params.warmup_type is \"x\"; expected",
		"\n  line 6, column 11: fp16.enabled is 1; expected true or false",
	};
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		if (strstr(error.message, expected[i]) == NULL)
			fail_msg("no \"%s\" in: %s", expected[i], error.message);
	snprintf(path, sizeof(path), "%s/tests/unit/config/cases/ds_config_duplicate.json", PENSTOCK_SOURCE_DIR);
	assert_false(deepspeed_config_read(path, NULL, &config, &error));
	assert_non_null(strstr(error.message, "ds_config_duplicate.json: line 1, column 64: duplicate key "
					      "\"train_batch_size\"; the first is at line 1, column 3"));
}

static void read_what_is_no_file_is_refused(void **state)
{
	struct deepspeed_config config;
	struct error error = {0};
	assert_false(deepspeed_config_read("/nonexistent/ds.json", NULL, &config, &error));
	assert_non_null(strstr(error.message, "/nonexistent/ds.json: No such file"));
	assert_false(deepspeed_config_read(test_folder, NULL, &config, &error));
	assert_non_null(strstr(error.message, "not a regular file"));
	static char large[(1 << 20) + 2];
	memset(large, ' ', sizeof(large));
	write_test_bytes(large, sizeof(large));
	assert_false(deepspeed_config_read(test_path, NULL, &config, &error));
	assert_non_null(strstr(error.message, "larger than"));
	memset(large, '[', 1 << 20);
	write_test_bytes(large, 1 << 20);
	assert_false(deepspeed_config_read(test_path, NULL, &config, &error));
}

static void read_damaged_file_is_read_or_refused(void **state)
{
	static const char good[] = "{" WITH_ADAM "\"train_batch_size\": 8, " SCHEDULER(
		"OneCycle", "\"cycle_min_lr\": 1e-3, \"cycle_max_lr\": 1, \"cycle_momentum\": true") "}";
	char bad[sizeof(good)];
	unsigned refused = 0;
	for (size_t at = 0; at < sizeof(good) - 1; at++)
		for (unsigned change = 0; change < 9; change++) {
			memcpy(bad, good, sizeof(good));
			bad[at] ^= (char)(change == 8 ? 0xff : 1u << change);
			write_test_bytes(bad, sizeof(good) - 1);
			struct deepspeed_config config;
			struct error error = {0};
			if (!deepspeed_config_read(test_path, NULL, &config, &error)) {
				assert_true(error.message[0] != '\0');
				refused++;
			}
		}
	assert_true(refused > sizeof(good));
}

static void resolve_batch_follows_deepspeeds_rule(void **state)
{
	static const struct {
		uint32_t train, micro, accumulation, replicas, expected[3];
	} cases[] = {
		{64, 4, 8, 2, {64, 4, 8}}, // all three
		{64, 4, 0, 2, {64, 4, 8}}, // two give the third
		{64, 0, 8, 2, {64, 4, 8}},  {0, 4, 8, 2, {64, 4, 8}},
		{64, 0, 0, 2, {64, 32, 1}}, // one alone: no accumulation
		{0, 4, 0, 2, {8, 4, 1}},    {1, 0, 0, 1, {1, 1, 1}},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct deepspeed_config config = {.train_batch_size = cases[i].train,
						  .micro_batch_size = cases[i].micro,
						  .gradient_accumulation_steps = cases[i].accumulation};
		struct error error = {0};
		if (!deepspeed_config_resolve_batch(&config, cases[i].replicas, &error))
			fail_msg("%s", error.message);
		assert_int_equal(config.train_batch_size, cases[i].expected[0]);
		assert_int_equal(config.micro_batch_size, cases[i].expected[1]);
		assert_int_equal(config.gradient_accumulation_steps, cases[i].expected[2]);
	}
}

static void resolve_batch_mismatch_is_refused_with_all_numbers(void **state)
{
	static const struct {
		uint32_t train, micro, accumulation, replicas;
		const char *expected;
	} bad[] = {
		{64, 4, 8, 1,
		 "train_batch_size 64 is not train_micro_batch_size_per_gpu 4 x gradient_accumulation_steps 8 x "
		 "data-parallel size 1"},
		{10, 4, 0, 1,
		 "train_batch_size 10 is not train_micro_batch_size_per_gpu 4 x gradient_accumulation_steps 2 x"},
		{10, 0, 0, 4, "train_batch_size 10 is not train_micro_batch_size_per_gpu 2 x"},
		{4, 8, 0, 1, "gradient_accumulation_steps 0"},
		{4, 0, 8, 1, "train_micro_batch_size_per_gpu 0"},
		{0, 0, 0, 1, "the batch size is missing"},
		{0, 0, 4, 1, "the batch size is missing"},
		{0, 1 << 24, 1 << 24, 1 << 30, "the maximum is 16777216"},
		{8, 8, 1, 0, "data-parallel size is 0"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct deepspeed_config config = {.train_batch_size = bad[i].train,
						  .micro_batch_size = bad[i].micro,
						  .gradient_accumulation_steps = bad[i].accumulation};
		struct deepspeed_config before = config;
		struct error error = {0};
		assert_false(deepspeed_config_resolve_batch(&config, bad[i].replicas, &error));
		if (strstr(error.message, bad[i].expected) == NULL)
			fail_msg("expected \"%s\", got \"%s\"", bad[i].expected, error.message);
		assert_int_equal(error.code, ERROR_USAGE);
		assert_memory_equal(&config, &before, sizeof(config));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_empty_object_gives_the_defaults),
		cmocka_unit_test(read_top_level_keys_are_honoured),
		cmocka_unit_test(read_sgd_takes_pytorchs_settings),
		cmocka_unit_test(read_adam_takes_deepspeeds_settings),
		cmocka_unit_test(read_adam_modes_choose_the_weight_decay),
		cmocka_unit_test(read_lamb_lion_and_adagrad_have_deepspeeds_defaults),
		cmocka_unit_test(read_warmup_takes_all_parameters),
		cmocka_unit_test(read_warmup_cosine_and_range_test_take_all_parameters),
		cmocka_unit_test(read_one_cycle_takes_all_parameters),
		cmocka_unit_test(read_fp16_takes_deepspeeds_settings),
		cmocka_unit_test(read_other_precisions_are_taken),
		cmocka_unit_test(read_pipeline_takes_the_checkpoint_interval),
		cmocka_unit_test(read_unknown_keys_are_collected),
		cmocka_unit_test(read_many_unknown_keys_are_counted),
		cmocka_unit_test(read_wrong_value_is_refused_with_its_name),
		cmocka_unit_test(read_wrong_syntax_is_refused_with_line_and_column),
		cmocka_unit_test(read_hjson_is_read_as_deepspeed_reads_it),
		cmocka_unit_test(read_keys_that_ask_for_nothing_are_not_named),
		cmocka_unit_test(read_all_mistakes_are_told_at_once),
		cmocka_unit_test(read_what_is_no_file_is_refused),
		cmocka_unit_test(read_damaged_file_is_read_or_refused),
		cmocka_unit_test(resolve_batch_follows_deepspeeds_rule),
		cmocka_unit_test(resolve_batch_mismatch_is_refused_with_all_numbers),
	};
	return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
