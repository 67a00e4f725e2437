// CIFAR-10 as it is published: a tar archive, packed by gzip. Nothing is written to a disk. The files may come in any order: the
// published archive begins with the fourth. zlib unpacks, and reads what is not packed as it is.
//
// Of tar (POSIX pax, "ustar Interchange Format") only this is needed: blocks of 512 bytes, a header block before each file's own, with
// its name, size and kind. Longer names and other attributes stand in entries of other kinds, which are passed over.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "common/base/strings.h"
#include "coordinator/dataset/cifar10_formats.h"

enum {
	BLOCK_BYTES = 512,
	NAME_BYTES = 100,
	SIZE_AT = 124,
	SIZE_BYTES = 12,
	CHECKSUM_AT = 148,
	CHECKSUM_BYTES = 8,
	KIND_AT = 156,
	GZIP_BUFFER_BYTES = 128 << 10,
	MAXIMUM_MEMBER_BYTES = 256 << 20, // a published one has 31 MB
};

// The images of each file of the set.
struct members {
	bool test;
	int count;
	struct cifar10 sets[CIFAR10_TRAINING_FILES];
};

struct header {
	char name[NAME_BYTES + 1]; // without folders
	uint64_t size;
	bool is_file, is_end;
};

// ---- Blocks

static bool refuse(gzFile file, struct error *error)
{
	int code = Z_OK;
	char shown[100];
	const char *text = gzerror(file, &code);
	if (code == Z_ERRNO)
		return error_set(error, ERROR_FAILED, "read: %s", strerror(errno));
	if (code == Z_MEM_ERROR)
		return error_set(error, ERROR_FAILED, "out of memory");
	return error_set(error, ERROR_USAGE, "is damaged: %s",
			 code == Z_OK || code == Z_BUF_ERROR ? "it is cut short"
							     : strings_printable(text, shown, sizeof(shown)));
}

static bool read_bytes(gzFile file, uint8_t *into, uint64_t bytes, struct error *error)
{
	return gzread(file, into, (unsigned)bytes) == (int)bytes || refuse(file, error);
}

// Passes over the rest of the bytes' last block.
static bool pass_padding(gzFile file, uint64_t bytes, struct error *error)
{
	uint8_t rest[BLOCK_BYTES];
	return read_bytes(file, rest, (BLOCK_BYTES - bytes % BLOCK_BYTES) % BLOCK_BYTES, error);
}

static bool pass(gzFile file, uint64_t bytes, struct error *error)
{
	uint8_t some[BLOCK_BYTES];
	for (uint64_t left = bytes; left > 0;) {
		uint64_t now = left < sizeof(some) ? left : sizeof(some);
		if (!read_bytes(file, some, now, error))
			return false;
		left -= now;
	}
	return pass_padding(file, bytes, error);
}

// Reads an octal number. Blanks may precede it. A blank or a NUL byte ends it, unless it fills the field.
static bool parse_octal(const uint8_t *field, size_t bytes, uint64_t *ret_number)
{
	size_t at = 0;
	uint64_t number = 0;
	while (at < bytes && field[at] == ' ')
		at++;
	if (at == bytes || field[at] < '0' || field[at] > '7')
		return false;
	for (; at < bytes && field[at] >= '0' && field[at] <= '7'; at++)
		number = number << 3 | (uint64_t)(field[at] - '0');
	*ret_number = number;
	return at == bytes || field[at] == ' ' || field[at] == '\0';
}

// All bytes are added, those of the field itself as blanks.
static bool has_checksum(const uint8_t block[BLOCK_BYTES])
{
	uint64_t expected, sum = 0;
	for (int i = 0; i < BLOCK_BYTES; i++)
		sum += i >= CHECKSUM_AT && i < CHECKSUM_AT + CHECKSUM_BYTES ? ' ' : block[i];
	return parse_octal(block + CHECKSUM_AT, CHECKSUM_BYTES, &expected) && expected == sum;
}

static bool is_zero(const uint8_t block[BLOCK_BYTES])
{
	static const uint8_t zeros[BLOCK_BYTES];
	return memcmp(block, zeros, BLOCK_BYTES) == 0;
}

static bool read_header(gzFile file, struct header *ret_header, struct error *error)
{
	uint8_t block[BLOCK_BYTES];
	char name[NAME_BYTES + 1] = "";
	if (!read_bytes(file, block, sizeof(block), error))
		return false;
	*ret_header = (struct header){.is_end = is_zero(block)};
	if (ret_header->is_end)
		return true;
	if (!has_checksum(block) || !parse_octal(block + SIZE_AT, SIZE_BYTES, &ret_header->size))
		return error_set(error, ERROR_USAGE, "is damaged, or not a tar archive");
	memcpy(name, block, NAME_BYTES);
	const char *slash = strrchr(name, '/');
	strcpy(ret_header->name, slash != NULL ? slash + 1 : name);
	ret_header->is_file = block[KIND_AT] == '0' || block[KIND_AT] == '\0';
	return true;
}

// ---- Files

// The member that the file is, and its form; false: another file.
static bool find_member(const struct members *members, const struct header *header, int *ret_member,
			enum cifar10_format *ret_format)
{
	char name[CIFAR10_NAME_SIZE];
	for (int i = 0; header->is_file && i < 2 * members->count; i++) {
		*ret_member = i / 2;
		*ret_format = i % 2 == 0 ? CIFAR10_BINARY : CIFAR10_PICKLE;
		if (strcmp(cifar10_file_name(*ret_format, members->test, *ret_member + 1, name), header->name) == 0)
			return true;
	}
	return false;
}

static bool read_member(gzFile file, struct members *members, int member, enum cifar10_format format, uint64_t size,
			struct error *error)
{
	struct cifar10 *set = &members->sets[member];
	if (set->count > 0)
		return error_set(error, ERROR_USAGE, "appears twice in it");
	if (size > MAXIMUM_MEMBER_BYTES)
		return error_set(error, ERROR_USAGE, "is larger than the maximum, %d bytes", MAXIMUM_MEMBER_BYTES);
	_cleanup_free_ uint8_t *bytes = malloc(size + 1);
	if (bytes == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	return read_bytes(file, bytes, size, error) && pass_padding(file, size, error) &&
	       cifar10_append(set, format, bytes, size, error);
}

// To the end, where gzip's check of all bytes is.
static bool read_to_end(gzFile file, struct error *error)
{
	uint8_t some[BLOCK_BYTES];
	int got, code = Z_OK;
	while ((got = gzread(file, some, sizeof(some))) > 0)
		;
	gzerror(file, &code);
	return (got == 0 && code == Z_OK) || refuse(file, error);
}

static bool read_members(gzFile file, struct members *members, struct error *error)
{
	for (;;) {
		struct header header;
		enum cifar10_format format;
		int member;
		if (!read_header(file, &header, error))
			return false;
		if (header.is_end)
			return read_to_end(file, error);
		bool is_member = find_member(members, &header, &member, &format);
		if (!is_member && !pass(file, header.size, error))
			return false;
		if (is_member && !read_member(file, members, member, format, header.size, error))
			return error_wrap(error, "%s", header.name);
	}
}

// In the order of their numbers.
static bool join(struct members *members, struct cifar10 *ret_set, struct error *error)
{
	struct cifar10 set = {0};
	for (int i = 0; i < members->count; i++) {
		struct cifar10 *member = &members->sets[i];
		if (member->count == 0)
			continue;
		if (!cifar10_append(&set, CIFAR10_BINARY, member->records, member->count * CIFAR10_RECORD_BYTES,
				    error)) {
			cifar10_fini(&set);
			return false;
		}
		cifar10_fini(member);
	}
	*ret_set = set;
	return true;
}

static bool read_all(gzFile file, bool test, struct cifar10 *ret_set, struct error *error)
{
	struct members members = {.test = test, .count = test ? 1 : CIFAR10_TRAINING_FILES};
	char names[2][CIFAR10_NAME_SIZE];
	bool ok = read_members(file, &members, error);
	if (ok && members.sets[0].count == 0)
		ok = error_set(error, ERROR_USAGE, "holds neither %s nor %s: it is not CIFAR-10",
			       cifar10_file_name(CIFAR10_PICKLE, test, 1, names[0]),
			       cifar10_file_name(CIFAR10_BINARY, test, 1, names[1]));
	ok = ok && join(&members, ret_set, error);
	for (int i = 0; i < members.count; i++)
		cifar10_fini(&members.sets[i]);
	return ok;
}

// `descriptor` is closed.
static bool read_descriptor(int descriptor, bool test, struct cifar10 *ret_set, struct error *error)
{
	struct stat status;
	bool is_file = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
	gzFile file = is_file ? gzdopen(descriptor, "rb") : NULL;
	if (file == NULL) {
		close(descriptor);
		return is_file ? error_set(error, ERROR_FAILED, "out of memory")
			       : error_set(error, ERROR_USAGE, "is not a regular file");
	}
	gzbuffer(file, GZIP_BUFFER_BYTES);
	bool ok = read_all(file, test, ret_set, error);
	gzclose(file);
	return ok;
}

bool cifar10_read_archive(const char *path, bool test, struct cifar10 *ret_set, struct error *error)
{
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // not to wait, should this be a pipe
	if (descriptor < 0)
		return error_set(error, ERROR_USAGE, "%s: %s", path, strerror(errno));
	return read_descriptor(descriptor, test, ret_set, error) || error_wrap(error, "%s", path);
}
