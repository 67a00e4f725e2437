// Images in files, JPEG or PNG, told by their first bytes: decoded to RGB, and made square. Any thread. Errors say what is wrong with the
// file, without its name.
//
// What Pillow's Image.open(...).convert("RGB") gives, but for 16-bit grey (here its high bytes): grey and palettes become RGB, alpha is
// dropped, and of CMYK the inks are multiplied. The orientation that EXIF tells is ignored.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

#define IMAGE_MAXIMUM_FILE_BYTES (UINT64_C(256) << 20)
#define IMAGE_MAXIMUM_PIXELS     (UINT64_C(64) << 20) // 192 MiB as RGB
enum { IMAGE_MAXIMUM_SIDE = 65500 };                  // JPEG's own limit

struct image {
	uint8_t *pixels; // (height, width, 3)
	uint32_t width, height;
};

// Reads the header alone.
bool image_dimensions(const uint8_t *bytes, size_t size, uint32_t *ret_width, uint32_t *ret_height,
		      struct error *error);
bool image_decode(const uint8_t *bytes, size_t size, struct image *ret_image, struct error *error);
void image_fini(struct image *image);
// Resizes it so that the shorter side has `side` pixels, and crops the middle of the longer one: `ret_planes` is (3, side, side).
// Bilinear with antialias: the same bytes as torchvision's Resize(side) and CenterCrop(side) on a Pillow image.
bool image_fit(const struct image *image, uint32_t side, uint8_t *ret_planes, struct error *error);
