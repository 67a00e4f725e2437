// Names, sizes and defaults of the optimizers. See optimizer.h.
#include "common/model/optimizer.h"

#include <strings.h>

static const struct {
	const char *name;
	uint32_t state_tensors;
	bool has_betas;
	float epsilon;
} optimizers[OPTIMIZER_COUNT] = {
	[OPTIMIZER_SGD] = {"SGD", 1, false, 0.0f},     [OPTIMIZER_ADAM] = {"Adam", 2, true, 1e-8f},
	[OPTIMIZER_ADAMW] = {"AdamW", 2, true, 1e-8f}, [OPTIMIZER_LAMB] = {"Lamb", 2, true, 1e-8f},
	[OPTIMIZER_LION] = {"Lion", 1, true, 0.0f},    [OPTIMIZER_ADAGRAD] = {"Adagrad", 1, false, 1e-10f},
};

const char *optimizer_name(enum optimizer_kind kind)
{
	return optimizers[kind].name;
}

bool optimizer_parse(const char *name, enum optimizer_kind *ret_kind)
{
	for (uint32_t i = 0; i < OPTIMIZER_COUNT; i++) {
		if (strcasecmp(name, optimizers[i].name) == 0) {
			*ret_kind = (enum optimizer_kind)i;
			return true;
		}
	}
	return false;
}

const char *optimizer_names(void)
{
	return "SGD, Adam, AdamW, Lamb, Lion and Adagrad";
}

bool optimizer_has_betas(enum optimizer_kind kind)
{
	return optimizers[kind].has_betas;
}

void optimizer_defaults(enum optimizer_kind kind, struct optimizer *ret_optimizer)
{
	*ret_optimizer = (struct optimizer){
		.kind = kind,
		.epsilon = optimizers[kind].epsilon,
		.minimum_coefficient = 0.01f,
		.maximum_coefficient = 10.0f,
	};
}

uint32_t optimizer_state_tensors(const struct optimizer *optimizer)
{
	if (optimizer->kind == OPTIMIZER_SGD && optimizer->no_momentum)
		return 0;
	return optimizers[optimizer->kind].state_tensors;
}
