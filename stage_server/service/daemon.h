// The whole of penstockd: the loop, what runs on it, and the order in which things begin and end. The main thread, which is the loop's.
#pragma once

#include "stage_server/options/options.h"

// Serves until SIGTERM or SIGINT. On SIGHUP, what the arguments and the other sources of options say is read again, into `options`. False with
// a message when it cannot begin.
bool daemon_run(struct daemon_options *options, int argc, char **argv, struct error *error);
