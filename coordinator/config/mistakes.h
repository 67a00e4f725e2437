// A list of the mistakes in a configuration, so that one run reports all of them. One thread at a time.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum {
	MISTAKES_MAXIMUM = 64, // more are counted, and their texts are not kept
	MISTAKES_TEXT_SIZE = 256,
};

// A line and a column, both from 1. Line 0: no place in the file.
struct mistakes_place {
	uint32_t line, column;
};

struct mistakes {
	struct mistake {
		struct mistakes_place place;
		bool is_option; // the command line's
		char text[MISTAKES_TEXT_SIZE];
	} * items; // owned
	size_t count;
	bool no_memory;
};

void mistakes_fini(struct mistakes *mistakes);
// The text is cut to MISTAKES_TEXT_SIZE and made printable.
void mistakes_add(struct mistakes *mistakes, struct mistakes_place place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void mistakes_add_option(struct mistakes *mistakes, const char *format, ...) __attribute__((format(printf, 2, 3)));
// True if there are no mistakes. Otherwise `error` lists them in the file's order: one as "PATH: line 3, column 4: TEXT", several
// on a line each. Text that does not fit is replaced by "and N more".
bool mistakes_report(const struct mistakes *mistakes, const char *path, struct error *error);
