// A tar archive as WebDataset writes it: files KEY.jpg (or .jpeg, .png) and KEY.cls, which has the class's number in text, one after the
// other. The list of images is kept, with their places in the archive. One that gzip packed cannot be read from the middle, so its images
// are kept as well, as the files that they are.
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/strings.h"
#include "coordinator/dataset/image.h"
#include "coordinator/dataset/names.h"
#include "coordinator/dataset/pictures.h"
#include "coordinator/dataset/tar.h"

#define MAXIMUM_PACKED_BYTES (UINT64_C(2) << 30)
enum { LABEL_BYTES = 32, MAXIMUM_LABEL = 65535, SHOWN_BYTES = 200 };

struct place {
	uint64_t offset_bytes, size_bytes; // in the archive, or in `packed`
};

struct shard {
	int descriptor; // -1: the images are in `packed`
	struct stat status;
	struct names names;   // of the image files
	struct place *places; // [names.count]
	uint64_t room;        // of places and labels
	uint8_t *packed;
	uint64_t packed_bytes, packed_room;
};

// The sample whose files are being read.
struct sample {
	char key[TAR_NAME_SIZE], image[TAR_NAME_SIZE]; // empty: none yet
	struct place place;
	bool has_label;
	uint32_t label;
};

// ---- Names

// Of the file's own name, from the first dot on, as WebDataset splits it; NULL: it has none.
static const char *extension_of(const char *name)
{
	const char *slash = strrchr(name, '/'), *own = slash != NULL ? slash + 1 : name;
	return own[0] != '.' ? strchr(own, '.') : NULL;
}

static bool is_label(const char *extension)
{
	return extension != NULL && strcasecmp(extension, ".cls") == 0;
}

static bool has_member(const char *name)
{
	const char *extension = extension_of(name);
	return is_label(extension) || pictures_can_read(extension);
}

// ---- The list of samples

static bool reserve(struct shard *shard, struct dataset *dataset, struct error *error)
{
	if (shard->names.count < shard->room)
		return true;
	uint64_t room = shard->room * 2 + 1024;
	struct place *places = realloc(shard->places, room * sizeof(*places));
	shard->places = places != NULL ? places : shard->places;
	uint8_t *labels = realloc(dataset->labels, room);
	dataset->labels = labels != NULL ? labels : dataset->labels;
	if (places == NULL || labels == NULL)
		return error_set(error, ERROR_FAILED, "no memory for the list of its samples");
	shard->room = room;
	return true;
}

static bool finish_sample(struct shard *shard, const struct sample *sample, struct dataset *dataset,
			  struct error *error)
{
	char shown[SHOWN_BYTES];
	uint64_t index = shard->names.count;
	strings_printable(sample->key, shown, sizeof(shown));
	if (sample->image[0] == '\0' && !sample->has_label) // other files
		return true;
	if (sample->image[0] == '\0')
		return error_set(error, ERROR_USAGE, "sample %s has a .cls, but no .jpg, .jpeg or .png", shown);
	if (!sample->has_label)
		return error_set(error, ERROR_USAGE, "sample %s has an image, but no .cls", shown);
	if (!reserve(shard, dataset, error) || !names_add(&shard->names, sample->image, error))
		return false;
	shard->places[index] = sample->place;
	dataset->labels[index] = (uint8_t)sample->label;
	dataset->classes = sample->label >= dataset->classes ? sample->label + 1 : dataset->classes;
	return true;
}

static bool parse_label(const char *text, uint32_t *ret_label, struct error *error)
{
	int64_t label;
	size_t length = strlen(text);
	while (length > 0 && isspace((unsigned char)text[length - 1]))
		length--;
	char number[LABEL_BYTES + 1];
	snprintf(number, sizeof(number), "%.*s", (int)length, text);
	if (!strings_parse_integer(number, 0, MAXIMUM_LABEL, &label, error))
		return error_wrap(error, "the class's number");
	*ret_label = (uint32_t)label;
	return dataset_check_class_count(label < 1 ? 2 : (uint64_t)label + 1, error);
}

static bool take_label(struct tar *tar, const struct tar_member *member, struct sample *sample, struct error *error)
{
	char text[LABEL_BYTES + 1] = "";
	if (sample->has_label)
		return error_set(error, ERROR_USAGE, "its sample has another label");
	if (member->size_bytes > LABEL_BYTES)
		return error_set(error, ERROR_USAGE, "is longer than a class's number");
	sample->has_label = true;
	return tar_read(tar, member, (uint8_t *)text, error) && parse_label(text, &sample->label, error);
}

static bool keep_packed(struct tar *tar, const struct tar_member *member, struct shard *shard, struct place *place,
			struct error *error)
{
	uint64_t wanted = shard->packed_bytes + member->size_bytes;
	if (wanted > MAXIMUM_PACKED_BYTES)
		return error_set(error, ERROR_USAGE,
				 "the images of an archive that gzip packed are kept in memory, up to %" PRIu64
				 " GiB: unpack it with gunzip",
				 MAXIMUM_PACKED_BYTES >> 30);
	if (wanted > shard->packed_room) {
		uint64_t room = wanted * 2 < MAXIMUM_PACKED_BYTES ? wanted * 2 : MAXIMUM_PACKED_BYTES;
		uint8_t *grown = realloc(shard->packed, room);
		if (grown == NULL)
			return error_set(error, ERROR_FAILED, "no memory for its images");
		shard->packed = grown;
		shard->packed_room = room;
	}
	place->offset_bytes = shard->packed_bytes;
	shard->packed_bytes = wanted;
	return tar_read(tar, member, shard->packed + place->offset_bytes, error);
}

static bool take_image(struct tar *tar, const struct tar_member *member, struct shard *shard, struct sample *sample,
		       struct error *error)
{
	if (sample->image[0] != '\0')
		return error_set(error, ERROR_USAGE, "its sample has another image");
	if (member->size_bytes > IMAGE_MAXIMUM_FILE_BYTES)
		return error_set(error, ERROR_USAGE, "is %" PRIu64 " bytes; the maximum is %" PRIu64,
				 member->size_bytes, IMAGE_MAXIMUM_FILE_BYTES);
	strcpy(sample->image, member->name);
	sample->place = (struct place){member->offset_bytes, member->size_bytes};
	return !tar_is_packed(tar) || keep_packed(tar, member, shard, &sample->place, error);
}

// Files of one key follow each other.
static bool take_member(struct tar *tar, const struct tar_member *member, struct shard *shard, struct sample *sample,
			struct dataset *dataset, struct error *error)
{
	const char *extension = extension_of(member->name);
	char shown[SHOWN_BYTES];
	if (!member->is_file || extension == NULL)
		return true;
	size_t length = (size_t)(extension - member->name);
	if (strncmp(sample->key, member->name, length) != 0 || sample->key[length] != '\0') {
		if (!finish_sample(shard, sample, dataset, error))
			return false;
		memset(sample, 0, sizeof(*sample));
		memcpy(sample->key, member->name, length);
	}
	bool ok = true;
	if (is_label(extension))
		ok = take_label(tar, member, sample, error);
	else if (pictures_can_read(extension))
		ok = take_image(tar, member, shard, sample, error);
	return ok || error_wrap(error, "%s", strings_printable(member->name, shown, sizeof(shown)));
}

static bool list_samples(struct tar *tar, struct shard *shard, struct dataset *dataset, struct error *error)
{
	struct sample sample = {0};
	for (;;) {
		struct tar_member member;
		bool is_end;
		if (!tar_next(tar, &member, &is_end, error))
			return false;
		if (is_end)
			break;
		if (!take_member(tar, &member, shard, &sample, dataset, error))
			return false;
	}
	if (!finish_sample(shard, &sample, dataset, error))
		return false;
	dataset->count = shard->names.count;
	return true;
}

// ---- Images

static bool read_at(const struct shard *shard, const struct place *place, uint8_t *into, struct error *error)
{
	struct stat now;
	for (uint64_t done = 0; done < place->size_bytes;) {
		ssize_t got = pread(shard->descriptor, into + done, place->size_bytes - done,
				    (off_t)(place->offset_bytes + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set(error, ERROR_FAILED, "read: %s", strerror(errno));
		if (got == 0)
			return error_set(error, ERROR_USAGE, "the archive was cut short while it was in use");
		done += (uint64_t)got;
	}
	if (fstat(shard->descriptor, &now) < 0 || now.st_size != shard->status.st_size ||
	    now.st_mtim.tv_sec != shard->status.st_mtim.tv_sec || now.st_mtim.tv_nsec != shard->status.st_mtim.tv_nsec)
		return error_set(error, ERROR_USAGE, "the archive was changed while it was in use");
	return true;
}

static bool fetch(const struct dataset *dataset, uint64_t sample, struct picture_file *ret_file, struct error *error)
{
	const struct shard *shard = dataset->state;
	const struct place *place = &shard->places[sample];
	if (shard->descriptor < 0) {
		*ret_file = (struct picture_file){shard->packed + place->offset_bytes, place->size_bytes, NULL};
		return true;
	}
	_cleanup_free_ uint8_t *bytes = malloc(place->size_bytes + 1);
	if (bytes == NULL)
		return error_set(error, ERROR_FAILED, "no memory for its %" PRIu64 " bytes", place->size_bytes);
	if (!read_at(shard, place, bytes, error))
		return false;
	*ret_file = (struct picture_file){bytes, place->size_bytes, bytes};
	bytes = NULL;
	return true;
}

static void name(const struct dataset *dataset, uint64_t sample, char *into, size_t size)
{
	const struct shard *shard = dataset->state;
	strings_printable(names_get(&shard->names, sample), into, size);
}

static const struct pictures pictures = {fetch, name};

// ---- The door

// For reading images from the middle of the archive.
static bool open_again(const char *path, struct shard *shard, struct error *error)
{
	shard->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return (shard->descriptor >= 0 && fstat(shard->descriptor, &shard->status) == 0) ||
	       error_set(error, ERROR_USAGE, "%s", strerror(errno));
}

static bool open_tar(const char *path, struct tar *tar, struct shard *shard, struct dataset *dataset,
		     struct error *error)
{
	return (tar_is_packed(tar) || open_again(path, shard, error)) && list_samples(tar, shard, dataset, error);
}

static bool open_archive(const char *path, bool is_folder, uint32_t image_size, struct dataset *dataset,
			 struct error *error)
{
	struct shard *shard = calloc(1, sizeof(*shard));
	struct tar *tar;
	if (shard == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	shard->descriptor = -1;
	dataset->state = shard;
	snprintf(dataset->name, sizeof(dataset->name), "WebDataset (tar)");
	if (!tar_open(path, &tar, error))
		return false;
	bool ok = open_tar(path, tar, shard, dataset, error);
	tar_close(tar);
	return ok && pictures_choose_size(&pictures, image_size, dataset, error);
}

static void close_archive(struct dataset *dataset)
{
	struct shard *shard = dataset->state;
	if (shard == NULL)
		return;
	if (shard->descriptor >= 0)
		close(shard->descriptor);
	names_fini(&shard->names);
	free(shard->places);
	free(shard->packed);
	free(shard);
}

static bool read_image(const struct dataset *dataset, uint64_t sample, uint8_t *image, struct error *error)
{
	return pictures_read(&pictures, dataset, sample, image, error);
}

const struct dataset_format dataset_webdataset = {
	.in_archive = "WebDataset: KEY.jpg, KEY.jpeg or KEY.png, and KEY.cls",
	.has_member = has_member,
	.open = open_archive,
	.close = close_archive,
	.read = read_image,
	.is_slow = true,
};
