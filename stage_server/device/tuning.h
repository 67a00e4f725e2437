// How long each candidate of a question takes on this machine (choice.h), measured once and kept in a file that all daemons of the
// machine may share. The file is a cache of measurements: it answers nothing by itself; who asks for the times decides.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "stage_server/device/choice.h"

struct tuning;

// `file` NULL: penstock/tuning in $XDG_CACHE_HOME, ~/.cache or /var/cache, where the folder above is there already. Where the file
// cannot be read and written nothing is kept, and one line of the log says so. `machine`: device_info's; it begins every key.
bool tuning_create(const char *file, const char *machine, struct tuning **ret_tuning, struct error *error);
void tuning_destroy(struct tuning *tuning); // takes NULL

// The nanoseconds of each candidate; UINT64_MAX: it cannot be used. From the file where it has all of them, else measured, while no
// other process that uses the file measures. False: `*stopped` (NULL: never) ended it. Any thread; waits for other threads.
bool tuning_time(struct tuning *tuning, const struct choice *choice, const _Atomic(bool) *stopped,
		 uint64_t ret_ns[CHOICE_MAXIMUM_CANDIDATES]);
