// Names of the optimizers.
#include "common/model/optimizer.h"

#include <strings.h>

static const char *const names[] = {[OPTIMIZER_SGD] = "SGD", [OPTIMIZER_ADAM] = "Adam", [OPTIMIZER_ADAMW] = "AdamW"};

const char *optimizer_name(enum optimizer_kind kind)
{
	return names[kind];
}

bool optimizer_parse(const char *name, enum optimizer_kind *ret_kind)
{
	for (int kind = OPTIMIZER_SGD; kind <= OPTIMIZER_ADAMW; kind++)
		if (strcasecmp(name, names[kind]) == 0) {
			*ret_kind = (enum optimizer_kind)kind;
			return true;
		}
	return false;
}

uint32_t optimizer_state_tensors(enum optimizer_kind kind)
{
	return kind == OPTIMIZER_SGD ? 1 : 2;
}
