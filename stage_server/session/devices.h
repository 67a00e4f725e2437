// The devices that a daemon was given, in the order of its --device options: a slot each, which a stage's plan names by its
// index. The same device named twice is two slots of one device, with one limit for both.
//
// Threads: open and close: one; the rest: any.
#pragma once

#include "common/base/buffer.h"
#include "stage_server/device/device.h"
#include "stage_server/device/tuning.h"
#include "stage_server/session/ledger.h"

enum { DEVICES_MAXIMUM = 32 };

struct device_slot {
	char name[32];                  // "cuda:0"
	char group[16];                 // see device_info
	char machine[CHOICE_TEXT_SIZE]; // see device_info
	const struct device_ops *ops;
	struct device *device;
	struct tuning *tuning; // how long its kernels take
	struct ledger *ledger;
	struct buffer_memory memory;          // of the host, as the device likes it
	struct buffer_memory exchange_memory; // between stages of this daemon
	bool shares_host_memory;              // see device_info
	_Atomic(uint32_t) lent;               // pieces of those memories that are not back yet
};

struct devices_options {
	const char *names[DEVICES_MAXIMUM];
	uint32_t count;
	uint32_t threads;
	uint64_t memory_limit_bytes; // of each device; 0: what it has
	const char *tuning_file;
};

struct devices;

bool devices_open(const struct devices_options *options, struct devices **ret_devices, struct error *error);
// Takes NULL; after every program. Memory of a device that gRPC has not let go of yet, such as a tensor on its way over a connection that
// broke, keeps all as it is: the process's end takes it.
void devices_close(struct devices *devices);
uint32_t devices_count(const struct devices *devices);
const struct device_slot *devices_slot(const struct devices *devices, uint32_t index);
// The slot is the first of its device: what is said of a device is said once.
bool devices_is_first(const struct devices *devices, uint32_t index);
