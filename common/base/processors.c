// See processors.h. cgroups(7), the kernel's admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst.
#include "common/base/processors.h"

#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_SIZE = 2 * PATH_MAX, MAXIMUM_PROCESSORS = 1 << 16 };

// ---- The affinity mask

static uint32_t allowed_by_mask(void)
{
	// sched_getaffinity fails if the mask has fewer bits than the kernel's own mask, so try larger ones.
	for (int bits = CPU_SETSIZE; bits <= MAXIMUM_PROCESSORS; bits *= 2) {
		cpu_set_t *set = CPU_ALLOC((size_t)bits);
		if (set == NULL)
			return 1;
		size_t size = CPU_ALLOC_SIZE((size_t)bits);
		int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
		CPU_FREE(set);
		if (count > 0)
			return (uint32_t)count;
	}
	return 1;
}

// ---- The quota

// A hierarchy of cgroups that can limit the processors.
struct hierarchy {
	bool is_v2;
	char path[PATH_MAX];  // of this process's cgroup in it
	char mount[PATH_MAX]; // where it is mounted, and which of its cgroups lies there
	char mount_root[PATH_MAX];
};

// Whether the list "a,b,c" has `name`.
static bool has_word(const char *list, const char *name)
{
	size_t length = strlen(name);
	for (const char *word = list; word != NULL; word = strchr(word, ',') != NULL ? strchr(word, ',') + 1 : NULL)
		if (strncmp(word, name, length) == 0 && (word[length] == '\0' || word[length] == ','))
			return true;
	return false;
}

static FILE *open_below(const char *root, const char *path, const char *name)
{
	char full[LINE_SIZE];
	int length = snprintf(full, sizeof(full), "%s%s%s", root, path, name);
	return length > 0 && (size_t)length < sizeof(full) ? fopen(full, "re") : NULL;
}

// "4:cpu,cpuacct:/user.slice", and of version 2 "0::/user.slice".
static bool find_cgroup(const char *root, struct hierarchy *hierarchy)
{
	char line[LINE_SIZE];
	bool found = false;
	FILE *file = open_below(root, "/proc/self/cgroup", "");
	while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		char *controllers = strchr(line, ':');
		char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
		if (path == NULL || strlen(path + 1) >= sizeof(hierarchy->path))
			continue;
		*path++ = '\0';
		found = hierarchy->is_v2 ? strncmp(line, "0:", 2) == 0 : has_word(controllers + 1, "cpu");
		if (found)
			strcpy(hierarchy->path, path);
	}
	if (file != NULL)
		fclose(file);
	return found;
}

// "33 31 0:30 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu": the fourth is what of it is mounted, the fifth where, and behind
// the dash its kind, and at the end its options.
static bool read_mount(const char *line, struct hierarchy *hierarchy)
{
	char type[32], options[512];
	const char *rest = strstr(line, " - ");
	_Static_assert(PATH_MAX == 4096, "the widths below are its");
	if (rest == NULL || sscanf(line, "%*s %*s %*s %4095s %4095s", hierarchy->mount_root, hierarchy->mount) != 2 ||
	    sscanf(rest, " - %31s %*s %511s", type, options) != 2)
		return false;
	return hierarchy->is_v2 ? strcmp(type, "cgroup2") == 0
				: strcmp(type, "cgroup") == 0 && has_word(options, "cpu");
}

static bool find_mount(const char *root, struct hierarchy *hierarchy)
{
	char line[LINE_SIZE];
	bool found = false;
	FILE *file = open_below(root, "/proc/self/mountinfo", "");
	while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL)
		found = read_mount(line, hierarchy);
	if (file != NULL)
		fclose(file);
	return found;
}

static bool read_number(const char *root, const char *folder, const char *name, int64_t *ret_number)
{
	FILE *file = open_below(root, folder, name);
	bool ok = file != NULL && fscanf(file, "%" SCNd64, ret_number) == 1;
	if (file != NULL)
		fclose(file);
	return ok;
}

// Of one cgroup; no quota ("max", -1) and no such cgroup are the same.
static uint32_t quota_of(const char *root, const char *folder, bool is_v2)
{
	int64_t quota_us = -1, period_us = 0;
	if (is_v2) {
		FILE *file = open_below(root, folder, "/cpu.max");
		if (file != NULL && fscanf(file, "%" SCNd64 " %" SCNd64, &quota_us, &period_us) != 2)
			quota_us = -1;
		if (file != NULL)
			fclose(file);
	} else if (!read_number(root, folder, "/cpu.cfs_quota_us", &quota_us) ||
		   !read_number(root, folder, "/cpu.cfs_period_us", &period_us)) {
		quota_us = -1;
	}
	if (quota_us <= 0 || period_us <= 0 || quota_us / period_us >= MAXIMUM_PROCESSORS)
		return UINT32_MAX;
	return quota_us >= period_us ? (uint32_t)(quota_us / period_us) : 1;
}

// A cgroup's quota holds for all below it. In a container that sees a part of the hierarchy only, the process's path may be one outside of
// it: then no such folder is there, and the root of what is mounted is the container's.
static uint32_t smallest_quota(const char *root, struct hierarchy *hierarchy)
{
	char folder[LINE_SIZE];
	char *path = hierarchy->path;
	size_t root_length = strcmp(hierarchy->mount_root, "/") == 0 ? 0 : strlen(hierarchy->mount_root);
	if (strncmp(path, hierarchy->mount_root, root_length) == 0)
		path += root_length;
	uint32_t smallest = UINT32_MAX;
	for (;;) {
		char *slash = strrchr(path, '/');
		if (slash != NULL && slash[1] == '\0')
			*slash = '\0'; // "/": the root
		snprintf(folder, sizeof(folder), "%s%s", hierarchy->mount, path);
		uint32_t quota = quota_of(root, folder, hierarchy->is_v2);
		smallest = quota < smallest ? quota : smallest;
		slash = strrchr(path, '/');
		if (slash == NULL)
			return smallest;
		*slash = '\0';
	}
}

uint32_t processors_quota(const char *root)
{
	uint32_t smallest = UINT32_MAX;
	struct hierarchy *hierarchy = malloc(sizeof(*hierarchy));
	for (int version = 1; version <= 2 && hierarchy != NULL; version++) {
		hierarchy->is_v2 = version == 2;
		if (!find_cgroup(root, hierarchy) || !find_mount(root, hierarchy))
			continue;
		uint32_t quota = smallest_quota(root, hierarchy);
		smallest = quota < smallest ? quota : smallest;
	}
	free(hierarchy);
	return smallest;
}

uint32_t processors_allowed(void)
{
	uint32_t mask = allowed_by_mask(), quota = processors_quota("");
	return mask < quota ? mask : quota;
}
