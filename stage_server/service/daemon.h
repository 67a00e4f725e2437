// The whole of penstockd: the loop, what runs on it, and the order in which things begin and end.
#pragma once

#include "stage_server/options/options.h"

// Serves until SIGTERM or SIGINT. False with a message when it cannot begin.
bool daemon_run(const struct daemon_options *options, struct error *error);
