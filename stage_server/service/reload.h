// SIGHUP: what an administrator may change while jobs run. Loop's thread.
#pragma once

#include "stage_server/options/options.h"

// Reads the three sources of options again. Applies the log's level and format, in `options` too, and names in the log what else
// has changed, which a restart applies. False with a message when anything is wrong: then nothing has changed.
bool reload_options(struct daemon_options *options, int argc, char **argv, struct error *error);
