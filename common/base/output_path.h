// Where an output file will really lie: the folder and the name behind the path that the user gave. Any thread.
#pragma once

#include <limits.h>
#include <stdbool.h>

struct output_path {
	int folder; // an O_PATH descriptor
	char name[NAME_MAX + 1];
};

// Room in a file's name for what output_file and output_lock add to it.
enum { OUTPUT_PATH_SPARE = 16 };

// Follows symbolic links, also a last one whose target does not exist yet, within the kernel's rules about links in shared
// folders. Returns 0 or an errno: ENOENT when the folder does not exist, EISDIR when the path names a folder.
int output_path_resolve(const char *path, struct output_path *ret_path);
void output_path_fini(struct output_path *path);
// True when both paths lead to one file, or would once it exists. False when either cannot be resolved.
bool output_path_is_same(const char *a, const char *b);
