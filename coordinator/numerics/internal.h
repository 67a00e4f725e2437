// What numerics.c (answers in memory), file.c (the file) and line.c (a line of it) share.
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "coordinator/numerics/numerics.h"

enum {
	NUMERICS_MAXIMUM_FILE_BYTES = 16 << 20,
	NUMERICS_MAXIMUM_LINE_BYTES = 4096, // more than any line that is right
};

struct numerics {
	struct numerics_answer **answers; // [capacity], each owned
	uint32_t count, capacity;
	char *path; // owned; NULL: in memory
	bool is_named;
	// Of the file: which one was read so far, and how far.
	dev_t device;
	ino_t inode;
	off_t read_bytes;
	uint64_t read_lines;
	uint32_t wrong_lines; // left out
	char first_wrong[ERROR_MESSAGE_SIZE];
};

// numerics.c. Keeps a copy. Returns borrowed; NULL: out of memory.
const struct numerics_answer *numerics_keep(struct numerics *numerics, const struct numerics_answer *answer);

// line.c
// Takes a line apart and keeps its answer. False says what is wrong with it.
bool numerics_read_line(struct numerics *numerics, const char *line, size_t length, struct error *error);
char *numerics_write_line(const struct numerics_answer *answer); // without an end of line; owned; NULL: out of memory

// file.c
bool numerics_read_file(struct numerics *numerics, struct error *error);
// With the file locked: what other processes have added is read, then the answer is written, unless there is
// one that is not `refused`.
bool numerics_append(struct numerics *numerics, const struct numerics_answer *answer,
		     const struct numerics_answer *refused, struct error *error);
