// What the formats share whose samples are image files: how large their images are made, and reading one.
#pragma once

#include "coordinator/dataset/format.h"

// The bytes of an image file.
struct picture_file {
	const uint8_t *bytes;
	uint64_t size;
	uint8_t *owned; // NULL, or the bytes, to be released
};

// Where the files come from. Any thread. Errors do not name the file.
typedef bool pictures_fetch(const struct dataset *dataset, uint64_t sample, struct picture_file *ret_file,
			    struct error *error);
// The name of a sample's file, printable.
typedef void pictures_name(const struct dataset *dataset, uint64_t sample, char *into, size_t size);

struct pictures {
	pictures_fetch *fetch;
	pictures_name *name;
};

// Chooses dataset->image_size, once count and state are there: that of the images where 64 of them are square and of one size up to
// `image_size`, and otherwise `image_size`.
bool pictures_choose_size(const struct pictures *pictures, uint32_t image_size, struct dataset *dataset,
			  struct error *error);
// Decodes a sample's image, and resizes and crops it where its size is another.
bool pictures_read(const struct pictures *pictures, const struct dataset *dataset, uint64_t sample, uint8_t *image,
		   struct error *error);
// ".jpg", ".jpeg" or ".png", in any case; `extension` may be NULL.
bool pictures_can_read(const char *extension);
