// Numbers that an optimizer cannot compute with are refused, with the setting and the value.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "common/model/optimizer_check.h"

static void check_settings_are_finite_and_not_negative(void **state)
{
	static const struct {
		struct optimizer optimizer;
		const char *expected; // NULL: right
	} cases[] = {
		{{.weight_decay = 0.1f, .epsilon = 1e-8f, .dampening = -0.5f}, NULL},
		{{.weight_decay = FLT_MAX, .epsilon = 0}, NULL},
		{{.weight_decay = NAN}, "weight_decay is nan"},
		{{.weight_decay = -NAN}, "weight_decay is nan"},
		{{.weight_decay = INFINITY}, "weight_decay is inf"},
		{{.weight_decay = -1e-9f}, "weight_decay is -1e-09"},
		{{.epsilon = NAN}, "epsilon is nan"},
		{{.epsilon = INFINITY}, "epsilon is inf"},
		{{.epsilon = -1}, "epsilon is -1"},
		{{.dampening = NAN}, "dampening is nan"},
		{{.dampening = -INFINITY}, "dampening is -inf"},
		{{.kind = OPTIMIZER_LAMB, .minimum_coefficient = 1, .maximum_coefficient = 1}, NULL},
		{{.kind = OPTIMIZER_LAMB, .minimum_coefficient = 2, .maximum_coefficient = 1},
		 "coefficients are from 2 to 1"},
		{{.kind = OPTIMIZER_LAMB, .maximum_coefficient = INFINITY}, "coefficients are from 0 to inf"},
		{{.kind = OPTIMIZER_LAMB, .minimum_coefficient = NAN, .maximum_coefficient = 1},
		 "coefficients are from nan"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error error = {0};
		bool ok = optimizer_check(&cases[i].optimizer, &error);
		if (ok != (cases[i].expected == NULL) || (!ok && strstr(error.message, cases[i].expected) == NULL))
			fail_msg("case %zu: %s", i, ok ? "right" : error.message);
	}
}

static void check_step_holds_rates_and_betas_to_their_ranges(void **state)
{
	static const struct {
		enum optimizer_kind kind;
		float learning_rate, beta1, beta2;
		const char *expected; // NULL: right
	} cases[] = {
		{OPTIMIZER_SGD, 0.1f, 0.9f, 0, NULL},
		{OPTIMIZER_SGD, -NAN, 0, 0, "the learning rate is nan"},
		{OPTIMIZER_SGD, 0, 1.5f, NAN, NULL}, // PyTorch limits no momentum, and SGD has no second beta
		{OPTIMIZER_SGD, NAN, 0, 0, "the learning rate is nan"},
		{OPTIMIZER_SGD, INFINITY, 0, 0, "the learning rate is inf"},
		{OPTIMIZER_SGD, -0.1f, 0, 0, "the learning rate is -0.1"},
		{OPTIMIZER_SGD, 0.1f, NAN, 0, "the momentum is nan"},
		{OPTIMIZER_SGD, 0.1f, INFINITY, 0, "the momentum is inf"},
		{OPTIMIZER_SGD, 0.1f, -0.5f, 0, "the momentum is -0.5"},
		{OPTIMIZER_ADAM, 0.1f, 0.9f, 0.999f, NULL},
		{OPTIMIZER_ADAM, 0.1f, 0, 0, NULL},
		{OPTIMIZER_ADAGRAD, 0.1f, NAN, NAN, NULL}, // it has none
		{OPTIMIZER_LION, 0.1f, 0.9f, 1, "the betas are"},
		{OPTIMIZER_ADAMW, 0.1f, 0.99999994f, 0.99999994f, NULL}, // the largest float below 1
		{OPTIMIZER_ADAM, 0.1f, 1, 0.999f, "the betas are 1 and 0.999"},
		{OPTIMIZER_ADAM, 0.1f, 0.9f, 1, "the betas are"},
		{OPTIMIZER_ADAMW, 0.1f, NAN, 0.999f, "the betas are nan and"},
		{OPTIMIZER_ADAMW, 0.1f, 0.9f, NAN, "the betas are"},
		{OPTIMIZER_ADAMW, 0.1f, -0.1f, 0.5f, "the betas are -0.1"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error error = {0};
		bool ok = optimizer_check_step(cases[i].kind, cases[i].learning_rate, cases[i].beta1, cases[i].beta2,
					       &error);
		if (ok != (cases[i].expected == NULL) || (!ok && strstr(error.message, cases[i].expected) == NULL))
			fail_msg("case %zu: %s", i, ok ? "right" : error.message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_settings_are_finite_and_not_negative),
		cmocka_unit_test(check_step_holds_rates_and_betas_to_their_ranges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
