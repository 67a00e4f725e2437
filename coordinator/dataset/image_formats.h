// What image.c and the files of its two formats share.
#pragma once

#include "coordinator/dataset/image.h"

// Whether an image of this size may be decoded.
bool image_check_dimensions(uint64_t width, uint64_t height, struct error *error);

// With `header_only` the pixels are not read, and are NULL. On failure nothing is left to release.
bool image_read_jpeg(const uint8_t *bytes, size_t size, bool header_only, struct image *ret_image, struct error *error);
bool image_read_png(const uint8_t *bytes, size_t size, bool header_only, struct image *ret_image, struct error *error);
