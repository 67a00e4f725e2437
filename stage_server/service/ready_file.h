// When the file that --ready-file names goes: announce.c writes it when the daemon listens; it must not be there before that, nor after.
// Loop's thread.
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

struct ready_file {
	const char *path; // NULL: there is none
	// Of what this daemon has written. The time is needed, too: a file that replaces it may get the number of the old one.
	dev_t device;
	ino_t inode;
	struct timespec changed;
	bool is_written;
};

// Removes what an earlier run left at `path` (NULL: does nothing). Where the path is a symbolic link, the file behind it; what is not a
// regular file stays.
void ready_file_begin(struct ready_file *file, const char *path);
void ready_file_note(struct ready_file *file); // announce has written it
// Removes it, unless another daemon has replaced it since. May be called again.
void ready_file_remove(struct ready_file *file);
