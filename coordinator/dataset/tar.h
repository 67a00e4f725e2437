// Reads a tar archive from its beginning to its end, also one that gzip packed. Nothing is written to a disk. One thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

enum { TAR_NAME_SIZE = 1024 };

struct tar;

struct tar_member {
	char name[TAR_NAME_SIZE];
	uint64_t size_bytes;
	uint64_t offset_bytes; // of its first byte in the unpacked archive
	bool is_file;          // regular, and not sparse
};

// ERROR_USAGE: the file is missing, may not be read or is not regular. Whether it is an archive, tar_next says.
bool tar_open(const char *path, struct tar **ret_tar, struct error *error);
void tar_close(struct tar *tar); // takes NULL
bool tar_is_packed(const struct tar *tar);
// The next member; at the end of the archive `*ret_end` is true and nothing else is set. Refuses an archive that is damaged, that is cut
// short, or that names a file outside of the folder in which it would be unpacked. Errors do not name the archive.
bool tar_next(struct tar *tar, struct tar_member *ret_member, bool *ret_end, struct error *error);
// The member's bytes, all of them: `into` has size_bytes.
bool tar_read(struct tar *tar, const struct tar_member *member, uint8_t *into, struct error *error);
