// See host_memory.h.
#include "stage_server/device/host_memory.h"

#include <stdio.h>
#include <string.h>

#include "common/base/strings.h"

static bool read_number(const char *path, uint64_t *ret_number)
{
	unsigned long long number = 0;
	FILE *file = fopen(path, "re");
	if (file == NULL)
		return false;
	bool read = fscanf(file, "%llu", &number) == 1; // "max" is no number: no limit
	fclose(file);
	*ret_number = number;
	return read;
}

static uint64_t machine_available(void)
{
	unsigned long long kib = 0;
	char line[128];
	uint64_t available = UINT64_MAX; // where the kernel does not say, nothing is refused
	FILE *file = fopen("/proc/meminfo", "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			available = kib * 1024;
	if (file != NULL)
		fclose(file);
	return available;
}

// What the limits of the process's control group (version 2) and of those above it leave.
static uint64_t group_available(void)
{
	char line[512], path[640];
	uint64_t available = UINT64_MAX;
	FILE *file = fopen("/proc/self/cgroup", "re");
	if (file == NULL)
		return available;
	bool found = false;
	while (!found && fgets(line, sizeof(line), file) != NULL)
		found = strncmp(line, "0::/", 4) == 0;
	fclose(file);
	if (!found)
		return available;
	char *group = line + 3;
	group[strcspn(group, "\n")] = '\0';
	for (char *slash = group + strlen(group); slash != NULL; slash = strrchr(group, '/')) {
		*slash = '\0';
		uint64_t limit, used;
		snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", group);
		if (!read_number(path, &limit))
			continue;
		snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.current", group);
		if (read_number(path, &used) && (limit > used ? limit - used : 0) < available)
			available = limit > used ? limit - used : 0;
	}
	return available;
}

bool host_memory_check(uint64_t bytes, struct error *error)
{
	uint64_t machine = machine_available(), group = group_available();
	uint64_t available = machine < group ? machine : group;
	if (bytes <= available)
		return true;
	char wanted[32], left[32];
	return error_set(error, ERROR_OUT_OF_MEMORY, "needs %s of memory, %s has %s left",
			 strings_format_bytes(bytes, wanted, sizeof(wanted)),
			 machine <= group ? "the machine" : "the daemon's cgroup",
			 strings_format_bytes(available, left, sizeof(left)));
}
