// Locks that keep two processes from writing the same output. The kernel releases them when the process ends, however it ends. Any
// thread.
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "common/base/output_path.h"

// Locks an open file or folder until it is closed. ERROR_USAGE when another process holds the lock; the message begins with `path`
// and names the process where the system tells it. True without a lock on a file system that has none.
bool output_lock_descriptor(int descriptor, const char *path, struct error *error);

// Locks the name of a file that may not exist yet, by a file ".NAME.lock" beside it, which output_lock_release removes. A lock file
// that a killed process left is taken over.
struct output_lock {
	int descriptor; // -1: a file system without locks
};
bool output_lock_take(const struct output_path *target, const char *path, struct output_lock *ret_lock,
		      struct error *error);
void output_lock_release(struct output_lock *lock, const struct output_path *target);
