// SIGHUP: what an administrator may change while jobs run. Loop's thread.
#pragma once

#include "stage_server/options/options.h"
#include "stage_server/service/access.h"

// Reads the three sources of options again. Reads the TLS files again, applies the log's level and format, in `options` too, and names in the log what else
// has changed, which a restart applies. False with a message when anything is wrong: then nothing has changed.
bool reload_options(struct daemon_options *options, struct access *access, int argc, char **argv, struct error *error);
