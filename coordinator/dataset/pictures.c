// See pictures.h.
#include "coordinator/dataset/pictures.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/strings.h"
#include "coordinator/dataset/image.h"

enum { LOOKED_AT = 64, SHOWN_BYTES = 300 };

bool pictures_can_read(const char *extension)
{
	static const char *const known[] = {".jpg", ".jpeg", ".png"};
	for (int i = 0; extension != NULL && i < 3; i++)
		if (strcasecmp(extension, known[i]) == 0)
			return true;
	return false;
}

static bool wrap_name(const struct pictures *pictures, const struct dataset *dataset, uint64_t sample,
		      struct error *error)
{
	char name[SHOWN_BYTES];
	pictures->name(dataset, sample, name, sizeof(name));
	return error_wrap(error, "%s", name);
}

static bool look_at(const struct pictures *pictures, const struct dataset *dataset, uint64_t sample,
		    uint32_t *ret_width, uint32_t *ret_height, struct error *error)
{
	struct picture_file file;
	bool ok = pictures->fetch(dataset, sample, &file, error);
	if (ok) {
		ok = image_dimensions(file.bytes, file.size, ret_width, ret_height, error);
		free(file.owned);
	}
	return ok ||
	       (wrap_name(pictures, dataset, sample, error), error_wrap(error, "image %" PRIu64 " (from 0)", sample));
}

bool pictures_choose_size(const struct pictures *pictures, uint32_t image_size, struct dataset *dataset,
			  struct error *error)
{
	uint64_t looked_at = dataset->count < LOOKED_AT ? dataset->count : LOOKED_AT;
	uint32_t side = 0;
	bool is_one_size = true;
	for (uint64_t i = 0; i < looked_at; i++) {
		uint32_t width, height;
		if (!look_at(pictures, dataset, i * dataset->count / looked_at, &width, &height, error))
			return false;
		side = i == 0 ? width : side;
		is_one_size = is_one_size && width == side && height == side && side <= image_size;
	}
	dataset->image_size = is_one_size ? side : image_size;
	if (!is_one_size)
		snprintf(dataset->remark, sizeof(dataset->remark), "resized and cropped");
	return true;
}

static bool read_file(const struct pictures *pictures, const struct dataset *dataset, uint64_t sample, uint8_t *image,
		      struct error *error)
{
	struct picture_file file;
	struct image decoded;
	if (!pictures->fetch(dataset, sample, &file, error))
		return false;
	bool ok = image_decode(file.bytes, file.size, &decoded, error);
	free(file.owned);
	if (!ok)
		return false;
	ok = image_fit(&decoded, dataset->image_size, image, error);
	image_fini(&decoded);
	return ok;
}

bool pictures_read(const struct pictures *pictures, const struct dataset *dataset, uint64_t sample, uint8_t *image,
		   struct error *error)
{
	return read_file(pictures, dataset, sample, image, error) || wrap_name(pictures, dataset, sample, error);
}
