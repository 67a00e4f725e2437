// Names and sizes of the optimizers. See optimizer.h.
#include "common/model/optimizer.h"

#include <strings.h>

static const struct {
	const char *name;
	uint32_t state_tensors;
} optimizers[OPTIMIZER_COUNT] = {
	[OPTIMIZER_SGD] = {"SGD", 1},
	[OPTIMIZER_ADAM] = {"Adam", 2},
	[OPTIMIZER_ADAMW] = {"AdamW", 2},
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

uint32_t optimizer_state_tensors(enum optimizer_kind kind)
{
	return optimizers[kind].state_tensors;
}
