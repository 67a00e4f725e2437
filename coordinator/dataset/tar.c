// A tar archive. See tar.h. libarchive reads tar in all its variants. zlib unpacks gzip instead of libarchive's own filter, because
// zlib verifies gzip's checksum. Only libarchive's reader of tar is linked: its other formats need more libraries.
#include "coordinator/dataset/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "common/base/strings.h"

enum { BLOCK_BYTES = 512, BUFFER_BYTES = 128 << 10, SHOWN_BYTES = 200 };

struct tar {
	struct archive *archive;
	gzFile file;
	uint64_t file_bytes;
	uint8_t tail[BLOCK_BYTES]; // the last bytes that were read
	bool is_skipped;           // bytes were passed over after them
	bool is_open;              // `archive`
	bool has_ended;            // `file`
	bool has_failed;           // reading `file`
	uint8_t buffer[BUFFER_BYTES];
};

// ---- What libarchive reads from

static void keep_tail(struct tar *tar, size_t got)
{
	size_t kept = got < BLOCK_BYTES ? got : BLOCK_BYTES;
	memmove(tar->tail, tar->tail + kept, BLOCK_BYTES - kept);
	memcpy(tar->tail + BLOCK_BYTES - kept, tar->buffer + got - kept, kept);
	tar->is_skipped = false;
}

static la_ssize_t on_read(struct archive *archive, void *user, const void **ret_bytes)
{
	struct tar *tar = user;
	int got = gzread(tar->file, tar->buffer, BUFFER_BYTES), code = Z_OK;
	gzerror(tar->file, &code);
	tar->has_failed = got < 0 || (got == 0 && code != Z_OK); // also where the packed bytes are cut short
	tar->has_ended = got == 0;
	if (tar->has_failed) {
		archive_set_error(archive, EIO, "read");
		return ARCHIVE_FATAL;
	}
	if (got > 0)
		keep_tail(tar, (size_t)got);
	*ret_bytes = tar->buffer;
	return got;
}

static la_int64_t on_skip(struct archive *archive, void *user, la_int64_t bytes)
{
	struct tar *tar = user;
	if (tar_is_packed(tar)) // on_read is as quick
		return 0;
	la_int64_t left = (la_int64_t)tar->file_bytes - gztell(tar->file);
	bytes = bytes < left ? bytes : left;
	if (bytes <= 0 || gzseek(tar->file, bytes, SEEK_CUR) < 0)
		return 0;
	tar->is_skipped = true;
	return bytes;
}

// ---- From open to close

static bool start(struct tar *tar)
{
	tar->archive = archive_read_new();
	return tar->archive != NULL && archive_read_support_format_tar(tar->archive) == ARCHIVE_OK &&
	       archive_read_set_read_callback(tar->archive, on_read) == ARCHIVE_OK &&
	       archive_read_set_skip_callback(tar->archive, on_skip) == ARCHIVE_OK &&
	       archive_read_set_callback_data(tar->archive, tar) == ARCHIVE_OK;
}

// `descriptor` is closed with the tar, or at once.
static bool open_descriptor(int descriptor, struct tar **ret_tar, struct error *error)
{
	struct stat status;
	bool is_file = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
	struct tar *tar = is_file ? calloc(1, sizeof(*tar)) : NULL;
	gzFile file = tar != NULL ? gzdopen(descriptor, "rb") : NULL;
	if (file == NULL) {
		close(descriptor);
		free(tar);
		return is_file ? error_set(error, ERROR_FAILED, "out of memory")
			       : error_set(error, ERROR_USAGE, "is not a regular file");
	}
	gzbuffer(file, BUFFER_BYTES);
	tar->file = file;
	tar->file_bytes = (uint64_t)status.st_size;
	memset(tar->tail, 1, sizeof(tar->tail));
	if (!start(tar)) {
		tar_close(tar);
		return error_set(error, ERROR_FAILED, "out of memory");
	}
	*ret_tar = tar;
	return true;
}

bool tar_open(const char *path, struct tar **ret_tar, struct error *error)
{
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // not to wait, should this be a pipe
	return descriptor < 0 ? error_set(error, ERROR_USAGE, "%s", strerror(errno))
			      : open_descriptor(descriptor, ret_tar, error);
}

void tar_close(struct tar *tar)
{
	if (tar == NULL)
		return;
	archive_read_free(tar->archive);
	gzclose(tar->file);
	free(tar);
}

bool tar_is_packed(const struct tar *tar)
{
	return gzdirect(tar->file) == 0;
}

// ---- Members

static bool refuse_file(struct tar *tar, struct error *error)
{
	int code = Z_OK;
	char shown[SHOWN_BYTES];
	const char *text = gzerror(tar->file, &code), *colon = strstr(text, ": "); // "<fd:3>: incorrect data check"
	text = colon != NULL ? colon + 2 : text;
	if (code == Z_ERRNO)
		return error_set(error, ERROR_FAILED, "read: %s", strerror(errno));
	if (code == Z_MEM_ERROR)
		return error_set(error, ERROR_FAILED, "out of memory");
	return error_set(error, ERROR_USAGE, "is damaged: %s",
			 code == Z_BUF_ERROR ? "it is cut short" : strings_printable(text, shown, sizeof(shown)));
}

static bool refuse(struct tar *tar, struct error *error)
{
	if (tar->has_failed)
		return refuse_file(tar, error);
	if (archive_errno(tar->archive) == ENOMEM)
		return error_set(error, ERROR_FAILED, "out of memory");
	return error_set(error, ERROR_USAGE,
			 tar->has_ended ? "is damaged, or not a tar archive: it is cut short"
					: "is damaged, or not a tar archive");
}

// An archive ends with blocks of zeros. libarchive accepts one that ends without; but that one may be cut short.
static bool check_end(struct tar *tar, struct error *error)
{
	static const uint8_t zeros[BLOCK_BYTES];
	if (tar->has_ended && (tar->is_skipped || memcmp(tar->tail, zeros, BLOCK_BYTES) != 0))
		return error_set(error, ERROR_USAGE, "is damaged: it is cut short");
	const void *some;
	while (!tar->has_ended) // to where gzip's check sum is
		if (on_read(tar->archive, tar, &some) < 0)
			return refuse_file(tar, error);
	return true;
}

static bool leaves_folder(const char *name)
{
	if (name[0] == '/')
		return true;
	for (const char *at = name; at != NULL; at = strchr(at, '/')) {
		at += *at == '/';
		if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\0'))
			return true;
	}
	return false;
}

static bool take_entry(struct archive_entry *entry, struct tar_member *member, struct error *error)
{
	const char *name = archive_entry_pathname(entry);
	char shown[SHOWN_BYTES];
	if (name == NULL || strlen(name) >= sizeof(member->name))
		return error_set(error, ERROR_USAGE, "a member of it has a name that is %s",
				 name == NULL ? "not text" : "too long");
	if (leaves_folder(name))
		return error_set(error, ERROR_USAGE,
				 "member %s leaves the folder of the archive: its path begins with / or contains ..",
				 strings_printable(name, shown, sizeof(shown)));
	strcpy(member->name, name);
	member->size_bytes = archive_entry_size_is_set(entry) ? (uint64_t)archive_entry_size(entry) : 0;
	member->is_file = archive_entry_filetype(entry) == AE_IFREG && archive_entry_hardlink(entry) == NULL &&
			  archive_entry_sparse_count(entry) == 0;
	return true;
}

bool tar_next(struct tar *tar, struct tar_member *ret_member, bool *ret_end, struct error *error)
{
	struct archive_entry *entry;
	if (!tar->is_open && archive_read_open1(tar->archive) != ARCHIVE_OK) // here, because it reads
		return refuse(tar, error);
	tar->is_open = true;
	int code = archive_read_next_header(tar->archive, &entry);
	if (code == ARCHIVE_EOF) {
		*ret_end = true;
		return check_end(tar, error);
	}
	if (code != ARCHIVE_OK && code != ARCHIVE_WARN)
		return refuse(tar, error);
	*ret_end = false;
	ret_member->offset_bytes = (uint64_t)archive_filter_bytes(tar->archive, 0);
	return take_entry(entry, ret_member, error);
}

bool tar_read(struct tar *tar, const struct tar_member *member, uint8_t *into, struct error *error)
{
	for (uint64_t done = 0; done < member->size_bytes;) {
		la_ssize_t got = archive_read_data(tar->archive, into + done, member->size_bytes - done);
		if (got <= 0)
			return refuse(tar, error);
		done += (uint64_t)got;
	}
	return true;
}
