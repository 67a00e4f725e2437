// The table of devices and the search in it. See device.h.
#include "stage_server/device/device.h"

#include <string.h>

#include "stage_server/device/cpu/cpu.h"
#ifdef PENSTOCK_CUDA
#include "stage_server/device/cuda/cuda.h"
#endif

const struct device_ops *const device_table[] = {
	&cpu_device_ops,
#ifdef PENSTOCK_CUDA
	&cuda_device_ops,
#endif
	NULL,
};

uint64_t memory_use_total(const struct memory_use *use)
{
	return use->parameter_bytes + use->gradient_bytes + use->optimizer_bytes + use->stash_bytes +
	       use->workspace_bytes;
}

bool device_find(const char *name, const struct device_ops **ret_ops, struct error *error)
{
	size_t length = strcspn(name, ":");
	const char *index = name + length;
	bool index_is_well_formed =
		*index == '\0' || (index[1] != '\0' && index[1 + strspn(index + 1, "0123456789")] == '\0');
	char known[256] = "";
	for (const struct device_ops *const *row = device_table; *row != NULL; row++) {
		if (index_is_well_formed && strlen((*row)->name) == length &&
		    strncmp((*row)->name, name, length) == 0) {
			*ret_ops = *row;
			return true;
		}
		if (row != device_table)
			strncat(known, ", ", sizeof(known) - strlen(known) - 1);
		strncat(known, (*row)->name, sizeof(known) - strlen(known) - 1);
	}
	return error_set(error, ERROR_USAGE, "there is no device \"%.64s\"; this build has: %s", name, known);
}
