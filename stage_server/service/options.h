// penstockd's command line.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "stage_server/session/devices.h"

enum { OPTIONS_MAXIMUM_ADDRESSES = 8 };

struct daemon_options {
	const char *listen[OPTIONS_MAXIMUM_ADDRESSES]; // as given
	uint32_t listen_count;
	const char *metrics_listen;           // NULL: no scrape
	const char *devices[DEVICES_MAXIMUM]; // slots, in order
	uint32_t device_count;
	uint32_t threads;            // 0: as many as there are cores
	uint64_t memory_limit_bytes; // of each device; 0: what it has
	uint32_t maximum_sessions;
	const char *ready_file;  // NULL: none
	const char *tuning_file; // NULL: the user's cache folder
	enum log_level log_level;
};

enum options_result { OPTIONS_RUN, OPTIONS_DONE /* --help, --version */, OPTIONS_WRONG };

// Strings stay in argv. Prints what --help and --version ask for; ERROR_USAGE names the option.
enum options_result options_parse(int argc, char **argv, struct daemon_options *ret_options, struct error *error);
