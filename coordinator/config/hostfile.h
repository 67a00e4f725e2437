// DeepSpeed's hostfile: lines "host slots=N", here also "host:port slots=N", "[v6]:port" and "unix:/path"; # comments.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

enum { HOSTFILE_MAXIMUM_HOSTS = 1024, HOSTFILE_DEFAULT_PORT = 7070, HOSTFILE_IGNORED_SIZE = 320 };

struct host {
	char address[256]; // as rpc_client_create takes it, with its port
	uint32_t slots;    // from 1; slot i is the daemon's device i
};

struct hostfile {
	struct host *hosts;
	uint32_t count;
	// Words that have no meaning here, with their lines: "\"max_slots=8\" in line 1, ... and 3 more"; "": there are none. For a warning.
	char ignored[HOSTFILE_IGNORED_SIZE];
};

// Errors name file and line: slots=0, a host twice, no "slots=", an empty file.
bool hostfile_read(const char *path, struct hostfile *ret_hostfile, struct error *error);
// Hosts named one by one, as in a line, with a slot each. Errors name the word by its number.
bool hostfile_from_words(char *const *words, uint32_t count, struct hostfile *ret_hostfile, struct error *error);
uint32_t hostfile_slots(const struct hostfile *hostfile); // of all hosts
// The slot that is number `index` of them all, host after host: which host, and which of its slots. `index` is below
// hostfile_slots.
const struct host *hostfile_slot(const struct hostfile *hostfile, uint32_t index, uint32_t *ret_slot);
void hostfile_fini(struct hostfile *hostfile);
