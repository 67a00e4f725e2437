// See inspect.h.
#include "stage_server/service/inspect.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/address.h"
#include "common/base/strings.h"
#include "stage_server/device/device.h"
#include "stage_server/service/access.h"

// It is written in a folder that is there, and takes the place of a file.
static bool check_ready_file(const char *path, struct error *error)
{
	struct stat status;
	if (path == NULL)
		return true;
	_cleanup_free_ char *folder = strdup(path);
	if (folder == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
		return error_set(error, ERROR_USAGE, "--ready-file %s: is a folder", path);
	return stat(dirname(folder), &status) == 0 || error_set(error, ERROR_USAGE, "--ready-file %s: %m", path);
}

bool inspect_options(const struct daemon_options *options, struct error *error)
{
	for (uint32_t i = 0; i < options->device.count; i++) {
		const struct device_ops *ops;
		if (!device_find(options->device.values[i], &ops, error))
			return error_wrap(error, "--device");
	}
	if (options->metrics_listen != NULL && !address_parse(options->metrics_listen, ADDRESS_TCP, NULL, error))
		return error_wrap(error, "--metrics-listen");
	// A reload leaves the file alone, and need not fail for it.
	return (!options->check_config || check_ready_file(options->ready_file, error)) && access_check(options, error);
}

// False when there is no such device.
static bool print_device(const struct device_ops *ops, const struct device_options *options, bool first)
{
	struct device *device;
	struct device_info info;
	struct error error;
	char memory[32];
	if (!ops->create(options, &device, &error)) {
		if (first)
			printf("%s: none: %s\n", ops->name, error.message);
		return false;
	}
	ops->describe(device, &info);
	printf("%s: %s, %s of memory\n", info.name, info.description,
	       strings_format_bytes(info.physical_bytes, memory, sizeof(memory)));
	ops->destroy(device);
	return strchr(info.name, ':') != NULL; // of a kind whose devices are numbered
}

void inspect_devices(const struct daemon_options *options)
{
	for (const struct device_ops *const *ops = device_table; *ops != NULL; ops++) {
		char name[32];
		struct device_options device = {.name = (*ops)->name, .threads = options->threads};
		bool more = print_device(*ops, &device, true);
		for (uint32_t i = 1; more; i++) {
			snprintf(name, sizeof(name), "%s:%u", (*ops)->name, i);
			device.name = name;
			more = print_device(*ops, &device, false);
		}
	}
}
