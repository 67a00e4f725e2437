// Shared by answers.c (answers in memory), line.c (a line of the file), file.c (the file) and numerics.c (what callers open, ask and add).
// Each uses only the ones before it.
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "coordinator/numerics/numerics.h"

enum {
	NUMERICS_MAXIMUM_FILE_BYTES = 16 << 20,
	NUMERICS_MAXIMUM_LINE_BYTES = 4096, // more than any valid line
};

struct numerics {
	struct numerics_answer **answers; // [capacity], each owned
	uint32_t count, capacity;
	char *path; // owned; NULL: in memory
	bool is_named;
	// The file that was read, and how much of it.
	dev_t device;
	ino_t inode;
	off_t read_bytes;
	uint64_t read_lines;
	uint32_t wrong_lines; // ignored
	char first_wrong[ERROR_MESSAGE_SIZE];
};

// answers.c. Keeps a copy. Returns borrowed; NULL: out of memory.
const struct numerics_answer *numerics_keep(struct numerics *numerics, const struct numerics_answer *answer);

// line.c
// Parses a line and keeps its answer. False with an error if the line is wrong.
bool numerics_read_line(struct numerics *numerics, const char *line, size_t length, struct error *error);
// Without an end of line. Returns owned; NULL: out of memory.
char *numerics_write_line(const struct numerics_answer *answer);

// file.c
bool numerics_read_file(struct numerics *numerics, struct error *error);
// Whether answers can be added. Creates no file.
bool numerics_check_write(const struct numerics *numerics, struct error *error);
// Locks the file, reads the lines that other processes added, and writes the answer, unless the file now has one other than `refused`.
bool numerics_append(struct numerics *numerics, const struct numerics_answer *answer,
		     const struct numerics_answer *refused, struct error *error);
