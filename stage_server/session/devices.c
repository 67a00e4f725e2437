// See devices.h.
#include "stage_server/session/devices.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/strings.h"

struct devices {
	struct device_slot slots[DEVICES_MAXIMUM];
	uint32_t count;
};

static void *count_lent(struct device_slot *slot, void *memory)
{
	if (memory != NULL)
		atomic_fetch_add(&slot->lent, 1);
	return memory;
}

static void *slot_allocate(void *user, size_t bytes)
{
	struct device_slot *slot = user;
	return count_lent(slot, slot->ops->host_allocate(slot->device, bytes));
}

static void slot_release(void *user, void *memory)
{
	struct device_slot *slot = user;
	slot->ops->host_free(slot->device, memory);
	atomic_fetch_sub(&slot->lent, 1); // last: from here on the slot may be gone
}

static void *slot_allocate_exchange(void *user, size_t bytes)
{
	struct device_slot *slot = user;
	return count_lent(slot, slot->ops->exchange_allocate(slot->device, bytes));
}

static void slot_release_exchange(void *user, void *memory)
{
	struct device_slot *slot = user;
	slot->ops->exchange_free(slot->device, memory);
	atomic_fetch_sub(&slot->lent, 1);
}

static bool open_slot(struct devices *devices, const struct devices_options *options, const char *name,
		      struct error *error)
{
	struct device_slot *slot = &devices->slots[devices->count];
	struct device_options device = {.name = name, .threads = options->threads};
	struct device_info info;
	if (!device_find(name, &slot->ops, error) || !slot->ops->create(&device, &slot->device, error))
		return error_wrap(error, "--device");
	slot->ops->describe(slot->device, &info);
	for (uint32_t i = 0; i < devices->count; i++) {
		if (strcmp(devices->slots[i].name, info.name) != 0)
			continue;
		slot->ops->destroy(slot->device);
		*slot = devices->slots[i];
		devices->count++;
		log_info("device slot %u: %s again", devices->count - 1, slot->name);
		return true;
	}
	uint64_t limit_bytes = options->memory_limit_bytes;
	if (limit_bytes == 0 || limit_bytes > info.physical_bytes)
		limit_bytes = info.physical_bytes;
	snprintf(slot->name, sizeof(slot->name), "%s", info.name);
	snprintf(slot->group, sizeof(slot->group), "%s", info.group);
	snprintf(slot->machine, sizeof(slot->machine), "%s", info.machine);
	slot->shares_host_memory = info.shares_host_memory;
	slot->ledger = ledger_create(limit_bytes);
	bool ok = slot->ledger != NULL ? tuning_create(options->tuning_file, info.machine, &slot->tuning, error)
				       : error_set(error, ERROR_FAILED, "out of memory");
	if (!ok) {
		ledger_destroy(slot->ledger);
		slot->ops->destroy(slot->device);
		return false;
	}
	slot->exchange_memory = (struct buffer_memory){.allocate = slot_allocate_exchange,
						       .release = slot_release_exchange,
						       .user = slot,
						       .is_device = info.exchange_is_device};
	slot->memory = (struct buffer_memory){.allocate = slot_allocate, .release = slot_release, .user = slot};
	devices->count++;
	char limit[32], threads[32] = "";
	if (info.threads > 0)
		snprintf(threads, sizeof(threads), "%u thread%s, ", info.threads, strings_plural(info.threads));
	log_info("device slot %u: %s: %s, %smemory limit %s", devices->count - 1, info.name, info.description, threads,
		 strings_format_bytes(limit_bytes, limit, sizeof(limit)));
	return true;
}

bool devices_open(const struct devices_options *options, struct devices **ret_devices, struct error *error)
{
	struct devices *devices = calloc(1, sizeof(*devices));
	if (devices == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	for (uint32_t i = 0; i < options->count; i++)
		if (!open_slot(devices, options, options->names[i], error)) {
			devices_close(devices);
			return false;
		}
	*ret_devices = devices;
	return true;
}

void devices_close(struct devices *devices)
{
	if (devices == NULL)
		return;
	for (uint32_t i = 0; i < devices->count; i++)
		if (atomic_load(&devices->slots[i].lent) > 0)
			return;
	for (uint32_t i = 0; i < devices->count; i++) {
		if (!devices_is_first(devices, i))
			continue;
		ledger_destroy(devices->slots[i].ledger);
		tuning_destroy(devices->slots[i].tuning);
		devices->slots[i].ops->destroy(devices->slots[i].device);
	}
	free(devices);
}

uint32_t devices_count(const struct devices *devices)
{
	return devices->count;
}

const struct device_slot *devices_slot(const struct devices *devices, uint32_t index)
{
	return &devices->slots[index];
}

bool devices_is_first(const struct devices *devices, uint32_t index)
{
	for (uint32_t i = 0; i < index; i++)
		if (devices->slots[i].device == devices->slots[index].device)
			return false;
	return true;
}
