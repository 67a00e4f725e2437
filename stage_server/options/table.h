// penstockd's table of options (table.c has them all), and what reads the three sources (options.c, config_file.c). Beside those only
// tests include this. One thread at a time.
#pragma once

#include "common/options/table.h"
#include "stage_server/options/options.h"

enum option_trait {
	OPTION_NOT_IN_FILE = 1,
	OPTION_COMMAND_LINE_ONLY = 2,
	OPTION_RELOADED = 4, // SIGHUP applies it
};

enum option_source { OPTION_SOURCE_NONE, OPTION_SOURCE_FILE, OPTION_SOURCE_ENVIRONMENT, OPTION_SOURCE_COMMAND_LINE };

// Options while they are being read.
struct option_reader {
	struct daemon_options options;
	enum option_source sources[OPTION_TABLE_MAXIMUM]; // of each row's value
};

extern const struct option_table daemon_option_table;

// Sets an option, or adds to its list, which begins anew with each source. `value` is borrowed for the call. The message does not name
// the option.
bool option_reader_set(struct option_reader *reader, const struct option_row *row, const char *value,
		       enum option_source source, struct error *error);

// Reads `path`: lines "key = value", with # or ; before a comment. An error names the file and the line.
bool config_file_read(struct option_reader *reader, const char *path, struct error *error);
