// Files of other formats that people have in the place of safetensors files, told by how they begin.
#include <string.h>

#include "coordinator/checkpoint/internal.h"

// The message stays one line: control characters do not reach a terminal.
static bool refuse_torch(const char *path, const char *form, struct error *error)
{
	return error_set(
		error, ERROR_USAGE,
		"is a file of torch.save (%s), not safetensors. Two lines of Python convert it: "
		"\"import torch, safetensors.torch\" and "
		"\"safetensors.torch.save_file({k: v.contiguous().clone() for k, v in "
		"torch.load('%.200s', map_location='cpu', weights_only=True).items()}, 'converted.safetensors')\"",
		form, path);
}

static bool begins_with(const uint8_t *start, size_t size, const char *magic, size_t length)
{
	return size >= length && memcmp(start, magic, length) == 0;
}

// The first bytes of a pickle may be the length of a header as well, as long as no header is longer than 16 MiB.
static bool may_be_length(const uint8_t *start, size_t size)
{
	bool may_be = size == SAFETENSORS_LENGTH_BYTES;
	for (size_t i = 3; i < size; i++)
		may_be = may_be && start[i] == 0;
	return may_be;
}

bool foreign_check(const char *path, const uint8_t *start, size_t size, struct error *error)
{
	if (begins_with(start, size, "PK\3\4", 4))
		return refuse_torch(path, "a zip archive", error);
	if (begins_with(start, size, "\x80\2", 2) || begins_with(start, size, "\x80\4", 2))
		if (!may_be_length(start, size))
			return refuse_torch(path, "a pickle", error);
	if (begins_with(start, size, "\x89HDF", 4))
		return error_set(error, ERROR_USAGE, "is an HDF5 file, as Keras writes, not safetensors");
	if (begins_with(start, size, "GGUF", 4))
		return error_set(error, ERROR_USAGE, "is a GGUF file, not safetensors");
	if (begins_with(start, size, "version ", 8))
		return error_set(error, ERROR_USAGE,
				 "is a pointer of Git LFS, not the file itself: fetch it with \"git lfs pull\"");
	return true;
}
