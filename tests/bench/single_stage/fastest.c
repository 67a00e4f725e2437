// See fastest.h.
#include "tests/bench/single_stage/fastest.h"

#include <stdlib.h>
#include <string.h>

#include "stage_server/device/tuning.h"

struct fastest {
	struct chooser chooser;
	struct tuning *tuning;
};

static bool recall(void *user, struct choice *choices, uint32_t count, struct error *error)
{
	return true;
}

static bool settle(void *user, struct choice *const *open, uint32_t count, struct error *error)
{
	const struct fastest *fastest = user;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t ns[CHOICE_MAXIMUM_CANDIDATES];
		uint32_t best = 0;
		tuning_time(fastest->tuning, open[i], NULL, ns);
		for (uint32_t c = 1; c < open[i]->count; c++)
			if ((double)ns[c] * 1.02 < (double)ns[best])
				best = c;
		memcpy(open[i]->answer, open[i]->names[best], sizeof(open[i]->answer));
	}
	return true;
}

bool fastest_create(const struct device_ops *ops, const struct device *device, const char *file,
		    struct fastest **ret_fastest, struct error *error)
{
	struct device_info info;
	struct fastest *fastest = calloc(1, sizeof(*fastest));
	if (fastest == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	fastest->chooser = (struct chooser){.recall = recall, .settle = settle, .user = fastest};
	ops->describe(device, &info);
	if (!tuning_create(file, info.machine, &fastest->tuning, error)) {
		free(fastest);
		return false;
	}
	*ret_fastest = fastest;
	return true;
}

void fastest_destroy(struct fastest *fastest)
{
	if (fastest == NULL)
		return;
	tuning_destroy(fastest->tuning);
	free(fastest);
}

const struct chooser *fastest_chooser(const struct fastest *fastest)
{
	return &fastest->chooser;
}
