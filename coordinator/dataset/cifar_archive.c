// CIFAR-10 and CIFAR-100 as they are published: a tar archive, packed by gzip. Nothing is written to a disk. The files may come in any order: the
// published archive of CIFAR-10 begins with the fourth.
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/dataset/cifar_formats.h"
#include "coordinator/dataset/tar.h"

enum { MAXIMUM_MEMBER_BYTES = 256 << 20 }; // a published one has 31 MB

// The images of each file of the set.
struct members {
	const struct cifar_version *version;
	bool test;
	int count;
	struct cifar sets[CIFAR_MAXIMUM_FILES];
};

// The member that the file is, and its form; false: another file. Folders do not count.
static bool find_member(const struct members *members, const struct tar_member *file, int *ret_member,
			enum cifar_form *ret_form)
{
	char name[CIFAR_NAME_SIZE];
	for (int i = 0; file->is_file && i < 2 * members->count; i++) {
		*ret_member = i / 2;
		*ret_form = i % 2 == 0 ? CIFAR_BINARY : CIFAR_PICKLE;
		if (strcmp(cifar_file_name(members->version, *ret_form, members->test, *ret_member + 1, name),
			   basename(file->name)) == 0)
			return true;
	}
	return false;
}

static bool read_member(struct tar *tar, struct members *members, int member, enum cifar_form form,
			const struct tar_member *file, struct error *error)
{
	struct cifar *set = &members->sets[member];
	if (set->count > 0)
		return error_set(error, ERROR_USAGE, "appears twice in it");
	if (file->size_bytes > MAXIMUM_MEMBER_BYTES)
		return error_set(error, ERROR_USAGE, "is larger than the maximum, %d bytes", MAXIMUM_MEMBER_BYTES);
	_cleanup_free_ uint8_t *bytes = malloc(file->size_bytes + 1);
	if (bytes == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	return tar_read(tar, file, bytes, error) &&
	       cifar_append(members->version, form, bytes, file->size_bytes, set, error);
}

static bool read_members(struct tar *tar, struct members *members, struct error *error)
{
	for (;;) {
		struct tar_member file;
		enum cifar_form form;
		int member;
		bool is_end;
		if (!tar_next(tar, &file, &is_end, error))
			return false;
		if (is_end)
			return true;
		if (find_member(members, &file, &member, &form) &&
		    !read_member(tar, members, member, form, &file, error))
			return error_wrap(error, "%s", basename(file.name));
	}
}

// In the order of their numbers.
static bool join(struct members *members, struct cifar *ret_set, struct error *error)
{
	struct cifar set = {0};
	for (int i = 0; i < members->count; i++) {
		struct cifar *member = &members->sets[i];
		if (member->count == 0)
			continue;
		if (!cifar_append_set(member, &set, error)) {
			cifar_fini(&set);
			return false;
		}
		cifar_fini(member);
	}
	*ret_set = set;
	return true;
}

static bool read_all(const struct cifar_version *version, struct tar *tar, bool test, struct cifar *ret_set,
		     struct error *error)
{
	struct members members = {.version = version, .test = test, .count = cifar_files(version, test)};
	char names[2][CIFAR_NAME_SIZE];
	bool ok = read_members(tar, &members, error);
	if (ok && members.sets[0].count == 0)
		ok = error_set(error, ERROR_USAGE, "holds neither %s nor %s: it is not %s",
			       cifar_file_name(version, CIFAR_PICKLE, test, 1, names[0]),
			       cifar_file_name(version, CIFAR_BINARY, test, 1, names[1]), version->name);
	ok = ok && join(&members, ret_set, error);
	for (int i = 0; i < members.count; i++)
		cifar_fini(&members.sets[i]);
	return ok;
}

bool cifar_has_member(const struct cifar_version *version, const char *name)
{
	char own[CIFAR_NAME_SIZE];
	for (int test = 0; test < 2; test++)
		for (int number = 1; number <= cifar_files(version, test); number++)
			for (enum cifar_form form = 0; form < CIFAR_FORMS; form++)
				if (strcmp(cifar_file_name(version, form, test, number, own), basename(name)) == 0)
					return true;
	return false;
}

bool cifar_read_archive(const struct cifar_version *version, const char *path, bool test, struct cifar *ret_set,
			struct error *error)
{
	struct tar *tar;
	if (!tar_open(path, &tar, error))
		return error_wrap(error, "%s", path);
	bool ok = read_all(version, tar, test, ret_set, error);
	tar_close(tar);
	return ok || error_wrap(error, "%s", path);
}
