// A small learnable set in CIFAR-10's format. See synthesize.h.
//
// A class is one of five patterns (vertical, horizontal and diagonal stripes, a disc, a chessboard) in one of
// two families of colour, warm or cool. Place, phase, width, the colours within their family, the background
// and the noise are drawn for each image, so that no single pixel and no mean colour tells more than the
// family: a network has to see the pattern. It is all whole-number arithmetic on counter-based draws: a seed
// gives the same bytes on every machine.
#include "coordinator/dataset/synthesize.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/output_file.h"
#include "common/base/output_lock.h"
#include "common/base/random.h"
#include "common/base/strings.h"
#include "coordinator/dataset/cifar.h"

enum {
	SIDE = CIFAR_IMAGE_SIZE,
	PATTERNS = 5,
	FILES = 6,
	MAXIMUM_IMAGES_PER_FILE = 100000,
	RECORDS_AT_ONCE = 64,     // written
	NOISE = 24,               // each byte is moved by up to this
	FIRST_NOISE_COUNTER = 16, // the draws below it are for the image as a whole
	LABEL_ORDER = 0x7fffffff, // the "image" whose draws shuffle a file's labels
};

static const char *const file_names[FILES] = {
	"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
	"data_batch_4.bin", "data_batch_5.bin", "test_batch.bin",
};

// The published set has such a file with its classes' names. Ours also tells that the set may be written
// anew.
static const char meta_name[] = "batches.meta.txt";
static const char meta_text[] = "synthetic warm vertical stripes\nsynthetic warm horizontal stripes\n"
				"synthetic warm diagonal stripes\nsynthetic warm disc\nsynthetic warm chessboard\n"
				"synthetic cool vertical stripes\nsynthetic cool horizontal stripes\n"
				"synthetic cool diagonal stripes\nsynthetic cool disc\nsynthetic cool chessboard\n";

// What is drawn for one image.
struct picture {
	uint32_t pattern;
	uint32_t width;  // of a stripe or a square; of a disc: its radius
	uint32_t x0, y0; // phase; of a disc: its centre
	uint8_t foreground[3], background[3];
};

static uint32_t draw(struct random_key key, uint64_t counter, uint32_t minimum, uint32_t maximum)
{
	return minimum + random_below(key, counter, maximum - minimum + 1);
}

static void draw_picture(struct random_key key, uint32_t label, struct picture *ret_picture)
{
	struct picture *p = ret_picture;
	bool cool = label >= PATTERNS, disc = label % PATTERNS == 3;
	p->pattern = label % PATTERNS;
	p->width = disc ? draw(key, 0, 8, 12) : draw(key, 0, 3, 5);
	p->x0 = draw(key, 1, 11, 20);
	p->y0 = draw(key, 2, 11, 20);
	p->foreground[cool ? 2 : 0] = (uint8_t)draw(key, 3, 190, 245);
	p->foreground[1] = (uint8_t)draw(key, 4, 60, 160);
	p->foreground[cool ? 0 : 2] = (uint8_t)draw(key, 5, 20, 90);
	for (int channel = 0; channel < 3; channel++)
		p->background[channel] = (uint8_t)draw(key, 6 + (uint64_t)channel, 10, 110);
}

static bool is_foreground(const struct picture *p, uint32_t x, uint32_t y)
{
	int32_t dx = (int32_t)x - (int32_t)p->x0, dy = (int32_t)y - (int32_t)p->y0;
	switch (p->pattern) {
	case 0:
		return (x + p->x0) / p->width % 2 == 0;
	case 1:
		return (y + p->y0) / p->width % 2 == 0;
	case 2:
		return (x + y + p->x0) / (p->width + 1) % 2 == 0;
	case 3:
		return dx * dx + dy * dy <= (int32_t)(p->width * p->width);
	default:
		return ((x + p->x0) / p->width + (y + p->y0) / p->width) % 2 == 0;
	}
}

static uint8_t with_noise(uint8_t value, uint32_t byte)
{
	int32_t noisy = (int32_t)value + (int32_t)(byte * (2 * NOISE + 1) >> 8) - NOISE;
	return (uint8_t)(noisy < 0 ? 0 : noisy > 255 ? 255 : noisy);
}

static void draw_record(struct random_key key, uint8_t label, uint8_t *ret_record)
{
	struct picture picture;
	draw_picture(key, label, &picture);
	ret_record[0] = label;
	uint8_t *byte = ret_record + 1;
	uint32_t words[4] = {0};
	for (uint32_t i = 0; i < CIFAR_IMAGE_BYTES; i++) { // planes R, G, B; rows; columns
		if (i % 16 == 0)
			random_block(key, FIRST_NOISE_COUNTER + i / 16, 0, words);
		uint32_t channel = i / (SIDE * SIDE), x = i % SIDE, y = i / SIDE % SIDE;
		const uint8_t *colour = is_foreground(&picture, x, y) ? picture.foreground : picture.background;
		byte[i] = with_noise(colour[channel], words[i / 4 % 4] >> (8 * (i % 4)) & 0xff);
	}
}

// Equal shares of the ten labels, shuffled.
static void draw_labels(uint64_t seed, uint32_t file, uint32_t count, uint8_t *ret_labels)
{
	struct random_key key = random_key_make(seed, RANDOM_DATASET, (uint64_t)file << 32 | LABEL_ORDER);
	for (uint32_t i = 0; i < count; i++)
		ret_labels[i] = (uint8_t)(i % CIFAR_CLASSES);
	for (uint32_t i = count - 1; i > 0; i--) {
		uint32_t j = random_below(key, i, i + 1);
		uint8_t swapped = ret_labels[i];
		ret_labels[i] = ret_labels[j];
		ret_labels[j] = swapped;
	}
}

static bool write_records(struct output_file *file, uint64_t seed, uint32_t number, const uint8_t *labels,
			  uint32_t count, struct error *error)
{
	uint8_t records[RECORDS_AT_ONCE][CIFAR_RECORD_BYTES];
	for (uint32_t i = 0, drawn = 0; i < count; i++) {
		struct random_key key = random_key_make(seed, RANDOM_DATASET, (uint64_t)number << 32 | i);
		draw_record(key, labels[i], records[drawn++]);
		if (drawn < RECORDS_AT_ONCE && i + 1 < count)
			continue;
		if (!output_file_append(file, records, drawn * sizeof(records[0]), error))
			return false;
		drawn = 0;
	}
	return true;
}

static bool write_images(const char *folder, uint64_t seed, uint32_t number, const uint8_t *labels, uint32_t count,
			 struct error *error)
{
	char path[PATH_MAX];
	struct output_file *file;
	snprintf(path, sizeof(path), "%s/%s", folder, file_names[number]);
	if (!output_file_create(path, false, &file, error))
		return false;
	if (write_records(file, seed, number, labels, count, error))
		return output_file_finish(file, error);
	output_file_abort(file);
	return false;
}

static bool write_meta(const char *folder, struct error *error)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", folder, meta_name);
	return output_file_replace(path, meta_text, strlen(meta_text), error);
}

// Somebody's real CIFAR-10 is not written over: a folder that has files of these names must carry our list of
// classes.
static bool check_folder(const char *folder, struct error *error)
{
	char path[PATH_MAX], line[16] = "";
	struct stat status;
	if (strlen(folder) + 32 > sizeof(path))
		return error_set(error, ERROR_USAGE, "the path of the folder is too long");
	if (mkdir(folder, 0777) < 0 && errno != EEXIST)
		return error_set(error, ERROR_USAGE, "%s: %s", folder, strerror(errno));
	if (stat(folder, &status) < 0 || !S_ISDIR(status.st_mode))
		return error_set(error, ERROR_USAGE, "%s: is not a folder", folder);
	snprintf(path, sizeof(path), "%s/%s", folder, meta_name);
	FILE *meta = fopen(path, "re");
	if (meta != NULL) {
		if (fgets(line, sizeof(line), meta) == NULL)
			line[0] = '\0';
		fclose(meta);
	}
	if (strncmp(line, "synthetic ", 10) == 0)
		return true;
	for (int i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, file_names[i]);
		if (access(path, F_OK) == 0)
			return error_set(
				error, ERROR_USAGE,
				"%s exists and is not a synthetic set; it was not changed: name another folder", path);
	}
	return true;
}

static bool write_set(const char *folder, uint32_t count, uint64_t seed, struct error *error)
{
	_cleanup_free_ uint8_t *labels = malloc(count);
	if (labels == NULL)
		return error_set(error, ERROR_FAILED, "no memory for %" PRIu32 " labels", count);
	bool ok = write_meta(folder, error);
	for (uint32_t number = 0; ok && number < FILES; number++) {
		draw_labels(seed, number, count, labels);
		ok = write_images(folder, seed, number, labels, count, error);
	}
	return ok;
}

bool synthesize_cifar10(const char *folder, uint32_t images_per_file, uint64_t seed, struct error *error)
{
	if (images_per_file < 1 || images_per_file > MAXIMUM_IMAGES_PER_FILE)
		return error_set(error, ERROR_USAGE, "%" PRIu32 " images in a file: from 1 to %d are possible",
				 images_per_file, MAXIMUM_IMAGES_PER_FILE);
	if (!check_folder(folder, error))
		return false;
	int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (descriptor < 0)
		return error_set(error, ERROR_USAGE, "%s: %s", folder, strerror(errno));
	bool ok = output_lock_descriptor(descriptor, folder, error) && write_set(folder, images_per_file, seed, error);
	close(descriptor);
	return ok;
}
