// penstockd's options, each with one name for its three sources: the configuration file, the environment and the command
// line, of which the later one wins. A list that a later source gives takes the place of the earlier one's.
// One thread at a time.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/options/table.h"

enum option_client_auth { CLIENT_AUTH_REQUIRE, CLIENT_AUTH_NONE };

// Texts are NULL when not given. What they mean is in the table (table.c), which --help prints.
struct daemon_options {
	const char *config;
	bool check_config, print_devices;

	struct option_list listen;
	const char *metrics_listen;
	const char *ready_file;

	struct option_list device;
	uint32_t threads;            // 0: as many as there are cores
	uint64_t memory_limit_bytes; // of each device; 0: what it has
	const char *tuning_file;

	const char *tls_cert_file, *tls_key_file, *tls_ca_file, *tls_server_name;
	enum option_client_auth tls_client_auth;
	struct option_list allow_name;
	bool insecure;

	uint32_t maximum_sessions, maximum_connections;
	uint32_t maximum_streams; // per connection
	uint64_t maximum_message_bytes, maximum_metadata_bytes, maximum_buffered_bytes;
	uint32_t idle_timeout_s, handshake_timeout_s, drain_timeout_s;

	enum log_level log_level;
	enum log_format log_format;

	char **kept; // owned: the texts that lie neither in argv nor in the environment
	uint32_t kept_count;
};

// Reads all three sources; may be called again with the same arguments, to see what has changed since. Prints what --help
// and --version ask for; the error says where the mistake is. Only after OPTIONS_RUN there is something to fini; after
// OPTIONS_WRONG log_format alone is set, for whoever logs the error.
enum options_result daemon_options_parse(int argc, char **argv, struct daemon_options *ret_options,
					 struct error *error);
// The names of the options of which the two differ, but for those that a reload applies (log-level, log-format), with
// a blank between them; returns `into`.
char *daemon_options_changes(const struct daemon_options *before, const struct daemon_options *after, char *into,
			     size_t size);
// The variables PENSTOCK_... of `environment` that are no option's, as one that is misspelt, with a blank between them;
// returns `into`.
char *daemon_options_strays(char **environment, char *into, size_t size);
void daemon_options_fini(struct daemon_options *options);
